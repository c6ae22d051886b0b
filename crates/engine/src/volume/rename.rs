//! Gives a volume another name, also while containers use it.
//!
//! Its id, its directory and all mounts stay; containers hold it by its id, and are told its new
//! name for those who look.

use std::{collections::BTreeMap, sync::Arc};

use super::{LOCAL, Volume, check_name};
use crate::{
    Engine,
    actor::Order,
    error::{Error, Result},
    events::Subject,
};

impl Engine {
    /// Renames a volume of the local driver.
    pub async fn volume_rename(&self, name: &str, new: &str) -> Result<Arc<Volume>> {
        check_name(new)?;
        let services = Arc::clone(self.services());
        let (old, new) = (name.to_owned(), new.to_owned());
        let volume = self
            .services()
            .block(move || {
                let volumes = &services.volumes;
                let _changing = volumes.change();
                let volume = volumes.find(&old)?;
                if volume.driver != LOCAL {
                    return Err(Error::Invalid(format!(
                        "cannot rename volume {old}: it is known by this name to its driver {}",
                        volume.driver
                    )));
                }
                if volumes.find(&new).is_ok() {
                    return Err(Error::Conflict(format!(
                        "cannot rename volume {old} to {new}: there is a volume of that name"
                    )));
                }
                let mut labels = volume.labels.clone();
                labels.remove(super::ANONYMOUS);
                volumes.put(Volume {
                    name: new,
                    labels,
                    // Whoever names it means to keep it.
                    anonymous: false,
                    ..Volume::clone(&volume)
                })
            })
            .await??;
        for user in self.volume_users(&volume) {
            let Ok(handle) = self.find(user.as_str()) else {
                continue;
            };
            let volume = Arc::clone(&volume);
            // One that is being removed needs no news.
            let _ = handle
                .order(|reply| Order::VolumeRenamed { volume, reply })
                .await;
        }
        let attributes = BTreeMap::from([
            ("driver".to_owned(), volume.driver.clone()),
            ("oldName".to_owned(), name.to_owned()),
        ]);
        self.services()
            .events
            .publish(Subject::Volume, "rename", &volume.name, attributes);
        Ok(volume)
    }
}
