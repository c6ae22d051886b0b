//! Builds: the [`Builder`], and what it asks of the engine.
//!
//! A command of a build runs as any container does: same spec, same confinement, same shim, and an
//! owner of its own. Only its root is the builder's, and it is no container that users see: lists
//! leave it out, and one that a killed daemon left behind is taken away at the next start.

use std::{
    collections::BTreeMap,
    io::Read,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Weak},
};

use hull_build::cache::CacheOrigin;
use hull_build::{
    Builder, Cancel, Device, Finished, Host, HostError, LogStream, Login, RunMount, RunOutput,
    RunRequest,
};
use hull_image::store::Lease;
use hull_image::{Snapshot, Store};
use hull_oci::{Descriptor, Platform};
use hull_registry::document::Remote;
use hull_registry::push::Push;
use hull_registry::{Credentials, push};
use hull_shim::protocol::Attach;
use tokio::runtime::Handle as Runtime;

use crate::{
    Engine, actor,
    actor::Order,
    binfmt,
    cdi::{Catalogue, Listed},
    container::{remove::RemoveOptions, wait::WaitFor},
    error::{Attempt, Error, Result},
    model::{
        Config, ContainerId, DeviceRequest, HostConfig, LogConfig, Name, NetworkMode, Resources,
        Ulimit,
    },
    paths,
    record::{MountKind, MountPoint, Record},
    services::Services,
    ship::PullOptions,
    state::State,
    time::now_ns,
    undo::Undo,
};

/// The host's name in a command of a build, as BuildKit has it.
const HOSTNAME: &str = "buildkitsandbox";

/// The largest piece of output that a frame announces and is read at once.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Held while a builder is opened.
static OPENING: std::sync::Mutex<()> = std::sync::Mutex::new(());

impl Engine {
    /// The builder.
    pub fn builder(&self) -> Result<&Arc<Builder>> {
        let services = self.services();
        if let Some(builder) = services.builder.get() {
            return Ok(builder);
        }
        // A second one that opens would take what the first one's builds are writing for remains.
        let _alone = OPENING
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(builder) = services.builder.get() {
            return Ok(builder);
        }
        let host = BuildHost {
            services: Arc::downgrade(services),
            runtime: Runtime::current(),
        };
        let run_dir = services.paths.builds();
        let images = Arc::clone(&services.images);
        let policies = services.config.build_cache.clone();
        let data = services.paths.data();
        let builder = Builder::open(data, &run_dir, images, Arc::new(host), policies)
            .map_err(|error| Error::Internal(error.to_string()))?;
        Ok(services.builder.get_or_init(|| Arc::new(builder)))
    }

    /// Opens the builder if there were builds before: what a killed daemon left of them goes away.
    pub(crate) async fn reopen_builder(&self) {
        if !self.services().paths.data().join("build").is_dir() {
            return;
        }
        let engine = self.clone();
        let runtime = Runtime::current();
        let job = move || {
            let _runtime = runtime.enter();
            engine.builder().map(drop)
        };
        match self.services().block(job).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) | Err(error) => tracing::error!(%error, "cannot open the build cache"),
        }
    }

    /// Builds have left layers to delete.
    pub fn sweep(&self) {
        self.services().sweep();
    }
}

/// What the builder asks of the engine.
struct BuildHost {
    services: Weak<Services>,
    runtime: Runtime,
}

impl Host for BuildHost {
    fn run(
        &self,
        request: &RunRequest,
        output: &mut RunOutput<'_>,
        cancel: &Cancel,
    ) -> Result<Finished, HostError> {
        let engine = self.engine()?;
        self.run_in(&engine, request, output, cancel)
            .map_err(|error| HostError(crate::shim::chain(&error)))
    }

    fn pull(
        &self,
        reference: &str,
        platform: &Platform,
        login: Option<&Login>,
    ) -> Result<(), HostError> {
        let engine = self.engine()?;
        let options = PullOptions {
            reference: reference.to_owned(),
            platform: Some(platform.to_string()),
            credentials: login.map(credentials),
        };
        let progress = hull_registry::Progress::default();
        self.runtime
            .block_on(engine.image_pull(options, &progress))
            .map_err(|error| HostError(crate::shim::chain(&error)))
    }

