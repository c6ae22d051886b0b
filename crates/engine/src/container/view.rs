//! A container's files as its processes would see them, while there are none: its layers with its
//! volumes and binds on top.
//!
//! All of it is mounted in a mount namespace that nobody is in. It goes, with everything in it, when
//! the view is dropped.

use std::{
    io,
    ops::Deref,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use hull_image::Snapshotter as _;
use hull_sys::{
    beneath::Root,
    idmap::{self, Mapping, Mappings},
    mount::{self, Change, Propagation, attr},
    namespace::{self, Namespaces},
};
use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::{
    claims::Claim,
    error::{Attempt, Error, Result},
    model::{IdMap, IdRange},
    record::{MountKind, MountPoint, Record},
    services::Services,
    undo::Undo,
    volume,
};

use super::start::resolve_user;

/// A container's files, for as long as it lives.
pub(crate) struct View {
    root: Root,
    /// How its owners are others outside: what is seen is what a running container sees.
    owners: Option<Mappings>,
    /// Keeps what is mounted below the root.
    _namespace: Option<OwnedFd>,
    /// Gives the volumes back.
    _volumes: Undo,
    /// Nobody else writes to the layers.
    _claim: Option<Claim>,
}

/// What somebody wants of a container's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Read,
    Write,
}

impl View {
    /// What is no more than a root.
    pub(crate) fn plain(root: Root) -> Self {
        Self {
            root,
            owners: None,
            _namespace: None,
            _volumes: Undo::default(),
            _claim: None,
        }
    }

    /// A root with what is to be done when nobody looks any more.
    pub(crate) fn held(root: Root, undo: Undo) -> Self {
        Self {
            root,
            owners: None,
            _namespace: None,
            _volumes: undo,
            _claim: None,
        }
    }

    /// A running container's root.
    pub(crate) fn running(root: Root, owners: Option<Mappings>) -> Self {
        Self {
            owners,
            ..Self::plain(root)
        }
    }

    /// How its owners are others outside.
    pub(crate) fn owners(&self) -> Option<&Mappings> {
        self.owners.as_ref()
    }
}

impl Deref for View {
    type Target = Root;

    fn deref(&self) -> &Root {
        &self.root
    }
}

/// A stopped container's files. Those who read do not disturb each other.
pub(crate) fn of_stopped(
    services: &Arc<Services>,
    record: &Record,
    purpose: Purpose,
) -> Result<View> {
    let shown = |mount: &&MountPoint| mount.kind != MountKind::Tmpfs;
    let has_mounts = record.mounts.iter().any(|mount| shown(&mount));
    if purpose == Purpose::Read {
        let layers = services.layers_to_read(record)?;
        let mut shown = record.mounts.iter().filter(shown);
        // A container that never ran may have no place yet where its mounts go.
        if shown.all(|mount| layers.stat(&mount.destination).is_ok()) {
            return match has_mounts {
                false => Ok(View::plain(layers)),
                true => with_mounts(services, record, layers, None),
            };
        }
    }
    let claim = services.claims.take(record)?;
    // Meanwhile it may have been started.
    let now = services.registry.find(record.id.as_str())?.record();
    if now.state.run().is_some() {
        return services.root_of(&now, purpose);
    }
    let layers = services.layers_of(record, &claim)?;
    if !has_mounts && !record.host.readonly_rootfs {
        return Ok(View {
            _claim: Some(claim),
            ..View::plain(layers)
        });
    }
    with_mounts(services, record, layers, Some(claim))
}

/// Layers with what is mounted over them.
fn with_mounts(
    services: &Arc<Services>,
    record: &Record,
    layers: Root,
    claim: Option<Claim>,
) -> Result<View> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let mut undo = Undo::default();
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let holder = format!("files of {} ({serial})", record.id);
    let user = match owners_matter(record) {
        true => Some(resolve_user(services, record, &record.config.user, &[])?),
        false => None,
    };
    let ready = volume::ready(services, record, &holder, user.as_ref(), None, &mut undo)?;
    let mut mounts: Vec<(MountPoint, OwnedFd)> = Vec::new();
    for mount in &ready.mounts {
        if let Some(tree) = tree_of(services, mount)? {
            mounts.push((mount.clone(), tree));
        }
    }
    mounts.sort_by_key(|(mount, _)| mount.destination.matches('/').count());
    let (place, read_only) = (services.paths.base(), record.host.readonly_rootfs);
    let arrange = move || arrange(&place, layers, mounts, read_only);
    let arranged = thread::scope(|scope| {
        thread::Builder::new()
            .name("files".to_owned())
            .spawn_scoped(scope, arrange)
            .map(|thread| thread.join())
    });
    let (root, namespace) = arranged
        .attempt(|| "start a thread".to_owned())?
        .map_err(|_| Error::Internal("looking at a container's files broke off".to_owned()))?
        .attempt(|| format!("mount what container {} has mounted", record.name))?;
    Ok(View {
        root,
        owners: None,
        _namespace: Some(namespace),
        _volumes: undo,
        _claim: claim,
    })
}

