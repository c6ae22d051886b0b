//! What a client reads from its standard input for the build: a Dockerfile, or a context as a tar.

use http::{HeaderMap, HeaderValue};

use super::registry::Session;
use crate::{
    grpc::{Code, Incoming, Status},
    proto::upload::BytesMessage,
};

const METHOD: &str = "/moby.upload.v1.Upload/Pull";

/// The host in the address of what a session uploads.
const HOST: &str = "buildkit-session";

/// An upload under way.
#[derive(Debug)]
pub struct Upload(Incoming);

impl Session {
    /// Begins to read what the client offers under an address like
    /// `http://buildkit-session/abc123`. `None`: the address is no session's.
    pub async fn upload(&self, address: &str) -> Result<Option<Upload>, Status> {
        let Some(path) = address
            .strip_prefix("http://")
            .and_then(|rest| rest.strip_prefix(HOST))
            .filter(|path| path.starts_with('/'))
        else {
            return Ok(None);
        };
        if !self.serves(METHOD) {
            return Err(Status::new(Code::Unknown, "the client uploads nothing"));
        }
        let mut metadata = HeaderMap::new();
        metadata.insert("urlhost", HeaderValue::from_static(HOST));
        let path = HeaderValue::from_str(path)
            .map_err(|_| Status::invalid(format!("{address:?} is no address")))?;
        metadata.insert("urlpath", path);
        let (outgoing, incoming) = self.channel().open(METHOD, metadata).await?;
        // The client waits for no word of ours; it ends when all is sent.
        let mut outgoing = outgoing;
        outgoing.finish();
        Ok(Some(Upload(incoming)))
    }
}

impl Upload {
    /// The next piece; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Status> {
        Ok(self.0.next::<BytesMessage>().await?.map(|piece| piece.data))
    }
}
