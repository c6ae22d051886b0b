//! `container kill`

use crate::commands::each::each;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Kill {
    signal: String,
}

impl Command for Kill {
    const ABOUT: About = About::new(
        &["container kill", "kill"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Kill one or more running containers",
        Operands::AtLeast(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("s,signal", "string", "Signal to send to the container", &mut self.signal);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        each(&client, &call.operands, |client, name| {
            let signal = self.signal.clone();
            async move {
                client
                    .container_kill(&name, &signal)
                    .await
                    .map_err(failure)
                    .map(|()| name)
            }
        })
        .await
    }
}
