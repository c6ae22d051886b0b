//! Follows a build to its end.

use std::collections::BTreeMap;

use base64::Engine as _;
use hull_api::client::JsonStream;
use hull_api::progress::ProgressMessage;
use hull_api::types::{BUILD_CACHE, BUILD_DATA, BUILD_EVENTS, BuildEvent, BuildResult, build_data};
use serde_json::Value;

use super::cache::Exports;
use super::output::{Output, Writing};
use super::show::View;
use crate::connection::failure;
use crate::error::{Error, Result};
use crate::ui;

/// As much of what a quiet build says is kept.
const UNTOLD_MAX: usize = 1 << 20;

/// What a build gave.
pub(super) struct Outcome {
    /// The image's id; empty: there is none.
    pub(super) id: String,
    /// The answer to a `--call`.
    pub(super) answer: Value,
    /// What is being written, by the output's position.
    pub(super) archives: BTreeMap<usize, Writing>,
    /// The cache that is being written; `Some(None)`: it cannot be, and need not.
    pub(super) cache: Option<Option<Writing>>,
}

/// Where what comes out goes.
pub(super) struct Destinations<'a> {
    pub(super) outputs: &'a [Output],
    pub(super) cache: &'a Exports,
    /// It is shown as the builder of before showed it.
    pub(super) is_classic: bool,
}

/// Shows events, and takes what comes out.
pub(super) async fn follow(
    mut stream: JsonStream<ProgressMessage>,
    mut view: Box<dyn View>,
    to: &Destinations<'_>,
    quiet: bool,
) -> Result<Outcome> {
    let mut outcome = Outcome {
        id: String::new(),
        answer: Value::Null,
        archives: BTreeMap::new(),
        cache: None,
    };
    // What a quiet build of before had to say is told if it fails.
    let mut untold = String::new();
    while let Some(message) = stream.next_item().await {
        let message = message.map_err(failure)?;
        if let Some(detail) = message.error_detail {
            view.end()?;
            ui::err_bytes(untold.as_bytes());
            return Err(match to.is_classic {
                // The step's own exit code is the build's.
                true => Error::new(detail.message).with_code(code(detail.code)),
                false => Error::new(format!("ERROR: {}", detail.message)),
            });
        }
        match (to.is_classic, quiet) {
            (true, false) => ui::out(&message.stream)?,
            (true, true) if untold.len() < UNTOLD_MAX => untold.push_str(&message.stream),
            _ => {}
        }
        let Some(aux) = message.aux else { continue };
        match message.id.as_str() {
            BUILD_EVENTS => {
                // An event that this version does not know is none it can show.
                if let Ok(event) = serde_json::from_value::<BuildEvent>(aux) {
                    view.event(&event)?;
                }
            }
            BUILD_CACHE => {
                let piece = decoded(&aux)?;
                outcome.cache = match outcome.cache.take() {
                    Some(Some(writing)) => Some(Some(writing.write(piece)?)),
                    Some(None) => Some(None),
                    None => Some(match to.cache.begin()? {
                        Some(writing) => Some(writing.write(piece)?),
                        None => None,
                    }),
                };
            }
            id if id.starts_with(BUILD_DATA) => {
                let mut outputs = to.outputs.iter().enumerate();
                let (at, output) = outputs
                    .find(|(at, _)| build_data(*at) == id)
                    .ok_or_else(|| Error::new("the daemon sent an archive unasked"))?;
                let writing = match outcome.archives.remove(&at) {
                    Some(writing) => writing,
                    None => output.begin()?,
                };
                outcome.archives.insert(at, writing.write(decoded(&aux)?)?);
            }
            _ => match serde_json::from_value::<BuildResult>(aux.clone()) {
                Ok(result) if !result.id.is_empty() => outcome.id = result.id,
                _ => outcome.answer = aux,
            },
        }
    }
    view.end()?;
    Ok(outcome)
}

/// The exit code of a step that failed, or what stands for anything else that did.
fn code(told: i64) -> u8 {
    u8::try_from(told)
        .ok()
        .filter(|code| *code != 0)
        .unwrap_or(1)
}

fn decoded(aux: &Value) -> Result<Vec<u8>> {
    let text = aux.as_str().unwrap_or_default();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    bytes.map_err(|_| Error::new("the daemon sent a damaged archive"))
}
