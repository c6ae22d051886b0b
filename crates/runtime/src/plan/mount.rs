//! What the options of a mount mean.

use std::path::{Path, PathBuf};

use hull_oci::runtime::Mount;
use hull_sys::{
    idmap::Mapping,
    mount::{Propagation, attr},
};

use crate::{
    error::{Error, invalid},
    plan::mappings,
};

/// Changes to a mount and all below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recursive {
    pub(crate) set: u64,
    pub(crate) clear: u64,
}

/// Owners are translated on this mount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Idmap {
    pub(crate) recursive: bool,
    /// Both empty: as the container's user namespace does.
    pub(crate) users: Vec<Mapping>,
    pub(crate) groups: Vec<Mapping>,
}

/// One mount, understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MountPlan {
    /// Below the container's root.
    pub(crate) destination: PathBuf,
    /// The file system; empty for a bind mount.
    pub(crate) kind: String,
    pub(crate) source: Option<PathBuf>,
    /// `Some`: a copy of the source's mount; with `true`, of those below it as well.
    pub(crate) bind: Option<bool>,
    /// Options for the file system itself.
    pub(crate) data: Vec<String>,
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) recursive: Recursive,
    pub(crate) propagation: Option<(Propagation, bool)>,
    /// What the image has there is copied into the new tmpfs.
    pub(crate) copy_up: bool,
    pub(crate) idmap: Option<Idmap>,
}

impl MountPlan {
    pub(crate) fn is_read_only(&self) -> bool {
        (self.set | self.recursive.set) & attr::RDONLY != 0
    }
}

enum Meaning {
    Set(u64),
    Clear(u64),
    /// Access times: one of the mask's values.
    Atime(u64),
    SetAll(u64),
    ClearAll(u64),
    AtimeAll(u64),
    Bind(bool),
    Propagate(Propagation, bool),
    CopyUp,
    Idmap(bool),
    Ignored,
    /// The file system's own.
    Data,
}

fn meaning(option: &str) -> Meaning {
    use Meaning::{Atime, AtimeAll, Clear, ClearAll, Set, SetAll};
    match option {
        "ro" => Set(attr::RDONLY),
        "rw" => Clear(attr::RDONLY),
        "nosuid" => Set(attr::NOSUID),
        "suid" => Clear(attr::NOSUID),
        "nodev" => Set(attr::NODEV),
        "dev" => Clear(attr::NODEV),
        "noexec" => Set(attr::NOEXEC),
        "exec" => Clear(attr::NOEXEC),
        "nosymfollow" => Set(attr::NOSYMFOLLOW),
        "symfollow" => Clear(attr::NOSYMFOLLOW),
        "nodiratime" => Set(attr::NODIRATIME),
        "diratime" => Clear(attr::NODIRATIME),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => Atime(attr::RELATIME),
        "noatime" => Atime(attr::NOATIME),
        "strictatime" => Atime(attr::STRICTATIME),
        "rro" => SetAll(attr::RDONLY),
        "rrw" => ClearAll(attr::RDONLY),
        "rnosuid" => SetAll(attr::NOSUID),
        "rsuid" => ClearAll(attr::NOSUID),
        "rnodev" => SetAll(attr::NODEV),
        "rdev" => ClearAll(attr::NODEV),
        "rnoexec" => SetAll(attr::NOEXEC),
        "rexec" => ClearAll(attr::NOEXEC),
        "rnosymfollow" => SetAll(attr::NOSYMFOLLOW),
        "rsymfollow" => ClearAll(attr::NOSYMFOLLOW),
        "rnodiratime" => SetAll(attr::NODIRATIME),
        "rdiratime" => ClearAll(attr::NODIRATIME),
        "rrelatime" | "ratime" | "rnorelatime" | "rnostrictatime" => AtimeAll(attr::RELATIME),
        "rnoatime" => AtimeAll(attr::NOATIME),
        "rstrictatime" => AtimeAll(attr::STRICTATIME),
        "bind" => Meaning::Bind(false),
        "rbind" => Meaning::Bind(true),
        "tmpcopyup" => Meaning::CopyUp,
        "idmap" => Meaning::Idmap(false),
        "ridmap" => Meaning::Idmap(true),
        // The kernel keeps versions of files where a file system can, whatever is said.
        "iversion" | "noiversion" => Meaning::Ignored,
        "defaults" | "remount" | "silent" | "loud" | "" => Meaning::Ignored,
        _ => match propagation(option) {
            Some((kind, recursive)) => Meaning::Propagate(kind, recursive),
            None => Meaning::Data,
        },
    }
}

fn propagation(name: &str) -> Option<(Propagation, bool)> {
    Some(match name {
        "shared" => (Propagation::Shared, false),
        "rshared" => (Propagation::Shared, true),
        "slave" => (Propagation::Slave, false),
        "rslave" => (Propagation::Slave, true),
        "private" => (Propagation::Private, false),
        "rprivate" => (Propagation::Private, true),
        "unbindable" => (Propagation::Unbindable, false),
        "runbindable" => (Propagation::Unbindable, true),
        _ => return None,
    })
}

/// `linux.rootfsPropagation`.
pub(crate) fn root_propagation(name: &str) -> Result<(Propagation, bool), Error> {
    propagation(name).ok_or_else(|| invalid(format!("rootfsPropagation `{name}` is unknown")))
}

