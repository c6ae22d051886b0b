//! The keys of a service, from the request that makes its container.

use serde_json::{Map, Value, json};

/// Keys of the request that have the same meaning in a service, and what they are called there.
#[rustfmt::skip]
const CONFIG: [(&str, &str); 10] = [
    ("Image", "image"), ("Cmd", "command"), ("Entrypoint", "entrypoint"), ("Hostname", "hostname"),
    ("Domainname", "domainname"), ("User", "user"), ("WorkingDir", "working_dir"), ("Env", "environment"),
    ("Labels", "labels"), ("StopSignal", "stop_signal"),
];
#[rustfmt::skip]
const HOST: [(&str, &str); 36] = [
    ("Privileged", "privileged"), ("ReadonlyRootfs", "read_only"), ("CapAdd", "cap_add"),
    ("CapDrop", "cap_drop"), ("Dns", "dns"), ("DnsSearch", "dns_search"), ("DnsOptions", "dns_opt"),
    ("ExtraHosts", "extra_hosts"), ("GroupAdd", "group_add"), ("IpcMode", "ipc"), ("PidMode", "pid"),
    ("UTSMode", "uts"), ("UsernsMode", "userns_mode"), ("SecurityOpt", "security_opt"), ("Sysctls", "sysctls"),
    ("ShmSize", "shm_size"), ("Memory", "mem_limit"), ("MemoryReservation", "mem_reservation"),
    ("MemorySwap", "memswap_limit"), ("MemorySwappiness", "mem_swappiness"), ("CpuShares", "cpu_shares"),
    ("CpusetCpus", "cpuset"), ("CpuQuota", "cpu_quota"), ("CpuPeriod", "cpu_period"),
    ("CpuRealtimePeriod", "cpu_rt_period"), ("CpuRealtimeRuntime", "cpu_rt_runtime"), ("PidsLimit", "pids_limit"),
    ("OomKillDisable", "oom_kill_disable"), ("OomScoreAdj", "oom_score_adj"), ("Init", "init"), ("Runtime", "runtime"),
    ("CgroupParent", "cgroup_parent"), ("DeviceCgroupRules", "device_cgroup_rules"), ("StorageOpt", "storage_opt"),
    ("Annotations", "annotations"), ("CgroupnsMode", "cgroup"),
];
/// Keys of a health check that are times.
const TIMES: [(&str, &str); 4] = [
    ("Interval", "interval"),
    ("Timeout", "timeout"),
    ("StartPeriod", "start_period"),
    ("StartInterval", "start_interval"),
];
/// Limits of devices.
const THROTTLES: [(&str, &str); 4] = [
    ("BlkioDeviceReadBps", "device_read_bps"),
    ("BlkioDeviceReadIOps", "device_read_iops"),
    ("BlkioDeviceWriteBps", "device_write_bps"),
    ("BlkioDeviceWriteIOps", "device_write_iops"),
];

/// All that a service says.
pub(super) fn of(request: &Value) -> Map<String, Value> {
    let host = &request["HostConfig"];
    let mut service = Map::new();
    let mut take = |from: &Value, keys: &[(&str, &str)]| {
        for (key, called) in keys {
            if is_said(&from[*key]) {
                service.insert((*called).to_owned(), from[*key].clone());
            }
        }
    };
    take(request, &CONFIG);
    take(host, &HOST);
    let mut put = |key: &str, value: Value| {
        if is_said(&value) {
            service.insert(key.to_owned(), value);
        }
    };
    put("tty", request["Tty"].clone());
    put("stdin_open", request["OpenStdin"].clone());
    put("cpus", cpus(host));
    put("ports", json!(ports(host)));
    put("expose", json!(exposed(request)));
    put("volumes", json!(mounted(request)));
    put("volumes_from", json!(volumes_from(host)));
    put("tmpfs", json!(tmpfs(host)));
    put("restart", json!(restart(host)));
    put("healthcheck", health(&request["Healthcheck"]));
    put("stop_grace_period", stop_timeout(request));
    put("ulimits", ulimits(host));
    put("devices", json!(devices(host)));
    put("gpus", json!(gpus(host)));
    put("blkio_config", blkio(host));
    put("logging", logging(host));
    put("external_links", json!(links(host)));
    put("network_mode", json!(network_mode(host)));
    if let Some(networks) = networks(request) {
        let is_plain = networks.iter().all(|(_, place)| place.is_null());
        put(
            "networks",
            match is_plain {
                true => json!(
                    networks
                        .into_iter()
                        .map(|(name, _)| name)
                        .collect::<Vec<_>>()
                ),
                false => Value::Object(networks.into_iter().collect()),
            },
        );
    }
    service
}

/// The networks that were made by hand and are joined, each with what is said of the place in it.
pub(super) fn networks(request: &Value) -> Option<Vec<(String, Value)>> {
    let mode = request["HostConfig"]["NetworkMode"]
        .as_str()
        .unwrap_or_default();
    let is_own = |name: &str| {
        !matches!(name, "" | "default" | "bridge" | "host" | "none")
            && !name.starts_with("container:")
    };
    let endpoints = &request["NetworkingConfig"]["EndpointsConfig"];
    let mut found: Vec<(String, Value)> = endpoints
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| is_own(name))
        .map(|(name, endpoint)| (name.clone(), place(endpoint)))
        .collect();
    if is_own(mode) && !found.iter().any(|(name, _)| name == mode) {
        found.push((mode.to_owned(), Value::Null));
    }
    (!found.is_empty()).then_some(found)
}

