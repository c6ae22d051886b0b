//! What runs: the body of a create, in and out.

use std::collections::BTreeMap;

use hull_api::{
    ApiVersion,
    types::{self, Empty, HealthConfig},
    version::Feature,
};
use hull_engine::model::{Config, CreateContainer, HealthProbe, Healthcheck, Name, NetworkMode};

use super::{Invalid, Result, host, network, null_if_empty, ports};

/// The shortest time a health check may be told: Docker's.
const HEALTH_NS_MIN: i64 = 1_000_000;

/// A create's body as the engine's order.
pub(crate) fn order(
    body: types::ContainerCreate,
    name: &str,
    platform: &str,
    version: ApiVersion,
) -> Result<CreateContainer> {
    let wire = body.config;
    if !wire.mac_address.is_empty() && version.has(Feature::NoConfigMacAddress) {
        return Err(Invalid::new(
            "container-wide MAC address is not supported by this API version: set it on the \
             endpoint in NetworkingConfig",
        ));
    }
    let mac_address = wire.mac_address.clone();
    let config = from_wire(wire, version)?;
    let wire_host = body.host_config.unwrap_or_default();
    let key = network::key_of(&wire_host.network_mode).to_owned();
    let host = host::from_wire(wire_host, version)?;
    let endpoints = body.networking_config.unwrap_or_default().endpoints_config;
    let mut endpoints = endpoints
        .into_iter()
        .map(|(name, settings)| Ok((name, network::endpoint(settings.unwrap_or_default())?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    if !mac_address.is_empty() && !matches!(host.network_mode, NetworkMode::Container(_)) {
        let endpoint = endpoints.entry(key).or_default();
        if endpoint.mac_address.is_empty() {
            endpoint.mac_address = network::mac_address(&mac_address)?;
        }
    }
    let name = match name.trim_start_matches('/') {
        "" => None,
        _ => Some(Name::parse(name).map_err(|error| Invalid::new(error.to_string()))?),
    };
    let platform = (!platform.is_empty()).then(|| platform.to_owned());
    Ok(CreateContainer {
        name,
        platform,
        config,
        host,
        endpoints,
    })
}

/// A configuration as the engine keeps it.
pub(crate) fn from_wire(wire: types::Config, version: ApiVersion) -> Result<Config> {
    check_env(wire.env.as_deref().unwrap_or_default())?;
    if !wire.working_dir.is_empty() && !wire.working_dir.starts_with('/') {
        return Err(Invalid::new(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            wire.working_dir
        )));
    }
    for path in wire.volumes.iter().flat_map(|volumes| volumes.keys()) {
        if !path.starts_with('/') || path.contains(':') {
            return Err(Invalid::new(format!(
                "invalid volume specification: '{path}'"
            )));
        }
    }
    Ok(Config {
        image: wire.image,
        hostname: wire.hostname,
        domainname: wire.domainname,
        user: wire.user,
        attach_stdin: wire.attach_stdin,
        attach_stdout: wire.attach_stdout,
        attach_stderr: wire.attach_stderr,
        tty: wire.tty,
        open_stdin: wire.open_stdin,
        stdin_once: wire.stdin_once,
        env: wire.env.unwrap_or_default(),
        cmd: wire.cmd.filter(|words| !words.is_empty()),
        entrypoint: wire.entrypoint.filter(|words| !words.is_empty()),
        working_dir: wire.working_dir,
        exposed_ports: ports::exposed(wire.exposed_ports)?,
        volumes: wire.volumes.unwrap_or_default().into_keys().collect(),
        labels: wire.labels.unwrap_or_default(),
        healthcheck: wire
            .healthcheck
            .map(|check| healthcheck(check, version))
            .transpose()?,
        stop_signal: (!wire.stop_signal.is_empty()).then_some(wire.stop_signal),
        stop_timeout_s: wire.stop_timeout,
        network_disabled: wire.network_disabled,
        on_build: wire.on_build,
        shell: wire.shell,
        mac_address: wire.mac_address,
    })
}

/// Each must have a name.
pub(crate) fn check_env(env: &[String]) -> Result<()> {
    for entry in env {
        if entry.is_empty() || entry.starts_with('=') {
            return Err(Invalid::new(format!(
                "invalid environment variable: {entry}"
            )));
        }
        if entry.contains('\0') {
            return Err(Invalid::new(
                "invalid environment variable: it contains a zero byte",
            ));
        }
    }
    Ok(())
}

fn healthcheck(wire: HealthConfig, version: ApiVersion) -> Result<Healthcheck> {
    let mut words = wire.test.into_iter();
    let probe = match words.next().as_deref() {
        None | Some("") => HealthProbe::Inherit,
        Some("NONE") => HealthProbe::Disabled,
        Some("CMD") => HealthProbe::Command(words.collect()),
        Some("CMD-SHELL") => HealthProbe::Shell(words.next().unwrap_or_default()),
        Some(other) => {
            return Err(Invalid::new(format!(
                "unknown type {other:?} in the test of Healthcheck: use NONE, CMD or CMD-SHELL"
            )));
        }
    };
    for (name, value) in [
        ("Interval", wire.interval),
        ("Timeout", wire.timeout),
        ("StartPeriod", wire.start_period),
        ("StartInterval", wire.start_interval),
    ] {
        if value != 0 && value < HEALTH_NS_MIN {
            return Err(Invalid::new(format!(
                "{name} in Healthcheck cannot be less than 1ms"
            )));
        }
    }
    if wire.retries < 0 {
        return Err(Invalid::new("Retries in Healthcheck cannot be negative"));
    }
    let knows_start_interval = version.has(Feature::HealthStartInterval);
    Ok(Healthcheck {
        probe,
        interval_ns: wire.interval,
        timeout_ns: wire.timeout,
        start_period_ns: wire.start_period,
        start_interval_ns: if knows_start_interval {
            wire.start_interval
        } else {
            0
        },
        retries: wire.retries,
    })
}

/// Back to the wire.
pub(crate) fn to_wire(config: &Config, version: ApiVersion) -> types::Config {
    let keep_mac = !version.has(Feature::NoConfigMacAddress);
    types::Config {
        hostname: config.hostname.clone(),
        domainname: config.domainname.clone(),
        user: config.user.clone(),
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        exposed_ports: ports::exposed_to_wire(&config.exposed_ports),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: Some(config.env.clone()),
        cmd: config.cmd.clone(),
        healthcheck: config.healthcheck.as_ref().map(health_to_wire),
        args_escaped: false,
        image: config.image.clone(),
        volumes: (!config.volumes.is_empty()).then(|| {
            config
                .volumes
                .iter()
                .map(|path| (path.clone(), Empty {}))
                .collect()
        }),
        working_dir: config.working_dir.clone(),
        entrypoint: config.entrypoint.clone(),
        network_disabled: config.network_disabled,
        mac_address: config.mac_address.clone().repeat(usize::from(keep_mac)),
        on_build: config.on_build.clone().and_then(null_if_empty),
        labels: Some(config.labels.clone()),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        stop_timeout: config.stop_timeout_s,
        shell: config.shell.clone(),
    }
}

fn health_to_wire(check: &Healthcheck) -> HealthConfig {
    let words = |kind: &str, rest: &[String]| [&[kind.to_owned()], rest].concat();
    HealthConfig {
        test: match &check.probe {
            HealthProbe::Inherit => Vec::new(),
            HealthProbe::Disabled => words("NONE", &[]),
            HealthProbe::Command(command) => words("CMD", command),
            HealthProbe::Shell(text) => words("CMD-SHELL", std::slice::from_ref(text)),
        },
        interval: check.interval_ns,
        timeout: check.timeout_ns,
        start_period: check.start_period_ns,
        start_interval: check.start_interval_ns,
        retries: check.retries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(json: &str, version: ApiVersion) -> Result<CreateContainer> {
        let body = hull_api::decode::from_slice(json.as_bytes()).unwrap();
        order(body, "/web", "", version)
    }

    #[test]
    fn a_config_survives_the_way_in_and_out() {
        let wire = types::Config {
            image: "i".into(),
            env: Some(vec!["A=1".into()]),
            cmd: Some(vec!["x".into()]),
            labels: Some(BTreeMap::from([("a".into(), "b".into())])),
            exposed_ports: BTreeMap::from([("80/tcp".into(), Empty {})]),
            volumes: Some(BTreeMap::from([("/v".into(), Empty {})])),
            stop_signal: "SIGINT".into(),
            stop_timeout: Some(-1),
            healthcheck: Some(HealthConfig {
                test: vec!["CMD-SHELL".into(), "true".into()],
                interval: 5_000_000,
                ..Default::default()
            }),
            tty: true,
            ..types::Config::default()
        };
        let kept = from_wire(wire.clone(), ApiVersion::MAX).unwrap();
        assert_eq!(to_wire(&kept, ApiVersion::MAX), wire);
    }

    #[test]
    fn a_mac_address_belongs_to_an_endpoint() {
        let body =
            r#"{"Image":"i","MacAddress":"02:42:ac:11:00:09","HostConfig":{"NetworkMode":"n"}}"#;
        assert!(ordered(body, ApiVersion::MAX).is_err());
        let order = ordered(body, ApiVersion::new(40)).unwrap();
        assert_eq!(order.endpoints["n"].mac_address, "02:42:ac:11:00:09");
        assert_eq!(order.name.unwrap().as_str(), "web");
    }

    #[test]
    fn nonsense_is_refused_with_dockers_words() {
        for (body, words) in [
            (r#"{"Env":["=x"]}"#, "invalid environment variable: =x"),
            (
                r#"{"WorkingDir":"tmp"}"#,
                "the working directory 'tmp' is invalid",
            ),
            (
                r#"{"ExposedPorts":{"http":{}}}"#,
                "invalid port specification",
            ),
            (
                r#"{"Volumes":{"data":{}}}"#,
                "invalid volume specification: 'data'",
            ),
            (
                r#"{"Healthcheck":{"Interval":5}}"#,
                "Interval in Healthcheck cannot be less than 1ms",
            ),
            (
                r#"{"Healthcheck":{"Retries":-1}}"#,
                "Retries in Healthcheck cannot be negative",
            ),
            (
                r#"{"HostConfig":{"NetworkMode":"container:"}}"#,
                "invalid container format",
            ),
        ] {
            let refused = ordered(body, ApiVersion::MAX).unwrap_err().0;
            assert!(refused.contains(words), "{refused}");
        }
    }
}
