//! Layers on top of each other as one detached mount, with the disk's owners or with others.

use std::{
    ffi::OsStr,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, openat};

use crate::{
    mount::{self, FileSystem, attr},
    process,
};

/// Whatever this host's defaults are: layers and archives of them know whole files only, so neither
/// renamed directories nor files without data may appear where is written.
const OPTIONS: [(&str, &str); 2] = [("redirect_dir", "off"), ("metacopy", "off")];

/// What is to lie on top of what.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layers<'a> {
    /// What lists of mounts call it; empty: as the kernel does.
    pub name: &'a str,
    /// Read-only layers, uppermost first.
    pub lower: &'a [PathBuf],
    /// The writable layer and overlay's work directory beside it; `None`: nothing can be written.
    pub writable: Option<(&'a Path, &'a Path)>,
    /// Syncs of the upper layer are skipped (the kernel's `volatile`).
    pub volatile: bool,
}

impl Layers<'_> {
    /// A detached mount of them.
    pub fn mount(&self) -> io::Result<OwnedFd> {
        match self.mount_paths(true) {
            // `lowerdir+` came with Linux 6.5; a joined list may have 255 bytes.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.mount_paths(false).map_err(|_| error)
            }
            mounted => mounted,
        }
    }

    /// The same, seen through a user namespace: what belongs to 0 on the disk belongs to the
    /// namespace's root, and so on; also what is written. Needs Linux 6.15.
    ///
    /// Overlay itself cannot translate, so each layer does.
    pub fn mount_as(&self, namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let lower = self.lower.iter();
        let lower = lower.map(|layer| Translated::new(layer, namespace));
        let lower = lower.collect::<io::Result<Vec<_>>>()?;
        let begin = || {
            let overlay = self.begin()?;
            for layer in &lower {
                overlay.set_descriptor("lowerdir+", layer.root.as_fd())?;
            }
            io::Result::Ok(overlay)
        };
        let Some((upper, work)) = self.writable else {
            return begin()?.mount(attr::RDONLY);
        };
        let writable = Writable::new(upper, work, namespace)?;
        // Overlay makes its own files as who mounts it, and the host's root is nobody there: the
        // work directory's owner, as it is seen now, is who it must be.
        let owner = rustix::fs::fstat(&writable.work)?;
        process::making_files_as(owner.st_uid, owner.st_gid, || {
            let overlay = begin()?;
            overlay.set_descriptor("upperdir", writable.upper.as_fd())?;
            overlay.set_descriptor("workdir", writable.work.as_fd())?;
            self.finish(overlay)
        })?
    }

    fn mount_paths(&self, one_by_one: bool) -> io::Result<OwnedFd> {
        let overlay = self.begin()?;
        if one_by_one {
            for layer in self.lower {
                overlay.set("lowerdir+", layer)?;
            }
        } else {
            let all: Vec<&OsStr> = self.lower.iter().map(|layer| layer.as_os_str()).collect();
            overlay.set("lowerdir", all.join(OsStr::new(":")))?;
        }
        let Some((upper, work)) = self.writable else {
            return overlay.mount(attr::RDONLY);
        };
        overlay.set("upperdir", upper)?;
        overlay.set("workdir", work)?;
        self.finish(overlay)
    }

    fn begin(&self) -> io::Result<FileSystem> {
        let overlay = FileSystem::new("overlay")?;
        if !self.name.is_empty() {
            overlay.set("source", self.name)?;
        }
        Ok(overlay)
    }

    fn finish(&self, overlay: FileSystem) -> io::Result<OwnedFd> {
        for (key, value) in OPTIONS {
            overlay.set(key, value)?;
        }
        if self.volatile {
            overlay.set_flag("volatile")?;
        }
        overlay.mount(0)
    }
}

/// A layer with its owners translated.
struct Translated {
    /// The copy of the mount ends with it.
    tree: OwnedFd,
    /// Its root, open: overlay takes no descriptor that is a mere place.
    root: OwnedFd,
}

impl Translated {
    fn new(path: &Path, namespace: BorrowedFd<'_>) -> io::Result<Self> {
        let tree = mount::copy_path(path, false)?;
        mount::translate(tree.as_fd(), namespace, false)?;
        let root = directory(tree.as_fd(), Path::new("."))?;
        Ok(Self { tree, root })
    }
}

/// Where is written. Both directories must be on one mount: that of the directory that holds them.
struct Writable {
    _above: Translated,
    upper: OwnedFd,
    work: OwnedFd,
}

impl Writable {
    fn new(upper: &Path, work: &Path, namespace: BorrowedFd<'_>) -> io::Result<Self> {
        let apart = || {
            let (upper, work) = (upper.display(), work.display());
            io::Error::other(format!("{upper} and {work} are not side by side"))
        };
        let above = upper.parent().filter(|above| work.parent() == Some(above));
        let above = Translated::new(above.ok_or_else(apart)?, namespace)?;
        let inside = |path: &Path| {
            let name = path.file_name().ok_or_else(apart)?;
            directory(above.tree.as_fd(), Path::new(name))
        };
        Ok(Self {
            upper: inside(upper)?,
            work: inside(work)?,
            _above: above,
        })
    }
}

fn directory(at: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, path, flags, Mode::empty())?)
}
