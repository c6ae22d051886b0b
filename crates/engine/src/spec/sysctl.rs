//! Kernel settings: only those of the container's own namespaces.

use std::collections::{BTreeMap, HashMap};

use hull_sys::idmap::Mapping;

use super::{SpecError, namespaces::Owner};

/// System V IPC's, each with the IPC namespace.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Whose namespaces the settings would go to.
pub(super) struct Owners {
    pub(super) network: Owner,
    pub(super) ipc: Owner,
    pub(super) uts: Owner,
}

pub(super) fn plan(
    wishes: &BTreeMap<String, String>,
    owners: &Owners,
    groups: Option<&[Mapping]>,
) -> Result<HashMap<String, String>, SpecError> {
    let mut settings = HashMap::new();
    if owners.network == Owner::Own {
        // Without these, images would need capabilities to listen on port 80 or to ping.
        let usual = [
            ("net.ipv4.ip_unprivileged_port_start", "0".to_owned()),
            ("net.ipv4.ping_group_range", format!("0 {}", last(groups))),
        ];
        settings.extend(usual.map(|(name, value)| (name.to_owned(), value)));
    }
    for (typed, value) in wishes {
        // `net/ipv4/ip_forward` and `net.ipv4.conf.eth0/100.forwarding` are other spellings.
        let name = dotted(typed);
        check(typed, &name, owners)?;
        settings.insert(name, value.clone());
    }
    Ok(settings)
}

/// The largest group there is. (The kernel takes none that is not in the user namespace.)
fn last(groups: Option<&[Mapping]>) -> u32 {
    let ends = groups.into_iter().flatten();
    ends.map(|map| (map.inside + map.size).saturating_sub(1))
        .max()
        .unwrap_or(i32::MAX.unsigned_abs())
}

fn check(typed: &str, name: &str, owners: &Owners) -> Result<(), SpecError> {
    let (owner, namespace) = if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        (&owners.ipc, "ipc")
    } else if name.starts_with("net.") {
        (&owners.network, "network")
    } else if name == "kernel.domainname" || name == "kernel.hostname" {
        (&owners.uts, "uts")
    } else {
        return Err(SpecError::SysctlNotNamespaced(typed.to_owned()));
    };
    if name.split(['.', '/']).any(str::is_empty) {
        return Err(SpecError::SysctlNotNamespaced(typed.to_owned()));
    }
    match owner {
        Owner::Host => Err(SpecError::SysctlOfHost {
            name: typed.to_owned(),
            namespace,
        }),
        Owner::Own | Owner::Other(_) => Ok(()),
    }
}

/// As sysctl(8): if a slash comes before a dot, slashes separate and dots belong to names.
fn dotted(typed: &str) -> String {
    match typed.find(['.', '/']).map(|at| typed.as_bytes()[at]) {
        Some(b'/') => typed
            .chars()
            .map(|c| match c {
                '/' => '.',
                '.' => '/',
                other => other,
            })
            .collect(),
        _ => typed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::dotted;

    #[test]
    fn slashes_are_another_spelling() {
        assert_eq!(dotted("net/ipv4/ip_forward"), "net.ipv4.ip_forward");
        assert_eq!(
            dotted("net/ipv4/conf/eth0.100/forwarding"),
            "net.ipv4.conf.eth0/100.forwarding"
        );
        assert_eq!(
            dotted("net.ipv4.conf.eth0/100.forwarding"),
            "net.ipv4.conf.eth0/100.forwarding"
        );
    }
}
