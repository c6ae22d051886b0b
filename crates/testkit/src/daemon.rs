//! A daemon of its own: private data, exec root, socket, cgroup parent and network namespace.
//!
//! ```text
//! <directory>/data   the data root        <directory>/docker.sock   where it listens
//! <directory>/run    the exec root        <directory>/hulld.log     what it said
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Response};
use crate::process::{code, signal};
use crate::wait::PATIENCE;
use crate::{Client, NetworkNamespace, Output, Snapshot, eventually, host, places, until};

/// Shows so many files in place of others, and becomes a program. What happens to mounts of the
/// machine is seen, but nothing of this is seen there.
const LAY_OVER: &str = "mount --make-rslave /; count=$1; shift; \
    while [ $count -gt 0 ]; do mount --bind \"$1\" \"$2\"; shift 2; count=$((count - 1)); done; \
    exec \"$@\"";

/// A daemon under test. Dropping it removes all traces, whatever state it is in.
pub struct Daemon {
    directory: TempDir,
    namespace: NetworkNamespace,
    cgroup: String,
    options: Vec<String>,
    /// Files that it sees in place of the machine's: where, and what it sees.
    laid_over: Vec<(String, PathBuf)>,
    child: Option<Child>,
    before: Snapshot,
}

impl Daemon {
    /// Starts one and waits for its first answer.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more options, which it keeps over its restarts.
    #[track_caller]
    pub fn start_with(options: &[&str]) -> Self {
        let mut daemon = Self::prepare(options);
        daemon.launch();
        daemon
    }

    /// All but the process: for tests that want to see a start fail, or to change files before it.
    pub fn prepare(options: &[&str]) -> Self {
        Self::prepare_in(NetworkNamespace::new(), options)
    }

