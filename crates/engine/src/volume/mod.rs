//! Volumes, and what else is mounted into a container.
//!
//! A volume of the `local` driver is a directory, `<data-root>/volumes/<id>/_data`, or what its
//! options mount there. [`index`] says which there are, [`settle`] what a new container gets,
//! [`ready`] what each start needs, [`usage`] who has what mounted.

mod driver;
mod files;
mod index;
mod local;
mod options;
pub(crate) mod propagation;
mod ready;
mod rename;
mod settle;
mod ship;
mod usage;

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

pub use files::CloneOptions;
pub(crate) use index::Volumes;
pub(crate) use options::bytes;
pub(crate) use ready::{Ready, ready};
pub(crate) use settle::settle;
pub use ship::PullVolume;

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

/// The label by which programs tell a volume that nobody named.
pub(crate) const ANONYMOUS: &str = "com.docker.volume.anonymous";

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
    /// `global` where its driver shows it on every host; empty: `local`.
    #[serde(default)]
    pub scope: String,
}

impl Volume {
    /// Whether it is a directory and no more.
    pub fn is_plain(&self) -> bool {
        self.is_local() && !self.options.contains_key("type")
    }

    /// Whether it needs no plugin.
    pub fn is_local(&self) -> bool {
        self.driver == LOCAL
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

impl CreateVolume {
    /// Whether no plugin is needed.
    fn is_local(&self) -> bool {
        self.driver.is_empty() || self.driver == LOCAL
    }
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

    /// Where a volume's content lies on the host; empty while a plugin shows it nowhere.
    pub fn volume_path(&self, volume: &Volume) -> PathBuf {
        match volume.is_local() {
            true => self.services().volumes.data_of(volume),
            false => self.services().mounted_at(volume),
        }
    }

    /// What its driver tells of a volume; `None`: nothing, or it is the local one's.
    pub async fn volume_facts(&self, volume: &Arc<Volume>) -> Option<hull_plugin::VolumeFacts> {
        if volume.is_local() {
            return None;
        }
        let (services, volume) = (Arc::clone(self.services()), Arc::clone(volume));
        let facts = self
            .services()
            .block(move || services.driver_facts(&volume));
        facts.await.ok()?.ok()
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
                if let Ok(volume) = services.volumes.find(&name)
                    && !volume.is_local()
                {
                    // A plugin takes its time: containers are made meanwhile.
                    return remove(&services, &name, force);
                }
                let _nobody_chooses = services.makings.nobody_chooses();
                remove(&services, &name, force)
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

    /// Bytes of disk that are a volume's. (What its options mount there lies elsewhere.)
    pub async fn volume_size(&self, volume: &Volume) -> Result<u64> {
        let directory = self.services().volumes.directory_of(volume);
        let measure = move || hull_image::allocated(&directory);
        Ok(self.services().block(measure).await??)
    }

    /// The same of many, in one go; `None`: it cannot be measured, or lies elsewhere.
    pub async fn volume_sizes(&self, volumes: &[Arc<Volume>]) -> Result<Vec<Option<u64>>> {
        let own = |volume: &Arc<Volume>| self.services().volumes.directory_of(volume);
        let place = |volume: &Arc<Volume>| volume.is_local().then(|| own(volume));
        let places: Vec<_> = volumes.iter().map(place).collect();
        self.services().block(move || measured(&places)).await
    }
}

/// How many threads measure, at most: the disk is one.
const MEASURERS: usize = 4;

fn measured(places: &[Option<PathBuf>]) -> Vec<Option<u64>> {
    let size = |place: &Option<PathBuf>| hull_image::allocated(place.as_ref()?).ok();
    let threads =
        std::thread::available_parallelism().map_or(1, |count| count.get().min(MEASURERS));
    let share = places.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for share in places.chunks(share) {
            let sizes = move || share.iter().map(size).collect::<Vec<_>>();
            workers.push((share.len(), scope.spawn(sizes)));
        }
        let sizes = workers.into_iter().map(|(count, worker)| {
            let unknown = |_| vec![None; count];
            worker.join().unwrap_or_else(unknown)
        });
        sizes.flatten().collect()
    })
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
    let anonymous = anonymous || order.name.is_empty();
    let mut labels = order.labels;
    let name = if order.name.is_empty() {
        labels.insert(ANONYMOUS.to_owned(), String::new());
        ContainerId::random().to_string()
    } else {
        check_name(&order.name)?;
        order.name
    };
    if let Some(volume) = existing(services, &name, driver)? {
        return Ok(volume);
    }
    let mut volume = Volume {
        id: String::new(),
        name,
        driver: driver.to_owned(),
        labels,
        options: order.options,
        created_at_ns: now_ns(),
        anonymous,
        scope: String::new(),
    };
    let mut size = None;
    let mut is_made = false;
    if volume.is_local() {
        size = options::parse(&volume.options)?.size;
    } else {
        // Outside of the lock: a plugin takes its time, and a second order of the same is one.
        // What it has already is not ours to take back.
        is_made = services.driver_facts(&volume).is_err();
        volume.scope = services.driver_create(&volume)?;
    }
    let _changing = services.volumes.change();
    if let Some(volume) = existing(services, &volume.name, driver)? {
        return Ok(volume);
    }
    volume.id = services.volumes.new_id(&volume.name);
    let data = services.volumes.data_of(&volume);
    let directory = services.volumes.directory_of(&volume);
    let made = fs::create_dir_all(&data)
        .attempt(|| format!("create {}", data.display()))
        .and_then(|()| size.map_or(Ok(()), |bytes| services.limit(&[&data], bytes)))
        .and_then(|()| services.volumes.put(volume.clone()));
    match &made {
        Ok(volume) => say(services, "create", volume),
        Err(_) => {
            drop(services.trash.put(&directory));
            if is_made && let Err(error) = services.driver_remove(&volume) {
                tracing::warn!(volume = volume.name, %error, "its driver keeps what was made");
            }
        }
    }
    made
}

/// The volume of that name, which must be of the same driver.
fn existing(services: &Services, name: &str, driver: &str) -> Result<Option<Arc<Volume>>> {
    let Ok(volume) = services.volumes.find(name) else {
        return Ok(None);
    };
    if volume.driver != driver {
        return Err(Error::Conflict(format!(
            "create {name}: conflict: volume name must be unique: driver {} has one of that name",
            volume.driver
        )));
    }
    Ok(Some(volume))
}

pub(crate) fn remove(services: &Services, name: &str, force: bool) -> Result<()> {
    let volume = services.volumes.find(name)?;
    let users = users(services, &volume);
    if !users.is_empty() {
        let users: Vec<_> = users.iter().map(ContainerId::as_str).collect();
        let users = users.join(", ");
        return Err(Error::Conflict(format!(
            "remove {name}: volume is in use - [{users}]"
        )));
    }
    if !volume.is_local()
        && let Err(error) = services.driver_remove(&volume)
    {
        if !force {
            return Err(error);
        }
        tracing::warn!(volume = name, %error, "forgotten all the same");
    }
    // The record goes last: what a crash interrupts can be removed again.
    services.while_unused(&volume, || {
        let directory = services.volumes.directory_of(&volume);
        services.trash.put(&directory)?;
        services.volumes.delete(&volume)
    })?;
    services.sweep();
    say(services, "destroy", &volume);
    Ok(())
}

/// Takes the anonymous volumes of a container that is gone away.
pub(crate) fn remove_anonymous(services: &Arc<Services>, record: &Record) {
    for mount in record.mounts.iter().filter(|mount| mount.anonymous) {
        let Some(volume) = services.volume_of(mount) else {
            continue;
        };
        if !volume.is_local() {
            let (services, name) = (Arc::clone(services), volume.name.clone());
            let waiter = services.waiter.clone();
            // A plugin takes its time, and who removes a container does not wait for it.
            waiter.spawn_blocking(move || {
                if let Err(error) = remove(&services, &name, false) {
                    tracing::warn!(volume = name, %error, "cannot remove");
                }
            });
            continue;
        }
        let _nobody_chooses = services.makings.nobody_chooses();
        match remove(services, &volume.name, false) {
            // Another container took it over with `--volumes-from`.
            Ok(()) | Err(Error::Conflict(_) | Error::NoSuchVolume(_)) => {}
            Err(error) => tracing::warn!(volume = volume.name, %error, "cannot remove"),
        }
    }
}

pub(crate) fn users(services: &Services, volume: &Volume) -> Vec<ContainerId> {
    let uses = |record: &Record| {
        !matches!(record.state, crate::state::State::Removing { .. })
            && record
                .mounts
                .iter()
                .any(|mount| mount.volume_id() == Some(&volume.id))
    };
    let mut users: Vec<ContainerId> = services
        .makings
        .users_of_volume(&volume.id)
        .into_iter()
        .collect();
    // Read after those that are being made: one that is made meanwhile is here.
    let records = services
        .registry
        .all()
        .into_iter()
        .map(|handle| handle.record());
    let made: Vec<ContainerId> = records
        .filter(|record| uses(record) && !users.contains(&record.id))
        .map(|record| record.id.clone())
        .collect();
    users.extend(made);
    users
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

impl Services {
    /// Tells that a container has its volumes mounted (`mount`), or has them no more (`unmount`).
    pub(crate) fn say_volumes(&self, action: &str, record: &Record) {
        for mount in &record.mounts {
            let Some(volume) = self.volume_of(mount) else {
                continue;
            };
            let mut attributes = BTreeMap::from([
                ("container".to_owned(), record.id.to_string()),
                ("driver".to_owned(), volume.driver.clone()),
            ]);
            if action == "mount" {
                attributes.extend([
                    ("destination".to_owned(), mount.destination.clone()),
                    ("propagation".to_owned(), String::new()),
                    ("read/write".to_owned(), (!mount.read_only).to_string()),
                ]);
            }
            self.events
                .publish(Subject::Volume, action, &volume.name, attributes);
        }
    }
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
