//! Layers on top of each other as one detached mount, with the disk's owners or with others.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::{
    mount::{self, FileSystem, attr},
    namespace, process,
};

/// Whatever this host's defaults are: layers and archives of them know whole files only, so neither
/// renamed directories nor files without data may appear where is written.
const OPTIONS: [(&str, &str); 2] = [("redirect_dir", "off"), ("metacopy", "off")];

/// The longest value that the kernel takes.
const LIST_BYTES_MAX: usize = 255;

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
        match self.mount_one_by_one() {
            // `lowerdir+` came with Linux 6.5.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.mount_joined().map_err(|joined| match joined.kind() {
                    io::ErrorKind::ArgumentListTooLong => io::Error::new(
                        error.kind(),
                        format!(
                            "{error} ({} layers are too many before Linux 6.5)",
                            self.lower.len()
                        ),
                    ),
                    _ => error,
                })
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

    fn mount_one_by_one(&self) -> io::Result<OwnedFd> {
        let overlay = self.begin()?;
        for layer in self.lower {
            overlay.set("lowerdir+", layer)?;
        }
        self.mount_on(overlay)
    }

    /// By one list, which `:` divides. Descriptors are named in it, from where their names are shortest.
    fn mount_joined(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |layer: &PathBuf| openat(CWD, layer, flags, Mode::empty());
        let held = self.lower.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let names = held.iter().map(|layer| layer.as_raw_fd().to_string());
        let list = names.collect::<Vec<_>>().join(":");
        if list.len() > LIST_BYTES_MAX {
            return Err(io::ErrorKind::ArgumentListTooLong.into());
        }
        namespace::in_directory(Path::new("/proc/self/fd"), || {
            let overlay = self.begin()?;
            overlay.set("lowerdir", list)?;
            self.mount_on(overlay)
        })
    }

    fn mount_on(&self, overlay: FileSystem) -> io::Result<OwnedFd> {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn older_kernels_mount_many_layers_whatever_they_are_called() {
        let base = std::env::temp_dir().join(format!("hull-overlay-{}:a,b", std::process::id()));
        let layers: Vec<PathBuf> = (0..40)
            .map(|number| base.join(number.to_string()))
            .collect();
        for layer in &layers {
            fs::create_dir_all(layer).unwrap();
            fs::write(layer.join(layer.file_name().unwrap()), "").unwrap();
        }
        fs::write(layers[0].join("who"), "uppermost").unwrap();
        fs::write(layers[1].join("who"), "below").unwrap();
        let all = Layers {
            lower: &layers,
            ..Layers::default()
        };
        let mounted = all.mount_joined().unwrap();
        let seen = PathBuf::from(format!("/proc/self/fd/{}", mounted.as_raw_fd()));
        assert_eq!(fs::read_to_string(seen.join("who")).unwrap(), "uppermost");
        assert_eq!(fs::read_dir(&seen).unwrap().count(), 41);
        let many: Vec<PathBuf> = layers.iter().cycle().take(160).cloned().collect();
        let all = Layers {
            lower: &many,
            ..Layers::default()
        };
        let error = all.mount_joined().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ArgumentListTooLong);
        drop(mounted);
        fs::remove_dir_all(base).unwrap();
    }
}
