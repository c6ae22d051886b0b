//! Which privileges a container holds.

use std::collections::HashSet;

use hull_oci::runtime::{Capability as Word, LinuxCapabilities};
use hull_sys::capability::{Capability, CapabilitySet};

use super::SpecError;
use crate::model::HostConfig;

/// Docker's fourteen: `CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE
/// NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP`.
pub(super) const DEFAULT: CapabilitySet = CapabilitySet::from_bits(0xa804_25fb);

/// What root in the container holds, before what the host can give is considered.
///
/// With `ALL` among the added, all but the dropped; with `ALL` among the dropped, none but the
/// added; otherwise the default with both applied, dropping last.
pub(super) fn granted(host: &HostConfig) -> Result<CapabilitySet, SpecError> {
    let (adds_all, added) = names("CapAdd", &host.cap_add)?;
    let (drops_all, dropped) = names("CapDrop", &host.cap_drop)?;
    Ok(match (host.privileged, adds_all, drops_all) {
        (true, _, _) => CapabilitySet::ALL,
        (_, true, _) => CapabilitySet::ALL.difference(dropped),
        (_, _, true) => added,
        _ => DEFAULT.union(added).difference(dropped),
    })
}

fn names(list: &'static str, names: &[String]) -> Result<(bool, CapabilitySet), SpecError> {
    let (mut all, mut set) = (false, CapabilitySet::EMPTY);
    for name in names {
        if name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL") {
            all = true;
        } else {
            let unknown = || SpecError::Capability {
                list,
                name: name.clone(),
            };
            set.insert(Capability::from_name(name).ok_or_else(unknown)?);
        }
    }
    Ok((all, set))
}

/// A process's sets. Who is not root starts with none: the kernel would take them at `execve`
/// anyway, and none are left over should it not. Never inheritable or ambient.
pub(super) fn sets(granted: CapabilitySet, uid: u32) -> LinuxCapabilities {
    let used = if uid == 0 {
        granted
    } else {
        CapabilitySet::EMPTY
    };
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(words(granted)));
    sets.set_effective(Some(words(used)));
    sets.set_permitted(Some(words(used)));
    sets.set_inheritable(Some(HashSet::new()));
    sets.set_ambient(Some(HashSet::new()));
    sets
}

fn words(set: CapabilitySet) -> HashSet<Word> {
    set.iter()
        .filter_map(|capability| capability.name().strip_prefix("CAP_")?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted_with(add: &[&str], drop: &[&str]) -> CapabilitySet {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let host = HostConfig {
            cap_add: owned(add),
            cap_drop: owned(drop),
            ..Default::default()
        };
        granted(&host).unwrap()
    }

    fn has(set: CapabilitySet, name: &str) -> bool {
        set.contains(Capability::from_name(name).unwrap())
    }

    #[test]
    fn every_capability_has_its_word() {
        assert_eq!(words(CapabilitySet::ALL).len(), 41);
    }

    #[test]
    fn added_and_dropped_names_change_the_default() {
        let set = granted_with(&["NET_ADMIN", "cap_sys_time"], &["CAP_MKNOD", "chown"]);
        assert!(has(set, "NET_ADMIN") && has(set, "SYS_TIME") && has(set, "KILL"));
        assert!(!has(set, "MKNOD") && !has(set, "CHOWN"));
    }

    #[test]
    fn all_means_all_but_or_none_but() {
        assert_eq!(granted_with(&["ALL"], &[]), CapabilitySet::ALL);
        assert!(!has(granted_with(&["all"], &["SYS_ADMIN"]), "SYS_ADMIN"));
        assert_eq!(granted_with(&["CHOWN"], &["ALL"]).bits(), 1);
        assert!(granted_with(&[], &["ALL"]).is_empty());
    }

    #[test]
    fn an_unknown_name_is_refused_with_dockers_text() {
        let host = HostConfig {
            cap_add: vec!["CAP_FLY".to_owned()],
            ..Default::default()
        };
        let text = granted(&host).unwrap_err().to_string();
        assert_eq!(text, "invalid CapAdd: unknown capability: \"CAP_FLY\"");
    }

    #[test]
    fn who_is_not_root_starts_with_none() {
        let sets = sets(DEFAULT, 1000);
        assert_eq!(sets.bounding().as_ref().unwrap().len(), 14);
        assert!(sets.effective().as_ref().unwrap().is_empty());
        assert!(sets.permitted().as_ref().unwrap().is_empty());
        assert!(sets.inheritable().as_ref().unwrap().is_empty());
    }
}
