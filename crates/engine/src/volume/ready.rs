//! What is looked up for a container's mounts at each start: volumes are mounted, paths inside them
//! are resolved and held by descriptor, owners to be translated are read.
//!
//! A path inside a volume is the containers' to change. It is resolved once, beneath the volume, and
//! the runtime is given what was found and not the path.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use hull_sys::beneath::Root;

use crate::{
    error::{Attempt, Error, Result},
    model::{IdMap, IdRange},
    record::{MountKind, MountPoint, Record},
    remap::{Remap, make_source},
    services::Services,
    undo::Undo,
    user::User,
};

/// A container's mounts, ready to be made.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    pub(crate) mounts: Vec<MountPoint>,
    /// What the sources lead through; held until the container is made.
    held: Vec<OwnedFd>,
}

/// Prepares the mounts of a container that starts. `holder`: in whose name volumes are used; `remap`:
/// how the container's ids are others outside.
pub(crate) fn ready(
    services: &Arc<Services>,
    record: &Record,
    holder: &str,
    user: Option<&User>,
    remap: Option<&Remap>,
    undo: &mut Undo,
) -> Result<Ready> {
    let mut ready = Ready::default();
    for mount in &record.mounts {
        let mut mount = mount.clone();
        match mount.kind {
            MountKind::Volume => volume(services, record, holder, &mut mount, undo)
                .and_then(|()| ready.inside(&mut mount))?,
            MountKind::Bind => bind(&mount, remap.and_then(Remap::root))?,
            MountKind::Image => image(services, &mut mount, remap, &mut ready)?,
            MountKind::Tmpfs => {}
        }
        if mount.idmap == Some(IdMap::Owner) {
            mount.idmap = user
                .map(|user| owner_map(&mount.source, user, remap.is_some()))
                .transpose()?;
        }
        if let Some(remap) = remap {
            mount.mapped = mount.idmap.is_none() && is_containers(services, record, &mount)?;
            let through = |map| remap.through(&map, &mount.destination);
            mount.idmap = mount.idmap.clone().map(through).transpose()?;
        }
        ready.mounts.push(mount);
    }
    Ok(ready)
}

fn volume(
    services: &Arc<Services>,
    record: &Record,
    holder: &str,
    mount: &mut MountPoint,
    undo: &mut Undo,
) -> Result<()> {
    let volume = services.volume_of(mount).ok_or_else(|| {
        let name = mount.name.clone().unwrap_or_default();
        Error::Unavailable(format!(
            "volume {name} of container {} is gone: remove the container and make it again",
            record.name
        ))
    })?;
    let data = services.acquire_volume(&volume, holder)?;
    crate::budget::note_use(services, &volume);
    let (owner, held, user) = (Arc::clone(services), Arc::clone(&volume), holder.to_owned());
    undo.push("give the volume back", move || {
        owner.release_volume(&held, &user)
    });
    mount.source = data;
    Ok(())
}

/// Whether what is mounted belongs to the container's root, and not to the host's: volumes that are
/// of this daemon, and what its builds show.
fn is_containers(services: &Services, record: &Record, mount: &MountPoint) -> Result<bool> {
    match mount.kind {
        MountKind::Volume => {
            let volume = services.volume_of(mount);
            let kind = volume
                .as_ref()
                .and_then(|volume| volume.options.get("type"));
            let is_own = kind.is_none_or(|kind| kind == "tmpfs");
            Ok(is_own && volume.is_some_and(|volume| volume.is_local()))
        }
        // Layers on top of each other cannot translate: they were mounted so.
        MountKind::Bind if record.is_build_step => {
            let found = rustix::fs::statfs(&mount.source)
                .attempt(|| format!("look at {}", mount.source.display()))?;
            Ok(found.f_type != OVERLAY_MAGIC)
        }
        MountKind::Bind | MountKind::Image | MountKind::Tmpfs => Ok(false),
    }
}

/// The kernel's number of overlay file systems.
const OVERLAY_MAGIC: rustix::fs::FsWord = 0x794c_7630;

