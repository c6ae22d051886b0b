//! A shim with a busybox container of its own, below a temporary directory, in namespaces of its
//! own. Everything is gone when it is dropped, also after a failure.
//!
//! `HULL_TEST_RUNTIME=/usr/sbin/runc` runs the same tests with another OCI runtime, `HULL_TEST_SHIM`
//! with another build of the shim.

use std::{
    ffi::CString,
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use hull_shim::{
    client::{Client, ClientError, Events},
    protocol::{
        Attach, Create, ErrorKind, Event, Exec, Exit, ForeignRuntime, Health, Log, Reply, Request,
        Root, State, Target,
    },
};
use hull_sys::spawn::{Program, spawn};
use serde_json::{Value, json};

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const ALL_CAPABILITIES: [&str; 6] = [
    "CAP_KILL",
    "CAP_CHOWN",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_DAC_OVERRIDE",
    "CAP_SYS_ADMIN",
];

/// How a container is to be.
pub(crate) struct Options {
    pub(crate) terminal: bool,
    pub(crate) open_stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) with_init: bool,
    pub(crate) shared_processes: bool,
    pub(crate) log_size_max: u64,
    pub(crate) compress: bool,
    pub(crate) health: Option<Health>,
    pub(crate) edit: fn(&mut Value),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            terminal: false,
            open_stdin: false,
            stdin_once: false,
            with_init: false,
            shared_processes: false,
            log_size_max: 0,
            compress: false,
            health: None,
            edit: |_| {},
        }
    }
}

pub(crate) struct Shim {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) client: Client,
    pub(crate) id: String,
    pub(crate) pidfd: OwnedFd,
    pub(crate) pid: i32,
}