    /// The same, in a network namespace that is there: at the end of a cable, for example.
    pub fn prepare_in(namespace: NetworkNamespace, options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let before = Snapshot::take();
        let directory = TempDir::with_prefix("hull-test-").expect("cannot make a directory");
        fs::create_dir(directory.path().join("config")).expect("cannot make a directory");
        fs::write(directory.path().join("daemon.json"), "{}").expect("cannot write daemon.json");
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            directory,
            namespace,
            cgroup: format!("hull-test-{}-{number}", std::process::id()),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            laid_over: Vec::new(),
            child: None,
            before,
        }
    }

    /// It and its containers' keepers, when started next, will see a file of the machine with other
    /// content. Nobody else does.
    pub fn lay_over(&mut self, path: &str, content: &str) {
        let file = self.path(&format!("over-{}", self.laid_over.len()));
        fs::write(&file, content).expect("cannot write a file");
        self.laid_over.push((path.to_owned(), file));
    }

    /// Starts the process (again) and waits until it answers; returns how long that took.
    #[track_caller]
    pub fn launch(&mut self) -> Duration {
        assert!(self.child.is_none(), "the daemon runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("cannot open the log");
        let mut command = self.command();
        command
            .stdout(log.try_clone().expect("cannot copy the log"))
            .stderr(log);
        let begin = Instant::now();
        self.child = Some(
            command
                .stdin(std::process::Stdio::null())
                .spawn()
                .expect("cannot start hulld"),
        );
        loop {
            if self
                .request("GET", "/_ping", None)
                .is_ok_and(|response| response.status == 200)
            {
                return begin.elapsed();
            }
            let child = self.child.as_mut().expect("just started");
            if let Some(status) = child.try_wait().expect("the child is ours") {
                self.child = None;
                panic!("hulld ended with {status}:\n{}", self.log());
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "hulld does not answer:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The command that starts it, inside its namespace.
    pub fn command(&self) -> Command {
        let at = |name: &str| self.path(name);
        let program = places::program("hulld");
        let mut command = match &self.laid_over[..] {
            [] => self.namespace.command(program),
            over => {
                let mut command = self.namespace.command("unshare");
                command.args(["--mount", "--", "sh", "-e", "-c", LAY_OVER, "sh"]);
                command.arg(over.len().to_string());
                for (path, file) in over {
                    command.arg(file).arg(path);
                }
                command.arg(program);
                command
            }
        };
        command
            .arg("--config-file")
            .arg(at("daemon.json"))
            .arg("--data-root")
            .arg(at("data"));
        command
            .arg("--exec-root")
            .arg(at("run"))
            .arg("--pidfile")
            .arg(at("hulld.pid"));
        command
            .arg("--host")
            .arg(self.host())
            .arg("--cgroup-parent")
            .arg(format!("/{}", self.cgroup));
        command
            .args(&self.options)
            .env("HOME", self.directory())
            .env("RUST_BACKTRACE", "1");
        command
    }

    /// Ends it with SIGKILL: its containers go on.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the daemon runs");
        child
            .kill()
            .and_then(|()| child.wait())
            .expect("cannot kill the daemon");
    }

    /// Ends it with SIGTERM and returns its exit code and how long it took.
    #[track_caller]
    pub fn stop(&mut self) -> (i32, Duration) {
        let mut child = self.child.take().expect("the daemon runs");
        let begin = Instant::now();
        signal(child.id(), "TERM");
        let status = eventually("the daemon stops", || {
            child.try_wait().expect("the child is ours")
        });
        (code(status), begin.elapsed())
    }

    /// Kills it with SIGKILL and starts it again.
    #[track_caller]
    pub fn crash(&mut self) {
        self.kill();
        self.launch();
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// The `DOCKER_HOST` that reaches it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.path("docker.sock")
    }

    /// Where all of it lies.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path below its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// The name of its cgroup parent, below each hierarchy.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// Its network namespace, which plays the part of the host.
    pub fn namespace(&self) -> &NetworkNamespace {
        &self.namespace
    }

    /// What it said so far, over all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Runs `docker` against it.
    #[track_caller]
    pub fn docker(&self, words: &[&str]) -> Output {
        Client::Docker.run(self, words)
    }

    /// Runs `hull` against it.
    #[track_caller]
    pub fn hull(&self, words: &[&str]) -> Output {
        Client::Hull.run(self, words)
    }

    /// One request, as it goes over the wire.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, &[u8])>,
    ) -> io::Result<Response> {
        http::request(&self.socket(), method, path, body)
    }

    /// A request whose answer must come; `body` is sent as JSON unless null.
    #[track_caller]
    pub fn api(&self, method: &str, path: &str, body: &Value) -> Response {
        let bytes = body.to_string();
        let body = (!body.is_null()).then_some(("application/json", bytes.as_bytes()));
        self.request(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }

    /// A container's whole description, as the API gives it.
    #[track_caller]
    pub fn container(&self, name: &str) -> Value {
        self.api("GET", &format!("/containers/{name}/json"), &Value::Null)
            .json()
    }

    /// Loads an image that `./dev images` made.
    #[track_caller]
    pub fn load(&self, image: &str) {
        let archive = fs::read(places::image(image)).expect("cannot read the image");
        let response = self
            .request(
                "POST",
                "/images/load?quiet=1",
                Some(("application/x-tar", &archive)),
            )
            .unwrap_or_else(|error| panic!("cannot load {image}: {error}\n{}", self.log()));
        let text = response.text();
        assert!(
            response.status == 200 && !text.contains("errorDetail"),
            "cannot load {image}: {text}"
        );
    }

    /// Removes every container as a user would, ends the daemon, and asserts that the host is as it was.
    #[track_caller]
    pub fn finish(mut self) {
        if self.child.is_none() {
            self.launch();
        }
        for container in self
            .api("GET", "/containers/json?all=1", &Value::Null)
            .json()
            .as_array()
            .into_iter()
            .flatten()
        {
            let id = container["Id"].as_str().expect("a container has an id");
            self.api(
                "DELETE",
                &format!("/containers/{id}?force=1&v=1"),
                &Value::Null,
            );
        }
        self.assert_clean();
        let (code, _) = self.stop();
        assert_eq!(code, 0, "the daemon did not stop cleanly:\n{}", self.log());
        self.assert_clean();
        self.before.assert_unchanged();
    }

    /// Waits until nothing of any container is left; panics, naming what is.
    #[track_caller]
    pub fn assert_clean(&self) {
        let begin = Instant::now();
        loop {
            let mut left = host::leftovers(&self.owned());
            left.extend(self.links().into_iter().map(|link| format!("link {link}")));
            if left.is_empty() {
                return;
            }
            assert!(
                begin.elapsed() < PATIENCE / 4,
                "left behind:\n  {}",
                left.join("\n  ")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until its log says `text`.
    #[track_caller]
    pub fn expect_log(&self, text: &str) {
        until(&format!("the log says {text:?}"), || {
            self.log().contains(text)
        });
    }

    /// The host's ends of containers' cables in its namespace: one for each container with a network. Tests' own
    /// cables do not count, nor the one pair that leads published ports through the host's rules.
    pub fn links(&self) -> Vec<String> {
        let listing = self.namespace.run("ip -o link show type veth");
        let names = listing.lines().filter_map(|line| line.split(": ").nth(1));
        names
            .filter(|name| {
                !["cable", "eth0", "hull-"]
                    .iter()
                    .any(|own| name.starts_with(own))
            })
            .map(str::to_owned)
            .collect()
    }

    /// The processes of that name that belong to it or its containers.
    pub fn processes_named(&self, name: &str) -> Vec<u32> {
        let named = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
        };
        host::processes(&self.owned())
            .into_iter()
            .filter(named)
            .collect()
    }

    fn owned(&self) -> host::Owned<'_> {
        let spared = [
            Some(self.namespace.holder()),
            self.child.as_ref().map(Child::id),
        ];
        host::Owned {
            directory: self.directory(),
            cgroup: &self.cgroup,
            namespace: self.namespace.path(),
            spared: spared.into_iter().flatten().collect(),
        }
    }

    fn log_path(&self) -> PathBuf {
        self.path("hulld.log")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            #[expect(
                clippy::print_stderr,
                reason = "the test runner shows it for a failed test only"
            )]
            for line in &lines[lines.len().saturating_sub(60)..] {
                eprintln!("hulld: {line}");
            }
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        host::clean(&self.owned());
    }
}
