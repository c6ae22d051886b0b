//! The daemon itself.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderValue, StatusCode};
use hull_api::{
    ApiVersion, Filters,
    types::{
        Component, DeviceInfo, DiskUsage, DiskUsageKind, FirewallInfo, IndexInfo, Info,
        PlatformName, Plugins, RegistryConfig, Runtime, SwarmInfo, SystemAddressPool, VolumeUsage,
    },
    version::Feature,
};
use hull_network::FirewallMode;
use jiff::Timestamp;

use super::{container, image, volume};
use crate::{
    app::App,
    convert::{event, image::bytes, inspect::DRIVER, null_if_empty, time},
    http::{
        answer::{Failure, Outcome, empty, flowing, json, text},
        body,
        request::Request,
    },
};

/// BuildKit's protocol is served.
const BUILDER_VERSION: &str = "2";

pub(super) fn ping() -> Outcome {
    Ok(with_ping_headers(text("OK")))
}

pub(super) fn ping_head() -> Outcome {
    let answer = with_ping_headers(empty(StatusCode::OK));
    Ok(answer.with_header("content-length", HeaderValue::from_static("0")))
}

fn with_ping_headers(answer: crate::http::answer::Answer) -> crate::http::answer::Answer {
    [
        ("builder-version", BUILDER_VERSION),
        ("swarm", "inactive"),
        ("cache-control", "no-cache, no-store, must-revalidate"),
        ("pragma", "no-cache"),
    ]
    .into_iter()
    .fold(answer, |answer, (name, value)| {
        answer.with_header(name, HeaderValue::from_static(value))
    })
}

pub(super) async fn version(request: Request) -> Outcome {
    let facts = request.app.engine.info().await?;
    let oldest = request.app.config().min_api.to_string();
    let experimental = request.app.config().switch("experimental", false);
    let details = [
        ("ApiVersion", ApiVersion::MAX.to_string()),
        ("Arch", architecture().to_owned()),
        ("BuildTime", crate::BUILD_TIME.to_owned()),
        ("Experimental", experimental.to_string()),
        ("GitCommit", crate::GIT_COMMIT.to_owned()),
        ("GoVersion", String::new()),
        ("KernelVersion", facts.kernel.clone()),
        ("MinAPIVersion", oldest.clone()),
        ("Os", "linux".to_owned()),
    ];
    let details = BTreeMap::from(details.map(|(name, value)| (name.to_owned(), value)));
    let component = |name: &str, details| Component {
        name: name.into(),
        version: crate::VERSION.into(),
        details,
    };
    Ok(json(&hull_api::types::Version {
        platform: PlatformName {
            name: "Hull".to_owned(),
        },
        components: vec![
            component("Engine", details),
            component("hull-runtime", BTreeMap::new()),
            component("hull-shim", BTreeMap::new()),
        ],
        version: crate::VERSION.to_owned(),
        api_version: ApiVersion::MAX.to_string(),
        min_api_version: oldest,
        git_commit: crate::GIT_COMMIT.to_owned(),
        go_version: String::new(),
        os: "linux".to_owned(),
        arch: architecture().to_owned(),
        kernel_version: facts.kernel,
        experimental,
        build_time: crate::BUILD_TIME.to_owned(),
    }))
}

/// Go's word for the processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

pub(super) async fn info(request: Request) -> Outcome {
    let app = &request.app;
    let config = app.config();
    let facts = app.engine.info().await?;
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let old = !request.version.has(Feature::NoBridgeNetfilter);
    let cgroup_v1 = facts.cgroup_version == 1;
    let devices: Vec<DeviceInfo> = facts.cdi_devices.into_iter().map(cdi_device).collect();
    Ok(json(&Info {
        containers: count(facts.running + facts.paused + facts.stopped),
        containers_running: count(facts.running),
        containers_paused: count(facts.paused),
        containers_stopped: count(facts.stopped),
        images: count(facts.images),
        warnings: null_if_empty(
            facts
                .warnings
                .iter()
                .map(|text| format!("WARNING: {text}"))
                .collect(),
        ),
        driver: DRIVER.to_owned(),
        driver_status: vec![
            [
                "driver-type".to_owned(),
                "io.containerd.snapshotter.v1".to_owned(),
            ],
            ["Backing Filesystem".to_owned(), facts.backing_file_system],
        ],
        plugins: plugins(app),
        memory_limit: true,
        swap_limit: true,
        cpu_cfs_period: true,
        cpu_cfs_quota: true,
        cpu_shares: true,
        cpu_set: true,
        pids_limit: true,
        oom_kill_disable: cgroup_v1,
        ipv4_forwarding: facts.ip_forwarding,
        bridge_nf_iptables: old.then_some(true),
        bridge_nf_ip6tables: old.then_some(true),
        debug: config.log_level >= tracing::level_filters::LevelFilter::DEBUG,
        n_fd: count(facts.descriptors),
        n_goroutines: count(app.tasks()),
        n_events_listener: app.listeners(),
        system_time: Timestamp::now().to_string(),
        logging_driver: config.log.driver.clone(),
        cgroup_driver: "cgroupfs".to_owned(),
        cgroup_version: facts.cgroup_version.to_string(),
        kernel_version: facts.kernel,
        operating_system: facts.operating_system,
        os_version: facts.os_version,
        os_type: "linux".to_owned(),
        architecture: facts.machine,
        n_cpu: count(facts.cpus),
        mem_total: bytes(facts.memory),
        docker_root_dir: config.data_root.display().to_string(),
        name: facts.name,
        id: facts.id,
        discovered_devices: (!old && !devices.is_empty()).then_some(devices),
        security_options: security_options(
            facts.has_apparmor,
            facts.cgroup_version,
            app.engine.config().network.user_namespaces.is_some(),
        ),
        ..from_config(app)
    }))
}

