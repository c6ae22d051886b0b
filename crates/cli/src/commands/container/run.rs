//! `container run`: create, attach, wait, start, in that order, so that nothing is missed.

use hull_api::client::{AttachOptions, Hijacked, Waiting};
use hull_api::types::ContainerCreate;
use hull_api::{Client, ClientError};

use super::compose;
use super::creation::{CreationFlags, OPERANDS, USAGE};
use super::session::{End, Resized, Session, check_terminal, follow_size};
use crate::commands::{About, Call, Command};
use crate::connection::{connect, failure};
use crate::error::{EXIT_BEFORE_RUN, Error, Result};
use crate::flags::FlagSet;
use crate::settings::Settings;
use crate::terminal::detach::DetachKeys;
use crate::terminal::{Signals, signals};
use crate::ui;

const PULL: &str =
    "Pull image before running (\"always\", \"missing\", \"never\") (default \"missing\")";

#[derive(Default)]
pub(crate) struct Run {
    creation: CreationFlags,
    detach: bool,
    detach_keys: String,
    sig_proxy: Option<bool>,
    like: String,
    compose: bool,
}

impl Command for Run {
    const ABOUT: About = About::new(
        &["container run", "run"],
        USAGE,
        "Create and run a new container from an image",
        OPERANDS,
    )
    .flags_first()
    .freed_by("like");

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        self.creation.flags(set, PULL);
        set.add("d,detach", "", "Run container in background and print container ID", &mut self.detach);
        set.add("detach-keys", "string", "Override the key sequence for detaching a container", &mut self.detach_keys);
        set.add("sig-proxy", "", "Proxy received signals to the process (default true)", &mut self.sig_proxy);
        set.own("like", "string", "Be like this container in all that is not said; operands are then the command", &mut self.like);
        set.own("compose", "", "Print the Compose file of what was typed, and run nothing", &mut self.compose);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let body = match self.like.as_str() {
            "" => self.creation.body(&call),
            model => self.body_like(&call, model).await,
        };
        let mut body = body.map_err(|error| call.before_run(error))?;
        if self.compose {
            let name = self.creation.name();
            if !name.is_empty() && !is_name(name) {
                return Err(call.before_run(Error::new(format!(
                    "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, and at least two of them"
                ))));
            }
            let member = compose::Member {
                service: if name.is_empty() { "app" } else { name },
                container: name,
                body: &body,
            };
            ui::out(&compose::file(&[member]))?;
            return Ok(0);
        }
        let config = &mut body.config;
        if self.detach {
            if self.creation.container.process.chooses_streams() {
                return Err(Error::new(
                    "conflicting options: cannot specify both --attach and --detach",
                ));
            }
            config.attach_stdin = false;
            config.attach_stdout = false;
            config.attach_stderr = false;
            config.stdin_once = false;
        } else {
            check_terminal(config.attach_stdin, config.tty)?;
        }
        let keys = self.keys(&call).map_err(|error| call.before_run(error))?;
        let client = connect(&call.globals)
            .await
            .map_err(|error| call.before_run(error))?;
        let created = match self.like.as_str() {
            "" => self.creation.create(&call, &client, &body).await,
            model => {
                self.creation
                    .create_like(&call, &client, &body, model)
                    .await
            }
        };
        let id = created.map_err(|error| {
            let code = start_failure_code(error.message());
            call.before_run(error.with_code(code))
        })?;
        let started = self.start(&client, &id, &body, keys).await;
        started.map_err(|error| call.before_run(error))
    }
}

/// Whether a daemon takes a name for a container.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && name.len() > 1
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

impl Run {
    async fn body_like(&self, call: &Call, model: &str) -> Result<ContainerCreate> {
        let client = connect(&call.globals).await?;
        let model = client.container(model).await.map_err(failure)?;
        let mut body = self.creation.body_like(call, &model, &call.operands)?;
        if self.compose {
            // An image that is gone says nothing.
            let image = client.image(&model.image).await.ok();
            let image = image.and_then(|image| image.config).unwrap_or_default();
            let info = client.info().await.map_err(failure)?;
            compose::plain(&mut body, &image, &info);
        }
        Ok(body)
    }

