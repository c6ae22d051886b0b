//! Volumes, and what else is mounted into a container.
//!
//! A volume of the `local` driver is a directory, `<data-root>/volumes/<name>/_data`. Other drivers
//! are refused by name.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use hull_image::{Image, Snapshotter as _};
use serde::{Deserialize, Serialize};

use crate::{
    Engine,
    error::{Attempt, Error, Result},
    events::Subject,
    model::{BindOptions, Config, ContainerId, HostConfig, MountSource, MountSpec, Propagation},
    record::{MountKind, MountPoint, Record},
    services::Services,
    store::Kind,
    time::now_ns,
    undo::Undo,
};

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Unique on this host.
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
    pub async fn volume_create(&self, order: CreateVolume) -> Result<Volume> {
        let services = Arc::clone(self.services());
        self.services()
            .block(move || create(&services, order, false))
            .await?
    }

    /// All volumes.
    pub async fn volumes(&self) -> Result<Vec<Volume>> {
        let services = Arc::clone(self.services());
        self.services()
            .block(move || services.store.all(Kind::Volume))
            .await?
    }

    /// One volume.
    pub async fn volume(&self, name: &str) -> Result<Volume> {
        let (services, name) = (Arc::clone(self.services()), name.to_owned());
        self.services()
            .block(move || find(&services, &name))
            .await?
    }

    /// Where a volume's content lies on the host.
    pub fn volume_path(&self, name: &str) -> PathBuf {
        data_of(self.services(), name)
    }

    /// The containers that use a volume.
    pub fn volume_users(&self, name: &str) -> Vec<ContainerId> {
        users(self.services(), name)
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
        for volume in self.volumes().await? {
            if !wanted(&volume) || !self.volume_users(&volume.name).is_empty() {
                continue;
            }
            let path = self.volume_path(&volume.name);
            let size = self.services().block(move || size_of(&path)).await?;
            if self.volume_remove(&volume.name, false).await.is_ok() {
                bytes += size;
                names.push(volume.name);
            }
        }
        self.say_pruned("volume", bytes);
        Ok((names, bytes))
    }

    /// Bytes a volume takes on disk.
    pub async fn volume_size(&self, name: &str) -> Result<u64> {
        let path = self.volume_path(name);
        self.services().block(move || size_of(&path)).await
    }
}

fn create(services: &Services, order: CreateVolume, anonymous: bool) -> Result<Volume> {
    let driver = if order.driver.is_empty() {
        "local"
    } else {
        &order.driver
    };
    if driver != "local" {
        return Err(Error::NotImplemented(format!(
            "volume driver {driver:?} is not available: this daemon has the local driver only"
        )));
    }
    if !order.options.is_empty() {
        return Err(Error::NotImplemented(
            "options of the local volume driver (type, o, device) are not available".to_owned(),
        ));
    }
    let name = if order.name.is_empty() {
        ContainerId::random().to_string()
    } else {
        check_name(&order.name)?;
        order.name
    };
    if let Some(volume) = services.store.get::<Volume>(Kind::Volume, &name)? {
        return Ok(volume);
    }
    let data = data_of(services, &name);
    fs::create_dir_all(&data).attempt(|| format!("create {}", data.display()))?;
    let volume = Volume {
        name,
        driver: driver.to_owned(),
        labels: order.labels,
        options: order.options,
        created_at_ns: now_ns(),
        anonymous,
    };
    services.store.put(Kind::Volume, &volume.name, &volume)?;
    say(services, "create", &volume.name);
    Ok(volume)
}

fn find(services: &Services, name: &str) -> Result<Volume> {
    let found = services.store.get(Kind::Volume, name)?;
    found.ok_or_else(|| Error::NoSuchVolume(name.to_owned()))
}

fn remove(services: &Services, name: &str) -> Result<()> {
    find(services, name)?;
    let users = users(services, name);
    if !users.is_empty() {
        let users: Vec<_> = users.iter().map(ContainerId::as_str).collect();
        let users = users.join(", ");
        return Err(Error::Conflict(format!(
            "remove {name}: volume is in use - [{users}]"
        )));
    }
    services.store.delete(Kind::Volume, name)?;
    let directory = services.paths.volumes().join(name);
    services.trash.put(&directory)?;
    services.sweep();
    say(services, "destroy", name);
    Ok(())
}