fn plugins(app: &App) -> Plugins {
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Plugins {
        volume: strings(&["local"]),
        network: strings(&["bridge", "host", "ipvlan", "macvlan", "null"]),
        authorization: Some(app.config().list("authorization-plugins"))
            .filter(|names| !names.is_empty()),
        log: strings(&hull_engine::log::drivers()),
    }
}

fn cdi_device(id: String) -> DeviceInfo {
    DeviceInfo {
        source: "cdi".to_owned(),
        id,
    }
}

/// What is only said by the configuration.
fn from_config(app: &App) -> Info {
    let config = app.config();
    let text = |key: &str| config.text(key).unwrap_or_default().to_owned();
    let pools = config.address_pools();
    Info {
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: Some(registry_config(app)),
        http_proxy: without_password(&text("http-proxy")),
        https_proxy: without_password(&text("https-proxy")),
        no_proxy: text("no-proxy"),
        labels: config.labels.clone(),
        experimental_build: config.switch("experimental", false),
        server_version: crate::VERSION.to_owned(),
        runtimes: runtimes(app),
        default_runtime: app.engine.config().default_runtime.clone(),
        swarm: SwarmInfo {
            local_node_state: "inactive".to_owned(),
            ..SwarmInfo::default()
        },
        // Containers always outlive the daemon.
        live_restore_enabled: true,
        init_binary: "hull-shim".to_owned(),
        default_address_pools: pools
            .into_iter()
            .map(|(base, size)| SystemAddressPool { base, size })
            .collect(),
        firewall_backend: Some(FirewallInfo {
            driver: "nftables".to_owned(),
            // As with Docker, unless the configuration says otherwise.
            info: match app.engine.config().network.firewall_mode {
                FirewallMode::Docker => Vec::new(),
                FirewallMode::Input => vec![["Mode".to_owned(), "input".to_owned()]],
            },
        }),
        cdi_spec_dirs: config
            .cdi_directories()
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
        ..Info::default()
    }
}

fn security_options(apparmor: bool, cgroup_version: u8, remaps: bool) -> Vec<String> {
    let mut options = vec!["name=seccomp,profile=builtin".to_owned()];
    if apparmor {
        options.insert(0, "name=apparmor".to_owned());
    }
    if remaps {
        options.push("name=userns".to_owned());
    }
    if cgroup_version == 2 {
        options.push("name=cgroupns".to_owned());
    }
    options
}

fn runtimes(app: &App) -> BTreeMap<String, Runtime> {
    let own = ["hull", "runc"].map(|name| {
        let runtime = Runtime {
            path: "hull-runtime".to_owned(),
            ..Runtime::default()
        };
        (name.to_owned(), runtime)
    });
    let others = app.engine.config().runtimes.iter().map(|(name, runtime)| {
        let path = runtime.path.display().to_string();
        let runtime_args = runtime.args.clone();
        (
            name.clone(),
            Runtime {
                path,
                runtime_args,
                ..Runtime::default()
            },
        )
    });
    own.into_iter().chain(others).collect()
}

