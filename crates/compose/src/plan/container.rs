//! What a service says → the body of the request that makes one of its containers.
//!
//! Pure. The forms are those that Docker's Compose sends, so that both make the same containers.

use std::collections::BTreeMap;

use hull_api::types::{
    Config, ContainerCreate, Empty, EndpointIpamConfig, EndpointSettings, HealthConfig, LogConfig,
    MountPoint, NetworkingConfig, PortBinding, RestartPolicy, TextMap, TextSet,
};

use super::mounts;
use super::resources;
use crate::error::LoadError;
use crate::labels;
use crate::model::{HealthCheck, Project, Service};
use crate::words;

/// Which of a service's containers, and what is known of its surroundings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Making<'m> {
    /// From 1; 0 for a container of its own.
    pub(crate) number: i64,
    /// The id of the image, for the label.
    pub(crate) image_id: &'m str,
    /// What the container that is replaced had mounted.
    pub(crate) inherited: &'m [MountPoint],
    /// Paths at which the image has volumes.
    pub(crate) image_volumes: &'m [String],
    /// The container that is replaced.
    pub(crate) replaces: Option<&'m str>,
    /// Containers of other services: `service:NAME` means the first of them.
    pub(crate) containers: BTreeMap<String, String>,
    /// Names at which links point.
    pub(crate) links: Vec<String>,
    /// A container of its own, by `run`.
    pub(crate) one_off: Option<OneOff>,
}

/// What is special about a container that `run` makes.
#[derive(Debug, Clone, Default)]
pub(crate) struct OneOff {
    pub(crate) slug: String,
    pub(crate) auto_remove: bool,
    pub(crate) attach_stdin: bool,
    pub(crate) use_aliases: bool,
}

/// The name of a service's container.
pub(crate) fn name(project: &str, service: &Service, number: i64) -> String {
    match service.container_name.as_str() {
        "" => {
            let between = service.separator();
            format!("{project}{between}{}{between}{number}", service.name)
        }
        name => name.to_owned(),
    }
}

/// The body of the request.
///
/// # Errors
/// What cannot be had, in words.
pub(crate) fn body(
    project: &Project,
    service: &Service,
    making: &Making<'_>,
) -> Result<ContainerCreate, String> {
    let seconds =
        |text: &String| words::nanoseconds(text).map(|time| (time / 1_000_000_000).max(0));
    let attach_stdin = making
        .one_off
        .as_ref()
        .is_some_and(|one_off| one_off.attach_stdin);
    let config = Config {
        hostname: service.hostname.clone(),
        domainname: service.domainname.clone(),
        user: service.user.clone(),
        attach_stdin,
        attach_stdout: true,
        attach_stderr: true,
        exposed_ports: exposed(service),
        tty: service.tty,
        open_stdin: service.stdin_open,
        stdin_once: attach_stdin && service.stdin_open,
        env: Some(environment(&service.environment)),
        cmd: service.command.clone(),
        healthcheck: service.healthcheck.as_ref().map(health),
        image: service.image_name(&project.name),
        working_dir: service.working_dir.clone(),
        entrypoint: service.entrypoint.clone(),
        labels: Some(container_labels(project, service, making)),
        stop_signal: service.stop_signal.clone(),
        stop_timeout: service.stop_grace_period.as_ref().and_then(seconds),
        ..Config::default()
    };
    let (network_mode, networking) = networks(project, service, making)?;
    let (binds, mounts) = mounts::mounts(project, service, making)?;
    let mut host = resources::host(service, &project.directory)?;
    host.auto_remove = making
        .one_off
        .as_ref()
        .is_some_and(|one_off| one_off.auto_remove);
    host.binds = Some(binds);
    host.mounts = mounts;
    host.network_mode = network_mode;
    host.ipc_mode = shared(&service.ipc, making)?;
    host.pid_mode = shared(service.pid.as_deref().unwrap_or_default(), making)?;
    host.uts_mode = service.uts.clone();
    host.volumes_from = Some(volumes_from(service, making)?);
    host.links = (!making.links.is_empty()).then(|| making.links.clone());
    host.port_bindings = Some(bindings(service));
    host.restart_policy = restart_policy(service);
    host.log_config = service
        .logging
        .as_ref()
        .map_or_else(LogConfig::default, |logging| LogConfig {
            driver: logging.driver.clone(),
            config: Some(logging.options.clone()),
        });
    if making.one_off.is_some() {
        host.restart_policy = RestartPolicy::default();
    }
    Ok(ContainerCreate {
        config,
        host_config: Some(host),
        networking_config: networking,
    })
}

