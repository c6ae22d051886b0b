//! The client's secrets.

use super::registry::Session;
use crate::{
    grpc::{Code, Status},
    proto::secrets::{GetSecretRequest, GetSecretResponse},
};

const METHOD: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";

impl Session {
    /// The secret of that id. `None`: the client has none.
    pub async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, Status> {
        if !self.serves(METHOD) {
            return Ok(None);
        }
        let request = GetSecretRequest {
            id: id.to_owned(),
            ..GetSecretRequest::default()
        };
        match self
            .channel()
            .unary::<GetSecretResponse>(METHOD, &request)
            .await
        {
            Ok(found) => Ok(Some(found.data)),
            Err(status) if matches!(status.code, Code::NotFound | Code::Unimplemented) => Ok(None),
            Err(status) => Err(status),
        }
    }
}