fn registry_config(app: &App) -> RegistryConfig {
    let config = app.config();
    let mirrors = config.list("registry-mirrors");
    let index = |name: &str, mirrors: Vec<String>, secure, official| {
        (
            name.to_owned(),
            IndexInfo {
                mirrors,
                name: name.to_owned(),
                official,
                secure,
            },
        )
    };
    let hub = index("docker.io", mirrors.clone(), true, true);
    let insecure = config.list("insecure-registries");
    let (ranges, hosts): (Vec<_>, Vec<_>) =
        insecure.into_iter().partition(|text| text.contains('/'));
    let hosts = hosts
        .iter()
        .map(|host| index(host, Vec::new(), false, false));
    let loopback = ["::1/128".to_owned(), "127.0.0.0/8".to_owned()];
    RegistryConfig {
        index_configs: std::iter::once(hub).chain(hosts).collect(),
        insecure_registry_cidrs: loopback.into_iter().chain(ranges).collect(),
        mirrors: (!mirrors.is_empty()).then_some(mirrors),
    }
}

/// An URL as everybody may see it.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://xxxxx:xxxxx@{host}"),
        None => url.to_owned(),
    }
}

pub(super) async fn events(request: Request) -> Outcome {
    let filters = request.filters(event::FILTERS)?;
    let now = Timestamp::now();
    let since = request.query.moment("since", now)?;
    let until = request.query.moment("until", now)?;
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        return Err(Failure::invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            since.as_second(),
            until.as_second()
        )));
    }
    let engine = request.app.engine.clone();
    let watcher = match since {
        Some(since) => engine.watch_since(time::nanos(since)).await?,
        None => engine.watch(),
    };
    let plain = request.version.has(Feature::PlainEvents);
    let (sender, body) = body::channel();
    let stream = Stream {
        watcher,
        filters,
        version: request.version,
        sender,
    };
    let app = request.app.clone();
    tokio::spawn(async move {
        let _listening = app.listen();
        stream.run(until).await;
    });
    Ok(flowing(
        if plain {
            "application/jsonl"
        } else {
            "application/json"
        },
        body,
    ))
}

/// Events on their way to one client.
struct Stream {
    watcher: hull_engine::events::Watcher,
    filters: Filters,
    version: ApiVersion,
    sender: body::Sender,
}

