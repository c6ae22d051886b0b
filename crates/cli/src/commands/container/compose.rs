//! What was typed, as a Compose file. Pure: from the request that would make the container.

use hull_api::types::ContainerCreate;
use serde_json::{Value, json};

/// Keys of the request that have the same meaning in a service, and what they are called there.
#[rustfmt::skip]
const CONFIG: [(&str, &str); 9] = [
    ("Image", "image"), ("Cmd", "command"), ("Entrypoint", "entrypoint"), ("Hostname", "hostname"),
    ("Domainname", "domainname"), ("User", "user"), ("WorkingDir", "working_dir"), ("Env", "environment"),
    ("Labels", "labels"),
];
#[rustfmt::skip]
const HOST: [(&str, &str); 26] = [
    ("Binds", "volumes"), ("Privileged", "privileged"), ("ReadonlyRootfs", "read_only"), ("CapAdd", "cap_add"),
    ("CapDrop", "cap_drop"), ("Dns", "dns"), ("DnsSearch", "dns_search"), ("DnsOptions", "dns_opt"),
    ("ExtraHosts", "extra_hosts"), ("GroupAdd", "group_add"), ("IpcMode", "ipc"), ("PidMode", "pid"),
    ("UTSMode", "uts"), ("UsernsMode", "userns_mode"), ("SecurityOpt", "security_opt"), ("Sysctls", "sysctls"),
    ("ShmSize", "shm_size"), ("Memory", "mem_limit"), ("MemoryReservation", "mem_reservation"),
    ("MemorySwap", "memswap_limit"), ("CpuShares", "cpu_shares"), ("CpusetCpus", "cpuset"),
    ("PidsLimit", "pids_limit"), ("Init", "init"), ("Runtime", "runtime"), ("CgroupParent", "cgroup_parent"),
];

/// The file, with one service of this name.
pub(super) fn file(name: &str, body: &ContainerCreate) -> String {
    let request = serde_json::to_value(body).unwrap_or_default();
    let host = &request["HostConfig"];
    let mut service: Vec<(String, Value)> = Vec::new();
    if !name.is_empty() {
        service.push(("container_name".to_owned(), json!(name)));
    }
    let mut take = |from: &Value, keys: &[(&str, &str)]| {
        for (key, called) in keys {
            if is_said(&from[*key]) {
                service.push(((*called).to_owned(), from[*key].clone()));
            }
        }
    };
    take(&request, &CONFIG);
    take(host, &HOST);
    for (key, name) in [("Tty", "tty"), ("OpenStdin", "stdin_open")] {
        if request[key] == true {
            service.push((name.to_owned(), json!(true)));
        }
    }
    if let Some(cpus) = host["NanoCpus"].as_i64().filter(|cpus| *cpus > 0) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "nobody has 2^53 billionths of a processor"
        )]
        service.push(("cpus".to_owned(), json!(cpus as f64 / 1e9)));
    }
    service.extend(special(&request, host));
    let networks = networks(host);
    if let Some(network) = &networks {
        service.push(("networks".to_owned(), json!([network])));
    }
    let named: Vec<&str> = volumes(host);
    let mut text = "services:\n".to_owned();
    text.push_str(&format!(
        "  {}:\n",
        if name.is_empty() { "app" } else { name }
    ));
    for (key, value) in &service {
        write(&mut text, 4, key, value);
    }
    for (title, names) in [
        ("networks", networks.iter().map(String::as_str).collect()),
        ("volumes", named),
    ] {
        if !names.is_empty() {
            text.push_str(&format!("{title}:\n"));
        }
        for name in names {
            // It is there already, or made by hand: Compose should not give it a name of its own.
            text.push_str(&format!(
                "  {}:\n    name: {}\n",
                scalar(&json!(name)),
                scalar(&json!(name))
            ));
        }
    }
    text
}

