//! From what a container is to an OCI runtime spec.
//!
//! Pure: everything the plan depends on is in [`SpecInput`]; what must be looked up on the host (a
//! device's number) comes through [`DeviceLookup`]. Labels and annotations never change a plan:
//! annotations are copied into the spec, nothing reads them.
//!
//! The default container is Docker's, or more closed where no image can tell:
//! - fourteen capabilities for root, none for others; never inheritable or ambient ones;
//! - an allow-list of system calls ([`seccomp`]), with socket families compared as the kernel reads
//!   them;
//! - `/proc`, `/sys` and the cgroup tree masked or read-only ([`confinement`]);
//! - own mount, network, PID, IPC, UTS and (on cgroup v2) cgroup namespaces.

mod capabilities;
mod confinement;
mod devices;
mod edits;
mod facts;
mod limits;
mod mounts;
mod namespaces;
mod process;
pub mod seccomp;
mod seccomp_default;
mod sysctl;
#[cfg(test)]
mod tests;
mod validate;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use hull_oci::runtime::{Linux, LinuxIdMapping, LinuxIdMappingBuilder, Root, Spec};
use hull_sys::idmap::{Mapping, Mappings};

pub use devices::{DeviceLookup, DeviceNode, HostDevices};
pub use facts::HostFacts;
pub use limits::resources;
pub use process::{ExecRequest, environment, exec_process, health_process};
pub use validate::{validate, validate_resources};

use crate::{
    cdi::Edits,
    config::EngineConfig,
    model::{CgroupNamespace, Config, HostConfig, IpcNamespace, Ulimit},
    record::MountPoint,
    user::User,
};

/// Everything a plan depends on.
#[derive(Debug)]
pub struct SpecInput<'a> {
    /// 64 hex digits.
    pub id: &'a str,
    /// What runs, the image's values merged in.
    pub config: &'a Config,
    /// How this host runs it.
    pub host: &'a HostConfig,
    /// What init executes: the program and its arguments.
    pub command: Vec<String>,
    /// Who runs it.
    pub user: &'a User,
    /// Binds, volumes and tmpfs, all resolved; the shortest target first.
    pub mounts: &'a [MountPoint],
    /// Files the engine writes for the container.
    pub files: &'a Files,
    /// What its CDI devices bring.
    pub edits: &'a Edits,
    /// Namespaces of other containers.
    pub join: Joined,
    /// How the ids of the user namespace are others outside.
    pub ids: Option<&'a Mappings>,
    /// Whether a prepared network namespace replaces the spec's.
    pub own_network: bool,
    /// Absolute, below the cgroup mount.
    pub cgroup_path: String,
    /// What the daemon's configuration says.
    pub defaults: &'a Defaults<'a>,
    /// What the host offers.
    pub facts: &'a HostFacts,
}

/// Files the engine writes for a container; `None`: the image's own stays.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// `/etc/hosts`
    pub hosts: Option<PathBuf>,
    /// `/etc/hostname`
    pub hostname: Option<PathBuf>,
    /// `/etc/resolv.conf`
    pub resolv_conf: Option<PathBuf>,
}

/// Namespaces of other containers, by path.
#[derive(Debug, Clone, Default)]
pub struct Joined {
    /// For `NetworkMode::Container`.
    pub network: Option<PathBuf>,
    /// For `IpcNamespace::Container`.
    pub ipc: Option<PathBuf>,
    /// For `PidNamespace::Container`.
    pub pid: Option<PathBuf>,
    /// The container's user namespace, where the daemon remaps.
    pub user: Option<PathBuf>,
}

/// What the daemon's configuration says.
#[derive(Debug, Clone, Default)]
pub struct Defaults<'a> {
    /// Limits of processes, unless a container sets its own.
    pub ulimits: &'a [Ulimit],
    /// Bytes of `/dev/shm`; 0: 64 MiB.
    pub shm_size: i64,
    /// `None`: private on cgroup v2, the host's on v1.
    pub cgroup_namespace: Option<CgroupNamespace>,
    /// The IPC namespace of containers that say nothing.
    pub ipc: IpcNamespace,
    /// Containers may not gain privileges unless they say so.
    pub no_new_privileges: bool,
    /// A Docker seccomp profile's JSON that replaces the built-in one; `unconfined`: none.
    pub seccomp_profile: Option<&'a str>,
}

impl EngineConfig {
    /// What a plan needs of it.
    pub(crate) fn spec_defaults(&self) -> Defaults<'_> {
        Defaults {
            ulimits: &self.ulimits,
            shm_size: self.shm_size,
            cgroup_namespace: self.cgroup_namespace,
            ipc: self.ipc.clone(),
            no_new_privileges: self.no_new_privileges,
            seccomp_profile: self.seccomp_profile.as_deref(),
        }
    }
}

