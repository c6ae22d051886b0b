//! How this host runs a container, in and out.

use std::collections::BTreeSet;

use hull_api::{ApiVersion, types, version::Feature};
use hull_engine::model::{
    CgroupNamespace, HealthAction, HostConfig, IpcNamespace, LogConfig, PidNamespace,
    RestartPolicy, UserNamespace, UtsNamespace,
};

use super::{Invalid, Result, mounts, network, null_if_empty, ports, resources};

/// The annotation that says what to do with an unhealthy container: the wire has no member for it.
const HEALTH_ACTION: &str = "hull.on-unhealthy";

/// Into the engine's words.
pub(crate) fn from_wire(wire: types::HostConfig, version: ApiVersion) -> Result<HostConfig> {
    check(&wire)?;
    let binds = wire.binds.clone().unwrap_or_default();
    let console = wire.console_size;
    Ok(HostConfig {
        mounts: mounts::all(&binds, wire.mounts.clone(), wire.tmpfs.keys())?,
        binds,
        tmpfs: wire.tmpfs.clone(),
        volumes_from: wire.volumes_from.clone().unwrap_or_default(),
        volume_driver: wire.volume_driver.clone(),
        container_id_file: wire.container_id_file.clone(),
        log: LogConfig {
            driver: wire.log_config.driver.clone(),
            options: wire.log_config.config.clone().unwrap_or_default(),
        },
        network_mode: network::mode(&wire.network_mode)?,
        port_bindings: ports::bindings(wire.port_bindings.clone().unwrap_or_default())?,
        publish_all_ports: wire.publish_all_ports,
        restart_policy: restart_policy(&wire.restart_policy)?,
        health_action: health_action(wire.annotations.get(HEALTH_ACTION))?,
        auto_remove: wire.auto_remove,
        console_size: (console != [0, 0]).then_some((console[0], console[1])),
        annotations: wire.annotations.clone(),
        cap_add: wire.cap_add.clone().unwrap_or_default(),
        cap_drop: wire.cap_drop.clone().unwrap_or_default(),
        cgroup_namespace: cgroup_namespace(&wire.cgroupns_mode)?,
        dns: dns(wire.dns.as_deref().unwrap_or_default())?,
        dns_options: wire.dns_options.clone().unwrap_or_default(),
        dns_search: wire.dns_search.clone().unwrap_or_default(),
        extra_hosts: wire.extra_hosts.clone().unwrap_or_default(),
        group_add: wire.group_add.clone().unwrap_or_default(),
        ipc: ipc(&wire.ipc_mode, version)?,
        links: wire.links.clone().unwrap_or_default(),
        oom_score_adj: wire.oom_score_adj,
        pid: pid(&wire.pid_mode)?,
        privileged: wire.privileged,
        readonly_rootfs: wire.readonly_rootfs,
        security_opt: wire.security_opt.clone().unwrap_or_default(),
        storage_opt: wire.storage_opt.clone(),
        uts: uts(&wire.uts_mode)?,
        userns: userns(&wire.userns_mode)?,
        shm_size: wire.shm_size,
        sysctls: wire.sysctls.clone(),
        runtime: wire.runtime.clone(),
        masked_paths: wire.masked_paths.clone().map(BTreeSet::from_iter),
        readonly_paths: wire.readonly_paths.clone().map(BTreeSet::from_iter),
        init: wire.init,
        resources: resources::from_wire(wire.into())?,
    })
}

fn check(wire: &types::HostConfig) -> Result<()> {
    if wire.shm_size < 0 {
        return Err(Invalid::new("SHM size can not be less than 0"));
    }
    if !(-1000..=1000).contains(&wire.oom_score_adj) {
        return Err(Invalid::new(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            wire.oom_score_adj
        )));
    }
    if !matches!(wire.isolation.as_str(), "" | "default") {
        return Err(Invalid::new(format!(
            "invalid isolation {:?} on linux",
            wire.isolation
        )));
    }
    for target in wire.tmpfs.keys() {
        if !target.starts_with('/') {
            return Err(Invalid::new(format!(
                "invalid mount config for type \"tmpfs\": invalid mount path: '{target}' mount path \
                 must be absolute"
            )));
        }
    }
    for host in wire.extra_hosts.iter().flatten() {
        let parts = host.split_once(':').or_else(|| host.split_once('='));
        if parts.is_none_or(|(name, address)| name.is_empty() || address.is_empty()) {
            return Err(Invalid::new(format!("bad format for add-host: {host:?}")));
        }
    }
    Ok(())
}

