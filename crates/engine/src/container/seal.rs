//! Hands a container files that lie on no disk in the clear.

use std::sync::Arc;

use crate::{
    Engine,
    error::Result,
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
}
