//! The container's file system: mounts, devices, what is hidden and what is read-only.
//!
//! Everything is attached beneath the root while the host's is still the caller's own; targets are
//! resolved inside the root and attached to by descriptor. `/proc`, `/sys` and `/dev` are never
//! reached through links that the image brought.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use hull_sys::{
    beneath::Root,
    mount::{self, Change, FileSystem, attr},
    namespace::Namespaces,
};
use rustix::fs::{FileType, Mode, OFlags};

use super::{Init, console, copy_up, devices, propagate_root};
use crate::{
    error::{Context, Error, invalid},
    plan::MountPlan,
    prepare::Prepared,
};

/// Directories made for mounts.
const DIRECTORY: Mode = Mode::from_raw_mode(0o755);

/// File systems whose superblock is the kernel's or shared: `ro` is said of the mount alone.
const KERNEL_FILE_SYSTEMS: [&str; 7] = [
    "proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts", "tmpfs",
];

/// What came of it.
pub(crate) struct Made {
    /// Our own view of `/proc`, which the container cannot change.
    pub(crate) proc: Option<OwnedFd>,
    pub(crate) console: Option<console::Console>,
    pub(crate) working_directory: OwnedFd,
    /// What hooks read.
    pub(crate) state: String,
    /// What the seccomp listener is told.
    pub(crate) notice: String,
    /// Mounts that become read-only once all is written.
    read_only: Vec<OwnedFd>,
}

struct Maker<'a> {
    init: &'a Init<'a>,
    root: &'a Root,
    proc: Option<OwnedFd>,
    read_only: Vec<OwnedFd>,
    has_own_dev: bool,
}

pub(super) fn make(init: &Init<'_>, root: &Root) -> Result<Made, Error> {
    let mut maker = Maker {
        init,
        root,
        proc: None,
        read_only: Vec::new(),
        has_own_dev: false,
    };
    if !init
        .mounts
        .iter()
        .any(|mount| is(&mount.plan.destination, "dev"))
    {
        maker.mount_default_dev()?;
    }
    for mount in init.mounts {
        maker.mount(mount)?;
    }
    devices::make_elsewhere(init.spec, root)?;
    let console = match init.process.terminal {
        true => Some(console::open(root, init.process.console_size)?),
        false => None,
    };
    if let Some(console) = &console
        && maker.has_own_dev
    {
        console.show(root)?;
    }
    let cwd = &init.process.cwd;
    let working_directory = root.mkdir_all(cwd, DIRECTORY).step(|| {
        format!(
            "chdir to cwd ({:?}) set in config.json failed",
            cwd.display().to_string()
        )
    })?;
    let Maker {
        proc, read_only, ..
    } = maker;
    Ok(Made {
        proc,
        console,
        working_directory,
        state: String::new(),
        notice: String::new(),
        read_only,
    })
}

/// Whether `path` names the top-level directory `name`.
fn is(path: &Path, name: &str) -> bool {
    let mut parts = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_)));
    parts.next().is_some_and(|part| part.as_os_str() == name)
        && parts.next().is_none()
        && !path.components().any(|part| part == Component::ParentDir)
}

