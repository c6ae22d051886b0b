//! `network rm`

use crate::commands::each::each;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Rm {
    force: bool,
}

impl Command for Rm {
    const ABOUT: About = About::new(
        &["network rm", "network remove"],
        "NETWORK [NETWORK...]",
        "Remove one or more networks",
        Operands::AtLeast(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,force", "", "Do not error if the network does not exist", &mut self.force);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let force = self.force;
        each(&client, &call.operands, |client, name| async move {
            match client.network_remove(&name).await {
                Ok(()) => Ok(name),
                Err(error) if force && error.is_not_found() => Ok(String::new()),
                Err(error) => Err(failure(error)),
            }
        })
        .await
    }
}
