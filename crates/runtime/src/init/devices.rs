//! Device nodes: those every container has, and the spec's.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Component, Path},
};

use hull_oci::runtime::{LinuxDevice, LinuxDeviceType, Spec};
use hull_sys::{beneath::Root, mount};
use rustix::{
    fs::{
        AtFlags, Dev, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, makedev, mkdirat, mknodat,
        openat, symlinkat,
    },
    io::Errno,
};

use crate::error::{Context, Error, invalid};

/// Name, major and minor number; all are `rw` for everybody.
const OWN: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 6] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

const NODE: Mode = Mode::from_raw_mode(0o666);

/// Fills our own `/dev`, which nobody else can see yet.
pub(super) fn populate(dev: BorrowedFd<'_>, spec: &Spec) -> Result<(), Error> {
    for (name, target) in LINKS {
        symlinkat(target, dev, name).step(|| format!("create /dev/{name}"))?;
    }
    for (name, major, minor) in OWN {
        let device = (FileType::CharacterDevice, makedev(major, minor));
        node(dev, name, device, NODE, &Path::new("/dev").join(name))
            .step(|| format!("create /dev/{name}"))?;
    }
    for device in listed(spec) {
        let Some(below) = below_dev(device.path()) else {
            continue;
        };
        if is_given(below) {
            continue;
        }
        in_dev(dev, below, device).step(|| format!("create {}", device.path().display()))?;
    }
    Ok(())
}

fn listed(spec: &Spec) -> impl Iterator<Item = &LinuxDevice> {
    spec.linux()
        .iter()
        .filter_map(|linux| linux.devices().as_ref())
        .flatten()
}

fn below_dev(path: &Path) -> Option<&Path> {
    let below = path.strip_prefix("/dev").ok()?;
    let plain = below
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    (plain && below.components().next().is_some()).then_some(below)
}

/// What the kernel gives through a mount of its own.
fn is_given(below: &Path) -> bool {
    below == Path::new("ptmx") || below.starts_with("pts")
}

fn in_dev(dev: BorrowedFd<'_>, below: &Path, device: &LinuxDevice) -> io::Result<()> {
    let mut directory: OwnedFd = rustix::io::fcntl_dupfd_cloexec(dev, 3)?;
    for part in below.parent().into_iter().flatten() {
        match mkdirat(&directory, part, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        directory = openat(&directory, part, flags, Mode::empty())?;
    }
    let name = below.file_name().ok_or(Errno::INVAL)?.to_string_lossy();
    make(directory.as_fd(), &name, device)
}

fn make(directory: BorrowedFd<'_>, name: &str, device: &LinuxDevice) -> io::Result<()> {
    let kind = kind(device)?;
    let mode = Mode::from_raw_mode(device.file_mode().unwrap_or(0o666) & 0o7777);
    node(
        directory,
        name,
        (kind, number(device)?),
        mode,
        device.path(),
    )?;
    let owner = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
    if owner != (0, 0) {
        let (user, group) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        match chownat(
            directory,
            name,
            Some(user),
            Some(group),
            AtFlags::SYMLINK_NOFOLLOW,
        ) {
            // A node of the host, shown in a user namespace.
            Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn kind(device: &LinuxDevice) -> io::Result<FileType> {
    match device.typ() {
        LinuxDeviceType::B => Ok(FileType::BlockDevice),
        LinuxDeviceType::C | LinuxDeviceType::U => Ok(FileType::CharacterDevice),
        LinuxDeviceType::P => Ok(FileType::Fifo),
        LinuxDeviceType::A => Err(Errno::INVAL.into()),
    }
}

fn number(device: &LinuxDevice) -> io::Result<Dev> {
    if device.typ() == LinuxDeviceType::P {
        return Ok(0);
    }
    let number = |value: i64| u32::try_from(value).map_err(|_| io::Error::from(Errno::INVAL));
    Ok(makedev(number(device.major())?, number(device.minor())?))
}

/// Where nodes cannot be made (in a user namespace), the host's is shown instead, if it is the same.
fn node(
    directory: BorrowedFd<'_>,
    name: &str,
    (kind, device): (FileType, Dev),
    mode: Mode,
    of_host: &Path,
) -> io::Result<()> {
    let make = || mknodat(directory, name, kind, mode, device);
    let made = match make() {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
            make()
        }
        made => made,
    };
    match made {
        Err(Errno::PERM) => show_of_host(directory, name, (kind, device), of_host),
        made => Ok(made?),
    }
}

fn show_of_host(
    directory: BorrowedFd<'_>,
    name: &str,
    wanted: (FileType, Dev),
    of_host: &Path,
) -> io::Result<()> {
    let tree = match same_device(of_host, wanted) {
        Some(tree) => tree,
        None => find_device(Path::new("/dev"), wanted, DEPTH_MAX).ok_or(Errno::PERM)?,
    };
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())?;
    let target = openat(
        directory,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    mount::attach(tree.as_fd(), target.as_fd())
}

/// A copy of the mount of what is there, if it is that device.
fn same_device(path: &Path, (kind, device): (FileType, Dev)) -> Option<OwnedFd> {
    let tree = mount::copy_path(path, false).ok()?;
    let stat = fstat(&tree).ok()?;
    let is_same = FileType::from_raw_mode(stat.st_mode) == kind && stat.st_rdev == device;
    is_same.then_some(tree)
}

/// How deep below `/dev` a device is looked for that has another name there.
const DEPTH_MAX: u32 = 3;

fn find_device(directory: &Path, wanted: (FileType, Dev), depth: u32) -> Option<OwnedFd> {
    let entries: Vec<_> = std::fs::read_dir(directory).ok()?.flatten().collect();
    let found = entries.iter().find_map(|entry| {
        let meta = entry.metadata().ok()?;
        let is_it = FileType::from_raw_mode(meta.mode()) == wanted.0 && meta.rdev() == wanted.1;
        is_it.then(|| same_device(&entry.path(), wanted))?
    });
    found.or_else(|| {
        let mut below = entries
            .iter()
            .filter(|entry| depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()));
        below.find_map(|entry| find_device(&entry.path(), wanted, depth - 1))
    })
}

/// The spec's devices that are not below `/dev`.
pub(super) fn make_elsewhere(spec: &Spec, root: &Root) -> Result<(), Error> {
    for device in listed(spec).filter(|device| below_dev(device.path()).is_none()) {
        let path = device.path();
        if !path.is_absolute() {
            return Err(invalid(format!(
                "device path `{}` is not absolute",
                path.display()
            )));
        }
        let create = || {
            if let Some(parent) = path.parent() {
                root.mkdir_all(parent, Mode::from_raw_mode(0o755))?;
            }
            let (directory, name) = root.parent(path)?;
            make(directory.as_fd(), &name.to_string_lossy(), device)
        };
        create().step(|| format!("create {}", path.display()))?;
    }
    Ok(())
}
