//! `container inspect`

use crate::commands::inspection::{FORMAT, inspect};
use crate::commands::json::Shape;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Inspect {
    format: String,
    size: bool,
}

impl Command for Inspect {
    const ABOUT: About = About::new(
        &["container inspect"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Display detailed information on one or more containers",
        Operands::AtLeast(1),
    );

    const JSON: Option<Shape> = Some(Shape::Formatted(
        "One array of the daemon's own documents: ContainerInspect of the Engine API.",
    ));

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,format", "string", FORMAT, &mut self.format);
        set.add("s,size", "", "Display total file sizes", &mut self.size);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let size = self.size;
        inspect(&call.operands, &self.format, async |name| {
            client.container_raw(name, size).await.map_err(failure)
        })
        .await
    }
}
