//! `container rename`

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};

#[derive(Default)]
pub(crate) struct Rename;

impl Command for Rename {
    const ABOUT: About = About::new(
        &["container rename", "rename"],
        "CONTAINER NEW_NAME",
        "Rename a container",
        Operands::Exactly(2),
    );

    async fn run(self, call: Call) -> Result<u8> {
        if call.operands.iter().any(String::is_empty) {
            return Err(Error::new("Error: Neither old nor new names may be empty"));
        }
        let client = connect(&call.globals).await?;
        let renamed = client
            .container_rename(call.operand(0), call.operand(1))
            .await;
        renamed.map_err(|error| {
            let name = call.operand(0);
            let why = failure(error);
            Error::new(format!(
                "{}\nError: failed to rename container named {name}",
                why.message()
            ))
        })?;
        Ok(0)
    }
}
