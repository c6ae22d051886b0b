//! `inspect`: of anything that has the name.

use bytes::Bytes;
use hull_api::{Client, ClientError};

use super::image::near;
use super::inspection::{FORMAT, inspect};
use super::json::Shape;
use super::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;

/// Kinds of things, in the order they are tried.
const KINDS: [&str; 4] = ["container", "image", "network", "volume"];
/// Kinds Docker has and Hull has not.
const MISSING_KINDS: [&str; 7] = [
    "config", "node", "plugin", "secret", "service", "swarm", "task",
];

#[derive(Default)]
pub(crate) struct Inspect {
    format: String,
    size: bool,
    kind: String,
}

impl Command for Inspect {
    const ABOUT: About = About::new(
        &["inspect"],
        "[OPTIONS] NAME|ID [NAME|ID...]",
        "Return low-level information on Docker objects",
        Operands::AtLeast(1),
    );

    const JSON: Option<Shape> = Some(Shape::Formatted(
        "One array of the daemon's own documents, as the Engine API defines them.",
    ));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,format", "string", FORMAT, &mut self.format);
        set.add("s,size", "", "Display total file sizes if the type is container", &mut self.size);
        set.add("type", "string", "Only inspect objects of the given type", &mut self.kind);
    }

    async fn run(self, call: Call) -> Result<u8> {
        if call.has("type") && self.kind.is_empty() {
            return Err(Error::new(
                "type is empty: must be one of \"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\"",
            ));
        }
        if MISSING_KINDS.contains(&self.kind.as_str()) {
            return Err(Error::new(format!(
                "objects of type {:?} are not available in Hull yet",
                self.kind
            )));
        }
        if !self.kind.is_empty() && !KINDS.contains(&self.kind.as_str()) {
            return Err(Error::new(format!(
                "unknown type: {:?}: must be one of \"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\"",
                self.kind
            )));
        }
        let client = connect(&call.globals).await?;
        inspect(&call.operands, &self.format, async |name| {
            self.any(&client, name).await
        })
        .await
    }
}

impl Inspect {
    async fn any(&self, client: &Client, name: &str) -> Result<Bytes> {
        if !self.kind.is_empty() {
            return match self.one(client, &self.kind, name).await {
                Ok(found) => Ok(found),
                Err(error) if self.kind == "image" => Err(near::failed(client, name, error).await),
                Err(error) => Err(failure(error)),
            };
        }
        for kind in KINDS {
            match self.one(client, kind, name).await {
                Ok(found) => return Ok(found),
                // Whatever else is wrong is not that there is none.
                Err(error)
                    if error
                        .status()
                        .is_some_and(|status| status.is_client_error()) => {}
                Err(error) => return Err(failure(error)),
            }
        }
        let missing = Error::new(format!("Error: No such object: {name}"));
        Err(near::beside(client, name, missing).await)
    }

    async fn one(
        &self,
        client: &Client,
        kind: &str,
        name: &str,
    ) -> std::result::Result<Bytes, ClientError> {
        match kind {
            "container" => client.container_raw(name, self.size).await,
            "image" => client.image_raw(name, "").await,
            "network" => client.network_raw(name, false, "").await,
            _ => client.volume_raw(name).await,
        }
    }
}
