//! Volumes.

use serde::{Deserialize, Serialize};

use super::{TextMap, is_zero};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Volume {
    #[serde(skip_serializing_if = "is_zero")]
    pub created_at: String,
    pub driver: String,
    pub labels: Option<TextMap>,
    pub mountpoint: String,
    pub name: String,
    pub options: Option<TextMap>,
    pub scope: String,
    /// Whatever its driver tells.
    #[serde(skip_serializing_if = "is_zero")]
    pub status: std::collections::BTreeMap<String, serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_data: Option<VolumeUsage>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeUsage {
    pub ref_count: i64,
    pub size: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeList {
    pub volumes: Option<Vec<Volume>>,
    pub warnings: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeCreate {
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub driver: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub driver_opts: TextMap,
    #[serde(skip_serializing_if = "is_zero")]
    pub labels: TextMap,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumePrune {
    pub volumes_deleted: Option<Vec<String>>,
    pub space_reclaimed: u64,
}
