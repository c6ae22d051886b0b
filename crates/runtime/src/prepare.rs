//! What the maker of a container opens for it, with its own rights, while it still sees the host:
//! the root and the sources of bind mounts, all as detached mounts.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use hull_oci::runtime::Spec;
use hull_sys::{
    idmap,
    mount::{self, Change, FileSystem, Propagation, attr},
};

use crate::{
    error::{Context, Error, invalid},
    options::Root,
    plan::{Idmap, MountPlan, mappings, plan_mount, root_propagation},
};

/// The kernel joins a page of option text; longer lists of layers go in one by one.
const OVERLAY: &str = "overlay";

/// A mount of the spec, with its source.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) plan: MountPlan,
    /// For bind mounts.
    pub(crate) source: Option<OwnedFd>,
    pub(crate) source_is_directory: bool,
}

/// The root file system as a detached mount that nothing else hangs on.
pub(crate) fn root(spec: &Spec, bundle: &Path, root: &Root) -> Result<OwnedFd, Error> {
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
        } => overlay(lower, upper, work, *volatile),
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

fn overlay(lower: &[PathBuf], upper: &Path, work: &Path, volatile: bool) -> Result<OwnedFd, Error> {
    let make = || {
        let overlay = FileSystem::new(OVERLAY)?;
        for layer in lower {
            overlay.set("lowerdir+", layer)?;
        }
        overlay.set("upperdir", upper)?;
        overlay.set("workdir", work)?;
        if volatile {
            overlay.set_flag("volatile")?;
        }
        overlay.mount(0)
    };
    make().step(|| format!("mount the layers below {}", upper.display()))
}

/// Every mount of the spec, in order.
pub(crate) fn mounts(spec: &Spec, bundle: &Path) -> Result<Vec<Prepared>, Error> {
    let linux = spec.linux().as_ref();
    let propagation = linux.and_then(|linux| linux.rootfs_propagation().as_deref());
    let fallback = match propagation.filter(|name| !name.is_empty()) {
        Some(name) => root_propagation(name)?.0,
        None => Propagation::Slave,
    };
    let container = Idmap {
        recursive: false,
        users: mappings(linux.and_then(|linux| linux.uid_mappings().as_ref())),
        groups: mappings(linux.and_then(|linux| linux.gid_mappings().as_ref())),
    };
    let list = spec.mounts().iter().flatten();
    list.map(|mount| prepare(plan_mount(mount, bundle)?, fallback, &container))
        .collect()
}

fn prepare(plan: MountPlan, fallback: Propagation, container: &Idmap) -> Result<Prepared, Error> {
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
    let tree = mount::copy_path(source, recursive)
        .step(|| to(&format!("bind mount source {}", source.display())))?;
    let stat = rustix::fs::fstat(&tree).step(|| to("stat"))?;
    let is_directory =
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory;
    let propagation = plan.propagation.unwrap_or((fallback, true));
    change(&tree, &plan, propagation).step(|| to("set its flags"))?;
    if let Some(idmap) = &plan.idmap {
        translate(&tree, idmap, container).step(|| to("translate its owners"))?;
    }
    Ok(Prepared {
        plan,
        source: Some(tree),
        source_is_directory: is_directory,
    })
}

/// Flags of the plan, of the top and of all below, in as few calls as they need.
fn change(
    tree: &OwnedFd,
    plan: &MountPlan,
    (propagation, recursive): (Propagation, bool),
) -> std::io::Result<()> {
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

fn translate(tree: &OwnedFd, idmap: &Idmap, container: &Idmap) -> std::io::Result<()> {
    let map = if idmap.users.is_empty() {
        container
    } else {
        idmap
    };
    let namespace = idmap::user_namespace(&map.users, &map.groups)?;
    let change = Change {
        set: attr::IDMAP,
        user_namespace: Some(namespace.as_fd()),
        ..Change::default()
    };
    mount::change(tree.as_fd(), idmap.recursive, &change)
}
