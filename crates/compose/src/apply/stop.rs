//! Stopping, removing, and taking a whole project away.

use std::collections::BTreeSet;

use hull_api::client::{ImageListOptions, StopOptions};
use hull_api::filters::Filters;

use super::graph::{self, Before, Order};
use super::observe::filter;
use super::{Engine, Named, RemoveOptions, Result};
use crate::labels;
use crate::plan::state::Container;

/// How a project is taken away.
#[derive(Debug, Clone, Default)]
pub struct DownOptions {
    /// Services that are meant; none: all of them, and what belongs to the project.
    pub services: Vec<String>,
    /// Containers whose services are not in the file, too.
    pub orphans: bool,
    /// Volumes, too.
    pub volumes: bool,
    /// Images, too: `local` those without a name of their own, `all` all of them.
    pub images: String,
    /// Seconds before a container is killed.
    pub timeout_s: Option<i64>,
}

impl Engine<'_> {
    /// Stops containers, dependents first.
    ///
    /// # Errors
    /// When one cannot be stopped.
    pub async fn stop(&self, containers: &[Container], timeout_s: Option<i64>) -> Result<()> {
        // What has ended already is between others: a migration between its database and the rest.
        let all = super::containers(self.client, &self.project.name).await?;
        let order = order(&all);
        self.dependents_first(order, containers, |container| {
            self.stop_one(container, timeout_s)
        })
        .await
    }

    /// Acts on containers, service by service, those that depend on others first.
    async fn dependents_first<'c, F, Fut>(
        &self,
        order: Before,
        containers: &'c [Container],
        act: F,
    ) -> Result<()>
    where
        F: Fn(&'c Container) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        let act = &act;
        graph::walk(order, self.parallel, |service| async move {
            let own = containers
                .iter()
                .filter(|container| container.service() == service);
            graph::each(own, self.parallel, act).await
        })
        .await
    }

    /// Restarts containers, what is depended on first; dependents that asked for it follow.
    ///
    /// # Errors
    /// When one cannot be restarted.
    pub async fn restart(&self, containers: &[Container], options: &StopOptions) -> Result<()> {
        let before = graph::of_project(self.project, Order::DependenciesFirst);
        graph::walk(before, self.parallel, |service| async move {
            let own = containers
                .iter()
                .filter(|container| container.service() == service);
            graph::each(own, self.parallel, |container| async move {
                let what = format!("Container {}", container.name());
                self.working(&what, "Restarting");
                let result = self.client.container_restart(container.id(), options).await;
                self.told(
                    &what,
                    "Started",
                    result.named("restart the container", container.name()),
                )
            })
            .await
        })
        .await
    }

    /// Takes the project away.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub async fn down(&self, options: &DownOptions) -> Result<()> {
        let all = super::containers(self.client, &self.project.name).await?;
        let is_meant = |container: &&Container| {
            let service = container.service();
            match options.services.is_empty() {
                false => options.services.iter().any(|name| name == service),
                // Those whose profile is off are neither meant nor orphans.
                true if self.project.disabled.contains(service) => false,
                true => {
                    options.orphans || self.project.services.is_empty() || self.is_known(service)
                }
            }
        };
        let meant: Vec<Container> = all.iter().filter(is_meant).cloned().collect();
        let remove = RemoveOptions {
            volumes: options.volumes,
            force: true,
        };
        self.dependents_first(order(&meant), &meant, |container| async move {
            if container.is_running() {
                self.stop_one(container, options.timeout_s).await?;
            }
            self.remove_one(container, remove).await
        })
        .await?;
        if !options.services.is_empty() {
            return Ok(());
        }
        let (networks, volumes, images) = tokio::join!(
            self.remove_networks(),
            self.remove_volumes(options.volumes),
            self.remove_images(&options.images, options.orphans),
        );
        networks.and(volumes).and(images)
    }

    fn is_known(&self, service: &str) -> bool {
        self.project.services.contains_key(service) || self.project.disabled.contains(service)
    }

    async fn remove_networks(&self) -> Result<()> {
        let own = filter(
            "label",
            &format!("{}={}", labels::PROJECT, self.project.name),
        );
        let found = self
            .client
            .networks(&own)
            .await
            .named("list the networks of", &self.project.name)?;
        let mut names: BTreeSet<String> = found.into_iter().map(|network| network.name).collect();
        for network in self
            .project
            .networks
            .values()
            .filter(|network| network.external)
        {
            names.remove(&network.name);
        }
        graph::each(&names, self.parallel, |name| self.remove_network(name)).await
    }

    async fn remove_volumes(&self, wanted: bool) -> Result<()> {
        if !wanted {
            return Ok(());
        }
        let own: Filters = filter(
            "label",
            &format!("{}={}", labels::PROJECT, self.project.name),
        );
        let found = self
            .client
            .volumes(&own)
            .await
            .named("list the volumes of", &self.project.name)?;
        let mut names: BTreeSet<String> = found
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(|volume| volume.name)
            .collect();
        for volume in self
            .project
            .volumes
            .values()
            .filter(|volume| volume.external)
        {
            names.remove(&volume.name);
        }
        graph::each(&names, self.parallel, |name| self.remove_volume(name)).await
    }

    /// Images that were built for services of the project, or made of their containers: they have the
    /// same labels.
    async fn own_images(&self, orphans: bool) -> Result<BTreeSet<String>> {
        let project = &self.project.name;
        let mut options = ImageListOptions::default();
        options
            .filters
            .add("label", format!("{}={project}", labels::PROJECT));
        options.filters.add("dangling", "false");
        let images = self.client.images(&options).await;
        let images = images.named("list the images of", project)?;
        Ok(images
            .into_iter()
            .filter(|image| {
                let labels = image.labels.as_ref();
                let service = labels.and_then(|labels| labels.get(labels::SERVICE));
                orphans || service.is_some_and(|name| self.is_known(name))
            })
            .filter_map(|image| image.repo_tags.into_iter().next())
            .collect())
    }

    async fn remove_images(&self, which: &str, orphans: bool) -> Result<()> {
        if which.is_empty() {
            return Ok(());
        }
        let mut names = self.own_images(orphans).await?;
        names.extend(
            self.project
                .services
                .values()
                .filter(|service| which == "all" || service.image.is_empty())
                .map(|service| with_tag(service.image_name(&self.project.name))),
        );
        graph::each(&names, self.parallel, |name| async move {
            let what = format!("Image {name}");
            self.working(&what, "Removing");
            match self.client.image_remove(name, false, true, &[]).await {
                Ok(_) => {
                    self.done(&what, "Removed");
                    Ok(())
                }
                Err(error) if error.is_not_found() || error.is_withheld() => {
                    self.done(&what, "Removed");
                    Ok(())
                }
                Err(error) if error.status().is_some_and(|status| status.as_u16() == 409) => {
                    self.done(&what, "Resource is still in use");
                    Ok(())
                }
                Err(error) => self.told(&what, "", Err(error).named("remove the image", name)),
            }
        })
        .await
    }
}

/// A name as the daemon lists it.
fn with_tag(name: String) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.contains([':', '@']) {
        true => name,
        false => name + ":latest",
    }
}

/// Services of containers, by what the containers' labels say of their dependencies: the file may
/// have changed, or be gone.
fn order(containers: &[Container]) -> Before {
    let names: BTreeSet<String> = containers
        .iter()
        .map(|container| container.service().to_owned())
        .collect();
    let edges: Vec<(String, String)> = containers
        .iter()
        .flat_map(|container| {
            let dependencies = container.label(labels::DEPENDENCIES).split(',');
            let names = dependencies
                .filter_map(|text| text.split(':').next())
                .filter(|name| !name.is_empty());
            names
                .map(|name| (container.service().to_owned(), name.to_owned()))
                .collect::<Vec<_>>()
        })
        .collect();
    graph::before(names.into_iter(), edges.into_iter(), Order::DependentsFirst)
}