/// The request does not make a container. The texts are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// No such capability.
    #[error("invalid {list}: unknown capability: \"{name}\"")]
    Capability {
        /// `CapAdd` or `CapDrop`.
        list: &'static str,
        /// As typed.
        name: String,
    },
    /// A security option without a value.
    #[error("invalid --security-opt 1: {0:?}")]
    SecurityOptionForm(String),
    /// A security option nobody knows, or a value it cannot have.
    #[error("invalid --security-opt 2: {0:?}")]
    SecurityOption(String),
    /// The text is no seccomp profile.
    #[error("Decoding seccomp profile failed: {0}")]
    SeccompProfile(String),
    /// The kernel has no filters.
    #[error("seccomp is not enabled in your kernel, cannot run a custom seccomp profile")]
    NoSeccomp,
    /// The kernel has no AppArmor.
    #[error("AppArmor is not supported on this host, but the profile '{0}' was specified")]
    NoAppArmor(String),
    /// The setting belongs to a namespace the container does not own.
    #[error("sysctl \"{name}\" not allowed in host {namespace} namespace")]
    SysctlOfHost {
        /// As typed.
        name: String,
        /// `network`, `ipc` …
        namespace: &'static str,
    },
    /// The setting would change the whole host.
    #[error("sysctl \"{0}\" is not in a separate kernel namespace")]
    SysctlNotNamespaced(String),
    /// No such device.
    #[error("error gathering device information while adding custom device \"{path}\": {reason}")]
    Device {
        /// On the host.
        path: String,
        /// The kernel's answer.
        reason: String,
    },
    /// Not of the form `c 1:3 rwm`.
    #[error("invalid device cgroup rule format: '{0}'")]
    DeviceRule(String),
    /// Letters other than `rwm`.
    #[error("invalid device permissions: \"{0}\"")]
    DevicePermissions(String),
    /// No such limit.
    #[error("invalid ulimit type: {0}")]
    Ulimit(String),
    /// The mount's source cannot be made read-only all the way down.
    #[error("mount {0}: the kernel cannot make it read-only recursively")]
    ReadOnlyMount(String),
    /// A container cannot own what it joins.
    #[error("{0}")]
    Conflict(&'static str),
    /// A value out of its range, and alike.
    #[error("{0}")]
    Invalid(String),
}

/// The plan.
pub fn spec(input: &SpecInput<'_>) -> Result<Spec, SpecError> {
    spec_with(input, &HostDevices)
}

/// The plan, with devices looked up elsewhere.
pub fn spec_with(input: &SpecInput<'_>, lookup: &dyn DeviceLookup) -> Result<Spec, SpecError> {
    let options = confinement::SecurityOptions::parse(&input.host.security_opt)?;
    let mut spec = Spec::default();
    spec.set_version("1.2.0".to_owned());
    spec.set_root(Some(root(input)));
    spec.set_mounts(Some(mounts::plan(input, &options)?));
    spec.set_process(Some(process::init(input, &options)?));
    spec.set_hostname(namespaces::hostname(input));
    spec.set_domainname(namespaces::domainname(input));
    spec.set_annotations(annotations(input));
    spec.set_linux(Some(linux(input, &options, lookup)?));
    edits::apply(&mut spec, input.edits, lookup)?;
    Ok(spec)
}

/// The root's place is the bundle's; the shim mounts layers there.
fn root(input: &SpecInput<'_>) -> Root {
    let mut root = Root::default();
    root.set_path(Path::new("rootfs").to_owned());
    root.set_readonly(Some(input.host.readonly_rootfs));
    root
}

fn annotations(input: &SpecInput<'_>) -> Option<HashMap<String, String>> {
    let all = input.host.annotations.iter();
    let all: HashMap<_, _> = all
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    (!all.is_empty()).then_some(all)
}

fn id_mapping(map: &Mapping) -> LinuxIdMapping {
    LinuxIdMappingBuilder::default()
        .container_id(map.inside)
        .host_id(map.outside)
        .size(map.size)
        .build()
        .expect("every member is given")
}

fn linux(
    input: &SpecInput<'_>,
    options: &confinement::SecurityOptions,
    lookup: &dyn DeviceLookup,
) -> Result<Linux, SpecError> {
    let devices = devices::plan(input.host, lookup)?;
    let mut resources = limits::resources(&input.host.resources, lookup)?;
    resources.set_devices(Some(devices.rules));
    let mut linux = Linux::default();
    linux.set_namespaces(Some(namespaces::plan(input)?));
    linux.set_cgroups_path(Some(PathBuf::from(&input.cgroup_path)));
    linux.set_devices(Some(devices.nodes));
    linux.set_resources(Some(resources));
    let owners = sysctl::Owners {
        network: namespaces::network(input)?,
        ipc: namespaces::ipc(input)?,
        uts: namespaces::uts(input),
    };
    let groups = input.ids.map(|ids| ids.groups.as_slice());
    linux.set_sysctl(Some(sysctl::plan(&input.host.sysctls, &owners, groups)?));
    if let Some(ids) = input.ids {
        linux.set_uid_mappings(Some(ids.users.iter().map(id_mapping).collect()));
        linux.set_gid_mappings(Some(ids.groups.iter().map(id_mapping).collect()));
    }
    linux.set_seccomp(confinement::seccomp(input, options)?);
    linux.set_rootfs_propagation(mounts::root_propagation(input.mounts));
    let (masked, read_only) = confinement::hidden_paths(input, options);
    linux.set_masked_paths(Some(masked));
    linux.set_readonly_paths(Some(read_only));
    Ok(linux)
}
