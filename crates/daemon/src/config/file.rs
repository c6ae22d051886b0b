//! The file: JSON, checked against the table.

use std::{fs, path::Path};

use serde_json::{Map, Value};

use super::{
    ConfigError,
    table::{self, PROXIES},
    value::{self, Values},
};

/// Some editors begin a text file with it.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads the file. An empty one is an empty configuration.
pub(super) fn read(path: &Path) -> Result<Values, ConfigError> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: shown.clone(),
        source,
    })?;
    parse(&text).map_err(|reason| ConfigError::File {
        path: shown,
        reason,
    })
}

/// Reads the file's text.
pub(super) fn parse(text: &str) -> Result<Values, String> {
    let text = text.trim_start_matches(BYTE_ORDER_MARK).trim();
    if text.is_empty() {
        return Ok(Values::default());
    }
    let members: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut values = Values::default();
    let mut unknown = Vec::new();
    for (key, value) in flattened(members)? {
        match table::by_key(&key) {
            None => unknown.push(key),
            Some(_) if value.is_null() => {}
            Some(row) if value::fits(row.kind, &value) => values.add(row.key, value),
            Some(_) => {
                return Err(format!(
                    "the value of {key} has the wrong type: {}",
                    value::shown(&value)
                ));
            }
        }
    }
    if unknown.is_empty() {
        return Ok(values);
    }
    let unknown = unknown.join(", ");
    Err(format!(
        "the following directives don't match any configuration option: {unknown}"
    ))
}

/// The members with what stands below `proxies` beside them, and old names replaced.
fn flattened(members: Map<String, Value>) -> Result<Vec<(String, Value)>, String> {
    let mut flat = Vec::new();
    for (key, value) in members {
        match (key.as_str(), value) {
            ("proxies", Value::Object(proxies)) => {
                for (name, value) in proxies {
                    if !PROXIES.contains(&name.as_str()) {
                        return Err(format!(
                            "the following directives don't match any configuration option: {name}"
                        ));
                    }
                    flat.push((name, value));
                }
            }
            ("proxies", Value::Null) => {}
            ("host-gateway-ip", Value::String(one)) => {
                flat.push(("host-gateway-ips".to_owned(), Value::from(vec![one])));
            }
            ("graph", value) => flat.push(("data-root".to_owned(), value)),
            (name, value) if PROXIES.contains(&name) => {
                return Err(format!(
                    "{name} belongs below proxies: {}",
                    value::shown(&value)
                ));
            }
            (_, value) => flat.push((key, value)),
        }
    }
    Ok(flat)
}
