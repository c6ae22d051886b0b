//! The client's credentials for a registry.

use std::time::Duration;

use tokio::time::timeout;

use super::registry::Session;
use crate::{
    grpc::{Code, Status},
    proto::filesync::{CredentialsRequest, CredentialsResponse},
};

const METHOD: &str = "/moby.filesync.v1.Auth/Credentials";

/// A credential helper may ask a person.
const ANSWER: Duration = Duration::from_secs(60);

/// What a client logs in with. Without a name the secret is an identity token.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Empty for an identity token.
    pub user: String,
    /// Password or token.
    pub secret: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the secret: this lands in logs.
        formatter
            .debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// What the client logs in with at `host`, as names of images have it. `None`: it has nothing
    /// for that host.
    pub async fn credentials(&self, host: &str) -> Result<Option<Credentials>, Status> {
        if !self.serves(METHOD) {
            return Ok(None);
        }
        let host = match host {
            // The name under which Docker's clients keep what is for Docker Hub.
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let request = CredentialsRequest {
            host: host.to_owned(),
        };
        let answer = self
            .channel()
            .unary::<CredentialsResponse>(METHOD, &request);
        let late = |_| Status::new(Code::DeadlineExceeded, "the client gives no credentials");
        match timeout(ANSWER, answer).await.map_err(late)? {
            Ok(found) if found.username.is_empty() && found.secret.is_empty() => Ok(None),
            Ok(found) => Ok(Some(Credentials {
                user: found.username,
                secret: found.secret,
            })),
            Err(status) if status.code == Code::Unimplemented => Ok(None),
            Err(status) => Err(status),
        }
    }
}
