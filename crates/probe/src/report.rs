//! Gathers the report from `/proc`, `/sys` and `/dev`.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Read,
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use serde_json::{Map, Value, json};

use crate::attempts;

/// Paths that a container must not be able to write to.
const WRITES: [&str; 9] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/vm/panic_on_oom",
    "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity",
    "/sys/kernel/uevent_helper",
    "/sys/fs/cgroup/cgroup.procs",
];

/// Paths that a container must not be able to read.
const HIDDEN: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const MOUNTS: [&str; 8] = [
    "/",
    "/proc",
    "/sys",
    "/dev",
    "/dev/pts",
    "/dev/shm",
    "/dev/mqueue",
    "/sys/fs/cgroup",
];

const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

pub(crate) fn report() -> Value {
    // First, before anything here opens files of its own.
    let descriptors = descriptors();
    let status = status();
    let number = |key: &str| status.get(key).and_then(|text| text.parse::<u64>().ok());
    let (made, opened) = attempts::disk();
    json!({
        "capabilities": {
            "effective": status.get("CapEff"),
            "permitted": status.get("CapPrm"),
            "inheritable": status.get("CapInh"),
            "bounding": status.get("CapBnd"),
            "ambient": status.get("CapAmb"),
        },
        "seccomp": number("Seccomp"),
        "no_new_privs": number("NoNewPrivs"),
        "pid": std::process::id(),
        "uids": status.get("Uid"),
        "gids": status.get("Gid"),
        "groups": status.get("Groups"),
        "fds": descriptors,
        "cwd": std::env::current_dir().map(|path| path.display().to_string()).ok(),
        "env": std::env::vars().collect::<BTreeMap<_, _>>(),
        "syscalls": attempts::all(),
        "namespaces": namespaces(),
        "mounts": mounts(),
        "writes": each(&WRITES, write),
        "hidden": each(&HIDDEN, hidden),
        "devices": devices(),
        "disk": { "mknod": made, "open": opened },
        "keyring": attempts::keyring(),
        "apparmor": line("/proc/1/attr/current"),
        "uid_map": line("/proc/self/uid_map"),
        "gid_map": line("/proc/self/gid_map"),
        "sysctls": each(&["ip_unprivileged_port_start", "ping_group_range"], |name| {
            line(&format!("/proc/sys/net/ipv4/{name}"))
        }),
        "abstract_sockets": abstract_sockets(),
        "oom_score_adj": line("/proc/self/oom_score_adj"),
    })
}

fn each(names: &[&str], find: impl Fn(&str) -> Value) -> Value {
    names
        .iter()
        .map(|name| ((*name).to_owned(), find(name)))
        .collect::<Map<_, _>>()
        .into()
}

fn status() -> BTreeMap<String, String> {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_owned(), words(value)))
        .collect()
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One line, blanks made one; `null` if it cannot be read.
fn line(path: &str) -> Value {
    fs::read(path).map_or(Value::Null, |bytes| {
        words(&String::from_utf8_lossy(&bytes)).into()
    })
}

/// Open ones, without the one that reads them.
fn descriptors() -> Vec<u32> {
    let entries = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut open: Vec<u32> = numbers.collect::<Vec<_>>();
    open.retain(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok());
    open.sort_unstable();
    open
}

fn namespaces() -> Value {
    each(&NAMESPACES, |name| {
        let link = fs::read_link(format!("/proc/self/ns/{name}"));
        link.map_or(Value::Null, |target| target.display().to_string().into())
    })
}

/// Flags of the mount on top of each path, sorted.
fn mounts() -> Value {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    each(&MOUNTS, |path| {
        let mut mounted = text.lines().filter_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            let kind = fields.iter().skip_while(|field| **field != "-").nth(1)?;
            (*fields.get(4)? == path).then(|| (fields[5].to_owned(), (*kind).to_owned()))
        });
        let Some((flags, kind)) = mounted.next_back() else {
            return Value::Null;
        };
        let mut flags: Vec<_> = flags
            .split(',')
            .filter(|flag| !flag.contains("atime"))
            .collect();
        flags.sort_unstable();
        json!({ "type": kind, "flags": flags.join(",") })
    })
}

/// Whether it could be opened for writing. Nothing is written.
fn write(path: &str) -> Value {
    let opened = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let code = opened
        .err()
        .map_or(0, |error| error.raw_os_error().unwrap_or(255));
    attempts::errno_name(code).into()
}

/// `absent`, `empty`, `readable`, or the error's name.
fn hidden(path: &str) -> Value {
    let failed =
        |error: &std::io::Error| attempts::errno_name(error.raw_os_error().unwrap_or(255)).into();
    let state = |is_empty| {
        if is_empty {
            "empty".into()
        } else {
            "readable".into()
        }
    };
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "absent".into(),
        Err(error) => failed(&error),
        Ok(found) if found.is_dir() => match fs::read_dir(path) {
            Ok(mut entries) => state(entries.next().is_none()),
            Err(error) => failed(&error),
        },
        Ok(_) => match File::open(path).and_then(|mut file| file.read(&mut [0; 16])) {
            Ok(bytes) => state(bytes == 0),
            Err(error) => failed(&error),
        },
    }
}

/// Nodes below `/dev`, without the terminals.
fn devices() -> Vec<String> {
    let mut found = Vec::new();
    collect(Path::new("/dev"), &mut found);
    found.sort();
    found
}

fn collect(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else {
            continue;
        };
        let name = path
            .strip_prefix("/dev")
            .unwrap_or(&path)
            .display()
            .to_string();
        if kind.is_dir() && name != "pts" {
            collect(&path, found);
        } else if kind.is_block_device() || kind.is_char_device() {
            found.push(name);
        }
    }
}

/// Names in the network namespace that belong to no file.
fn abstract_sockets() -> Vec<String> {
    let text = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let mut names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7))
        .filter(|name| name.starts_with('@'))
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}