/// Refuses what a service wants and nobody here has.
///
/// # Errors
/// What it is, where it stands, and what to do instead.
pub(crate) fn refuse_unavailable(project: &Project, service: &Service) -> Result<(), LoadError> {
    if service.models.is_some() {
        let message = format!("services.{}.models: Hull runs no model", service.name);
        return Err(
            LoadError::written(&service.place_of("models"), message).with_hint(
                "run one as a service, and give its address in `environment` in place of `models`",
            ),
        );
    }
    if service.use_api_socket {
        let message = format!(
            "services.{}.use_api_socket: Hull hands no container the daemon's socket and your passwords of registries",
            service.name
        );
        return Err(
            LoadError::written(&service.place_of("use_api_socket"), message).with_hint(
                "where the socket is meant, mount it: `volumes: [/var/run/docker.sock:/var/run/docker.sock]`",
            ),
        );
    }
    let secrets = service.secrets.iter();
    let secrets = secrets.map(|own| ("secrets", project.secrets.get_key_value(&own.source)));
    let configs = service.configs.iter();
    let configs = configs.map(|own| ("configs", project.configs.get_key_value(&own.source)));
    for (section, object) in secrets.chain(configs) {
        let Some((key, object)) = object.filter(|(_, object)| object.external) else {
            continue;
        };
        let message = format!(
            "{section}.{key}.external: only a Swarm keeps `{}`, and there is none",
            object.name
        );
        let sources = match section {
            "secrets" => "`file:` or `environment:`",
            _ => "`file:`, `environment:` or `content:`",
        };
        return Err(
            LoadError::written(&object.external_at, message).with_hint(format!(
                "say where it comes from with {sources} in place of `external:`"
            )),
        );
    }
    Ok(())
}

/// `KEY=value`, sorted; variables that are nowhere set stay away.
pub(crate) fn environment(variables: &BTreeMap<String, Option<String>>) -> Vec<String> {
    variables
        .iter()
        .map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        })
        .collect()
}

fn container_labels(project: &Project, service: &Service, making: &Making<'_>) -> TextMap {
    let mut labels = service.labels.clone();
    let mut set = |key: &str, value: String| labels.insert(key.to_owned(), value);
    set(labels::PROJECT, project.name.clone());
    set(labels::SERVICE, service.name.clone());
    set(labels::VERSION, labels::COMPOSE_VERSION.to_owned());
    set(labels::HASH, service.hash_beside(&making.containers));
    set(labels::DIRECTORY, project.directory.clone());
    set(labels::FILES, project.files.join(","));
    if !project.env_files.is_empty() {
        set(labels::ENV_FILES, project.env_files.join(","));
    }
    set(labels::DEPENDENCIES, dependencies(service));
    let optional = optional(service);
    if !optional.is_empty() {
        set(labels::OPTIONAL, optional);
    }
    set(labels::IMAGE, making.image_id.to_owned());
    match &making.one_off {
        Some(one_off) => {
            set(labels::ONE_OFF, "True".into());
            set(labels::SLUG, one_off.slug.clone());
        }
        None => {
            set(labels::ONE_OFF, "False".into());
            set(labels::NUMBER, making.number.to_string());
        }
    }
    if let Some(old) = making.replaces {
        set(labels::REPLACE, old.to_owned());
    }
    labels
}

/// `db:service_healthy:false,cache:service_started:true`
fn dependencies(service: &Service) -> String {
    let each = service.depends_on.iter().map(|(name, dependency)| {
        format!("{name}:{}:{}", dependency.condition, dependency.restart)
    });
    each.collect::<Vec<_>>().join(",")
}

/// `db,cache`: those that need not be there.
fn optional(service: &Service) -> String {
    let each = service.depends_on.iter();
    let each = each.filter(|(_, dependency)| !dependency.required);
    each.map(|(name, _)| name.as_str())
        .collect::<Vec<_>>()
        .join(",")
}

fn exposed(service: &Service) -> TextSet {
    let exposed = service.expose.iter().map(|port| match port.contains('/') {
        true => port.clone(),
        false => format!("{port}/tcp"),
    });
    let published = service
        .ports
        .iter()
        .map(|port| format!("{}/{}", port.target, port.protocol));
    exposed
        .chain(published)
        .map(|port| (port, Empty {}))
        .collect()
}