fn place(endpoint: &Value) -> Value {
    let mut place = Map::new();
    let addresses = &endpoint["IPAMConfig"];
    for (value, key) in [
        (&endpoint["Aliases"], "aliases"),
        (&addresses["IPv4Address"], "ipv4_address"),
        (&addresses["IPv6Address"], "ipv6_address"),
        (&addresses["LinkLocalIPs"], "link_local_ips"),
        (&endpoint["MacAddress"], "mac_address"),
        (&endpoint["DriverOpts"], "driver_opts"),
        (&endpoint["GwPriority"], "gw_priority"),
    ] {
        if is_said(value) {
            place.insert(key.to_owned(), value.clone());
        }
    }
    match place.is_empty() {
        true => Value::Null,
        false => Value::Object(place),
    }
}

/// Volumes that have names.
pub(super) fn volumes(host: &Value) -> Vec<&str> {
    let binds = list(&host["Binds"]).filter_map(|bind| Some(bind.as_str()?.split_once(':')?.0));
    let mounts = list(&host["Mounts"])
        .filter(|mount| mount["Type"] == "volume")
        .filter_map(|mount| mount["Source"].as_str());
    binds
        .filter(|source| !source.starts_with('/'))
        .chain(mounts)
        .filter(|source| !source.is_empty())
        .collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn mounted(request: &Value) -> Vec<Value> {
    let host = &request["HostConfig"];
    let anonymous = request["Volumes"].as_object().into_iter().flatten();
    let anonymous = anonymous.map(|(path, _)| json!(path));
    let mounts = list(&host["Mounts"]).map(|mount| {
        let mut own = Map::new();
        for (key, called) in [("Type", "type"), ("Source", "source"), ("Target", "target")] {
            if is_said(&mount[key]) {
                own.insert(called.to_owned(), mount[key].clone());
            }
        }
        if mount["ReadOnly"] == true {
            own.insert("read_only".to_owned(), json!(true));
        }
        if is_said(&mount["BindOptions"]["Propagation"]) {
            let propagation = &mount["BindOptions"]["Propagation"];
            own.insert("bind".to_owned(), json!({ "propagation": propagation }));
        }
        let volume = &mount["VolumeOptions"];
        let mut options = Map::new();
        for (key, called) in [
            ("NoCopy", "nocopy"),
            ("Subpath", "subpath"),
            ("Labels", "labels"),
        ] {
            if is_said(&volume[key]) {
                options.insert(called.to_owned(), volume[key].clone());
            }
        }
        if !options.is_empty() {
            own.insert("volume".to_owned(), Value::Object(options));
        }
        let memory = &mount["TmpfsOptions"];
        let mut options = Map::new();
        for (key, called) in [("SizeBytes", "size"), ("Mode", "mode")] {
            if is_said(&memory[key]) {
                options.insert(called.to_owned(), memory[key].clone());
            }
        }
        if !options.is_empty() {
            own.insert("tmpfs".to_owned(), Value::Object(options));
        }
        Value::Object(own)
    });
    let binds = list(&host["Binds"]).cloned();
    binds.chain(mounts).chain(anonymous).collect()
}

fn volumes_from(host: &Value) -> Vec<String> {
    let from = list(&host["VolumesFrom"]).filter_map(Value::as_str);
    from.map(|from| format!("container:{from}")).collect()
}

fn cpus(host: &Value) -> Value {
    let billionths = host["NanoCpus"].as_i64().unwrap_or_default();
    #[expect(
        clippy::cast_precision_loss,
        reason = "nobody has 2^53 billionths of a processor"
    )]
    let cpus = billionths as f64 / 1e9;
    json!(cpus)
}

fn ports(host: &Value) -> Vec<String> {
    let mut ports = Vec::new();
    for (port, bindings) in host["PortBindings"].as_object().into_iter().flatten() {
        let port = port.strip_suffix("/tcp").unwrap_or(port);
        for binding in list(bindings) {
            let outside = binding["HostPort"].as_str().unwrap_or_default();
            ports.push(match binding["HostIp"].as_str().unwrap_or_default() {
                "" if outside.is_empty() => port.to_owned(),
                "" => format!("{outside}:{port}"),
                address if address.contains(':') => format!("[{address}]:{outside}:{port}"),
                address => format!("{address}:{outside}:{port}"),
            });
        }
    }
    ports
}

/// Ports that are told and not published.
fn exposed(request: &Value) -> Vec<String> {
    let published = &request["HostConfig"]["PortBindings"];
    let ports = request["ExposedPorts"].as_object().into_iter().flatten();
    ports
        .filter(|(port, _)| published[port.as_str()].is_null())
        .map(|(port, _)| port.strip_suffix("/tcp").unwrap_or(port).to_owned())
        .collect()
}

