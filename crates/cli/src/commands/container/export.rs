//! `container export`

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::ui::download;

#[derive(Default)]
pub(crate) struct Export {
    output: String,
}

impl Command for Export {
    const ABOUT: About = About::new(
        &["container export", "export"],
        "[OPTIONS] CONTAINER",
        "Export a container's filesystem as a tar archive",
        Operands::Exactly(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("o,output", "string", "Write to a file, instead of STDOUT", &mut self.output);
    }

    async fn run(self, call: Call) -> Result<u8> {
        download::check(&self.output, "failed to export container")?;
        let client = connect(&call.globals).await?;
        let stream = client
            .container_export(call.operand(0))
            .await
            .map_err(failure)?;
        download::save(stream, &self.output).await?;
        Ok(0)
    }
}
