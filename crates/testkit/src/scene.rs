//! A daemon, a client and an image: where a scenario plays.

use std::process::Command;

use serde_json::Value;

use crate::{Client, Daemon, Output, Running, Terminal, eventually, words};

/// One scenario's world. Command lines are written as one types them, without the program's name.
pub struct Scene {
    /// The daemon under test.
    pub daemon: Daemon,
    /// Who talks to it.
    pub client: Client,
}

impl Scene {
    /// Plays a scenario on a fresh daemon that has the image `busybox`, and asserts that it left no trace.
    #[track_caller]
    pub fn play(client: Client, scenario: impl FnOnce(&mut Self)) {
        Self::play_with(client, &[], scenario);
    }

    /// The same, with options for the daemon.
    #[track_caller]
    pub fn play_with(client: Client, options: &[&str], scenario: impl FnOnce(&mut Self)) {
        Self::play_on(client, Daemon::start_with(options), scenario);
    }

    /// The same, on a daemon that runs already.
    #[track_caller]
    pub fn play_on(client: Client, daemon: Daemon, scenario: impl FnOnce(&mut Self)) {
        daemon.load("busybox");
        let mut scene = Self { daemon, client };
        scenario(&mut scene);
        scene.daemon.finish();
    }

    /// Runs a command line to its end, whatever that is.
    #[track_caller]
    pub fn run(&self, line: &str) -> Output {
        self.client.run(&self.daemon, &words::split(line))
    }

    /// Runs a command line that must succeed; returns what it wrote, without the last line's end.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        self.run(line).of_success(line)
    }

    /// Runs a command line that must fail with this code; returns what it complained.
    #[track_caller]
    pub fn fails(&self, code: i32, line: &str) -> String {
        self.run(line).of_failure(code, line)
    }

    /// Starts a command line that goes on, with pipes.
    #[track_caller]
    pub fn begin(&self, line: &str) -> Running {
        Running::spawn(&mut self.command(line))
    }

    /// Starts a command line on a terminal.
    #[track_caller]
    pub fn terminal(&self, line: &str) -> Terminal {
        Terminal::spawn(&self.command(line))
    }

    /// A field of a container, by Docker's template, such as `{{.State.Status}}`.
    #[track_caller]
    pub fn inspect(&self, container: &str, template: &str) -> String {
        self.ok(&format!("inspect --format '{template}' {container}"))
    }

    /// A container's whole description, as the API gives it.
    #[track_caller]
    pub fn document(&self, container: &str) -> Value {
        self.daemon.container(container)
    }

    /// Waits until a container's description satisfies a condition, and returns it.
    #[track_caller]
    pub fn until(&self, container: &str, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("{container} {what}"), || {
            Some(self.document(container)).filter(&condition)
        })
    }

    /// Waits until a container's `State.Status` is this.
    #[track_caller]
    pub fn until_status(&self, container: &str, status: &str) -> Value {
        self.until(container, &format!("is {status}"), |document| {
            document["State"]["Status"] == status
        })
    }

    /// The daemon's time, to its last digit: what `--since` and `--until` take.
    #[track_caller]
    pub fn now(&self) -> String {
        let info = self.daemon.api("GET", "/info", &Value::Null).json();
        info["SystemTime"]
            .as_str()
            .expect("the daemon tells its time")
            .to_owned()
    }

    fn command(&self, line: &str) -> Command {
        self.client.command(&self.daemon, &words::split(line))
    }
}

/// Declares a scenario: a function that is played once with `docker` and once with `hull`.
#[macro_export]
macro_rules! scenario {
    ($(#[$meta:meta])* $name:ident($scene:ident) $body:block) => {
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "not every scenario uses what its file imports")]
            use super::*;

            fn scenario($scene: &mut $crate::Scene) $body

            #[test]
            fn docker() {
                $crate::Scene::play($crate::Client::Docker, scenario);
            }

            #[test]
            fn hull() {
                $crate::Scene::play($crate::Client::Hull, scenario);
            }
        }
    };
}
