//! Runs a container: network, files, spec, shim, start.
//!
//! All of it blocks, so the owner runs it as a job. The shim's program is started first and comes
//! up while the network is made.

use std::{
    borrow::Cow,
    ffi::CString,
    fs,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::Arc,
};

use hull_network::{Endpoint, Published};
use hull_oci::runtime::{Process, Spec};
use hull_shim::{
    client::Client,
    protocol::{self, Attach, Reply, Request},
};
use hull_sys::spawn;
use rustix::process::{Signal, pidfd_send_signal};
use tokio::sync::oneshot;

use crate::{
    apparmor, cdi,
    claims::Claim,
    container::exec::ExecOptions,
    error::{Attempt, Error, Result},
    model::{Config, HealthProbe, Healthcheck, IpcNamespace, NetworkMode, PidNamespace},
    record::Record,
    remap::Remap,
    restore::end_shim,
    sealed::{self, Unsealed},
    services::{EXIT_RECORD, Services},
    shim::{self, ANSWER_TIMEOUT},
    spec,
    state::Run,
    time::now_ns,
    undo::Undo,
    volume,
};

/// A start to be done.
pub(crate) struct Job {
    pub(crate) services: Arc<Services>,
    pub(crate) record: Record,
    /// Clients that attached before the start.
    pub(crate) attaches: Vec<(Attach, oneshot::Sender<UnixStream>)>,
    /// Nobody else has its layers mounted.
    pub(crate) claim: Claim,
}

/// What a start gives.
pub(crate) struct Started {
    pub(crate) run: Run,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) published: Vec<Published>,
    /// Its health is watched from now on.
    pub(crate) has_probe: bool,
    /// A connection on which the shim tells what happens.
    pub(crate) events: UnixStream,
    /// Nobody mounts its layers until all know that it runs.
    pub(crate) claim: Claim,
}

/// Why a start failed: nothing of it is left.
#[derive(Debug)]
pub(crate) struct Failed {
    /// 127 not found, 126 not executable, 128 otherwise.
    pub(crate) code: i32,
    /// Docker's text.
    pub(crate) message: String,
}

/// Docker's words before what a runtime says, from which clients derive their exit code.
const RUNTIME_FAILED: &str = "failed to create task for container: failed to create shim task: \
                              OCI runtime create failed: runc create failed: unable to start \
                              container process";

/// Default times of a health check, in nanoseconds.
const HEALTH_INTERVAL_NS: u64 = 30_000_000_000;
const HEALTH_TIMEOUT_NS: u64 = 30_000_000_000;
const HEALTH_START_INTERVAL_NS: u64 = 5_000_000_000;
/// Failures in a row that make a container unhealthy.
const HEALTH_RETRIES: u32 = 3;

impl Failed {
    pub(crate) fn internal(message: String) -> Self {
        Self { code: 128, message }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Start { code, message } => Self {
                code,
                message: format!("{RUNTIME_FAILED}: {message}"),
            },
            other => Self {
                code: 128,
                message: shim::chain(&other),
            },
        }
    }
}

impl Job {
    /// Starts the container, or leaves nothing behind.
    pub(crate) fn run(self) -> Result<Started, Failed> {
        let Self {
            services,
            record,
            attaches,
            claim,
        } = self;
        let mut undo = Undo::default();
        let started = start(&services, &record, attaches, claim, &mut undo)?;
        undo.keep();
        Ok(started)
    }
}

