//! Asks the daemon what it has of a project.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{join_all, try_join3};
use hull_api::Client;
use hull_api::client::ContainerListOptions;
use hull_api::filters::Filters;

use super::{Named, Result};
use crate::labels;
use crate::model::Project;
use crate::plan::state::{Container, Image, State};

/// A filter for one value.
pub(super) fn filter(key: &str, value: &str) -> Filters {
    let mut filters = Filters::default();
    filters.add(key, value);
    filters
}

/// The containers of a project, stopped ones too.
///
/// # Errors
/// When the daemon cannot be asked.
pub async fn containers(client: &Client, project: &str) -> Result<Vec<Container>> {
    let mut filters = filter("label", &format!("{}={project}", labels::PROJECT));
    filters.add("label", labels::HASH);
    let options = ContainerListOptions {
        all: true,
        filters,
        ..ContainerListOptions::default()
    };
    let list = client
        .containers(&options)
        .await
        .named("list the containers of", project)?;
    Ok(list
        .into_iter()
        .map(|summary| Container { summary })
        .collect())
}

/// The containers of all projects.
///
/// # Errors
/// When the daemon cannot be asked.
pub async fn projects(client: &Client) -> Result<BTreeMap<String, Vec<Container>>> {
    let mut filters = filter("label", labels::PROJECT);
    filters.add("label", labels::HASH);
    let options = ContainerListOptions {
        all: true,
        filters,
        ..ContainerListOptions::default()
    };
    let list = client
        .containers(&options)
        .await
        .named("list", "containers")?;
    let mut projects: BTreeMap<String, Vec<Container>> = BTreeMap::new();
    for summary in list {
        let container = Container { summary };
        projects
            .entry(container.label(labels::PROJECT).to_owned())
            .or_default()
            .push(container);
    }
    Ok(projects)
}

/// All that the daemon has of a project.
///
/// # Errors
/// When the daemon cannot be asked.
pub async fn observe(client: &Client, project: &Project) -> Result<State> {
    let (containers, networks, volumes) = try_join3(
        containers(client, &project.name),
        async {
            client
                .networks(&Filters::default())
                .await
                .named("list", "networks")
        },
        async {
            if project.volumes.is_empty() {
                return Ok(Vec::new());
            }
            let list = client
                .volumes(&Filters::default())
                .await
                .named("list", "volumes")?;
            Ok(list.volumes.unwrap_or_default())
        },
    )
    .await?;
    Ok(State {
        containers,
        networks: networks
            .into_iter()
            .map(|network| (network.name.clone(), network))
            .collect(),
        volumes: volumes
            .into_iter()
            .map(|volume| (volume.name.clone(), volume))
            .collect(),
        images: images(client, project).await?,
        ..State::default()
    })
}

/// The images that services want, as far as they are there.
pub(super) async fn images(client: &Client, project: &Project) -> Result<BTreeMap<String, Image>> {
    let names: BTreeSet<String> = project
        .services
        .values()
        .flat_map(|service| {
            let steps = service.pre_start.iter().map(|hook| hook.image.clone());
            let names = service.build.iter().flat_map(|build| build.tags.clone());
            steps
                .chain(names)
                .chain([service.image_name(&project.name)])
        })
        .filter(|name| !name.is_empty())
        .collect();
    let found = join_all(names.into_iter().map(|name| async {
        let image = client.image(&name).await;
        (name, image)
    }))
    .await;
    let mut images = BTreeMap::new();
    for (name, image) in found {
        match image {
            Ok(image) => {
                let config = image.config.unwrap_or_default();
                let known = Image {
                    id: image.id,
                    volumes: config.volumes.into_keys().collect(),
                    project: config
                        .labels
                        .get(labels::PROJECT)
                        .cloned()
                        .unwrap_or_default(),
                    created: image.metadata.last_tag_time,
                };
                images.insert(name, known);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error).named("look at the image", &name),
        }
    }
    Ok(images)
}
