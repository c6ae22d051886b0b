//! What a service's containers have mounted: binds, volumes, files of secrets and configs, and the
//! anonymous volumes of the container that is replaced.

use std::collections::BTreeMap;

use hull_api::types::{self, BindOptions, ImageOptions, TmpfsOptions, VolumeOptions};

use super::container::Making;
use crate::model::{FileObject, FileReference, Mount, Project, Service};

/// Where secrets lie in a container.
pub(crate) const SECRETS: &str = "/run/secrets/";

/// The `Binds` and the `Mounts` of the request.
pub(super) fn mounts(
    project: &Project,
    service: &Service,
    making: &Making<'_>,
) -> Result<(Vec<String>, Vec<types::Mount>), String> {
    let mut all: BTreeMap<String, types::Mount> = inherited(service, making);
    let mut binds = Vec::new();
    for mount in &service.volumes {
        if mount.kind == "volume" && mount.source.is_empty() && all.contains_key(&mount.target) {
            continue;
        }
        // Only the old form of a bind makes the directory on the host; volumes without wishes of
        // their own take it, too.
        let volume = project
            .volumes
            .get(&mount.source)
            .map(|volume| volume.name.as_str());
        let source = match mount.kind.as_str() {
            "bind" if is_plain(mount) => Some(mount.source.as_str()),
            "volume" if is_plain_volume(mount) => volume,
            _ => None,
        };
        if let Some(source) = source {
            binds.push(bind_text(source, mount));
            all.remove(&mount.target);
        } else {
            all.insert(mount.target.clone(), converted(project, mount)?);
        }
    }
    for (reference, object, directory) in files(project, service) {
        let target = target(reference, directory);
        all.entry(target.clone()).or_insert_with(|| types::Mount {
            kind: "bind".into(),
            source: object.file.clone(),
            target,
            read_only: true,
            bind_options: (directory == SECRETS).then(BindOptions::default),
            ..types::Mount::default()
        });
    }
    Ok((binds, all.into_values().collect()))
}

/// Secrets and configs that are files on this machine.
fn files<'s>(
    project: &'s Project,
    service: &'s Service,
) -> impl Iterator<Item = (&'s FileReference, &'s FileObject, &'static str)> {
    let secrets = service.secrets.iter().filter_map(|reference| {
        Some((reference, project.secrets.get(&reference.source)?, SECRETS))
    });
    let configs = service
        .configs
        .iter()
        .filter_map(|reference| Some((reference, project.configs.get(&reference.source)?, "/")));
    secrets
        .chain(configs)
        .filter(|(_, object, _)| !object.file.is_empty())
}

/// Where a secret or a config lies in the container.
pub(crate) fn target(reference: &FileReference, directory: &str) -> String {
    match reference.target.as_str() {
        "" => format!("{directory}{}", reference.source),
        target if target.starts_with('/') => target.to_owned(),
        target => format!("{directory}{target}"),
    }
}

/// Anonymous volumes of the container before, at the paths that still are volumes.
fn inherited(service: &Service, making: &Making<'_>) -> BTreeMap<String, types::Mount> {
    let is_wanted = |path: &str| {
        making.image_volumes.iter().any(|volume| volume == path)
            || service
                .volumes
                .iter()
                .any(|mount| mount.target == path && mount.source.is_empty())
    };
    making
        .inherited
        .iter()
        .filter(|mount| mount.kind == "volume" && is_wanted(&mount.destination))
        .map(|mount| {
            let mount = types::Mount {
                kind: "volume".into(),
                source: mount.name.clone(),
                target: mount.destination.clone(),
                read_only: !mount.rw,
                ..types::Mount::default()
            };
            (mount.target.clone(), mount)
        })
        .collect()
}

fn is_plain(mount: &Mount) -> bool {
    mount.bind.as_ref().is_none_or(|bind| {
        bind.create_host_path && bind.propagation.is_empty() && bind.recursive.is_empty()
    })
}

fn is_plain_volume(mount: &Mount) -> bool {
    mount.volume.as_ref().is_none_or(|volume| {
        !volume.nocopy && volume.subpath.is_empty() && volume.labels.is_empty()
    })
}

/// `source:target:rw,z`
fn bind_text(source: &str, mount: &Mount) -> String {
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }];
    if let Some(bind) = &mount.bind {
        options.extend(
            [bind.selinux.as_str(), bind.propagation.as_str()]
                .into_iter()
                .filter(|option| !option.is_empty()),
        );
    }
    format!("{}:{}:{}", source, mount.target, options.join(","))
}

fn converted(project: &Project, mount: &Mount) -> Result<types::Mount, String> {
    let source = match mount.kind.as_str() {
        "volume" => match project.volumes.get(&mount.source) {
            Some(volume) => volume.name.clone(),
            None => mount.source.clone(),
        },
        "bind" | "tmpfs" | "image" => mount.source.clone(),
        other => return Err(format!("mounts of the type `{other}` are not available")),
    };
    Ok(types::Mount {
        kind: mount.kind.clone(),
        source,
        target: mount.target.clone(),
        read_only: mount.read_only,
        consistency: mount.consistency.clone(),
        bind_options: mount
            .bind
            .as_ref()
            .filter(|_| mount.kind == "bind")
            .map(|bind| BindOptions {
                propagation: bind.propagation.clone(),
                create_mountpoint: bind.create_host_path,
                non_recursive: bind.recursive == "disabled",
                read_only_non_recursive: bind.recursive == "writable",
                read_only_force_recursive: bind.recursive == "readonly",
            }),
        volume_options: mount
            .volume
            .as_ref()
            .filter(|_| mount.kind == "volume")
            .map(|volume| VolumeOptions {
                no_copy: volume.nocopy,
                subpath: volume.subpath.clone(),
                labels: volume.labels.clone(),
                driver_config: None,
            }),
        image_options: mount
            .image
            .as_ref()
            .filter(|_| mount.kind == "image")
            .map(|image| ImageOptions {
                subpath: image.subpath.clone(),
            }),
        tmpfs_options: mount
            .tmpfs
            .as_ref()
            .filter(|_| mount.kind == "tmpfs")
            .map(|tmpfs| TmpfsOptions {
                size_bytes: tmpfs.size.parse().unwrap_or_default(),
                mode: tmpfs.mode,
                options: Vec::new(),
            }),
        ..types::Mount::default()
    })
}
