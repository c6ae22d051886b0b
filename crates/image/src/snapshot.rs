//! A container's writable layer over an image's layers.
//!
//! A [`Snapshot`] only names directories. The runtime mounts them inside the container's own mount
//! namespace; [`Snapshotter::mount`] mounts them nowhere at all, for work on a stopped container.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hull_sys::beneath::Root;
use hull_sys::mount::{self, attr};
use hull_sys::overlay::Layers;
use hull_sys::xattr;
use rustix::fs::{AtFlags, CWD, Mode};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::diff::{self, Change};
use crate::dir::{DEPTH_MAX, Dir, file_type};
use crate::error::{Context as _, Error, Result};
use crate::store::Image;
use crate::trash::Trash;

/// The kernel's limit for the layers of one overlay.
const LAYERS_MAX: usize = 500;

/// The directories of one container's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The image's layers, uppermost first; never empty.
    pub lower: Vec<PathBuf>,
    /// What the container changed.
    pub upper: PathBuf,
    /// Overlayfs's own.
    pub work: PathBuf,
}

/// What a writable layer takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of files' content, each file once: Docker's `SizeRw`.
    pub bytes: u64,
    /// Files and directories.
    pub inodes: u64,
}

/// Gives containers their writable layers.
pub trait Snapshotter: Send + Sync {
    /// Makes the writable layer of a new container over `image`, in `container_dir`. On failure
    /// nothing stays behind.
    fn prepare(&self, container_dir: &Path, image: &Image) -> Result<Snapshot>;

    /// What the container's writable layer takes.
    fn usage(&self, snapshot: &Snapshot) -> Result<Usage>;

    /// What the container changed, sorted by path.
    fn changes(&self, snapshot: &Snapshot) -> Result<Vec<Change>>;

    /// The container's root, mounted nowhere: dropping it unmounts. Only for a container that does
    /// not run, one at a time.
    fn mount(&self, snapshot: &Snapshot) -> Result<Root>;

    /// An image's root, read-only and mounted nowhere.
    fn mount_image(&self, image: &Image) -> Result<Root>;

    /// Removes the container's directory, writable layer included. Fast: it is deleted for good
    /// by [`Trash::empty`].
    fn remove(&self, container_dir: &Path) -> Result<()>;
}

/// Snapshots by overlayfs.
#[derive(Debug, Clone)]
pub struct Overlay {
    trash: Trash,
}

impl Overlay {
    /// Snapshots below `data_root`.
    pub fn new(data_root: &Path) -> Result<Self> {
        Ok(Self {
            trash: Trash::open(data_root)?,
        })
    }
}

impl Overlay {
    /// Snapshots whose remains go into this trash.
    pub(crate) fn with(trash: Trash) -> Self {
        Self { trash }
    }

    /// As [`Snapshotter::mount`]; with `owners`, a user namespace, files belong to whom its ids are.
    pub fn mount_as(&self, snapshot: &Snapshot, owners: Option<BorrowedFd<'_>>) -> Result<Root> {
        let writable = Some((snapshot.upper.as_path(), snapshot.work.as_path()));
        overlay(&snapshot.lower, writable, owners)
            .map(Root::from_fd)
            .context(|| format!("mount the layers of {}", snapshot.upper.display()))
    }
}

impl Snapshotter for Overlay {
    fn prepare(&self, container_dir: &Path, image: &Image) -> Result<Snapshot> {
        prepare_over(container_dir, "upper", image.layers.clone())
    }

    fn usage(&self, snapshot: &Snapshot) -> Result<Usage> {
        usage(&snapshot.upper)
    }

    fn changes(&self, snapshot: &Snapshot) -> Result<Vec<Change>> {
        diff::diff(&snapshot.upper, &snapshot.lower)
    }

    fn mount(&self, snapshot: &Snapshot) -> Result<Root> {
        self.mount_as(snapshot, None)
    }

    fn mount_image(&self, image: &Image) -> Result<Root> {
        mount_read_only(&image.layers, None)
            .map(Root::from_fd)
            .context(|| format!("mount the image {}", image.id))
    }

    fn remove(&self, container_dir: &Path) -> Result<()> {
        self.trash.put(container_dir)
    }
}

