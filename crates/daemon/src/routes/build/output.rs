//! Carries a prepared build out, and tells its result.

use std::io::{self, Write};
use std::sync::Arc;

use base64::Engine as _;
use hull_api::{
    progress::ProgressMessage,
    types::{BUILD_DATA, BuildResult},
};
use hull_build::{Builder, Cancel, Error, Progress, export::ImageOutput};
use tokio::sync::mpsc;

use super::{event, options::Prepared};

/// Bytes of an archive in one message.
const DATA_BYTES: usize = 192 << 10;

type Sender = mpsc::Sender<ProgressMessage>;

/// Builds, and sends what came out. Blocks.
pub(super) fn run(
    builder: &Builder,
    prepared: Prepared,
    progress: Arc<dyn Progress>,
    cancel: &Cancel,
    sender: &Sender,
) -> Result<(), Error> {
    match prepared.call.as_str() {
        "" | "build" => {}
        "check" => return check(builder, &prepared, cancel, sender),
        "outline" | "targets" => return outline(builder, &prepared, sender),
        other => {
            return Err(invalid(format!(
                "unknown call {other:?}: use build, check, outline or targets"
            )));
        }
    }
    let built = builder.build(&prepared.request, progress, cancel)?;
    let output = ImageOutput {
        names: prepared.names.clone(),
        squash: prepared.squash,
        ..ImageOutput::default()
    };
    match prepared.output.as_str() {
        "" | "image" => {
            let target = built.image(builder, &output)?;
            tell_image(&prepared, &target.digest.to_string(), sender);
        }
        "cacheonly" => {}
        "docker" | "oci" => {
            let mut out = Data::new(sender);
            built.archive(builder, &output, &mut out)?;
            out.finish();
        }
        "tar" | "local" => {
            let mut out = Data::new(sender);
            built.tar(builder, &mut out)?;
            out.finish();
        }
        other => return Err(invalid(format!("unknown output {other:?}"))),
    }
    Ok(())
}

fn invalid(message: String) -> Error {
    Error::Invalid {
        message,
        place: None,
    }
}

fn tell_image(prepared: &Prepared, id: &str, sender: &Sender) {
    if prepared.quiet {
        send(sender, ProgressMessage::stream(format!("{id}\n")));
        return;
    }
    let result = BuildResult { id: id.to_owned() };
    send(
        sender,
        ProgressMessage {
            aux: serde_json::to_value(result).ok(),
            ..ProgressMessage::default()
        },
    );
    let short = id.trim_start_matches("sha256:").get(..12).unwrap_or(id);
    send(
        sender,
        ProgressMessage::stream(format!("Successfully built {short}\n")),
    );
    for name in &prepared.names {
        let text = format!("Successfully tagged {}\n", name.familiar());
        send(sender, ProgressMessage::stream(text));
    }
}

fn send(sender: &Sender, message: ProgressMessage) {
    // A client that is gone has cancelled the build, or will not miss its end.
    let _ = sender.blocking_send(message);
}

fn aux(sender: &Sender, value: &impl serde::Serialize) {
    send(
        sender,
        ProgressMessage {
            aux: serde_json::to_value(value).ok(),
            ..ProgressMessage::default()
        },
    );
}

fn check(
    builder: &Builder,
    prepared: &Prepared,
    cancel: &Cancel,
    sender: &Sender,
) -> Result<(), Error> {
    let warnings = builder.check(&prepared.request, cancel)?;
    let warnings: Vec<_> = warnings.iter().map(event::warning).collect();
    aux(sender, &serde_json::json!({ "warnings": warnings }));
    Ok(())
}

fn outline(builder: &Builder, prepared: &Prepared, sender: &Sender) -> Result<(), Error> {
    let usage = builder.outline(&prepared.request)?;
    let stage = |(at, stage): (usize, &hull_build::plan::StageInfo)| {
        serde_json::json!({
            "name": stage.name, "base": stage.base, "platform": stage.platform,
            "description": stage.description, "default": at == usage.target,
            "line": stage.span.first,
        })
    };
    let stages: Vec<_> = usage.stages.iter().enumerate().map(stage).collect();
    let args = usage.args.iter().map(|(name, default, description)| {
        serde_json::json!({ "name": name, "value": default, "description": description })
    });
    let needs = |list: &[(String, bool)]| -> Vec<serde_json::Value> {
        let one = |(name, required): &(String, bool)| serde_json::json!({ "name": name, "required": required });
        list.iter().map(one).collect()
    };
    aux(
        sender,
        &serde_json::json!({
            "stages": stages,
            "args": args.collect::<Vec<_>>(),
            "secrets": needs(&usage.secrets),
            "ssh": needs(&usage.ssh),
        }),
    );
    Ok(())
}

/// An archive on its way to the client, piece by piece.
struct Data<'a> {
    sender: &'a Sender,
    buffer: Vec<u8>,
}

impl<'a> Data<'a> {
    fn new(sender: &'a Sender) -> Self {
        Self {
            sender,
            buffer: Vec::with_capacity(DATA_BYTES),
        }
    }

    fn flush_pieces(&mut self, at_least: usize) -> io::Result<()> {
        while self.buffer.len() >= at_least && !self.buffer.is_empty() {
            let length = self.buffer.len().min(DATA_BYTES);
            let piece: Vec<u8> = self.buffer.drain(..length).collect();
            let text = base64::engine::general_purpose::STANDARD.encode(piece);
            let message = ProgressMessage {
                id: BUILD_DATA.to_owned(),
                aux: Some(serde_json::Value::String(text)),
                ..ProgressMessage::default()
            };
            self.sender
                .blocking_send(message)
                .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
        Ok(())
    }

    fn finish(mut self) {
        // A client that is gone misses nothing.
        let _ = self.flush_pieces(1);
    }
}

impl Write for Data<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.flush_pieces(DATA_BYTES)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