/// `{"Name":"on-failure","MaximumRetryCount":3}`.
pub(crate) fn restart_policy(wire: &types::RestartPolicy) -> Result<RestartPolicy> {
    let refused = |reason: &str| Err(Invalid::new(format!("invalid restart policy: {reason}")));
    let retries = wire.maximum_retry_count;
    let policy = match wire.name.as_str() {
        "" | "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-unhealthy" => RestartPolicy::OnUnhealthy,
        "on-failure" => {
            let Ok(retries_max) = u32::try_from(retries) else {
                return refused("maximum retry count cannot be negative");
            };
            return Ok(RestartPolicy::OnFailure { retries_max });
        }
        other => {
            return refused(&format!(
                "unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or \
                 'unless-stopped'"
            ));
        }
    };
    match retries {
        0 => Ok(policy),
        1.. => refused("maximum retry count can only be used with 'on-failure'"),
        _ => {
            refused("maximum retry count can only be used with 'on-failure' and cannot be negative")
        }
    }
}

/// Back to the wire.
fn restart_to_wire(policy: RestartPolicy) -> types::RestartPolicy {
    let (name, retries) = match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnUnhealthy => ("on-unhealthy", 0),
        RestartPolicy::OnFailure { retries_max } => ("on-failure", i64::from(retries_max)),
    };
    types::RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count: retries,
    }
}

fn health_action(text: Option<&String>) -> Result<HealthAction> {
    match text.map(String::as_str) {
        None | Some("" | "none") => Ok(HealthAction::None),
        Some("kill") => Ok(HealthAction::Kill),
        Some("restart") => Ok(HealthAction::Restart),
        Some("stop") => Ok(HealthAction::Stop),
        Some(other) => Err(Invalid::new(format!(
            "invalid {HEALTH_ACTION}: {other}; use one of none, kill, restart, stop"
        ))),
    }
}

fn cgroup_namespace(text: &str) -> Result<Option<CgroupNamespace>> {
    match text {
        "" => Ok(None),
        "private" => Ok(Some(CgroupNamespace::Private)),
        "host" => Ok(Some(CgroupNamespace::Host)),
        other => Err(Invalid::new(format!(
            "invalid cgroup namespace mode: {other}"
        ))),
    }
}

fn dns(servers: &[String]) -> Result<Vec<std::net::IpAddr>> {
    let address = |text: &String| {
        text.parse()
            .map_err(|_| Invalid::new(format!("invalid DNS server address: {text}")))
    };
    servers.iter().map(address).collect()
}

fn ipc(text: &str, version: ApiVersion) -> Result<IpcNamespace> {
    Ok(match text {
        "" if !version.has(Feature::PrivateIpc) => IpcNamespace::Shareable,
        "" => IpcNamespace::Default,
        "private" => IpcNamespace::Private,
        "shareable" => IpcNamespace::Shareable,
        "none" => IpcNamespace::None,
        "host" => IpcNamespace::Host,
        other => match other.strip_prefix("container:") {
            Some(reference) if !reference.is_empty() => {
                IpcNamespace::Container(reference.to_owned())
            }
            _ => return Err(Invalid::new(format!("invalid IPC mode: {other}"))),
        },
    })
}

fn pid(text: &str) -> Result<PidNamespace> {
    Ok(match text {
        "" | "private" => PidNamespace::Private,
        "host" => PidNamespace::Host,
        other => match other.strip_prefix("container:") {
            Some(reference) if !reference.is_empty() => {
                PidNamespace::Container(reference.to_owned())
            }
            _ => return Err(Invalid::new(format!("invalid PID mode: {other}"))),
        },
    })
}

fn uts(text: &str) -> Result<UtsNamespace> {
    match text {
        "" => Ok(UtsNamespace::Private),
        "host" => Ok(UtsNamespace::Host),
        other => Err(Invalid::new(format!("invalid UTS mode: {other}"))),
    }
}

fn userns(text: &str) -> Result<UserNamespace> {
    match text {
        "" => Ok(UserNamespace::Default),
        "host" => Ok(UserNamespace::Host),
        other => Err(Invalid::new(format!(
            "invalid user namespace mode: {other}"
        ))),
    }
}

/// What Docker shows where a container says nothing, as this host decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) cgroup_version: u8,
    pub(crate) default_cgroup_namespace: Option<CgroupNamespace>,
    pub(crate) default_ipc: &'a IpcNamespace,
    pub(crate) default_runtime: &'a str,
    pub(crate) masked_paths: &'a [&'a str],
    pub(crate) readonly_paths: &'a [&'a str],
}

