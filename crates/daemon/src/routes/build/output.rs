//! Carries a prepared build out, and tells its result.

use std::io::{self, Write};
use std::sync::Arc;

use base64::Engine as _;
use hull_api::{
    progress::ProgressMessage,
    types::{BUILD_CACHE, BuildResult, build_data},
};
use hull_build::{Builder, Built, Cancel, Error, Progress, export::ImageOutput};
use hull_oci::Reference;
use tokio::sync::mpsc;

use super::{
    event,
    options::{CacheKind, CacheTarget, Prepared},
};

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
    let image = ImageOutput {
        names: prepared.names.clone(),
        squash: prepared.squash,
        attest: prepared.attest.clone(),
        annotations: prepared.annotations.clone(),
        inline_cache: prepared
            .cache_to
            .iter()
            .any(|cache| cache.kind == CacheKind::Inline),
        ..ImageOutput::default()
    };
    if prepared.outputs.is_empty() {
        let target = built.image(builder, &image)?;
        tell_image(&prepared, &image.names, &target.digest.to_string(), sender);
    }
    for (at, wanted) in prepared.outputs.iter().enumerate() {
        let image = ImageOutput {
            names: wanted.names.clone(),
            compression: wanted.compression,
            ..image.clone()
        };
        match wanted.kind.as_str() {
            "image" => {
                let target = built.image(builder, &image)?;
                tell_image(&prepared, &image.names, &target.digest.to_string(), sender);
            }
            "cacheonly" => {}
            "docker" | "oci" => {
                let mut out = Data::new(sender, build_data(at));
                built.archive(builder, &image, &mut out)?;
                out.finish();
            }
            "tar" if prepared.attest.is_any() => {
                return Err(invalid(
                    "attestations belong to images: leave --output out, or --attest".to_owned(),
                ));
            }
            "tar" if !prepared.annotations.is_empty() => {
                return Err(invalid(
                    "annotations belong to images: leave --output out, or --annotation".to_owned(),
                ));
            }
            "tar" => {
                let mut out = Data::new(sender, build_data(at));
                built.tar(builder, wanted.split, &mut out)?;
                out.finish();
            }
            other => return Err(invalid(format!("unknown output {other:?}"))),
        }
    }
    for target in &prepared.cache_to {
        match export_cache(builder, &built, &prepared, target, sender) {
            Err(error) if target.ignore_error => {
                tracing::warn!(%error, "a build's cache is not exported");
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

fn export_cache(
    builder: &Builder,
    built: &Built,
    prepared: &Prepared,
    target: &CacheTarget,
    sender: &Sender,
) -> Result<(), Error> {
    match &target.kind {
        CacheKind::Inline => Ok(()),
        CacheKind::Registry(name) => {
            let reference: Reference = name
                .parse()
                .map_err(|error| invalid(format!("invalid cache reference {name:?}: {error}")))?;
            let login = prepared.request.logins.login(reference.domain());
            let login = login.map_err(invalid)?;
            let cache = built.cache(builder, target.all)?;
            built.push_cache(builder, &cache, name, login.as_ref())
        }
        CacheKind::Local => {
            let cache = built.cache(builder, target.all)?;
            let mut out = Data::new(sender, BUILD_CACHE.to_owned());
            built.write_cache_layout(builder, &cache, &mut out)?;
            out.finish();
            Ok(())
        }
    }
}

fn invalid(message: String) -> Error {
    Error::Invalid {
        message,
        place: None,
    }
}

fn tell_image(prepared: &Prepared, names: &[Reference], id: &str, sender: &Sender) {
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
    for name in names {
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
    let document = hull_buildkit::check_document(&prepared.request, &warnings);
    let warnings: Vec<_> = warnings.iter().map(event::warning).collect();
    aux(
        sender,
        &serde_json::json!({ "warnings": warnings, "document": document }),
    );
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
            "document": hull_buildkit::usage_document(
                &prepared.request, &usage, prepared.call == "targets",
            ),
        }),
    );
    Ok(())
}

/// An archive on its way to the client, piece by piece.
struct Data<'a> {
    sender: &'a Sender,
    /// What it is part of.
    id: String,
    buffer: Vec<u8>,
}

impl<'a> Data<'a> {
    fn new(sender: &'a Sender, id: String) -> Self {
        Self {
            sender,
            id,
            buffer: Vec::with_capacity(DATA_BYTES),
        }
    }

    fn flush_pieces(&mut self, at_least: usize) -> io::Result<()> {
        while self.buffer.len() >= at_least && !self.buffer.is_empty() {
            let length = self.buffer.len().min(DATA_BYTES);
            let piece: Vec<u8> = self.buffer.drain(..length).collect();
            let text = base64::engine::general_purpose::STANDARD.encode(piece);
            let message = ProgressMessage {
                id: self.id.clone(),
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
