//! Facts about the engine and its host.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{Engine, cdi::Catalogue, error::Result, state::State, store::Kind};

/// Facts about the engine and its host.
#[derive(Debug, Clone)]
pub struct Info {
    /// Lasts as long as the data root.
    pub id: String,
    /// Containers that run.
    pub running: usize,
    /// Containers that are frozen.
    pub paused: usize,
    /// All other containers.
    pub stopped: usize,
    /// Names of images.
    pub images: usize,
    /// The host's name.
    pub name: String,
    /// `6.18.0`.
    pub kernel: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub operating_system: String,
    /// `12`.
    pub os_version: String,
    /// `x86_64`.
    pub machine: String,
    /// Processors.
    pub cpus: usize,
    /// Bytes.
    pub memory: u64,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// The file system that holds the data root.
    pub backing_file_system: String,
    /// Open descriptors of the daemon.
    pub descriptors: usize,
    /// Whether packets are forwarded.
    pub ip_forwarding: bool,
    /// AppArmor confines containers.
    pub has_apparmor: bool,
    /// What on this host keeps containers from the network, for people.
    pub warnings: Vec<String>,
    /// CDI devices that files of the host describe, by name.
    pub cdi_devices: Vec<String>,
}

/// A fact that is kept.
#[derive(Serialize, Deserialize)]
struct Identity(String);

impl Engine {
    /// Facts about the engine and its host.
    pub async fn info(&self) -> Result<Info> {
        let (mut running, mut paused, mut stopped) = (0, 0, 0);
        for record in self.containers() {
            match record.state {
                State::Running(_) => running += 1,
                State::Paused(_) => paused += 1,
                _ => stopped += 1,
            }
        }
        let services = std::sync::Arc::clone(self.services());
        self.services()
            .block(move || {
                let uname = rustix::system::uname();
                let cdi = Catalogue::read(&services.config.cdi_directories).list();
                let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
                Ok(Info {
                    id: identity(&services)?,
                    running,
                    paused,
                    stopped,
                    images: services.images.count(),
                    name: uname.nodename().to_string_lossy().into_owned(),
                    kernel: uname.release().to_string_lossy().into_owned(),
                    operating_system: os_release(&release, "PRETTY_NAME"),
                    os_version: os_release(&release, "VERSION_ID"),
                    machine: uname.machine().to_string_lossy().into_owned(),
                    cpus: std::thread::available_parallelism().map_or(1, Into::into),
                    memory: services.memory,
                    cgroup_version: services.host.cgroup_version,
                    backing_file_system: file_system(services.paths.data()),
                    descriptors: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
                    ip_forwarding: reads_one("/proc/sys/net/ipv4/ip_forward"),
                    has_apparmor: services.host.apparmor,
                    warnings: services.networks.kernel.warnings().unwrap_or_default(),
                    cdi_devices: cdi.into_iter().map(|listed| listed.name).collect(),
                })
            })
            .await?
    }
}

/// Made up once per data root.
fn identity(services: &crate::services::Services) -> Result<String> {
    if let Some(Identity(id)) = services.store.get(Kind::Setting, "id")? {
        return Ok(id);
    }
    let hex = crate::model::ContainerId::random().to_string();
    let id = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..32],
    ]
    .join("-");
    services
        .store
        .put(Kind::Setting, "id", &Identity(id.clone()))?;
    Ok(id)
}

fn os_release(text: &str, key: &str) -> String {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.map_or_else(
        || "unknown".to_owned(),
        |value| value.trim_matches('"').to_owned(),
    )
}

/// Bytes of the host's memory.
pub(crate) fn memory_total() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?
            .trim()
            .strip_suffix("kB")?
            .trim()
            .parse::<u64>()
            .ok()
    });
    kib.unwrap_or(0) * 1024
}

fn reads_one(path: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}

/// The name of the file system that holds `path`.
pub(crate) fn file_system(path: &Path) -> String {
    const KNOWN: [(i64, &str); 7] = [
        (0xEF53, "extfs"),
        (0x5846_5342, "xfs"),
        (0x9123_683E, "btrfs"),
        (0x0102_1994, "tmpfs"),
        (0x794c_7630, "overlayfs"),
        (0x2FC1_2FC1, "zfs"),
        (0xF2F5_2010, "f2fs"),
    ];
    let Ok(found) = rustix::fs::statfs(path) else {
        return "unknown".to_owned();
    };
    let name = KNOWN.iter().find(|(magic, _)| *magic == found.f_type);
    name.map_or_else(
        || format!("{:#x}", found.f_type),
        |(_, name)| (*name).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn os_release_values_lose_their_quotes() {
        let text = "NAME=x\nPRETTY_NAME=\"Debian 12\"\nVERSION_ID=\"12\"\n";
        assert_eq!(super::os_release(text, "PRETTY_NAME"), "Debian 12");
        assert_eq!(super::os_release(text, "NONE"), "unknown");
    }
}
