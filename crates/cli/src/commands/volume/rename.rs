//! `volume rename`

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;

#[derive(Default)]
pub(crate) struct Rename;

impl Command for Rename {
    const ABOUT: About = About::new(
        &["volume rename"],
        "VOLUME NEW_NAME",
        "Rename a volume, also while containers use it",
        Operands::Exactly(2),
    );

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let renamed = client.volume_rename(call.operand(0), call.operand(1));
        renamed.await.map_err(failure)?;
        Ok(0)
    }
}
