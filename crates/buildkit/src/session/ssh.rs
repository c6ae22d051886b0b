//! The client's SSH agent, reached through a socket here.

use http::{HeaderMap, HeaderValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::registry::Session;
use crate::{
    grpc::{Code, Status},
    proto::ssh::{BytesMessage, CheckAgentRequest, CheckAgentResponse},
};

const CHECK: &str = "/moby.sshforward.v1.SSH/CheckAgent";
const FORWARD: &str = "/moby.sshforward.v1.SSH/ForwardAgent";
const ID: &str = "buildkit.ssh.id";

/// Read from a step at once. The agent's protocol has messages of a few hundred bytes.
const PIECE_BYTES: usize = 32 << 10;

impl Session {
    /// Whether the client offers an agent under that id.
    pub async fn has_agent(&self, id: &str) -> Result<bool, Status> {
        if !self.serves(FORWARD) {
            return Ok(false);
        }
        let request = CheckAgentRequest { id: id.to_owned() };
        match self
            .channel()
            .unary::<CheckAgentResponse>(CHECK, &request)
            .await
        {
            Ok(_) => Ok(true),
            Err(status) if matches!(status.code, Code::Unavailable | Code::Cancelled) => {
                Err(status)
            }
            Err(_) => Ok(false),
        }
    }

    /// Carries one connection to the client's agent, until both sides have ended.
    pub async fn forward(&self, id: &str, mut step: UnixStream) -> Result<(), Status> {
        let mut metadata = HeaderMap::new();
        let id = HeaderValue::from_str(id);
        metadata.insert(
            ID,
            id.map_err(|_| Status::invalid("an SSH id is plain text"))?,
        );
        let (mut outgoing, mut incoming) = self.channel().open(FORWARD, metadata).await?;
        let (mut from_step, mut to_step) = step.split();
        let broken = |error: std::io::Error| Status::gone(error.to_string());
        let asking = async {
            let mut buffer = vec![0; PIECE_BYTES];
            loop {
                let read = from_step.read(&mut buffer).await.map_err(broken)?;
                if read == 0 {
                    outgoing.finish();
                    return Ok::<_, Status>(());
                }
                let data = buffer[..read].to_vec();
                outgoing.send(&BytesMessage { data }).await?;
            }
        };
        let answering = async {
            while let Some(message) = incoming.next::<BytesMessage>().await? {
                to_step.write_all(&message.data).await.map_err(broken)?;
            }
            to_step.shutdown().await.map_err(broken)
        };
        tokio::try_join!(asking, answering).map(|_| ())
    }
}
