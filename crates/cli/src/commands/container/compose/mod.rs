//! Containers as a Compose file: those that a command line would make, and those that are there. Pure: from the requests that
//! make them.

mod plain;
mod service;
mod write;

use hull_api::types::ContainerCreate;
use serde_json::{Map, Value, json};

pub(in crate::commands) use plain::plain;
use write::write;

/// A container that becomes a service.
pub(in crate::commands) struct Member<'m> {
    /// What the service is called.
    pub(in crate::commands) service: &'m str,
    /// The name that the container keeps; empty: Compose makes one.
    pub(in crate::commands) container: &'m str,
    pub(in crate::commands) body: &'m ContainerCreate,
}

/// The file for containers that would be made: networks and volumes are made where they are not
/// there yet, under the names that were typed.
pub(in crate::commands) fn file(members: &[Member<'_>]) -> String {
    let mut services = Map::new();
    let (mut networks, mut volumes) = (Map::new(), Map::new());
    for member in members {
        services.insert(member.service.to_owned(), Value::Object(service(member)));
        let (joined, mounted) = things(member.body);
        for (names, section) in [(joined, &mut networks), (mounted, &mut volumes)] {
            for name in names {
                section.insert(name.clone(), json!({ "name": name }));
            }
        }
    }
    document(
        "",
        [
            ("services", services),
            ("networks", networks),
            ("volumes", volumes),
        ],
    )
}

/// What a service says.
pub(in crate::commands) fn service(member: &Member<'_>) -> Map<String, Value> {
    let request = serde_json::to_value(member.body).unwrap_or_default();
    let mut service = Map::new();
    if !member.container.is_empty() {
        service.insert("container_name".to_owned(), json!(member.container));
    }
    service.extend(service::of(&request));
    service
}

/// Networks and volumes that have names: those that a container is made with.
pub(in crate::commands) fn things(body: &ContainerCreate) -> (Vec<String>, Vec<String>) {
    let request = serde_json::to_value(body).unwrap_or_default();
    let networks = service::networks(&request).into_iter().flatten();
    let volumes = service::volumes(&request["HostConfig"]);
    (
        networks.map(|(name, _)| name).collect(),
        volumes.into_iter().map(str::to_owned).collect(),
    )
}

/// The text of a project.
pub(in crate::commands) fn document<const N: usize>(
    project: &str,
    sections: [(&str, Map<String, Value>); N],
) -> String {
    let mut text = String::new();
    if !project.is_empty() {
        write(&mut text, 0, "name", &json!(project));
    }
    for (title, map) in sections {
        if !map.is_empty() || title == "services" {
            write(&mut text, 0, title, &Value::Object(map));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_a_service() {
        let body: ContainerCreate = serde_json::from_value(json!({
            "Image": "nginx:1", "Env": ["A=$B"], "Cmd": ["sh", "-c", "x"], "Labels": {"a.b": "c"},
            "HostConfig": {
                "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]},
                "Binds": ["data:/data", "/a:/b:ro"], "NetworkMode": "back", "Memory": 1024,
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "NanoCpus": 500_000_000,
            },
        }))
        .unwrap();
        let member = Member {
            service: "web",
            container: "web",
            body: &body,
        };
        assert_eq!(
            file(&[member]),
            "services:\n  web:\n    command:\n      - sh\n      - \"-c\"\n      - x\n    container_name: web\n    cpus: 0.5\n    environment:\n      - \"A=$$B\"\n    image: \"nginx:1\"\n    labels:\n      a.b: c\n    mem_limit: 1024\n    networks:\n      - back\n    ports:\n      - \"127.0.0.1:8080:80\"\n    restart: \"on-failure:3\"\n    volumes:\n      - \"data:/data\"\n      - \"/a:/b:ro\"\nnetworks:\n  back:\n    name: back\nvolumes:\n  data:\n    name: data\n"
        );
    }

    #[test]
    fn nothing_that_was_typed_is_left_out() {
        let body: ContainerCreate = serde_json::from_value(json!({
            "Image": "x", "StopSignal": "USR1", "StopTimeout": 3, "Volumes": {"/own": {}}, "ExposedPorts": {"70/tcp": {}, "80/udp": {}},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 2_000_000_000_i64, "StartInterval": 500_000_000},
            "HostConfig": {
                "Mounts": [{"Type": "volume", "Source": "books", "Target": "/b", "ReadOnly": true, "VolumeOptions": {"Subpath": "a"}}],
                "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
                "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": "r"}],
                "LogConfig": {"Type": "local", "Config": {"max-size": "1m"}},
                "DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}],
                "VolumesFrom": ["other:ro"], "BlkioWeight": 7,
                "BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 9}],
            },
            "NetworkingConfig": {"EndpointsConfig": {"back": {"Aliases": ["uno"], "IPAMConfig": {"IPv4Address": "10.0.0.9"}}}},
        }))
        .unwrap();
        let member = Member {
            service: "web",
            container: "",
            body: &body,
        };
        let text = file(&[member]);
        for expected in [
            "services:\n  web:\n",
            "    blkio_config:\n      device_read_bps:\n        - {\"path\":\"/dev/null\",\"rate\":9}\n      weight: 7\n",
            "    devices:\n      - \"/dev/null:/dev/n:r\"\n",
            "    expose:\n      - \"70\"\n      - \"80/udp\"\n",
            "    gpus:\n      - {\"capabilities\":[\"gpu\"],\"count\":-1}\n",
            "      interval: \"2s\"\n      start_interval: \"500ms\"\n",
            "    logging:\n      driver: local\n      options:\n        max-size: \"1m\"\n",
            "      back:\n        aliases:\n          - uno\n        ipv4_address: \"10.0.0.9\"\n",
            "    stop_grace_period: \"3s\"\n    stop_signal: USR1\n",
            "      nofile:\n        hard: 2\n        soft: 1\n",
            "    volumes_from:\n      - \"container:other:ro\"\n",
            "\"type\":\"volume\",\"volume\":{\"subpath\":\"a\"}}\n      - /own\n",
            "networks:\n  back:\n    name: back\nvolumes:\n  books:\n    name: books\n",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }
}
