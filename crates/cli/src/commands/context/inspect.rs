//! `context inspect`

use super::metadata;
use crate::commands::inspection::FORMAT;
use crate::commands::json::Shape;
use crate::commands::{About, Call, Command, Operands};
use crate::context::DEFAULT;
use crate::context::store::Metadata;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::json::indent;
use crate::format::output::parse_for;
use crate::format::template::{Kind, Value};
use crate::ui;

/// Where the context lies that is made of flags and environment.
const IN_MEMORY: &str = "<IN MEMORY>";

#[derive(Default)]
pub(crate) struct Inspect {
    format: String,
}

impl Command for Inspect {
    const ABOUT: About = About::new(
        &["context inspect"],
        "[OPTIONS] [CONTEXT] [CONTEXT...]",
        "Display detailed information on one or more contexts",
        Operands::AtLeast(0),
    );

    const JSON: Option<Shape> = Some(Shape::Formatted(
        "One array of contexts: Name, Metadata, Endpoints, TLSMaterial, Storage, as Docker keeps them.",
    ));

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,format", "string", FORMAT, &mut self.format);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let template = match self.format.as_str() {
            "" | "json" => None,
            text => Some(parse_for("template parsing error: ", text)?),
        };
        let names = match call.operands.is_empty() {
            true => vec![call.globals.context_name()],
            false => call.operands.clone(),
        };
        let (mut documents, mut rendered) = (Vec::new(), String::new());
        let mut failures = Vec::new();
        for name in &names {
            match value(&call, name) {
                Ok((document, typed)) => {
                    if let Some(template) = &template {
                        match template.render(&typed) {
                            Ok(text) => rendered.push_str(&(text + "\n")),
                            Err(error) => {
                                failures.push(format!("template parsing error: {error}"));
                                break;
                            }
                        }
                    }
                    documents.push(document);
                }
                Err(error) => failures.push(error.message().to_owned()),
            }
        }
        let array = format!("[{}]", documents.join(","));
        ui::out(&match template {
            Some(_) if rendered.is_empty() => "\n".to_owned(),
            Some(_) => rendered,
            None if self.format == "json" => array + "\n",
            None => indent(&array, "    ") + "\n",
        })?;
        match failures.is_empty() {
            true => Ok(0),
            false => Err(Error::new(failures.join("\n"))),
        }
    }
}

/// A context as JSON, and as the thing Go's templates see.
fn value(call: &Call, name: &str) -> Result<(String, Value)> {
    let context = metadata(&call.globals, name)?;
    let store = call.globals.contexts();
    let (keys, meta, tls) = if name == DEFAULT {
        (Vec::new(), IN_MEMORY.to_owned(), IN_MEMORY.to_owned())
    } else {
        let shown = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
        let keys: Vec<String> = store.keys(name)?.into_keys().collect();
        (
            keys,
            shown(store.meta_directory(name)),
            shown(store.tls_directory(name)),
        )
    };
    let material = match keys.is_empty() {
        true => serde_json::json!({}),
        false => serde_json::json!({ "docker": keys }),
    };
    let text = |value: &str| {
        let plain = serde_json::json!(value).to_string();
        plain.replace('<', "\\u003c").replace('>', "\\u003e")
    };
    let Metadata {
        name,
        metadata: about,
        endpoints,
    } = &context;
    let document = format!(
        "{{\"Name\":{},\"Metadata\":{},\"Endpoints\":{},\"TLSMaterial\":{material},\"Storage\":{{\"MetadataPath\":{},\"TLSPath\":{}}}}}",
        text(name),
        json(about),
        json(endpoints),
        text(&meta),
        text(&tls),
    );
    Ok((document.clone(), typed(&document)?))
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// In templates `.Metadata` is the stored record itself, whose fields also stand outside it.
fn typed(document: &str) -> Result<Value> {
    let malformed = |error: serde_json::Error| Error::new(error.to_string());
    let whole = Value::from_json(document).map_err(malformed)?;
    let field = |name: &str| whole.field(name).cloned().unwrap_or_default();
    let record = Value::object(
        Kind::Row("store.Metadata"),
        ["Name", "Metadata", "Endpoints"]
            .map(|name| (name.to_owned(), field(name)))
            .into(),
    );
    let fields = ["Name", "Endpoints", "TLSMaterial", "Storage"];
    let mut fields: Vec<(String, Value)> = fields.map(|name| (name.to_owned(), field(name))).into();
    fields.push(("Metadata".to_owned(), record));
    Ok(Value::object(Kind::Struct, fields))
}
