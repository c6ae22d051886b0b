//! Verbs on lists of manifests: one name for several platforms. Members may be here, or in a
//! registry alone.

use std::sync::Arc;

use hull_image::store::{ListMember, PlatformChange};
use hull_oci::{Descriptor, Digest, Reference};
use hull_registry::{Credentials, pull};

use crate::{
    Engine,
    error::{Error, Result},
    image::{parse_reference, users_of},
    ship::RegistryAccess,
};

impl Engine {
    /// Makes a list of images, or adds to it; its id. What is not here is looked at where its name
    /// says; the credentials are for the registry of the list's name.
    pub async fn manifest_create(
        &self,
        name: &str,
        members: Vec<String>,
        amend: bool,
        access: &RegistryAccess,
    ) -> Result<String> {
        let name = parse_reference(name)?;
        let mut found = Vec::new();
        for member in members {
            found.push(self.list_member(&name, member, access).await?);
        }
        let services = Arc::clone(self.services());
        let make = move || {
            let _nobody_chooses = services.makings.nobody_chooses();
            let users = |id: &Digest| users_of(&services, id);
            services.images.create_list(&name, &found, amend, &users)
        };
        let id = self.services().block(make).await??;
        self.services().sweep();
        Ok(id.to_string())
    }

    async fn list_member(
        &self,
        list: &Reference,
        member: String,
        access: &RegistryAccess,
    ) -> Result<ListMember> {
        let Some(repository) = self.named_elsewhere(&member)? else {
            return Ok(ListMember::Here(member));
        };
        let own = access.credentials.as_ref();
        let own = own.filter(|_| repository.domain() == list.domain());
        let client = self.registry_of(&repository, access.insecure);
        let manifests = pull::members(&client, &repository, own).await?;
        Ok(ListMember::Elsewhere {
            repository,
            manifests,
        })
    }

    /// The reference of an image that is not here; `None`: it is.
    fn named_elsewhere(&self, name: &str) -> Result<Option<Reference>> {
        match self.images().id(name) {
            Ok(_) => Ok(None),
            Err(hull_image::Error::NoSuchImage(_)) => parse_reference(name).map(Some),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes what a list says of one member; the list's new id.
    pub async fn manifest_annotate(
        &self,
        name: &str,
        member: &str,
        change: PlatformChange,
        credentials: Option<&Credentials>,
    ) -> Result<String> {
        let own: Vec<Digest> = match self.named_elsewhere(member)? {
            None => self.images().manifests_of(member)?,
            Some(reference) => match reference.digest() {
                Some(digest) => vec![digest.clone()],
                None => {
                    let client = self.registries();
                    let manifests = pull::members(&client, &reference, credentials).await?;
                    manifests.into_iter().map(|member| member.digest).collect()
                }
            },
        };
        let services = Arc::clone(self.services());
        let (name, member) = (name.to_owned(), member.to_owned());
        let annotate = move || {
            let _nobody_chooses = services.makings.nobody_chooses();
            let users = |id: &Digest| users_of(&services, id);
            let images = &services.images;
            images.annotate_list(&name, &member, &own, &change, &users)
        };
        let id = self.services().block(annotate).await??;
        self.services().sweep();
        Ok(id.to_string())
    }

    /// Takes lists away that were made here; their members stay.
    pub async fn manifest_remove(&self, name: &str) -> Result<()> {
        let (services, name) = (Arc::clone(self.services()), name.to_owned());
        let remove = move || {
            let _nobody_chooses = services.makings.nobody_chooses();
            let users = |id: &Digest| users_of(&services, id);
            services.images.remove_list(&name, &users)
        };
        self.services().block(remove).await??;
        self.services().sweep();
        Ok(())
    }

    /// The index or manifest of an image, as it is: of one that is not here, as its registry has it.
    /// `member`: one of the index's manifests instead.
    pub async fn manifest_document(
        &self,
        name: &str,
        member: Option<Digest>,
        access: &RegistryAccess,
    ) -> Result<(Descriptor, Vec<u8>)> {
        if let Some(member) = member {
            return self.member_document(name, member, access).await;
        }
        // What a registry has of a name is asked there, as with Docker: only lists that are being made
        // here, and what a digest or an id names, is told from here.
        let reference = parse_reference(name).ok();
        let is_tagged =
            |own: &Reference| own.digest().is_none() && !self.images().is_made_list(own);
        let asked = match reference.filter(|_| !self.is_id(name)).filter(is_tagged) {
            None => self.named_elsewhere(name)?,
            asked => asked,
        };
        if let Some(reference) = asked {
            let client = self.registry_of(&reference, access.insecure);
            let own = access.credentials.as_ref();
            return Ok(pull::document(&client, &reference, own).await?);
        }
        let (images, name) = (Arc::clone(self.images()), name.to_owned());
        Ok(self
            .services()
            .block(move || images.document_of(&name))
            .await??)
    }

    /// Whether that is how an image that is here is numbered, not named.
    fn is_id(&self, text: &str) -> bool {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && self.images().id(text).is_ok()
    }

    /// From here, or from the repository that has it: the list's own, or one it was made of.
    async fn member_document(
        &self,
        name: &str,
        member: Digest,
        access: &RegistryAccess,
    ) -> Result<(Descriptor, Vec<u8>)> {
        let list = parse_reference(name)?;
        let (images, own, wanted) = (Arc::clone(self.images()), list.clone(), member.clone());
        let (here, sources) = self
            .services()
            .block(move || (images.member_document(&wanted), images.sources_of(&own)))
            .await?;
        if let Some(found) = here? {
            return Ok(found);
        }
        let mut outcome = Err(Error::Invalid(format!("{name} names no repository")));
        for repository in [list.clone()].into_iter().chain(sources) {
            let own = access.credentials.as_ref();
            let own = own.filter(|_| repository.domain() == list.domain());
            let client = self.registry_of(&repository, access.insecure);
            let reference = repository.with_digest(member.clone());
            outcome = pull::document(&client, &reference, own)
                .await
                .map_err(Error::from);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}
