//! What the maker of a container opens for it, with its own rights, while it still sees the host:
//! the root and the sources of bind mounts, all as detached mounts.

use std::{
    cell::OnceCell,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use hull_oci::runtime::Spec;
use hull_sys::{
    idmap::{self, Mapping},
    mount::{self, Change, Propagation},
    namespace::Namespaces,
    overlay::Layers,
};
use rustix::fs::{Mode, OFlags};

use crate::{
    error::{Context, Error, invalid},
    options::Root,
    plan::{Idmap, MountPlan, NamespacePlan, mappings, plan_mount, root_propagation},
};

/// A mount of the spec, with its source.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) plan: MountPlan,
    /// For bind mounts.
    pub(crate) source: Option<OwnedFd>,
    pub(crate) source_is_directory: bool,
}

/// The root file system as a detached mount that nothing else hangs on.
pub(crate) fn root(
    spec: &Spec,
    bundle: &Path,
    root: &Root,
    owners: &Owners,
) -> Result<OwnedFd, Error> {
    match root {
        Root::Directory => {
            let path = root_path(spec, bundle)?;
            let tree = mount::copy_path(&path, true)
                .step(|| format!("invalid rootfs: open {}", path.display()))?;
            let change = Change {
                propagation: Some(Propagation::Private),
                ..Change::default()
            };
            mount::change(tree.as_fd(), true, &change).step(|| "make the rootfs private".into())?;
            Ok(tree)
        }
        Root::Overlay {
            lower,
            upper,
            work,
            volatile,
            mapped,
        } => {
            let layers = Layers {
                lower,
                writable: Some((upper, work)),
                volatile: *volatile,
                ..Layers::default()
            };
            let mounted = match mapped {
                false => layers.mount(),
                true => owners
                    .namespace()
                    .and_then(|namespace| layers.mount_as(namespace)),
            };
            mounted.step(|| format!("mount the layers below {}", upper.display()))
        }
    }
}

/// `root.path`, seen from the bundle.
pub(crate) fn root_path(spec: &Spec, bundle: &Path) -> Result<PathBuf, Error> {
    let root = spec
        .root()
        .as_ref()
        .filter(|root| !root.path().as_os_str().is_empty());
    let root = root.ok_or_else(|| invalid("the spec names no root"))?;
    Ok(bundle.join(root.path()))
}

/// The container's user namespace, for mounts whose owners it translates.
pub(crate) struct Owners {
    joined: Option<PathBuf>,
    users: Vec<Mapping>,
    groups: Vec<Mapping>,
    namespace: OnceCell<OwnedFd>,
}

impl Owners {
    pub(crate) fn of(spec: &Spec, namespaces: &NamespacePlan) -> Self {
        let linux = spec.linux().as_ref();
        let mut joined = namespaces.joined.iter();
        let joined = joined.find(|(kind, _)| *kind == Namespaces::USER);
        Self {
            joined: joined.map(|(_, path)| path.clone()),
            users: mappings(linux.and_then(|linux| linux.uid_mappings().as_ref())),
            groups: mappings(linux.and_then(|linux| linux.gid_mappings().as_ref())),
            namespace: OnceCell::new(),
        }
    }

    /// The one that is joined, or another one that translates alike.
    fn namespace(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(namespace) = self.namespace.get() {
            return Ok(namespace.as_fd());
        }
        let namespace = match &self.joined {
            Some(path) => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                rustix::fs::open(path, flags, Mode::empty())?
            }
            None if self.users.is_empty() => {
                return Err(io::Error::other(
                    "the container has no user namespace by which owners could be translated",
                ));
            }
            None => idmap::user_namespace(&self.users, &self.groups)?,
        };
        Ok(self.namespace.get_or_init(|| namespace).as_fd())
    }
}

/// Every mount of the spec, in order.
pub(crate) fn mounts(spec: &Spec, bundle: &Path, owners: &Owners) -> Result<Vec<Prepared>, Error> {
    let linux = spec.linux().as_ref();
    let propagation = linux.and_then(|linux| linux.rootfs_propagation().as_deref());
    let fallback = match propagation.filter(|name| !name.is_empty()) {
        Some(name) => root_propagation(name)?.0,
        None => Propagation::Slave,
    };
    let list = spec.mounts().iter().flatten();
    list.map(|mount| prepare(plan_mount(mount, bundle)?, fallback, owners))
        .collect()
}