pub(crate) fn plan_mount(mount: &Mount, bundle: &Path) -> Result<MountPlan, Error> {
    let destination = mount.destination();
    let mut plan = MountPlan {
        destination: destination.clone(),
        ..MountPlan::default()
    };
    for option in mount.options().iter().flatten() {
        apply(&mut plan, option);
    }
    let kind = mount.typ().as_deref().unwrap_or("");
    if kind == "bind" && plan.bind.is_none() {
        plan.bind = Some(true);
    }
    if plan.bind.is_some() {
        let source = mount
            .source()
            .as_ref()
            .filter(|source| !source.as_os_str().is_empty());
        let source = source.ok_or_else(|| {
            invalid(format!(
                "bind mount on {} has no source",
                destination.display()
            ))
        })?;
        plan.source = Some(bundle.join(source));
        plan.data.clear();
    } else {
        if kind.is_empty() {
            return Err(invalid(format!(
                "mount on {} has no type",
                destination.display()
            )));
        }
        plan.kind = kind.to_owned();
        plan.source.clone_from(mount.source());
    }
    plan_idmap(&mut plan, mount)?;
    Ok(plan)
}

fn apply(plan: &mut MountPlan, option: &str) {
    match meaning(option) {
        Meaning::Set(bits) => {
            plan.set |= bits;
            plan.clear &= !bits;
        }
        Meaning::Clear(bits) => {
            plan.set &= !bits;
            plan.clear |= bits;
        }
        Meaning::Atime(value) => {
            plan.set = plan.set & !attr::ATIME_MASK | value;
            plan.clear |= attr::ATIME_MASK;
        }
        Meaning::SetAll(bits) => {
            plan.recursive.set |= bits;
            plan.recursive.clear &= !bits;
        }
        Meaning::ClearAll(bits) => {
            plan.recursive.set &= !bits;
            plan.recursive.clear |= bits;
        }
        Meaning::AtimeAll(value) => {
            plan.recursive.set = plan.recursive.set & !attr::ATIME_MASK | value;
            plan.recursive.clear |= attr::ATIME_MASK;
        }
        Meaning::Bind(recursive) => plan.bind = Some(recursive),
        Meaning::Propagate(kind, recursive) => plan.propagation = Some((kind, recursive)),
        Meaning::CopyUp => plan.copy_up = true,
        Meaning::Idmap(recursive) => {
            plan.idmap = Some(Idmap {
                recursive,
                ..Idmap::default()
            });
        }
        Meaning::Ignored => {}
        Meaning::Data => plan.data.push(option.to_owned()),
    }
}

fn plan_idmap(plan: &mut MountPlan, mount: &Mount) -> Result<(), Error> {
    let users = mappings(mount.uid_mappings().as_ref());
    let groups = mappings(mount.gid_mappings().as_ref());
    if users.is_empty() != groups.is_empty() {
        return Err(invalid(format!(
            "mount on {} has mappings for users or for groups, but not both",
            mount.destination().display()
        )));
    }
    if plan.idmap.is_none() && !users.is_empty() {
        plan.idmap = Some(Idmap::default());
    }
    if let Some(idmap) = &mut plan.idmap {
        if plan.bind.is_none() {
            return Err(invalid(format!(
                "only bind mounts can translate owners, and that on {} is none",
                mount.destination().display()
            )));
        }
        (idmap.users, idmap.groups) = (users, groups);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<MountPlan, Error> {
        plan_mount(&serde_json::from_str(text).unwrap(), Path::new("/bundle"))
    }

    #[test]
    fn flags_go_to_the_mount_and_the_rest_to_the_file_system() {
        let options = r#"["nosuid","strictatime","mode=755","size=65536k","ro","rw"]"#;
        let plan = plan(&format!(
            r#"{{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":{options}}}"#
        ))
        .unwrap();
        assert_eq!(plan.set, attr::NOSUID | attr::STRICTATIME);
        assert_eq!(plan.clear, attr::RDONLY | attr::ATIME_MASK);
        assert_eq!(plan.data, ["mode=755", "size=65536k"]);
        assert_eq!(plan.bind, None);
    }

    #[test]
    fn bind_mounts_start_at_the_bundle_and_keep_recursive_options_apart() {
        let plan = plan(
            r#"{"destination":"/d","type":"none","source":"data","options":["rbind","rro","rslave"]}"#,
        )
        .unwrap();
        assert_eq!(plan.source.as_deref(), Some(Path::new("/bundle/data")));
        assert_eq!((plan.bind, plan.set), (Some(true), 0));
        assert_eq!(plan.recursive.set, attr::RDONLY);
        assert_eq!(plan.propagation, Some((Propagation::Slave, true)));
    }

    #[test]
    fn translated_owners_need_both_mappings_and_a_bind_mount() {
        let map = r#"[{"containerID":0,"hostID":1000,"size":1}]"#;
        let bind = r#""destination":"/d","source":"/s","options":["bind"]"#;
        assert!(plan(&format!(r#"{{{bind},"uidMappings":{map}}}"#)).is_err());
        let both = format!(r#"{{{bind},"uidMappings":{map},"gidMappings":{map}}}"#);
        assert!(!plan(&both).unwrap().idmap.unwrap().recursive);
        assert!(plan(r#"{"destination":"/d","type":"tmpfs","options":["idmap"]}"#).is_err());
    }
}
