//! Makes a container: image and request merged, name taken, layer laid, record stored.

use std::{collections::BTreeMap, sync::Arc};

use hull_image::{Image, Snapshotter as _};

use crate::{
    Engine, actor,
    error::{Attempt, Error, Result},
    making::Reservation,
    model::{
        Config, ContainerId, CreateContainer, HealthProbe, Healthcheck, HostConfig, IpcNamespace,
        LogConfig, Name, NetworkMode, PidNamespace, PublishedPort, RestartPolicy,
    },
    names, paths,
    record::Record,
    services::Services,
    state::State,
    time::now_ns,
    undo::Undo,
    volume,
};

/// What a create gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The new container's id.
    pub id: ContainerId,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Made-up names that may be taken before the engine gives up.
const NAME_ATTEMPTS: u32 = 8;

impl Engine {
    /// Makes a container. Fails without a trace.
    pub async fn create(&self, order: CreateContainer) -> Result<Created> {
        let services = Arc::clone(self.services());
        let job = move || {
            let id = ContainerId::random();
            let mut undo = Undo::default();
            // After the undo: what is taken back is reserved no more.
            let reserved = Reservation::begin(&services, &id);
            let (record, warnings) = make(&services, &reserved, order, id.clone(), &mut undo)?;
            let attributes = record.event_attributes();
            actor::launch(&services, record, None);
            undo.keep();
            Ok((id, attributes, warnings))
        };
        let made = self.services().block(job).await?;
        let (id, attributes, warnings) = made.map_err(named_in_vain)?;
        let subject = crate::events::Subject::Container;
        self.services()
            .events
            .publish(subject, "create", id.as_str(), attributes);
        Ok(Created { id, warnings })
    }
}

/// "Not found" of a create means its image, which clients then pull: anything else that a request
/// names in vain makes it an invalid one.
fn named_in_vain(error: Error) -> Error {
    match error {
        Error::NoSuchContainer(_)
        | Error::NoSuchNetwork(_)
        | Error::NoSuchVolume(_)
        | Error::NoSuchVolumeDriver { .. } => Error::Invalid(error.to_string()),
        other => other,
    }
}

fn make(
    services: &Arc<Services>,
    reserved: &Reservation,
    order: CreateContainer,
    id: ContainerId,
    undo: &mut Undo,
) -> Result<(Record, Vec<String>)> {
    let image = reserved.image(&order.config.image, order.platform.as_deref())?;
    let mut host = order.host;
    let shares_network = matches!(host.network_mode, NetworkMode::Container(_));
    // What the image exposes is no wish of anybody's.
    let publishes = !host.port_bindings.is_empty() || host.publish_all_ports;
    if shares_network && !publishes && !order.config.exposed_ports.is_empty() {
        let text = "conflicting options: port exposing and the container type network mode";
        return Err(Error::Invalid(text.to_owned()));
    }
    let mut config = merge(order.config, &image)?;
    let warnings = settle(services, &mut config, &mut host)?;
    // Not before: whoever shares the host's name may ask for no other.
    if config.hostname.is_empty() {
        config.hostname = id.short().to_owned();
    }
    let mut endpoint_configs = order.endpoints;
    settle_network(services, &mut host, &mut config, &mut endpoint_configs)?;

    let name = take_name(services, order.name, &id)?;
    let held = (Arc::clone(services), name.clone(), id.clone());
    undo.push("release the name", move || {
        held.0.registry.release(&held.1, &held.2)
    });

    let bundle = services.paths.bundle(&id);
    paths::make(&bundle, 0o710).attempt(|| format!("create {}", bundle.display()))?;
    let (snapshots, made, shared) = (
        services.snapshots.clone(),
        bundle.clone(),
        Arc::clone(services),
    );
    undo.push("discard the layer", move || {
        let _ = snapshots.remove(&made);
        shared.sweep();
    });
    let mut snapshot = services.snapshots.prepare(&bundle, &image)?;
    snapshot.lower.push(services.paths.base());
    if let Some(bytes) = size_of(&host)? {
        services.limit(&[&snapshot.upper, &snapshot.work], bytes)?;
    }

    let mounts = volume::settle(services, reserved, &id, &config, &host, &image, undo)?;
    let log_path = (host.log.driver != "none").then(|| bundle.join(format!("{id}-json.log")));
    let record = Record {
        id,
        name,
        created_at_ns: now_ns(),
        image_id: image.id.to_string(),
        platform: image.platform.to_string(),
        config,
        host,
        endpoint_configs,
        left_main_network: false,
        snapshot,
        mounts,
        state: State::Created { failure: None },
        restarts: 0,
        cgroup: String::new(),
        last_end_ns: 0,
        asked_to_stop: false,
        endpoints: Vec::new(),
        published: Vec::new(),
        health: None,
        log_path,
        is_build_step: false,
        step_env: Vec::new(),
    };
    crate::logs::forward::plan(&record)?;
    services
        .store
        .put(crate::store::Kind::Container, record.id.as_str(), &record)?;
    services.keep_copy(&record);
    Ok((record, warnings))
}

