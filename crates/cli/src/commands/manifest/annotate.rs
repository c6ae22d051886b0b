//! `manifest annotate`

use hull_api::client::ManifestAnnotation;

use crate::commands::image::reference;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::settings::Settings;

#[derive(Default)]
pub(crate) struct Annotate {
    arch: String,
    os: String,
    os_features: Vec<String>,
    os_version: String,
    variant: String,
}

impl Command for Annotate {
    const ABOUT: About = About::new(
        &["manifest annotate"],
        "[OPTIONS] MANIFEST_LIST MANIFEST",
        "Add additional information to a local image manifest",
        Operands::Exactly(2),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("arch", "string", "Set architecture", &mut self.arch);
        set.add("os", "string", "Set operating system", &mut self.os);
        set.add("os-features", "strings", "Set operating system feature", &mut self.os_features);
        set.add("os-version", "string", "Set operating system version", &mut self.os_version);
        set.add("variant", "string", "Set architecture variant", &mut self.variant);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let says = ManifestAnnotation {
            os: self.os,
            architecture: self.arch,
            variant: self.variant,
            os_version: self.os_version,
            os_features: self.os_features,
        };
        let member = reference::parse(call.operand(1))?;
        let auth =
            Settings::read(&call.globals.config_directory).credentials(&reference::server(&member));
        let client = connect(&call.globals).await?;
        client
            .manifest_annotate(call.operand(0), call.operand(1), &says, auth.as_ref())
            .await
            .map_err(failure)?;
        Ok(0)
    }
}
