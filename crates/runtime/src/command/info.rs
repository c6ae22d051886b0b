//! Verbs that only look.

use std::{fmt::Write, fs, path::Path, thread, time::Duration};

use hull_oci::runtime::{LinuxNamespaceType, Spec};
use hull_sys::files;
use serde_json::{Value, json};

use super::{
    Global,
    args::{Args, Flag, NONE},
    print, spec as example,
    state::{Container, Status, all},
    text,
};

/// Whether the container has no pid namespace of its own.
pub(super) fn shares_pids(spec: &Spec) -> bool {
    let list = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.namespaces().as_ref());
    !list
        .into_iter()
        .flatten()
        .any(|namespace| namespace.typ() == LinuxNamespaceType::Pid && namespace.path().is_none())
}

fn describe(container: &Container) -> Result<Value, String> {
    let record = &container.record;
    let status = container.status()?;
    let mut value = json!({
        "ociVersion": container.spec.version(),
        "id": record.id,
        "pid": if status == Status::Stopped { 0 } else { record.pid },
        "status": status.name(),
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "owner": if record.owner == 0 { "" } else { "user" },
    });
    if let Some(annotations) = container.spec.annotations() {
        value["annotations"] = json!(annotations);
    }
    Ok(value)
}

fn pretty(value: &Value) -> Result<String, String> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(text)
}

pub(super) fn state(global: &Global, rest: &[String]) -> Result<(), String> {
    let args = Args::parse_mixed(&[], rest)?;
    let container = Container::load(&global.root, args.id()?)?;
    print(&pretty(&describe(&container)?)?);
    Ok(())
}

pub(super) fn list(global: &Global, rest: &[String]) -> Result<(), String> {
    let args = Args::parse_mixed(&[("format", 'f', true), ("quiet", 'q', false)], rest)?;
    let containers = all(&global.root);
    if args.has("quiet") {
        containers
            .iter()
            .for_each(|container| print(&format!("{}\n", container.record.id)));
        return Ok(());
    }
    let values = containers
        .iter()
        .map(describe)
        .collect::<Result<Vec<_>, _>>()?;
    match args.value("format").unwrap_or("table") {
        "json" => print(&format!("{}\n", Value::Array(values))),
        "table" => {
            let mut rows =
                vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(String::from)];
            for (value, container) in values.iter().zip(&containers) {
                let column = |key: &str| match &value[key] {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let owner = format!("#{}", container.record.owner);
                rows.push(
                    ["id", "pid", "status", "bundle", "created"]
                        .map(column)
                        .into_iter()
                        .chain([owner])
                        .collect::<Vec<_>>()
                        .try_into()
                        .map_err(|_| "six columns")?,
                );
            }
            print(&table(&rows));
        }
        other => return Err(format!("invalid format option: {other}")),
    }
    Ok(())
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}   ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

pub(super) fn ps(global: &Global, rest: &[String]) -> Result<(), String> {
    let args = Args::parse_mixed(&[("format", 'f', true)], rest)?;
    let container = Container::load(&global.root, args.id()?)?;
    let pids = container.cgroup()?.processes().map_err(text)?;
    match args.value("format").unwrap_or("table") {
        "json" => print(&format!("{}\n", json!(pids))),
        "table" => {
            let mut rows = vec![["UID", "PID", "PPID", "CMD"].map(String::from)];
            rows.extend(pids.iter().filter_map(|pid| process_row(*pid)));
            print(&table(&rows));
        }
        other => return Err(format!("invalid format option: {other}")),
    }
    Ok(())
}

fn process_row(pid: i32) -> Option<[String; 4]> {
    let read = |file: &str| files::read_text(Path::new(&format!("/proc/{pid}/{file}"))).ok();
    let status = read("status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    let command = read("cmdline")?.trim_end_matches('\0').replace('\0', " ");
    let command = if command.is_empty() {
        format!("[{}]", field("Name:")?)
    } else {
        command
    };
    Some([field("Uid:")?, pid.to_string(), field("PPid:")?, command])
}

const EVENTS: [Flag; 2] = [("stats", NONE, false), ("interval", NONE, true)];

/// Go's duration: `5s`, `500ms`, `1m`.
fn interval(text: &str) -> Option<Duration> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok().filter(|number| *number > 0)?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" | "" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number * 60)),
        _ => None,
    }
}

