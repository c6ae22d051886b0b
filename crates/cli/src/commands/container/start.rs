//! `container start`

use hull_api::Client;
use hull_api::client::AttachOptions;

use super::run::{detach_keys, exit_code};
use super::session::{End, Resized, Session, check_terminal, follow_size};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::terminal::{Signals, signals};
use crate::ui;

#[derive(Default)]
pub(crate) struct Start {
    attach: bool,
    checkpoint: String,
    checkpoint_dir: String,
    detach_keys: String,
    interactive: bool,
}

impl Command for Start {
    const ABOUT: About = About::new(
        &["container start", "start"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Start one or more stopped containers",
        Operands::AtLeast(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,attach", "", "Attach STDOUT/STDERR and forward signals", &mut self.attach);
        set.add("checkpoint", "string", "Restore from this checkpoint", &mut self.checkpoint);
        set.add("checkpoint-dir", "string", "Use a custom checkpoint storage directory", &mut self.checkpoint_dir);
        set.add("detach-keys", "string", "Override the key sequence for detaching a container", &mut self.detach_keys);
        set.add("i,interactive", "", "Attach container's STDIN", &mut self.interactive);
        set.hide(&["checkpoint", "checkpoint-dir"]);
    }

    async fn run(self, call: Call) -> Result<u8> {
        if !self.checkpoint.is_empty() || !self.checkpoint_dir.is_empty() {
            return Err(Error::new("checkpoints are not available in Hull yet"));
        }
        if !self.attach && !self.interactive {
            let client = connect(&call.globals).await;
            return match client {
                Ok(client) => start_all(&client, &call.operands).await,
                Err(error) => {
                    ui::report(&error);
                    Err(failed(&call.operands))
                }
            };
        }
        if call.operands.len() > 1 {
            return Err(Error::new(
                "you cannot start and attach multiple containers at once",
            ));
        }
        let client = connect(&call.globals).await?;
        self.attached(&call, &client).await
    }
}

/// Starts containers one after another, as `--link`ed ones may depend on that order.
async fn start_all(client: &Client, names: &[String]) -> Result<u8> {
    let mut missing = Vec::new();
    for name in names {
        match client.container_start(name).await {
            Ok(()) => ui::line(name)?,
            Err(error) => {
                ui::note(failure(error).message());
                missing.push(name.clone());
            }
        }
    }
    if missing.is_empty() {
        return Ok(0);
    }
    Err(failed(&missing))
}

fn failed(names: &[String]) -> Error {
    Error::new(format!(
        "Error: failed to start containers: {}",
        names.join(", ")
    ))
}

impl Start {
    async fn attached(&self, call: &Call, client: &Client) -> Result<u8> {
        let container = client.container(call.operand(0)).await.map_err(failure)?;
        let id = container.id.as_str();
        let tty = container.config.tty;
        let input = self.interactive && container.config.open_stdin;
        check_terminal(input, tty)?;
        let keys = detach_keys(&self.detach_keys, call)?;
        let heeding = (!tty).then(|| signals::forward(client, id));
        let options = AttachOptions {
            stream: true,
            stdin: input,
            stdout: true,
            stderr: true,
            logs: false,
            detach_keys: self.detach_keys.clone(),
        };
        let stream = client
            .container_attach(id, &options)
            .await
            .map_err(failure)?;
        let condition = if container.host_config.auto_remove {
            "removed"
        } else {
            "next-exit"
        };
        let waiting = client
            .container_wait(id, condition)
            .await
            .map_err(failure)?;
        client.container_start(id).await.map_err(failure)?;
        let _size = tty.then(|| follow_size(client, Resized::Container(id.to_owned())));
        match (Session {
            stream,
            tty,
            input,
            keys,
            signals: Signals::unless_heeded(heeding.as_ref()),
        })
        .run()
        .await?
        {
            End::Detached => Ok(0),
            End::Closed => exit_code(waiting).await,
        }
    }
}