fn start(
    services: &Arc<Services>,
    record: &Record,
    attaches: Vec<(Attach, oneshot::Sender<UnixStream>)>,
    claim: Claim,
    undo: &mut Undo,
) -> Result<Started> {
    let run_dir = services.paths.run(&record.id);
    make_run_dir(&run_dir)?;
    let _ = fs::remove_file(services.paths.bundle(&record.id).join(EXIT_RECORD));
    let made = run_dir.clone();
    undo.push("remove the run directory", move || {
        drop(fs::remove_dir_all(made))
    });
    let (control, shim) = spawn_shim(services, &run_dir)?;
    // Harmless for one that was let go; one that made nothing yet would wait for ever.
    let (owner, whose) = (Arc::clone(services), record.clone());
    undo.push("end the shim", move || {
        let _ = pidfd_send_signal(&shim, Signal::KILL);
        // What it was making may stand still and outlive it.
        owner.destroy_cgroup(&whose);
    });
    services.check_remap(&record.host)?;
    let donors = services.donors_of(record)?;
    let connected = services.network_for(record)?;
    let (owner, endpoints) = (Arc::clone(services), connected.endpoints.clone());
    undo.push("release the network", move || {
        owner.networks.release(&endpoints)
    });

    // A daemon that dies from here on finds the addresses and ports again.
    let mut placed = record.clone();
    placed.endpoints.clone_from(&connected.endpoints);
    placed.published.clone_from(&connected.published);
    // What the last run's probes said is nothing to act on.
    placed.health = None;
    services.save(&placed);

    let planned = plan(services, record, &connected, undo)?;
    let spec = &planned.spec;
    let mut client = Client::new(control);
    client
        .set_timeout(Some(ANSWER_TIMEOUT))
        .map_err(shim::refused)?;
    let create = create_order(services, record, spec)?;
    let has_probe = create.health.is_some();
    let fds: Vec<_> = connected.namespace.iter().map(AsFd::as_fd).collect();
    let link = services.shim_of(&record.id);
    let created = client.request(&Request::Create(Box::new(create)), &fds);
    let created = created.map_err(shim::refused);
    // What it joined, it has joined by now, and nothing of the user's has run in it.
    let created = created.and_then(|reply| services.check_donors(&donors).map(|()| reply));
    let pid = match created {
        Ok(Reply::Created { pid }) => pid,
        Ok(other) => return Err(unexpected("a create", &other)),
        Err(error) => {
            end_shim(&mut client);
            return Err(error);
        }
    };
    for (attach, waiting) in attaches {
        if let Ok(stream) = link.attach_blocking(attach) {
            // A client that went away in the meantime misses nothing.
            let _ = waiting.send(stream);
        }
    }
    if let Err(error) = client.request(&Request::Start, &[]).map_err(shim::refused) {
        end_shim(&mut client);
        return Err(error);
    }
    let events = client.events().map_err(shim::refused)?.into_stream();
    Ok(Started {
        run: Run {
            pid,
            started_at_ns: now_ns(),
        },
        endpoints: connected.endpoints,
        published: connected.published,
        has_probe,
        events,
        claim,
    })
}

fn unexpected(to: &str, reply: &Reply) -> Error {
    Error::Internal(format!("the shim answered {to} with {reply:?}"))
}

fn make_run_dir(run_dir: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    // A leftover of an earlier run has no shim any more: the state says so.
    sealed::clear(run_dir);
    let _ = fs::remove_dir_all(run_dir);
    fs::DirBuilder::new()
        .mode(0o700)
        .create(run_dir)
        .attempt(|| format!("create {}", run_dir.display()))
}

/// Starts the shim's program; gives our end of its first connection, and its process.
fn spawn_shim(services: &Services, run_dir: &std::path::Path) -> Result<(UnixStream, OwnedFd)> {
    let attempt = || "start the shim".to_owned();
    let (ours, theirs) = UnixStream::pair().attempt(attempt)?;
    let null = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .attempt(attempt)?;
    let path = CString::new(run_dir.as_os_str().as_encoded_bytes())
        .map_err(|_| Error::Internal("the run directory's path has a zero byte".to_owned()))?;
    let args = [c"hull-shim".to_owned(), c"--dir".to_owned(), path];
    let (_, process) = spawn::spawn(&spawn::Program {
        file: services.shim.as_fd(),
        args: &args,
        env: &[],
        fds: &[null.as_fd(), null.as_fd(), null.as_fd(), theirs.as_fd()],
    })
    .attempt(attempt)?;
    Ok((ours, process))
}

/// What a started container's network is.
#[derive(Default)]
pub(crate) struct Connected {
    /// A prepared namespace to run in.
    pub(crate) namespace: Option<OwnedFd>,
    /// The user namespace to run in, if that is not the host's.
    pub(crate) user: Option<OwnedFd>,
    /// A namespace to join, by path.
    pub(crate) join: Option<PathBuf>,
    /// Places in networks.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Ports on the host.
    pub(crate) published: Vec<Published>,
}

/// What is to be made.
struct Planned {
    spec: Spec,
    /// What the spec's mounts lead through; held until they are made.
    _ready: volume::Ready,
    /// The secrets among them.
    _unsealed: Option<Unsealed>,
}

