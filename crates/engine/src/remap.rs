//! `--userns-remap`: root of a container is one of the host's lesser users.
//!
//! Each container has a user namespace, made together with its network. On the disk nothing differs:
//! images, writable layers and volumes belong to the same ids as without, and the kernel translates
//! them where they are mounted. So there is one data root, and the option comes and goes.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use hull_sys::{
    idmap::{Mapping, Mappings},
    overlay::Layers,
};

use crate::{
    error::{Attempt, Error, Result},
    model::{HostConfig, IdMap, IdRange, IpcNamespace, NetworkMode, PidNamespace, UserNamespace},
    record::Record,
    services::Services,
};

/// Where the kernel is tried; there only while the daemon starts.
const TRIAL: &str = ".userns-trial";

/// How containers' ids are others outside.
#[derive(Debug)]
pub(crate) struct Remap {
    ids: Mappings,
    /// A namespace that nobody is in, for what is mounted before a container is there.
    namespace: OwnedFd,
}

impl Remap {
    /// Looks whether this host can do it.
    pub(crate) fn open(ids: Mappings, data_root: &Path) -> Result<Self> {
        let namespace = ids.namespace();
        let remap = Self {
            namespace: namespace.attempt(|| "make a user namespace for userns-remap".to_owned())?,
            ids,
        };
        remap.try_layers(data_root).map_err(|error| {
            let kernel = rustix::system::uname();
            Error::Unavailable(format!(
                "userns-remap needs Linux 6.15 or later, and a data root on a file system that \
                 translates owners (ext4, xfs, btrfs, f2fs, tmpfs). This is Linux {}, and a trial \
                 in {} failed: {error}",
                kernel.release().to_string_lossy(),
                data_root.display(),
            ))
        })?;
        Ok(remap)
    }

    fn try_layers(&self, data_root: &Path) -> io::Result<()> {
        let trial = data_root.join(TRIAL);
        let _ = fs::remove_dir_all(&trial);
        let (lower, upper, work) = (trial.join("lower"), trial.join("upper"), trial.join("work"));
        for directory in [&trial, &lower, &upper, &work] {
            fs::create_dir(directory)?;
        }
        let layers = Layers {
            lower: std::slice::from_ref(&lower),
            writable: Some((&upper, &work)),
            ..Layers::default()
        };
        let seen = layers
            .mount_as(self.namespace())
            .and_then(|root| Ok(rustix::fs::fstat(root)?));
        fs::remove_dir_all(&trial)?;
        let seen = seen?;
        if self.ids.outside((0, 0)) != Some((seen.st_uid, seen.st_gid)) {
            return Err(io::Error::other("owners are not translated"));
        }
        Ok(())
    }

    pub(crate) fn ids(&self) -> &Mappings {
        &self.ids
    }

    pub(crate) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Who root of a container is outside.
    pub(crate) fn root(&self) -> Option<(u32, u32)> {
        self.ids.outside((0, 0))
    }

    /// The same translation for a container whose ids are others outside. `target`: of which mount.
    pub(crate) fn through(&self, map: &IdMap, target: &str) -> Result<IdMap> {
        let IdMap::Ranges { users, groups } = map else {
            return Ok(map.clone());
        };
        let users = through(users, &self.ids.users);
        let groups = through(groups, &self.ids.groups);
        if users.is_empty() || groups.is_empty() {
            return Err(Error::Invalid(format!(
                "the idmap of {target} names nobody of the container's user namespace"
            )));
        }
        Ok(IdMap::Ranges { users, groups })
    }
}

/// What of each range has a number outside, by that number.
fn through(ranges: &[IdRange], mappings: &[Mapping]) -> Vec<IdRange> {
    let common = |range: &IdRange, map: &Mapping| {
        let first = range.container.max(map.inside);
        let end = (range.container + range.count).min(map.inside.saturating_add(map.size));
        (first < end).then(|| IdRange {
            host: range.host + (first - range.container),
            container: map.outside + (first - map.inside),
            count: end - first,
        })
    };
    let all = ranges
        .iter()
        .flat_map(|range| mappings.iter().map(move |map| common(range, map)));
    all.flatten().collect()
}

impl Services {
    /// How the ids of a container are others outside, unless they are not.
    pub(crate) fn remap_of(&self, host: &HostConfig) -> Option<&Remap> {
        let remap = self.remap.as_ref();
        remap.filter(|_| host.userns != UserNamespace::Host)
    }

