//! `container unpause`

use crate::commands::each::each;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;

#[derive(Default)]
pub(crate) struct Unpause;

impl Command for Unpause {
    const ABOUT: About = About::new(
        &["container unpause", "unpause"],
        "CONTAINER [CONTAINER...]",
        "Unpause all processes within one or more containers",
        Operands::AtLeast(1),
    );

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        each(&client, &call.operands, |client, name| async move {
            client
                .container_unpause(&name)
                .await
                .map_err(failure)
                .map(|()| name)
        })
        .await
    }
}