/// The name asked for, or one made up.
fn take_name(services: &Services, wanted: Option<Name>, id: &ContainerId) -> Result<Name> {
    if let Some(name) = wanted {
        services.registry.reserve(&name, id)?;
        return Ok(name);
    }
    let mut attempt = 0;
    loop {
        let name = names::random(attempt);
        match services.registry.reserve(&name, id) {
            Ok(()) => return Ok(name),
            Err(error) if attempt >= NAME_ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
    }
}

/// The request over the image's defaults.
pub(crate) fn merge(mut config: Config, image: &Image) -> Result<Config> {
    let base = image.config.config.clone();
    if config.user.is_empty() {
        config.user = base.user;
    }
    config.env = merge_env(base.env, &config.env);
    // An entrypoint of one's own drops the image's command too.
    if config.entrypoint.is_none() {
        config.entrypoint = base.entrypoint.filter(|words| !words.is_empty());
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd = base.cmd;
        }
    } else if config.entrypoint.as_deref() == Some(&[String::new()]) {
        config.entrypoint = None;
    }
    if config.working_dir.is_empty() {
        config.working_dir = base.working_dir;
    }
    config.exposed_ports.extend(
        base.exposed_ports
            .iter()
            .filter_map(|p| PublishedPort::parse(p)),
    );
    config.volumes.extend(base.volumes);
    for (key, value) in base.labels {
        config.labels.entry(key).or_insert(value);
    }
    config.stop_signal = config.stop_signal.or(base.stop_signal);
    config.stop_timeout_s = config.stop_timeout_s.or(base.stop_timeout);
    let inherited = base.healthcheck.as_ref().and_then(health_of_image);
    config.healthcheck = merge_health(config.healthcheck, inherited);
    config.shell = config.shell.or(base.shell);
    let nothing = |words: &Option<Vec<String>>| words.as_ref().is_none_or(Vec::is_empty);
    if nothing(&config.entrypoint) && nothing(&config.cmd) {
        return Err(Error::Invalid("no command specified".to_owned()));
    }
    Ok(config)
}

/// The image's variables, replaced and added to by the request's; a bare name removes one.
fn merge_env(mut env: Vec<String>, wanted: &[String]) -> Vec<String> {
    let name_of = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for entry in wanted {
        let name = name_of(entry);
        let place = env.iter().position(|known| name_of(known) == name);
        match (place, entry.contains('=')) {
            (Some(place), true) => env[place].clone_from(entry),
            (Some(place), false) => {
                env.remove(place);
            }
            (None, true) => env.push(entry.clone()),
            (None, false) => {}
        }
    }
    env
}