/// What is written in another form.
fn special(request: &Value, host: &Value) -> Vec<(String, Value)> {
    let mut service = Vec::new();
    let ports = ports(host);
    if !ports.is_empty() {
        service.push(("ports".to_owned(), json!(ports)));
    }
    let policy = host["RestartPolicy"]["Name"].as_str().unwrap_or_default();
    match (policy, host["RestartPolicy"]["MaximumRetryCount"].as_i64()) {
        ("" | "no", _) => {}
        (policy, Some(count @ 1..)) => {
            service.push(("restart".to_owned(), json!(format!("{policy}:{count}"))))
        }
        (policy, _) => service.push(("restart".to_owned(), json!(policy))),
    }
    match host["NetworkMode"].as_str().unwrap_or_default() {
        mode @ ("host" | "none") => service.push(("network_mode".to_owned(), json!(mode))),
        mode if mode.starts_with("container:") => {
            service.push(("network_mode".to_owned(), json!(mode)))
        }
        _ => {}
    }
    let tmpfs: Vec<String> = host["Tmpfs"]
        .as_object()
        .into_iter()
        .flatten()
        .map(
            |(path, options)| match options.as_str().unwrap_or_default() {
                "" => path.clone(),
                options => format!("{path}:{options}"),
            },
        )
        .collect();
    if !tmpfs.is_empty() {
        service.push(("tmpfs".to_owned(), json!(tmpfs)));
    }
    let check = &request["Healthcheck"];
    if is_said(&check["Test"]) {
        let mut health = json!({ "test": check["Test"] });
        for (key, name) in [
            ("Interval", "interval"),
            ("Timeout", "timeout"),
            ("StartPeriod", "start_period"),
        ] {
            if let Some(time) = check[key].as_i64().filter(|time| *time > 0) {
                health[name] = json!(format!("{}ms", time / 1_000_000));
            }
        }
        if is_said(&check["Retries"]) {
            health["retries"] = check["Retries"].clone();
        }
        service.push(("healthcheck".to_owned(), health));
    }
    service
}

fn ports(host: &Value) -> Vec<String> {
    let mut ports = Vec::new();
    for (port, bindings) in host["PortBindings"].as_object().into_iter().flatten() {
        let port = port.strip_suffix("/tcp").unwrap_or(port);
        for binding in bindings.as_array().into_iter().flatten() {
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

/// The network that was made by hand and is joined.
fn networks(host: &Value) -> Option<String> {
    let mode = host["NetworkMode"].as_str().unwrap_or_default();
    let is_own = !matches!(mode, "" | "default" | "bridge" | "host" | "none")
        && !mode.starts_with("container:");
    is_own.then(|| mode.to_owned())
}

/// Volumes that have names.
fn volumes(host: &Value) -> Vec<&str> {
    let binds = host["Binds"].as_array().into_iter().flatten();
    binds
        .filter_map(|bind| bind.as_str()?.split_once(':'))
        .map(|(source, _)| source)
        .filter(|source| !source.starts_with('/'))
        .collect()
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

fn write(text: &mut String, indent: usize, key: &str, value: &Value) {
    let blanks = " ".repeat(indent);
    match value {
        Value::Array(list) => {
            text.push_str(&format!("{blanks}{key}:\n"));
            for item in list {
                text.push_str(&format!("{blanks}  - {}\n", scalar(item)));
            }
        }
        Value::Object(map) => {
            text.push_str(&format!("{blanks}{key}:\n"));
            for (key, value) in map {
                write(text, indent + 2, &scalar(&json!(key)), value);
            }
        }
        value => text.push_str(&format!("{blanks}{key}: {}\n", scalar(value))),
    }
}

/// A value on one line. A dollar is doubled: it would name a variable.
fn scalar(value: &Value) -> String {
    let Value::String(string) = value else {
        return value.to_string();
    };
    let is_plain = string.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '/')
        && string
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
        && !["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
            .contains(&string.to_lowercase().as_str());
    match is_plain {
        true => string.clone(),
        false => json!(string.replace('$', "$$")).to_string(),
    }
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
        assert_eq!(
            file("web", &body),
            "services:\n  web:\n    container_name: web\n    image: \"nginx:1\"\n    command:\n      - sh\n      - \"-c\"\n      - x\n    environment:\n      - \"A=$$B\"\n    labels:\n      a.b: c\n    volumes:\n      - \"data:/data\"\n      - \"/a:/b:ro\"\n    mem_limit: 1024\n    cpus: 0.5\n    ports:\n      - \"127.0.0.1:8080:80\"\n    restart: \"on-failure:3\"\n    networks:\n      - back\nnetworks:\n  back:\n    name: back\nvolumes:\n  data:\n    name: data\n"
        );
    }
}
