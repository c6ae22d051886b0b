//! Applications: brought up, used and taken away with Docker's own Compose and with `hull compose`,
//! against a running daemon.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its files fails right there"
)]

mod attached;
mod beyond;
mod dry_run;
mod more;
mod programs;
mod python;
mod reboot;
mod remote;
mod same;
mod secrets;
mod together;
mod updates;
mod verbs;

use std::path::PathBuf;
use std::process::Command;

use hull_testkit::{Daemon, Output, places, words};
use serde_json::Value;

/// Who drives an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// Docker's own Compose, unchanged.
    Docker,
    /// The one that Debian has.
    Older,
    /// The one of before, in Python.
    Python,
    /// `hull compose`.
    Hull,
}

/// A daemon and a directory with an application.
pub(crate) struct Application {
    pub(crate) daemon: Daemon,
    pub(crate) driver: Driver,
}

impl Application {
    /// Plays a test on a fresh daemon that has the image `busybox`, and asserts that nothing is left.
    #[track_caller]
    pub(crate) fn play(driver: Driver, file: &str, test: impl FnOnce(&mut Self)) {
        let daemon = Daemon::start();
        daemon.load("busybox");
        std::fs::create_dir(daemon.path("app")).unwrap();
        let mut application = Self { daemon, driver };
        application.write("compose.yaml", file);
        test(&mut application);
        application.daemon.finish();
    }

    /// The application's directory.
    pub(crate) fn directory(&self) -> PathBuf {
        self.daemon.path("app")
    }

    /// Writes a file of the application.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.directory().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The command that runs a line, `compose` left out.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = match self.driver {
            Driver::Docker => Command::new(places::compose()),
            Driver::Older => Command::new(places::older_compose()),
            Driver::Python => Command::new(places::python_compose()),
            Driver::Hull => {
                let mut command = Command::new(places::program("hull"));
                command.arg("compose");
                command
            }
        };
        command
            .args(words::split(line))
            .current_dir(self.directory())
            .env("DOCKER_HOST", self.daemon.host())
            .env("DOCKER_CONFIG", self.daemon.path("config"))
            .env("HOME", self.daemon.directory())
            .env("TMPDIR", self.daemon.directory())
            .env("TOKEN", "from-outside")
            .env_remove("DOCKER_API_VERSION")
            .env_remove("COMPOSE_PROFILES");
        command
    }

    /// Runs a line to its end.
    #[track_caller]
    pub(crate) fn run(&self, line: &str) -> Output {
        Output::of(&self.command(line))
    }

    /// Runs a line that must succeed; what it wrote.
    #[track_caller]
    pub(crate) fn ok(&self, line: &str) -> String {
        self.run(line).of_success(line)
    }

    /// Runs a line that must fail with a code; what it complained.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, line: &str) -> String {
        self.run(line).of_failure(code, line)
    }

    /// A container's whole description.
    #[track_caller]
    pub(crate) fn document(&self, container: &str) -> Value {
        self.daemon.container(container)
    }

    /// A field of a container by a pointer such as `/State/Status`.
    #[track_caller]
    pub(crate) fn field(&self, container: &str, pointer: &str) -> Value {
        self.document(container)
            .pointer(pointer)
            .cloned()
            .unwrap_or_default()
    }

    /// The names of all containers, sorted.
    #[track_caller]
    pub(crate) fn containers(&self) -> Vec<String> {
        let list = self
            .daemon
            .api("GET", "/containers/json?all=1", &Value::Null)
            .json();
        let mut names: Vec<String> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|container| {
                container["Names"][0]
                    .as_str()
                    .unwrap()
                    .trim_start_matches('/')
                    .to_owned()
            })
            .collect();
        names.sort();
        names
    }
}

/// Declares a test that is played with all programs.
#[macro_export]
macro_rules! application {
    ($(#[$meta:meta])* $name:ident($file:expr, $application:ident) $body:block) => {
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "not every test uses what its file imports")]
            use super::*;

            fn test($application: &mut $crate::Application) $body

            #[test]
            fn docker() {
                $crate::Application::play($crate::Driver::Docker, $file, test);
            }

            #[test]
            fn older() {
                $crate::Application::play($crate::Driver::Older, $file, test);
            }

            #[test]
            fn hull() {
                $crate::Application::play($crate::Driver::Hull, $file, test);
            }
        }
    };
}
