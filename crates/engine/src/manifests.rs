//! Verbs on lists of manifests: one name for several platforms.

use std::sync::Arc;

use hull_image::store::PlatformChange;
use hull_oci::{Descriptor, Reference};

use crate::{
    Engine,
    error::{Error, Result},
};

impl Engine {
    /// Makes a list of images that are here, or adds to it; its id.
    pub async fn manifest_create(
        &self,
        name: &str,
        members: Vec<String>,
        amend: bool,
    ) -> Result<String> {
        let name: Reference = name
            .parse()
            .map_err(|error: hull_oci::InvalidReference| Error::Invalid(error.to_string()))?;
        let images = Arc::clone(self.images());
        let id = self
            .services()
            .block(move || images.create_list(&name, &members, amend))
            .await??;
        self.services().sweep();
        Ok(id.to_string())
    }

    /// Changes what a list says of one member; the list's new id.
    pub async fn manifest_annotate(
        &self,
        name: &str,
        member: &str,
        change: PlatformChange,
    ) -> Result<String> {
        let images = Arc::clone(self.images());
        let (name, member) = (name.to_owned(), member.to_owned());
        let id = self
            .services()
            .block(move || images.annotate_list(&name, &member, &change))
            .await??;
        self.services().sweep();
        Ok(id.to_string())
    }

    /// The index or manifest of an image, as it is.
    pub async fn manifest_document(&self, name: &str) -> Result<(Descriptor, Vec<u8>)> {
        let (images, name) = (Arc::clone(self.images()), name.to_owned());
        Ok(self
            .services()
            .block(move || images.document_of(&name))
            .await??)
    }
}