    fn remote_cache(
        &self,
        reference: &str,
        login: Option<&Login>,
    ) -> Result<Arc<dyn CacheOrigin>, HostError> {
        let engine = self.engine()?;
        let failed = |error: &dyn std::fmt::Display| HostError(error.to_string());
        let parsed = crate::image::parse_reference(reference).map_err(|error| failed(&error))?;
        let credentials = login.map(credentials);
        let remote = Remote::new(&engine.registries(), &parsed, credentials.as_ref());
        Ok(Arc::new(RemoteCache {
            name: reference.to_owned(),
            remote: remote.map_err(|error| failed(&error))?,
            runtime: self.runtime.clone(),
        }))
    }

    fn push_cache(
        &self,
        cache: &Descriptor,
        reference: &str,
        login: Option<&Login>,
    ) -> Result<(), HostError> {
        let engine = self.engine()?;
        let order = Push {
            reference: crate::image::parse_reference(reference)
                .map_err(|error| HostError(error.to_string()))?,
            platform: None,
            whole: true,
            credentials: login.map(credentials),
        };
        let progress = hull_registry::Progress::default();
        let client = engine.registries();
        let target = Some(cache.clone());
        let pushing = push::push_target(&client, engine.images(), target, &order, &progress);
        let pushed = self.runtime.block_on(pushing);
        pushed
            .map(drop)
            .map_err(|error| HostError(crate::shim::chain(&error)))
    }

    fn devices(&self, wish: &str) -> Result<Vec<Device>, HostError> {
        let engine = self.engine()?;
        let catalogue = Catalogue::read(&engine.config().cdi_directories);
        let found = catalogue.matching(wish);
        let found = found.map_err(|error| HostError(error.to_string()))?;
        let device = |listed: Listed| {
            let edits = catalogue.resolve(std::slice::from_ref(&listed.name));
            let edits = edits.map_err(|error| HostError(error.to_string()))?;
            let mounts = edits.0.iter().flat_map(|edits| &edits.mounts);
            let place = |mount: &crate::cdi::Mount| {
                let is_directory = std::path::Path::new(&mount.host_path).is_dir();
                (mount.container_path.clone(), is_directory)
            };
            Ok(Device {
                places: mounts.map(place).collect(),
                name: listed.name,
                needs_leave: !listed.auto_allow,
            })
        };
        found.into_iter().map(device).collect()
    }

    fn owners(&self) -> Option<OwnedFd> {
        let services = self.services.upgrade()?;
        let namespace = services.remap.as_ref()?.namespace();
        namespace.try_clone_to_owned().ok()
    }

    fn can_run(&self, platform: &Platform) -> bool {
        Platform::host().rank(platform).is_some() || binfmt::has_emulator(platform)
    }
}

/// A cache at a registry, as the builder's threads ask for it.
struct RemoteCache {
    name: String,
    remote: Remote,
    runtime: Runtime,
}

impl CacheOrigin for RemoteCache {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn root(&self) -> Result<Vec<u8>, String> {
        let root = self.runtime.block_on(self.remote.root());
        root.map(Vec::from).map_err(|error| error.to_string())
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, String> {
        let document = self.runtime.block_on(self.remote.document(descriptor));
        document.map(Vec::from).map_err(|error| error.to_string())
    }

    fn bring(
        &self,
        store: &Arc<Store>,
        lease: &Arc<Lease>,
        blob: &Descriptor,
    ) -> Result<(), String> {
        let brought = self.runtime.block_on(self.remote.bring(store, lease, blob));
        brought.map_err(|error| error.to_string())
    }
}

fn credentials(login: &Login) -> Credentials {
    Credentials {
        username: login.user.clone(),
        password: login.password.clone(),
        identity_token: login.identity_token.clone(),
        registry_token: login.registry_token.clone(),
    }
}

impl BuildHost {
    fn engine(&self) -> Result<Engine, HostError> {
        let services = self.services.upgrade();
        services
            .map(Engine::of)
            .ok_or_else(|| HostError("the daemon is stopping".to_owned()))
    }

