//! `container attach`

use hull_api::Client;
use hull_api::client::AttachOptions;
use hull_api::types::ContainerInspect;

use super::run::{detach_keys, exit_code};
use super::session::{End, Resized, Session, check_terminal, follow_size};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::terminal::{self, Signals, signals};

#[derive(Default)]
pub(crate) struct Attach {
    detach_keys: String,
    no_stdin: bool,
    sig_proxy: Option<bool>,
}

impl Command for Attach {
    const ABOUT: About = About::new(
        &["container attach", "attach"],
        "[OPTIONS] CONTAINER",
        "Attach local standard input, output, and error streams to a running container",
        Operands::Exactly(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("detach-keys", "string", "Override the key sequence for detaching a container", &mut self.detach_keys);
        set.add("no-stdin", "", "Do not attach STDIN", &mut self.no_stdin);
        set.add("sig-proxy", "", "Proxy all received signals to the process (default true)", &mut self.sig_proxy);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let name = call.operand(0);
        // Waiting begins before the look at the container, so that its end is not missed.
        let waiting = client.container_wait(name, "").await.map_err(failure)?;
        let container = client.container(name).await.map_err(failure)?;
        check_state(&container)?;
        let tty = container.config.tty;
        let input = !self.no_stdin && container.config.open_stdin;
        check_terminal(input, tty)?;
        let keys = detach_keys(&self.detach_keys, &call)?;
        let options = AttachOptions {
            stream: true,
            stdin: input,
            stdout: true,
            stderr: true,
            logs: false,
            detach_keys: self.detach_keys,
        };
        let heeding = match self.sig_proxy != Some(false) && !tty {
            true => signals::forward(&client, name),
            false => signals::hold(),
        };
        let stream = client
            .container_attach(name, &options)
            .await
            .map_err(failure)?;
        if tty {
            redraw(&client, name).await;
        }
        let _size = tty.then(|| follow_size(&client, Resized::Container(name.to_owned())));
        match (Session {
            stream,
            tty,
            input,
            keys,
            signals: Signals::unless_heeded(Some(&heeding)),
        })
        .run()
        .await?
        {
            // As Docker has it; `run` and `start` call it a success.
            End::Detached => Err(Error::new("read escape sequence")),
            End::Closed => exit_code(waiting).await,
        }
    }
}

/// Makes programs draw again, by a size that is different for a moment.
async fn redraw(client: &Client, name: &str) {
    if let Some((rows, columns)) = terminal::size() {
        _ = client
            .container_resize(name, rows.saturating_add(1), columns.saturating_add(1))
            .await;
    }
}

fn check_state(container: &ContainerInspect) -> Result<()> {
    let state = &container.state;
    let message = match () {
        () if !state.running => "You cannot attach to a stopped container, start it first",
        () if state.paused => "You cannot attach to a paused container, unpause it first",
        () if state.restarting => {
            "You cannot attach to a restarting container, wait until it is running"
        }
        () => return Ok(()),
    };
    Err(Error::new(message))
}
