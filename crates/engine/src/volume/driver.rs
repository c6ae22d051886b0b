//! Volumes of other drivers: what a plugin is asked, and in whose name.
//!
//! Everything here blocks, and no longer than the plugin's deadline.

use std::path::PathBuf;

use hull_plugin::{VolumeDriver, VolumeFacts};

use super::Volume;
use crate::{
    error::{Error, Result},
    services::Services,
};

impl Services {
    /// The plugin of a driver's name.
    fn plugin(&self, name: &str) -> Result<VolumeDriver> {
        let (directories, within) = (&self.config.plugins, self.config.plugin_answers_within);
        let found = self
            .waiter
            .block_on(VolumeDriver::open(name, directories, within));
        found.map_err(|source| Error::NoSuchVolumeDriver {
            name: name.to_owned(),
            source,
        })
    }

    /// Asks the driver to make the volume; tells how far it reaches: `local` or `global`.
    pub(super) fn driver_create(&self, volume: &Volume) -> Result<String> {
        let driver = self.plugin(&volume.driver)?;
        let asked = driver.create(&volume.name, &volume.options);
        self.waiter
            .block_on(asked)
            .map_err(refused("create", volume))?;
        Ok(self.waiter.block_on(driver.scope()))
    }

    /// Asks the driver to take the volume away.
    pub(super) fn driver_remove(&self, volume: &Volume) -> Result<()> {
        let driver = self.plugin(&volume.driver)?;
        self.waiter
            .block_on(driver.remove(&volume.name))
            .map_err(refused("remove", volume))
    }

    /// Asks the driver to make the volume reachable for `user`.
    pub(super) fn driver_mount(&self, volume: &Volume, user: &str) -> Result<PathBuf> {
        let driver = self.plugin(&volume.driver)?;
        self.waiter
            .block_on(driver.mount(&volume.name, user))
            .map_err(refused("mount", volume))
    }

    /// Tells the driver that `user` needs the volume no more.
    pub(super) fn driver_unmount(&self, volume: &Volume, user: &str) -> Result<()> {
        let driver = self.plugin(&volume.driver)?;
        self.waiter
            .block_on(driver.unmount(&volume.name, user))
            .map_err(refused("unmount", volume))
    }

    /// What the driver knows of the volume.
    pub(super) fn driver_facts(&self, volume: &Volume) -> Result<VolumeFacts> {
        let driver = self.plugin(&volume.driver)?;
        self.waiter
            .block_on(driver.get(&volume.name))
            .map_err(refused("look at", volume))
    }
}

fn refused(verb: &'static str, volume: &Volume) -> impl FnOnce(hull_plugin::Error) -> Error {
    let attempt = format!("{verb} {}", volume.name);
    move |source| Error::VolumeDriver { attempt, source }
}
