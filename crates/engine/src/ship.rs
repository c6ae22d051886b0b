//! Verbs that carry images between this host and registries.

use std::sync::Arc;

use hull_oci::{Descriptor, Platform, Reference};
use hull_registry::client::{Found, SearchFilter};
use hull_registry::pull::Pull;
use hull_registry::push::Push;
use hull_registry::{Client, Credentials, Progress, Settings, pull, push};

use crate::{
    Engine,
    error::{Error, Result},
    image::{parse_platform, parse_reference},
};

/// The order to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// With a tag or a digest; with neither, all tags of the repository are meant.
    pub reference: String,
    /// `None`: the best for this host.
    pub platform: Option<String>,
    /// For whom.
    pub credentials: Option<Credentials>,
}

/// The order to push.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// With a tag; without, all tags of the repository are meant.
    pub reference: String,
    /// What is pushed, instead of what the name leads to here. The name may have this digest then.
    pub target: Option<Descriptor>,
    /// Only this platform's image.
    pub platform: Option<String>,
    /// Whether a list may not be replaced by the one of its images that is here.
    pub whole: bool,
    /// For whom.
    pub credentials: Option<Credentials>,
    /// This once, who answers without a certificate that is trusted is believed.
    pub insecure: bool,
}

/// How a registry is asked for one thing.
#[derive(Debug, Clone, Default)]
pub struct RegistryAccess {
    /// For whom.
    pub credentials: Option<Credentials>,
    /// This once, who answers without a certificate that is trusted is believed.
    pub insecure: bool,
}

impl Engine {
    /// What speaks to the registry of a name, this once.
    pub(crate) fn registry_of(&self, name: &Reference, insecure: bool) -> Arc<Client> {
        let usual = self.registries();
        if !insecure {
            return usual;
        }
        let mut settings = usual.settings().clone();
        settings.insecure.push(name.domain().to_owned());
        Arc::new(Client::new(settings))
    }

    /// What speaks to registries now.
    pub fn registries(&self) -> Arc<Client> {
        self.services().registries.load_full()
    }

    /// Lets other settings hold from now on; what goes on is not disturbed.
    pub fn set_registries(&self, settings: Settings) {
        let client = Client::new(settings);
        self.services().registries.store(Arc::new(client));
    }

    /// Pulls an image, or all tags of a repository.
    pub async fn image_pull(&self, options: PullOptions, progress: &Progress) -> Result<()> {
        let reference = parse_reference(&options.reference)?;
        let platform = parse_platform(options.platform.as_deref())?;
        let client = self.registries();
        let credentials = options.credentials;
        if reference.tag().is_some() || reference.digest().is_some() {
            return self
                .pull_one(&client, reference, platform, credentials, progress)
                .await;
        }
        let tags = pull::tags(&client, &reference, credentials.as_ref()).await?;
        for tag in tags {
            let Ok(tagged) = reference.clone().with_tag(&tag) else {
                continue;
            };
            self.pull_one(
                &client,
                tagged,
                platform.clone(),
                credentials.clone(),
                progress,
            )
            .await?;
        }
        Ok(())
    }

    async fn pull_one(
        &self,
        client: &Client,
        reference: Reference,
        platform: Option<Platform>,
        credentials: Option<Credentials>,
        progress: &Progress,
    ) -> Result<()> {
        let order = Pull {
            reference,
            platform,
            credentials,
        };
        pull::pull(client, self.images(), &order, progress).await?;
        let reference = order.reference;
        self.say_image(
            "pull",
            &reference.familiar(),
            &reference.familiar_repository(),
        );
        Ok(())
    }

    /// Pushes an image, or all tags of a repository.
    pub async fn image_push(&self, options: PushOptions, progress: &Progress) -> Result<()> {
        let reference = parse_reference(&options.reference)?;
        if reference.digest().is_some() && options.target.is_none() {
            return Err(Error::Invalid("cannot push a digest reference".to_owned()));
        }
        let references = match reference.tag() {
            Some(_) => vec![reference],
            None if options.target.is_some() => vec![reference],
            None => self.tags_to_push(&reference)?,
        };
        let platform = parse_platform(options.platform.as_deref())?;
        for reference in references {
            let client = self.registry_of(&reference, options.insecure);
            let order = Push {
                reference,
                platform: platform.clone(),
                whole: options.whole,
                credentials: options.credentials.clone(),
            };
            let target = options.target.clone();
            push::push_target(&client, self.images(), target, &order, progress).await?;
            let reference = order.reference;
            self.say_image(
                "push",
                &reference.familiar(),
                &reference.familiar_repository(),
            );
        }
        Ok(())
    }

    fn tags_to_push(&self, repository: &Reference) -> Result<Vec<Reference>> {
        let found = self.images().tags_in(repository);
        if found.is_empty() {
            let name = repository.familiar_repository();
            return Err(Error::Invalid(format!(
                "An image does not exist locally with the tag: {name}"
            )));
        }
        Ok(found)
    }

    /// Tries credentials; gives what is to be kept instead of the password, if there is such.
    pub async fn registry_login(
        &self,
        server: &str,
        credentials: &Credentials,
    ) -> Result<Option<String>> {
        Ok(self.registries().login(server, credentials).await?)
    }

    /// What a registry says about an image, and for which platforms it is.
    pub async fn registry_look(
        &self,
        reference: &str,
        credentials: Option<&Credentials>,
    ) -> Result<(Descriptor, Vec<Platform>)> {
        let reference = parse_reference(reference)?;
        Ok(pull::look(&self.registries(), &reference, credentials).await?)
    }

    /// Repositories a registry finds.
    pub async fn registry_search(
        &self,
        term: &str,
        filter: &SearchFilter,
        credentials: Option<&Credentials>,
    ) -> Result<Vec<Found>> {
        Ok(self.registries().search(term, filter, credentials).await?)
    }
}