/// Back to the wire, as a client of Docker's command line would have asked for it.
pub(crate) fn to_wire(host: &HostConfig, shown: Shown<'_>) -> types::HostConfig {
    let (rows, columns) = host.console_size.unwrap_or_default();
    let text = |texts: &[String]| null_if_empty(texts.to_vec());
    let mut wire = types::HostConfig {
        binds: text(&host.binds),
        container_id_file: host.container_id_file.clone(),
        log_config: types::LogConfig {
            driver: host.log.driver.clone(),
            config: Some(host.log.options.clone()),
        },
        network_mode: network::mode_text(&host.network_mode),
        port_bindings: Some(ports::bindings_to_wire(&host.port_bindings)),
        restart_policy: restart_to_wire(host.restart_policy),
        auto_remove: host.auto_remove,
        volume_driver: host.volume_driver.clone(),
        volumes_from: text(&host.volumes_from),
        console_size: [rows, columns],
        annotations: host.annotations.clone(),
        cap_add: text(&host.cap_add),
        cap_drop: text(&host.cap_drop),
        cgroupns_mode: cgroup_namespace_text(host, shown).to_owned(),
        dns: Some(host.dns.iter().map(ToString::to_string).collect()),
        dns_options: Some(host.dns_options.clone()),
        dns_search: Some(host.dns_search.clone()),
        extra_hosts: text(&host.extra_hosts),
        group_add: text(&host.group_add),
        ipc_mode: ipc_text(&host.ipc, shown.default_ipc),
        links: text(&host.links),
        oom_score_adj: host.oom_score_adj,
        pid_mode: match &host.pid {
            PidNamespace::Private => String::new(),
            PidNamespace::Host => "host".to_owned(),
            PidNamespace::Container(reference) => format!("container:{reference}"),
        },
        privileged: host.privileged,
        publish_all_ports: host.publish_all_ports,
        readonly_rootfs: host.readonly_rootfs,
        security_opt: text(&host.security_opt),
        storage_opt: host.storage_opt.clone(),
        tmpfs: host.tmpfs.clone(),
        uts_mode: if host.uts == UtsNamespace::Host {
            "host"
        } else {
            ""
        }
        .to_owned(),
        userns_mode: if host.userns == UserNamespace::Host {
            "host"
        } else {
            ""
        }
        .to_owned(),
        shm_size: host.shm_size,
        sysctls: host.sysctls.clone(),
        runtime: match host.runtime.as_str() {
            "" => shown.default_runtime.to_owned(),
            name => name.to_owned(),
        },
        mounts: mounts::objects(&host.mounts),
        masked_paths: paths(host, host.masked_paths.as_ref(), shown.masked_paths),
        readonly_paths: paths(host, host.readonly_paths.as_ref(), shown.readonly_paths),
        init: host.init,
        ..types::HostConfig::default()
    };
    resources::to_wire(&host.resources, &mut wire);
    wire
}

