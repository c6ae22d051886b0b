//! What is mounted into a new container: its volumes are made and filled, its sources looked at.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use hull_image::{Image, Snapshotter as _};
use hull_sys::beneath::Root;

use super::{CreateVolume, Volume, create, ready::beneath, remove};
use crate::{
    error::{Attempt, Error, Kind, Result},
    making::Reservation,
    model::{
        BindOptions, Config, ContainerId, HostConfig, MountSource, MountSpec, Propagation,
        TmpfsOptions, VolumeOptions,
    },
    quota::within_limits,
    record::{MountKind, MountPoint},
    remap::{Remap, make_source},
    services::Services,
    undo::Undo,
};

/// A container that is being made, as far as its mounts need it.
struct Making<'a> {
    services: &'a Arc<Services>,
    /// What it will use stays.
    reserved: &'a Reservation,
    id: &'a ContainerId,
    /// The driver of volumes that name none.
    driver: &'a str,
    image: &'a Image,
    /// Who its root is outside, if that is another.
    root: Option<(u32, u32)>,
    undo: &'a mut Undo,
}

/// Files of `/proc` that others may lie over: what a container reads there is meant for people.
const OPEN_IN_PROC: [&str; 12] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
    "version",
];

/// What confines a container is read and written in its `/proc`: nothing else may stand there.
fn keep_proc(mount: &MountPoint) -> Result<()> {
    let target = mount.destination.as_str();
    let inside = match target.strip_prefix("/proc") {
        // Another namespace's shows as much.
        Some("") if is_proc(&mount.source) => return Ok(()),
        Some("") => "",
        Some(inside) if inside.starts_with('/') => &inside[1..],
        _ => return Ok(()),
    };
    if OPEN_IN_PROC.contains(&inside) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "invalid mount config: {target:?} cannot be mounted because it is inside /proc"
    )))
}

fn is_proc(path: &Path) -> bool {
    const PROC: rustix::fs::FsWord = 0x9fa0;
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == PROC)
}

/// Resolves all mounts of a new container: makes volumes, fills empty ones from the image.
pub(crate) fn settle(
    services: &Arc<Services>,
    reserved: &Reservation,
    id: &ContainerId,
    config: &Config,
    host: &HostConfig,
    image: &Image,
    undo: &mut Undo,
) -> Result<Vec<MountPoint>> {
    let mut making = Making {
        services,
        reserved,
        id,
        driver: &host.volume_driver,
        image,
        root: services.remap_of(host).and_then(Remap::root),
        undo,
    };
    let mut mounts: BTreeMap<String, MountPoint> = BTreeMap::new();
    for reference in &host.volumes_from {
        for mount in making.borrowed(reference)? {
            mounts.insert(mount.destination.clone(), mount);
        }
    }
    for spec in &host.mounts {
        if clean(&spec.target) == "/" {
            return Err(Error::Invalid(
                "invalid specification: destination can't be '/'".to_owned(),
            ));
        }
        let mount = making.resolve(spec)?;
        keep_proc(&mount)?;
        mounts.insert(mount.destination.clone(), mount);
    }
    for target in &config.volumes {
        let target = clean(target);
        if target == "/" {
            return Err(Error::Invalid(
                "invalid volume: destination can't be '/'".to_owned(),
            ));
        }
        if mounts.contains_key(&target) || host.tmpfs.keys().any(|own| clean(own) == target) {
            continue;
        }
        let mount = making.resolve(&anonymous(&target))?;
        mounts.insert(target, mount);
    }
    tracing::debug!(
        container = id.short(),
        mounts = mounts.len(),
        "mounts settled"
    );
    Ok(mounts.into_values().collect())
}

fn anonymous(target: &str) -> MountSpec {
    MountSpec {
        source: MountSource::Volume {
            name: None,
            options: VolumeOptions::default(),
        },
        target: target.to_owned(),
        read_only: false,
        mode: String::new(),
        consistency: String::new(),
        from_bind_text: false,
        idmap: None,
    }
}

