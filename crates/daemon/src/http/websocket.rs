//! The server's side of the WebSocket protocol (RFC 6455), as much as attaching from a browser
//! needs: binary and text frames in, binary frames out, ping, close.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha1::{Digest, Sha1};
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    answer::Failure,
    hijack::{Hijack, Taken},
};

/// Joined to the client's key to prove that the server speaks the protocol (RFC 6455, 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How long a client that has closed is waited for with the answer.
const FAREWELL_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);

/// The largest frame taken from a client: it types.
const FRAME_BYTES_MAX: u64 = 1 << 20;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    opcode: u8,
    payload: Vec<u8>,
}

/// Takes the connection over, if the client speaks the protocol.
pub(crate) fn upgrade<F, T>(headers: &HeaderMap, task: F) -> Result<Hijack, Failure>
where
    F: FnOnce(Taken) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let text = |name| {
        headers
            .get(name)
            .and_then(|v: &HeaderValue| v.to_str().ok())
            .unwrap_or("")
    };
    let key = text(header::SEC_WEBSOCKET_KEY);
    let asked = text(header::UPGRADE).eq_ignore_ascii_case("websocket");
    if !asked || key.is_empty() || text(header::SEC_WEBSOCKET_VERSION) != "13" {
        return Err(Failure::invalid("bad WebSocket handshake"));
    }
    let proof = STANDARD.encode(Sha1::digest(format!("{key}{GUID}")));
    let mut answer = HeaderMap::new();
    answer.insert("upgrade", HeaderValue::from_static("websocket"));
    answer.insert("connection", HeaderValue::from_static("Upgrade"));
    let proof = HeaderValue::from_str(&proof).expect("base64 is made of header characters");
    answer.insert("sec-websocket-accept", proof);
    // A client that offers sub-protocols wants one of them back.
    if let Some(first) = text(header::SEC_WEBSOCKET_PROTOCOL).split(',').next()
        && let Ok(value) = HeaderValue::from_str(first.trim())
        && !value.is_empty()
    {
        answer.insert("sec-websocket-protocol", value);
    }
    Ok(Hijack {
        status: StatusCode::SWITCHING_PROTOCOLS,
        reason: "Switching Protocols",
        headers: answer,
        task: Box::new(move |taken| Box::pin(task(taken))),
    })
}

/// Copies both ways between the client's frames and plain bytes, until either side ends.
pub(crate) async fn bridge(client: Taken, inside: impl AsyncRead + AsyncWrite) -> io::Result<()> {
    let (mut from_client, to_client) = io::split(client);
    let (mut from_inside, mut to_inside) = io::split(inside);
    let to_client = tokio::sync::Mutex::new(to_client);
    let incoming = async {
        while let Some(frame) = read_frame(&mut from_client).await? {
            match frame.opcode {
                CONTINUATION | TEXT | BINARY => to_inside.write_all(&frame.payload).await?,
                PING => {
                    let mut client = to_client.lock().await;
                    write_frame(&mut *client, PONG, &frame.payload).await?;
                }
                CLOSE => break,
                _ => {}
            }
        }
        to_inside.shutdown().await
    };
    let outgoing = async {
        let mut buffer = vec![0; 8 * 1024];
        loop {
            let read = from_inside.read(&mut buffer).await?;
            let mut client = to_client.lock().await;
            if read == 0 {
                write_frame(&mut *client, CLOSE, &1000u16.to_be_bytes()).await?;
                return client.shutdown().await;
            }
            write_frame(&mut *client, BINARY, &buffer[..read]).await?;
        }
    };
    tokio::select! {
        ended = outgoing => return ended,
        ended = incoming => ended?,
    }
    // The client has closed: it is answered, and nothing more is said to it.
    let farewell = async {
        let mut client = to_client.lock().await;
        write_frame(&mut *client, CLOSE, &1000u16.to_be_bytes()).await?;
        client.shutdown().await
    };
    let said = tokio::time::timeout(FAREWELL_WITHIN, farewell).await;
    said.unwrap_or(Ok(()))
}

/// One frame; `None`: the client is gone.
async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut head = [0; 2];
    match from.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let masked = head[1] & 0x80 != 0;
    if !masked {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a client must mask its frames",
        ));
    }
    let length = match head[1] & 0x7f {
        126 => u64::from(from.read_u16().await?),
        127 => from.read_u64().await?,
        short => u64::from(short),
    };
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the frame is too large",
        ));
    }
    let mut mask = [0; 4];
    from.read_exact(&mut mask).await?;
    let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    from.read_exact(&mut payload).await?;
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Ok(Some(Frame {
        opcode: head[0] & 0x0f,
        payload,
    }))
}

async fn write_frame(
    to: &mut (impl AsyncWrite + Unpin),
    opcode: u8,
    payload: &[u8],
) -> io::Result<()> {
    const FINAL: u8 = 0x80;
    let mut frame = vec![FINAL | opcode];
    match payload.len() {
        short @ 0..=125 => frame.push(u8::try_from(short).expect("at most 125")),
        medium @ 126..=0xffff => {
            frame.push(126);
            frame.extend(u16::try_from(medium).expect("at most 65535").to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    to.write_all(&frame).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_read_unmasked_and_written_plain() {
        // "Hello" masked, from RFC 6455, 5.7.
        let wire = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        let frame = read_frame(&mut &wire[..]).await.unwrap().unwrap();
        assert_eq!(
            frame,
            Frame {
                opcode: TEXT,
                payload: b"Hello".to_vec()
            }
        );
        assert_eq!(read_frame(&mut &b""[..]).await.unwrap(), None);
        assert!(
            read_frame(&mut &[0x81, 0x05, b'H'][..]).await.is_err(),
            "not masked"
        );
        assert!(
            read_frame(&mut &[0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0][..])
                .await
                .is_err()
        );

        let mut out = Vec::new();
        write_frame(&mut out, BINARY, b"Hi").await.unwrap();
        assert_eq!(out, [0x82, 2, b'H', b'i']);
        let mut out = Vec::new();
        write_frame(&mut out, BINARY, &[7; 300]).await.unwrap();
        assert_eq!(out[..4], [0x82, 126, 1, 44]);
    }

    #[test]
    fn the_handshake_proves_itself() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let hijack = upgrade(&headers, |_| async {}).unwrap_or_else(|_| panic!("refused"));
        assert_eq!(
            hijack.headers["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        headers.remove("sec-websocket-key");
        assert!(upgrade(&headers, |_| async {}).is_err());
    }
}
