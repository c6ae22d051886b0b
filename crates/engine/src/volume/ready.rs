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

/// Prepares the mounts of a container that starts. `holder`: in whose name volumes are used.
pub(crate) fn ready(
    services: &Arc<Services>,
    record: &Record,
    holder: &str,
    user: Option<&User>,
    undo: &mut Undo,
) -> Result<Ready> {
    let mut ready = Ready::default();
    for mount in &record.mounts {
        let mut mount = mount.clone();
        match mount.kind {
            MountKind::Volume => volume(services, record, holder, &mut mount, undo)
                .and_then(|()| ready.inside(&mut mount))?,
            MountKind::Bind => bind(&mount)?,
            MountKind::Image => image(services, &mut mount, &mut ready)?,
            MountKind::Tmpfs => {}
        }
        if mount.idmap == Some(IdMap::Owner) {
            mount.idmap = user
                .map(|user| owner_map(&mount.source, user))
                .transpose()?;
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

/// The source of a `-v` is made again if it vanished; all others must be there.
fn bind(mount: &MountPoint) -> Result<()> {
    let path = &mount.source;
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && mount.create_source => {
            fs::create_dir_all(path).attempt(|| format!("create {}", path.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Invalid(format!(
            "invalid mount config for type \"bind\": bind source path does not exist: {}",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// A part of an image is resolved in a mount that is nowhere; all of it the runtime mounts itself.
fn image(services: &Services, mount: &mut MountPoint, ready: &mut Ready) -> Result<()> {
    if mount.subpath.is_empty() {
        return Ok(());
    }
    let reference = mount.image.clone().unwrap_or_default();
    let image = services.resolve_image(&reference, None)?;
    let root = hull_image::Snapshotter::mount_image(&services.snapshots, &image)?;
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
/// container can make files of somebody else's on the host.
fn owner_map(source: &Path, user: &User) -> Result<IdMap> {
    let found = fs::metadata(source).attempt(|| format!("look at {}", source.display()))?;
    Ok(IdMap::Ranges {
        users: owner_ranges(found.uid(), user.uid),
        groups: owner_ranges(found.gid(), user.gid),
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