impl Stream {
    /// Up to `until` (what lies in the past is sent first), or until the client leaves.
    async fn run(mut self, until: Option<Timestamp>) {
        let end_ns = until.map_or(i64::MAX, time::nanos);
        let wait = until.map(|until| until.duration_since(Timestamp::now()));
        let deadline = async {
            match wait.map(std::time::Duration::try_from) {
                None => std::future::pending().await,
                Some(Ok(wait)) => tokio::time::sleep(wait).await,
                Some(Err(_)) => {}
            }
        };
        tokio::pin!(deadline);
        let mut over = false;
        while !over {
            let events = tokio::select! {
                biased;
                () = self.sender.gone() => return,
                events = self.watcher.next() => events,
                () = &mut deadline => {
                    over = true;
                    self.watcher.ready()
                }
            };
            for event in events {
                if event.time_ns > end_ns {
                    return;
                }
                if event::wanted(&event, &self.filters) && self.send(&event).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn send(&self, event: &hull_engine::events::Event) -> Result<(), body::Gone> {
        let wire = event::to_wire(event, self.version);
        let mut line = serde_json::to_vec(&wire).expect("events always have a JSON form");
        line.push(b'\n');
        self.sender.send(line).await
    }
}

pub(super) async fn disk_usage(request: Request) -> Outcome {
    let wanted: BTreeSet<&str> = request.query.all("type").collect();
    for kind in &wanted {
        if !["container", "image", "volume", "build-cache"].contains(kind) {
            return Err(Failure::invalid(format!("unknown object type: {kind}")));
        }
    }
    let wants = |kind: &str| wanted.is_empty() || wanted.contains(kind);
    let per_kind = request.version.has(Feature::DiskUsagePerKind);
    let verbose = request.query.flag("verbose");
    let legacy = !per_kind || !request.query.contains("verbose");
    let (mut usage, mut volumes) = (DiskUsage::default(), DiskUsage::default());
    // The two that look at many files do so side by side.
    tokio::try_join!(
        async {
            match wants("image") {
                true => images_usage(&request, &mut usage).await,
                false => Ok(()),
            }
        },
        async {
            match wants("volume") {
                true => volumes_usage(&request, &mut volumes).await,
                false => Ok(()),
            }
        }
    )?;
    usage.volumes = volumes.volumes;
    usage.volume_usage = volumes.volume_usage;
    if wants("container") {
        containers_usage(&request, &mut usage).await?;
    }
    if wants("build-cache") {
        cache_usage(&request, &mut usage).await?;
    }
    Ok(json(&shaped(usage, legacy, per_kind, verbose)))
}

async fn cache_usage(request: &Request, usage: &mut DiskUsage) -> Result<(), Failure> {
    let records = super::build::usage(request).await?;
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let in_use = records.iter().filter(|record| record.in_use).count();
    let unused = records
        .iter()
        .filter(|record| !record.in_use && !record.shared);
    usage.build_cache_usage = Some(DiskUsageKind {
        active_count: count(in_use),
        total_count: count(records.len()),
        reclaimable: unused.map(|record| record.size).sum(),
        total_size: records.iter().map(|record| record.size).sum(),
        items: Vec::new(),
    });
    usage.build_cache = Some(records);
    Ok(())
}

/// Leaves out what the client did not ask for or would not understand.
fn shaped(mut usage: DiskUsage, legacy: bool, per_kind: bool, verbose: bool) -> DiskUsage {
    if verbose {
        if let Some(kind) = &mut usage.image_usage {
            kind.items = usage.images.clone().unwrap_or_default();
        }
        if let Some(kind) = &mut usage.container_usage {
            kind.items = usage.containers.clone().unwrap_or_default();
        }
        if let Some(kind) = &mut usage.volume_usage {
            kind.items = usage.volumes.clone().unwrap_or_default();
        }
        if let Some(kind) = &mut usage.build_cache_usage {
            kind.items = usage.build_cache.clone().unwrap_or_default();
        }
    }
    if !legacy {
        usage.layers_size = None;
        usage.images = None;
        usage.containers = None;
        usage.volumes = None;
        usage.build_cache = None;
    }
    if !per_kind {
        usage.image_usage = None;
        usage.container_usage = None;
        usage.volume_usage = None;
        usage.build_cache_usage = None;
    }
    usage
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

async fn images_usage(request: &Request, usage: &mut DiskUsage) -> Result<(), Failure> {
    let found = request.app.engine.images_usage().await?;
    let images = image::summaries(&request.app, &found.images, true, false, request.version);
    let total = bytes(found.total_bytes);
    usage.layers_size = Some(total);
    usage.image_usage = Some(DiskUsageKind {
        active_count: count(images.iter().filter(|image| image.containers > 0).count()),
        total_count: count(images.len()),
        reclaimable: bytes(found.reclaimable_bytes),
        total_size: total,
        items: Vec::new(),
    });
    usage.images = Some(images);
    Ok(())
}

async fn containers_usage(request: &Request, usage: &mut DiskUsage) -> Result<(), Failure> {
    let records = request.app.engine.containers();
    let mut containers = container::summaries(request, &records, false).await?;
    for (wire, record) in containers.iter_mut().zip(&records) {
        let own = request.app.engine.container_disk(record).await.unwrap_or(0);
        wire.size_rw = Some(bytes(own));
    }
    let size = |container: &&hull_api::types::ContainerSummary| container.size_rw.unwrap_or(0);
    let stopped = |container: &&hull_api::types::ContainerSummary| {
        !["running", "paused", "restarting"].contains(&container.state.as_str())
    };
    usage.container_usage = Some(DiskUsageKind {
        active_count: count(
            records
                .iter()
                .filter(|record| record.state.is_running())
                .count(),
        ),
        total_count: count(containers.len()),
        reclaimable: containers
            .iter()
            .filter(stopped)
            .map(|container| size(&container))
            .sum(),
        total_size: containers.iter().map(|container| size(&container)).sum(),
        items: Vec::new(),
    });
    usage.containers = Some(containers);
    Ok(())
}

async fn volumes_usage(request: &Request, usage: &mut DiskUsage) -> Result<(), Failure> {
    let engine = &request.app.engine;
    let all = engine.volumes();
    // What a plugin keeps is not on this disk; one that cannot be measured is no reason not to tell of
    // the others.
    let sizes = engine.volume_sizes(&all).await?;
    let mut volumes = Vec::new();
    for (volume, size) in all.into_iter().zip(sizes) {
        let figures = VolumeUsage {
            size: size.map_or(-1, bytes),
            ref_count: count(engine.volume_users(&volume).len()),
        };
        let mut wire = volume::shown(engine, &volume);
        wire.usage_data = Some(figures);
        volumes.push(wire);
    }
    let figures = || volumes.iter().filter_map(|volume| volume.usage_data);
    usage.volume_usage = Some(DiskUsageKind {
        active_count: count(figures().filter(|figures| figures.ref_count > 0).count()),
        total_count: count(volumes.len()),
        reclaimable: figures()
            .filter(|f| f.ref_count == 0)
            .map(|figures| figures.size.max(0))
            .sum(),
        total_size: figures().map(|figures| figures.size.max(0)).sum(),
        items: Vec::new(),
    });
    usage.volumes = Some(volumes);
    Ok(())
}
