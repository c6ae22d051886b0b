//! `compose publish`, which is known with its flags and not there yet.

use crate::commands::{About, Call, Command, Operands};
use crate::error::{Error, Result};
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Publish {
    app: bool,
    insecure_registry: Vec<String>,
    oci_version: String,
    resolve_image_digests: bool,
    with_env: bool,
    yes: bool,
}

impl Command for Publish {
    const ABOUT: About = About::new(
        &["compose publish"],
        "[OPTIONS] REPOSITORY[:TAG]",
        "Publish compose application",
        Operands::Exactly(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("app", "", "Published compose application (includes referenced images)", &mut self.app);
        set.hidden("insecure-registry", "stringArray", &mut self.insecure_registry);
        set.add("oci-version", "string", "OCI image/artifact specification version (automatically determined by default)", &mut self.oci_version);
        set.add("resolve-image-digests", "", "Pin image tags to digests", &mut self.resolve_image_digests);
        set.add("with-env", "", "Include environment variables in the published OCI artifact", &mut self.with_env);
        set.add("y,yes", "", "Assume \"yes\" as answer to all prompts", &mut self.yes);
    }

    async fn run(self, call: Call) -> Result<u8> {
        Err(
            Error::new(format!("'{}' is not available in Hull yet: {} was not published", call.name, call.operand(0)))
                .with_hint("`hull compose push` pushes the images; the file travels as a file (`hull compose config -o FILE`, with --resolve-image-digests)"),
        )
    }
}