    async fn start(
        &self,
        client: &Client,
        id: &str,
        body: &ContainerCreate,
        keys: DetachKeys,
    ) -> Result<u8> {
        let config = &body.config;
        let attaches = config.attach_stdin || config.attach_stdout || config.attach_stderr;
        let heeding = attaches.then(|| match self.sig_proxy {
            Some(false) => signals::hold(),
            _ => signals::forward(client, id),
        });
        let stream = match attaches {
            true => Some(attach(client, id, body, &self.detach_keys).await?),
            false => None,
        };
        let waiting = match attaches {
            true => Some(
                client
                    .container_wait(id, self.condition())
                    .await
                    .map_err(failure)?,
            ),
            false => None,
        };
        if let Err(error) = client.container_start(id).await {
            if !attaches {
                // It is there all the same, for who wants to look at it or remove it.
                ui::line(id)?;
            }
            return Err(self.start_failed(error, waiting).await);
        }
        let (Some(stream), Some(waiting)) = (stream, waiting) else {
            ui::line(id)?;
            return Ok(0);
        };
        let _size = config
            .tty
            .then(|| follow_size(client, Resized::Container(id.to_owned())));
        let session = Session {
            stream,
            tty: config.tty,
            input: config.attach_stdin,
            keys,
            signals: Signals::unless_heeded(heeding.as_ref()),
        };
        match session.run().await? {
            End::Detached => Ok(0),
            End::Closed => exit_code(waiting).await,
        }
    }

    fn condition(&self) -> &'static str {
        if self.creation.container.is_removed() {
            "removed"
        } else {
            "next-exit"
        }
    }

    fn keys(&self, call: &Call) -> Result<DetachKeys> {
        detach_keys(&self.detach_keys, call)
    }

    /// The error of a start; with `--rm` the container is gone before the user can type again.
    async fn start_failed(&self, error: ClientError, waiting: Option<Waiting>) -> Error {
        let code = start_failure_code(&error.to_string());
        if self.creation.container.is_removed()
            && error.status().is_some()
            && let Some(waiting) = waiting
        {
            _ = waiting.result().await;
        }
        failure(error).with_code(code)
    }
}

/// The keys to detach: the flag's, else the settings'.
///
/// # Errors
/// A key that has no name.
pub(in crate::commands) fn detach_keys(flag: &str, call: &Call) -> Result<DetachKeys> {
    let keys = match flag {
        "" => Settings::read(&call.globals.config_directory).detach_keys,
        keys => keys.to_owned(),
    };
    DetachKeys::parse(&keys).map_err(Error::new)
}

async fn attach(client: &Client, id: &str, body: &ContainerCreate, keys: &str) -> Result<Hijacked> {
    let config = &body.config;
    let options = AttachOptions {
        stream: true,
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        logs: false,
        detach_keys: keys.to_owned(),
    };
    client.container_attach(id, &options).await.map_err(failure)
}

/// How the container ended, as this program's exit code.
///
/// # Errors
/// When waiting fails.
pub(in crate::commands) async fn exit_code(waiting: Waiting) -> Result<u8> {
    let end = waiting.result().await.map_err(failure)?;
    if let Some(error) = end.error.filter(|error| !error.message.is_empty()) {
        ui::note(&format!("Error waiting for container: {}", error.message));
        return Ok(EXIT_BEFORE_RUN);
    }
    Ok(low_byte(end.status_code))
}

/// What the kernel keeps of an exit status.
pub(super) fn low_byte(status: i64) -> u8 {
    status.to_le_bytes()[0]
}

/// Docker's exit codes for a program that is missing (127), cannot be executed (126), or a
/// container that failed for another reason (125): told by the daemon's text.
fn start_failure_code(message: &str) -> u8 {
    let has = |text: &str| message.contains(text);
    if has("executable file not found")
        || has("no such file or directory")
        || has("system cannot find the file specified")
    {
        127
    } else if has("permission denied") || has("is a directory") {
        126
    } else {
        EXIT_BEFORE_RUN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_text_gives_the_exit_code() {
        assert_eq!(
            start_failure_code("exec: \"x\": executable file not found in $PATH"),
            127
        );
        assert_eq!(start_failure_code("exec /x: permission denied"), 126);
        assert_eq!(start_failure_code("driver failed"), 125);
        assert_eq!(low_byte(256 + 3), 3);
    }
}