/// The OCI spec, written into the bundle.
fn plan(
    services: &Arc<Services>,
    record: &Record,
    connected: &Connected,
    undo: &mut Undo,
) -> Result<Planned> {
    let bundle = services.paths.bundle(&record.id);
    let files = services.write_network_files(record, connected)?;
    let user = resolve_user(
        services,
        record,
        &record.config.user,
        &record.host.group_add,
    )?;
    let mut config = named_like_donor(services, record)?;
    if record.is_build_step {
        config.to_mut().env.clone_from(&record.step_env);
    }
    let remap = services.remap_of(&record.host);
    let holder = record.id.as_str();
    let mut ready = volume::ready(services, record, holder, Some(&user), remap, undo)?;
    volume::propagation::check(&ready.mounts, services.paths.data())?;
    let unsealed = Unsealed::of(services, record, &user)?;
    ready
        .mounts
        .extend(unsealed.iter().flat_map(|own| own.mounts.iter().cloned()));
    let requests = &record.host.resources.device_requests;
    let edits = cdi::requested(&services.config.cdi_directories, requests)?;
    let input = spec::SpecInput {
        id: record.id.as_str(),
        config: &config,
        host: &record.host,
        command: record.command(),
        user: &user,
        mounts: &ready.mounts,
        files: &files,
        edits: &edits,
        join: spec::Joined {
            network: connected.join.clone(),
            ipc: ipc_to_join(services, record)?,
            pid: pid_to_join(services, record)?,
            user: connected.user.as_ref().map(path_of),
        },
        ids: remap.map(Remap::ids),
        own_network: connected.namespace.is_some(),
        cgroup_path: services.cgroup_to_make(record),
        defaults: &services.config.spec_defaults(),
        facts: &services.host,
    };
    let spec = spec::spec(&input)?;
    let process = spec.process().as_ref();
    if process.is_some_and(|process| {
        process.apparmor_profile().as_deref() == Some(apparmor::DEFAULT_PROFILE)
    }) {
        apparmor::ensure_default()?;
    }
    let path = bundle.join("config.json");
    let text = if record.is_build_step {
        encode(&without_env(&spec))?
    } else {
        encode(&spec)?
    };
    fs::write(&path, text).attempt(|| format!("write {}", path.display()))?;
    Ok(Planned {
        spec,
        _ready: ready,
        _unsealed: unsealed,
    })
}

/// How the shim reaches what this process has open.
fn path_of(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        fd.as_raw_fd()
    ))
}

fn encode(spec: &Spec) -> Result<Vec<u8>> {
    serde_json::to_vec(spec).map_err(|error| Error::Internal(format!("encode the spec: {error}")))
}

/// A build step's environment may hold secrets: it goes to the shim in memory, not over the disk.
fn without_env(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    if let Some(process) = spec.process_mut() {
        process.set_env(Some(Vec::new()));
    }
    spec
}

/// A container in another's network has the other's name too.
fn named_like_donor<'a>(services: &Services, record: &'a Record) -> Result<Cow<'a, Config>> {
    let NetworkMode::Container(reference) = &record.host.network_mode else {
        return Ok(Cow::Borrowed(&record.config));
    };
    let donor = services.registry.find(reference)?.record();
    let mut config = record.config.clone();
    config.hostname.clone_from(&donor.config.hostname);
    config.domainname.clone_from(&donor.config.domainname);
    Ok(Cow::Owned(config))
}

/// The namespace of another container, by the path to its process.
fn namespace_of(services: &Services, reference: &str, kind: &str) -> Result<PathBuf> {
    let record = services.registry.find(reference)?.record();
    let Some(run) = record.state.run() else {
        return Err(Error::State(format!(
            "cannot join {kind} namespace of a non running container: {}",
            record.id
        )));
    };
    Ok(PathBuf::from(format!("/proc/{}/ns/{kind}", run.pid)))
}

fn ipc_to_join(services: &Services, record: &Record) -> Result<Option<PathBuf>> {
    let IpcNamespace::Container(reference) = &record.host.ipc else {
        return Ok(None);
    };
    let owner = services.registry.find(reference)?.record();
    if !matches!(owner.host.ipc, IpcNamespace::Shareable) {
        return Err(Error::State(format!(
            "cannot join IPC of container {}: non-shareable IPC (hint: use IpcMode:shareable for \
             the donor container)",
            owner.id
        )));
    }
    namespace_of(services, reference, "ipc").map(Some)
}

fn pid_to_join(services: &Services, record: &Record) -> Result<Option<PathBuf>> {
    match &record.host.pid {
        PidNamespace::Container(reference) => namespace_of(services, reference, "pid").map(Some),
        PidNamespace::Private | PidNamespace::Host => Ok(None),
    }
}

/// The network namespace of the container whose network is shared.
pub(crate) fn network_to_join(services: &Services, record: &Record) -> Result<Option<PathBuf>> {
    match &record.host.network_mode {
        NetworkMode::Container(reference) => namespace_of(services, reference, "net").map(Some),
        _ => Ok(None),
    }
}

