//! What the host offers.

use std::{fs, path::Path};

use hull_sys::{capability, capability::CapabilitySet, cgroup};

use crate::apparmor;

/// What the host offers.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// 1 or 2.
    pub cgroup_version: u8,
    /// Where controllers are mounted.
    pub cgroups: cgroup::Host,
    /// What the daemon may give away.
    pub capabilities: CapabilitySet,
    /// Processors that containers may use.
    pub cpus: u32,
    /// `0-3`: processors that cpuset limits may name.
    pub cpuset_cpus: String,
    /// `0`: memory nodes that cpuset limits may name.
    pub cpuset_mems: String,
    /// AppArmor confines processes.
    pub apparmor: bool,
    /// The kernel filters system calls.
    pub seccomp: bool,
    /// `(6, 18)`
    pub kernel: (u32, u32),
    /// `/sys/devices/system/cpu/cpu0/thermal_throttle` and so on, where they exist.
    pub thermal_paths: Vec<String>,
}

impl HostFacts {
    /// Looks at this host.
    pub fn detect() -> Self {
        let cgroups = cgroup::Host::detect().unwrap_or_else(|error| {
            tracing::warn!(%error, "no cgroups: containers run without limits");
            cgroup::Host::V1(Vec::new())
        });
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let text = |path: &str| {
            fs::read_to_string(path)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        Self {
            cgroup_version: if cgroups.is_v2() { 2 } else { 1 },
            cgroups,
            capabilities: capability::current().map_or(CapabilitySet::EMPTY, |all| {
                all.permitted.intersection(all.bounding)
            }),
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
            cpuset_cpus: text("/sys/devices/system/cpu/online"),
            cpuset_mems: text("/sys/devices/system/node/online"),
            apparmor: apparmor::is_usable(),
            seccomp: Path::new("/proc/sys/kernel/seccomp").exists(),
            kernel: kernel_version(&text("/proc/sys/kernel/osrelease")),
            thermal_paths: thermal_paths(),
        }
    }

    /// Whether a bind can be made read-only with all that is mounted below it (Linux 5.12).
    pub fn has_recursive_read_only(&self) -> bool {
        self.kernel >= (5, 12)
    }
}

/// Takes `6.18.0-1-amd64`.
fn kernel_version(text: &str) -> (u32, u32) {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().ok());
    let mut next = || numbers.next().flatten().unwrap_or(0);
    (next(), next())
}

fn thermal_paths() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu") else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path().join("thermal_throttle"))
        .filter(|path| path.is_dir())
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernels_version_is_its_first_two_numbers() {
        assert_eq!(kernel_version("6.18.0-1-amd64"), (6, 18));
        assert_eq!(kernel_version("5.4"), (5, 4));
        assert_eq!(kernel_version("odd"), (0, 0));
    }
}
