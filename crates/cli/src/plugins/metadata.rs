//! What plugins say of themselves, for the front page and `info`.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::thread;

use serde::{Deserialize, Serialize};

use super::{Plugin, directories, is_name};
use crate::commands::is_dockers;
use crate::context::Globals;
use crate::options::environment::plain;

/// The protocol's version.
const SCHEMA: &str = "0.1.0";

/// A plugin and what it is.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) plugin: Plugin,
    /// What it said, or why it is none.
    pub(crate) metadata: Result<Metadata, String>,
    /// What one that is none said all the same.
    said: Option<Metadata>,
}

/// What a plugin says of itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Metadata {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) schema_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
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
            metadata: self.metadata.as_ref().ok().or(self.said.as_ref()),
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
            let kind = entry.file_type();
            let may_be_one = kind.is_ok_and(|kind| kind.is_file() || kind.is_symlink());
            if let Some(name) = name.filter(|_| may_be_one) {
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
            let own = plugin.clone();
            (plugin, thread::spawn(move || look(&own)))
        })
        .collect();
    asked
        .into_iter()
        .map(|(plugin, answer)| {
            let answer = answer.join();
            let (metadata, said) =
                answer.unwrap_or_else(|_| (Err("it cannot be asked".to_owned()), None));
            Described {
                plugin,
                metadata,
                said,
            }
        })
        .collect()
}

/// What a plugin says of itself, or why it is none.
pub(super) fn of(plugin: &Plugin) -> Result<Metadata, String> {
    look(plugin).0
}

/// The same, and what one that is none said all the same.
fn look(plugin: &Plugin) -> (Result<Metadata, String>, Option<Metadata>) {
    let name = &plugin.name;
    if !is_name(name) {
        let why = format!("plugin candidate {name:?} did not match \"^[a-z][a-z0-9]*$\"");
        return (Err(why), None);
    }
    if is_dockers(name) {
        let why = format!("plugin {name:?} duplicates builtin command");
        return (Err(why), None);
    }
    let said = match ask(&plugin.path) {
        Ok(said) => said,
        Err(why) => return (Err(why), None),
    };
    match flaw(&said) {
        None => (Ok(said), None),
        Some(why) => (Err(why), Some(said)),
    }
}

fn ask(path: &std::path::Path) -> Result<Metadata, String> {
    let output = Command::new(path)
        .arg("docker-cli-plugin-metadata")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| {
            let (path, why) = (path.display(), plain(&error));
            format!("failed to fetch metadata: fork/exec {path}: {why}")
        })?;
    if !output.status.success() {
        return Err(format!(
            "failed to fetch metadata: {}",
            ended(output.status)
        ));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("invalid metadata: {error}"))
}

/// What is wrong with what a plugin says of itself.
fn flaw(said: &Metadata) -> Option<String> {
    if said.schema_version != SCHEMA {
        let version = &said.schema_version;
        return Some(format!(
            "plugin SchemaVersion {version:?} is not valid, must be {SCHEMA}"
        ));
    }
    let is_nobodys = said.vendor.is_empty();
    is_nobodys.then(|| "plugin metadata does not define a vendor".to_owned())
}

/// As Go tells it.
fn ended(status: std::process::ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}
