//! What Hull tells of its disk beyond Docker's `df`.

use serde::{Deserialize, Serialize};

/// What a check of the data root found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct FsckReport {
    pub findings: Vec<FsckFinding>,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct FsckFinding {
    /// `damaged`, `missing`, `orphan`.
    pub trouble: String,
    pub object: String,
    pub problem: String,
    /// Bytes of disk it takes in vain.
    pub size: i64,
    /// Whether it is mended now.
    pub mended: bool,
    /// How it was mended, or why it was not.
    pub remark: String,
}

/// What of the data root belongs to whom.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DiskAccount {
    pub lines: Vec<DiskAccountLine>,
    pub total: i64,
    /// Bytes that images and disposable volumes may take; 0: as many as there are.
    pub budget: i64,
    pub standings: Vec<DiskStanding>,
}

/// One line of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DiskAccountLine {
    pub what: String,
    pub size: i64,
    pub reclaimable: i64,
    /// How to have it back.
    pub hint: String,
}

/// An image or a disposable volume, and why it is kept or when its turn to go comes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DiskStanding {
    /// `image` or `volume`.
    pub kind: String,
    pub id: String,
    pub names: Vec<String>,
    pub size: i64,
    /// Unix seconds; 0: never.
    pub last_used: i64,
    /// `in use`, `recent`, or its place in the line.
    pub standing: String,
}
