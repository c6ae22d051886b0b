//! What runs in the container, and its streams.

use hull_api::types::{Config, HostConfig};

use super::some;
use crate::flags::{FlagSet, List};
use crate::options::environment::{self, Variable};
use crate::options::host::StandardStream;
use crate::terminal;

#[derive(Default)]
pub(crate) struct ProcessFlags {
    attach: List<StandardStream>,
    pub(crate) interactive: bool,
    pub(crate) tty: bool,
    entrypoint: Option<String>,
    environment: List<Variable>,
    environment_files: Vec<String>,
    user: String,
    groups: Vec<String>,
    workdir: String,
    stop_signal: String,
    stop_timeout: Option<i64>,
}

impl ProcessFlags {
    #[rustfmt::skip]
    pub(super) fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,attach", "list", "Attach to STDIN, STDOUT or STDERR", &mut self.attach);
        set.add("i,interactive", "", "Keep STDIN open even if not attached", &mut self.interactive);
        set.add("t,tty", "", "Allocate a pseudo-TTY", &mut self.tty);
        set.add("entrypoint", "string", "Overwrite the default ENTRYPOINT of the image", &mut self.entrypoint);
        set.add("e,env", "list", "Set environment variables", &mut self.environment);
        set.add("env-file", "list", "Read in a file of environment variables", &mut self.environment_files);
        set.add("u,user", "string", "Username or UID (format: <name|uid>[:<group|gid>])", &mut self.user);
        set.add("group-add", "list", "Add additional groups to join", &mut self.groups);
        set.add("w,workdir", "string", "Working directory inside the container", &mut self.workdir);
        set.add("stop-signal", "string", "Signal to stop the container", &mut self.stop_signal);
        set.add("stop-timeout", "int", "Timeout (in seconds) to stop a container", &mut self.stop_timeout);
    }

    /// Whether streams were chosen by hand.
    pub(crate) fn chooses_streams(&self) -> bool {
        !self.attach.0.is_empty()
    }

    pub(super) fn apply(
        &self,
        config: &mut Config,
        host: &mut HostConfig,
        _changed: &[&'static str],
    ) -> Result<(), String> {
        let has = |stream| self.attach.0.contains(&stream);
        let all = !self.chooses_streams();
        config.attach_stdin = has(StandardStream::Stdin) || (all && self.interactive);
        config.attach_stdout = all || has(StandardStream::Stdout);
        config.attach_stderr = all || has(StandardStream::Stderr);
        config.open_stdin = self.interactive;
        // The input ends with the client that gave it.
        config.stdin_once = config.open_stdin && config.attach_stdin;
        config.tty = self.tty;
        config.env = Some(environment::environment(
            &self.environment_files,
            &self.environment.0,
        )?);
        config.entrypoint = self
            .entrypoint
            .as_ref()
            .map(|program| vec![program.clone()]);
        self.user.clone_into(&mut config.user);
        self.workdir.clone_into(&mut config.working_dir);
        self.stop_signal.clone_into(&mut config.stop_signal);
        config.stop_timeout = self.stop_timeout;
        host.group_add = some(self.groups.clone());
        if self.tty
            && let Some((rows, columns)) = terminal::size()
        {
            host.console_size = [rows, columns];
        }
        Ok(())
    }
}