/// Makes a writable layer, named `upper_name` in `directory`, over `lower` (uppermost first).
pub(crate) fn prepare_over(
    directory: &Path,
    upper_name: &str,
    mut lower: Vec<PathBuf>,
) -> Result<Snapshot> {
    if lower.len() > LAYERS_MAX {
        let count = lower.len();
        let message = format!("the image has {count} layers, the kernel takes {LAYERS_MAX}");
        return Err(Error::Invalid(message));
    }
    let (upper, work) = (directory.join(upper_name), directory.join("work"));
    let made = make_dir(&work, 0o700).and_then(|()| {
        make_dir(&upper, 0o755)?;
        match lower.first() {
            Some(uppermost) => copy_attributes(uppermost, &upper),
            // An image of nothing but a configuration; overlayfs wants something below.
            None => {
                lower.push(directory.join("empty"));
                make_dir(&lower[0], 0o755)
            }
        }
    });
    if made.is_err() {
        let _ = (fs::remove_dir(&upper), fs::remove_dir(&work));
    }
    made.map(|()| Snapshot { lower, upper, work })
}

/// Layers as one root, read-only: a detached mount.
pub(crate) fn mount_read_only(
    layers: &[PathBuf],
    owners: Option<BorrowedFd<'_>>,
) -> io::Result<OwnedFd> {
    match layers {
        // Overlayfs wants two layers; a single one needs none of it.
        [sole] => read_only_bind(sole, owners),
        layers => overlay(layers, None, owners),
    }
}

/// What a tree takes: each file once, also when it has several names.
pub fn usage(tree: &Path) -> Result<Usage> {
    let what = || format!("measure {}", tree.display());
    let mut usage = Usage::default();
    let mut seen = std::collections::HashSet::new();
    let root = Dir::open(tree).context(what)?;
    measure(&root, 0, &mut usage, &mut seen).context(what)?;
    Ok(usage)
}

fn measure(
    directory: &Dir,
    depth: usize,
    usage: &mut Usage,
    seen: &mut std::collections::HashSet<(u64, u64)>,
) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(Errno::NAMETOOLONG.into());
    }
    for name in directory.names()? {
        let Some(stat) = directory.stat_if_any(&name)? else {
            continue;
        };
        if stat.st_nlink > 1
            && file_type(&stat) != rustix::fs::FileType::Directory
            && !seen.insert((stat.st_dev, stat.st_ino))
        {
            continue;
        }
        usage.inodes += 1;
        match file_type(&stat) {
            rustix::fs::FileType::RegularFile => usage.bytes += stat.st_size.unsigned_abs(),
            rustix::fs::FileType::Symlink => usage.bytes += stat.st_size.unsigned_abs(),
            rustix::fs::FileType::Directory => match directory.child(&name) {
                Ok(child) => measure(&child, depth + 1, usage, seen)?,
                // It went away, or became a link.
                Err(error)
                    if matches!(
                        Errno::from_io_error(&error),
                        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
                    ) => {}
                Err(error) => return Err(error),
            },
            _ => {}
        }
    }
    Ok(())
}

fn make_dir(path: &Path, mode: u32) -> Result<()> {
    let what = || format!("make {}", path.display());
    rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(mode)).context(what)?;
    rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty()).context(what)
}

/// The root directory of the container is the upper one: it must look like the image's.
fn copy_attributes(from: &Path, to: &Path) -> Result<()> {
    let what = || format!("copy the attributes of {}", from.display());
    let (source, target) = (Dir::open(from).context(what)?, Dir::open(to).context(what)?);
    let dot = OsStr::new(".");
    let stat = source.stat(dot).context(what)?;
    let (uid, gid) = (
        rustix::fs::Uid::from_raw(stat.st_uid),
        rustix::fs::Gid::from_raw(stat.st_gid),
    );
    rustix::fs::fchown(&target, Some(uid), Some(gid)).context(what)?;
    rustix::fs::fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o7777)).context(what)?;
    for (attribute, value) in source.portable_xattrs(dot).context(what)? {
        xattr::set(&target, dot, &attribute, &value).context(what)?;
    }
    Ok(())
}

/// A detached overlay mount; with `owners`, its files belong to others than on the disk.
fn overlay(
    lower: &[PathBuf],
    writable: Option<(&Path, &Path)>,
    owners: Option<BorrowedFd<'_>>,
) -> io::Result<OwnedFd> {
    let layers = Layers {
        name: "hull",
        lower,
        writable,
        volatile: false,
    };
    match owners {
        None => layers.mount(),
        Some(namespace) => layers.mount_as(namespace),
    }
}

fn read_only_bind(path: &Path, owners: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    let copy = mount::copy_path(path, false)?;
    if let Some(namespace) = owners {
        mount::translate(copy.as_fd(), namespace, false)?;
    }
    let read_only = mount::Change {
        set: attr::RDONLY,
        ..mount::Change::default()
    };
    mount::change(copy.as_fd(), false, &read_only)?;
    Ok(copy)
}
