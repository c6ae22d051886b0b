//! What a container said last, told before it is taken away: its log goes with it.

use hull_api::client::LogsOptions;

use super::Engine;

/// Lines that are told.
const LINES: &str = "10";
/// And bytes, for a line has no end of its own.
const BYTES_MAX: usize = 4096;

impl Engine<'_> {
    /// Tells the last lines of a container that failed and will not be there to be asked.
    pub(super) async fn tell_last_words(&self, id: &str, name: &str) {
        let Some(said) = self.last_words(id).await else {
            return;
        };
        let lines: Vec<String> = said.lines().map(|line| format!("    {line}")).collect();
        if !lines.is_empty() {
            let lines = lines.join("\n");
            self.report
                .warn(&format!("what {name} said last:\n{lines}"));
        }
    }

    /// The end of its log. A log that cannot be had is no reason for another complaint.
    async fn last_words(&self, id: &str) -> Option<String> {
        let found = self.client.container(id).await.ok()?;
        let options = LogsOptions {
            stdout: true,
            stderr: true,
            tail: LINES.into(),
            ..LogsOptions::default()
        };
        let mut stream = self.client.container_logs(id, &options).await.ok()?;
        let mut bytes = Vec::new();
        if found.config.tty {
            while let Some(Ok(piece)) = stream.next_piece().await {
                keep_end(&mut bytes, &piece);
            }
        } else {
            let mut frames = stream.frames();
            while let Some(Ok(frame)) = frames.next_frame().await {
                keep_end(&mut bytes, &frame.bytes);
            }
        }
        // What programs write is not for this terminal to obey.
        let plain = |c: &char| *c == '\n' || *c == '\t' || !c.is_control();
        Some(
            String::from_utf8_lossy(&bytes)
                .chars()
                .filter(plain)
                .collect(),
        )
    }
}

/// Adds what comes, and lets go of what nobody will be told.
fn keep_end(bytes: &mut Vec<u8>, piece: &[u8]) {
    bytes.extend_from_slice(piece);
    bytes.drain(..bytes.len().saturating_sub(BYTES_MAX));
}
