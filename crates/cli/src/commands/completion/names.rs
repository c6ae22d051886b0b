//! Names of things there are, from the daemon and the store of contexts.

use std::time::Duration;

use hull_api::client::{ContainerListOptions, ImageListOptions};
use hull_api::{Client, ClientError, Filters};

use crate::commands::runtime;
use crate::connection::connect;
use crate::context::{DEFAULT, Globals};

/// Longer than this, a finger is not kept waiting.
const ANSWER_MAX: Duration = Duration::from_millis(300);

/// A kind of thing that has names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Thing {
    Container,
    Running,
    Stopped,
    Paused,
    Image,
    Network,
    /// Those that somebody made.
    OwnNetwork,
    /// What a container may be on, which is more than networks.
    NetworkMode,
    Volume,
    Context,
    LogDriver,
    VolumeDriver,
    Runtime,
    /// The daemon itself.
    Daemon,
}

/// The names; none if nobody answers.
pub(super) fn of(globals: &Globals, thing: Thing) -> Vec<String> {
    if thing == Thing::Context {
        let stored = globals
            .contexts()
            .list()
            .0
            .into_iter()
            .map(|context| context.name);
        return stored.chain([DEFAULT.to_owned()]).collect();
    }
    let Ok(runtime) = runtime() else {
        return Vec::new();
    };
    runtime.block_on(asked(globals, thing))
}

/// The containers that are on a network; none if nobody answers.
pub(super) fn on(globals: &Globals, network: &str) -> Vec<String> {
    let Ok(runtime) = runtime() else {
        return Vec::new();
    };
    let answer = async {
        let client = connect(globals).await.ok()?;
        let on_it = client.network(network).await.ok()?.containers;
        Some(
            on_it
                .into_iter()
                .flatten()
                .map(|(_, endpoint)| endpoint.name),
        )
    };
    let answer = runtime.block_on(async { tokio::time::timeout(ANSWER_MAX, answer).await });
    answer.ok().flatten().into_iter().flatten().collect()
}

/// The names that the daemon knows; none if it does not answer.
pub(in crate::commands) async fn asked(globals: &Globals, thing: Thing) -> Vec<String> {
    let answer = tokio::time::timeout(ANSWER_MAX, async {
        let client = connect(globals).await.ok()?;
        listed(&client, thing).await.ok()
    });
    answer.await.ok().flatten().unwrap_or_default()
}

async fn listed(client: &Client, thing: Thing) -> Result<Vec<String>, ClientError> {
    let all = Filters::default();
    Ok(match thing {
        Thing::Container | Thing::Running | Thing::Stopped | Thing::Paused => {
            let options = ContainerListOptions {
                all: true,
                filters: states(thing),
                ..ContainerListOptions::default()
            };
            let containers = client.containers(&options).await?;
            let names = containers.into_iter().flat_map(|container| container.names);
            names
                .map(|name| name.trim_start_matches('/').to_owned())
                .collect()
        }
        Thing::Image => {
            let images = client.images(&ImageListOptions::default()).await?;
            let names = images.into_iter().flat_map(|image| image.repo_tags);
            names.filter(|name| name != "<none>:<none>").collect()
        }
        Thing::Network | Thing::NetworkMode => {
            let networks = client.networks(&all).await?;
            networks.into_iter().map(|network| network.name).collect()
        }
        Thing::OwnNetwork => {
            let mut own = Filters::default();
            own.add("type", "custom");
            let networks = client.networks(&own).await?;
            networks.into_iter().map(|network| network.name).collect()
        }
        Thing::Volume => {
            let volumes = client.volumes(&all).await?.volumes;
            volumes
                .into_iter()
                .flatten()
                .map(|volume| volume.name)
                .collect()
        }
        Thing::LogDriver => client.info().await?.plugins.log,
        Thing::VolumeDriver => client.info().await?.plugins.volume,
        Thing::Daemon => {
            let info = client.info().await?;
            vec![info.name, info.id]
        }
        Thing::Runtime => client.info().await?.runtimes.into_keys().collect(),
        Thing::Context => Vec::new(),
    })
}

/// The states of the containers that are meant.
fn states(thing: Thing) -> Filters {
    let mut filters = Filters::default();
    let wanted: &[&str] = match thing {
        Thing::Running => &["running", "restarting", "paused"],
        Thing::Stopped => &["created", "exited", "dead"],
        Thing::Paused => &["paused"],
        _ => &[],
    };
    for state in wanted {
        filters.add("status", *state);
    }
    filters
}
