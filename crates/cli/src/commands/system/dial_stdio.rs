//! `system dial-stdio`: the daemon's socket on the standard streams, for clients that come by ssh.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{failure, unnegotiated};
use crate::error::{Error, Result};
use crate::terminal::{Input, Output, Target};

/// Bytes read at once.
const PIECE: usize = 32 * 1024;

#[derive(Default)]
pub(crate) struct DialStdio;

impl Command for DialStdio {
    const ABOUT: About = About::new(
        &["system dial-stdio"],
        "",
        "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
        Operands::None,
    );

    async fn run(self, call: Call) -> Result<u8> {
        let client = unnegotiated(&call.globals)?;
        let (mut reader, mut writer) = tokio::io::split(client.dial().await.map_err(failure)?);
        // The end of the input closes that direction only; answers still come.
        tokio::spawn(async move {
            let mut input = Input::open();
            while let Some(piece) = input.next().await {
                if writer.write_all(&piece).await.is_err() {
                    return;
                }
            }
            _ = writer.shutdown().await;
        });
        let output = Output::open();
        let mut buffer = vec![0; PIECE];
        loop {
            let count = reader
                .read(&mut buffer)
                .await
                .map_err(|error| Error::new(format!("reading from the daemon failed: {error}")))?;
            let piece = Bytes::copy_from_slice(&buffer[..count]);
            if count == 0 || !output.write(Target::Stdout, piece).await {
                break;
            }
        }
        output.finish().await?;
        Ok(0)
    }
}
