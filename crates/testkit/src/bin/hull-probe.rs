//! `hull-probe`: run inside a container, prints what it can do there, one `key: value` a line, sorted by key.
//!
//! System calls are tried with arguments that do nothing even where they are allowed, so the probe is harmless in a
//! privileged container, too. `denied` is EPERM, `absent` is ENOSYS, everything else is `reachable`: the kernel looked at
//! the arguments.
#![expect(
    unsafe_code,
    reason = "a probe asks for system calls by number, which no safe wrapper offers"
)]
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::collections::BTreeMap;
use std::{fs, io};

use libc::c_long;

type Facts = BTreeMap<String, String>;

fn main() {
    let mut facts = Facts::new();
    identity(&mut facts);
    descriptors(&mut facts);
    calls(&mut facts);
    sockets(&mut facts);
    files(&mut facts);
    mounts(&mut facts);
    devices(&mut facts);
    for (key, value) in facts {
        println!("{key}: {value}");
    }
}

/// Capabilities, seccomp and privileges as the kernel states them.
fn identity(facts: &mut Facts) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines() {
        let Some((name, value)) = line.split_once(":\t") else {
            continue;
        };
        if name.starts_with("Cap") || ["NoNewPrivs", "Seccomp"].contains(&name) {
            facts.insert(format!("status {name}"), value.to_owned());
        }
    }
}

fn descriptors(facts: &mut Facts) {
    let entries = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    // The directory being read is a descriptor of our own.
    let foreign =
        entries.filter(|entry| !fs::read_link(entry.path()).is_ok_and(|to| to.ends_with("fd")));
    let mut numbers: Vec<_> = foreign
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    numbers.sort();
    facts.insert("descriptors".into(), numbers.join(" "));
}

/// What the kernel says to a system call: `denied`, `absent` or `reachable`.
fn ask(number: c_long, arguments: [u64; 5]) -> String {
    let [first, second, third, fourth, fifth] = arguments;
    // SAFETY: the callers pass null, invalid or constant arguments only, so no memory of ours is read or written.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth) };
    let error = (result < 0)
        .then(io::Error::last_os_error)
        .and_then(|error| error.raw_os_error());
    match error {
        Some(libc::EPERM) => "denied",
        Some(libc::ENOSYS) => "absent",
        _ => "reachable",
    }
    .to_owned()
}

