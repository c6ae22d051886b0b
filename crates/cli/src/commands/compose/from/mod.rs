//! `compose from`: writes the file for containers that are there.
//!
//! Here they are asked about; `application` makes the file of the answers.

mod application;

use std::collections::BTreeMap;

use hull_api::Client;
use hull_api::types::{
    ContainerCreate, ContainerInspect, EndpointSettings, HostConfig, ImageConfig, LogConfig,
    NetworkingConfig,
};

use application::{Application, Found, Thing};

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::format::output::short_id;
use crate::ui;

/// Labels that Compose gives itself.
const OWN_LABELS: &str = "com.docker.compose.";
/// What `hull compose` gives itself besides: dependencies that need not come.
const OPTIONAL_LABEL: &str = "hull.depends_on.optional";
/// What the daemon says where nobody asked for anything.
const SHM_SIZE: i64 = 64 << 20;
const LOG_DRIVER: &str = "json-file";

#[derive(Default)]
pub(crate) struct From {
    name: String,
}

impl Command for From {
    const ABOUT: About = About::new(
        &["compose from"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Write the Compose file for containers that are there",
        Operands::AtLeast(1),
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("name", "string", "The project's name", &mut self.name);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let runtime = client.info().await.map_err(failure)?.default_runtime;
        let mut found = Vec::new();
        for name in &call.operands {
            let container = client.container(name).await.map_err(failure)?;
            let image = client.image(&container.image).await.ok();
            let image = image.and_then(|image| image.config).unwrap_or_default();
            let sealed = client.container_sealed(name).await.map_err(failure)?;
            found.push(Found {
                id: container.id.clone(),
                name: container.name.trim_start_matches('/').to_owned(),
                labels: container.config.labels.clone().unwrap_or_default(),
                body: body(container, &image, &runtime),
                sealed,
            });
        }
        let project = match self.name.as_str() {
            "" => application::project(&found),
            name => name.to_owned(),
        };
        let mut application = Application::new(project, &found);
        self.look_at_things(&client, &mut application).await?;
        let (text, notes) = application.written();
        ui::out(&text)?;
        for note in notes {
            ui::warn(&note);
        }
        Ok(0)
    }
}

impl From {
    /// Finds out whose the networks and volumes are.
    async fn look_at_things(
        &self,
        client: &Client,
        application: &mut Application<'_>,
    ) -> Result<()> {
        for name in application.network_names() {
            let network = client.network(&name).await.map_err(failure)?;
            let thing = Thing::of_network(&network, application);
            application.networks.insert(name, thing);
        }
        for name in application.volume_names() {
            let volume = client.volume(&name).await.map_err(failure)?;
            let thing = Thing::of_volume(&volume, application);
            application.volumes.insert(name, thing);
        }
        Ok(())
    }
}

/// The request that would make it again, without what the image and the daemon say by themselves.
fn body(container: ContainerInspect, image: &ImageConfig, runtime: &str) -> ContainerCreate {
    let id = short_id(&container.id).to_owned();
    let mut config = container.config;
    if config.hostname == id {
        config.hostname.clear();
    }
    for (own, known) in [
        (&mut config.user, &image.user),
        (&mut config.working_dir, &image.working_dir),
        (&mut config.stop_signal, &image.stop_signal),
    ] {
        if own == known {
            own.clear();
        }
    }
    for (own, known) in [
        (&mut config.cmd, &image.cmd),
        (&mut config.entrypoint, &image.entrypoint),
    ] {
        own.take_if(|words| words == known);
    }
    if let Some(variables) = &mut config.env {
        variables.retain(|variable| !image.env.contains(variable));
    }
    if let Some(labels) = &mut config.labels {
        labels.retain(|key, value| {
            !key.starts_with(OWN_LABELS)
                && key != OPTIONAL_LABEL
                && image.labels.get(key) != Some(value)
        });
    }
    config
        .healthcheck
        .take_if(|check| image.healthcheck.as_ref() == Some(check));
    config
        .exposed_ports
        .retain(|port, _| !image.exposed_ports.contains_key(port));
    if let Some(volumes) = &mut config.volumes {
        volumes.retain(|path, _| !image.volumes.contains_key(path));
    }
    let networks = container.network_settings.networks;
    ContainerCreate {
        config,
        host_config: Some(host(container.host_config, runtime)),
        networking_config: Some(NetworkingConfig {
            endpoints_config: networks
                .into_iter()
                .map(|(name, endpoint)| (name, Some(asked(endpoint, &id))))
                .collect::<BTreeMap<_, _>>(),
        }),
    }
}

fn host(mut host: HostConfig, runtime: &str) -> HostConfig {
    if host.ipc_mode == "private" {
        host.ipc_mode.clear();
    }
    if host.runtime == runtime {
        host.runtime.clear();
    }
    if host.shm_size == SHM_SIZE {
        host.shm_size = 0;
    }
    let has_options = host.log_config.config.iter().flatten().next().is_some();
    if host.log_config.driver == LOG_DRIVER && !has_options {
        host.log_config = LogConfig::default();
    }
    // Which one it is by itself depends on the host.
    host.cgroupns_mode.clear();
    host
}

/// What was asked of a place in a network, without what was given.
fn asked(endpoint: EndpointSettings, id: &str) -> EndpointSettings {
    let mut aliases = endpoint.aliases;
    if let Some(names) = &mut aliases {
        names.retain(|name| name != id);
    }
    EndpointSettings {
        ipam_config: endpoint.ipam_config,
        aliases,
        driver_opts: endpoint.driver_opts,
        gw_priority: endpoint.gw_priority,
        ..EndpointSettings::default()
    }
}
