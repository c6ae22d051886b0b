//! From nothing to running and back.

use std::{
    fs,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use hull_oci::runtime::Spec;
use hull_runtime::{
    CreateOptions, Created, StartError, StartSignal, create as make, hooks, start_through,
};
use hull_sys::{fdpass, process};

use super::{
    Global,
    args::{Args, Flag, NONE},
    exit_code, foreground, spec,
    state::{Container, Record, Status, claim, now, start_time},
    text,
};

/// What a killed container may take to end: it may hold a lot of memory.
const END_PATIENCE: Duration = Duration::from_secs(10);

const CREATE: [Flag; 10] = [
    ("bundle", 'b', true),
    ("console-socket", NONE, true),
    ("pidfd-socket", NONE, true),
    ("pid-file", NONE, true),
    ("no-pivot", NONE, false),
    ("no-new-keyring", NONE, false),
    ("preserve-fds", NONE, true),
    ("detach", 'd', false),
    ("keep", NONE, false),
    ("no-subreaper", NONE, false),
];

/// What `create` and `run` have in common.
struct Making {
    id: String,
    bundle: PathBuf,
    spec: Spec,
    config: Vec<u8>,
    directory: PathBuf,
    args: Args,
}

impl Making {
    fn new(global: &Global, rest: &[String]) -> Result<Self, String> {
        let args = Args::parse_mixed(&CREATE, rest)?;
        let id = args.id()?.to_owned();
        let bundle = args.value("bundle").unwrap_or(".");
        let bundle =
            fs::canonicalize(bundle).map_err(|error| format!("bundle {bundle}: {error}"))?;
        let (mut spec, config, unknown) = spec::load(&bundle.join("config.json"))?;
        for name in unknown {
            global
                .log
                .warn(&format!("unknown capability {name} ignored"));
        }
        let given = sockets();
        if given > 0
            && let Some(process) = spec.process_mut()
        {
            let mut env = process.env().clone().unwrap_or_default();
            env.extend([format!("LISTEN_FDS={given}"), "LISTEN_PID=1".to_owned()]);
            process.set_env(Some(env));
        }
        let directory = claim(&global.root, &id)?;
        Ok(Self {
            id,
            bundle,
            spec,
            config,
            directory,
            args,
        })
    }

    fn has_terminal(&self) -> bool {
        self.spec
            .process()
            .as_ref()
            .and_then(|process| process.terminal())
            == Some(true)
    }

    fn options(&self, global: &Global) -> Result<CreateOptions<'_>, String> {
        let mut options = CreateOptions::new(&self.id, &self.bundle, &self.spec);
        let preserved = self.args.number("preserve-fds")?.unwrap_or(0);
        options.preserve_fds = sockets().saturating_add(preserved);
        options.no_pivot = self.args.has("no-pivot");
        options.no_new_keyring = self.args.has("no-new-keyring");
        options.rootless = global.rootless;
        Ok(options)
    }

    fn container(&self, created: &Created) -> Result<Container, String> {
        let root = self
            .spec
            .root()
            .as_ref()
            .map(|root| self.bundle.join(root.path()));
        let container = Container {
            directory: self.directory.clone(),
            record: Record {
                id: self.id.clone(),
                pid: created.pid,
                start_time: start_time(created.pid).unwrap_or(0),
                bundle: self.bundle.clone(),
                rootfs: root.unwrap_or_default(),
                cgroup: created.cgroup.path().to_owned(),
                created: now(),
                owner: rustix::process::getuid().as_raw(),
            },
            spec: self.spec.clone(),
        };
        container
            .save(&self.config)
            .map_err(|error| format!("save the state: {error}"))?;
        if let Some(path) = self.args.value("pid-file") {
            write_pid_file(Path::new(path), created.pid)?;
        }
        if let Some(path) = self.args.value("pidfd-socket") {
            send_fd(Path::new(path), "pidfd", &created.pidfd)?;
        }
        Ok(container)
    }

    /// The terminal goes to whoever listens.
    fn pass_console(&self, created: &Created) -> Result<(), String> {
        match (&created.console, self.args.value("console-socket")) {
            (Some(console), Some(path)) => send_fd(Path::new(path), "/dev/ptmx", console),
            _ => Ok(()),
        }
    }

    fn check_console(&self, detached: bool) -> Result<(), String> {
        let socket = self.args.value("console-socket").is_some();
        match (self.has_terminal(), detached, socket) {
            (true, true, false) => {
                Err("cannot allocate tty if runc will detach without setting console socket".into())
            }
            (_, false, true) | (false, _, true) => {
                Err("cannot use console socket if runc will not detach or allocate tty".into())
            }
            _ => Ok(()),
        }
    }

    /// Takes back what was made, after a failure.
    fn abandon(&self, created: Option<Created>) {
        if let Some(created) = created {
            let _ = process::signal(&created.pidfd, libc::SIGKILL);
            let _ = process::wait(&created.pidfd);
            let _ = created.cgroup.signal_all(libc::SIGKILL);
            let _ = created.cgroup.remove(END_PATIENCE);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// How many descriptors from 3 on are sockets for the container, by systemd's convention.
fn sockets() -> u32 {
    let own = std::process::id();
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let are_ours = std::env::var_os("LISTEN_PID").is_none() || number("LISTEN_PID") == Some(own);
    number("LISTEN_FDS").filter(|_| are_ours).unwrap_or(0)
}

pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<(), String> {
    let name = path.file_name().ok_or("the pid file has no name")?;
    let temporary = path.with_file_name(format!(".{}", name.to_string_lossy()));
    fs::write(&temporary, pid.to_string())
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|error| format!("write pid file {}: {error}", path.display()))
}

/// As runc does: the file travels with a name.
pub(super) fn send_fd(path: &Path, name: &str, file: &OwnedFd) -> Result<(), String> {
    let send = || {
        let socket = std::os::unix::net::UnixStream::connect(path)?;
        fdpass::send(&socket, name.as_bytes(), &[file.as_fd()])
    };
    send()
        .map(|_| ())
        .map_err(|error| format!("send {name} to {}: {error}", path.display()))
}

/// Paths of sockets are short; directories need not be.
fn in_directory<T>(
    directory: &Path,
    run: impl FnOnce(&Path) -> std::io::Result<T>,
) -> Result<T, String> {
    use std::os::fd::AsRawFd;
    let open = fs::File::open(directory).map_err(|error| error.to_string())?;
    let path = format!("/proc/self/fd/{}/start.sock", open.as_raw_fd());
    run(Path::new(&path)).map_err(|error| format!("{}: {error}", directory.display()))
}

pub(super) fn create(global: &Global, rest: &[String]) -> Result<(), String> {
    let making = Making::new(global, rest)?;
    create_detached(global, &making)
        .map(|_| ())
        .inspect_err(|_| making.abandon(None))
}

fn create_detached(global: &Global, making: &Making) -> Result<Container, String> {
    making.check_console(true)?;
    let mut options = making.options(global)?;
    let listener = in_directory(&making.directory, |path| UnixListener::bind(path))?;
    options.start = StartSignal::Listener(listener.into());
    let mut created = make(options).map_err(create_text)?;
    let finish = making
        .pass_console(&created)
        .and_then(|()| making.container(&created));
    let finish = finish.and_then(|container| created.keep().map_err(text).map(|()| container));
    finish.inspect_err(|_| making.abandon(Some(created)))
}

/// The words managers look for.
fn create_text(error: hull_runtime::Error) -> String {
    format!("create failed: unable to start container process: {error}")
}

fn start_text(error: StartError) -> String {
    format!("unable to start container process: {error}")
}

pub(super) fn run(global: &Global, rest: &[String]) -> Result<ExitCode, String> {
    let making = Making::new(global, rest)?;
    if making.args.has("detach") {
        let container = create_detached(global, &making).inspect_err(|_| making.abandon(None))?;
        let started = start_container(&container);
        return match started {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => {
                let _ = destroy(global, &container, true);
                Err(error)
            }
        };
    }
    let result = run_foreground(global, &making);
    if result.is_err() {
        making.abandon(None);
    }
    result
}

fn run_foreground(global: &Global, making: &Making) -> Result<ExitCode, String> {
    making.check_console(false)?;
    let guard = foreground::Signals::block().map_err(text)?;
    let mut created = make(making.options(global)?).map_err(create_text)?;
    let container = match making.container(&created) {
        Ok(container) => container,
        Err(error) => {
            making.abandon(Some(created));
            return Err(error);
        }
    };
    if let Err(error) = created.start() {
        let _ = process::wait(&created.pidfd);
        let _ = destroy(global, &container, true);
        return Err(start_text(error));
    }
    if let Err(error) = poststart(&container) {
        let _ = process::signal(&created.pidfd, libc::SIGKILL);
        let _ = process::wait(&created.pidfd);
        let _ = destroy(global, &container, true);
        return Err(error);
    }
    let ended = foreground::wait(&guard, &created.pidfd, created.console.as_ref()).map_err(text)?;
    if !making.args.has("keep") {
        destroy(global, &container, true)?;
    }
    Ok(exit_code(ended.code()))
}

pub(super) fn start(global: &Global, rest: &[String]) -> Result<(), String> {
    let args = Args::parse_mixed(&[], rest)?;
    let container = Container::load(&global.root, args.id()?)?;
    match container.status()? {
        Status::Created => start_container(&container),
        Status::Stopped => Err("cannot start a container that has stopped".into()),
        _ => Err("cannot start an already running container".into()),
    }
}

fn start_container(container: &Container) -> Result<(), String> {
    let connection = in_directory(&container.directory, |path| {
        let socket = std::os::unix::net::UnixStream::connect(path)?;
        Ok(OwnedFd::from(socket))
    })?;
    // From here on the container counts as started, whatever comes of it.
    let _ = fs::remove_file(container.socket());
    start_through(connection).map_err(start_text)?;
    poststart(container).inspect_err(|_| {
        if let Some(pidfd) = container.pidfd() {
            let _ = process::signal(&pidfd, libc::SIGKILL);
        }
    })
}

/// Who fails here ends the container.
fn poststart(container: &Container) -> Result<(), String> {
    let list = container
        .spec
        .hooks()
        .as_ref()
        .and_then(|hooks| hooks.poststart().as_ref());
    match list {
        None => Ok(()),
        list => hooks::run(list, "poststart", &container.hook_state("running")).map_err(text),
    }
}

pub(super) fn kill(global: &Global, rest: &[String]) -> Result<(), String> {
    let args = Args::parse_mixed(&[("all", 'a', false)], rest)?;
    let container = Container::load(&global.root, args.id()?)?;
    let signal = args
        .words
        .get(1)
        .map_or(Ok(libc::SIGTERM), |name| signal_number(name))?;
    let cgroup = container.cgroup()?;
    if args.has("all") {
        return cgroup.signal_all(signal).map_err(text);
    }
    let pidfd = container.pidfd().ok_or("container not running")?;
    process::signal(&pidfd, signal).map_err(|error| match error.raw_os_error() {
        Some(libc::ESRCH) => "container not running".to_owned(),
        _ => format!("send signal {signal}: {error}"),
    })?;
    let paused = container.status()? == Status::Paused;
    if signal == libc::SIGKILL && paused {
        cgroup.thaw().map_err(text)?;
    }
    // Without a pid namespace nobody takes the others along.
    let alone = super::info::shares_pids(&container.spec);
    if signal == libc::SIGKILL && alone {
        cgroup.signal_all(signal).map_err(text)?;
    }
    Ok(())
}

/// A number, or a name with or without `SIG`.
fn signal_number(name: &str) -> Result<i32, String> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let unknown = || format!("unknown signal \"{name}\"");
    if let Ok(number) = name.parse::<i32>() {
        return (0..=64)
            .contains(&number)
            .then_some(number)
            .ok_or_else(unknown);
    }
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|known| *known == bare) {
        return i32::try_from(at + 1).map_err(text);
    }
    // Libc keeps two real-time signals for itself.
    let (base, offset) = match (bare.strip_prefix("RTMIN"), bare.strip_prefix("RTMAX")) {
        (Some(offset), _) => (34, offset),
        (_, Some(offset)) => (64, offset),
        _ => return Err(unknown()),
    };
    let offset = if offset.is_empty() {
        0
    } else {
        offset.parse().map_err(|_| unknown())?
    };
    let number: i32 = base + offset;
    (34..=64)
        .contains(&number)
        .then_some(number)
        .ok_or_else(unknown)
}

