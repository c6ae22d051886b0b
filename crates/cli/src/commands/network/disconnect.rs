//! `network disconnect`

use hull_api::types::NetworkDisconnect;

use super::connect::EMPTY_NAME;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Disconnect {
    force: bool,
}

impl Command for Disconnect {
    const ABOUT: About = About::new(
        &["network disconnect"],
        "[OPTIONS] NETWORK CONTAINER",
        "Disconnect a container from a network",
        Operands::Exactly(2),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,force", "", "Force the container to disconnect from a network", &mut self.force);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let body = NetworkDisconnect {
            container: call.operand(1).to_owned(),
            force: self.force,
        };
        if body.container.is_empty() {
            return Err(Error::new(EMPTY_NAME));
        }
        let client = connect(&call.globals).await?;
        client
            .network_disconnect(call.operand(0), &body)
            .await
            .map_err(failure)?;
        Ok(0)
    }
}
