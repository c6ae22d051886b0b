//! What the daemon's configuration means for the engine.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use hull_engine::config::{EngineConfig, Runtime};
use hull_network::{AddressPool, ResolverProgram};

use crate::config::{Config, ConfigError, Endpoint};

/// The program that keeps a container, beside the daemon's own.
const SHIM: &str = "hull-shim";

/// The program that answers for names, beside it.
const RESOLVER: &str = "hull-resolver";

/// What the configuration means for the engine.
pub(crate) fn of(config: &Config, shim: Option<PathBuf>) -> Result<EngineConfig, ConfigError> {
    let runtimes = config.runtimes.iter().map(|(name, (path, args))| {
        (
            name.clone(),
            Runtime {
                path: path.clone(),
                args: args.clone(),
            },
        )
    });
    let runtimes: std::collections::BTreeMap<_, _> = runtimes.collect();
    let default_runtime = match config.default_runtime.as_str() {
        "" => "hull".to_owned(),
        name => name.to_owned(),
    };
    if !["hull", "runc"].contains(&default_runtime.as_str())
        && !runtimes.contains_key(&default_runtime)
    {
        return Err(ConfigError::Value(format!(
            "specified default runtime '{default_runtime}' does not exist"
        )));
    }
    Ok(EngineConfig {
        data_root: config.data_root.clone(),
        exec_root: config.exec_root.clone(),
        shim: shim.map_or_else(shim_beside, Ok)?,
        network: hull_network::Config {
            resolver: Some(resolver(config)?),
            user_namespaces: user_namespaces(config).map_err(ConfigError::Value)?,
            ..network(config).map_err(ConfigError::Value)?
        },
        registries: crate::convert::registry::settings(config),
        runtimes,
        default_runtime,
        log: config.log.clone(),
        ulimits: config.ulimits.clone(),
        shm_size: config.shm_size,
        init: config.switch("init", false),
        cgroup_parent: config.text("cgroup-parent").unwrap_or_default().to_owned(),
        cgroup_namespace: config.cgroup_namespace,
        ipc: config.ipc.clone(),
        no_new_privileges: config.switch("no-new-privileges", false),
        seccomp_profile: config.seccomp_profile.clone(),
        dns: config.dns.clone(),
        dns_search: config.list("dns-search"),
        dns_options: config.list("dns-opts"),
        host_gateway: config.host_gateway.clone(),
        cdi_directories: config.cdi_directories(),
        storage_budget: config.storage_budget,
        build_cache: config.build_cache.clone(),
        labels: config.labels.clone(),
        plugins: plugin_directories(config),
        plugin_answers_within: plugin_timeout(config)?,
        shutdown_timeout: config.shutdown_timeout,
    })
}

/// How long a volume plugin may take to do something, in seconds, when nobody says otherwise: file
/// servers are slow, but a container must not wait for ever.
const PLUGIN_TIMEOUT_S: i64 = 60;

fn plugin_directories(config: &Config) -> hull_engine::config::PluginDirectories {
    let own = config.list("volume-plugin-dirs");
    match own.is_empty() {
        true => Default::default(),
        false => {
            hull_engine::config::PluginDirectories(own.into_iter().map(PathBuf::from).collect())
        }
    }
}

fn plugin_timeout(config: &Config) -> Result<std::time::Duration, ConfigError> {
    let seconds = config
        .number("volume-plugin-timeout")
        .unwrap_or(PLUGIN_TIMEOUT_S);
    match u64::try_from(seconds) {
        Ok(seconds @ 1..) => Ok(std::time::Duration::from_secs(seconds)),
        _ => Err(ConfigError::Value(format!(
            "invalid volume-plugin-timeout: {seconds}: a number of seconds, at least 1"
        ))),
    }
}

fn shim_beside() -> Result<PathBuf, ConfigError> {
    let own = std::env::current_exe().map_err(|error| {
        ConfigError::Value(format!("cannot find the daemon's own file: {error}"))
    })?;
    Ok(own.with_file_name(SHIM))
}