fn tmpfs(host: &Value) -> Vec<String> {
    let places = host["Tmpfs"].as_object().into_iter().flatten();
    let text = |(path, options): (&String, &Value)| match options.as_str().unwrap_or_default() {
        "" => path.clone(),
        options => format!("{path}:{options}"),
    };
    places.map(text).collect()
}

fn restart(host: &Value) -> String {
    let policy = &host["RestartPolicy"];
    match (
        policy["Name"].as_str().unwrap_or_default(),
        policy["MaximumRetryCount"].as_i64(),
    ) {
        ("" | "no", _) => String::new(),
        (name, Some(count @ 1..)) => format!("{name}:{count}"),
        (name, _) => name.to_owned(),
    }
}

fn health(check: &Value) -> Value {
    if !is_said(&check["Test"]) {
        return Value::Null;
    }
    if check["Test"] == json!(["NONE"]) {
        return json!({ "disable": true });
    }
    let mut health = json!({ "test": check["Test"] });
    for (key, name) in TIMES {
        if let Some(time) = check[key].as_i64().filter(|time| *time > 0) {
            health[name] = json!(match time % 1_000_000_000 {
                0 => format!("{}s", time / 1_000_000_000),
                _ => format!("{}ms", time / 1_000_000),
            });
        }
    }
    if is_said(&check["Retries"]) {
        health["retries"] = check["Retries"].clone();
    }
    health
}

fn stop_timeout(request: &Value) -> Value {
    match request["StopTimeout"].as_i64() {
        Some(seconds) => json!(format!("{seconds}s")),
        None => Value::Null,
    }
}

fn ulimits(host: &Value) -> Value {
    let limits = list(&host["Ulimits"]).filter_map(|limit| {
        let name = limit["Name"].as_str()?;
        Some((
            name.to_owned(),
            json!({ "soft": limit["Soft"], "hard": limit["Hard"] }),
        ))
    });
    Value::Object(limits.collect())
}

fn devices(host: &Value) -> Vec<String> {
    let part = |device: &Value, key: &str| device[key].as_str().unwrap_or_default().to_owned();
    let text = |device: &Value| {
        let parts = ["PathOnHost", "PathInContainer", "CgroupPermissions"];
        parts
            .map(|key| part(device, key))
            .join(":")
            .trim_end_matches(':')
            .to_owned()
    };
    list(&host["Devices"]).map(text).collect()
}

fn gpus(host: &Value) -> Vec<Value> {
    let wish = |request: &Value| {
        let mut wish = Map::new();
        for (key, called) in [
            ("Driver", "driver"),
            ("Count", "count"),
            ("DeviceIDs", "device_ids"),
            ("Options", "options"),
        ] {
            if is_said(&request[key]) {
                wish.insert(called.to_owned(), request[key].clone());
            }
        }
        // Those of one alternative; Compose knows no others.
        if let Some(first) = list(&request["Capabilities"]).next() {
            wish.insert("capabilities".to_owned(), first.clone());
        }
        Value::Object(wish)
    };
    list(&host["DeviceRequests"]).map(wish).collect()
}

fn blkio(host: &Value) -> Value {
    let mut config = Map::new();
    if is_said(&host["BlkioWeight"]) {
        config.insert("weight".to_owned(), host["BlkioWeight"].clone());
    }
    let weights: Vec<Value> = list(&host["BlkioWeightDevice"])
        .map(|own| json!({ "path": own["Path"], "weight": own["Weight"] }))
        .collect();
    if !weights.is_empty() {
        config.insert("weight_device".to_owned(), json!(weights));
    }
    for (key, called) in THROTTLES {
        let limits: Vec<Value> = list(&host[key])
            .map(|own| json!({ "path": own["Path"], "rate": own["Rate"] }))
            .collect();
        if !limits.is_empty() {
            config.insert(called.to_owned(), json!(limits));
        }
    }
    Value::Object(config)
}

fn logging(host: &Value) -> Value {
    let log = &host["LogConfig"];
    let mut logging = Map::new();
    for (key, called) in [("Type", "driver"), ("Config", "options")] {
        if is_said(&log[key]) {
            logging.insert(called.to_owned(), log[key].clone());
        }
    }
    Value::Object(logging)
}

fn network_mode(host: &Value) -> &str {
    match host["NetworkMode"].as_str().unwrap_or_default() {
        mode @ ("host" | "none") => mode,
        mode if mode.starts_with("container:") => mode,
        _ => "",
    }
}

/// Whether a value is more than nothing.
fn is_said(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// `TARGET:ALIAS`, whichever way the request or the daemon says it.
fn links(host: &Value) -> Vec<String> {
    let links = host["Links"].as_array().into_iter().flatten();
    let plain = |link: &str| match link.split_once(':') {
        Some((target, alias)) => format!(
            "{}:{}",
            target.trim_start_matches('/'),
            alias.rsplit('/').next().unwrap_or(alias)
        ),
        None => link.to_owned(),
    };
    links.filter_map(Value::as_str).map(plain).collect()
}