/// An image's check in the engine's words.
fn health_of_image(check: &hull_oci::HealthcheckConfig) -> Option<Healthcheck> {
    let probe = match check.test.split_first() {
        Some((kind, _)) if kind == "NONE" => HealthProbe::Disabled,
        Some((kind, words)) if kind == "CMD" => HealthProbe::Command(words.to_vec()),
        Some((kind, words)) if kind == "CMD-SHELL" => {
            HealthProbe::Shell(words.first().cloned().unwrap_or_default())
        }
        _ => return None,
    };
    Some(Healthcheck {
        probe,
        interval_ns: check.interval,
        timeout_ns: check.timeout,
        start_period_ns: check.start_period,
        start_interval_ns: check.start_interval,
        retries: check.retries,
    })
}

/// The request's check, each value left at zero taken from the image's.
fn merge_health(wanted: Option<Healthcheck>, image: Option<Healthcheck>) -> Option<Healthcheck> {
    let (Some(mut wanted), Some(image)) = (wanted.clone(), image.clone()) else {
        return wanted
            .or(image)
            .filter(|check| check.probe != HealthProbe::Inherit);
    };
    if wanted.probe == HealthProbe::Inherit {
        wanted.probe = image.probe;
    }
    for (value, inherited) in [
        (&mut wanted.interval_ns, image.interval_ns),
        (&mut wanted.timeout_ns, image.timeout_ns),
        (&mut wanted.start_period_ns, image.start_period_ns),
        (&mut wanted.start_interval_ns, image.start_interval_ns),
        (&mut wanted.retries, image.retries),
    ] {
        if *value == 0 {
            *value = inherited;
        }
    }
    Some(wanted)
}

/// Checks the request against the host and fills defaults in.
pub(crate) fn settle(
    services: &Services,
    config: &mut Config,
    host: &mut HostConfig,
) -> Result<Vec<String>> {
    if host.auto_remove && host.restart_policy != RestartPolicy::No {
        let text = "can't create 'AutoRemove' container with restart policy";
        return Err(Error::Invalid(text.to_owned()));
    }
    if let Some(signal) = &config.stop_signal
        && crate::signal::parse(signal).is_none()
    {
        return Err(Error::Invalid(format!("invalid signal: {signal}")));
    }
    services.runtime(&host.runtime)?;
    size_of(host)?;
    host.log = log_of(services, host);
    crate::log::check(&host.log)?;
    for reference in [namespace_owner(&host.ipc), pid_owner(&host.pid)]
        .into_iter()
        .flatten()
    {
        services.registry.find(reference)?;
    }
    settle_links(services, host)?;
    if host.shm_size == 0 {
        host.shm_size = services.config.shm_size;
    }
    let warnings = crate::spec::validate(config, host, &services.host)?;
    services.check_remap(host)?;
    Ok(warnings)
}

/// Links of the default bridge are to containers, by id, so that a rename changes nothing; elsewhere they are to names.
fn settle_links(services: &Services, host: &mut HostConfig) -> Result<()> {
    if host.network_mode != NetworkMode::Bridge {
        return Ok(());
    }
    for link in &mut host.links {
        let (reference, alias) = link.split_once(':').unwrap_or((link, link));
        let reference = reference.trim_start_matches('/');
        let target = services.registry.find(reference).map_err(|error| {
            // Not as something missing: clients would take that for the image.
            Error::Invalid(format!("could not get container for {reference}: {error}"))
        })?;
        let alias = alias.rsplit('/').next().unwrap_or(alias);
        *link = format!("{}:{alias}", target.id);
    }
    Ok(())
}

/// How many bytes the container may write, if it says so.
fn size_of(host: &HostConfig) -> Result<Option<u64>> {
    if let Some(option) = host.storage_opt.keys().find(|option| *option != "size") {
        return Err(Error::Invalid(format!(
            "unknown storage option {option:?}: only size"
        )));
    }
    host.storage_opt
        .get("size")
        .map(|text| volume::bytes(text))
        .transpose()
}