/// The program that answers containers' questions for names, and where it is found again.
fn resolver(config: &Config) -> Result<ResolverProgram, ConfigError> {
    Ok(ResolverProgram {
        program: shim_beside()?.with_file_name(RESOLVER),
        socket: config.exec_root.join("resolver.sock"),
    })
}

fn network(config: &Config) -> Result<hull_network::Config, String> {
    let usual = hull_network::Config::default();
    Ok(hull_network::Config {
        bridge: match config.text("bridge") {
            None => usual.bridge,
            Some("none") => None,
            Some(name) => Some(name.to_owned()),
        },
        bip: parsed(config, "bip")?,
        fixed_cidr: parsed(config, "fixed-cidr")?,
        ipv6: config.switch("ipv6", usual.ipv6),
        fixed_cidr_v6: parsed(config, "fixed-cidr-v6")?,
        bip6: parsed(config, "bip6")?,
        default_gateway: parsed(config, "default-gateway")?,
        default_gateway_v6: parsed(config, "default-gateway-v6")?,
        address_pools: config
            .address_pools()
            .iter()
            .map(pool)
            .collect::<Result<_, _>>()?,
        mtu: mtu(config)?,
        ip_forward: config.switch("ip-forward", usual.ip_forward),
        ip_masquerade: config.switch("ip-masq", usual.ip_masquerade),
        firewall: config.switch("iptables", usual.firewall),
        firewall_v6: config.switch("ip6tables", usual.firewall_v6),
        relays: config.switch("userland-proxy", usual.relays),
        firewall_mode: firewall_mode(config)?,
        daemon_ports: daemon_ports(config),
        default_options: config.network_options(),
        icc: config.switch("icc", usual.icc),
        default_binding: parsed(config, "ip")?.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        ..usual
    })
}

/// How containers' ids are others outside. Read once: what runs keeps its own.
fn user_namespaces(config: &Config) -> Result<Option<hull_sys::idmap::Mappings>, String> {
    let Some(text) = config.text("userns-remap") else {
        return Ok(None);
    };
    let mappings = crate::subid::mappings(text, Path::new("/etc"))?;
    if mappings.is_none() {
        tracing::warn!("userns-remap: root cannot be remapped to itself: user namespaces are off");
    }
    Ok(mappings)
}

fn firewall_mode(config: &Config) -> Result<hull_network::FirewallMode, String> {
    let Some(mode) = config.text("firewall-mode") else {
        return Ok(hull_network::FirewallMode::default());
    };
    let mode = mode.parse()?;
    if mode == hull_network::FirewallMode::Input && !config.switch("iptables", true) {
        return Err("firewall-mode=input needs rules: leave iptables=false away".to_owned());
    }
    Ok(mode)
}

/// Ports by which the daemon is reached by whoever can connect.
fn daemon_ports(config: &Config) -> Vec<u16> {
    let is_open = config
        .tls
        .as_ref()
        .is_none_or(|tls| tls.authority.is_none());
    let port = |host: &Endpoint| match host {
        Endpoint::Tcp(address) => address.rsplit_once(':')?.1.parse().ok(),
        Endpoint::Unix(_) | Endpoint::Activation => None,
    };
    let ports = config.hosts.iter().filter_map(port);
    ports.filter(|_| is_open).collect()
}

/// An address or a range.
fn parsed<T: std::str::FromStr>(config: &Config, key: &str) -> Result<Option<T>, String> {
    let parse = |text: &str| text.parse().map_err(|_| format!("invalid {key}: {text}"));
    config.text(key).map(parse).transpose()
}

fn mtu(config: &Config) -> Result<u32, String> {
    let mtu = config.number("mtu").unwrap_or(0);
    u32::try_from(mtu).map_err(|_| format!("invalid default MTU: {mtu}"))
}

fn pool((base, size): &(String, i64)) -> Result<AddressPool, String> {
    let invalid = || format!("invalid default-address-pool: base={base},size={size}");
    let base: ipnet::IpNet = base.parse().map_err(|_| invalid())?;
    let size = u8::try_from(*size).map_err(|_| invalid())?;
    if !(base.prefix_len()..=base.max_prefix_len()).contains(&size) {
        return Err(invalid());
    }
    Ok(AddressPool { base, size })
}
