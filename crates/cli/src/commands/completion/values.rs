//! What flags may be given.

use super::names::Thing;
use super::{Directive, Next};

/// Platforms that images are made for.
const PLATFORMS: [&str; 13] = [
    "linux/386",
    "linux/amd64",
    "linux/arm",
    "linux/arm/v5",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64",
    "linux/arm64/v8",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "windows/amd64",
    "wasip1/wasm",
];

/// Capabilities without their `CAP_`, in the kernel's order.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Signals by name; those of real time are counted below.
const SIGNALS: [&str; 34] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

const ULIMITS: [&str; 19] = [
    "as=",
    "chroot=",
    "core=",
    "cpu=",
    "data=",
    "fsize=",
    "locks=",
    "maxlogins=",
    "maxsyslogins=",
    "memlock=",
    "msgqueue=",
    "nice=",
    "nofile=",
    "nproc=",
    "priority=",
    "rss=",
    "rtprio=",
    "sigpending=",
    "stack=",
];

/// Options of every log driver, and of those that name what is logged.
const LOG_ALWAYS: [&str; 2] = ["max-buffer-size=", "mode="];
const LOG_NAMING: [&str; 3] = ["env=", "env-regex=", "labels="];
/// Options of one driver, and whether it takes the naming ones and `tag`.
const LOG_OPTIONS: [(&str, bool, &[&str]); 9] = [
    (
        "awslogs",
        false,
        &[
            "awslogs-create-group=",
            "awslogs-credentials-endpoint=",
            "awslogs-datetime-format=",
            "awslogs-group=",
            "awslogs-multiline-pattern=",
            "awslogs-region=",
            "awslogs-stream=",
            "tag=",
        ],
    ),
    (
        "fluentd",
        true,
        &[
            "fluentd-address=",
            "fluentd-async=",
            "fluentd-buffer-limit=",
            "fluentd-request-ack=",
            "fluentd-retry-wait=",
            "fluentd-max-retries=",
            "fluentd-sub-second-precision=",
            "fluentd-write-timeout=",
            "tag=",
        ],
    ),
    (
        "gcplogs",
        true,
        &[
            "gcp-log-cmd=",
            "gcp-meta-id=",
            "gcp-meta-name=",
            "gcp-meta-zone=",
            "gcp-project=",
        ],
    ),
    (
        "gelf",
        true,
        &[
            "gelf-address=",
            "gelf-compression-level=",
            "gelf-compression-type=",
            "gelf-tcp-max-reconnect=",
            "gelf-tcp-reconnect-delay=",
            "tag=",
        ],
    ),
    ("journald", true, &["tag="]),
    ("json-file", true, &["compress=", "max-file=", "max-size="]),
    ("local", false, &["compress=", "max-file=", "max-size="]),
    (
        "splunk",
        true,
        &[
            "splunk-caname=",
            "splunk-capath=",
            "splunk-format=",
            "splunk-gzip=",
            "splunk-gzip-level=",
            "splunk-index=",
            "splunk-insecureskipverify=",
            "splunk-source=",
            "splunk-sourcetype=",
            "splunk-token=",
            "splunk-url=",
            "splunk-verify-connection=",
            "tag=",
        ],
    ),
    (
        "syslog",
        true,
        &[
            "syslog-address=",
            "syslog-facility=",
            "syslog-format=",
            "syslog-tls-ca-cert=",
            "syslog-tls-cert=",
            "syslog-tls-key=",
            "syslog-tls-skip-verify=",
            "tag=",
        ],
    ),
];

const EVENT_TYPES: [&str; 11] = [
    "builder",
    "config",
    "container",
    "daemon",
    "image",
    "network",
    "node",
    "plugin",
    "secret",
    "service",
    "volume",
];

const EVENTS: [&str; 44] = [
    "create",
    "start",
    "restart",
    "stop",
    "checkpoint",
    "pause",
    "unpause",
    "attach",
    "detach",
    "resize",
    "update",
    "rename",
    "kill",
    "die",
    "oom",
    "destroy",
    "remove",
    "commit",
    "top",
    "copy",
    "archive-path",
    "extract-to-dir",
    "export",
    "import",
    "save",
    "load",
    "tag",
    "untag",
    "push",
    "pull",
    "prune",
    "delete",
    "enable",
    "disable",
    "connect",
    "disconnect",
    "reload",
    "mount",
    "unmount",
    "exec_create",
    "exec_start",
    "exec_die",
    "exec_detach",
    "health_status",
];

