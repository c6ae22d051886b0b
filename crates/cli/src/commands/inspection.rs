//! What all forms of `inspect` print: an array of what was found, or a template for each.

use bytes::Bytes;
use serde_json::Value as Json;

use crate::error::{Error, Result};
use crate::format::json::indent;
use crate::format::output::parse_for;
use crate::format::template::Value;
use crate::ui;

/// What `--format` of an inspect says of itself.
pub(super) const FORMAT: &str = "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

/// Fetches and prints every name; what is missing is reported at the end.
///
/// # Errors
/// Everything that was missing, or a template that does not fit.
pub(super) async fn inspect(
    names: &[String],
    format: &str,
    mut fetch: impl AsyncFnMut(&str) -> Result<Bytes>,
) -> Result<u8> {
    let template = match format {
        "" | "json" => None,
        text => Some(parse_for("template parsing error: ", text)?),
    };
    let mut documents = Vec::new();
    let (mut missing, mut hints) = (Vec::new(), Vec::new());
    let mut rendered = String::new();
    for name in names {
        let document = match fetch(name).await {
            Ok(bytes) => whole(name, &bytes)?,
            Err(Error::Failure(failure)) => {
                missing.push(failure.message);
                hints.extend(failure.hint);
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(template) = &template {
            let value = Value::from_json(&document).map_err(|error| {
                Error::new(format!("the daemon's answer is malformed: {error}"))
            })?;
            // What does not go by the types of the answer may go without them, as Docker has it.
            let text = template.render(&value);
            let text = match text.or_else(|_| template.render(&value.untyped())) {
                Ok(text) => text,
                Err(error) => {
                    ui::out(&format!(
                        "{rendered}
"
                    ))?;
                    return Err(Error::new(format!("template parsing error: {error}")));
                }
            };
            rendered.push_str(&text);
            rendered.push('\n');
        }
        documents.push(document);
    }
    let array = format!("[{}]", documents.join(","));
    ui::out(&match template {
        Some(_) if rendered.is_empty() => "\n".to_owned(),
        Some(_) => rendered,
        None if format == "json" => format!("{array}\n"),
        None => format!("{}\n", indent(&array, "    ")),
    })?;
    if missing.is_empty() {
        return Ok(0);
    }
    Err(Error::new(missing.join("\n")).with_hints(&hints))
}

/// A document as it came, if it is one.
fn whole(name: &str, bytes: &[u8]) -> Result<String> {
    let text = String::from_utf8_lossy(bytes).trim().to_owned();
    let object: std::result::Result<serde_json::Map<String, Json>, _> = serde_json::from_str(&text);
    match object {
        Ok(_) => Ok(text),
        Err(error) => Err(Error::new(format!(
            "the daemon's answer about {name} is malformed: {error}"
        ))),
    }
}
