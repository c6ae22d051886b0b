//! Specs: read, and an example to begin with.

use std::{fs, path::Path};

use hull_oci::runtime::Spec;
use serde_json::{Value, json};

/// The spec in a file, its bytes, and the capabilities in it that nobody knows (they are left out).
pub(super) fn load(path: &Path) -> Result<(Spec, Vec<u8>, Vec<String>), String> {
    let failed = |what: &str| format!("{}: {what}", path.display());
    let bytes = fs::read(path).map_err(|error| failed(&error.to_string()))?;
    let (spec, unknown) = parse(&bytes).map_err(|error| failed(&error))?;
    Ok((spec, bytes, unknown))
}

fn parse(bytes: &[u8]) -> Result<(Spec, Vec<String>), String> {
    let error = match serde_json::from_slice(bytes) {
        Ok(spec) => return Ok((spec, Vec::new())),
        Err(error) => error.to_string(),
    };
    // A newer kernel's capability is no reason to refuse the container.
    let mut value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let unknown = value
        .get_mut("process")
        .map(drop_unknown)
        .unwrap_or_default();
    if unknown.is_empty() {
        return Err(error);
    }
    serde_json::from_value(value)
        .map(|spec| (spec, unknown))
        .map_err(|error| error.to_string())
}

/// Takes unknown capabilities out of a process.
pub(super) fn drop_unknown(process: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let sets = process
        .get_mut("capabilities")
        .and_then(Value::as_object_mut);
    for set in sets.into_iter().flat_map(|sets| sets.values_mut()) {
        if let Some(list) = set.as_array_mut() {
            list.retain(|name| {
                let name = name.as_str().unwrap_or_default();
                let known = hull_sys::capability::Capability::from_name(name).is_some();
                if !known && !unknown.iter().any(|other| other == name) {
                    unknown.push(name.to_owned());
                }
                known
            });
        }
    }
    unknown
}

/// What `spec` writes: a shell in namespaces of its own.
pub(super) fn example(rootless: bool) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut namespaces: Vec<Value> = ["pid", "network", "ipc", "uts", "mount", "cgroup"]
        .iter()
        .filter(|kind| !(rootless && **kind == "network"))
        .map(|kind| json!({ "type": kind }))
        .collect();
    let mut linux = json!({
        "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
        "maskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
            "/proc/scsi"
        ],
        "readonlyPaths": [
            "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
        ]
    });
    if rootless {
        namespaces.push(json!({ "type": "user" }));
        let user = rustix::process::getuid().as_raw();
        let group = rustix::process::getgid().as_raw();
        linux["uidMappings"] = json!([{ "containerID": 0, "hostID": user, "size": 1 }]);
        linux["gidMappings"] = json!([{ "containerID": 0, "hostID": group, "size": 1 }]);
        linux["resources"] = json!({});
    }
    linux["namespaces"] = Value::Array(namespaces);
    json!({
        "ociVersion": "1.3.0",
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm"
            ],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "hull",
        "mounts": mounts(rootless),
        "linux": linux
    })
}

fn mounts(rootless: bool) -> Value {
    let group = if rootless { "" } else { "gid=5" };
    let pts: Vec<_> = [
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
        group,
    ]
    .into_iter()
    .filter(|option| !option.is_empty())
    .collect();
    let sys = match rootless {
        true => json!({ "destination": "/sys", "type": "none", "source": "/sys",
            "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] }),
        false => json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"] }),
    };
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": pts },
        { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
        { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"] },
        sys,
        { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_specs() {
        for rootless in [false, true] {
            serde_json::from_value::<Spec>(example(rootless)).unwrap();
        }
    }

    #[test]
    fn unknown_capabilities_are_left_out_and_told() {
        let mut value = example(false);
        let list = value["process"]["capabilities"]["bounding"]
            .as_array_mut()
            .unwrap();
        list.push(json!("CAP_TIME_TRAVEL"));
        let (spec, unknown) = parse(value.to_string().as_bytes()).unwrap();
        assert_eq!(unknown, ["CAP_TIME_TRAVEL"]);
        assert!(spec.process().is_some());
    }
}