fn bindings(service: &Service) -> hull_api::types::PortMap {
    let mut map = hull_api::types::PortMap::new();
    for port in &service.ports {
        let binding = PortBinding {
            host_ip: port.host_ip.clone(),
            host_port: port.published.clone(),
        };
        map.entry(format!("{}/{}", port.target, port.protocol))
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    map
}

fn health(check: &HealthCheck) -> HealthConfig {
    let time = |text: &Option<String>| {
        text.as_deref()
            .and_then(words::nanoseconds)
            .unwrap_or_default()
    };
    if check.disable {
        return HealthConfig {
            test: vec!["NONE".into()],
            ..HealthConfig::default()
        };
    }
    HealthConfig {
        test: check.test.clone(),
        interval: time(&check.interval),
        timeout: time(&check.timeout),
        start_period: time(&check.start_period),
        start_interval: time(&check.start_interval),
        retries: check.retries.unwrap_or_default(),
    }
}

fn restart_policy(service: &Service) -> RestartPolicy {
    let deployed = service
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.restart_policy.as_ref());
    let (name, count) = match deployed {
        Some(policy) => (
            policy.condition.as_str(),
            policy.max_attempts.unwrap_or_default(),
        ),
        None => match service.restart.split_once(':') {
            Some((name, count)) => (name, count.parse().unwrap_or_default()),
            None => (service.restart.as_str(), 0),
        },
    };
    let name = match name {
        "none" => "no",
        "any" => "always",
        name => name,
    };
    RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count: count,
    }
}

/// `service:NAME` → `container:ID`
fn shared(mode: &str, making: &Making<'_>) -> Result<String, String> {
    let Some(name) = mode.strip_prefix("service:") else {
        return Ok(mode.to_owned());
    };
    match making.containers.get(name) {
        Some(id) => Ok(format!("container:{id}")),
        None => Err(format!(
            "`{mode}` needs a container of the service `{name}`, and there is none"
        )),
    }
}

fn volumes_from(service: &Service, making: &Making<'_>) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for from in &service.volumes_from {
        if let Some(container) = from.strip_prefix("container:") {
            all.push(container.to_owned());
            continue;
        }
        let (name, mode) = from.split_once(':').unwrap_or((from, ""));
        let Some(id) = making.containers.get(name) else {
            return Err(format!(
                "`volumes_from: {from}` needs a container of the service `{name}`, and there is none"
            ));
        };
        all.push(if mode.is_empty() {
            id.clone()
        } else {
            format!("{id}:{mode}")
        });
    }
    Ok(all)
}

/// The networks of a service, the first one first.
pub(crate) fn by_priority(service: &Service) -> Vec<&str> {
    let mut names: Vec<(i64, &str)> = service
        .networks
        .iter()
        .map(|(name, network)| {
            (
                network.as_ref().map_or(0, |network| -network.priority),
                name.as_str(),
            )
        })
        .collect();
    names.sort_unstable();
    names.into_iter().map(|(_, name)| name).collect()
}

fn networks(
    project: &Project,
    service: &Service,
    making: &Making<'_>,
) -> Result<(String, Option<NetworkingConfig>), String> {
    if !service.network_mode.is_empty() {
        return Ok((shared(&service.network_mode, making)?, None));
    }
    let names = by_priority(service);
    let Some(first) = names.first() else {
        return Ok(("none".into(), None));
    };
    let full_name = |name: &str| {
        project
            .networks
            .get(name)
            .map_or_else(|| name.to_owned(), |network| network.name.clone())
    };
    let mut endpoints = BTreeMap::new();
    for name in &names {
        let mut endpoint = endpoint(project, service, name, making);
        if name == first && endpoint.mac_address.is_empty() {
            endpoint.mac_address.clone_from(&service.mac_address);
        }
        endpoints.insert(full_name(name), Some(endpoint));
    }
    let networking = NetworkingConfig {
        endpoints_config: endpoints,
    };
    Ok((full_name(first), Some(networking)))
}

fn endpoint(
    project: &Project,
    service: &Service,
    name: &str,
    making: &Making<'_>,
) -> EndpointSettings {
    let network = service.networks.get(name).cloned().flatten();
    let has_aliases = making
        .one_off
        .as_ref()
        .is_none_or(|one_off| one_off.use_aliases);
    let mut aliases = Vec::new();
    if making.one_off.is_none() {
        aliases.push(self::name(&project.name, service, making.number));
    }
    if has_aliases {
        aliases.push(service.name.clone());
        aliases.extend(network.iter().flat_map(|network| network.aliases.clone()));
    }
    let mut settings = EndpointSettings {
        aliases: Some(aliases),
        links: (!making.links.is_empty()).then(|| making.links.clone()),
        ..EndpointSettings::default()
    };
    if let Some(network) = network {
        settings.ipam_config = Some(EndpointIpamConfig {
            ipv4_address: network.ipv4_address.clone(),
            ipv6_address: network.ipv6_address.clone(),
            link_local_ips: network.link_local_ips,
        });
        settings.ip_address = network.ipv4_address;
        settings.mac_address = network.mac_address;
        settings.gw_priority = network.gw_priority;
        let mut options = network.driver_opts;
        if !network.interface_name.is_empty() {
            options.insert(
                "com.docker.network.endpoint.ifname".into(),
                network.interface_name,
            );
        }
        settings.driver_opts = (!options.is_empty()).then_some(options);
    }
    settings
}
