//! What is stored of a container: enough to show it, start it and take it away after any restart.

use std::{collections::BTreeMap, path::PathBuf};

use hull_image::Snapshot;
use hull_network::{Endpoint, Published};
use hull_shim::protocol::HealthState;
use serde::{Deserialize, Serialize};

use crate::{
    model::{
        Config, ContainerId, EndpointConfig, HostConfig, IdMap, MountSource, Name, Propagation,
    },
    state::State,
    volume::Volume,
};

/// A container as the state file holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: Name,
    /// Nanoseconds since 1970.
    pub created_at_ns: i64,
    /// The digest of the image it was made from.
    pub image_id: String,
    /// `os/arch` of that image.
    pub platform: String,
    /// What runs, the image's values merged in.
    pub config: Config,
    /// How this host runs it.
    pub host: HostConfig,
    /// What was asked of networks, by their name.
    pub endpoint_configs: BTreeMap<String, EndpointConfig>,
    /// It was taken out of the network that it was made in.
    #[serde(default)]
    pub left_main_network: bool,
    /// The directories of its root.
    pub snapshot: Snapshot,
    /// What is mounted besides the root.
    pub mounts: Vec<MountPoint>,
    /// Where it is in its life.
    pub state: State,
    /// How often it was started again by its policy since the user started it.
    pub restarts: u32,
    /// The cgroup that its last start made, below the hierarchies' roots; empty: by the options.
    #[serde(default)]
    pub cgroup: String,
    /// When it ended last, before it was started again; 0: it never did.
    #[serde(default)]
    pub last_end_ns: i64,
    /// The user asked it to stop: policies keep quiet.
    pub asked_to_stop: bool,
    /// Its places in networks while it runs.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Its ports on the host while it runs.
    #[serde(default)]
    pub published: Vec<Published>,
    /// What the health check last said.
    #[serde(default)]
    pub health: Option<HealthState>,
    /// Where its json-file log is; `None`: it keeps none.
    #[serde(default)]
    pub log_path: Option<PathBuf>,
    /// It runs a command of a build: nobody sees it, and it ends with the build.
    #[serde(default)]
    pub is_build_step: bool,
    /// A build step's environment. In memory only: there may be secrets in it.
    #[serde(skip)]
    pub step_env: Vec<String>,
}

/// Something mounted into a container, all resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// What it is.
    pub kind: MountKind,
    /// The volume's name.
    pub name: Option<String>,
    /// The path on the host; empty for tmpfs.
    pub source: PathBuf,
    /// The path in the container.
    pub destination: String,
    /// The volume's driver.
    pub driver: String,
    /// The mode text as typed.
    pub mode: String,
    /// Read-only.
    pub read_only: bool,
    /// How mounts made later travel.
    pub propagation: Option<Propagation>,
    /// Whether the volume was made for this container alone, and goes with it under `--rm`.
    pub anonymous: bool,
    /// Leave out what is mounted below the source.
    #[serde(default)]
    pub non_recursive: bool,
    /// Read-only applies to the top mount alone.
    #[serde(default)]
    pub read_only_non_recursive: bool,
    /// Refuse where the kernel cannot make all of it read-only.
    #[serde(default)]
    pub read_only_force_recursive: bool,
    /// Mount options of a tmpfs.
    #[serde(default)]
    pub options: Vec<String>,
    /// The volume's id. (Records of old have none: the name is it.)
    #[serde(default)]
    pub volume: Option<String>,
    /// The digest of the image that is mounted.
    #[serde(default)]
    pub image: Option<String>,
    /// That image's layers, uppermost first.
    #[serde(default)]
    pub layers: Vec<PathBuf>,
    /// A path inside the volume or image; empty: its root.
    #[serde(default)]
    pub subpath: String,
    /// The source is made, as a directory, when it is missing.
    #[serde(default)]
    pub create_source: bool,
    /// How owners are translated.
    #[serde(default)]
    pub idmap: Option<IdMap>,
    /// Owners are those of the container's user namespace. Decided at each start.
    #[serde(skip)]
    pub mapped: bool,
}

impl MountPoint {
    /// The id of the volume it is.
    pub fn volume_id(&self) -> Option<&String> {
        self.volume.as_ref().or(self.name.as_ref())
    }
}

/// What a mount is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A path of the host.
    #[default]
    Bind,
    /// A volume.
    Volume,
    /// Memory.
    Tmpfs,
    /// Another image.
    Image,
}

impl Record {
    /// What init executes: the program and its arguments.
    pub fn command(&self) -> Vec<String> {
        let entrypoint = self.config.entrypoint.as_deref().unwrap_or_default();
        let cmd = self.config.cmd.as_deref().unwrap_or_default();
        entrypoint
            .iter()
            .filter(|word| entrypoint.len() > 1 || !word.is_empty())
            .chain(cmd)
            .cloned()
            .collect()
    }

    /// Calls a volume by its name of now; whether anything changed.
    pub(crate) fn name_volume(&mut self, volume: &Volume) -> bool {
        let mut old = None;
        for mount in &mut self.mounts {
            let is_it = mount.kind == MountKind::Volume && mount.volume_id() == Some(&volume.id);
            if is_it && mount.name.as_ref() != Some(&volume.name) {
                mount.volume = Some(volume.id.clone());
                mount.anonymous &= volume.anonymous;
                old = mount.name.replace(volume.name.clone());
            }
        }
        for spec in &mut self.host.mounts {
            if let MountSource::Volume { name, .. } = &mut spec.source
                && name.is_some()
                && *name == old
            {
                *name = Some(volume.name.clone());
            }
        }
        let Some(old) = old else {
            return false;
        };
        for text in &mut self.host.binds {
            if let Some(rest) = text.strip_prefix(&format!("{old}:")) {
                *text = format!("{}:{rest}", volume.name);
            }
        }
        true
    }

    /// The attributes of every event about it: its labels, its image and its name.
    pub fn event_attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = self.config.labels.clone();
        attributes.insert("image".to_owned(), self.config.image.clone());
        attributes.insert("name".to_owned(), self.name.to_string());
        attributes
    }

    /// The signal that ends it in good order.
    pub fn stop_signal(&self) -> i32 {
        self.config
            .stop_signal
            .as_deref()
            .and_then(crate::signal::parse)
            .unwrap_or(libc::SIGTERM)
    }
}
