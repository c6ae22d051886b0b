//! Images: pulled where they are missing, as the policy of their service says.

use std::collections::BTreeMap;

use hull_api::client::ImageCreateOptions;

use super::graph::each;
use super::{ApplyError, Engine, Named, Result, Standing};
use crate::model::Service;
use crate::plan::state::Image;

/// When images are pulled, whatever services say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pull {
    /// As each service says.
    #[default]
    Policy,
    /// Always.
    Always,
    /// When they are not there.
    Missing,
    /// Never.
    Never,
}

impl Engine<'_> {
    /// Gets the images that are not there, or not new enough; returns all that are there.
    pub(super) async fn ensure_images(
        &self,
        pull: &Pull,
        quiet: bool,
    ) -> Result<BTreeMap<String, Image>> {
        let found = super::observe::images(self.client, self.project).await?;
        let mut wanted: BTreeMap<String, Service> = BTreeMap::new();
        for service in self
            .project
            .services
            .values()
            .filter(|service| service.provider.is_none())
        {
            let name = service.image_name(&self.project.name);
            if self.must_pull(service, pull, found.contains_key(&name))? {
                wanted.entry(name).or_insert_with(|| service.clone());
            }
            for image in service.pre_start.iter().map(|hook| &hook.image) {
                if !image.is_empty() && !found.contains_key(image) {
                    let mut step = service.clone();
                    step.image.clone_from(image);
                    step.build = None;
                    wanted.entry(image.clone()).or_insert(step);
                }
            }
        }
        if wanted.is_empty() {
            return Ok(found);
        }
        each(&wanted, self.parallel, |(_, service)| {
            self.pull(service, quiet)
        })
        .await?;
        super::observe::images(self.client, self.project).await
    }

    fn must_pull(&self, service: &Service, pull: &Pull, is_there: bool) -> Result<bool> {
        let name = service.image_name(&self.project.name);
        let policy = match pull {
            Pull::Policy => service.pull_policy.as_str(),
            Pull::Always => "always",
            Pull::Missing => "missing",
            Pull::Never => "never",
        };
        if service.build.is_some() && (is_there || service.image.is_empty() || policy == "build") {
            // In a rehearsal nothing was built, and all goes on as if it had been.
            return match is_there || self.client.is_rehearsal() {
                true => Ok(false),
                false => Err(ApplyError::Service {
                    service: service.name.clone(),
                    message: format!(
                        "the image {name} is not there, and is built from {}: build it first",
                        service.name
                    ),
                }),
            };
        }
        match policy {
            "always" => Ok(true),
            "never" if !is_there => Err(ApplyError::Service {
                service: service.name.clone(),
                message: format!("the image {name} is not there, and is not to be pulled"),
            }),
            "never" => Ok(false),
            _ => Ok(!is_there),
        }
    }

    /// Pulls the image of a service.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn pull(&self, service: &Service, quiet: bool) -> Result<()> {
        let name = service.image_name(&self.project.name);
        let what = service.name.clone();
        self.working(&what, "Pulling");
        if self.client.is_rehearsal() {
            return self.told(&what, "Pulled", Ok(()));
        }
        let (image, tag) = split(&name);
        let options = ImageCreateOptions {
            from_image: image.to_owned(),
            tag: tag.to_owned(),
            platform: service.platform.clone(),
            ..ImageCreateOptions::default()
        };
        let result = self.pulled(&options, &name, &what, quiet).await;
        self.told(&what, "Pulled", result)
    }

    async fn pulled(
        &self,
        options: &ImageCreateOptions,
        name: &str,
        what: &str,
        quiet: bool,
    ) -> Result<()> {
        let auth = (self.credentials)(name);
        let mut stream = self
            .client
            .image_create(options, auth.as_ref(), None)
            .await
            .named("pull", name)?;
        while let Some(message) = stream.next_item().await {
            let message = message.named("pull", name)?;
            if let Some(error) = message.error_detail {
                return Err(ApplyError::Other(format!(
                    "cannot pull {name}: {}",
                    error.message
                )));
            }
            if !message.error.is_empty() {
                return Err(ApplyError::Other(format!(
                    "cannot pull {name}: {}",
                    message.error
                )));
            }
            if !quiet && !message.id.is_empty() {
                let status = format!("{} {}", message.id, message.status);
                self.report.progress(what, &status, Standing::Working);
            }
        }
        Ok(())
    }

    /// Pushes the image of a service.
    ///
    /// # Errors
    /// When it is not taken.
    pub async fn push(&self, service: &Service) -> Result<()> {
        let name = service.image_name(&self.project.name);
        let what = service.name.clone();
        self.working(&what, "Pushing");
        if self.client.is_rehearsal() {
            return self.told(&what, "Pushed", Ok(()));
        }
        let (image, tag) = split(&name);
        let auth = (self.credentials)(&name);
        let result = async {
            let mut stream = self
                .client
                .image_push(image, tag, "", auth.as_ref())
                .await
                .named("push", &name)?;
            while let Some(message) = stream.next_item().await {
                let message = message.named("push", &name)?;
                if let Some(error) = message.error_detail {
                    return Err(ApplyError::Other(format!(
                        "cannot push {name}: {}",
                        error.message
                    )));
                }
            }
            Ok(())
        }
        .await;
        self.told(&what, "Pushed", result)
    }
}

/// The name without its tag or digest, and that.
fn split(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (name, digest);
    }
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_split_into_name_and_tag() {
        assert_eq!(split("nginx"), ("nginx", "latest"));
        assert_eq!(split("h:5000/a/b"), ("h:5000/a/b", "latest"));
        assert_eq!(split("h:5000/a:1"), ("h:5000/a", "1"));
        assert_eq!(split("a@sha256:00"), ("a", "sha256:00"));
    }
}
