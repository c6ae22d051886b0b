//! What the container finds and keeps on disk.

use std::path::PathBuf;

use hull_api::types::{Config, Empty, HostConfig};

use super::some;
use crate::flags::{FlagSet, List};
use crate::options::environment;
use crate::options::mount::MountSpec;
use crate::options::volume;

#[derive(Default)]
pub(super) struct StorageFlags {
    mounts: List<MountSpec>,
    read_only: bool,
    storage_options: Vec<String>,
    tmpfs: Vec<String>,
    volumes: Vec<String>,
    volume_driver: String,
    volumes_from: Vec<String>,
}

impl StorageFlags {
    #[rustfmt::skip]
    pub(super) fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("mount", "mount", "Attach a filesystem mount to the container", &mut self.mounts);
        set.add("read-only", "", "Mount the container's root filesystem as read only", &mut self.read_only);
        set.add("storage-opt", "list", "Storage driver options for the container", &mut self.storage_options);
        set.add("tmpfs", "list", "Mount a tmpfs directory", &mut self.tmpfs);
        set.add("v,volume", "list", "Bind mount a volume", &mut self.volumes);
        set.add("volume-driver", "string", "Optional volume driver for the container", &mut self.volume_driver);
        set.add("volumes-from", "list", "Mount volumes from the specified container(s)", &mut self.volumes_from);
    }

    pub(super) fn apply(&self, config: &mut Config, host: &mut HostConfig) -> Result<(), String> {
        let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        self.volumes
            .iter()
            .try_for_each(|text| volume::check(text))?;
        let volumes = volume::read(&self.volumes, &directory);
        let anonymous: hull_api::types::TextSet = volumes
            .anonymous
            .into_iter()
            .map(|target| (target, Empty {}))
            .collect();
        config.volumes = (!anonymous.is_empty()).then_some(anonymous);
        host.binds = some(volumes.binds);
        host.mounts = self.mounts.0.iter().map(|mount| mount.0.clone()).collect();
        host.readonly_rootfs = self.read_only;
        if self
            .storage_options
            .iter()
            .any(|option| !option.contains('='))
        {
            return Err("invalid storage option".to_owned());
        }
        host.storage_opt = environment::map(&self.storage_options);
        host.tmpfs = volume::tmpfs(&self.tmpfs);
        self.volume_driver.clone_into(&mut host.volume_driver);
        host.volumes_from = some(self.volumes_from.clone());
        Ok(())
    }
}
