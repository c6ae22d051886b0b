//! The container as a whole: made and run by this program's own runtime or by another one.

use std::{
    fs::File,
    io::BufReader,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use hull_oci::runtime::{LinuxNamespaceType, Process, Spec};
use hull_runtime::{Cgroup, CreateOptions, Created, ExecOptions, StartError, Stdio, Target};
use hull_shim::protocol::{Create, ErrorKind, Reply, Root};

use crate::{foreign::Foreign, process::Theirs};

/// How long a cgroup's last processes may take to end when it is removed.
const CGROUP_PATIENCE: Duration = Duration::from_secs(2);

/// Why something was not done, as the daemon is told.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// Of a step that the kernel refused.
    pub(crate) fn step(step: &str, error: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::Other, format!("{step}: {error}"))
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self::Error {
            kind: failure.kind,
            message: failure.message,
        }
    }
}

impl From<hull_runtime::Error> for Failure {
    fn from(error: hull_runtime::Error) -> Self {
        Self::from(StartError::from(error))
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let kind = match &error {
            StartError::NotFound(_) => ErrorKind::NotFound,
            StartError::NotExecutable(_) => ErrorKind::NotExecutable,
            StartError::State(_) => ErrorKind::State,
            StartError::Other(_) => ErrorKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

/// A process that was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// The terminal's master, if it has a terminal.
    pub(crate) terminal: Option<OwnedFd>,
}

/// The container, from its making to its end.
#[derive(Debug)]
pub(crate) struct Container {
    id: String,
    bundle: PathBuf,
    spec: Spec,
    seccomp_cache: Option<PathBuf>,
    backend: Backend,
}

#[derive(Debug)]
enum Backend {
    Own(Box<Created>),
    Foreign(Foreign),
}

/// Reads the bundle's `config.json`.
pub(crate) fn read_spec(bundle: &Path) -> Result<Spec, Failure> {
    let path = bundle.join("config.json");
    let read = File::open(&path)
        .map_err(|error| error.to_string())
        .and_then(|file| serde_json::from_reader(BufReader::new(file)).map_err(|e| e.to_string()));
    read.map_err(|error| Failure::step(&format!("read {}", path.display()), error))
}

impl Container {
    /// Makes it, all but its start. On failure nothing is left.
    pub(crate) fn create(
        request: &Create,
        spec: Spec,
        network_namespace: Option<OwnedFd>,
        [stdin, stdout, stderr]: Theirs,
    ) -> Result<(Self, Made), Failure> {
        let (backend, made) = match &request.foreign_runtime {
            Some(runtime) => {
                let streams = [stdin, stdout, stderr];
                let (foreign, made) =
                    Foreign::create(runtime, request, &spec, network_namespace, streams)?;
                (Backend::Foreign(foreign), made)
            }
            None => {
                let mut options = CreateOptions::new(&request.id, &request.bundle, &spec);
                options.root = root(&request.root);
                options.stdio = Stdio::Fds(stdin, stdout, stderr);
                options.network_namespace = network_namespace;
                options.seccomp_program = cached(request.seccomp_cache.as_deref());
                options.with_init = request.with_init;
                options.ends_with_caller = true;
                let mut created = hull_runtime::create(options)?;
                let terminal = created.console.take();
                let pidfd = duplicate(&created.pidfd)?;
                let made = Made {
                    pid: created.pid,
                    pidfd,
                    terminal,
                };
                (Backend::Own(Box::new(created)), made)
            }
        };
        let container = Self {
            id: request.id.clone(),
            bundle: request.bundle.clone(),
            spec,
            seccomp_cache: request.seccomp_cache.clone(),
            backend,
        };
        Ok((container, made))
    }

    /// Runs its program. On failure its first process is over.
    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        match &mut self.backend {
            Backend::Own(created) => Ok(created.start()?),
            Backend::Foreign(foreign) => foreign.start(),
        }
    }

    /// Runs one more process in it.
    pub(crate) fn exec(
        &self,
        process: &Process,
        is_privileged: bool,
        [stdin, stdout, stderr]: Theirs,
    ) -> Result<Made, Failure> {
        let created = match &self.backend {
            Backend::Own(created) => created,
            Backend::Foreign(foreign) => return foreign.exec(process, [stdin, stdout, stderr]),
        };
        let target = Target {
            id: &self.id,
            bundle: &self.bundle,
            pid: created.pid,
            pidfd: &created.pidfd,
            spec: &self.spec,
            cgroup: &created.cgroup,
        };
        let mut options = ExecOptions::new(process);
        options.stdio = Stdio::Fds(stdin, stdout, stderr);
        options.unconfined = is_privileged;
        options.seccomp_program = cached(self.seccomp_cache.as_deref());
        let executed = hull_runtime::exec(&target, options)?;
        Ok(Made {
            pid: executed.pid,
            pidfd: executed.pidfd,
            terminal: executed.console,
        })
    }

    /// Whether its processes may outlive its first one.
    pub(crate) fn shares_processes(&self) -> bool {
        let namespaces = self
            .spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.namespaces().as_ref());
        !namespaces.into_iter().flatten().any(|namespace| {
            namespace.typ() == LinuxNamespaceType::Pid && namespace.path().is_none()
        })
    }

    /// Signals every process of it.
    pub(crate) fn signal_all(&self, signal: i32) -> Result<(), Failure> {
        match &self.backend {
            Backend::Own(created) => Ok(created.cgroup.signal_all(signal)?),
            Backend::Foreign(foreign) => foreign.signal_all(signal),
        }
    }

    /// What to poll for the kernel's killing for want of memory.
    pub(crate) fn watch_out_of_memory(&self) -> Option<OwnedFd> {
        match &self.backend {
            Backend::Own(created) => created.cgroup.watch_out_of_memory().ok(),
            Backend::Foreign(_) => None,
        }
    }

    /// How many processes the kernel killed for want of memory.
    pub(crate) fn out_of_memory_kills(&self) -> u64 {
        match &self.backend {
            Backend::Own(created) => created.cgroup.out_of_memory_kills().unwrap_or(0),
            Backend::Foreign(foreign) => foreign.out_of_memory_kills(),
        }
    }

    /// Takes away what is left of it when all its processes are over.
    pub(crate) fn destroy(self) {
        match self.backend {
            Backend::Own(created) => remove(&created.cgroup),
            Backend::Foreign(foreign) => foreign.delete(),
        }
    }
}

fn remove(cgroup: &Cgroup) {
    if let Err(error) = cgroup.remove(CGROUP_PATIENCE) {
        crate::complain(format_args!(
            "cannot remove the cgroup {}: {error}",
            cgroup.path()
        ));
    }
}

fn root(root: &Root) -> hull_runtime::Root {
    match root {
        Root::Directory => hull_runtime::Root::Directory,
        Root::Overlay {
            lower,
            upper,
            work,
            volatile,
            mapped,
        } => hull_runtime::Root::Overlay {
            lower: lower.clone(),
            upper: upper.clone(),
            work: work.clone(),
            volatile: *volatile,
            mapped: *mapped,
        },
    }
}

/// The compiled filter, if the daemon keeps one. Without it the runtime compiles the spec's.
fn cached(path: Option<&Path>) -> Option<Vec<u8>> {
    path.and_then(|path| std::fs::read(path).ok())
}

fn duplicate(fd: &OwnedFd) -> Result<OwnedFd, Failure> {
    fd.try_clone()
        .map_err(|error| Failure::step("duplicate a descriptor", error))
}
