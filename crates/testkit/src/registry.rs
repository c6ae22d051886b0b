//! A registry of ours beside a daemon: in its network namespace, at [`ADDRESS`], below its directory.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::process::signal;
use crate::{Daemon, Running, places, until};

/// Where it listens: every address of the namespace, this port.
pub const PORT: u16 = 5000;
/// How the daemon's own namespace names it.
pub const ADDRESS: &str = "localhost:5000";
/// Where it tells its counters.
const METRICS: &str = "127.0.0.1:5001";

/// A running `hull registry serve`. Ends when dropped.
pub struct Registry {
    server: Option<Running>,
    root: PathBuf,
    options: Vec<String>,
}

impl Registry {
    /// Starts one that everybody may use.
    #[track_caller]
    pub fn start(daemon: &Daemon) -> Self {
        Self::start_with(daemon, &[])
    }

    /// Starts one with more options.
    #[track_caller]
    pub fn start_with(daemon: &Daemon, options: &[&str]) -> Self {
        let mut registry = Self {
            server: None,
            root: daemon.path("registry"),
            options: options.iter().map(|&option| option.to_owned()).collect(),
        };
        registry.launch(daemon);
        registry
    }

    /// Starts the process (again) and waits until it listens.
    #[track_caller]
    pub fn launch(&mut self, daemon: &Daemon) {
        let mut command = daemon.namespace().command(places::program("hull"));
        let address = SocketAddr::from(([0, 0, 0, 0], PORT)).to_string();
        command.args([
            "registry",
            "serve",
            "--listen",
            &address,
            "--metrics",
            METRICS,
        ]);
        command.arg("--root").arg(&self.root).args(&self.options);
        let server = Running::spawn(&mut command);
        until("the registry listens", || {
            assert!(
                !server.stderr().contains("error"),
                "the registry: {}",
                server.stderr()
            );
            server.stdout().contains("Serving on")
        });
        self.server = Some(server);
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        let mut server = self.server.take().expect("the registry runs");
        signal(server.pid(), "KILL");
        server.wait();
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("the registry runs").pid()
    }

    /// What lies in it.
    pub fn root(&self) -> &PathBuf {
        &self.root
    }

    /// One of its counters.
    #[track_caller]
    pub fn counter(&self, daemon: &Daemon, name: &str) -> u64 {
        let page = daemon
            .namespace()
            .fetch(&format!("http://{METRICS}/metrics"))
            .expect("the registry tells its counters");
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("hull_registry_{name} ")));
        let value = line
            .and_then(|line| line.rsplit(' ').next())
            .and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no counter {name} in:\n{page}"))
    }
}
