//! `volume clone`

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::{FlagSet, List};
use crate::options::environment::{self, Label};
use crate::ui;

#[derive(Default)]
pub(crate) struct Clone {
    labels: List<Label>,
    pause: bool,
}

impl Command for Clone {
    const ABOUT: About = About::new(
        &["volume clone"],
        "[OPTIONS] VOLUME NEW_VOLUME",
        "Copy a volume to a new one",
        Operands::Exactly(2),
    )
    .described(
        "Copy a volume to a new one. Content is shared where the file system can (reflinks).",
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("label", "list", "Set metadata for the new volume", &mut self.labels);
        set.add("pause", "", "Pause the containers that use the volume meanwhile", &mut self.pause);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let labels = environment::labels(&[], &self.labels.0)?;
        let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let client = connect(&call.globals).await?;
        let made = client
            .volume_clone(call.operand(0), call.operand(1), self.pause, &labels)
            .await;
        ui::line(&made.map_err(failure)?.name)?;
        Ok(0)
    }
}