fn prepare(plan: MountPlan, fallback: Propagation, owners: &Owners) -> Result<Prepared, Error> {
    let (Some(recursive), Some(source)) = (plan.bind, plan.source.as_ref()) else {
        return Ok(Prepared {
            plan,
            source: None,
            source_is_directory: true,
        });
    };
    let to = |what: &str| {
        let (from, to) = (source.display(), plan.destination.display());
        format!("error mounting \"{from}\" to rootfs at \"{to}\": {what}")
    };
    let tree = copy_source(source, recursive)
        .step(|| to(&format!("bind mount source {}", source.display())))?;
    let stat = rustix::fs::fstat(&tree).step(|| to("stat"))?;
    let is_directory =
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory;
    let propagation = plan.propagation.unwrap_or((fallback, true));
    change(&tree, &plan, propagation).step(|| to("set its flags"))?;
    if let Some(idmap) = &plan.idmap {
        translate(&tree, idmap, owners).step(|| to("translate its owners"))?;
    }
    Ok(Prepared {
        plan,
        source: Some(tree),
        source_is_directory: is_directory,
    })
}

fn copy_source(source: &Path, recursive: bool) -> io::Result<OwnedFd> {
    match mount::copy_path(source, recursive) {
        // What another mount namespace has can be copied only from inside of it.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            let (namespace, path) = elsewhere(source).ok_or(error)?;
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let namespace = rustix::fs::open(namespace, flags, Mode::empty())?;
            mount::copy_path_of(namespace.as_fd(), &path, recursive)
        }
        copied => copied,
    }
}

/// Of `/proc/PID/root/PATH` the process's mount namespace, and the path in it.
fn elsewhere(source: &Path) -> Option<(PathBuf, PathBuf)> {
    let process: PathBuf = source.components().take(3).collect();
    let inside = source.strip_prefix(process.join("root")).ok()?;
    let is_process = process.parent() == Some(Path::new("/proc"));
    is_process.then(|| (process.join("ns/mnt"), Path::new("/").join(inside)))
}

/// Flags of the plan, of the top and of all below, in as few calls as they need.
fn change(
    tree: &OwnedFd,
    plan: &MountPlan,
    (propagation, recursive): (Propagation, bool),
) -> io::Result<()> {
    // A mount that was made private does not find its peers again: the top must never be, if it is
    // to be shared or a slave. Then mounts below stay as the host has them, or nothing of them
    // travels back.
    let below = match (propagation, recursive) {
        (_, true) => Some(propagation),
        (Propagation::Shared, false) => None,
        (Propagation::Slave, false) => Some(Propagation::Slave),
        (_, false) => Some(Propagation::Private),
    };
    let all = Change {
        set: plan.recursive.set,
        clear: plan.recursive.clear,
        propagation: below,
        user_namespace: None,
    };
    mount::change(tree.as_fd(), true, &all)?;
    let propagation = if recursive { None } else { Some(propagation) };
    if plan.set | plan.clear != 0 || propagation.is_some() {
        let (set, clear) = (plan.set, plan.clear);
        let top = Change {
            set,
            clear,
            propagation,
            user_namespace: None,
        };
        mount::change(tree.as_fd(), false, &top)?;
    }
    Ok(())
}

fn translate(tree: &OwnedFd, idmap: &Idmap, owners: &Owners) -> io::Result<()> {
    if idmap.users.is_empty() {
        return mount::translate(tree.as_fd(), owners.namespace()?, idmap.recursive);
    }
    let namespace = idmap::user_namespace(&idmap.users, &idmap.groups)?;
    mount::translate(tree.as_fd(), namespace.as_fd(), idmap.recursive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_a_processs_root_is_elsewhere() {
        let of = |path: &str| elsewhere(Path::new(path));
        let found = of("/proc/7/root/dev/shm").unwrap();
        assert_eq!(found, ("/proc/7/ns/mnt".into(), "/dev/shm".into()));
        assert_eq!(of("/proc/7/root").unwrap().1, Path::new("/"));
        for path in [
            "/proc/7/fd/3",
            "/srv/7/root/a",
            "/proc/root/dev",
            "relative/7/root/a",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
