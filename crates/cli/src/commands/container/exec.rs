//! `container exec`

use hull_api::types::{ExecCreate, ExecStart};
use hull_api::{Client, ClientError};

use super::run::{detach_keys, low_byte};
use super::session::{End, Resized, Session, check_terminal, follow_size};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::{FlagSet, List};
use crate::options::environment::{self, Variable};
use crate::terminal::{self, Signals, ending};

/// Where nobody can tell how the process ended: no code of its own.
const EXIT_UNKNOWN: u8 = 255;

#[derive(Default)]
pub(crate) struct Exec {
    detach: bool,
    detach_keys: String,
    environment: List<Variable>,
    environment_files: Vec<String>,
    interactive: bool,
    privileged: bool,
    tty: bool,
    user: String,
    workdir: String,
}

impl Command for Exec {
    const ABOUT: About = About::new(
        &["container exec", "exec"],
        "[OPTIONS] CONTAINER COMMAND [ARG...]",
        "Execute a command in a running container",
        Operands::AtLeast(2),
    )
    .flags_first();

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("d,detach", "", "Detached mode: run command in the background", &mut self.detach);
        set.add("detach-keys", "string", "Override the key sequence for detaching a container", &mut self.detach_keys);
        set.add("e,env", "list", "Set environment variables", &mut self.environment);
        set.add("env-file", "list", "Read in a file of environment variables", &mut self.environment_files);
        set.add("i,interactive", "", "Keep STDIN open even if not attached", &mut self.interactive);
        set.add("privileged", "", "Give extended privileges to the command", &mut self.privileged);
        set.add("t,tty", "", "Allocate a pseudo-TTY", &mut self.tty);
        set.add("u,user", "string", "Username or UID (format: \"<name|uid>[:<group|gid>]\")", &mut self.user);
        set.add("w,workdir", "string", "Working directory inside the container", &mut self.workdir);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let body = self.body(&call)?;
        let client = connect(&call.globals).await?;
        let container = call.operand(0);
        if !self.detach
            && let Err(error) = check_terminal(body.attach_stdin, body.tty)
        {
            // That the container is missing goes before what the terminal is.
            client.container(container).await.map_err(failure)?;
            return Err(error);
        }
        let made = client
            .exec_create(container, &body)
            .await
            .map_err(failure)?;
        if made.id.is_empty() {
            return Err(Error::new("exec ID empty"));
        }
        if self.detach {
            client
                .exec_start_detached(&made.id, self.tty)
                .await
                .map_err(failure)?;
            return Ok(0);
        }
        self.attached(&call, &client, &made.id, &body).await
    }
}

impl Exec {
    fn body(&self, call: &Call) -> Result<ExecCreate> {
        let environment = environment::environment(&self.environment_files, &self.environment.0)?;
        Ok(ExecCreate {
            user: self.user.clone(),
            privileged: self.privileged,
            tty: self.tty,
            console_size: terminal::size().filter(|_| self.tty).map(|(r, c)| [r, c]),
            attach_stdin: self.interactive && !self.detach,
            attach_stderr: !self.detach,
            attach_stdout: !self.detach,
            detach: self.detach,
            detach_keys: self.detach_keys.clone(),
            env: (!environment.is_empty()).then_some(environment),
            working_dir: self.workdir.clone(),
            cmd: Some(call.operands.get(1..).unwrap_or_default().to_vec()),
        })
    }

    async fn attached(
        &self,
        call: &Call,
        client: &Client,
        id: &str,
        body: &ExecCreate,
    ) -> Result<u8> {
        let keys = detach_keys(&self.detach_keys, call)?;
        let start = ExecStart {
            detach: false,
            tty: self.tty,
            console_size: body.console_size,
        };
        let stream = client.exec_start(id, &start).await.map_err(failure)?;
        if call.globals.is_docker() {
            // Docker's client calls a session that was broken off a success.
            ending::choose(0);
        }
        let _size = self
            .tty
            .then(|| follow_size(client, Resized::Exec(id.to_owned())));
        let session = Session {
            stream,
            tty: self.tty,
            input: self.interactive,
            keys,
            signals: Signals::End,
        };
        if session.run().await? == End::Detached {
            // Unlike a container, the process cannot be attached to again: Docker calls it a failure.
            return Err(Error::new("read escape sequence"));
        }
        let ended = client.exec(id).await.map_err(|error| match error {
            ClientError::Exchange { .. } | ClientError::Connect { .. } => {
                failure(error).with_code(EXIT_UNKNOWN)
            }
            error => failure(error),
        })?;
        Ok(low_byte(ended.exit_code.unwrap_or(0)))
    }
}
