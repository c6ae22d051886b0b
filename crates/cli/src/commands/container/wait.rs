//! `container wait`

use crate::commands::each::each;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;

#[derive(Default)]
pub(crate) struct Wait;

impl Command for Wait {
    const ABOUT: About = About::new(
        &["container wait", "wait"],
        "CONTAINER [CONTAINER...]",
        "Block until one or more containers stop, then print their exit codes",
        Operands::AtLeast(1),
    );

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        each(&client, &call.operands, |client, name| async move {
            let waiting = client.container_wait(&name, "").await.map_err(failure)?;
            let end = waiting.result().await.map_err(failure)?;
            Ok(end.status_code.to_string())
        })
        .await
    }
}
