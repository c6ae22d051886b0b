//! What a build has come to.

use std::collections::HashMap;

use hull_build::{Built, export::Attest};

/// A result. Its layers stay as long as it lives.
#[derive(Default)]
pub(crate) struct Solved {
    /// `None`: a question was answered, and nothing built.
    pub(crate) built: Option<Built>,
    /// Images made of it tell of their steps.
    pub(crate) inline_cache: bool,
    /// What is stated about images made of it.
    pub(crate) attest: Attest,
    /// Words for the client.
    pub(crate) metadata: HashMap<String, Vec<u8>>,
}

impl std::fmt::Debug for Solved {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.metadata.keys().collect();
        formatter
            .debug_struct("Solved")
            .field("is_built", &self.built.is_some())
            .field("metadata", &names)
            .finish()
    }
}
