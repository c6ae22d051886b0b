//! `volume push`

use crate::commands::image::reference;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::settings::Settings;
use crate::ui;
use crate::ui::progress::{Shown, show};

#[derive(Default)]
pub(crate) struct Push {
    quiet: bool,
}

impl Command for Push {
    const ABOUT: About = About::new(
        &["volume push"],
        "[OPTIONS] VOLUME NAME[:TAG]",
        "Upload a volume's content to a registry",
        Operands::Exactly(2),
    )
    .described(
        "Upload a volume's content to a registry, as an OCI artifact. Owners, attributes, hard links\nand holes are kept; only what the registry lacks is sent. For the content of one moment,\npush a snapshot.",
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("q,quiet", "", "Suppress verbose output", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let name = reference::parse(call.operand(1))?;
        if name.digest().is_some() {
            return Err(Error::new("cannot push a digest reference"));
        }
        let name = name.or_latest();
        let settings = Settings::read(&call.globals.config_directory);
        let auth = settings.credentials(&reference::server(&name));
        let client = connect(&call.globals).await?;
        let stream = client
            .volume_push(call.operand(0), &name.to_string(), auth.as_ref())
            .await;
        let shown = if self.quiet {
            Shown::Nowhere
        } else {
            Shown::Stdout
        };
        show(stream.map_err(failure)?, shown, |_| {}).await?;
        if self.quiet {
            ui::line(&name.to_string())?;
        }
        Ok(0)
    }
}
