//! Values as YAML.

use serde_json::{Value, json};

/// A key and its value, so far to the right.
pub(super) fn write(text: &mut String, indent: usize, key: &str, value: &Value) {
    let blanks = " ".repeat(indent);
    match value {
        Value::Array(list) => {
            text.push_str(&format!("{blanks}{key}:\n"));
            for item in list {
                text.push_str(&format!("{blanks}  - {}\n", scalar(item)));
            }
        }
        Value::Object(map) => {
            text.push_str(&format!("{blanks}{key}:\n"));
            for (key, value) in map {
                write(text, indent + 2, &scalar(&json!(key)), value);
            }
        }
        Value::Null => text.push_str(&format!("{blanks}{key}:\n")),
        value => text.push_str(&format!("{blanks}{key}: {}\n", scalar(value))),
    }
}

/// A value on one line. A dollar is doubled: it would name a variable.
pub(super) fn scalar(value: &Value) -> String {
    let Value::String(string) = value else {
        // What has parts is written as JSON, which YAML takes as well.
        return value.to_string().replace('$', "$$");
    };
    let is_plain = string.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '/')
        && string
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
        && !["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
            .contains(&string.to_lowercase().as_str());
    match is_plain {
        true => string.clone(),
        false => json!(string.replace('$', "$$")).to_string(),
    }
}
