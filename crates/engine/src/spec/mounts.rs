//! What is mounted in a container besides its root.

use std::path::{Path, PathBuf};

use hull_oci::runtime::{LinuxIdMapping, LinuxIdMappingBuilder, Mount};

use super::{
    SpecError, SpecInput,
    confinement::SecurityOptions,
    namespaces::{self, Owner},
};
use crate::{
    model::{IdMap, IdRange, IpcNamespace, Propagation},
    record::{MountKind, MountPoint},
};

/// Bytes of `/dev/shm` when nobody says otherwise.
const SHM_BYTES: i64 = 64 << 20;

/// The kernel's file systems first, then what the engine writes, then the user's, so that the user
/// may cover anything.
pub(super) fn plan(
    input: &SpecInput<'_>,
    options: &SecurityOptions,
) -> Result<Vec<Mount>, SpecError> {
    let mut mounts = system(input, options)?;
    let targets: Vec<String> = user_targets(input);
    let covers_dev = targets.iter().any(|target| target == "/dev");
    mounts.retain(|mount| {
        let target = mount.destination().to_string_lossy();
        let below_dev = covers_dev && target.starts_with("/dev/");
        !below_dev && !targets.iter().any(|own| *own == target)
    });
    mounts.extend(files(input).into_iter().filter(|mount| {
        !targets
            .iter()
            .any(|own| mount.destination() == Path::new(own))
    }));
    let mut own = own_mounts(input)?;
    // A parent before what lies in it.
    own.sort_by_key(|mount| mount.destination().components().count());
    mounts.extend(own);
    Ok(mounts)
}

fn system(input: &SpecInput<'_>, options: &SecurityOptions) -> Result<Vec<Mount>, SpecError> {
    let privileged = input.host.privileged;
    let writable = |flags: &'static str, writable: bool| {
        if writable {
            flags.to_owned()
        } else {
            format!("{flags},ro")
        }
    };
    let plain = "nosuid,noexec,nodev";
    let cgroup = writable(plain, privileged || options.writable_cgroups);
    let mut mounts = vec![
        mount("/proc", "proc", "proc", plain),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            "nosuid,strictatime,mode=755,size=65536k",
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
        ),
        mount("/sys", "sysfs", "sysfs", &writable(plain, privileged)),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &cgroup),
        mount("/dev/mqueue", "mqueue", "mqueue", plain),
    ];
    mounts.extend(shm(input)?);
    if namespaces::ipc(input)? == Owner::Host {
        mounts.retain(|mount| mount.destination() != Path::new("/dev/mqueue"));
        mounts.push(mount(
            "/dev/mqueue",
            "bind",
            "/dev/mqueue",
            "rbind,nosuid,noexec,nodev",
        ));
    }
    Ok(mounts)
}

fn shm(input: &SpecInput<'_>) -> Result<Option<Mount>, SpecError> {
    let bytes = [input.host.shm_size, input.defaults.shm_size, SHM_BYTES]
        .into_iter()
        .find(|bytes| *bytes > 0)
        .unwrap_or(SHM_BYTES);
    let own = || {
        let options = format!("nosuid,noexec,nodev,mode=1777,size={bytes}");
        mount("/dev/shm", "tmpfs", "shm", &options)
    };
    let bind = |source: &str| mount("/dev/shm", "bind", source, "rbind,nosuid,noexec,nodev");
    Ok(match namespaces::ipc_mode(input) {
        IpcNamespace::None => None,
        IpcNamespace::Host => Some(bind("/dev/shm")),
        IpcNamespace::Container(_) => {
            // The other container's is seen through the process whose namespace is joined:
            // `/proc/<pid>/ns/ipc` lies beside `/proc/<pid>/root`.
            let process = input
                .join
                .ipc
                .as_deref()
                .and_then(|path| path.parent()?.parent());
            process.map(|process| bind(&process.join("root/dev/shm").to_string_lossy()))
        }
        IpcNamespace::Default | IpcNamespace::Private | IpcNamespace::Shareable => Some(own()),
    })
}

fn files(input: &SpecInput<'_>) -> Vec<Mount> {
    let mut flags = "rbind,rprivate".to_owned();
    if input.host.readonly_rootfs {
        flags.push_str(",ro");
    }
    if input.ids.is_some() {
        flags.push_str(",idmap");
    }
    [
        ("/etc/resolv.conf", &input.files.resolv_conf),
        ("/etc/hostname", &input.files.hostname),
        ("/etc/hosts", &input.files.hosts),
    ]
    .into_iter()
    .filter_map(|(target, source)| {
        source
            .as_ref()
            .map(|source| mount(target, "bind", &source.to_string_lossy(), &flags))
    })
    .collect()
}

/// `--tmpfs` of the host config stands beside resolved mounts, unless it was resolved as well.
fn own_mounts(input: &SpecInput<'_>) -> Result<Vec<Mount>, SpecError> {
    let resolved = |target: &str| {
        input
            .mounts
            .iter()
            .any(|mount| clean(&mount.destination) == clean(target))
    };
    let tmpfs = input
        .host
        .tmpfs
        .iter()
        .filter(|(target, _)| !resolved(target));
    let tmpfs = tmpfs.map(|(target, options)| {
        let options: Vec<_> = options
            .split(',')
            .filter(|option| !option.is_empty())
            .map(str::to_owned)
            .collect();
        Ok(tmpfs_mount(target, &options, false))
    });
    tmpfs
        .chain(
            input
                .mounts
                .iter()
                .map(|point| resolved_mount(input, point)),
        )
        .collect()
}

