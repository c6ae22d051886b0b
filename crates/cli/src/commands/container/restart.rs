//! `container restart`

use hull_api::client::StopOptions;

use crate::commands::each::each;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

#[derive(Default)]
pub(crate) struct Restart {
    signal: String,
    timeout: Option<i64>,
    time: Option<i64>,
}

impl Command for Restart {
    const ABOUT: About = About::new(
        &["container restart", "restart"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Restart one or more containers",
        Operands::AtLeast(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("s,signal", "string", "Signal to send to the container", &mut self.signal);
        set.add("t,timeout", "int", "Seconds to wait before killing the container", &mut self.timeout);
        // The name it had before.
        set.hidden("time", "int", &mut self.time);
    }

    async fn run(self, call: Call) -> Result<u8> {
        if self.time.is_some() && self.timeout.is_some() {
            return Err(Error::new(
                "conflicting options: cannot specify both --timeout and --time",
            ));
        }
        if self.time.is_some() {
            ui::line("Flag --time has been deprecated, use --timeout instead")?;
        }
        let options = StopOptions {
            signal: self.signal,
            timeout_s: self.timeout.or(self.time),
        };
        let client = connect(&call.globals).await?;
        each(&client, &call.operands, |client, name| {
            let options = options.clone();
            async move {
                client
                    .container_restart(&name, &options)
                    .await
                    .map_err(failure)
                    .map(|()| name)
            }
        })
        .await
    }
}
