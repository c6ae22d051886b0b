//! `linux.sysctl`: kernel settings that belong to one of the container's namespaces.

use std::os::fd::AsFd;

use hull_oci::runtime::Spec;
use hull_sys::{
    files,
    mount::{FileSystem, attr},
};

use super::rootfs::Made;
use crate::{
    error::{Context, Error, invalid},
    plan::plan_namespaces,
};
use hull_sys::namespace::Namespaces;

/// Settings of the IPC namespace.
const IPC: [&str; 9] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.auto_msgmni",
];

/// Which namespace a setting belongs to; `None`: it would change the host.
fn owner(name: &str) -> Option<Namespaces> {
    if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        return Some(Namespaces::IPC);
    }
    if name.starts_with("net.") {
        return Some(Namespaces::NETWORK);
    }
    match name {
        "kernel.domainname" | "kernel.hostname" => Some(Namespaces::UTS),
        _ if name.starts_with("user.") => Some(Namespaces::USER),
        _ => None,
    }
}

/// `net.ipv4.conf.eth0/1.forwarding` and `net/ipv4/conf/eth0.1/forwarding` name the same file:
/// whichever separator comes first separates.
fn path(name: &str) -> String {
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('.') => name.chars().map(swap).collect(),
        _ => name.to_owned(),
    }
}

/// Nothing in it leads elsewhere.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

pub(super) fn apply(spec: &Spec, made: &mut Made) -> Result<(), Error> {
    let list = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.sysctl().as_ref());
    let Some(list) = list.filter(|list| !list.is_empty()) else {
        return Ok(());
    };
    let namespaces = plan_namespaces(spec)?;
    let private;
    let proc = match &made.proc {
        Some(proc) => proc,
        None => {
            let mounted = FileSystem::new("proc")
                .and_then(|proc| proc.mount(attr::NOSUID | attr::NODEV | attr::NOEXEC));
            private = mounted.step(|| "mount proc for sysctls".into())?;
            &private
        }
    };
    let mut names: Vec<_> = list.iter().collect();
    names.sort();
    for (name, value) in names {
        let path = path(name);
        let dotted = path.replace('.', "\0").replace('/', ".").replace('\0', "/");
        let private = is_plain(&path) && owner(&dotted).is_some_and(|kind| namespaces.has(kind));
        if !private {
            return Err(invalid(format!(
                "sysctl \"{name}\" is not in a separate kernel namespace"
            )));
        }
        files::write_beneath(proc.as_fd(), &format!("sys/{path}"), value.as_bytes())
            .step(|| format!("write sysctl key {name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_separators_name_the_same_file() {
        assert_eq!(
            path("net.ipv4.conf.eth0/1.forwarding"),
            "net/ipv4/conf/eth0.1/forwarding"
        );
        assert_eq!(
            path("net/ipv4/conf/eth0.1/forwarding"),
            "net/ipv4/conf/eth0.1/forwarding"
        );
    }

    #[test]
    fn no_name_leads_out_of_what_it_belongs_to() {
        for name in [
            "net.//.kernel.core_pattern",
            "net/../kernel/core_pattern",
            "net..x",
            "net.",
        ] {
            assert!(!is_plain(&path(name)), "{name}");
        }
        assert!(is_plain(&path("net.ipv4.conf.eth0/1.forwarding")));
    }

    #[test]
    fn settings_of_the_host_have_no_owner() {
        assert_eq!(owner("kernel.core_pattern"), None);
        assert_eq!(owner("vm.swappiness"), None);
        assert_eq!(owner("net.ipv4.ip_forward"), Some(Namespaces::NETWORK));
        assert_eq!(owner("kernel.shmmax"), Some(Namespaces::IPC));
    }
}