    /// Refuses what cannot be had in a user namespace. The texts are Docker's.
    pub(crate) fn check_remap(&self, host: &HostConfig) -> Result<()> {
        if self.remap_of(host).is_none() {
            return Ok(());
        }
        let refused = |text: &str| Err(Error::Invalid(text.to_owned()));
        if host.privileged {
            return refused(
                "privileged mode is incompatible with user namespaces.  You must run the container \
                 in the host namespace when running privileged mode",
            );
        }
        if host.network_mode == NetworkMode::Host {
            return refused(
                "cannot share the host's network namespace when user namespaces are enabled",
            );
        }
        if host.pid == PidNamespace::Host {
            return refused("cannot share the host PID namespace when user namespaces are enabled");
        }
        if let Some(runtime) = self.runtime(&host.runtime)? {
            return Err(Error::Invalid(format!(
                "the runtime {} cannot reach this daemon's layers from a user namespace: use \
                 hull's own, or --userns host",
                runtime.path.display()
            )));
        }
        Ok(())
    }

    /// The user namespace of the containers whose other namespaces this one joins: it must be in it
    /// as well.
    pub(crate) fn user_namespace_to_join(&self, record: &Record) -> Result<Option<OwnedFd>> {
        if self.remap_of(&record.host).is_none() {
            return Ok(None);
        }
        let mut found: Option<(OwnedFd, String)> = None;
        for (kind, reference) in donors(&record.host) {
            let donor = self.registry.find(reference)?.record();
            let Some(run) = donor.state.run() else {
                return Err(Error::State(format!(
                    "cannot join {kind} namespace of a non running container: {}",
                    donor.id
                )));
            };
            let namespace = File::open(format!("/proc/{}/ns/user", run.pid))
                .attempt(|| format!("look for the user namespace of {}", donor.name))?;
            if is_own(&namespace) {
                return Err(Error::Conflict(format!(
                    "container {} has the host's user namespace: whoever joins its {kind} namespace \
                     needs it as well (--userns host)",
                    donor.name
                )));
            }
            match &found {
                Some((first, name)) if !is_same(first, &namespace) => {
                    return Err(Error::Conflict(format!(
                        "containers {name} and {} have different user namespaces: only one of them \
                         can be joined",
                        donor.name
                    )));
                }
                Some(_) => {}
                None => found = Some((namespace.into(), donor.name.to_string())),
            }
        }
        Ok(found.map(|(namespace, _)| namespace))
    }
}

/// Containers whose namespaces are joined.
pub(crate) fn donors(host: &HostConfig) -> impl Iterator<Item = (&'static str, &String)> {
    let network = match &host.network_mode {
        NetworkMode::Container(reference) => Some(("network", reference)),
        _ => None,
    };
    let ipc = match &host.ipc {
        IpcNamespace::Container(reference) => Some(("ipc", reference)),
        _ => None,
    };
    let pid = match &host.pid {
        PidNamespace::Container(reference) => Some(("pid", reference)),
        PidNamespace::Private | PidNamespace::Host => None,
    };
    [network, ipc, pid].into_iter().flatten()
}

/// How the ids of a running container are others outside, whatever the options are by now.
pub(crate) fn ids_of(pid: i32) -> Result<Option<Mappings>> {
    let attempt = || format!("look for the user namespace of process {pid}");
    let namespace = File::open(format!("/proc/{pid}/ns/user")).attempt(attempt)?;
    if is_own(&namespace) {
        return Ok(None);
    }
    Mappings::of(pid).map(Some).attempt(attempt)
}

fn is_own(namespace: &File) -> bool {
    File::open("/proc/self/ns/user").is_ok_and(|own| is_same(&own, namespace))
}

fn is_same(one: impl AsFd, other: impl AsFd) -> bool {
    let identity = |fd: BorrowedFd<'_>| {
        let stat = rustix::fs::fstat(fd);
        stat.map(|stat| (stat.st_dev, stat.st_ino)).ok()
    };
    identity(one.as_fd()) == identity(other.as_fd())
}

/// Makes a directory, with those above it, for root of a container.
pub(crate) fn make_source(path: &Path, root: Option<(u32, u32)>) -> Result<()> {
    let missing: Vec<PathBuf> = path
        .ancestors()
        .take_while(|ancestor| !ancestor.exists())
        .map(Path::to_owned)
        .collect();
    let make = || {
        fs::create_dir_all(path)?;
        let Some((user, group)) = root else {
            return Ok(());
        };
        missing
            .iter()
            .try_for_each(|made| std::os::unix::fs::chown(made, Some(user), Some(group)))
    };
    make().attempt(|| format!("create {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_bind_end_with_those_of_the_user_namespace() {
        let range = |host, container, count| IdRange {
            host,
            container,
            count,
        };
        let map = |inside, outside, size| Mapping {
            inside,
            outside,
            size,
        };
        let mappings = [map(0, 100_000, 10), map(10, 300_000, 10)];
        assert_eq!(
            through(&[range(1000, 0, 1), range(50, 8, 4)], &mappings),
            [
                range(1000, 100_000, 1),
                range(50, 100_008, 2),
                range(52, 300_000, 2)
            ]
        );
        assert_eq!(through(&[range(1000, 20, 5)], &mappings), []);
    }
}