/// Takes the anonymous volumes of a container that is gone away.
pub(crate) fn remove_anonymous(services: &Services, record: &Record) {
    for mount in record.mounts.iter().filter(|mount| mount.anonymous) {
        let Some(name) = &mount.name else { continue };
        match remove(services, name) {
            // Another container took it over with `--volumes-from`.
            Ok(()) | Err(Error::Conflict(_) | Error::NoSuchVolume(_)) => {}
            Err(error) => tracing::warn!(volume = name, %error, "cannot remove"),
        }
    }
}

fn users(services: &Services, name: &str) -> Vec<ContainerId> {
    let uses = |record: &Record| {
        !matches!(record.state, crate::state::State::Removing { .. })
            && record
                .mounts
                .iter()
                .any(|mount| mount.name.as_deref() == Some(name))
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

fn data_of(services: &Services, name: &str) -> PathBuf {
    services.paths.volumes().join(name).join("_data")
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

fn say(services: &Services, action: &str, name: &str) {
    let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
    services
        .events
        .publish(Subject::Volume, action, name, attributes);
}

/// Bytes on disk below a directory.
fn size_of(path: &Path) -> u64 {
    hull_image::snapshot::usage(path).map_or(0, |usage| usage.bytes)
}

// ---- what is mounted into a container ----------------------------------------------------------

/// Resolves all mounts of a new container: makes volumes, fills empty ones from the image.
pub(crate) fn settle(
    services: &Arc<Services>,
    id: &ContainerId,
    config: &Config,
    host: &HostConfig,
    image: &Image,
    undo: &mut Undo,
) -> Result<Vec<MountPoint>> {
    let mut mounts: BTreeMap<String, MountPoint> = BTreeMap::new();
    for reference in &host.volumes_from {
        for mount in borrowed(services, reference)? {
            mounts.insert(mount.destination.clone(), mount);
        }
    }
    for spec in &host.mounts {
        let mount = resolve(services, spec, &host.volume_driver, image, undo)?;
        if spec.target == "/" {
            return Err(Error::Invalid(
                "invalid specification: destination can't be '/'".to_owned(),
            ));
        }
        mounts.insert(mount.destination.clone(), mount);
    }
    for target in &config.volumes {
        let target = clean(target);
        if mounts.contains_key(&target) || host.tmpfs.contains_key(&target) {
            continue;
        }
        let spec = MountSpec {
            source: MountSource::Volume {
                name: None,
                options: Default::default(),
            },
            target: target.clone(),
            read_only: false,
            mode: String::new(),
            consistency: String::new(),
            from_bind_text: false,
        };
        mounts.insert(
            target,
            resolve(services, &spec, &host.volume_driver, image, undo)?,
        );
    }
    tracing::debug!(
        container = id.short(),
        mounts = mounts.len(),
        "mounts settled"
    );
    Ok(mounts.into_values().collect())
}

/// The volumes and binds of another container.
fn borrowed(services: &Services, reference: &str) -> Result<Vec<MountPoint>> {
    let (name, mode) = reference.split_once(':').unwrap_or((reference, ""));
    let owner = services.registry.find(name)?.record();
    let read_only = mode.split(',').any(|word| word == "ro");
    let lend = |mount: &MountPoint| MountPoint {
        read_only: mount.read_only || read_only,
        // It goes with the container it was made for.
        anonymous: false,
        ..mount.clone()
    };
    let lendable = |m: &&MountPoint| matches!(m.kind, MountKind::Bind | MountKind::Volume);
    Ok(owner.mounts.iter().filter(lendable).map(lend).collect())
}

fn resolve(
    services: &Arc<Services>,
    spec: &MountSpec,
    driver: &str,
    image: &Image,
    undo: &mut Undo,
) -> Result<MountPoint> {
    let mut mount = MountPoint {
        kind: MountKind::Tmpfs,
        name: None,
        source: PathBuf::new(),
        destination: clean(&spec.target),
        driver: String::new(),
        mode: spec.mode.clone(),
        read_only: spec.read_only,
        propagation: None,
        anonymous: false,
        non_recursive: false,
        read_only_non_recursive: false,
        read_only_force_recursive: false,
        options: Vec::new(),
    };
    match &spec.source {
        MountSource::Bind { path, options } => bind(&mut mount, path, options)?,
        MountSource::Volume { name, options } => {
            let anonymous = name.is_none();
            let existed = match name {
                Some(name) => services.store.get::<Volume>(Kind::Volume, name)?.is_some(),
                None => false,
            };
            let order = CreateVolume {
                name: name.clone().unwrap_or_default(),
                driver: if options.driver.is_empty() {
                    driver.to_owned()
                } else {
                    options.driver.clone()
                },
                labels: options.labels.clone(),
                options: options.driver_options.clone(),
            };
            let volume = create(services, order, anonymous)?;
            if !existed {
                let (services, name) = (Arc::clone(services), volume.name.clone());
                undo.push("remove the new volume", move || {
                    drop(remove(&services, &name))
                });
            }
            let data = data_of(services, &volume.name);
            if !options.no_copy {
                fill(services, &data, image, &mount.destination)?;
            }
            mount.kind = MountKind::Volume;
            mount.source = below(&data, &options.subpath)?;
            mount.driver.clone_from(&volume.driver);
            mount.name = Some(volume.name);
            mount.anonymous = anonymous;
        }
        MountSource::Tmpfs(options) => {
            if options.size_bytes > 0 {
                mount.options.push(format!("size={}", options.size_bytes));
            }
            if options.mode != 0 {
                mount.options.push(format!("mode={:o}", options.mode));
            }
            mount
                .options
                .extend(options.options.iter().map(|words| words.join("=")));
        }
        MountSource::Image { reference, .. } => {
            return Err(Error::NotImplemented(format!(
                "mounting image {reference:?} into a container is not available"
            )));
        }
    }
    Ok(mount)
}

fn bind(mount: &mut MountPoint, path: &str, options: &BindOptions) -> Result<()> {
    if !path.starts_with('/') {
        return Err(Error::Invalid(format!(
            "invalid mount config for type \"bind\": invalid mount path: '{path}' mount path must \
             be absolute"
        )));
    }
    match fs::metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && options.create_source => {
            fs::create_dir_all(path).attempt(|| format!("create {path}"))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::Invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {path}"
            )));
        }
        Err(source) => {
            return Err(Error::Host {
                attempt: format!("look at bind source {path}"),
                source,
            });
        }
    }
    mount.kind = MountKind::Bind;
    mount.source = PathBuf::from(path);
    mount.propagation = Some(options.propagation.unwrap_or(Propagation::Rprivate));
    mount.non_recursive = options.non_recursive;
    mount.read_only_non_recursive = options.read_only_non_recursive;
    mount.read_only_force_recursive = options.read_only_force_recursive;
    Ok(())
}

