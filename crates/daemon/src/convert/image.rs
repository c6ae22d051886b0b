//! Images.

use hull_api::{
    ApiVersion,
    types::{
        AttestationStatement, Descriptor, Empty, GraphDriver, HealthConfig, ImageAttestationData,
        ImageConfig, ImageData, ImageDataSize, ImageDeleted, ImageHistoryItem, ImageInspect,
        ImageManifest, ImageManifestSize, ImageMetadata, ImageSummary, Platform, RootFs, ZERO_TIME,
    },
    version::Feature,
};
use hull_image::store::{
    Details, HistoryEntry, ManifestDetails, ManifestKind, Removed, Statement, Summary,
};

use super::inspect::DRIVER;

/// The containers that use an image: id and platform.
type Users = [(String, String)];

/// An image in a list.
pub(crate) fn summary(
    image: &Summary,
    users: &Users,
    with_shared: bool,
    with_manifests: bool,
    version: ApiVersion,
) -> ImageSummary {
    let size = bytes(image.size);
    ImageSummary {
        containers: i64::try_from(users.len()).unwrap_or(i64::MAX),
        created: image.created,
        id: image.id.to_string(),
        labels: (!image.labels.is_empty()).then(|| image.labels.clone()),
        parent_id: image
            .parent
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        manifests: (with_manifests && version.has(Feature::ImageManifests)).then(|| {
            image
                .manifests
                .iter()
                .map(|member| manifest(member, users))
                .collect()
        }),
        descriptor: version
            .has(Feature::ImageDescriptor)
            .then(|| descriptor(&image.descriptor)),
        repo_digests: image.repo_digests.clone(),
        repo_tags: image.repo_tags.clone(),
        shared_size: if with_shared {
            bytes(image.shared_size)
        } else {
            -1
        },
        size,
        virtual_size: (!version.has(Feature::NoVirtualSize)).then_some(size),
    }
}

/// All about one image.
pub(crate) fn inspect(
    image: &Details,
    users: &Users,
    with_manifests: bool,
    version: ApiVersion,
) -> ImageInspect {
    let old = !version.has(Feature::NoImageParent);
    let parent = image
        .parent
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let size = bytes(image.size);
    ImageInspect {
        id: image.id.to_string(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        parent: old.then_some(parent),
        comment: image
            .config
            .history
            .last()
            .and_then(|step| step.comment.clone())
            .unwrap_or_default(),
        created: image.config.created.clone().unwrap_or_default(),
        docker_version: old.then(String::new),
        author: image.config.author.clone(),
        config: Some(config(&image.config.config)),
        architecture: image.platform.architecture.clone(),
        variant: image.platform.variant.clone().unwrap_or_default(),
        os: image.platform.os.clone(),
        os_version: image.platform.os_version.clone().unwrap_or_default(),
        size,
        virtual_size: (!version.has(Feature::NoVirtualSize)).then_some(size),
        graph_driver: (!version.has(Feature::Storage)).then(|| GraphDriver {
            data: None,
            name: DRIVER.to_owned(),
        }),
        root_fs: RootFs {
            kind: image.config.rootfs.kind.clone(),
            layers: image
                .config
                .rootfs
                .diff_ids
                .iter()
                .map(ToString::to_string)
                .collect(),
        },
        metadata: ImageMetadata {
            last_tag_time: image
                .last_tagged
                .map_or_else(|| ZERO_TIME.to_owned(), |moment| moment.to_string()),
        },
        descriptor: version
            .has(Feature::ImageDescriptor)
            .then(|| descriptor(&image.descriptor)),
        manifests: (with_manifests && version.has(Feature::ImageDescriptor)).then(|| {
            image
                .manifests
                .iter()
                .map(|member| manifest(member, users))
                .collect()
        }),
    }
}

fn config(config: &hull_oci::ContainerConfig) -> ImageConfig {
    let set = |names: Vec<String>| names.into_iter().map(|name| (name, Empty {})).collect();
    ImageConfig {
        user: config.user.clone(),
        exposed_ports: set(config.exposed_ports.iter().cloned().collect()),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone().unwrap_or_default(),
        cmd: config.cmd.clone().unwrap_or_default(),
        volumes: set(config.volumes.iter().cloned().collect()),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        args_escaped: config.args_escaped,
        healthcheck: config.healthcheck.as_ref().map(|check| HealthConfig {
            test: check.test.clone(),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        on_build: config.on_build.clone().unwrap_or_default(),
        shell: config.shell.clone().unwrap_or_default(),
    }
}

pub(crate) fn descriptor(descriptor: &hull_oci::Descriptor) -> Descriptor {
    Descriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.to_string(),
        size: bytes(descriptor.size),
        urls: descriptor.urls.clone().unwrap_or_default(),
        annotations: descriptor.annotations.clone(),
        platform: descriptor.platform.as_ref().map(platform),
        artifact_type: descriptor.artifact_type.clone().unwrap_or_default(),
    }
}

fn platform(platform: &hull_oci::Platform) -> Platform {
    Platform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        os_version: platform.os_version.clone().unwrap_or_default(),
        os_features: platform.os_features.clone().unwrap_or_default(),
        variant: platform.variant.clone().unwrap_or_default(),
    }
}

fn manifest(member: &ManifestDetails, users: &Users) -> ImageManifest {
    let mut wire = ImageManifest {
        id: member.descriptor.digest.to_string(),
        descriptor: descriptor(&member.descriptor),
        available: member.is_available,
        size: ImageManifestSize {
            content: bytes(member.size_content),
            total: bytes(member.size_content + member.size_unpacked),
        },
        kind: "unknown".to_owned(),
        ..ImageManifest::default()
    };
    match &member.kind {
        ManifestKind::Image { platform: runs_on } => {
            "image".clone_into(&mut wire.kind);
            wire.image_data = Some(ImageData {
                platform: platform(runs_on),
                containers: users
                    .iter()
                    .filter(|(_, platform)| *platform == runs_on.to_string())
                    .map(|(id, _)| id.clone())
                    .collect(),
                size: ImageDataSize {
                    unpacked: bytes(member.size_unpacked),
                },
            });
        }
        ManifestKind::Attestation { about } => {
            "attestation".clone_into(&mut wire.kind);
            let r#for = about.as_ref().map(ToString::to_string).unwrap_or_default();
            wire.attestation_data = Some(ImageAttestationData { r#for });
        }
        ManifestKind::Unknown => {}
    }
    wire
}

/// What was stated about an image.
pub(crate) fn statement(statement: Statement) -> AttestationStatement {
    AttestationStatement {
        descriptor: descriptor(&statement.descriptor),
        predicate_type: statement.predicate_type,
        statement: statement.text,
    }
}

/// One step of an image's making.
pub(crate) fn history(step: HistoryEntry) -> ImageHistoryItem {
    ImageHistoryItem {
        comment: step.comment,
        created: step.created,
        created_by: step.created_by,
        id: step
            .id
            .map_or_else(|| "<missing>".to_owned(), |id| id.to_string()),
        size: bytes(step.size),
        tags: super::null_if_empty(step.tags),
    }
}

/// One line of a remove's answer.
pub(crate) fn removed(removed: &Removed) -> ImageDeleted {
    match removed {
        Removed::Untagged(name) => ImageDeleted {
            untagged: name.clone(),
            ..ImageDeleted::default()
        },
        Removed::Deleted(id) => ImageDeleted {
            deleted: id.clone(),
            ..ImageDeleted::default()
        },
    }
}

/// Sizes are signed on the wire.
pub(crate) fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
