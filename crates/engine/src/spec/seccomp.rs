//! Docker's form of a seccomp profile, turned into the OCI's.
//!
//! Docker's form says when a rule holds: `includes` and `excludes` name capabilities of the
//! container, architectures and the oldest kernel; `archMap` says which architectures go together.

use hull_oci::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSyscall,
};
use hull_sys::capability::{Capability, CapabilitySet};
use serde::Deserialize;

use super::SpecError;

/// What conditions of a profile are compared with.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings {
    /// What root in the container holds.
    pub granted: CapabilitySet,
    /// `(6, 18)`
    pub kernel: (u32, u32),
}

/// What is native here: Docker's word, the OCI's, and what runs beside it.
#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: (&str, Arch, &[Arch]) = (
    "amd64",
    Arch::ScmpArchX86_64,
    &[Arch::ScmpArchX86, Arch::ScmpArchX32],
);
/// What is native here: Docker's word, the OCI's, and what runs beside it.
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: (&str, Arch, &[Arch]) =
    ("arm64", Arch::ScmpArchAarch64, &[Arch::ScmpArchArm]);
/// What is native here: Docker's word, the OCI's, and what runs beside it.
#[cfg(target_arch = "riscv64")]
pub(super) const NATIVE: (&str, Arch, &[Arch]) = ("riscv64", Arch::ScmpArchRiscv64, &[]);
/// What is native here: Docker's word, the OCI's, and what runs beside it.
#[cfg(target_arch = "loongarch64")]
pub(super) const NATIVE: (&str, Arch, &[Arch]) = ("loong64", Arch::ScmpArchLoongarch64, &[]);

/// Turns a Docker profile's JSON (an OCI profile's is one as well) into what it means here.
pub fn from_docker_profile(
    json: &str,
    surroundings: &Surroundings,
) -> Result<LinuxSeccomp, SpecError> {
    let refuse = |reason: &str| SpecError::SeccompProfile(reason.to_owned());
    let profile: Profile =
        serde_json::from_str(json).map_err(|error| refuse(&error.to_string()))?;
    let mut seccomp = LinuxSeccomp::default();
    seccomp.set_default_action(profile.default_action);
    seccomp.set_default_errno_ret(profile.default_errno_ret);
    seccomp.set_architectures(Some(profile.architectures()?));
    seccomp.set_flags(profile.flags);
    seccomp.set_listener_path(
        profile
            .listener_path
            .filter(|path| !path.as_os_str().is_empty()),
    );
    seccomp.set_listener_metadata(profile.listener_metadata.filter(|text| !text.is_empty()));
    let mut rules = Vec::new();
    for rule in profile.syscalls.unwrap_or_default() {
        let holds = rule
            .includes
            .as_ref()
            .is_none_or(|when| when.holds(surroundings))
            && !rule
                .excludes
                .as_ref()
                .is_some_and(|when| when.any_holds(surroundings));
        let names = match (rule.name, rule.names) {
            (Some(_), Some(names)) if !names.is_empty() => {
                return Err(refuse("use either 'name' or 'names'"));
            }
            (Some(name), _) => vec![name],
            (None, names) => names.unwrap_or_default(),
        };
        if holds {
            rules.push(syscall(
                names,
                rule.action,
                rule.errno_ret,
                rule.args.unwrap_or_default(),
            ));
        }
    }
    seccomp.set_syscalls(Some(rules));
    Ok(seccomp)
}

pub(super) fn syscall(
    names: Vec<String>,
    action: LinuxSeccompAction,
    errno: Option<u32>,
    args: Vec<LinuxSeccompArg>,
) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names);
    rule.set_action(action);
    rule.set_errno_ret(errno);
    rule.set_args((!args.is_empty()).then_some(args));
    rule
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<Arch>>,
    arch_map: Option<Vec<ArchMap>>,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<std::path::PathBuf>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<LinuxSeccompArg>>,
    includes: Option<When>,
    excludes: Option<When>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct When {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Profile {
    fn architectures(&self) -> Result<Vec<Arch>, SpecError> {
        let own = self.architectures.as_ref().filter(|list| !list.is_empty());
        let map = self.arch_map.as_ref().filter(|list| !list.is_empty());
        match (own, map) {
            (Some(_), Some(_)) => Err(SpecError::SeccompProfile(
                "use either 'architectures' or 'archMap'".to_owned(),
            )),
            (Some(own), None) => Ok(own.clone()),
            (None, map) => {
                let entry = map
                    .into_iter()
                    .flatten()
                    .find(|entry| entry.architecture == NATIVE.1);
                let beside = entry.and_then(|entry| entry.sub_architectures.clone());
                Ok(std::iter::once(NATIVE.1)
                    .chain(beside.unwrap_or_default())
                    .collect())
            }
        }
    }
}

impl When {
    /// All that is named is the case.
    fn holds(&self, surroundings: &Surroundings) -> bool {
        let caps = self
            .caps
            .iter()
            .flatten()
            .all(|name| holds_capability(name, surroundings));
        let arch = self.arches.as_ref().is_none_or(|arches| is_native(arches));
        let kernel = self
            .min_kernel
            .as_ref()
            .is_none_or(|text| is_new(text, surroundings));
        caps && arch && kernel
    }

    /// Any of what is named is the case.
    fn any_holds(&self, surroundings: &Surroundings) -> bool {
        self.caps
            .iter()
            .flatten()
            .any(|name| holds_capability(name, surroundings))
            || self.arches.as_ref().is_some_and(|arches| is_native(arches))
            || self
                .min_kernel
                .as_ref()
                .is_some_and(|text| is_new(text, surroundings))
    }
}

fn holds_capability(name: &str, surroundings: &Surroundings) -> bool {
    Capability::from_name(name).is_some_and(|capability| surroundings.granted.contains(capability))
}

/// An empty list names every architecture.
fn is_native(arches: &[String]) -> bool {
    arches.is_empty() || arches.iter().any(|arch| arch == NATIVE.0)
}

fn is_new(text: &str, surroundings: &Surroundings) -> bool {
    let mut numbers = text
        .split('.')
        .map(|number| number.parse().unwrap_or(u32::MAX));
    let least = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    surroundings.kernel >= least
}