impl Maker<'_> {
    fn mount(&mut self, mount: &Prepared) -> Result<(), Error> {
        let plan = &mount.plan;
        let what = || {
            format!(
                "error mounting \"{}\" to rootfs at \"{}\"",
                source(plan),
                plan.destination.display()
            )
        };
        let result = match (&mount.source, plan.kind.as_str()) {
            (Some(source), _) => self.bind(mount, source),
            (None, "cgroup" | "cgroup2") => self.cgroup(plan),
            (None, _) => self.file_system(plan),
        };
        result.step(what)
    }

    fn bind(&mut self, mount: &Prepared, source: &OwnedFd) -> io::Result<()> {
        let destination = &mount.plan.destination;
        let target = if is(destination, "proc") || is(destination, "sys") || is(destination, "dev")
        {
            self.plain_directory(destination)?
        } else if mount.source_is_directory {
            self.root.mkdir_all(destination, DIRECTORY)?
        } else {
            self.root
                .create_file(destination, Mode::from_raw_mode(0o755))?
        };
        mount::attach(source.as_fd(), target.as_fd())
    }

    /// A directory that is reached without a link.
    fn plain_directory(&self, path: &Path) -> io::Result<OwnedFd> {
        let open = || self.root.resolve_without_links(path);
        let found = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.root.mkdir_all(path, DIRECTORY)?;
                open()?
            }
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                let text = format!(
                    "{} must not be reached through a symbolic link",
                    path.display()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            result => result?,
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode);
        if kind != FileType::Directory {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("{} must be a directory", path.display()),
            ));
        }
        Ok(found)
    }

    fn file_system(&mut self, plan: &MountPlan) -> io::Result<()> {
        let destination = &plan.destination;
        let careful =
            matches!(plan.kind.as_str(), "proc" | "sysfs" | "devpts") || is(destination, "dev");
        let target = if careful {
            self.plain_directory(destination)?
        } else {
            self.root.mkdir_all(destination, DIRECTORY)?
        };
        let fresh = self.new_file_system(plan, &target)?;
        if plan.copy_up && plan.kind == "tmpfs" {
            copy_up::copy(target.as_fd(), fresh.as_fd())?;
        }
        if is(destination, "dev") && plan.kind == "tmpfs" {
            devices::populate(fresh.as_fd(), self.init.spec).map_err(io::Error::other)?;
            self.has_own_dev = true;
        }
        mount::attach(fresh.as_fd(), target.as_fd())?;
        if let Some((propagation, recursive)) = plan.propagation {
            let change = Change {
                propagation: Some(propagation),
                ..Change::default()
            };
            mount::change(fresh.as_fd(), recursive, &change)?;
        }
        if plan.kind == "proc" && is(destination, "proc") {
            self.proc = Some(fresh);
        } else if plan.is_read_only() && plan.kind == "tmpfs" {
            self.read_only.push(fresh);
        }
        Ok(())
    }

    fn new_file_system(&self, plan: &MountPlan, target: &OwnedFd) -> io::Result<OwnedFd> {
        let context = FileSystem::new(&plan.kind)?;
        if let Some(source) = plan.source.as_ref().filter(|s| !s.as_os_str().is_empty()) {
            context.set("source", source)?;
        }
        for option in &plan.data {
            context.set_option(option)?;
        }
        if plan.kind == "tmpfs" && plan.copy_up && !plan.data.iter().any(|o| o.starts_with("mode="))
        {
            let mode = rustix::fs::fstat(target)?.st_mode & 0o7777;
            context.set("mode", format!("{mode:o}"))?;
        }
        if let Some(label) = self.mount_label(&plan.kind) {
            context.set("context", label)?;
        }
        if plan.is_read_only() && !KERNEL_FILE_SYSTEMS.contains(&plan.kind.as_str()) {
            context.set_flag("ro")?;
        }
        // A read-only tmpfs is first filled.
        let later = if plan.kind == "tmpfs" {
            attr::RDONLY
        } else {
            0
        };
        context.mount((plan.set | plan.recursive.set) & !later)
    }

    /// SELinux, where it is on.
    fn mount_label(&self, kind: &str) -> Option<&String> {
        let linux = self.init.spec.linux().as_ref()?;
        let label = linux
            .mount_label()
            .as_ref()
            .filter(|label| !label.is_empty())?;
        let takes_it = !matches!(kind, "proc" | "sysfs" | "mqueue" | "cgroup" | "cgroup2");
        (takes_it && Path::new("/sys/fs/selinux/enforce").exists()).then_some(label)
    }

    /// The spec has no `/dev`: that of the image is never used.
    fn mount_default_dev(&mut self) -> Result<(), Error> {
        let plan = MountPlan {
            destination: PathBuf::from("/dev"),
            kind: "tmpfs".into(),
            source: Some(PathBuf::from("tmpfs")),
            data: vec!["mode=755".into(), "size=65536k".into()],
            set: attr::NOSUID | attr::STRICTATIME,
            ..MountPlan::default()
        };
        self.file_system(&plan)
            .step(|| "mount a tmpfs on /dev".into())
    }

    /// v2: the hierarchy as the cgroup namespace shows it. v1: one directory per hierarchy.
    fn cgroup(&mut self, plan: &MountPlan) -> io::Result<()> {
        let target = self.root.mkdir_all(&plan.destination, DIRECTORY)?;
        let set = plan.set | plan.recursive.set;
        let Some(group) = self.init.cgroup.group() else {
            // Nothing of ours to show: a copy of what the caller sees.
            let copy = mount::copy_path(Path::new("/sys/fs/cgroup"), true)?;
            return attach_with(&copy, target.as_fd(), set, true);
        };
        let private = self.init.namespaces.has(Namespaces::CGROUP);
        if group.is_v2() {
            let tree = if private {
                FileSystem::new("cgroup2").and_then(|context| context.mount(set))
            } else {
                // A mount from the first cgroup namespace would reset the host's mount options.
                mount::copy_path(Path::new("/sys/fs/cgroup"), false)
            };
            let tree = match (tree, group.directories().first()) {
                (Err(_), Some(directory)) => mount::copy_path(&directory.path, true)?,
                (tree, _) => tree?,
            };
            return attach_with(&tree, target.as_fd(), set, false);
        }
        let context = FileSystem::new("tmpfs")?;
        context.set("source", "cgroup")?;
        context.set("mode", "755")?;
        let tmpfs = context.mount(set & !attr::RDONLY)?;
        mount::attach(tmpfs.as_fd(), target.as_fd())?;
        for directory in group.directories() {
            self.cgroup_v1(directory, &tmpfs, private, set)?;
        }
        if plan.is_read_only() {
            self.read_only.push(tmpfs);
        }
        Ok(())
    }

    fn cgroup_v1(
        &self,
        directory: &hull_sys::cgroup::Directory,
        tmpfs: &OwnedFd,
        private: bool,
        attributes: u64,
    ) -> io::Result<()> {
        let name = directory
            .mount
            .file_name()
            .ok_or(io::ErrorKind::InvalidInput)?;
        rustix::fs::mkdirat(tmpfs, name, DIRECTORY)?;
        for controller in &directory.controllers {
            if name != controller.as_str() && !controller.starts_with("name=") {
                rustix::fs::symlinkat(name, tmpfs, controller.as_str())?;
            }
        }
        let tree = if private {
            let context = FileSystem::new("cgroup")?;
            for controller in &directory.controllers {
                context.set_option(controller)?;
            }
            context.mount(attributes)?
        } else {
            mount::copy_path(&directory.path, true)?
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(tmpfs, name, flags, Mode::empty())?;
        attach_with(&tree, target.as_fd(), attributes, false)
    }
}

