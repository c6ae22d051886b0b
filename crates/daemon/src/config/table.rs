//! Every option of the daemon, once.

use std::fmt::Write as _;

/// The kind of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Yes or no.
    Switch,
    /// A whole number.
    Number,
    /// Text.
    Text,
    /// Bytes: `64m` or a number.
    Size,
    /// Texts; the flag may be given several times.
    List,
    /// Name to text.
    Map,
    /// Name to yes or no.
    Switches,
    /// Name to `{path, runtimeArgs}`.
    Runtimes,
    /// Network driver to its options.
    NetworkOptions,
    /// `{base, size}`, several.
    Pools,
    /// Name to `{Name, Soft, Hard}`.
    Limits,
    /// An object that is looked at elsewhere.
    Object,
}

/// Whether an option does anything here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It does what it says.
    Works,
    /// It is taken so that Docker's units and files work unchanged, and means nothing here.
    Nothing,
}

/// An option.
#[derive(Debug)]
pub(super) struct Row {
    /// Without dashes; empty: in the file only.
    pub(super) flag: &'static str,
    /// One letter.
    pub(super) short: Option<char>,
    /// In the file; empty: on the command line only.
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    pub(super) effect: Effect,
    pub(super) help: &'static str,
}

const fn row(
    flag: &'static str,
    key: &'static str,
    kind: Kind,
    effect: Effect,
    help: &'static str,
) -> Row {
    Row {
        flag,
        short: None,
        key,
        kind,
        effect,
        help,
    }
}

const fn short(letter: char, row: Row) -> Row {
    Row {
        short: Some(letter),
        ..row
    }
}

use Effect::{Nothing, Works};
use Kind::{
    Limits, List, Map, NetworkOptions, Number, Object, Pools, Runtimes, Size, Switch, Switches,
    Text,
};

/// The keys below `proxies` in the file.
pub(super) const PROXIES: [&str; 3] = ["http-proxy", "https-proxy", "no-proxy"];

