//! Projects of Compose, as far as the daemon knows of them: Hull's own.

use serde::{Deserialize, Serialize};

/// How it stands with a project that a client wants for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ProjectHold {
    /// It is the client's for as long as it listens.
    pub held: bool,
    /// Who has it until then, in that client's words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub waits_for: String,
}
