//! Files that containers are handed and that lie on no disk in the clear: Hull's own.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// What a container is handed from its next start on, all of it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SealedFiles {
    pub files: Vec<SealedFile>,
    /// Instead of files: the container that is handed the same.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
}

/// Whether a container is handed what somebody has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SealedCompared {
    /// `null`: it is handed nothing.
    pub same: Option<bool>,
}

/// One of them. It has no `Debug` form, which would tell what is in it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SealedFile {
    /// Where in the container.
    pub path: String,
    /// In base64.
    pub content: String,
    /// Where it is only compared: whoever asks does not know what it holds.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    pub mode: u32,
    /// `null`: the container's user.
    #[serde(rename = "UID")]
    pub uid: Option<u32>,
    #[serde(rename = "GID")]
    pub gid: Option<u32>,
}

impl SealedFile {
    /// Takes what it holds.
    #[must_use]
    pub fn holding(mut self, content: &[u8]) -> Self {
        self.content = STANDARD.encode(content);
        self
    }

    /// What it holds, if that can be read.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.content).ok()
    }
}
