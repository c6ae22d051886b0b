//! A container of another OCI runtime, run with runc's verbs and flags.
//!
//! The root is mounted by us, in a mount namespace of our own, so that neither the host's mount
//! table nor the runtime has to know of layers:
//!
//! ```text
//! <bundle>/foreign/config.json    the bundle's, with the root and network namespace we made
//! <bundle>/foreign/rootfs         the overlay
//! <bundle>/foreign/log.json       what the runtime says when something fails
//! ```
//!
//! We are a subreaper: when the runtime's own process ends, the container's becomes our child.

use std::{
    cell::Cell,
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, net::UnixListener},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use hull_oci::runtime::{Process, Spec};
use hull_shim::protocol::{Create, ErrorKind, ForeignRuntime, Root};
use hull_sys::{
    mount::{self, Change, Propagation},
    namespace::{self, Namespaces},
    overlay::Layers,
    process::Ended,
    spawn::{Program, spawn},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Mode, OFlags},
};
use serde_json::{Value, json};

use crate::{
    complain,
    container::{Failure, Made},
    process::Theirs,
};

/// A runtime that takes longer hangs.
const VERB_TIMEOUT: Timespec = Timespec {
    tv_sec: 120,
    tv_nsec: 0,
};

/// How long a terminal that a runtime has sent may take to arrive.
const TERMINAL_TIMEOUT: Duration = Duration::from_secs(10);

/// What a runtime finds its own helpers with.
const ENVIRONMENT: &std::ffi::CStr =
    c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A container made by another runtime.
#[derive(Debug)]
pub(crate) struct Foreign {
    runtime: ForeignRuntime,
    id: String,
    directory: PathBuf,
    is_mounted: bool,
    /// Named by path in the runtime's config: open as long as it may look.
    _network_namespace: Option<OwnedFd>,
    /// Where the kernel counts the processes it killed for want of memory.
    memory_events: Option<PathBuf>,
    execs: Cell<u32>,
}

impl Foreign {
    pub(crate) fn create(
        runtime: &ForeignRuntime,
        request: &Create,
        spec: &Spec,
        network_namespace: Option<OwnedFd>,
        streams: Theirs,
    ) -> Result<(Self, Made), Failure> {
        if request.with_init {
            let text = format!("{} cannot run an init of ours", runtime.path.display());
            return Err(Failure::new(ErrorKind::Other, text));
        }
        let mut this = Self {
            runtime: runtime.clone(),
            id: request.id.clone(),
            directory: request.bundle.join("foreign"),
            is_mounted: false,
            _network_namespace: None,
            memory_events: None,
            execs: Cell::new(0),
        };
        let terminal = spec
            .process()
            .as_ref()
            .and_then(Process::terminal)
            .unwrap_or(false);
        let made = this
            .prepare(request, network_namespace.as_ref())
            .and_then(|()| this.run_for_process("create", &["--bundle", "."], terminal, streams));
        this._network_namespace = network_namespace;
        match made {
            Ok(made) => {
                this.memory_events = memory_events(made.pid);
                Ok((this, made))
            }
            Err(failure) => {
                this.delete();
                Err(failure)
            }
        }
    }

    pub(crate) fn start(&self) -> Result<(), Failure> {
        self.run("start", &[], &null_streams()?)
    }

    pub(crate) fn exec(&self, process: &Process, streams: Theirs) -> Result<Made, Failure> {
        self.execs.set(self.execs.get() + 1);
        let path = self
            .directory
            .join(format!("exec-{}.json", self.execs.get()));
        let text = serde_json::to_vec(process).map_err(|error| failed("write", &path, error))?;
        std::fs::write(&path, text).map_err(|error| failed("write", &path, error))?;
        let arguments = ["--detach", "--process", &path.to_string_lossy()];
        let terminal = process.terminal().unwrap_or(false);
        let made = self.run_for_process("exec", &arguments, terminal, streams);
        remove_file(&path);
        made
    }

