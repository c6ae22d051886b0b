//! What lies where.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{
    error::{Attempt, Result},
    model::ContainerId,
};

/// Directories of a daemon: `data` survives a reboot, `exec` does not.
#[derive(Debug, Clone)]
pub struct Paths {
    data: PathBuf,
    exec: PathBuf,
}

impl Paths {
    /// Makes the directories that are missing. Only root may look inside.
    pub(crate) fn open(data: &Path, exec: &Path) -> Result<Self> {
        let paths = Self {
            data: data.to_owned(),
            exec: exec.to_owned(),
        };
        for directory in [data, exec] {
            make(directory, 0o710).attempt(|| format!("create {}", directory.display()))?;
        }
        for directory in [paths.containers(), paths.runs(), paths.volumes()] {
            make(&directory, 0o710).attempt(|| format!("create {}", directory.display()))?;
        }
        paths
            .make_base()
            .attempt(|| format!("create {}", paths.base().display()))?;
        Ok(paths)
    }

    fn make_base(&self) -> io::Result<()> {
        let base = self.base();
        make(&base, 0o755)?;
        for directory in ["dev", "etc", "proc", "sys"] {
            make(&base.join(directory), 0o755)?;
        }
        for file in ["hostname", "hosts", "resolv.conf"] {
            let path = base.join("etc").join(file);
            if !path.exists() {
                fs::write(&path, "")?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
            }
        }
        Ok(())
    }

    /// The root of what survives.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Held while a daemon uses the data root.
    pub(crate) fn lock(&self) -> PathBuf {
        self.data.join("lock")
    }

    /// Names the parents of cgroups that were made for containers.
    pub(crate) fn cgroup_parents(&self) -> PathBuf {
        self.exec.join("cgroup-parents")
    }

    /// Held while a daemon uses the exec root.
    pub(crate) fn run_lock(&self) -> PathBuf {
        self.exec.join("lock")
    }

    /// The state file.
    pub(crate) fn database(&self) -> PathBuf {
        self.data.join("hull.db")
    }

    /// What opens secrets.
    pub(crate) fn seal_key(&self) -> PathBuf {
        self.data.join("seal.key")
    }

    /// The image store.
    pub(crate) fn images(&self) -> PathBuf {
        self.data.join("image")
    }

    /// All bundles.
    pub(crate) fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    /// A container's bundle.
    pub fn bundle(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// A container's writable layer.
    pub fn upper(&self, id: &ContainerId) -> PathBuf {
        self.bundle(id).join("upper")
    }

    /// Overlay's work directory of a container.
    pub fn work(&self, id: &ContainerId) -> PathBuf {
        self.bundle(id).join("work")
    }

    /// The sockets of running containers.
    pub(crate) fn runs(&self) -> PathBuf {
        self.exec.join("containers")
    }

    /// A running container's directory.
    pub(crate) fn run(&self, id: &ContainerId) -> PathBuf {
        self.runs().join(id.as_str())
    }

    /// The lowest layer of every container: places for what is mounted into all of them, so that
    /// they are never seen as the container's own changes.
    pub(crate) fn base(&self) -> PathBuf {
        self.data.join("base")
    }

    /// What commands of builds need while they run.
    pub(crate) fn builds(&self) -> PathBuf {
        self.exec.join("builds")
    }

    /// Compiled seccomp filters.
    pub(crate) fn filters(&self) -> PathBuf {
        self.exec.join("seccomp")
    }

    /// All volumes.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }
}

/// Makes a directory with exactly this mode, and its parents.
pub(crate) fn make(directory: &Path, mode: u32) -> io::Result<()> {
    let existed = directory.is_dir();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(directory)?;
    if !existed {
        // The process's umask took bits away.
        fs::set_permissions(directory, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}