/// The container that another one borrows from, and whether to read only.
fn lender(reference: &str) -> Result<(&str, bool)> {
    let (name, mode) = reference.split_once(':').unwrap_or((reference, ""));
    let mut read_only = false;
    for word in mode.split(',').filter(|word| !word.is_empty()) {
        match word {
            "ro" => read_only = true,
            // Labels have a meaning with SELinux alone.
            "rw" | "z" | "Z" => {}
            _ => {
                return Err(Error::Invalid(format!(
                    "invalid volumes-from specification {reference:?}: invalid mode: {mode} \
                     (ro, rw, z or Z)"
                )));
            }
        }
    }
    Ok((name, read_only))
}

impl Making<'_> {
    /// The volumes and binds of another container.
    fn borrowed(&self, reference: &str) -> Result<Vec<MountPoint>> {
        let (name, read_only) = lender(reference)?;
        let owner = self.services.registry.find(name)?.record();
        let lend = |mount: &MountPoint| MountPoint {
            read_only: mount.read_only || read_only,
            // It goes with the container it was made for.
            anonymous: false,
            ..mount.clone()
        };
        let lendable = |m: &&MountPoint| matches!(m.kind, MountKind::Bind | MountKind::Volume);
        let lent: Vec<_> = owner.mounts.iter().filter(lendable).map(lend).collect();
        for mount in &lent {
            if let Some(id) = mount.volume_id() {
                let gone = || Error::NoSuchVolume(mount.name.clone().unwrap_or_default());
                let look = || self.services.volumes.by_id(id).ok_or_else(gone);
                self.reserved.volume(look)?;
            }
        }
        Ok(lent)
    }

    fn resolve(&mut self, spec: &MountSpec) -> Result<MountPoint> {
        let mut mount = MountPoint {
            kind: MountKind::Tmpfs,
            destination: clean(&spec.target),
            mode: spec.mode.clone(),
            read_only: spec.read_only,
            idmap: spec.idmap.clone(),
            ..MountPoint::default()
        };
        match &spec.source {
            MountSource::Bind { path, options } => bind(&mut mount, path, options, self.root)?,
            MountSource::Volume { name, options } => {
                self.volume(&mut mount, name.as_deref(), options)?;
            }
            MountSource::Tmpfs(options) => tmpfs(&mut mount, options),
            MountSource::Image { reference, subpath } => {
                self.image(&mut mount, reference, subpath)?;
            }
        }
        Ok(mount)
    }

    fn volume(
        &mut self,
        mount: &mut MountPoint,
        name: Option<&str>,
        options: &VolumeOptions,
    ) -> Result<()> {
        let anonymous = name.is_none();
        if options.subpath.starts_with('/') {
            return Err(Error::Invalid(format!(
                "invalid volume mount: subpath {} must be a relative path within the volume",
                options.subpath
            )));
        }
        let existed = name.is_some_and(|name| self.services.volumes.find(name).is_ok());
        let order = CreateVolume {
            name: name.unwrap_or_default().to_owned(),
            driver: if options.driver.is_empty() {
                self.driver.to_owned()
            } else {
                options.driver.clone()
            },
            labels: options.labels.clone(),
            options: options.driver_options.clone(),
        };
        let volume = self.find_or_create(order, !options.driver.is_empty(), anonymous)?;
        if !existed {
            let (services, volume) = (Arc::clone(self.services), Arc::clone(&volume));
            self.undo.push("remove the new volume", move || {
                let _nobody_chooses = services.makings.nobody_chooses();
                drop(remove(&services, &volume.name, false))
            });
        }
        // What the image has there belongs into the part that is mounted, which must be there.
        if !options.no_copy && options.subpath.is_empty() {
            self.fill(&volume, &mount.destination)?;
        }
        mount.kind = MountKind::Volume;
        if volume.is_local() {
            mount.source = self.services.volumes.data_of(&volume);
        }
        mount.subpath.clone_from(&options.subpath);
        if !options.subpath.is_empty() && volume.is_plain() {
            let of = format!("volume {}", volume.name);
            let root = Root::new(&mount.source).attempt(|| format!("open {of}"))?;
            beneath(&root, &options.subpath, &of)?;
        }
        mount.driver.clone_from(&volume.driver);
        mount.name = Some(volume.name.clone());
        mount.volume = Some(volume.id.clone());
        mount.anonymous = anonymous;
        Ok(())
    }

    /// The volume of that name. Whoever names no driver takes the one that is there.
    fn find_or_create(
        &self,
        order: CreateVolume,
        names_driver: bool,
        anonymous: bool,
    ) -> Result<Arc<Volume>> {
        let find = |name: &str| self.reserved.volume(|| self.services.volumes.find(name));
        if !names_driver && let Ok(volume) = find(&order.name) {
            return Ok(volume);
        }
        if order.is_local() {
            return self
                .reserved
                .volume(|| create(self.services, order, anonymous));
        }
        // A plugin takes its time: others go on choosing.
        let made = create(self.services, order, anonymous)?;
        find(&made.name)
    }

    /// Gives an empty volume the image's content at `target`.
    fn fill(&self, volume: &Volume, target: &str) -> Result<()> {
        let from = self.services.snapshots.mount_image(self.image)?;
        let path = Path::new(target.trim_start_matches('/'));
        let is_directory = from.stat(path).is_ok_and(|found| {
            rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::Directory
        });
        if !is_directory {
            return Ok(());
        }
        let data = self.services.acquire_volume(volume, self.id.as_str())?;
        let filled = fill_if_empty(&from, path, &data);
        self.services.release_volume(volume, self.id.as_str());
        filled
    }

    fn image(&self, mount: &mut MountPoint, reference: &str, subpath: &str) -> Result<()> {
        // "Not found" of a create means the container's own image, which clients then pull.
        let image = self
            .reserved
            .image(reference, None)
            .map_err(|error| match error.kind() {
                Kind::NotFound => Error::Invalid(format!(
                    "invalid mount config for type \"image\": {error}: pull it first"
                )),
                _ => error,
            })?;
        if !subpath.is_empty() {
            let root = self.services.snapshots.mount_image(&image)?;
            beneath(&root, subpath, &format!("image {reference}"))?;
        }
        mount.kind = MountKind::Image;
        mount.read_only = true;
        mount.source = PathBuf::from(reference);
        subpath.clone_into(&mut mount.subpath);
        // By its id: the name may move on to another image.
        mount.image = Some(image.id.to_string());
        mount.layers = image.layers;
        Ok(())
    }
}

fn fill_if_empty(from: &Root, path: &Path, data: &Path) -> Result<()> {
    let is_empty = fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_none());
    if !is_empty {
        return Ok(());
    }
    let to = Root::new(data).attempt(|| format!("open {}", data.display()))?;
    within_limits(|| Ok(hull_image::copy::copy_tree(from, path, &to)?))?;
    Ok(())
}

fn tmpfs(mount: &mut MountPoint, options: &TmpfsOptions) {
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

fn bind(
    mount: &mut MountPoint,
    path: &str,
    options: &BindOptions,
    root: Option<(u32, u32)>,
) -> Result<()> {
    if !path.starts_with('/') {
        return Err(Error::Invalid(format!(
            "invalid mount config for type \"bind\": invalid mount path: '{path}' mount path must \
             be absolute"
        )));
    }
    match fs::metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && options.create_source => {
            make_source(Path::new(path), root)?;
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
    mount.create_source = options.create_source;
    mount.propagation = Some(options.propagation.unwrap_or(Propagation::Rprivate));
    mount.non_recursive = options.non_recursive;
    mount.read_only_non_recursive = options.read_only_non_recursive;
    mount.read_only_force_recursive = options.read_only_force_recursive;
    Ok(())
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
}