fn cgroup_namespace_text(host: &HostConfig, shown: Shown<'_>) -> &'static str {
    let own = host.cgroup_namespace.or(shown.default_cgroup_namespace);
    match own {
        Some(CgroupNamespace::Private) => "private",
        Some(CgroupNamespace::Host) => "host",
        None if shown.cgroup_version == 2 && !host.privileged => "private",
        None => "host",
    }
}

fn ipc_text(ipc: &IpcNamespace, default: &IpcNamespace) -> String {
    match if *ipc == IpcNamespace::Default {
        default
    } else {
        ipc
    } {
        IpcNamespace::Default | IpcNamespace::Private => "private".to_owned(),
        IpcNamespace::Shareable => "shareable".to_owned(),
        IpcNamespace::None => "none".to_owned(),
        IpcNamespace::Host => "host".to_owned(),
        IpcNamespace::Container(reference) => format!("container:{reference}"),
    }
}

/// A container's own list, Docker's, or none at all for a privileged one.
fn paths(host: &HostConfig, own: Option<&BTreeSet<String>>, usual: &[&str]) -> Option<Vec<String>> {
    match own {
        Some(own) => Some(own.iter().cloned().collect()),
        None if host.privileged => None,
        None => Some(usual.iter().map(|path| (*path).to_owned()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: Shown<'_> = Shown {
        cgroup_version: 2,
        default_cgroup_namespace: None,
        default_ipc: &IpcNamespace::Private,
        default_runtime: "hull",
        masked_paths: &["/proc/kcore"],
        readonly_paths: &["/proc/sys"],
    };

    fn read(json: &str) -> Result<HostConfig> {
        let wire = hull_api::decode::from_slice(json.as_bytes()).unwrap();
        from_wire(wire, ApiVersion::MAX)
    }

    #[test]
    fn what_is_said_is_echoed() {
        let json = r#"{"Binds":["/a:/b:ro"],"NetworkMode":"container:x","CapAdd":["NET_ADMIN"],
            "RestartPolicy":{"Name":"on-failure","MaximumRetryCount":4},"Dns":["9.9.9.9"],
            "Memory":1048576,"NanoCpus":1500000000,"PidsLimit":5,"Privileged":true,"Init":true,
            "Ulimits":[{"Name":"nofile","Hard":2,"Soft":1}],"IpcMode":"host","PidMode":"host",
            "Tmpfs":{"/t":"size=1m"},"Sysctls":{"net.a":"1"},"ConsoleSize":[3,4],"UTSMode":"host",
            "Devices":[{"PathOnHost":"/dev/x","PathInContainer":"/dev/y","CgroupPermissions":"r"}],
            "ShmSize":5,"MaskedPaths":[],"CgroupnsMode":"host","Runtime":"crun"}"#;
        let said: serde_json::Value = serde_json::from_str(json).unwrap();
        let echoed = serde_json::to_value(to_wire(&read(json).unwrap(), SHOWN)).unwrap();
        for (name, value) in said.as_object().unwrap() {
            assert_eq!(&echoed[name], value, "{name}");
        }
    }

    #[test]
    fn what_is_not_said_gets_dockers_defaults() {
        let echoed = serde_json::to_value(to_wire(&read("{}").unwrap(), SHOWN)).unwrap();
        let expected = serde_json::json!({
            "Binds": null, "NetworkMode": "bridge", "PortBindings": {}, "VolumesFrom": null,
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "CapAdd": null, "Dns": [],
            "IpcMode": "private", "CgroupnsMode": "private", "PidMode": "", "UTSMode": "",
            "SecurityOpt": null, "Runtime": "hull", "Devices": [], "Ulimits": [],
            "PidsLimit": null, "MemorySwappiness": null, "OomKillDisable": false,
            "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"], "ConsoleSize": [0, 0],
            "BlkioWeightDevice": [], "DeviceRequests": null, "ExtraHosts": null
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&echoed[name], value, "{name}");
        }
        let privileged = to_wire(&read(r#"{"Privileged":true}"#).unwrap(), SHOWN);
        assert_eq!(privileged.masked_paths, None);
    }

    #[test]
    fn nonsense_is_refused_with_dockers_words() {
        for (json, words) in [
            (
                r#"{"RestartPolicy":{"Name":"maybe"}}"#,
                "invalid restart policy: unknown policy 'maybe'",
            ),
            (
                r#"{"RestartPolicy":{"Name":"always","MaximumRetryCount":2}}"#,
                "maximum retry count can only be used with 'on-failure'",
            ),
            (
                r#"{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":-2}}"#,
                "cannot be negative",
            ),
            (r#"{"IpcMode":"shared"}"#, "invalid IPC mode: shared"),
            (
                r#"{"PidMode":"container:"}"#,
                "invalid PID mode: container:",
            ),
            (r#"{"UTSMode":"x"}"#, "invalid UTS mode: x"),
            (
                r#"{"CgroupnsMode":"x"}"#,
                "invalid cgroup namespace mode: x",
            ),
            (r#"{"ShmSize":-1}"#, "SHM size can not be less than 0"),
            (
                r#"{"OomScoreAdj":1001}"#,
                "range for oom score adj is [-1000, 1000]",
            ),
            (r#"{"ExtraHosts":["x"]}"#, "bad format for add-host: \"x\""),
            (
                r#"{"Devices":[{"CgroupPermissions":"q"}]}"#,
                "invalid device mode: q",
            ),
            (r#"{"Isolation":"hyperv"}"#, "invalid isolation"),
        ] {
            let refused = read(json).unwrap_err().0;
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn older_clients_share_their_ipc_namespace() {
        let wire = types::HostConfig::default();
        assert_eq!(
            from_wire(wire, ApiVersion::new(39)).unwrap().ipc,
            IpcNamespace::Shareable
        );
    }
}