fn source(plan: &MountPlan) -> String {
    match (&plan.source, plan.kind.as_str()) {
        (Some(source), _) => source.display().to_string(),
        (None, kind) => kind.to_owned(),
    }
}

fn attach_with(
    tree: &OwnedFd,
    target: BorrowedFd<'_>,
    attributes: u64,
    recursive: bool,
) -> io::Result<()> {
    let change = Change {
        set: attributes & !attr::ATIME_MASK,
        propagation: Some(mount::Propagation::Private),
        ..Change::default()
    };
    mount::change(tree.as_fd(), recursive, &change)?;
    mount::attach(tree.as_fd(), target)
}

/// Hides `maskedPaths`, protects `readonlyPaths`.
pub(super) fn restrict(init: &Init<'_>, root: &Root) -> Result<(), Error> {
    let Some(linux) = init.spec.linux() else {
        return Ok(());
    };
    for path in linux.readonly_paths().iter().flatten() {
        let Some(target) = present(root, path)? else {
            continue;
        };
        let protect = || {
            let tree = mount::copy(target.as_fd(), Path::new(""), true)?;
            let change = Change {
                set: attr::RDONLY,
                ..Change::default()
            };
            mount::change(tree.as_fd(), true, &change)?;
            mount::attach(tree.as_fd(), target.as_fd())
        };
        protect().step(|| format!("make {path} read-only"))?;
    }
    let mut mask = Mask {
        root,
        file: None,
        directory: None,
    };
    for path in linux.masked_paths().iter().flatten() {
        let Some(target) = present(root, path)? else {
            continue;
        };
        mask.cover(&target).step(|| format!("mask {path}"))?;
    }
    Ok(())
}

/// What `path` is, if it is there at all.
fn present(root: &Root, path: &str) -> Result<Option<OwnedFd>, Error> {
    if !path.starts_with('/') {
        return Err(invalid(format!(
            "masked or read-only path `{path}` is not absolute"
        )));
    }
    match root.resolve(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
            Ok(None)
        }
        Err(error) => Err(error).step(|| format!("look for {path}")),
    }
}

struct Mask<'a> {
    root: &'a Root,
    file: Option<OwnedFd>,
    directory: Option<OwnedFd>,
}

impl Mask<'_> {
    /// One empty directory covers them all: each further mount of it costs a third of a new one.
    fn cover(&mut self, target: &OwnedFd) -> io::Result<()> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(target)?.st_mode);
        if kind != FileType::Directory {
            let file = match self.file.take() {
                Some(file) => self.file.insert(file),
                None => self.file.insert(null(self.root)?),
            };
            let copy = mount::copy(file.as_fd(), Path::new(""), false)?;
            return mount::attach(copy.as_fd(), target.as_fd());
        }
        if let Some(first) = &self.directory {
            let copy = mount::copy(first.as_fd(), Path::new(""), false)?;
            return mount::attach(copy.as_fd(), target.as_fd());
        }
        let context = FileSystem::new("tmpfs")?;
        context.set("source", "tmpfs")?;
        context.set("size", "0k")?;
        context.set("mode", "755")?;
        let fresh = context.mount(attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
        mount::attach(fresh.as_fd(), target.as_fd())?;
        self.directory = Some(fresh);
        Ok(())
    }
}

/// The real `/dev/null`: what an image or a racing container put there does not pass for it.
fn null(root: &Root) -> io::Result<OwnedFd> {
    let file = root.resolve_without_links("dev/null")?;
    let stat = rustix::fs::fstat(&file)?;
    let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(1, 3);
    if !is_null {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "/dev/null is not the null device",
        ));
    }
    Ok(file)
}

/// After the pivot: what had to stay writable until now.
pub(super) fn finalize(init: &Init<'_>, made: &Made) -> Result<(), Error> {
    let change = Change {
        set: attr::RDONLY,
        ..Change::default()
    };
    for mount in &made.read_only {
        mount::change(mount.as_fd(), false, &change).step(|| "make a mount read-only".into())?;
    }
    if let Some((propagation, recursive)) = propagate_root(init.spec)? {
        let change = Change {
            propagation: Some(propagation),
            ..Change::default()
        };
        mount::change(init.root.as_fd(), recursive, &change)
            .step(|| "set rootfsPropagation".into())?;
    }
    if init.spec.root().as_ref().and_then(|root| root.readonly()) == Some(true) {
        mount::change(init.root.as_fd(), false, &change)
            .step(|| "make the rootfs read-only".into())?;
    }
    Ok(())
}
