//! `volume pull`

use crate::commands::image::reference;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::settings::Settings;
use crate::ui;
use crate::ui::progress::{Shown, show};

#[derive(Default)]
pub(crate) struct Pull {
    overwrite: bool,
    quiet: bool,
}

impl Command for Pull {
    const ABOUT: About = About::new(
        &["volume pull"],
        "[OPTIONS] NAME[:TAG|@DIGEST] [VOLUME]",
        "Download a volume's content from a registry",
        Operands::Between(1, 2),
    )
    .described(
        "Download a volume's content from a registry. The volume is made, under the name it had\nwhere it was pushed, unless another one is given.",
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("overwrite", "", "Also into a volume that is not empty", &mut self.overwrite);
        set.add("q,quiet", "", "Suppress verbose output", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let name = reference::parse(call.operand(0))?.or_latest();
        let settings = Settings::read(&call.globals.config_directory);
        let auth = settings.credentials(&reference::server(&name));
        let client = connect(&call.globals).await?;
        let text = name.to_string();
        let stream = client
            .volume_pull(&text, call.operand(1), self.overwrite, auth.as_ref())
            .await;
        let shown = if self.quiet {
            Shown::Nowhere
        } else {
            Shown::Stdout
        };
        let mut volume = String::new();
        show(stream.map_err(failure)?, shown, |result| {
            let named = result["Volume"].as_str().unwrap_or_default();
            named.clone_into(&mut volume);
        })
        .await?;
        ui::line(&volume)?;
        Ok(0)
    }
}
