//! `volume import`

use hull_api::client::from_reader;

use crate::commands::container::cp::remote::standard_input;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::{ui, upload};

#[derive(Default)]
pub(crate) struct Import {
    overwrite: bool,
}

impl Command for Import {
    const ABOUT: About = About::new(
        &["volume import"],
        "[OPTIONS] VOLUME [FILE|-]",
        "Import a tar archive into a volume, which is made if there is none",
        Operands::Between(1, 2),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("overwrite", "", "Also into a volume that is not empty", &mut self.overwrite);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let body = match call.operand(1) {
            "" | "-" if ui::in_is_terminal() => {
                return Err(Error::new("no archive given: name a file, or redirect one"));
            }
            "" | "-" => standard_input()?,
            path => from_reader(upload::file(path)?),
        };
        let client = connect(&call.globals).await?;
        let volume = client
            .volume_import(call.operand(0), self.overwrite, body)
            .await;
        ui::line(&volume.map_err(failure)?.name)?;
        Ok(0)
    }
}