/// The keys of a command's `--filter`; none where it has no such flag.
fn filter_keys(command: &str) -> &'static [&'static str] {
    match command {
        "container ls" => &[
            "ancestor=",
            "before=",
            "expose=",
            "exited=",
            "health=",
            "id=",
            "is-task=",
            "label=",
            "name=",
            "network=",
            "publish=",
            "since=",
            "status=",
            "volume=",
        ],
        "image ls" => &[
            "before=",
            "dangling=",
            "label=",
            "reference=",
            "since=",
            "until=",
        ],
        "network ls" => &[
            "dangling=",
            "driver=",
            "id=",
            "label=",
            "name=",
            "scope=",
            "type=",
        ],
        "volume ls" => &["dangling=", "driver=", "label=", "name="],
        "system events" => &[
            "container=",
            "daemon=",
            "event=",
            "image=",
            "label=",
            "network=",
            "node=",
            "scope=",
            "type=",
            "volume=",
        ],
        "search" => &["is-automated=", "is-official=", "stars="],
        "image prune" => &["dangling=", "label=", "label!=", "until="],
        "volume prune" => &["all=", "label=", "label!="],
        "container prune" | "network prune" | "system prune" => &["label=", "label!=", "until="],
        "builder prune" => &["id=", "parent=", "private=", "shared=", "type=", "until="],
        _ => &[],
    }
}

/// What a key of a command's `--filter` may be; the daemon's names come after the key.
fn filter_values(command: &str, key: &str) -> Next {
    match (command, key) {
        ("container ls", "status") => Next::words([
            "created",
            "restarting",
            "running",
            "removing",
            "paused",
            "exited",
            "dead",
        ]),
        ("container ls", "health") => Next::words(["starting", "healthy", "unhealthy", "none"]),
        ("container ls", "ancestor") | ("image ls", "before" | "since" | "reference") => {
            Next::things(Thing::Image)
        }
        ("container ls", "before" | "since") => Next::things(Thing::Container),
        ("network ls", "type") => Next::words(["builtin", "custom"]),
        ("network ls", "driver") => {
            Next::words(["bridge", "host", "ipvlan", "macvlan", "null", "overlay"])
        }
        ("network ls", "scope") => Next::words(["global", "local", "swarm"]),
        ("network ls", "name") => Next::things(Thing::Network),
        ("volume ls", "driver") => Next::things(Thing::VolumeDriver),
        ("system events", "type") => Next::words(EVENT_TYPES),
        ("system events", "event") => Next::words(EVENTS),
        ("system events", "scope") => Next::words(["local", "swarm"]),
        ("system events", "image") => Next::things(Thing::Image),
        ("system events", "daemon") => Next::things(Thing::Daemon),
        ("system events", "container") | ("container ls", "name") => Next::things(Thing::Container),
        ("container ls" | "system events", "network") => Next::things(Thing::Network),
        ("container ls" | "system events", "volume") | ("volume ls", "name") => {
            Next::things(Thing::Volume)
        }
        (
            _,
            "dangling" | "is-task" | "is-official" | "is-automated" | "all" | "private" | "shared",
        ) => Next::words(["true", "false"]),
        _ => Next::words([""; 0]),
    }
}

/// What of `--filter` may be: a key, or what its key may be.
fn filter(command: &str, part: &str) -> Next {
    match part.split_once('=') {
        Some((key, _)) => filter_values(command, key).after(&format!("{key}=")),
        None => Next::words(filter_keys(command)).open(),
    }
}

/// What a flag of a command (by its full name) may be given. `driver` is the log driver that was chosen before.
pub(super) fn of(command: &str, flag: &str, part: &str, driver: Option<&str>) -> Next {
    let makes_containers = matches!(command, "container run" | "container create");
    match flag {
        "filter" => filter(command, part),
        "network" | "net" if command.ends_with("build") => Next::words(["default", "host", "none"]),
        "network" | "net" => Next::things(Thing::NetworkMode),
        "log-level" => Next::words(["debug", "info", "warn", "error", "fatal", "panic"]),
        "volumes-from" | "like" => Next::things(Thing::Container),
        "link" if makes_containers => Next::things(Thing::Container).followed(":"),
        "link" => Next::things(Thing::Container),
        "volume" => Next::things(Thing::Volume),
        "volume-driver" => Next::things(Thing::VolumeDriver),
        "log-driver" => Next::things(Thing::LogDriver),
        "log-opt" if driver.is_some() => Next::words(log_options(driver)).with(Directive::KEYS),
        "log-opt" => Next::words(log_options(driver)).open(),
        "runtime" => Next::things(Thing::Runtime),
        "image" => Next::things(Thing::Image),
        "context" | "from" => Next::things(Thing::Context),
        "restart" => Next::words(["no", "always", "on-failure", "unless-stopped"]),
        "pull" => Next::words(["always", "missing", "never"]),
        "platform" => Next::words(PLATFORMS),
        "pid" => namespace(part, &["host"]),
        "ipc" => namespace(part, &["host", "none", "private", "shareable"]),
        "uts" | "userns" => Next::words(["host"]),
        "cgroupns" => Next::words(["host", "private"]),
        "security-opt" if makes_containers => security(part),
        "ulimit" if makes_containers => Next::words(ULIMITS).open(),
        "storage-opt" if makes_containers => Next::words(["size="]).open(),
        "attach" => Next::words(["stderr", "stdin", "stdout"]),
        "detach-keys" => Next::words(["ctrl-"]).open(),
        "env" => Next::words(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())),
        "format" => Next::words(["json", "table"]),
        "type" if command == "inspect" => Next::words([
            "config",
            "container",
            "image",
            "network",
            "node",
            "plugin",
            "secret",
            "service",
            "task",
            "volume",
        ]),
        "signal" | "stop-signal" => Next::words(signals()),
        "cap-add" | "cap-drop" => Next::words(capabilities(part)),
        "progress" => Next::words(["auto", "plain", "quiet", "rawjson", "tty"]),
        // Of containers nothing but these is a file.
        _ if makes_containers && !matches!(flag, "env-file" | "label-file" | "cidfile") => {
            Next::words([""; 0])
        }
        _ => Next::words([""; 0]).with(Directive::FILES),
    }
}