/// Whether a mount shows its owner's files as the container's user's.
fn owners_matter(record: &Record) -> bool {
    let mut mounts = record.mounts.iter();
    mounts.any(|mount| mount.idmap == Some(IdMap::Owner))
}

/// A detached copy of what is mounted there.
fn tree_of(services: &Services, point: &MountPoint) -> Result<Option<OwnedFd>> {
    let attempt = || format!("mount {}", point.destination);
    let tree = match point.kind {
        MountKind::Tmpfs => return Ok(None),
        MountKind::Image if point.subpath.is_empty() => {
            let reference = point.image.clone().unwrap_or_default();
            let image = services.resolve_image(&reference, None)?;
            return Ok(Some(services.snapshots.mount_image(&image)?.into()));
        }
        _ => mount::copy_path(&point.source, !point.non_recursive).attempt(attempt)?,
    };
    let read_only = point.read_only || point.kind == MountKind::Image;
    let change = Change {
        set: if read_only { attr::RDONLY } else { 0 },
        propagation: Some(Propagation::Private),
        ..Change::default()
    };
    mount::change(tree.as_fd(), true, &change).attempt(attempt)?;
    if let Some(IdMap::Ranges { users, groups }) = &point.idmap {
        translate(&tree, users, groups).attempt(attempt)?;
    }
    Ok(Some(tree))
}

/// Shows other owners than the disk has, as the runtime does.
fn translate(tree: &OwnedFd, users: &[IdRange], groups: &[IdRange]) -> io::Result<()> {
    let map = |ranges: &[IdRange]| -> Vec<Mapping> {
        let one = |range: &IdRange| Mapping {
            inside: range.host,
            outside: range.container,
            size: range.count,
        };
        ranges.iter().map(one).collect()
    };
    let namespace = idmap::user_namespace(&map(users), &map(groups))?;
    let change = Change {
        set: attr::IDMAP,
        user_namespace: Some(namespace.as_fd()),
        ..Change::default()
    };
    mount::change(tree.as_fd(), false, &change)
}

/// Moves the calling thread, which ends soon, into a namespace of its own and mounts all there.
fn arrange(
    place: &std::path::Path,
    layers: Root,
    mounts: Vec<(MountPoint, OwnedFd)>,
    read_only: bool,
) -> io::Result<(Root, OwnedFd)> {
    namespace::unshare(Namespaces::MOUNT)?;
    let path = OFlags::PATH | OFlags::CLOEXEC;
    let slash = rustix::fs::openat(CWD, "/", path, Mode::empty())?;
    let private = Change {
        propagation: Some(Propagation::Private),
        ..Change::default()
    };
    mount::change(slash.as_fd(), true, &private)?;
    let target = rustix::fs::openat(CWD, place, path, Mode::empty())?;
    mount::attach(layers.as_fd(), target.as_fd())?;
    for (point, tree) in mounts {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&tree)?.st_mode);
        let target = match kind {
            FileType::Directory => layers.mkdir_all(&point.destination, DIRECTORY)?,
            _ => layers.create_file(&point.destination, DIRECTORY)?,
        };
        mount::attach(tree.as_fd(), target.as_fd())?;
    }
    if read_only {
        let change = Change {
            set: attr::RDONLY,
            ..Change::default()
        };
        mount::change(layers.as_fd(), false, &change)?;
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::openat(CWD, "/proc/thread-self/ns/mnt", flags, Mode::empty())?;
    Ok((layers, namespace))
}

/// Directories made for mounts, as a start makes them.
const DIRECTORY: Mode = Mode::from_raw_mode(0o755);
