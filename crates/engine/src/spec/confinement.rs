//! What a container may not see or call: security options, hidden paths, the filter.

use std::collections::BTreeSet;

use hull_oci::runtime::LinuxSeccomp;

use super::{HostFacts, SpecError, SpecInput, capabilities, seccomp, seccomp_default};
use crate::{apparmor::DEFAULT_PROFILE, model::HostConfig};

/// `--security-opt`, read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SecurityOptions {
    pub(super) seccomp: Option<String>,
    pub(super) apparmor: Option<String>,
    pub(super) no_new_privileges: Option<bool>,
    pub(super) labels: Vec<String>,
    pub(super) open_system_paths: bool,
    pub(super) writable_cgroups: bool,
}

/// Docker's list, and `/proc/key-users`, which tells of other users' keys.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Docker's list.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

impl SecurityOptions {
    /// Takes `key=value` or, as Docker of old, `key:value`.
    pub(super) fn parse(texts: &[String]) -> Result<Self, SpecError> {
        let mut options = Self::default();
        for text in texts {
            match text.as_str() {
                "no-new-privileges" => options.no_new_privileges = Some(true),
                "disable" => options.labels.push("disable".to_owned()),
                _ => options.set(text)?,
            }
        }
        Ok(options)
    }

    fn set(&mut self, text: &str) -> Result<(), SpecError> {
        let (key, value) = text
            .split_once('=')
            .or_else(|| text.split_once(':'))
            .ok_or_else(|| SpecError::SecurityOptionForm(text.to_owned()))?;
        let unknown = || SpecError::SecurityOption(text.to_owned());
        match key {
            "label" => self.labels.push(value.to_owned()),
            "apparmor" => self.apparmor = Some(value.to_owned()),
            "seccomp" => self.seccomp = Some(value.to_owned()),
            "no-new-privileges" => {
                self.no_new_privileges = Some(truth(value).ok_or_else(unknown)?);
            }
            "writable-cgroups" => self.writable_cgroups = truth(value).ok_or_else(unknown)?,
            // The command line turns this one into lists of paths; not all clients do.
            "systempaths" if value == "unconfined" => self.open_system_paths = true,
            _ => return Err(unknown()),
        }
        Ok(())
    }
}

/// What Go takes for a truth value.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Masked and read-only paths.
pub(super) fn hidden_paths(
    input: &SpecInput<'_>,
    options: &SecurityOptions,
) -> (Vec<String>, Vec<String>) {
    if input.host.privileged || options.open_system_paths {
        return (Vec::new(), Vec::new());
    }
    let own = |paths: &BTreeSet<String>| paths.iter().cloned().collect::<Vec<_>>();
    let usual = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| (*path).to_owned())
            .collect::<Vec<_>>()
    };
    let masked = match &input.host.masked_paths {
        Some(paths) => own(paths),
        None => usual(&MASKED)
            .into_iter()
            .chain(input.facts.thermal_paths.clone())
            .collect(),
    };
    let read_only = input
        .host
        .readonly_paths
        .as_ref()
        .map_or_else(|| usual(&READ_ONLY), own);
    (masked, read_only)
}

/// The filter; `None`: no filter.
pub(super) fn seccomp(
    input: &SpecInput<'_>,
    options: &SecurityOptions,
) -> Result<Option<LinuxSeccomp>, SpecError> {
    if input.host.privileged {
        return Ok(None);
    }
    let own = options.seccomp.as_deref();
    let choice = own.or(input.defaults.seccomp_profile).unwrap_or("builtin");
    if !input.facts.seccomp {
        let custom = own.is_some_and(|own| own != "unconfined");
        return if custom {
            Err(SpecError::NoSeccomp)
        } else {
            Ok(None)
        };
    }
    let granted = capabilities::granted(input.host)?.intersection(input.facts.capabilities);
    let surroundings = seccomp::Surroundings {
        granted,
        kernel: input.facts.kernel,
    };
    match choice {
        "unconfined" => Ok(None),
        "" | "builtin" | "default" => Ok(Some(seccomp_default::profile(&surroundings))),
        json => seccomp::from_docker_profile(json, &surroundings).map(Some),
    }
}

/// The AppArmor profile; `None`: the host has no AppArmor.
pub(super) fn apparmor(
    host: &HostConfig,
    options: &SecurityOptions,
    facts: &HostFacts,
) -> Result<Option<String>, SpecError> {
    match (&options.apparmor, facts.apparmor) {
        (Some(profile), false) if profile != "unconfined" && !profile.is_empty() => {
            Err(SpecError::NoAppArmor(profile.clone()))
        }
        (_, false) => Ok(None),
        (Some(profile), true) if !profile.is_empty() => Ok(Some(profile.clone())),
        (_, true) if host.privileged => Ok(Some("unconfined".to_owned())),
        (_, true) => Ok(Some(DEFAULT_PROFILE.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<SecurityOptions, String> {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        SecurityOptions::parse(&texts).map_err(|error| error.to_string())
    }

    #[test]
    fn both_separators_are_taken() {
        let options = parse(&[
            "apparmor:mine",
            "seccomp={\"a\":1}",
            "no-new-privileges:false",
        ]);
        let options = options.unwrap();
        assert_eq!(options.apparmor.as_deref(), Some("mine"));
        assert_eq!(options.seccomp.as_deref(), Some("{\"a\":1}"));
        assert_eq!(options.no_new_privileges, Some(false));
    }

    #[test]
    fn nonsense_is_refused_with_dockers_texts() {
        for (text, error) in [
            ("label", "invalid --security-opt 1: \"label\""),
            (
                "unknown=something",
                "invalid --security-opt 2: \"unknown=something\"",
            ),
            (
                "no-new-privileges=maybe",
                "invalid --security-opt 2: \"no-new-privileges=maybe\"",
            ),
            (
                "systempaths=x",
                "invalid --security-opt 2: \"systempaths=x\"",
            ),
        ] {
            assert_eq!(parse(&[text]).unwrap_err(), error);
        }
    }
}
