//! `volume export`

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
        &["volume export"],
        "[OPTIONS] VOLUME",
        "Export a volume's content as a tar archive",
        Operands::Exactly(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("o,output", "string", "Write to a file, instead of STDOUT", &mut self.output);
    }

    async fn run(self, call: Call) -> Result<u8> {
        download::check(&self.output, "failed to export volume")?;
        let client = connect(&call.globals).await?;
        let stream = client.volume_export(call.operand(0)).await;
        download::save(stream.map_err(failure)?, &self.output).await?;
        Ok(0)
    }
}
