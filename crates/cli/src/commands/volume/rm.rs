//! `volume rm`

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
        &["volume rm", "volume remove"],
        "[OPTIONS] VOLUME [VOLUME...]",
        "Remove one or more volumes",
        Operands::AtLeast(1),
    )
    .described(
        "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,force", "", "Force the removal of one or more volumes", &mut self.force);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let force = self.force;
        each(&client, &call.operands, |client, name| async move {
            client
                .volume_remove(&name, force)
                .await
                .map_err(failure)
                .map(|()| name)
        })
        .await
    }
}