    fn run_in(
        &self,
        engine: &Engine,
        request: &RunRequest,
        output: &mut RunOutput<'_>,
        cancel: &Cancel,
    ) -> Result<Finished> {
        let _runtime = self.runtime.enter();
        let record = make(engine.services(), request)?;
        let id = record.id.clone();
        actor::launch(engine.services(), record, None);
        let outcome = self.follow(engine, &id, output, cancel);
        let removal = RemoveOptions {
            force: true,
            volumes: true,
        };
        if let Err(error) = self.runtime.block_on(engine.remove(id.as_str(), removal)) {
            tracing::warn!(container = id.short(), %error, "cannot remove a build's container");
        }
        outcome
    }

    /// Starts the container and follows it to its end.
    fn follow(
        &self,
        engine: &Engine,
        id: &ContainerId,
        output: &mut RunOutput<'_>,
        cancel: &Cancel,
    ) -> Result<Finished> {
        let handle = engine.find(id.as_str())?;
        let attach = Attach {
            target: hull_shim::protocol::Target::Init,
            stdin: false,
            stdout: true,
            stderr: true,
            detach_keys: Vec::new(),
        };
        let waiting = engine.wait(id.as_str(), WaitFor::NextExit)?;
        let ticket = self
            .runtime
            .block_on(handle.order(|reply| Order::Attach { attach, reply }))?;
        let (killer, runtime, victim) = (engine.clone(), self.runtime.clone(), id.to_string());
        let _hook = cancel.on_cancel(move || {
            runtime.spawn(async move {
                // It may have ended by itself meanwhile.
                let _ = killer.kill(&victim, None).await;
            });
        });
        self.runtime.block_on(engine.start(id.as_str()))?;
        if cancel.is_cancelled() {
            let _ = self.runtime.block_on(engine.kill(id.as_str(), None));
        }
        if let Ok(stream) = self.runtime.block_on(ticket) {
            read_frames(stream, output).attempt(|| "read a build's output".to_owned())?;
        }
        let ended = self.runtime.block_on(waiting.ended());
        let record = handle.record();
        let exit = record.state.exit();
        Ok(Finished {
            code: ended.map_or(-1, |ended| ended.code),
            out_of_memory: exit.is_some_and(|exit| exit.out_of_memory),
        })
    }
}

/// Reads Docker's frames until the end of the stream.
fn read_frames(
    mut stream: std::os::unix::net::UnixStream,
    output: &mut RunOutput<'_>,
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let mut header = [0u8; 8];
        match stream.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let [kind, _, _, _, a, b, c, d] = header;
        let mut left = u32::from_be_bytes([a, b, c, d]) as usize;
        let kind = if kind == 2 {
            LogStream::Stderr
        } else {
            LogStream::Stdout
        };
        while left > 0 {
            let length = left.min(FRAME_BYTES_MAX);
            buffer.resize(length, 0);
            stream.read_exact(&mut buffer)?;
            output(kind, &buffer);
            left -= length;
        }
    }
}

/// The record of a command's container.
fn make(services: &Arc<Services>, request: &RunRequest) -> Result<Record> {
    let id = ContainerId::random();
    let mut config = config(request);
    let mut host = host_config(services, request)?;
    crate::container::create::settle(services, &mut config, &mut host)?;
    let name = Name::parse(&format!("build-{}", id.short()))
        .map_err(|error| Error::Internal(error.to_string()))?;
    let mut undo = Undo::default();
    services.registry.reserve(&name, &id)?;
    let held = (Arc::clone(services), name.clone(), id.clone());
    undo.push("release the name", move || {
        held.0.registry.release(&held.1, &held.2)
    });
    let bundle = services.paths.bundle(&id);
    paths::make(&bundle, 0o710).attempt(|| format!("create {}", bundle.display()))?;
    let (made, shared) = (bundle, Arc::clone(services));
    undo.push("remove the bundle", move || {
        let _ = shared.discard_directory(&made);
    });
    let mut lower = request.lower.clone();
    lower.push(services.paths.base());
    let record = Record {
        name,
        created_at_ns: now_ns(),
        image_id: String::new(),
        platform: Platform::host().to_string(),
        config,
        host,
        endpoint_configs: BTreeMap::new(),
        snapshot: Snapshot {
            lower,
            upper: request.upper.clone(),
            work: request.work.clone(),
        },
        mounts: request.mounts.iter().map(mount_point).collect(),
        state: State::Created { failure: None },
        restarts: 0,
        cgroup: String::new(),
        last_end_ns: 0,
        asked_to_stop: false,
        endpoints: Vec::new(),
        published: Vec::new(),
        health: None,
        log_path: None,
        left_main_network: false,
        is_build_step: true,
        step_env: request.env.clone(),
        id,
    };
    let kind = crate::store::Kind::Container;
    services.store.put(kind, record.id.as_str(), &record)?;
    undo.keep();
    Ok(record)
}