#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    row("add-runtime", "runtimes", Runtimes, Works, "Register an additional OCI runtime"),
    row("allow-direct-routing", "allow-direct-routing", Switch, Nothing, "Allow remote access to published ports on container addresses"),
    row("authorization-plugin", "authorization-plugins", List, Works, "Authorization plugins to load"),
    row("bip", "bip", Text, Works, "IPv4 address of the default bridge"),
    row("bip6", "bip6", Text, Works, "IPv6 address of the default bridge"),
    short('b', row("bridge", "bridge", Text, Works, "Attach containers to a network bridge")),
    row("bridge-accept-fwmark", "bridge-accept-fwmark", Text, Nothing, "Packet mark accepted by bridge networks"),
    row("cdi-spec-dir", "cdi-spec-dirs", List, Works, "CDI specification directories to use"),
    row("cgroup-parent", "cgroup-parent", Text, Works, "Set parent cgroup for all containers"),
    row("config-file", "", Text, Works, "Daemon configuration file"),
    row("containerd", "containerd", Text, Nothing, "containerd grpc address"),
    row("containerd-namespace", "containerd-namespace", Text, Nothing, "Containerd namespace to use"),
    row("containerd-plugins-namespace", "containerd-plugin-namespace", Text, Nothing, "Containerd namespace to use for plugins"),
    row("cpu-rt-period", "cpu-rt-period", Number, Nothing, "Limit the CPU real-time period in microseconds"),
    row("cpu-rt-runtime", "cpu-rt-runtime", Number, Nothing, "Limit the CPU real-time runtime in microseconds"),
    row("cri-containerd", "cri-containerd", Switch, Nothing, "Start containerd with cri"),
    row("data-root", "data-root", Text, Works, "Root directory of persistent state"),
    short('D', row("debug", "debug", Switch, Works, "Enable debug mode")),
    row("default-address-pool", "default-address-pools", Pools, Works, "Default address pools for node specific local networks"),
    row("default-cgroupns-mode", "default-cgroupns-mode", Text, Works, "Default mode for containers cgroup namespace (\"host\" | \"private\")"),
    row("default-gateway", "default-gateway", Text, Works, "Default gateway IPv4 address for the default bridge network"),
    row("default-gateway-v6", "default-gateway-v6", Text, Works, "Default gateway IPv6 address for the default bridge network"),
    row("default-ipc-mode", "default-ipc-mode", Text, Works, "Default mode for containers ipc (\"shareable\" | \"private\")"),
    row("default-network-opt", "default-network-opts", NetworkOptions, Works, "Default network options"),
    row("default-runtime", "default-runtime", Text, Works, "Default OCI runtime for containers"),
    row("default-shm-size", "default-shm-size", Size, Works, "Default shm size for containers"),
    row("default-stop-timeout", "default-stop-timeout", Number, Works, "Default seconds to wait for containers to stop"),
    row("default-ulimit", "default-ulimits", Limits, Works, "Default ulimits for containers"),
    row("dns", "dns", List, Works, "DNS server to use"),
    row("dns-opt", "dns-opts", List, Works, "DNS options to use"),
    row("dns-search", "dns-search", List, Works, "DNS search domains to use"),
    row("exec-opt", "exec-opts", List, Works, "Runtime execution options"),
    row("exec-root", "exec-root", Text, Works, "Root directory for execution state files"),
    row("experimental", "experimental", Switch, Works, "Enable experimental features"),
    row("feature", "features", Switches, Nothing, "Enable feature in the daemon"),
    row("firewall-backend", "firewall-backend", Text, Works, "Firewall backend to use (nftables)"),
    row("firewall-mode", "firewall-mode", Text, Works, "Whether published ports obey the host's own INPUT rules (\"docker\" | \"input\")"),
    row("fixed-cidr", "fixed-cidr", Text, Works, "IPv4 subnet for the default bridge network"),
    row("fixed-cidr-v6", "fixed-cidr-v6", Text, Works, "IPv6 subnet for the default bridge network"),
    short('G', row("group", "group", Text, Works, "Group for the unix socket")),
    short('h', row("help", "", Switch, Works, "Print usage")),
    short('H', row("host", "hosts", List, Works, "Daemon socket(s) to connect to")),
    row("host-gateway-ip", "host-gateway-ips", List, Works, "IP address that host-gateway resolves to"),
    row("http-proxy", "http-proxy", Text, Works, "HTTP proxy URL to use for outgoing traffic"),
    row("https-proxy", "https-proxy", Text, Works, "HTTPS proxy URL to use for outgoing traffic"),
    row("no-proxy", "no-proxy", Text, Works, "Hosts for which no proxy is used"),
    row("icc", "icc", Switch, Works, "Enable inter-container communication for the default bridge network"),
    row("init", "init", Switch, Works, "Run an init in the container to forward signals and reap processes"),
    row("init-path", "init-path", Text, Nothing, "Path to the docker-init binary"),
    row("insecure-registry", "insecure-registries", List, Works, "Enable insecure registry communication"),
    row("ip", "ip", Text, Works, "Host IP for port publishing from the default bridge network"),
    row("ip-forward", "ip-forward", Switch, Works, "Enable IP forwarding"),
    row("ip-forward-no-drop", "ip-forward-no-drop", Switch, Nothing, "Do not set the filter-FORWARD policy to DROP"),
    row("ip-masq", "ip-masq", Switch, Works, "Enable IP masquerading for the default bridge network"),
    row("ip6tables", "ip6tables", Switch, Works, "Enable addition of IPv6 firewall rules"),
    row("iptables", "iptables", Switch, Works, "Enable addition of firewall rules"),
    row("ipv6", "ipv6", Switch, Works, "Enable IPv6 networking for the default bridge network"),
    row("label", "labels", List, Works, "Set key=value labels to the daemon"),
    row("live-restore", "live-restore", Switch, Nothing, "Containers always outlive the daemon here"),
    row("log-driver", "log-driver", Text, Works, "Default driver for container logs"),
    row("log-format", "log-format", Text, Works, "Set the logging format (\"text\"|\"json\")"),
    short('l', row("log-level", "log-level", Text, Works, "Set the logging level (\"debug\"|\"info\"|\"warn\"|\"error\"|\"fatal\")")),
    row("log-opt", "log-opts", Map, Works, "Default log driver options for containers"),
    row("max-concurrent-downloads", "max-concurrent-downloads", Number, Works, "Set the max concurrent downloads"),
    row("max-concurrent-uploads", "max-concurrent-uploads", Number, Works, "Set the max concurrent uploads"),
    row("max-download-attempts", "max-download-attempts", Number, Works, "Set the max download attempts for each pull"),
    row("metrics-addr", "metrics-addr", Text, Works, "Address and port to serve the metrics api on"),
    row("mtu", "mtu", Number, Works, "Set the MTU for the default bridge network"),
    row("network-control-plane-mtu", "network-control-plane-mtu", Number, Nothing, "Network control plane MTU"),
    row("network-diagnostic-port", "network-diagnostic-port", Number, Nothing, "TCP port of the network diagnostic server"),
    row("no-new-privileges", "no-new-privileges", Switch, Works, "Set no-new-privileges by default for new containers"),
    row("node-generic-resource", "node-generic-resources", List, Nothing, "Advertise user-defined resource"),
    row("nri-opts", "nri-opts", Object, Nothing, "Node Resource Interface configuration"),
    short('p', row("pidfile", "pidfile", Text, Works, "Path to use for daemon PID file")),
    row("raw-logs", "raw-logs", Switch, Works, "Full timestamps without colouring"),
    row("registry-mirror", "registry-mirrors", List, Works, "Preferred registry mirror"),
    short('r', row("restart", "", Switch, Nothing, "Restart containers (deprecated: use restart policies)")),
    row("rootless", "rootless", Switch, Nothing, "Enable rootless mode"),
    row("seccomp-profile", "seccomp-profile", Text, Works, "Path to seccomp profile, \"builtin\" or \"unconfined\""),
    row("selinux-enabled", "selinux-enabled", Switch, Nothing, "Enable selinux support"),
    row("shim", "", Text, Works, "Path to hull-shim (default: beside hulld)"),
    row("shutdown-timeout", "shutdown-timeout", Number, Works, "Set the default shutdown timeout"),
    row("storage-budget", "storage-budget", Size, Works, "Size images and disposable volumes may take: the least useful are let go beyond it"),
    short('s', row("storage-driver", "storage-driver", Text, Works, "Storage driver to use")),
    row("storage-opt", "storage-opts", List, Nothing, "Storage driver options"),
    row("swarm-default-advertise-addr", "swarm-default-advertise-addr", Text, Nothing, "Default address or interface for swarm advertised address"),
    row("tls", "tls", Switch, Works, "Use TLS; implied by --tlsverify"),
    row("tlscacert", "tlscacert", Text, Works, "Trust certs signed only by this CA"),
    row("tlscert", "tlscert", Text, Works, "Path to TLS certificate file"),
    row("tlskey", "tlskey", Text, Works, "Path to TLS key file"),
    row("tlsverify", "tlsverify", Switch, Works, "Use TLS and verify the remote"),
    row("userland-proxy", "userland-proxy", Switch, Works, "Use userland proxy for loopback traffic"),
    row("userland-proxy-path", "userland-proxy-path", Text, Nothing, "Path to the userland proxy binary"),
    row("userns-remap", "userns-remap", Text, Works, "User/Group setting for user namespaces"),
    row("validate", "", Switch, Works, "Validate daemon configuration and exit"),
    short('v', row("version", "", Switch, Works, "Print version information and quit")),
    row("volume-plugin-dir", "volume-plugin-dirs", List, Works, "Directories in which volume plugins are looked for"),
    row("volume-plugin-timeout", "volume-plugin-timeout", Number, Works, "Seconds a volume plugin may take to answer (default 60)"),
    row("", "swarm-raft-heartbeat-tick", Number, Nothing, ""),
    row("", "swarm-raft-election-tick", Number, Nothing, ""),
    row("", "min-api-version", Text, Works, ""),
    row("", "resolv-conf", Text, Nothing, ""),
    row("", "default-init", Text, Nothing, ""),
    row("", "deprecated-key-path", Text, Nothing, ""),
    row("", "allow-nondistributable-artifacts", List, Nothing, ""),
    row("", "builder", Object, Works, ""),
];

/// The option of a flag's name.
pub(super) fn by_flag(name: &str) -> Option<&'static Row> {
    TABLE
        .iter()
        .find(|row| !row.flag.is_empty() && row.flag == name)
}

/// The option of a flag's letter.
pub(super) fn by_letter(letter: char) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.short == Some(letter))
}

/// The option of a key of the file.
pub(super) fn by_key(key: &str) -> Option<&'static Row> {
    TABLE
        .iter()
        .find(|row| !row.key.is_empty() && row.key == key)
}

/// The text of `--help`.
pub(crate) fn help() -> String {
    let mut text = String::from("Usage:  hulld [OPTIONS]\n\nThe container daemon.\n\nOptions:\n");
    for row in TABLE.iter().filter(|row| !row.flag.is_empty()) {
        let letter = row
            .short
            .map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        let value = match row.kind {
            Switch => "",
            Number => "int",
            Size => "bytes",
            List | Pools => "list",
            Text => "string",
            Map | Switches | Runtimes | NetworkOptions | Limits | Object => "map",
        };
        let _ = writeln!(
            text,
            "  {letter}--{:<40}{}",
            format!("{} {value}", row.flag),
            row.help
        );
    }
    text
}
