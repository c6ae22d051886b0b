//! A container that is there, without what nobody typed: what its image says, and what the daemon fills in.

use hull_api::types::{ContainerCreate, ImageConfig, Info};

/// What a daemon gives `/dev/shm`.
const SHM: i64 = 64 << 20;

/// Takes out what is the same without being said.
pub(in crate::commands) fn plain(body: &mut ContainerCreate, image: &ImageConfig, info: &Info) {
    let config = &mut body.config;
    if let Some(environment) = &mut config.env {
        environment.retain(|variable| !image.env.contains(variable));
    }
    if let Some(labels) = &mut config.labels {
        labels.retain(|name, value| image.labels.get(name) != Some(value));
    }
    if config.entrypoint.as_ref() == Some(&image.entrypoint) {
        config.entrypoint = None;
        if config.cmd.as_ref() == Some(&image.cmd) {
            config.cmd = None;
        }
    }
    if config.entrypoint.is_none() && config.cmd.as_ref() == Some(&image.cmd) {
        config.cmd = None;
    }
    for (said, own) in [
        (&mut config.working_dir, &image.working_dir),
        (&mut config.user, &image.user),
        (&mut config.stop_signal, &image.stop_signal),
    ] {
        if said == own {
            said.clear();
        }
    }
    let Some(host) = &mut body.host_config else {
        return;
    };
    let cgroups = match info.cgroup_version.as_str() {
        "2" => "private",
        _ => "host",
    };
    for (said, usual) in [
        (&mut host.ipc_mode, "private"),
        (&mut host.cgroupns_mode, cgroups),
        (&mut host.runtime, info.default_runtime.as_str()),
    ] {
        if said == usual {
            said.clear();
        }
    }
    if host.shm_size == SHM {
        host.shm_size = 0;
    }
    let has_options = host
        .log_config
        .config
        .as_ref()
        .is_some_and(|map| !map.is_empty());
    if host.log_config.driver == info.logging_driver && !has_options {
        host.log_config.driver.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_nobody_typed_is_not_told() {
        let mut body: ContainerCreate = serde_json::from_value(json!({
            "Image": "app", "Env": ["PATH=/bin", "X=1"], "Cmd": ["serve"], "WorkingDir": "/app",
            "HostConfig": {"IpcMode": "private", "CgroupnsMode": "private", "Runtime": "hull", "ShmSize": 67_108_864,
                "LogConfig": {"Type": "json-file", "Config": {}}, "Memory": 5},
        }))
        .unwrap();
        let image = serde_json::from_value(
            json!({"Env": ["PATH=/bin"], "Cmd": ["serve"], "WorkingDir": "/"}),
        )
        .unwrap();
        let info = serde_json::from_value(
            json!({"CgroupVersion": "2", "DefaultRuntime": "hull", "LoggingDriver": "json-file"}),
        )
        .unwrap();
        plain(&mut body, &image, &info);
        let member = super::super::Member {
            service: "app",
            container: "",
            body: &body,
        };
        assert_eq!(
            super::super::file(&[member]),
            "services:\n  app:\n    environment:\n      - \"X=1\"\n    image: app\n    mem_limit: 5\n    working_dir: /app\n"
        );
    }
}