fn user_targets(input: &SpecInput<'_>) -> Vec<String> {
    let tmpfs = input.host.tmpfs.keys();
    tmpfs
        .chain(input.mounts.iter().map(|mount| &mount.destination))
        .map(|t| clean(t))
        .collect()
}

fn resolved_mount(input: &SpecInput<'_>, point: &MountPoint) -> Result<Mount, SpecError> {
    match point.kind {
        MountKind::Tmpfs => Ok(tmpfs_mount(
            &point.destination,
            &point.options,
            point.read_only,
        )),
        MountKind::Image if point.layers.len() > 1 => Ok(image_mount(point)),
        MountKind::Bind | MountKind::Volume | MountKind::Image => {
            let mut options = vec![if point.non_recursive { "bind" } else { "rbind" }];
            if point.read_only || point.kind == MountKind::Image {
                options.push(read_only(input, point)?);
            }
            options.push(propagation(point.propagation));
            if point.mapped {
                options.push("idmap");
            }
            let source = match &point.layers[..] {
                [sole] => sole.to_string_lossy(),
                _ => point.source.to_string_lossy(),
            };
            let target = clean(&point.destination);
            let mut bind = mount(&target, "bind", &source, &options.join(","));
            if let Some(IdMap::Ranges { users, groups }) = &point.idmap {
                bind.set_uid_mappings(Some(users.iter().map(id_mapping).collect()));
                bind.set_gid_mappings(Some(groups.iter().map(id_mapping).collect()));
            }
            Ok(bind)
        }
    }
}

/// All layers of an image, as one read-only file system.
fn image_mount(point: &MountPoint) -> Mount {
    let layers = point
        .layers
        .iter()
        .map(|layer| format!("lowerdir+={}", layer.display()));
    let options = std::iter::once("ro".to_owned()).chain(layers);
    let mut mount = mount(&clean(&point.destination), "overlay", "overlay", "");
    mount.set_options(Some(options.collect()));
    mount
}

/// The runtime's "container" numbers are those on the disk: the mount is a world of its own, and the
/// container's ids are the host's.
fn id_mapping(range: &IdRange) -> LinuxIdMapping {
    LinuxIdMappingBuilder::default()
        .container_id(range.host)
        .host_id(range.container)
        .size(range.count)
        .build()
        .expect("every member is given")
}

/// Read-only all the way down where the kernel can and nobody objects.
fn read_only(input: &SpecInput<'_>, point: &MountPoint) -> Result<&'static str, SpecError> {
    let able = input.facts.has_recursive_read_only();
    match (point.read_only_force_recursive, able) {
        (true, false) => Err(SpecError::ReadOnlyMount(point.destination.clone())),
        (true, true) => Ok("rro"),
        (false, able) if able && !point.read_only_non_recursive && !point.non_recursive => {
            Ok("rro")
        }
        (false, _) => Ok("ro"),
    }
}

fn propagation(wish: Option<Propagation>) -> &'static str {
    match wish {
        None | Some(Propagation::Rprivate) => "rprivate",
        Some(Propagation::Private) => "private",
        Some(Propagation::Shared) => "shared",
        Some(Propagation::Rshared) => "rshared",
        Some(Propagation::Slave) => "slave",
        Some(Propagation::Rslave) => "rslave",
    }
}

/// What a mount's propagation needs of the root: a shared one wins over a slave.
pub(super) fn root_propagation(mounts: &[MountPoint]) -> Option<String> {
    let any = |wanted: &[Propagation]| {
        mounts
            .iter()
            .any(|mount| mount.propagation.is_some_and(|own| wanted.contains(&own)))
    };
    if any(&[Propagation::Shared, Propagation::Rshared]) {
        Some("shared".to_owned())
    } else if any(&[Propagation::Slave, Propagation::Rslave]) {
        Some("slave".to_owned())
    } else {
        None
    }
}

/// A tmpfs is closed unless its options open it.
fn tmpfs_mount(target: &str, own: &[String], read_only: bool) -> Mount {
    let mut options: Vec<String> = ["noexec", "nosuid", "nodev"].map(str::to_owned).to_vec();
    for option in own {
        let opposite = match option.as_str() {
            "exec" => "noexec",
            "suid" => "nosuid",
            "dev" => "nodev",
            "ro" => "rw",
            "rw" => "ro",
            _ => "",
        };
        options.retain(|other| other != opposite && other != option);
        options.push(option.clone());
    }
    if read_only && !options.iter().any(|option| option == "ro") {
        options.push("ro".to_owned());
    }
    mount(&clean(target), "tmpfs", "tmpfs", &options.join(","))
}

fn mount(target: &str, kind: &str, source: &str, options: &str) -> Mount {
    let mut mount = Mount::default();
    mount.set_destination(PathBuf::from(target));
    mount.set_typ(Some(kind.to_owned()));
    mount.set_source(Some(PathBuf::from(source)));
    mount.set_options(Some(options.split(',').map(str::to_owned).collect()));
    mount
}

/// Without doubled or trailing slashes. (What `..` means is for the runtime, inside the root.)
fn clean(target: &str) -> String {
    let parts: Vec<_> = target
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    format!("/{}", parts.join("/"))
}
