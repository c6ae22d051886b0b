//! `network rm`

use crate::commands::each::all_of;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::ui;

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
        // One after the other: one may be what another is made from.
        let mut failures = Vec::new();
        for name in &call.operands {
            match client.network_remove(name).await {
                Ok(()) => ui::line(name)?,
                Err(error) if force && error.is_not_found() => {}
                Err(error) => failures.push(failure(error)),
            }
        }
        all_of(failures)
    }
}