/// Another container's, or one of `modes`.
fn namespace(part: &str, modes: &[&str]) -> Next {
    match part.starts_with("container:") {
        true => Next::things(Thing::Container).after("container:"),
        false => Next::words(["container:"].iter().chain(modes)),
    }
}

fn security(part: &str) -> Next {
    match part.split_once('=') {
        Some(("seccomp", _)) => Next::words(["seccomp=unconfined"]),
        Some(("label", _)) => Next::words([
            "label=disable",
            "label=level:",
            "label=role:",
            "label=type:",
            "label=user:",
        ])
        .with(Directive::KEYS),
        _ => Next::words([
            "apparmor=",
            "label=",
            "no-new-privileges",
            "seccomp=",
            "systempaths=unconfined",
        ]),
    }
}

fn signals() -> Vec<String> {
    let real_time = ["RTMIN", "RTMAX"].map(str::to_owned);
    let after = (1..=15).map(|number| format!("RTMIN+{number}"));
    let before = (1..=14).map(|number| format!("RTMAX-{number}"));
    SIGNALS
        .iter()
        .map(|&name| name.to_owned())
        .chain(real_time)
        .chain(after)
        .chain(before)
        .collect()
}

/// With the kernel's prefix, unless one is being typed without.
fn capabilities(part: &str) -> Vec<String> {
    let is_whole = "CAP_".starts_with(part) || part.starts_with("CAP_");
    let prefix = if is_whole { "CAP_" } else { "" };
    let names = CAPABILITIES.iter().map(|name| format!("{prefix}{name}"));
    ["ALL".to_owned()].into_iter().chain(names).collect()
}

/// The options of a log driver, or of all.
fn log_options(driver: Option<&str>) -> Vec<&'static str> {
    let known = LOG_OPTIONS
        .iter()
        .filter(|(name, ..)| driver.is_none_or(|driver| driver == *name));
    let known: Vec<_> = known.collect();
    if driver.is_some() && known.is_empty() {
        return Vec::new();
    }
    let mut options = LOG_ALWAYS.to_vec();
    if known.iter().any(|(_, names, _)| *names) {
        options.extend(LOG_NAMING);
    }
    for option in known.iter().flat_map(|(.., own)| own.iter()) {
        if !options.contains(option) {
            options.push(option);
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(command: &str, flag: &str, part: &str) -> Vec<String> {
        let words = of(command, flag, part, None).words;
        words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn keys_of_filters_are_those_of_the_command() {
        assert!(texts("volume ls", "filter", "").contains(&"driver=".to_owned()));
        assert!(!texts("volume ls", "filter", "").contains(&"status=".to_owned()));
        assert_eq!(
            texts("network ls", "filter", "type="),
            ["builtin", "custom"]
        );
        let next = of("container ls", "filter", "ancestor=b", None);
        assert_eq!(
            (next.things, &*next.before),
            (Some(Thing::Image), "ancestor=")
        );
    }

    #[test]
    fn a_capability_may_be_begun_without_its_prefix() {
        assert!(texts("container run", "cap-add", "").contains(&"CAP_NET_ADMIN".to_owned()));
        assert!(texts("container run", "cap-add", "NET").contains(&"NET_ADMIN".to_owned()));
    }

    #[test]
    fn options_of_logs_are_those_of_the_driver() {
        assert_eq!(
            log_options(Some("local")),
            [
                "max-buffer-size=",
                "mode=",
                "compress=",
                "max-file=",
                "max-size="
            ]
        );
        assert!(log_options(Some("none")).is_empty());
        assert!(log_options(None).contains(&"gelf-address="));
    }

    #[test]
    fn all_sixty_five_signals_are_there() {
        assert_eq!(signals().len(), 65);
    }
}
