//! A session inside a call: what the client would write on a connection of its own travels as
//! messages, both ways.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use crate::{
    grpc::{Call, Status},
    proto::control::BytesMessage,
    service::Front,
    session::Offer,
};

/// Bytes under way in each direction.
const BUFFER_BYTES: usize = 256 << 10;

/// Sent at once.
const PIECE_BYTES: usize = 64 << 10;

/// Holds the session until the call ends.
pub(super) async fn hold(front: &Front, call: Call) -> Result<(), Status> {
    let offer = Offer::from_headers(&call.metadata);
    front.sessions().accept(&offer)?;
    let (mut incoming, replies) = call.into_parts();
    let (outer, inner) = duplex(BUFFER_BYTES);
    let (mut from_session, mut to_session) = tokio::io::split(outer);
    let broken = |error: std::io::Error| Status::gone(error.to_string());
    let inward = async {
        while let Some(message) = incoming.next::<BytesMessage>().await? {
            to_session.write_all(&message.data).await.map_err(broken)?;
        }
        to_session.shutdown().await.map_err(broken)
    };
    let outward = async {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let read = from_session.read(&mut buffer).await.map_err(broken)?;
            if read == 0 {
                return Ok(());
            }
            let data = buffer[..read].to_vec();
            replies.send(&BytesMessage { data }).await?;
        }
    };
    let holding = front.sessions().hold(inner, offer);
    tokio::select! {
        ended = holding => ended,
        Err(broken) = async { tokio::try_join!(inward, outward) } => Err(broken),
    }
}