fn namespace_owner(ipc: &IpcNamespace) -> Option<&str> {
    if let IpcNamespace::Container(reference) = ipc {
        Some(reference)
    } else {
        None
    }
}

fn pid_owner(pid: &PidNamespace) -> Option<&str> {
    if let PidNamespace::Container(reference) = pid {
        Some(reference)
    } else {
        None
    }
}

/// The logging the container gets: the daemon's driver unless it names one, and the daemon's
/// options where it names the same driver and leaves them open.
fn log_of(services: &Services, host: &HostConfig) -> LogConfig {
    let default = &services.config.log;
    let mut log = host.log.clone();
    if log.driver.is_empty() {
        log.driver.clone_from(&default.driver);
    }
    if log.driver == default.driver {
        for (key, value) in &default.options {
            log.options
                .entry(key.clone())
                .or_insert_with(|| value.clone());
        }
    }
    log
}

/// Which network, by a name that lasts.
fn settle_network(
    services: &Services,
    host: &mut HostConfig,
    config: &mut Config,
    endpoints: &mut BTreeMap<String, crate::model::EndpointConfig>,
) -> Result<()> {
    if let Some(default) = endpoints.remove("default") {
        endpoints.insert("bridge".to_owned(), default);
    }
    match &mut host.network_mode {
        NetworkMode::Container(reference) => {
            // By id, so that a rename changes nothing.
            *reference = services.registry.find(reference)?.id.to_string();
            if !host.port_bindings.is_empty() || host.publish_all_ports {
                return Err(Error::Invalid(
                    "conflicting options: port publishing and the container type network mode"
                        .to_owned(),
                ));
            }
            config.hostname.clear();
        }
        NetworkMode::Named(name) => *name = network_name(services, name)?,
        NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None => {}
    }
    for (reference, config) in std::mem::take(endpoints) {
        let name = network_name(services, &reference)?;
        if name == "bridge" && !config.aliases.is_empty() {
            let text =
                "network-scoped alias is supported only for containers in user defined networks";
            return Err(Error::Invalid(text.to_owned()));
        }
        if name == "bridge" && (config.ipv4.is_some() || config.ipv6.is_some()) {
            let text = "invalid config for network bridge: invalid endpoint settings: user \
                        specified IP address is supported on user defined networks only";
            return Err(Error::Invalid(text.to_owned()));
        }
        endpoints.insert(name, config);
    }
    if matches!(host.network_mode, NetworkMode::Host)
        && let Ok(name) = rustix::system::uname().nodename().to_str()
        && !config.hostname.is_empty()
    {
        config.hostname = name.to_owned();
    }
    Ok(())
}

/// A network by the name that containers keep, whatever it was called by.
fn network_name(services: &Services, reference: &str) -> Result<String> {
    let found = services.networks.find(reference);
    let network = found.ok_or_else(|| Error::NoSuchNetwork(reference.to_owned()))?;
    Ok(network.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_requests_variables_win_and_a_bare_name_removes() {
        let merged = merge_env(
            words(&["PATH=/bin", "A=1", "B=2"]),
            &words(&["A=3", "B", "C=4"]),
        );
        assert_eq!(merged, words(&["PATH=/bin", "A=3", "C=4"]));
    }

    #[test]
    fn a_check_inherits_what_it_leaves_open() {
        let image = Healthcheck {
            probe: HealthProbe::Shell("true".to_owned()),
            interval_ns: 5,
            timeout_ns: 6,
            start_period_ns: 7,
            start_interval_ns: 8,
            retries: 9,
        };
        let wanted = Healthcheck {
            probe: HealthProbe::Inherit,
            interval_ns: 50,
            timeout_ns: 0,
            start_period_ns: 0,
            start_interval_ns: 0,
            retries: 0,
        };
        let merged = merge_health(Some(wanted), Some(image.clone())).unwrap();
        assert_eq!(
            merged,
            Healthcheck {
                interval_ns: 50,
                ..image
            }
        );
        assert_eq!(merge_health(None, None), None);
    }
}
