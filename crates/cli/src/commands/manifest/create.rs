//! `manifest create`

use crate::commands::image::reference;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::settings::Settings;
use crate::ui;

#[derive(Default)]
pub(crate) struct Create {
    amend: bool,
    insecure: bool,
}

impl Command for Create {
    const ABOUT: About = About::new(
        &["manifest create"],
        "MANIFEST_LIST MANIFEST [MANIFEST...]",
        "Create a local manifest list for annotating and pushing to a registry",
        Operands::AtLeast(2),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,amend", "", "Amend an existing manifest list", &mut self.amend);
        set.add("insecure", "", "Allow communication with an insecure registry", &mut self.insecure);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let name = reference::parse(call.operand(0))?.or_latest();
        let auth =
            Settings::read(&call.globals.config_directory).credentials(&reference::server(&name));
        let client = connect(&call.globals).await?;
        let members = &call.operands[1..];
        client
            .manifest_create(
                &name.familiar(),
                members,
                self.amend,
                self.insecure,
                auth.as_ref(),
            )
            .await
            .map_err(failure)?;
        ui::line(&format!("Created manifest list {name}"))?;
        Ok(0)
    }
}
