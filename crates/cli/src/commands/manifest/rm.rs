//! `manifest rm`

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};

#[derive(Default)]
pub(crate) struct Rm;

impl Command for Rm {
    const ABOUT: About = About::new(
        &["manifest rm"],
        "MANIFEST_LIST [MANIFEST_LIST...]",
        "Delete one or more manifest lists from local storage",
        Operands::AtLeast(1),
    );

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let mut failures: Vec<String> = Vec::new();
        for name in &call.operands {
            if let Err(error) = client.manifest_remove(name).await {
                failures.push(failure(error).message().to_owned());
            }
        }
        if failures.is_empty() {
            return Ok(0);
        }
        Err(Error::new(failures.join("\n")))
    }
}
