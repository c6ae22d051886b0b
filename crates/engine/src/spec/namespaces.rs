//! Which namespaces a container owns, joins, or shares with the host.

use std::path::PathBuf;

use hull_oci::runtime::{LinuxNamespace, LinuxNamespaceType as Kind};

use super::{SpecError, SpecInput};
use crate::model::{CgroupNamespace, IpcNamespace, NetworkMode, PidNamespace, UtsNamespace};

/// Whose a namespace is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// The container's own.
    Own,
    /// The host's.
    Host,
    /// Another container's.
    Other(PathBuf),
}

pub(super) fn plan(input: &SpecInput<'_>) -> Result<Vec<LinuxNamespace>, SpecError> {
    let all = [
        (Kind::Mount, Owner::Own),
        (Kind::Network, network(input)?),
        (Kind::Uts, uts(input)),
        (Kind::Pid, pid(input)?),
        (Kind::Ipc, ipc(input)?),
        (Kind::Cgroup, cgroup(input)?),
        (Kind::User, user(input)),
    ];
    Ok(all
        .into_iter()
        .filter_map(|(kind, owner)| namespace(kind, owner))
        .collect())
}

fn namespace(kind: Kind, owner: Owner) -> Option<LinuxNamespace> {
    let path = match owner {
        Owner::Host => return None,
        Owner::Own => None,
        Owner::Other(path) => Some(path),
    };
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind);
    namespace.set_path(path);
    Some(namespace)
}

pub(super) fn network(input: &SpecInput<'_>) -> Result<Owner, SpecError> {
    Ok(match &input.host.network_mode {
        NetworkMode::Host => Owner::Host,
        NetworkMode::Container(_) => Owner::Other(joined(&input.join.network, "network")?),
        NetworkMode::Bridge | NetworkMode::None | NetworkMode::Named(_) => Owner::Own,
    })
}

pub(super) fn uts(input: &SpecInput<'_>) -> Owner {
    match input.host.uts {
        UtsNamespace::Private => Owner::Own,
        UtsNamespace::Host => Owner::Host,
    }
}

/// The host's, unless the daemon remaps: then there is one, made with the network.
fn user(input: &SpecInput<'_>) -> Owner {
    input.join.user.clone().map_or(Owner::Host, Owner::Other)
}

fn pid(input: &SpecInput<'_>) -> Result<Owner, SpecError> {
    Ok(match &input.host.pid {
        PidNamespace::Private => Owner::Own,
        PidNamespace::Host => Owner::Host,
        PidNamespace::Container(_) => Owner::Other(joined(&input.join.pid, "pid")?),
    })
}

pub(super) fn ipc(input: &SpecInput<'_>) -> Result<Owner, SpecError> {
    Ok(match ipc_mode(input) {
        IpcNamespace::Host => Owner::Host,
        IpcNamespace::Container(_) => Owner::Other(joined(&input.join.ipc, "ipc")?),
        IpcNamespace::Default
        | IpcNamespace::Private
        | IpcNamespace::Shareable
        | IpcNamespace::None => Owner::Own,
    })
}

/// The container's wish, or the daemon's.
pub(super) fn ipc_mode<'a>(input: &'a SpecInput<'_>) -> &'a IpcNamespace {
    match &input.host.ipc {
        IpcNamespace::Default => &input.defaults.ipc,
        own => own,
    }
}

pub(super) fn cgroup(input: &SpecInput<'_>) -> Result<Owner, SpecError> {
    let v2 = input.facts.cgroup_version == 2;
    let wish = input
        .host
        .cgroup_namespace
        .or(input.defaults.cgroup_namespace);
    match wish {
        Some(CgroupNamespace::Private) if !v2 && input.host.privileged => Err(SpecError::Conflict(
            "privileged mode is incompatible with private cgroup namespaces on cgroup v1 host.  \
             You must run the container in the host cgroup namespace when running privileged mode",
        )),
        Some(CgroupNamespace::Private) => Ok(Owner::Own),
        Some(CgroupNamespace::Host) => Ok(Owner::Host),
        None => Ok(if v2 { Owner::Own } else { Owner::Host }),
    }
}

/// The container's, where it has a name of its own.
pub(super) fn hostname(input: &SpecInput<'_>) -> Option<String> {
    (uts(input) == Owner::Own).then(|| host_name(input.id, &input.config.hostname))
}

pub(super) fn domainname(input: &SpecInput<'_>) -> Option<String> {
    let own = &input.config.domainname;
    (uts(input) == Owner::Own && !own.is_empty()).then(|| own.clone())
}

/// The first twelve digits of the id, unless the container has a name of its own.
pub(super) fn host_name(id: &str, own: &str) -> String {
    if own.is_empty() {
        id.chars().take(12).collect()
    } else {
        own.to_owned()
    }
}

fn joined(path: &Option<PathBuf>, kind: &str) -> Result<PathBuf, SpecError> {
    path.clone().ok_or_else(|| {
        SpecError::Invalid(format!(
            "the {kind} namespace to join is not there any more"
        ))
    })
}