pub(super) fn events(global: &Global, rest: &[String]) -> Result<(), String> {
    let args = Args::parse_mixed(&EVENTS, rest)?;
    let id = args.id()?;
    let pause = interval(args.value("interval").unwrap_or("5s"));
    let pause = pause.ok_or("the interval must be more than nothing, as in 5s")?;
    let container = Container::load(&global.root, id)?;
    let cgroup = container.cgroup()?;
    let mut kills = 0;
    loop {
        if container.status()? == Status::Stopped {
            return if args.has("stats") {
                Err("container is not running".into())
            } else {
                Ok(())
            };
        }
        let stats = cgroup.stats().map_err(text)?;
        if stats.memory.out_of_memory_kills > kills {
            kills = stats.memory.out_of_memory_kills;
            print(&format!("{}\n", json!({ "type": "oom", "id": id })));
        }
        print(&format!(
            "{}\n",
            json!({ "type": "stats", "id": id, "data": shaped(&stats) })
        ));
        if args.has("stats") {
            return Ok(());
        }
        thread::sleep(pause);
    }
}

/// In runc's words.
fn shaped(stats: &hull_runtime::Stats) -> Value {
    let (cpu, memory) = (&stats.cpu, &stats.memory);
    let entries = |list: &[hull_runtime::cgroup::BlockIoEntry]| json!(list);
    json!({
        "cpu": {
            "usage": {
                "total": cpu.total, "percpu": cpu.per_processor,
                "kernel": cpu.kernel, "user": cpu.user,
            },
            "throttling": {
                "periods": cpu.periods, "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled_time,
            },
        },
        "memory": {
            "cache": memory.stats.get("cache").or(memory.stats.get("file")).copied().unwrap_or(0),
            "usage": {
                "limit": memory.limit, "usage": memory.usage, "max": memory.max_usage,
                "failcnt": memory.failures,
            },
            "swap": {
                "limit": memory.swap_limit, "usage": memory.swap_usage, "max": 0, "failcnt": 0,
            },
            "kernel": { "usage": memory.kernel_usage, "max": 0, "failcnt": 0 },
            "raw": memory.stats,
        },
        "pids": { "current": stats.pids.current, "limit": stats.pids.limit },
        "blkio": {
            "ioServiceBytesRecursive": entries(&stats.blkio.bytes),
            "ioServicedRecursive": entries(&stats.blkio.operations),
        },
        "hugetlb": stats.hugetlb,
    })
}

pub(super) fn spec(rest: &[String]) -> Result<(), String> {
    let args = Args::parse_mixed(&[("bundle", 'b', true), ("rootless", NONE, false)], rest)?;
    let path = Path::new(args.value("bundle").unwrap_or(".")).join("config.json");
    if path.exists() {
        return Err(format!("file {} exists. Remove it first", path.display()));
    }
    let text = pretty(&example::example(args.has("rootless")))?;
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

const MOUNT_OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

pub(super) fn features() -> Result<(), String> {
    let capabilities: Vec<_> = hull_sys::capability::supported()
        .iter()
        .map(|capability| capability.name())
        .collect();
    let value = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": [
            "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"
        ],
        "mountOptions": MOUNT_OPTIONS,
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE",
                    "SCMP_ACT_TRAP"
                ],
                "archs": [
                    "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_LOONGARCH64",
                    "SCMP_ARCH_RISCV64", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"
                ],
                "knownFlags": [
                    "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                    "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
                ],
                "supportedFlags": [
                    "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                    "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
                ]
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": false },
            "memoryPolicy": { "enabled": true },
            "netDevices": { "enabled": true },
            "mountExtensions": { "idmap": { "enabled": true } }
        }
    });
    print(&pretty(&value)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_durations_of_go() {
        assert_eq!(interval("5s"), Some(Duration::from_secs(5)));
        assert_eq!(interval("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(interval("0s"), None);
        assert_eq!(interval("5h"), None);
    }
}
