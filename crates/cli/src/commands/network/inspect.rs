//! `network inspect`

use crate::commands::inspection::{FORMAT, inspect};
use crate::commands::json::Shape;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Inspect {
    format: String,
    verbose: bool,
}

impl Command for Inspect {
    const ABOUT: About = About::new(
        &["network inspect"],
        "[OPTIONS] NETWORK [NETWORK...]",
        "Display detailed information on one or more networks",
        Operands::AtLeast(1),
    );

    const JSON: Option<Shape> = Some(Shape::Formatted(
        "One array of the daemon's own documents: Network of the Engine API.",
    ));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,format", "string", FORMAT, &mut self.format);
        set.add("v,verbose", "", "Verbose output for diagnostics", &mut self.verbose);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let verbose = self.verbose;
        inspect(&call.operands, &self.format, async |name| {
            client.network_raw(name, verbose, "").await.map_err(failure)
        })
        .await
    }
}