pub(super) fn delete(global: &Global, rest: &[String]) -> Result<(), String> {
    let args = Args::parse_mixed(&[("force", 'f', false)], rest)?;
    let force = args.has("force");
    let id = args.id()?;
    let container = match Container::load(&global.root, id) {
        Ok(container) => container,
        // What a failed `create` left, or nothing: either is what was asked for.
        Err(_) if force => {
            let _ = fs::remove_dir_all(global.root.join(id));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    match container.status()? {
        Status::Stopped | Status::Created => {}
        _ if force => {}
        other => {
            return Err(format!(
                "cannot delete container {id} that is not stopped: {}",
                other.name()
            ));
        }
    }
    destroy(global, &container, force)
}

/// Ends what still runs and removes every trace. Goes on after a failure.
fn destroy(global: &Global, container: &Container, force: bool) -> Result<(), String> {
    let cgroup = container.cgroup();
    if let Some(pidfd) = container.pidfd() {
        process::signal(&pidfd, libc::SIGKILL).map_err(text)?;
        if let Ok(cgroup) = &cgroup {
            let _ = cgroup.thaw();
        }
        wait_for_end(container)?;
    }
    let mut failures = Vec::new();
    if let Ok(cgroup) = &cgroup {
        if force || super::info::shares_pids(&container.spec) {
            failures.extend(cgroup.signal_all(libc::SIGKILL).err().map(text));
        }
        failures.extend(cgroup.remove(END_PATIENCE).err().map(text));
    }
    let list = container
        .spec
        .hooks()
        .as_ref()
        .and_then(|hooks| hooks.poststop().as_ref());
    if list.is_some() {
        for error in hooks::run_all(list, "poststop", &container.hook_state("stopped")) {
            global.log.warn(&error.to_string());
        }
    }
    let removed = fs::remove_dir_all(&container.directory);
    failures.extend(
        removed
            .err()
            .map(|error| format!("remove the state: {error}")),
    );
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("; "))
    }
}

fn wait_for_end(container: &Container) -> Result<(), String> {
    let deadline = Instant::now() + END_PATIENCE;
    while start_time(container.record.pid) == Some(container.record.start_time) {
        if Instant::now() >= deadline {
            return Err("the container does not end".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_numbers_and_names() {
        for (name, number) in [
            ("9", 9),
            ("KILL", 9),
            ("sigterm", 15),
            ("RTMIN+1", 35),
            ("0", 0),
        ] {
            assert_eq!(signal_number(name), Ok(number), "{name}");
        }
        assert!(signal_number("65").is_err());
        assert!(signal_number("NOPE").is_err());
        assert!(signal_number("RTMAX+1").is_err());
    }
}
