//! What must be mounted before a container may use a volume, and unmounted after the last one.
//!
//! A plain directory needs none of it. What the options of the local driver name is mounted onto the
//! volume's directory on the host, once for all containers, as `Mountpoint` promises; each container
//! has its own copy of that mount, so taking it off the host disturbs nobody.

use std::{collections::BTreeSet, path::PathBuf, sync::PoisonError};

use super::{Volume, local, options};
use crate::{
    error::{Attempt, Error, Result},
    record::{MountKind, MountPoint, Record},
    services::Services,
};

/// Who uses a volume now: ids of containers.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    users: BTreeSet<String>,
    /// Where a plugin showed it last.
    mounted_at: PathBuf,
}

impl Services {
    /// Makes a volume's content reachable for `user`, and tells where it is.
    pub(crate) fn acquire_volume(&self, volume: &Volume, user: &str) -> Result<PathBuf> {
        if !volume.is_local() {
            return self.acquire_of_driver(volume, user);
        }
        let data = self.volumes.data_of(volume);
        let Some(mount) = options::parse(&volume.options)?.mount else {
            std::fs::metadata(&data)
                .attempt(|| format!("open volume {}: its content is gone", volume.name))?;
            return Ok(data);
        };
        let usage = self.volumes.usage_of(volume);
        let mut usage = usage.lock().unwrap_or_else(PoisonError::into_inner);
        if !local::is_mounted(&data) {
            local::mount(&mount, &data).map_err(|error| {
                Error::Internal(format!(
                    "error while mounting volume '{}': failed to mount local volume: {error}",
                    data.display()
                ))
            })?;
        }
        usage.users.insert(user.to_owned());
        Ok(data)
    }

    fn acquire_of_driver(&self, volume: &Volume, user: &str) -> Result<PathBuf> {
        let usage = self.volumes.usage_of(volume);
        {
            // A container that has it twice is one user: it gives it back once.
            let known = usage.lock().unwrap_or_else(PoisonError::into_inner);
            if known.users.contains(user) && !known.mounted_at.as_os_str().is_empty() {
                return Ok(known.mounted_at.clone());
            }
        }
        let path = self.driver_mount(volume, user)?;
        let mut usage = usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.users.insert(user.to_owned());
        usage.mounted_at.clone_from(&path);
        Ok(path)
    }

    /// Where a plugin showed the volume last; empty: nobody uses it.
    pub(crate) fn mounted_at(&self, volume: &Volume) -> PathBuf {
        let usage = self.volumes.usage_of(volume);
        let usage = usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.mounted_at.clone()
    }

    /// Keeps a volume from being removed while its files are carried.
    pub(super) fn hold_volume(&self, volume: &Volume, user: &str) {
        let usage = self.volumes.usage_of(volume);
        let mut usage = usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.users.insert(user.to_owned());
    }

    /// Carries a removal out while nobody begins to use the volume. What its options mount is not
    /// ours to delete.
    pub(super) fn while_unused<T>(
        &self,
        volume: &Volume,
        removal: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let usage = self.volumes.usage_of(volume);
        let usage = usage.lock().unwrap_or_else(PoisonError::into_inner);
        let in_use = || Error::Conflict(format!("remove {}: volume is in use", volume.name));
        if volume.is_local() {
            if !usage.users.is_empty() {
                return Err(in_use());
            }
            if !volume.is_plain() {
                self.unmount(volume);
                if local::is_mounted(&self.volumes.data_of(volume)) {
                    return Err(in_use());
                }
            }
        }
        removal()
    }

    /// `user` needs the volume no more.
    pub(crate) fn release_volume(&self, volume: &Volume, user: &str) {
        let usage = self.volumes.usage_of(volume);
        let mut usage = usage.lock().unwrap_or_else(PoisonError::into_inner);
        let was_user = usage.users.remove(user);
        if volume.is_plain() || (!was_user && !volume.is_local()) {
            return;
        }
        if volume.is_local() {
            if usage.users.is_empty() {
                self.unmount(volume);
            }
            return;
        }
        if usage.users.is_empty() {
            usage.mounted_at = PathBuf::new();
        }
        drop(usage);
        if let Err(error) = self.driver_unmount(volume, user) {
            tracing::warn!(volume = volume.name, %error, "its driver was not told");
        }
    }

    fn unmount(&self, volume: &Volume) {
        let data = self.volumes.data_of(volume);
        if local::is_mounted(&data)
            && let Err(error) = hull_sys::mount::detach(&data)
        {
            tracing::warn!(volume = volume.name, %error, "cannot unmount");
        }
    }

    /// The volume that is mounted there; `None`: none is, or it is gone.
    pub(crate) fn volume_of(&self, mount: &MountPoint) -> Option<std::sync::Arc<Volume>> {
        let id = mount.volume_id()?;
        self.volumes.by_id(id)
    }

    /// A container that ended needs none of its volumes.
    pub(crate) fn release_volumes(&self, record: &Record) {
        for volume in record
            .mounts
            .iter()
            .filter_map(|mount| self.volume_of(mount))
        {
            self.release_volume(&volume, record.id.as_str());
        }
    }

    /// A container that ended while nobody looked: drivers of other programs are told that it needs
    /// its volumes no more. (What local ones have mounted, [`recount_volumes`](Self::recount_volumes)
    /// sees to.)
    pub(crate) fn give_lost_volumes_back(&self, record: &Record) {
        let mut told = BTreeSet::new();
        for mount in &record.mounts {
            let volume = self.volume_of(mount);
            let Some(volume) = volume.filter(|volume| !volume.is_local()) else {
                continue;
            };
            if told.insert(volume.id.clone())
                && let Err(error) = self.driver_unmount(&volume, record.id.as_str())
            {
                tracing::warn!(volume = volume.name, %error, "its driver was not told");
            }
        }
    }

    /// After a restart of the daemon: counts the users that went on, and unmounts what has none.
    pub(crate) fn recount_volumes(&self, running: &[&Record]) {
        for record in running {
            for mount in &record.mounts {
                let volume = self.volume_of(mount);
                let Some(volume) = volume.filter(|volume| !volume.is_plain()) else {
                    continue;
                };
                let usage = self.volumes.usage_of(&volume);
                let mut usage = usage.lock().unwrap_or_else(PoisonError::into_inner);
                usage.users.insert(record.id.to_string());
                usage.mounted_at.clone_from(&mount.source);
            }
        }
        for volume in self
            .volumes
            .all()
            .iter()
            .filter(|volume| !volume.is_plain())
        {
            let usage = self.volumes.usage_of(volume);
            let usage = usage.lock().unwrap_or_else(PoisonError::into_inner);
            if usage.users.is_empty() && volume.is_local() {
                self.unmount(volume);
            }
        }
    }

    /// Whether a container that ended has something to give back at all.
    pub(crate) fn holds_volumes(&self, record: &Record) -> bool {
        let held = |mount: &MountPoint| {
            mount.kind == MountKind::Volume
                && self
                    .volume_of(mount)
                    .is_some_and(|volume| !volume.is_plain())
        };
        record.mounts.iter().any(held)
    }
}
