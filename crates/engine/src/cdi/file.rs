//! A file that describes devices: its form, and what may stand in it.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Deserializer, de};

use super::yaml;

/// A file: devices of one kind.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    #[serde(deserialize_with = "text")]
    cdi_version: String,
    /// `vendor.com/class`
    pub(super) kind: String,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) devices: Vec<Device>,
    /// For each container that gets any of the devices.
    #[serde(default)]
    pub(super) container_edits: ContainerEdits,
}

/// A device of a file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Device {
    #[serde(deserialize_with = "text")]
    pub(super) name: String,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) container_edits: ContainerEdits,
}

/// What a container gets.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerEdits {
    /// `NAME=value`, each.
    pub env: Vec<String>,
    /// Device nodes.
    pub device_nodes: Vec<DeviceNode>,
    /// Programs of the host that are run while the container is made.
    pub hooks: Vec<Hook>,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// Groups of the container's process.
    pub additional_gids: Vec<u32>,
    intel_rdt: Option<serde_json::Value>,
    net_devices: Option<Vec<serde_json::Value>>,
}

/// A device node.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceNode {
    /// In the container.
    pub path: String,
    /// On the host; `None`: the same.
    pub host_path: Option<String>,
    /// `c`, `u`, `b` or `p`; `None`: as on the host.
    pub r#type: Option<String>,
    /// `None`: as on the host.
    pub major: Option<i64>,
    /// `None`: as on the host.
    pub minor: Option<i64>,
    /// Permission bits.
    pub file_mode: Option<u32>,
    /// Letters of `rwm`; `None`: all.
    pub permissions: Option<String>,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
}

/// A mount.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// On the host.
    pub host_path: String,
    /// In the container.
    pub container_path: String,
    /// As in `mount -o`.
    pub options: Vec<String>,
    /// The file system; `None`: a bind.
    pub r#type: Option<String>,
}

/// A program of the host that is run for a container.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// When.
    pub hook_name: HookName,
    /// Absolute.
    pub path: PathBuf,
    /// With the program's name.
    #[serde(default)]
    pub args: Vec<String>,
    /// `NAME=value`, each.
    #[serde(default)]
    pub env: Vec<String>,
    /// Seconds it may take.
    pub timeout: Option<i64>,
}

/// When a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are the runtime specification's")]
pub enum HookName {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

/// Reads a file's text and checks it.
pub(super) fn parse(text: &str, is_json: bool) -> Result<File, String> {
    let file: File = match is_json {
        true => serde_json::from_str(text).map_err(|error| error.to_string())?,
        false => serde_json::from_value(yaml::parse(text)?).map_err(|error| error.to_string())?,
    };
    file.check()?;
    Ok(file)
}

impl File {
    fn check(&self) -> Result<(), String> {
        let mut numbers = self.cdi_version.split('.').map(str::parse::<u32>);
        if !matches!(
            (numbers.next(), numbers.next()),
            (Some(Ok(0 | 1)), Some(Ok(_)))
        ) {
            return Err(format!("unknown cdiVersion {:?}", self.cdi_version));
        }
        if !is_kind(&self.kind) {
            let kind = &self.kind;
            return Err(format!(
                "invalid kind {kind:?}: it has the form vendor.com/class"
            ));
        }
        self.container_edits.check()?;
        let mut names = std::collections::BTreeSet::new();
        for device in &self.devices {
            let name = &device.name;
            if !is_name(name, ":", |first| first.is_ascii_alphanumeric()) {
                return Err(format!("invalid device name {name:?}"));
            }
            if !names.insert(name) {
                return Err(format!("the device {name:?} is described twice"));
            }
            let checked = device.container_edits.check();
            checked.map_err(|reason| format!("device {name:?}: {reason}"))?;
        }
        Ok(())
    }
}

impl ContainerEdits {
    fn check(&self) -> Result<(), String> {
        let unnamed = |entry: &&String| !entry.contains('=') || entry.starts_with('=');
        if let Some(entry) = self.env.iter().find(unnamed) {
            return Err(format!(
                "invalid variable {entry:?}: it has the form NAME=value"
            ));
        }
        for node in &self.device_nodes {
            absolute("path of a device node", &node.path)?;
            let kind = node.r#type.as_deref().unwrap_or_default();
            if !["", "b", "c", "u", "p"].contains(&kind) {
                return Err(format!("device node {}: unknown type {kind:?}", node.path));
            }
            let access = node.permissions.as_deref().unwrap_or_default();
            if !access.chars().all(|letter| "rwm".contains(letter)) {
                let path = &node.path;
                return Err(format!(
                    "device node {path}: invalid permissions {access:?}"
                ));
            }
        }
        for mount in &self.mounts {
            absolute("containerPath of a mount", &mount.container_path)?;
            if mount.host_path.is_empty() {
                let path = &mount.container_path;
                return Err(format!("the mount at {path} has no hostPath"));
            }
        }
        for hook in &self.hooks {
            absolute("path of a hook", &hook.path.to_string_lossy())?;
            if hook.timeout.is_some_and(|seconds| seconds <= 0) {
                return Err(format!(
                    "hook {}: a timeout of nothing",
                    hook.path.display()
                ));
            }
            if matches!(hook.hook_name, HookName::Poststart | HookName::Poststop) {
                return Err(format!(
                    "hook {}: hooks after the start of a container are not run here",
                    hook.path.display()
                ));
            }
        }
        // Better no device than one that lacks something without a word.
        match (&self.intel_rdt, &self.net_devices) {
            (Some(_), _) => Err("intelRdt is not served here".to_owned()),
            (_, Some(_)) => Err("netDevices are not served here".to_owned()),
            _ => Ok(()),
        }
    }
}

fn absolute(what: &str, path: &str) -> Result<(), String> {
    match path.starts_with('/') {
        true => Ok(()),
        false => Err(format!("the {what} must be absolute, not {path:?}")),
    }
}

/// `vendor.com/class`
pub(super) fn is_kind(text: &str) -> bool {
    let letter = |first: char| first.is_ascii_alphabetic();
    text.split_once('/')
        .is_some_and(|(vendor, class)| is_name(vendor, "", letter) && is_name(class, "", letter))
}

fn is_name(text: &str, more: &str, begins: impl Fn(char) -> bool) -> bool {
    let inside = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    text.starts_with(begins)
        && text.ends_with(|last: char| last.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|letter| inside(letter) || more.contains(letter))
}

/// A text; a number that was written without quotes is one as well.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        other => Err(de::Error::custom(format!("{other} is no text"))),
    }
}