fn calls(facts: &mut Facts) {
    const BAD: u64 = u64::MAX;
    const WILD: u64 = 1;
    let table: [(&str, c_long, [u64; 5]); 28] = [
        ("acct", libc::SYS_acct, [WILD, 0, 0, 0, 0]),
        ("add_key", libc::SYS_add_key, [0; 5]),
        ("bpf", libc::SYS_bpf, [BAD, 0, 0, 0, 0]),
        ("clone3", libc::SYS_clone3, [0; 5]),
        ("finit_module", libc::SYS_finit_module, [BAD, 0, 0, 0, 0]),
        ("fsopen", libc::SYS_fsopen, [0; 5]),
        ("init_module", libc::SYS_init_module, [0; 5]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [0; 5]),
        ("kexec_load", libc::SYS_kexec_load, [0, 0, 0, BAD, 0]),
        ("keyctl", libc::SYS_keyctl, [9999, 0, 0, 0, 0]),
        ("mount", libc::SYS_mount, [0; 5]),
        ("move_pages", libc::SYS_move_pages, [BAD, 0, 0, 0, 0]),
        (
            "name_to_handle_at",
            libc::SYS_name_to_handle_at,
            [BAD, 0, 0, 0, 0],
        ),
        (
            "open_by_handle_at",
            libc::SYS_open_by_handle_at,
            [BAD, WILD, 0, 0, 0],
        ),
        ("open_tree", libc::SYS_open_tree, [BAD, 0, 0, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [0; 5]),
        ("pivot_root", libc::SYS_pivot_root, [0; 5]),
        ("process_vm_readv", libc::SYS_process_vm_readv, [0; 5]),
        ("quotactl", libc::SYS_quotactl, [BAD, 0, 0, 0, 0]),
        ("reboot", libc::SYS_reboot, [0; 5]),
        ("request_key", libc::SYS_request_key, [0; 5]),
        ("setns", libc::SYS_setns, [BAD, 0, 0, 0, 0]),
        ("settimeofday", libc::SYS_settimeofday, [WILD, 0, 0, 0, 0]),
        ("swapon", libc::SYS_swapon, [0; 5]),
        ("umount2", libc::SYS_umount2, [0; 5]),
        ("userfaultfd", libc::SYS_userfaultfd, [BAD, 0, 0, 0, 0]),
        (
            "unshare user",
            libc::SYS_unshare,
            [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0],
        ),
        (
            "unshare mount",
            libc::SYS_unshare,
            [libc::CLONE_NEWNS as u64, 0, 0, 0, 0],
        ),
    ];
    for (name, number, arguments) in table {
        facts.insert(format!("call {name}"), ask(number, arguments));
    }
}

fn sockets(facts: &mut Facts) {
    let stream = libc::SOCK_STREAM as u64;
    let packet = libc::SOCK_SEQPACKET as u64;
    let families = [
        ("inet", libc::AF_INET as u64, stream),
        ("unix", libc::AF_UNIX as u64, stream),
        ("netlink", libc::AF_NETLINK as u64, libc::SOCK_RAW as u64),
        ("raw", libc::AF_INET as u64, libc::SOCK_RAW as u64),
        ("vsock", libc::AF_VSOCK as u64, stream),
        ("alg", libc::AF_ALG as u64, packet),
        // The kernel takes 32 bits of the family; a filter that compares 64 lets this one through.
        (
            "alg with a high bit",
            (1 << 32) + libc::AF_ALG as u64,
            packet,
        ),
    ];
    for (name, family, kind) in families {
        facts.insert(
            format!("socket {name}"),
            ask(libc::SYS_socket, [family, kind, 0, 0, 0]),
        );
    }
}

fn files(facts: &mut Facts) {
    let written = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/sys/kernel/profiling",
        "/sys/fs/cgroup/cgroup.procs",
        "/etc/hostname",
    ];
    for path in written {
        // Opened for writing, never written.
        facts.insert(
            format!("write {path}"),
            outcome(fs::File::options().write(true).open(path)),
        );
    }
    for path in [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/latency_stats",
        "/proc/sched_debug",
    ] {
        let length = fs::File::open(path).and_then(|file| io::Read::read(&mut &file, &mut [0; 16]));
        facts.insert(
            format!("read {path}"),
            length.map_or_else(|error| word(&error), describe),
        );
    }
    for path in [
        "/proc/acpi",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ] {
        let count = fs::read_dir(path).map(Iterator::count);
        facts.insert(
            format!("list {path}"),
            count.map_or_else(|error| word(&error), describe),
        );
    }
}

fn describe(count: usize) -> String {
    if count == 0 {
        "empty".into()
    } else {
        "something".into()
    }
}

fn outcome<T>(result: io::Result<T>) -> String {
    result.map_or_else(|error| word(&error), |_| "allowed".into())
}

fn word(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "denied".into(),
        Some(libc::EROFS) => "read-only".into(),
        Some(libc::ENOENT) => "not there".into(),
        _ => error.to_string(),
    }
}

fn mounts(facts: &mut Facts) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in table.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let point = fields[4];
        if [
            "/proc",
            "/sys",
            "/dev",
            "/dev/shm",
            "/dev/mqueue",
            "/dev/pts",
            "/sys/fs/cgroup",
        ]
        .contains(&point)
        {
            let options = fields[5]
                .split(',')
                .filter(|option| !option.contains("atime"));
            facts.insert(
                format!("mount {point}"),
                options.collect::<Vec<_>>().join(","),
            );
        }
    }
}

fn devices(facts: &mut Facts) {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    facts.insert("devices".into(), names.join(" "));
    let path = std::path::Path::new("/tmp/probe-disk");
    let kind = rustix::fs::FileType::BlockDevice;
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        kind,
        mode,
        rustix::fs::makedev(254, 0),
    );
    facts.insert(
        "make a disk node".into(),
        outcome(made.map_err(io::Error::from)),
    );
    if made.is_ok() {
        facts.insert("open a disk node".into(), outcome(fs::File::open(path)));
        // Left behind, it would only be a file in the container's own layer.
        let _ = fs::remove_file(path);
    }
}