/// A path inside a volume, which must be there and must not lead out of it.
fn below(data: &Path, subpath: &str) -> Result<PathBuf> {
    if subpath.is_empty() {
        return Ok(data.to_owned());
    }
    let root =
        hull_sys::beneath::Root::new(data).attempt(|| format!("open volume {}", data.display()))?;
    root.stat(Path::new(subpath))
        .map_err(|_| Error::Invalid(format!("cannot access path {subpath} in the volume")))?;
    Ok(data.join(subpath))
}

/// Gives an empty volume the image's content at `target`.
fn fill(services: &Services, data: &Path, image: &Image, target: &str) -> Result<()> {
    let is_empty = fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_none());
    if !is_empty {
        return Ok(());
    }
    copy_up(services, image, target, data)
}

/// Copies a directory of an image, with owners, modes, attributes and links, as one archive.
fn copy_up(services: &Services, image: &Image, target: &str, data: &Path) -> Result<()> {
    let from = services.snapshots.mount_image(image)?;
    let is_directory = from
        .stat(target.trim_start_matches('/'))
        .is_ok_and(|found| {
            rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::Directory
        });
    if !is_directory {
        return Ok(());
    }
    let to =
        hull_sys::beneath::Root::new(data).attempt(|| format!("open volume {}", data.display()))?;
    let (reader, writer) = io::pipe().attempt(|| "make a pipe".to_owned())?;
    let content = format!("{target}/.");
    std::thread::scope(|scope| {
        let packing = scope.spawn(|| {
            let mut writer = io::BufWriter::with_capacity(64 << 10, writer);
            hull_image::archive::pack(&from, &content, &mut writer)?;
            io::Write::flush(&mut writer).attempt(|| "copy to a volume".to_owned())
        });
        let options = hull_image::archive::UnpackOptions::default();
        let unpacked = hull_image::archive::unpack(&to, "/", reader, options);
        let packed = packing
            .join()
            .map_err(|_| Error::Internal("copying to a volume broke off".to_owned()))?;
        unpacked.map_err(Error::from).and(packed)
    })
}

/// An absolute path without `.`, `..` and doubled slashes.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_cleaned() {
        assert_eq!(clean("/a//b/./c/../d/"), "/a/b/d");
        assert_eq!(clean("/../../etc"), "/etc");
        assert_eq!(clean(""), "/");
    }

    #[test]
    fn a_volume_name_is_no_path() {
        for bad in ["a", "/data", "../x", "-a", "a b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("data_1.x").is_ok());
    }
}
