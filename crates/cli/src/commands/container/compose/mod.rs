//! Containers as a Compose file: those that a command line would make, and those that are there. Pure: from the requests that
//! make them.

mod service;
mod write;

use hull_api::types::ContainerCreate;
use serde_json::{Map, Value, json};

use write::write;

/// A container that becomes a service.
pub(in crate::commands) struct Member<'m> {
    /// What the service is called.
    pub(in crate::commands) service: &'m str,
    /// The name that the container keeps; empty: Compose makes one.
    pub(in crate::commands) container: &'m str,
    pub(in crate::commands) body: &'m ContainerCreate,
}

/// Whose the networks and volumes are that the file names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Things {
    /// They are made where they are not there yet, under these names.
    Made,
    /// They are there, and not the project's.
    There,
}

/// The file.
pub(in crate::commands) fn file(project: &str, members: &[Member<'_>], things: Things) -> String {
    let mut services = Map::new();
    let (mut networks, mut volumes) = (Map::new(), Map::new());
    let thing = |name: &str| match things {
        Things::Made => json!({ "name": name }),
        Things::There => json!({ "external": true }),
    };
    for member in members {
        let request = serde_json::to_value(member.body).unwrap_or_default();
        let mut service = Map::new();
        if !member.container.is_empty() {
            service.insert("container_name".to_owned(), json!(member.container));
        }
        service.extend(service::of(&request));
        services.insert(member.service.to_owned(), Value::Object(service));
        let host = &request["HostConfig"];
        for name in service::networks(&request)
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
        {
            networks.insert(name.clone(), thing(&name));
        }
        for name in service::volumes(host) {
            volumes.insert(name.to_owned(), thing(name));
        }
    }
    let mut text = String::new();
    if !project.is_empty() {
        write(&mut text, 0, "name", &json!(project));
    }
    write(&mut text, 0, "services", &Value::Object(services));
    for (title, map) in [("networks", networks), ("volumes", volumes)] {
        if !map.is_empty() {
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
            file("", &[member], Things::Made),
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
        let text = file("shelf", &[member], Things::There);
        for expected in [
            "name: shelf\nservices:\n  web:\n",
            "    blkio_config:\n      device_read_bps:\n        - {\"path\":\"/dev/null\",\"rate\":9}\n      weight: 7\n",
            "    devices:\n      - \"/dev/null:/dev/n:r\"\n",
            "    expose:\n      - \"70\"\n      - \"80/udp\"\n",
            "    gpus:\n      - {\"capabilities\":[\"gpu\"],\"count\":-1}\n",
            "      interval: \"2000ms\"\n      start_interval: \"500ms\"\n",
            "    logging:\n      driver: local\n      options:\n        max-size: \"1m\"\n",
            "      back:\n        aliases:\n          - uno\n        ipv4_address: \"10.0.0.9\"\n",
            "    stop_grace_period: \"3s\"\n    stop_signal: USR1\n",
            "      nofile:\n        hard: 2\n        soft: 1\n",
            "    volumes_from:\n      - \"container:other:ro\"\n",
            "\"type\":\"volume\",\"volume\":{\"subpath\":\"a\"}}\n      - /own\n",
            "networks:\n  back:\n    external: true\nvolumes:\n  books:\n    external: true\n",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }
}
