//! Hands a container files that lie on no disk in the clear.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{
    Engine,
    error::{Error, Result},
    sealed::{self, SealedFile},
};

impl Engine {
    /// Hands a container files: they are in it from its next start on, read-only and in memory, instead
    /// of those that it was handed before.
    pub async fn seal(&self, reference: &str, files: Vec<SealedFile>) -> Result<()> {
        sealed::check(&files)?;
        let record = self.find(reference)?.record();
        let services = Arc::clone(self.services());
        self.services()
            .block(move || sealed::keep(&services, &record, &files))
            .await?
    }

    /// Hands a container what another one is handed. It does not leave the daemon.
    pub async fn seal_like(&self, reference: &str, model: &str) -> Result<()> {
        let (record, model) = (self.find(reference)?.record(), self.find(model)?.record());
        let services = Arc::clone(self.services());
        let copy = move || {
            let files = sealed::open(&services, &model)?.unwrap_or_default();
            sealed::keep(&services, &record, &files)
        };
        self.services().block(copy).await?
    }

    /// Whether a container is handed just these files; `None`: it is handed nothing. What those at `unknown`
    /// paths hold does not count.
    pub async fn is_sealed_with(
        &self,
        reference: &str,
        files: Vec<SealedFile>,
        unknown: &BTreeSet<String>,
    ) -> Result<Option<bool>> {
        let record = self.find(reference)?.record();
        let services = Arc::clone(self.services());
        let opened = self
            .services()
            .block(move || sealed::open(&services, &record))
            .await?;
        match opened {
            Ok(opened) => Ok(opened.map(|own| sealed::are_same(own, &files, unknown))),
            // What cannot be opened any more is not these.
            Err(Error::Unavailable(_)) => Ok(Some(false)),
            Err(error) => Err(error),
        }
    }

    /// The places of what a container is handed, with their modes and owners; what the files hold is
    /// told to nobody.
    pub async fn sealed(&self, reference: &str) -> Result<Vec<SealedFile>> {
        let record = self.find(reference)?.record();
        let services = Arc::clone(self.services());
        let opened = self
            .services()
            .block(move || sealed::open(&services, &record))
            .await??;
        let mut files = opened.unwrap_or_default();
        for file in &mut files {
            file.content.clear();
        }
        Ok(files)
    }
}
