//! Containers in a list.

use hull_api::{
    ApiVersion,
    types::{ContainerSummary, MountPoint, PortSummary, SummaryHostConfig, SummaryNetworkSettings},
    version::Feature,
};
use hull_engine::record::{self, MountKind, Record};
use hull_network::Network;

use super::{mounts, network, status, time};

/// A container in a list. Sizes are the caller's.
pub(crate) fn to_wire(
    record: &Record,
    image: String,
    find: &dyn Fn(&str) -> Option<Network>,
    now_ns: i64,
    version: ApiVersion,
) -> ContainerSummary {
    let annotations = version.has(Feature::SummaryAnnotations);
    ContainerSummary {
        id: record.id.to_string(),
        names: vec![format!("/{}", record.name)],
        image,
        image_id: record.image_id.clone(),
        image_manifest_descriptor: None,
        command: command(record),
        created: time::seconds(record.created_at_ns),
        ports: ports(record),
        size_rw: None,
        size_root_fs: None,
        labels: record.config.labels.clone(),
        state: record.state.word().to_owned(),
        status: status::words(record, now_ns),
        host_config: SummaryHostConfig {
            network_mode: network::mode_text(&record.host.network_mode),
            annotations: record
                .host
                .annotations
                .clone()
                .into_iter()
                .filter(|_| annotations)
                .collect(),
        },
        health: version
            .has(Feature::SummaryHealth)
            .then(|| status::health_summary(record)),
        network_settings: SummaryNetworkSettings {
            networks: network::endpoints(record, find),
        },
        mounts: mount_points(record),
    }
}

/// The program and its arguments; those with blanks in quotes.
fn command(record: &Record) -> String {
    let mut words = record.command().into_iter();
    let first = words.next().unwrap_or_default();
    words.fold(first, |line, word| {
        if word.contains(' ') {
            format!("{line} '{word}'")
        } else {
            format!("{line} {word}")
        }
    })
}

/// Ports of a running container: published ones with the host's, others without.
fn ports(record: &Record) -> Vec<PortSummary> {
    if !record.state.is_running() {
        return Vec::new();
    }
    // Those of routed networks have none of the host's.
    let direct = record.published.iter().filter(|port| port.is_direct);
    let direct = direct.map(|port| (port.container_port, port.protocol.as_str()));
    let exposed = record.config.exposed_ports.iter();
    let exposed = exposed.map(|port| (port.number, port.protocol.as_str()));
    let published = record.published.iter().filter(|port| !port.is_direct);
    let published = published.map(|port| PortSummary {
        ip: port.host_ip.to_string(),
        private_port: port.container_port,
        public_port: port.host_port,
        protocol: port.protocol.as_str().to_owned(),
    });
    let mut ports: Vec<PortSummary> = published.collect();
    for (private_port, protocol) in exposed.chain(direct) {
        let mut known = ports.iter();
        if !known.any(|known| known.private_port == private_port && known.protocol == protocol) {
            let protocol = protocol.to_owned();
            ports.push(PortSummary {
                private_port,
                protocol,
                ..Default::default()
            });
        }
    }
    ports
}

/// What is mounted, as lists and inspect show it. What `--tmpfs` made is shown elsewhere.
pub(crate) fn mount_points(record: &Record) -> Vec<MountPoint> {
    let shown = |mount: &&record::MountPoint| {
        mount.kind != MountKind::Tmpfs || !record.host.tmpfs.contains_key(&mount.destination)
    };
    record
        .mounts
        .iter()
        .filter(shown)
        .map(mount_point)
        .collect()
}

fn mount_point(mount: &record::MountPoint) -> MountPoint {
    let (kind, driver) = match mount.kind {
        MountKind::Bind => ("bind", String::new()),
        MountKind::Volume => ("volume", mount.driver.clone()),
        MountKind::Tmpfs => ("tmpfs", String::new()),
        MountKind::Image => ("image", String::new()),
    };
    let propagation = mounts::propagation_word(mount.propagation);
    MountPoint {
        kind: kind.to_owned(),
        name: mount.name.clone().unwrap_or_default(),
        source: mount.source.display().to_string(),
        destination: mount.destination.clone(),
        driver,
        mode: match (mount.kind, mount.mode.as_str()) {
            // Docker lets volumes that say nothing be shared among confined containers.
            (MountKind::Volume, "") if !mount.anonymous => "z".to_owned(),
            (_, mode) => mode.to_owned(),
        },
        rw: !mount.read_only,
        propagation: match (mount.kind, propagation) {
            (MountKind::Bind, "") => "rprivate".to_owned(),
            (_, word) => word.to_owned(),
        },
    }
}