/// Who runs it, in numbers.
pub(crate) fn resolve_user(
    services: &Services,
    record: &Record,
    user: &str,
    groups: &[String],
) -> Result<crate::user::User> {
    let passwd = services.read_file_of(record, "etc/passwd")?;
    let group = services.read_file_of(record, "etc/group")?;
    Ok(crate::user::resolve(user, groups, &passwd, &group)?)
}

/// What an exec session runs, all resolved.
pub(crate) fn exec_process(
    services: &Services,
    record: &Record,
    options: &ExecOptions,
    size: Option<(u16, u16)>,
) -> Result<Process> {
    let user = if options.user.is_empty() {
        &record.config.user
    } else {
        &options.user
    };
    let user = resolve_user(services, record, user, &record.host.group_add)?;
    let request = spec::ExecRequest {
        command: &options.command,
        env: &options.env,
        user: &user,
        user_given: !options.user.is_empty(),
        working_dir: &options.working_dir,
        tty: options.tty,
        privileged: options.privileged,
        console_size: size,
    };
    let mut process = spec::exec_process(
        &record.config,
        &record.host,
        &services.config.spec_defaults(),
        &request,
    )?;
    let profile = match (services.host.apparmor, options.privileged) {
        (false, _) => None,
        (true, true) => process.apparmor_profile().clone(),
        (true, false) => profile_of(services, record),
    };
    process.set_apparmor_profile(profile);
    Ok(process)
}

/// The AppArmor profile that confines a running container.
fn profile_of(services: &Services, record: &Record) -> Option<String> {
    let text = fs::read(services.paths.bundle(&record.id).join("config.json")).ok()?;
    let spec: Spec = serde_json::from_slice(&text).ok()?;
    spec.process().as_ref()?.apparmor_profile().clone()
}

fn create_order(services: &Services, record: &Record, spec: &Spec) -> Result<protocol::Create> {
    let bundle = services.paths.bundle(&record.id);
    let foreign = services
        .runtime(&record.host.runtime)?
        .map(|runtime| protocol::ForeignRuntime {
            path: runtime.path.clone(),
            args: runtime.args.clone(),
            state_dir: services.paths.run(&record.id).join("runtime"),
        });
    let seccomp = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.seccomp().as_ref());
    let filter = seccomp.and_then(|profile| services.filters.file_for(profile));
    Ok(protocol::Create {
        id: record.id.to_string(),
        root: protocol::Root::Overlay {
            lower: record.snapshot.lower.clone(),
            upper: record.snapshot.upper.clone(),
            work: record.snapshot.work.clone(),
            volatile: false,
            mapped: services.remap_of(&record.host).is_some(),
        },
        bundle,
        foreign_runtime: foreign,
        open_stdin: record.config.open_stdin,
        stdin_once: record.config.stdin_once,
        log: crate::log::plan(record),
        health: health(record, spec),
        with_init: record.host.init.unwrap_or(services.config.init),
        seccomp_cache: filter,
        env: record
            .is_build_step
            .then(|| spec.process().as_ref()?.env().clone())
            .flatten(),
    })
}

/// The probes the shim shall run.
fn health(record: &Record, spec: &Spec) -> Option<protocol::Health> {
    let check = record.config.healthcheck.as_ref()?;
    let process = spec::health_process(&record.config, spec, probe_words(record, check)?)?;
    let or = |value: i64, default: u64| {
        u64::try_from(value)
            .ok()
            .filter(|v| *v > 0)
            .unwrap_or(default)
    };
    Some(protocol::Health {
        process,
        interval_ns: or(check.interval_ns, HEALTH_INTERVAL_NS),
        timeout_ns: or(check.timeout_ns, HEALTH_TIMEOUT_NS),
        start_period_ns: or(check.start_period_ns, 0),
        start_interval_ns: or(check.start_interval_ns, HEALTH_START_INTERVAL_NS),
        retries: u32::try_from(check.retries)
            .ok()
            .filter(|n| *n > 0)
            .unwrap_or(HEALTH_RETRIES),
    })
}

fn probe_words(record: &Record, check: &Healthcheck) -> Option<Vec<String>> {
    match &check.probe {
        HealthProbe::Inherit | HealthProbe::Disabled => None,
        HealthProbe::Command(words) => Some(words.clone()).filter(|words| !words.is_empty()),
        HealthProbe::Shell(text) => {
            let shell = record
                .config
                .shell
                .clone()
                .filter(|words| !words.is_empty());
            let mut words = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            words.push(text.clone());
            Some(words)
        }
    }
}
