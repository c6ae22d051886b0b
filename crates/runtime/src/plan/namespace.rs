//! Which namespaces are new, and which are joined.

use std::path::PathBuf;

use hull_oci::runtime::{LinuxNamespaceType, Spec};
use hull_sys::namespace::Namespaces;

use crate::error::{Error, invalid};

/// The spec's namespaces. A kind in neither is the caller's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NamespacePlan {
    pub(crate) new: Namespaces,
    pub(crate) joined: Vec<(Namespaces, PathBuf)>,
}

impl NamespacePlan {
    /// Whether the process will not be in the caller's namespace of this kind.
    pub(crate) fn has(&self, kind: Namespaces) -> bool {
        self.new.contains(kind) || self.joins(kind)
    }

    pub(crate) fn joins(&self, kind: Namespaces) -> bool {
        self.joined.iter().any(|(joined, _)| *joined == kind)
    }
}

pub(crate) fn plan_namespaces(spec: &Spec) -> Result<NamespacePlan, Error> {
    let mut plan = NamespacePlan::default();
    let list = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.namespaces().as_ref());
    for namespace in list.into_iter().flatten() {
        let kind = kind_of(namespace.typ());
        if plan.has(kind) {
            return Err(invalid(format!(
                "namespace {} is listed twice",
                namespace.typ()
            )));
        }
        match namespace.path() {
            Some(path) if !path.as_os_str().is_empty() => plan.joined.push((kind, path.clone())),
            _ => plan.new |= kind,
        }
    }
    check(spec, &plan)?;
    Ok(plan)
}

fn check(spec: &Spec, plan: &NamespacePlan) -> Result<(), Error> {
    let linux = spec.linux().as_ref();
    if !plan.has(Namespaces::MOUNT) {
        return Err(invalid(
            "a mount namespace is needed: the container's root could not be kept apart",
        ));
    }
    let mapped = linux.is_some_and(|l| {
        l.uid_mappings().as_ref().is_some_and(|m| !m.is_empty())
            || l.gid_mappings().as_ref().is_some_and(|m| !m.is_empty())
    });
    if mapped && !plan.has(Namespaces::USER) {
        return Err(invalid("user mappings are given, but no user namespace"));
    }
    if plan.new.contains(Namespaces::USER) && !mapped {
        return Err(invalid(
            "a new user namespace needs uidMappings and gidMappings",
        ));
    }
    let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
    if (named(spec.hostname()) || named(spec.domainname())) && !plan.has(Namespaces::UTS) {
        return Err(invalid("a hostname is given, but no uts namespace"));
    }
    let offsets = linux
        .and_then(|l| l.time_offsets().as_ref())
        .is_some_and(|o| !o.is_empty());
    if offsets && !plan.new.contains(Namespaces::TIME) {
        return Err(invalid("time offsets are given, but no new time namespace"));
    }
    Ok(())
}

fn kind_of(kind: LinuxNamespaceType) -> Namespaces {
    match kind {
        LinuxNamespaceType::Mount => Namespaces::MOUNT,
        LinuxNamespaceType::Cgroup => Namespaces::CGROUP,
        LinuxNamespaceType::Uts => Namespaces::UTS,
        LinuxNamespaceType::Ipc => Namespaces::IPC,
        LinuxNamespaceType::User => Namespaces::USER,
        LinuxNamespaceType::Pid => Namespaces::PID,
        LinuxNamespaceType::Network => Namespaces::NETWORK,
        LinuxNamespaceType::Time => Namespaces::TIME,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(namespaces: &str, rest: &str) -> Result<NamespacePlan, Error> {
        let text =
            format!(r#"{{"ociVersion":"1.3.0","linux":{{"namespaces":[{namespaces}]}}{rest}}}"#);
        plan_namespaces(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_path_joins_and_its_absence_makes_anew() {
        let plan = plan(
            r#"{"type":"mount"},{"type":"network","path":"/run/netns/x"}"#,
            "",
        )
        .unwrap();
        assert_eq!(plan.new, Namespaces::MOUNT);
        assert_eq!(
            plan.joined,
            [(Namespaces::NETWORK, PathBuf::from("/run/netns/x"))]
        );
        assert!(!plan.has(Namespaces::PID));
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(plan(r#"{"type":"mount"},{"type":"mount","path":"/x"}"#, "").is_err());
        assert!(plan(r#"{"type":"pid"}"#, "").is_err());
        assert!(plan(r#"{"type":"mount"}"#, r#","hostname":"x""#).is_err());
        assert!(plan(r#"{"type":"mount"},{"type":"user"}"#, "").is_err());
    }
}
