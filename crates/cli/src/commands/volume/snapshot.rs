//! `volume snapshot`: a clone of one moment, named and labelled after its original.

use jiff::Timestamp;

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::ui;

/// The labels by which snapshots are found again.
const OF: &str = "hull.snapshot.of";
const AT: &str = "hull.snapshot.at";

#[derive(Default)]
pub(crate) struct Snapshot;

impl Command for Snapshot {
    const ABOUT: About = About::new(
        &["volume snapshot"],
        "VOLUME [NEW_VOLUME]",
        "Copy a volume as it is at this moment",
        Operands::Between(1, 2),
    )
    .described(
        "Copy a volume as it is at this moment: containers that use it are paused meanwhile.\nThe copy is a volume named VOLUME-DATE-TIME, unless a name is given, and is found by\nthe label hull.snapshot.of=VOLUME.",
    );

    async fn run(self, call: Call) -> Result<u8> {
        let volume = call.operand(0);
        let now = Timestamp::now();
        let name = match call.operand(1) {
            "" => format!("{volume}-{}", now.strftime("%Y%m%d-%H%M%S")),
            name => name.to_owned(),
        };
        let labels = [
            format!("{OF}={volume}"),
            format!("{AT}={}", now.strftime("%Y-%m-%dT%H:%M:%SZ")),
        ];
        let client = connect(&call.globals).await?;
        let made = client.volume_clone(volume, &name, true, &labels).await;
        ui::line(&made.map_err(failure)?.name)?;
        Ok(0)
    }
}
