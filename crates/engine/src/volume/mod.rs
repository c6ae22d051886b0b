//! Volumes, and what else is mounted into a container.
//!
//! A volume of the `local` driver is a directory, `<data-root>/volumes/<id>/_data`, or what its
//! options mount there. [`index`] says which there are, [`settle`] what a new container gets,
//! [`ready`] what each start needs, [`usage`] who has what mounted.

mod files;
mod index;
mod local;
mod options;
mod ready;
mod rename;
mod settle;
mod usage;

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

pub use files::CloneOptions;
pub(crate) use index::Volumes;
pub(crate) use ready::{Ready, ready};
pub(crate) use settle::settle;

use crate::{
    Engine,
    error::{Attempt, Error, Result},
    events::Subject,
    model::ContainerId,
    record::Record,
    services::Services,
    time::now_ns,
};

/// The driver that needs nobody else.
const LOCAL: &str = "local";

/// A volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Never changes, and names its directory. (Records of old have none: their name is it.)
    #[serde(default)]
    pub id: String,
    /// Unique on this host; may change.
    pub name: String,
    /// `local`.
    pub driver: String,
    /// Free text.
    pub labels: BTreeMap<String, String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub created_at_ns: i64,
    /// Made for one container that named none.
    pub anonymous: bool,
}

impl Volume {
    /// Whether it is a directory and no more.
    pub fn is_plain(&self) -> bool {
        self.driver == LOCAL && !self.options.contains_key("type")
    }
}

/// The order to make a volume.
#[derive(Debug, Clone, Default)]
pub struct CreateVolume {
    /// Empty: the engine makes one up.
    pub name: String,
    /// Empty: `local`.
    pub driver: String,
    /// Free text.
    pub labels: BTreeMap<String, String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
}

impl Engine {
    /// Makes a volume, or returns the one that is there.
    pub async fn volume_create(&self, order: CreateVolume) -> Result<Arc<Volume>> {
        let services = Arc::clone(self.services());
        self.services()
            .block(move || create(&services, order, false))
            .await?
    }

    /// All volumes, by name.
    pub fn volumes(&self) -> Vec<Arc<Volume>> {
        self.services().volumes.all()
    }

    /// One volume.
    pub fn volume(&self, name: &str) -> Result<Arc<Volume>> {
        self.services().volumes.find(name)
    }

    /// Where a volume's content lies on the host.
    pub fn volume_path(&self, volume: &Volume) -> PathBuf {
        self.services().volumes.data_of(volume)
    }

    /// The containers that use a volume.
    pub fn volume_users(&self, volume: &Volume) -> Vec<ContainerId> {
        users(self.services(), volume)
    }

    /// Takes a volume away. Refused while a container uses it, running or not. `force`: one that is
    /// not there is no failure.
    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<()> {
        let (services, name) = (Arc::clone(self.services()), name.to_owned());
        let outcome = self
            .services()
            .block(move || {
                let _nobody_makes = services.nobody_makes();
                remove(&services, &name)
            })
            .await?;
        match outcome {
            Err(Error::NoSuchVolume(_)) if force => Ok(()),
            other => other,
        }
    }

    /// Takes away every unused volume that `wanted` accepts; gives names and bytes.
    pub async fn volume_prune(
        &self,
        wanted: impl Fn(&Volume) -> bool,
    ) -> Result<(Vec<String>, u64)> {
        let (mut names, mut bytes) = (Vec::new(), 0);
        for volume in self.volumes() {
            if !wanted(&volume) || !self.volume_users(&volume).is_empty() {
                continue;
            }
            let size = self.volume_size(&volume).await.unwrap_or(0);
            if self.volume_remove(&volume.name, false).await.is_ok() {
                bytes += size;
                names.push(volume.name.clone());
            }
        }
        self.say_pruned("volume", bytes);
        Ok((names, bytes))
    }

