//! `volume inspect`

use crate::commands::inspection::{FORMAT, inspect};
use crate::commands::json::Shape;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Inspect {
    format: String,
}

impl Command for Inspect {
    const ABOUT: About = About::new(
        &["volume inspect"],
        "[OPTIONS] VOLUME [VOLUME...]",
        "Display detailed information on one or more volumes",
        Operands::AtLeast(1),
    );

    const JSON: Option<Shape> = Some(Shape::Formatted(
        "One array of the daemon's own documents: Volume of the Engine API.",
    ));

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,format", "string", FORMAT, &mut self.format);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        inspect(&call.operands, &self.format, async |name| {
            client.volume_raw(name).await.map_err(failure)
        })
        .await
    }
}