/// The source of a `-v` is made again if it vanished; all others must be there. `root`: for whom.
fn bind(mount: &MountPoint, root: Option<(u32, u32)>) -> Result<()> {
    let path = &mount.source;
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && mount.create_source => {
            make_source(path, root)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Invalid(format!(
            "invalid mount config for type \"bind\": bind source path does not exist: {}",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// A part of an image is resolved in a mount that is nowhere; all of it the runtime mounts itself,
/// unless its owners are others.
fn image(
    services: &Services,
    mount: &mut MountPoint,
    remap: Option<&Remap>,
    ready: &mut Ready,
) -> Result<()> {
    if mount.subpath.is_empty() && remap.is_none() {
        return Ok(());
    }
    let reference = mount.image.clone().unwrap_or_default();
    let image = services.resolve_image(&reference, None)?;
    let owners = remap.map(Remap::namespace);
    let root = services.snapshots.mount_layers_as(&image.layers, owners)?;
    let found = beneath(&root, &mount.subpath, &format!("image {reference}"))?;
    mount.source = ready.hold(found);
    mount.layers.clear();
    ready.held.push(root.into());
    Ok(())
}

/// A path inside something, which must be there and cannot lead out.
pub(super) fn beneath(root: &Root, subpath: &str, of: &str) -> Result<OwnedFd> {
    root.resolve(Path::new(subpath))
        .map_err(|error| Error::Invalid(format!("cannot access path {subpath} in {of}: {error}")))
}

impl Ready {
    /// Only a part of the volume is mounted.
    fn inside(&mut self, mount: &mut MountPoint) -> Result<()> {
        if mount.subpath.is_empty() {
            return Ok(());
        }
        let of = format!("volume {}", mount.name.as_deref().unwrap_or_default());
        let root = Root::new(&mount.source).attempt(|| format!("open {of}"))?;
        mount.source = self.hold(beneath(&root, &mount.subpath, &of)?);
        Ok(())
    }

    /// Keeps a descriptor open, and names it so that the shim reaches what it is.
    fn hold(&mut self, found: OwnedFd) -> PathBuf {
        let path = format!("/proc/{}/fd/{}", std::process::id(), found.as_raw_fd());
        self.held.push(found);
        PathBuf::from(path)
    }
}

/// The source's owner and the container's user are seen as each other's; all others stay who they
/// are. Whoever has one of the two numbers on the other side is nobody, so that no user of the
/// container can make files of somebody else's on the host. `alone`: all others are nobody.
fn owner_map(source: &Path, user: &User, alone: bool) -> Result<IdMap> {
    let found = fs::metadata(source).attempt(|| format!("look at {}", source.display()))?;
    let ranges = |host, container| {
        let mut ranges = owner_ranges(host, container);
        ranges.truncate(if alone { 1 } else { ranges.len() });
        ranges
    };
    Ok(IdMap::Ranges {
        users: ranges(found.uid(), user.uid),
        groups: ranges(found.gid(), user.gid),
    })
}

fn owner_ranges(host: u32, container: u32) -> Vec<IdRange> {
    let (low, high) = (host.min(container), host.max(container));
    let same = |first: u32, count: u32| IdRange {
        host: first,
        container: first,
        count,
    };
    let swap = IdRange {
        host,
        container,
        count: 1,
    };
    let mut ranges = vec![swap, same(0, low)];
    if low < high {
        ranges.push(same(low + 1, high - low - 1));
    }
    // The last number means "no id".
    ranges.push(same(high + 1, u32::MAX - high - 1));
    ranges.retain(|range| range.count > 0);
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ids_change_places_and_the_rest_stays() {
        let text = |host, container| {
            let ranges = owner_ranges(host, container);
            let word = |r: &IdRange| format!("{}-{}-{}", r.host, r.container, r.count);
            ranges.iter().map(word).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(text(1000, 0), "1000-0-1 1-1-999 1001-1001-4294966294");
        assert_eq!(text(5, 7), "5-7-1 0-0-5 6-6-1 8-8-4294967287");
        assert_eq!(text(0, 0), "0-0-1 1-1-4294967294");
    }
}