    pub(crate) fn signal_all(&self, signal: i32) -> Result<(), Failure> {
        let signal = signal.to_string();
        let arguments = ["kill", "--all", &self.id, &signal]
            .map(str::to_owned)
            .to_vec();
        self.call(&arguments, &null_streams()?)
    }

    pub(crate) fn out_of_memory_kills(&self) -> u64 {
        let text = self
            .memory_events
            .as_ref()
            .and_then(|path| std::fs::read_to_string(path).ok());
        let text = text.unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Takes away all that is left; goes on after a failure.
    pub(crate) fn delete(&self) {
        let arguments = ["delete", "--force", &self.id].map(str::to_owned);
        if let Err(failure) = null_streams().and_then(|streams| self.call(&arguments, &streams)) {
            complain(format_args!(
                "cannot delete the container: {}",
                failure.message
            ));
        }
        if self.is_mounted
            && let Err(error) = mount::detach(&self.rootfs())
        {
            complain(format_args!(
                "cannot unmount {}: {error}",
                self.rootfs().display()
            ));
        }
        for name in ["config.json", "log.json", "pid", "console.sock"] {
            remove_file(&self.directory.join(name));
        }
        for directory in [&self.rootfs(), &self.directory] {
            if let Err(error) = std::fs::remove_dir(directory)
                && error.kind() != io::ErrorKind::NotFound
            {
                complain(format_args!(
                    "cannot remove {}: {error}",
                    directory.display()
                ));
            }
        }
    }

    fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    /// Makes the root and the runtime's config.
    fn prepare(&mut self, request: &Create, network: Option<&OwnedFd>) -> Result<(), Failure> {
        let rootfs = self.rootfs();
        std::fs::create_dir_all(&rootfs).map_err(|error| failed("make", &rootfs, error))?;
        let path = request.bundle.join("config.json");
        let mut config = std::fs::read(&path)
            .map_err(|error| failed("read", &path, error))
            .and_then(|text| {
                serde_json::from_slice::<Value>(&text)
                    .map_err(|error| failed("understand", &path, error))
            })?;
        if let Root::Overlay { .. } = &request.root {
            mount_overlay(&request.root, &rootfs)
                .map_err(|error| failed("mount the root on", &rootfs, error))?;
            self.is_mounted = true;
            config["root"]["path"] = json!(rootfs);
        } else if let Some(root) = config["root"]["path"].as_str() {
            config["root"]["path"] = json!(request.bundle.join(root));
        }
        if let Some(env) = &request.env {
            config["process"]["env"] = json!(env);
        }
        if let Some(network) = network {
            let ours = format!("/proc/{}/fd/{}", std::process::id(), network.as_raw_fd());
            set_network(&mut config, &ours);
        }
        let path = self.directory.join("config.json");
        std::fs::write(&path, config.to_string()).map_err(|error| failed("write", &path, error))
    }

    /// Runs a verb that makes a process, and takes the process and its terminal.
    fn run_for_process(
        &self,
        verb: &str,
        arguments: &[&str],
        terminal: bool,
        streams: Theirs,
    ) -> Result<Made, Failure> {
        let pid_path = self.directory.join("pid");
        let mut all: Vec<String> = vec![verb.to_owned()];
        for argument in arguments {
            let here = self.directory.to_string_lossy();
            all.push(if *argument == "." {
                here.into_owned()
            } else {
                (*argument).to_owned()
            });
        }
        all.extend([
            "--pid-file".to_owned(),
            pid_path.to_string_lossy().into_owned(),
        ]);
        let console = terminal
            .then(|| Console::listen(&self.directory))
            .transpose();
        let console = console.map_err(|error| Failure::step("listen for a terminal", error))?;
        if let Some(console) = &console {
            all.extend(["--console-socket".to_owned(), console.path.clone()]);
        }
        all.push(self.id.clone());
        self.call(&all, &streams)?;
        let terminal = console.map(|console| console.receive()).transpose();
        let terminal = terminal.map_err(|error| Failure::step("receive the terminal", error))?;
        let text = std::fs::read_to_string(&pid_path);
        remove_file(&pid_path);
        let pid = text.map_err(|error| failed("read", &pid_path, error))?;
        let pid = pid
            .trim()
            .parse::<i32>()
            .map_err(|error| failed("read", &pid_path, error))?;
        let pidfd = hull_sys::process::open(pid);
        let pidfd = pidfd.map_err(|error| Failure::step("open the process", error))?;
        Ok(Made {
            pid,
            pidfd,
            terminal,
        })
    }

    fn run(&self, verb: &str, arguments: &[&str], streams: &Theirs) -> Result<(), Failure> {
        let mut all = vec![verb.to_owned()];
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        all.push(self.id.clone());
        self.call(&all, streams)
    }

    /// Runs the runtime and waits for its end. Its own words, when it fails, are in its log.
    fn call(&self, arguments: &[String], streams: &Theirs) -> Result<(), Failure> {
        let log = self.directory.join("log.json");
        remove_file(&log);
        let mut all = vec![self.runtime.path.as_os_str().as_bytes().to_vec()];
        all.extend(
            self.runtime
                .args
                .iter()
                .map(|argument| argument.clone().into_bytes()),
        );
        for (name, path) in [("--root", &self.runtime.state_dir), ("--log", &log)] {
            all.push(name.into());
            all.push(path.as_os_str().as_bytes().to_vec());
        }
        all.extend([b"--log-format".to_vec(), b"json".to_vec()]);
        all.extend(
            arguments
                .iter()
                .map(|argument| argument.clone().into_bytes()),
        );
        let ended = run_to_end(&self.runtime.path, all, streams);
        let what = || format!("run {} {}", self.runtime.path.display(), arguments[0]);
        match ended.map_err(|error| Failure::step(&what(), error))? {
            Ended::Exited(0) => Ok(()),
            ended => Err(explain(
                &log,
                &format!("{}: exit code {}", what(), ended.code()),
            )),
        }
    }
}

fn failed(what: &str, path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::step(&format!("{what} {}", path.display()), error)
}

fn remove_file(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        complain(format_args!("cannot remove {}: {error}", path.display()));
    }
}

