//! `image inspect`

use super::near;
use crate::commands::inspection::{FORMAT, inspect};
use crate::commands::json::Shape;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::connect;
use crate::error::Result;
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Inspect {
    format: String,
    platform: String,
}

impl Command for Inspect {
    const ABOUT: About = About::new(
        &["image inspect"],
        "[OPTIONS] IMAGE [IMAGE...]",
        "Display detailed information on one or more images",
        Operands::AtLeast(1),
    );

    const JSON: Option<Shape> = Some(Shape::Formatted(
        "One array of the daemon's own documents: ImageInspect of the Engine API.",
    ));

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,format", "string", FORMAT, &mut self.format);
        set.add("platform", "string", "Inspect a specific platform of the multi-platform image.\nIf the image or the server is not multi-platform capable, the command will error out if the platform does not match.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)", &mut self.platform);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let platform = super::save::platform(&self.platform)?;
        let client = connect(&call.globals).await?;
        inspect(&call.operands, &self.format, async |name| {
            match client.image_raw(name, &platform).await {
                Ok(found) => Ok(found),
                Err(error) => Err(near::failed(&client, name, error).await),
            }
        })
        .await
    }
}