fn config(request: &RunRequest) -> Config {
    let hostname = &request.defaults.hostname;
    Config {
        hostname: if hostname.is_empty() {
            HOSTNAME
        } else {
            hostname
        }
        .to_owned(),
        user: request.user.clone(),
        cmd: Some(request.args.clone()),
        working_dir: request.working_dir.clone(),
        attach_stdout: true,
        attach_stderr: true,
        ..Config::default()
    }
}

fn host_config(services: &Services, request: &RunRequest) -> Result<HostConfig> {
    let defaults = &request.defaults;
    let network_mode = match request.network.as_str() {
        "" | "default" | "bridge" => NetworkMode::Bridge,
        "none" => NetworkMode::None,
        "host" => NetworkMode::Host,
        other => match other.strip_prefix("container:") {
            Some(reference) => {
                NetworkMode::Container(services.registry.find(reference)?.id.to_string())
            }
            None => {
                let found = services.networks.find(other);
                found.ok_or_else(|| Error::NoSuchNetwork(other.to_owned()))?;
                NetworkMode::Named(other.to_owned())
            }
        },
    };
    let ulimits = defaults.ulimits.iter().map(|text| ulimit(text));
    Ok(HostConfig {
        network_mode,
        privileged: request.is_privileged,
        extra_hosts: defaults.extra_hosts.clone(),
        shm_size: defaults.shm_size,
        log: LogConfig {
            driver: "none".to_owned(),
            options: BTreeMap::new(),
        },
        resources: Resources {
            memory: defaults.memory,
            memory_swap: defaults.memory_swap,
            cpu_shares: defaults.cpu_shares,
            cpu_period_us: defaults.cpu_period,
            cpu_quota_us: defaults.cpu_quota,
            cpuset_cpus: defaults.cpuset_cpus.clone(),
            cpuset_mems: defaults.cpuset_mems.clone(),
            cgroup_parent: defaults.cgroup_parent.clone(),
            ulimits: ulimits.collect::<Result<_>>()?,
            device_requests: devices(&request.devices),
            ..Resources::default()
        },
        ..HostConfig::default()
    })
}

fn devices(names: &[String]) -> Vec<DeviceRequest> {
    if names.is_empty() {
        return Vec::new();
    }
    vec![DeviceRequest {
        driver: "cdi".to_owned(),
        device_ids: names.to_vec(),
        ..DeviceRequest::default()
    }]
}

/// `nofile=1024:2048`.
fn ulimit(text: &str) -> Result<Ulimit> {
    let invalid = || Error::Invalid(format!("invalid ulimit argument: {text}"));
    let (name, values) = text.split_once('=').ok_or_else(invalid)?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    Ok(Ulimit {
        name: name.to_owned(),
        soft: soft.parse().map_err(|_| invalid())?,
        hard: hard.parse().map_err(|_| invalid())?,
    })
}

fn mount_point(mount: &RunMount) -> MountPoint {
    match mount {
        RunMount::Bind {
            source,
            target,
            read_only,
        } => MountPoint {
            kind: MountKind::Bind,
            source: source.clone(),
            destination: target.clone(),
            read_only: *read_only,
            ..MountPoint::default()
        },
        RunMount::Tmpfs { target, size } => {
            let mut options = vec!["exec".to_owned(), "mode=1777".to_owned()];
            if *size > 0 {
                options.push(format!("size={size}"));
            }
            MountPoint {
                kind: MountKind::Tmpfs,
                source: PathBuf::new(),
                destination: target.clone(),
                options,
                ..MountPoint::default()
            }
        }
    }
}
