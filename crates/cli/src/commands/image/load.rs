//! `image load`

use hull_api::client::{RequestBody, from_reader};

use super::save::platforms;
use crate::commands::container::cp::remote::standard_input;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;
use crate::ui::progress::{Shown, show};
use crate::upload;

#[derive(Default)]
pub(crate) struct Load {
    input: String,
    platforms: Vec<String>,
    quiet: bool,
}

impl Command for Load {
    const ABOUT: About = About::new(
        &["image load", "load"],
        "[OPTIONS]",
        "Load an image from a tar archive or STDIN",
        Operands::None,
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("i,input", "string", "Read from tar archive file, instead of STDIN", &mut self.input);
        set.add("platform", "string", "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", &mut self.platforms);
        set.add("q,quiet", "", "Suppress the load output", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let body = self.body()?;
        let platforms = platforms(&self.platforms)?;
        let client = connect(&call.globals).await?;
        // Where nobody watches, the daemon need not tell how far it is.
        let is_quiet = self.quiet || !ui::out_is_terminal();
        let stream = client
            .images_load(body, is_quiet, &platforms)
            .await
            .map_err(failure)?;
        show(stream, Shown::Stdout, |_| {}).await?;
        Ok(0)
    }
}

impl Load {
    fn body(&self) -> Result<RequestBody> {
        if !self.input.is_empty() && self.input != "-" {
            return Ok(from_reader(upload::file(&self.input)?));
        }
        if ui::in_is_terminal() {
            return Err(Error::new("requested load from stdin, but stdin is empty"));
        }
        standard_input()
    }
}