impl Shim {
    /// A shim without a container.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let run = directory.path().join("run");
        std::fs::create_dir(&run).unwrap();
        make_root(&directory.path().join("rootfs"));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let args = [
            "unshare".into(),
            "--mount".into(),
            "--net".into(),
            std::env::var("HULL_TEST_SHIM").unwrap_or(env!("CARGO_BIN_EXE_hull-shim").into()),
            "--dir".into(),
            run.into_os_string().into_string().unwrap(),
        ];
        let args: Vec<CString> = args.map(|arg: String| CString::new(arg).unwrap()).to_vec();
        let null = File::open("/dev/null").unwrap();
        let stderr = std::io::stderr();
        let (pid, pidfd) = spawn(&Program {
            file: File::open("/usr/bin/unshare").unwrap().as_fd(),
            args: &args,
            env: &[],
            fds: &[null.as_fd(), null.as_fd(), stderr.as_fd(), theirs.as_fd()],
        })
        .unwrap();
        let client = Client::new(ours);
        client.set_timeout(Some(PATIENCE)).unwrap();
        let pid = pid.as_raw_nonzero().get();
        let id = format!("{pid:064x}");
        Self {
            directory,
            client,
            id,
            pidfd,
            pid,
        }
    }

    /// A shim with a container of `args`, made but not started.
    pub(crate) fn with(args: &[&str], options: &Options) -> Self {
        let mut this = Self::start();
        this.create(args, options).unwrap();
        this
    }

    /// A shim with a running container.
    pub(crate) fn running(args: &[&str], options: &Options) -> Self {
        let mut this = Self::with(args, options);
        this.request(&Request::Start);
        this
    }

    pub(crate) fn create(
        &mut self,
        args: &[&str],
        options: &Options,
    ) -> Result<Reply, ClientError> {
        self.write_config(args, options);
        let foreign = std::env::var_os("HULL_TEST_RUNTIME").map(|path| ForeignRuntime {
            path: path.into(),
            args: Vec::new(),
            state_dir: self.path("state"),
        });
        let create = Create {
            id: self.id.clone(),
            bundle: self.path(""),
            root: Root::Overlay {
                lower: vec![self.path("rootfs")],
                upper: self.path("upper"),
                work: self.path("work"),
                volatile: true,
                mapped: false,
            },
            foreign_runtime: foreign,
            open_stdin: options.open_stdin,
            stdin_once: options.stdin_once,
            log: Log::JsonFile {
                path: self.path("log"),
                size_max: options.log_size_max,
                files_max: 3,
                compress: options.compress,
                attributes: Default::default(),
            },
            health: options.health.clone(),
            with_init: options.with_init,
            seccomp_cache: None,
            env: None,
        };
        self.client.request(&Request::Create(Box::new(create)), &[])
    }

    fn write_config(&self, args: &[&str], options: &Options) {
        for name in ["upper", "work", "merged"] {
            std::fs::create_dir_all(self.path(name)).unwrap();
        }
        let mut namespaces = vec!["network", "ipc", "uts", "mount"];
        if !options.shared_processes {
            namespaces.push("pid");
        }
        let namespaces: Vec<Value> = namespaces
            .into_iter()
            .map(|kind| json!({ "type": kind }))
            .collect();
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": process(args, options.terminal),
            "root": { "path": "merged" },
            "hostname": "test",
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                  "options": ["nosuid", "mode=755", "size=65536k"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                  "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
            ],
            "linux": {
                "namespaces": namespaces,
                "cgroupsPath": format!("/hull-test/{}", self.id),
            },
        });
        (options.edit)(&mut config);
        std::fs::write(self.path("config.json"), config.to_string()).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn request(&mut self, request: &Request) -> Reply {
        self.client.request(request, &[]).unwrap()
    }

    /// The kind and text of a refusal.
    pub(crate) fn refused(&mut self, request: &Request) -> (ErrorKind, String) {
        match self.client.request(request, &[]) {
            Err(ClientError::Refused { kind, message }) => (kind, message),
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) fn state(&mut self) -> State {
        match self.request(&Request::State) {
            Reply::State(state) => *state,
            other => panic!("{other:?}"),
        }
    }

    /// One more connection, as a daemon that was restarted makes it.
    pub(crate) fn connect(&self) -> Client {
        let path = self.path("run/shim.sock");
        let client = wait_for(|| Client::connect(&path).ok());
        client.set_timeout(Some(PATIENCE)).unwrap();
        client
    }

    pub(crate) fn events(&self) -> Events {
        self.connect().events().unwrap()
    }

    pub(crate) fn attach(&self, target: Target, stdin: bool) -> UnixStream {
        self.attach_with_keys(target, stdin, b"")
    }

    pub(crate) fn attach_with_keys(&self, target: Target, stdin: bool, keys: &[u8]) -> UnixStream {
        let attach = Attach {
            target,
            stdin,
            stdout: true,
            stderr: true,
            detach_keys: keys.to_vec(),
        };
        self.connect().attach(attach).unwrap()
    }

    pub(crate) fn exit(&self) -> Exit {
        let mut events = self.events();
        loop {
            if let Event::Exited(exit) = events.wait().unwrap() {
                return exit;
            }
        }
    }

    /// The lines of the log, of one stream.
    pub(crate) fn logged(&self, stream: &str) -> String {
        let text = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        let records = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let ours = records.filter(|record| record["stream"] == stream);
        ours.map(|record| record["log"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) fn wait_logged(&self, needle: &str) {
        wait_for(|| self.logged("stdout").contains(needle).then_some(()));
    }

    pub(crate) fn exec(&mut self, id: &str, args: &[&str], terminal: bool, stdin: bool) {
        let exec = Exec {
            id: id.into(),
            process: serde_json::from_value(process(args, terminal)).unwrap(),
            stdin,
            privileged: false,
        };
        self.request(&Request::PrepareExec(Box::new(exec)));
    }
}

impl Shim {
    /// A shim that was killed leaves them to the daemon.
    fn remove_cgroups(&self) {
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap();
        for hierarchy in hierarchies.flatten() {
            let parent = hierarchy.path().join("hull-test");
            let ours = parent.join(&self.id);
            let until = Instant::now() + Duration::from_secs(2);
            while ours.exists() && std::fs::remove_dir(&ours).is_err() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            // Another test's may be there.
            let _ = std::fs::remove_dir(parent);
        }
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        // Only an init that the kernel ends with the shim needs nothing more; one of a shared pid
        // namespace is asked for first.
        let all = Request::Signal {
            target: Target::Init,
            signal: libc::SIGKILL,
            all: true,
        };
        let _ = self.client.set_timeout(Some(Duration::from_secs(2)));
        let _ = self.client.request(&all, &[]);
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until && self.client.request(&Request::Shutdown, &[]).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = hull_sys::process::signal(&self.pidfd, libc::SIGKILL);
        let _ = hull_sys::process::wait(&self.pidfd);
        self.remove_cgroups();
    }
}

pub(crate) fn process(args: &[&str], terminal: bool) -> Value {
    json!({
        "args": args,
        "cwd": "/",
        "env": ["PATH=/bin", "TERM=xterm"],
        "terminal": terminal,
        "user": { "uid": 0, "gid": 0 },
        "capabilities": {
            "bounding": ALL_CAPABILITIES, "effective": ALL_CAPABILITIES,
            "permitted": ALL_CAPABILITIES,
        },
    })
}

fn make_root(root: &Path) {
    for directory in ["bin", "proc", "dev", "tmp", "sys"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let names = [
        "sh", "cat", "echo", "sleep", "true", "false", "stty", "tty", "ps", "seq", "head", "dd",
        "yes", "ls", "kill", "touch", "test", "rm", "id", "pwd",
    ];
    for name in names {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
}

/// Waits for a condition, never for a time.
pub(crate) fn wait_for<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "waited in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everything until the end, by stream: stdout, stderr, errors.
pub(crate) fn demultiplex(mut stream: UnixStream) -> [Vec<u8>; 3] {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut streams = [Vec::new(), Vec::new(), Vec::new()];
    let mut header = [0; 8];
    while stream.read_exact(&mut header).is_ok() {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body).unwrap();
        streams[usize::from(header[0]) - 1].extend(body);
    }
    streams
}

/// Reads until `needle` has come.
pub(crate) fn expect(stream: &mut UnixStream, needle: &str) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut all = Vec::new();
    let mut byte = [0; 1024];
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if text.contains(needle) {
            return text;
        }
        match stream.read(&mut byte) {
            Ok(0) => panic!("an end before {needle:?}: {text:?}"),
            Ok(count) => all.extend_from_slice(&byte[..count]),
            Err(error) => panic!("{error} before {needle:?}: {text:?}"),
        }
    }
}

pub(crate) fn say(stream: &mut UnixStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}