fn null_streams() -> Result<Theirs, Failure> {
    let null = || {
        File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map(OwnedFd::from)
    };
    let open = || Ok([null()?, null()?, null()?]);
    open().map_err(|error: io::Error| Failure::step("open /dev/null", error))
}

/// In a mount namespace of our own: what is mounted here is seen by us and by what we start.
fn mount_overlay(root: &Root, target: &Path) -> io::Result<()> {
    let Root::Overlay {
        lower,
        upper,
        work,
        volatile,
        ..
    } = root
    else {
        return Ok(());
    };
    namespace::unshare(Namespaces::MOUNT)?;
    let path = |path: &Path| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let propagation = Change {
        propagation: Some(Propagation::Slave),
        ..Change::default()
    };
    mount::change(path(Path::new("/"))?.as_fd(), true, &propagation)?;
    let layers = Layers {
        lower,
        writable: Some((upper, work)),
        volatile: *volatile,
        ..Layers::default()
    };
    let overlay = layers.mount()?;
    mount::attach(overlay.as_fd(), path(target)?.as_fd())
}

/// The config's network namespace is this one, whether or not it names another.
fn set_network(config: &mut Value, path: &str) {
    let namespaces = &mut config["linux"]["namespaces"];
    if !namespaces.is_array() {
        *namespaces = json!([]);
    }
    if let Some(namespaces) = namespaces.as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({ "type": "network", "path": path }));
    }
}

