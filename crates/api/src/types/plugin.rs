//! Plugins that are installed from registries: of what is told of one, what a list shows.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Plugin {
    pub id: String,
    pub name: String,
    pub enabled: bool,
    pub plugin_reference: String,
    pub config: PluginConfig,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PluginConfig {
    pub description: String,
}
