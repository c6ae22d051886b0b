//! `image tag`

use super::{near, reference};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::connect;
use crate::error::{Error, Result};

#[derive(Default)]
pub(crate) struct Tag;

impl Command for Tag {
    const ABOUT: About = About::new(
        &["image tag", "tag"],
        "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        Operands::Exactly(2),
    );

    async fn run(self, call: Call) -> Result<u8> {
        let refused = |error: Error| {
            let target = call.operand(1);
            Error::new(format!(
                "Error parsing reference: {target:?} is not a valid repository/tag: {}",
                error.message()
            ))
        };
        let target = reference::parse(call.operand(1)).map_err(refused)?;
        if target.digest().is_some() {
            return Err(Error::new(
                "refusing to create a tag with a digest reference",
            ));
        }
        let target = target.or_latest();
        let client = connect(&call.globals).await?;
        let tag = target.tag().unwrap_or_default();
        let source = call.operand(0);
        if let Err(error) = client.image_tag(source, &target.repository(), tag).await {
            return Err(near::failed(&client, source, error).await);
        }
        Ok(0)
    }
}