    /// Bytes a volume's content takes on disk.
    pub async fn volume_size(&self, volume: &Volume) -> Result<u64> {
        let path = self.volume_path(volume);
        let measure = move || hull_image::snapshot::usage(&path).map_or(0, |usage| usage.bytes);
        self.services().block(measure).await
    }
}

pub(crate) fn create(
    services: &Services,
    order: CreateVolume,
    anonymous: bool,
) -> Result<Arc<Volume>> {
    let driver = if order.driver.is_empty() {
        LOCAL
    } else {
        &order.driver
    };
    if driver != LOCAL {
        return Err(Error::NotImplemented(format!(
            "volume driver {driver:?} is not available: this daemon has the local driver only"
        )));
    }
    let name = if order.name.is_empty() {
        ContainerId::random().to_string()
    } else {
        check_name(&order.name)?;
        order.name
    };
    let _changing = services.volumes.change();
    if let Ok(volume) = services.volumes.find(&name) {
        return Ok(volume);
    }
    options::parse(&order.options)?;
    let volume = Volume {
        id: services.volumes.new_id(&name),
        name,
        driver: driver.to_owned(),
        labels: order.labels,
        options: order.options,
        created_at_ns: now_ns(),
        anonymous,
    };
    let data = services.volumes.data_of(&volume);
    let directory = services.volumes.directory_of(&volume);
    let made = fs::create_dir_all(&data)
        .attempt(|| format!("create {}", data.display()))
        .and_then(|()| services.volumes.put(volume));
    match &made {
        Ok(volume) => say(services, "create", volume),
        Err(_) => drop(services.trash.put(&directory)),
    }
    made
}

fn remove(services: &Services, name: &str) -> Result<()> {
    let volume = services.volumes.find(name)?;
    let users = users(services, &volume);
    if !users.is_empty() {
        let users: Vec<_> = users.iter().map(ContainerId::as_str).collect();
        let users = users.join(", ");
        return Err(Error::Conflict(format!(
            "remove {name}: volume is in use - [{users}]"
        )));
    }
    // The record goes last: what a crash interrupts can be removed again.
    services
        .trash
        .put(&services.volumes.directory_of(&volume))?;
    services.volumes.delete(&volume)?;
    services.sweep();
    say(services, "destroy", &volume);
    Ok(())
}

/// Takes the anonymous volumes of a container that is gone away.
pub(crate) fn remove_anonymous(services: &Services, record: &Record) {
    for mount in record.mounts.iter().filter(|mount| mount.anonymous) {
        let Some(volume) = services.volume_of(mount) else {
            continue;
        };
        match remove(services, &volume.name) {
            // Another container took it over with `--volumes-from`.
            Ok(()) | Err(Error::Conflict(_) | Error::NoSuchVolume(_)) => {}
            Err(error) => tracing::warn!(volume = volume.name, %error, "cannot remove"),
        }
    }
}

fn users(services: &Services, volume: &Volume) -> Vec<ContainerId> {
    let uses = |record: &Record| {
        !matches!(record.state, crate::state::State::Removing { .. })
            && record
                .mounts
                .iter()
                .any(|mount| mount.volume_id() == Some(&volume.id))
    };
    let records = services
        .registry
        .all()
        .into_iter()
        .map(|handle| handle.record());
    records
        .filter(|record| uses(record))
        .map(|record| record.id.clone())
        .collect()
}

fn check_name(name: &str) -> Result<()> {
    let valid = name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if valid {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "create {name}: {name:?} includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use \
         absolute path"
    )))
}

fn say(services: &Services, action: &str, volume: &Volume) {
    let attributes = BTreeMap::from([("driver".to_owned(), volume.driver.clone())]);
    services
        .events
        .publish(Subject::Volume, action, &volume.name, attributes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_name_is_no_path() {
        for bad in ["a", "/data", "../x", "-a", "a b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("data_1.x").is_ok());
    }
}