fn run_to_end(path: &Path, arguments: Vec<Vec<u8>>, streams: &Theirs) -> io::Result<Ended> {
    let arguments: Vec<CString> = arguments
        .into_iter()
        .map(CString::new)
        .collect::<Result<_, _>>()?;
    let fds: Vec<BorrowedFd<'_>> = streams.iter().map(AsFd::as_fd).collect();
    let (_, pidfd) = spawn(&Program {
        file: File::open(path)?.as_fd(),
        args: &arguments,
        env: &[ENVIRONMENT.to_owned()],
        fds: &fds,
    })?;
    let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
    let is_over = rustix::event::poll(&mut polled, Some(&VERB_TIMEOUT))? > 0;
    if !is_over {
        hull_sys::process::signal(&pidfd, libc::SIGKILL)?;
    }
    hull_sys::process::wait(&pidfd)
}

/// The last complaint in a runtime's log.
fn explain(log: &Path, otherwise: &str) -> Failure {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let message = text.lines().rev().find_map(|line| {
        let entry: Value = serde_json::from_str(line).ok()?;
        (entry["level"] == "error").then(|| entry["msg"].as_str().map(str::to_owned))?
    });
    let message = message.unwrap_or_else(|| otherwise.to_owned());
    Failure::new(kind(&message), message)
}

/// Runtimes tell by words alone.
fn kind(message: &str) -> ErrorKind {
    let says = |words: &str| message.contains(words);
    if says("executable file not found") || says("no such file or directory") {
        ErrorKind::NotFound
    } else if says("permission denied") || says("is a directory") || says("exec format error") {
        ErrorKind::NotExecutable
    } else {
        ErrorKind::Other
    }
}

/// The file in which the kernel counts, for the cgroup of `pid`.
fn memory_events(pid: i32) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let of = |controllers: &str| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (names, path) = rest.split_once(':')?;
            names
                .split(',')
                .any(|name| name == controllers)
                .then(|| path[1..].to_owned())
        })
    };
    let root = Path::new("/sys/fs/cgroup");
    match of("memory") {
        Some(path) => Some(root.join("memory").join(path).join("memory.oom_control")),
        None => Some(root.join(of("")?).join("memory.events")),
    }
}

/// Where a runtime sends a terminal's master.
struct Console {
    listener: UnixListener,
    /// Short, however long the bundle's path is; the runtime connects to it.
    path: String,
    _directory: OwnedFd,
}

impl Console {
    fn listen(directory: &Path) -> io::Result<Self> {
        const NAME: &str = "console.sock";
        let listener = hull_shim::socket::listen(&directory.join(NAME))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty())?;
        let path = format!(
            "/proc/{}/fd/{}/{NAME}",
            std::process::id(),
            directory.as_raw_fd()
        );
        Ok(Self {
            listener,
            path,
            _directory: directory,
        })
    }

    /// The runtime has ended: what it sent is there.
    fn receive(self) -> io::Result<OwnedFd> {
        self.listener.set_nonblocking(true)?;
        let (socket, _) = self.listener.accept()?;
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(TERMINAL_TIMEOUT))?;
        let (mut name, mut fds) = ([0; 4096], Vec::new());
        hull_sys::fdpass::receive(&socket, &mut name, &mut fds)?;
        fds.pop()
            .ok_or_else(|| io::Error::other("the runtime sent no terminal"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_network_namespace_takes_the_place_of_the_configs() {
        let mut config = json!({ "linux": { "namespaces": [
            { "type": "pid" }, { "type": "network", "path": "/other" } ] } });
        set_network(&mut config, "/ours");
        let expected = json!([{ "type": "pid" }, { "type": "network", "path": "/ours" }]);
        assert_eq!(config["linux"]["namespaces"], expected);
    }

    #[test]
    fn a_runtimes_words_tell_what_kind_of_failure_it_is() {
        let text = "exec: \"nope\": executable file not found in $PATH";
        assert_eq!(kind(text), ErrorKind::NotFound);
        assert_eq!(
            kind("exec /etc: permission denied"),
            ErrorKind::NotExecutable
        );
        assert_eq!(kind("something else"), ErrorKind::Other);
    }
}
