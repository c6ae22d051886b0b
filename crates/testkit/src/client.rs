//! The two command lines that must behave alike: Docker's unchanged client, and ours.

use std::ffi::OsStr;
use std::process::Command;

use crate::process::code;
use crate::{Daemon, places};

/// Seconds after which a command that should end counts as hung.
const LIMIT_SECONDS: &str = "90";

/// Which command line drives a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// `docker`, unchanged.
    Docker,
    /// `hull`.
    Hull,
}

/// What a finished command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit code as a shell gives it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Client {
    /// A command against this daemon, with nothing of the user's own settings.
    pub fn command<S: AsRef<OsStr>>(self, daemon: &Daemon, words: &[S]) -> Command {
        let program = match self {
            Self::Docker => places::docker(),
            Self::Hull => places::program("hull"),
        };
        let mut command = Command::new(program);
        command
            .args(words)
            .env("DOCKER_HOST", daemon.host())
            .env("DOCKER_CONFIG", daemon.directory().join("config"));
        command
            .env_remove("DOCKER_CONTEXT")
            .env_remove("DOCKER_API_VERSION")
            // What plugins of the client's leave behind goes with the daemon.
            .env("TMPDIR", daemon.directory())
            .env("HOME", daemon.directory());
        command
    }

    /// Runs to the end; panics when it hangs.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(self, daemon: &Daemon, words: &[S]) -> Output {
        Output::of(&self.command(daemon, words))
    }
}

impl Output {
    /// Runs a command to the end; panics when it hangs.
    #[track_caller]
    pub fn of(inner: &Command) -> Self {
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", LIMIT_SECONDS])
            .arg(inner.get_program())
            .args(inner.get_args());
        if let Some(directory) = inner.get_current_dir() {
            command.current_dir(directory);
        }
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.output().expect("cannot run timeout");
        let output = Self {
            code: code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        assert_ne!(output.code, 124, "hung: {command:?}\n{output:?}");
        output
    }

    /// What a command line that had to succeed wrote, without the last line's end.
    #[track_caller]
    pub fn of_success(self, line: &str) -> String {
        assert_eq!(
            self.code, 0,
            "`{line}` failed: {}{}",
            self.stdout, self.stderr
        );
        self.stdout.trim_end().to_owned()
    }

    /// What a command line that had to fail with this code complained.
    #[track_caller]
    pub fn of_failure(self, code: i32, line: &str) -> String {
        assert_eq!(
            self.code, code,
            "`{line}` should fail with {code}: {}{}",
            self.stdout, self.stderr
        );
        self.stderr.trim_end().to_owned()
    }
}
