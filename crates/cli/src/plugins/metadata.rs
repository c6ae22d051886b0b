//! What plugins say of themselves, for the front page and `info`.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::thread;

use serde::{Deserialize, Serialize};

use super::{Plugin, directories, is_name, is_program};
use crate::context::Globals;

/// The protocol's version.
const SCHEMA: &str = "0.1.0";

/// A plugin and what it is.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) plugin: Plugin,
    /// What it said, or why it is none.
    pub(crate) metadata: Result<Metadata, String>,
}

/// What a plugin says of itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Metadata {
    pub(crate) schema_version: String,
    pub(crate) vendor: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) short_description: String,
    #[serde(rename = "URL", skip_serializing_if = "String::is_empty")]
    pub(crate) url: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hidden: bool,
}

impl Described {
    /// What it says of itself, with its name and place, as JSON.
    pub(crate) fn json(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Shown<'d> {
            #[serde(flatten)]
            metadata: Option<&'d Metadata>,
            name: &'d str,
            path: &'d str,
            #[serde(skip_serializing_if = "str::is_empty")]
            err: &'d str,
        }
        let shown = Shown {
            metadata: self.metadata.as_ref().ok(),
            name: &self.plugin.name,
            path: &self.plugin.path.to_string_lossy(),
            err: self.metadata.as_ref().err().map_or("", String::as_str),
        };
        serde_json::to_string(&shown).unwrap_or_default()
    }
}

/// All plugins, by name; all are asked at once.
pub(crate) fn all(globals: &Globals) -> Vec<Described> {
    let mut found: BTreeMap<String, Plugin> = BTreeMap::new();
    for directory in directories(globals) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let (file, path) = (entry.file_name(), entry.path());
            let name = file.to_str().and_then(|file| file.strip_prefix("docker-"));
            if let Some(name) = name.filter(|_| is_program(&path)) {
                found.entry(name.to_owned()).or_insert_with(|| Plugin {
                    name: name.to_owned(),
                    path,
                });
            }
        }
    }
    let asked: Vec<_> = found
        .into_values()
        .map(|plugin| {
            let path = plugin.path.clone();
            (plugin, thread::spawn(move || ask(&path)))
        })
        .collect();
    asked
        .into_iter()
        .map(|(plugin, answer)| {
            let metadata = match is_name(&plugin.name) {
                true => answer
                    .join()
                    .unwrap_or_else(|_| Err("it cannot be asked".to_owned())),
                false => Err(format!(
                    "plugin candidate {:?} did not match \"^[a-z][a-z0-9]*$\"",
                    plugin.name
                )),
            };
            Described { plugin, metadata }
        })
        .collect()
}

fn ask(path: &std::path::Path) -> Result<Metadata, String> {
    let output = Command::new(path)
        .arg("docker-cli-plugin-metadata")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("failed to fetch metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "failed to fetch metadata: {}",
            ended(output.status)
        ));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("invalid metadata: {error}"))?;
    if metadata.schema_version != SCHEMA {
        let version = &metadata.schema_version;
        return Err(format!(
            "plugin SchemaVersion {version:?} is not valid, must be {SCHEMA}"
        ));
    }
    if metadata.vendor.is_empty() {
        return Err("plugin metadata does not define a vendor".to_owned());
    }
    Ok(metadata)
}

/// As Go tells it.
fn ended(status: std::process::ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}
