//! Where a container's output goes.

use std::{collections::BTreeMap, path::Path};

use hull_shim::protocol::Log;

use crate::{
    error::{Error, Result},
    model::LogConfig,
    record::Record,
};

/// Rotated by default: three files of 20 MB, the older ones compressed.
const SIZE_MAX: u64 = 20_000_000;
/// How many files are kept by default.
const FILES_MAX: u32 = 3;

/// The options that the drivers know.
const KNOWN: [&str; 9] = [
    "max-size",
    "max-file",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
    "mode",
];

/// Refuses options nobody knows, naming them.
pub(crate) fn check_options(log: &LogConfig) -> Result<()> {
    for (key, value) in &log.options {
        if !KNOWN.contains(&key.as_str()) && key != "max-buffer-size" {
            let driver = if log.driver.is_empty() {
                "json-file"
            } else {
                &log.driver
            };
            return Err(Error::Invalid(format!(
                "unknown log opt '{key}' for {driver} log driver"
            )));
        }
        let valid = match key.as_str() {
            "max-size" => size(value).is_some() || value == "-1",
            "max-file" => value.parse::<u32>().is_ok_and(|count| count > 0),
            "compress" => value.parse::<bool>().is_ok(),
            _ => true,
        };
        if !valid {
            return Err(Error::Invalid(format!(
                "invalid value {value:?} for log opt '{key}'"
            )));
        }
    }
    Ok(())
}

/// The shim's orders for a container's output.
pub(crate) fn plan(record: &Record) -> Log {
    let log = &record.host.log;
    let Some(path) = &record.log_path else {
        return Log::None;
    };
    let option = |key: &str| log.options.get(key).map(String::as_str);
    Log::JsonFile {
        path: path.clone(),
        size_max: match option("max-size") {
            Some("-1") => 0,
            Some(text) => size(text).unwrap_or(SIZE_MAX),
            None => SIZE_MAX,
        },
        files_max: option("max-file")
            .and_then(|text| text.parse().ok())
            .unwrap_or(FILES_MAX),
        compress: option("compress") != Some("false"),
        attributes: attributes(record),
    }
}

/// The log's path, if the container keeps one that can be read back.
pub(crate) fn readable(record: &Record) -> Result<&Path> {
    record.log_path.as_deref().ok_or_else(|| {
        Error::NotImplemented("configured logging driver does not support reading".to_owned())
    })
}

/// What is written with each line: the chosen labels and variables, and the tag.
fn attributes(record: &Record) -> BTreeMap<String, String> {
    let option = |key: &str| record.host.log.options.get(key);
    let mut attributes = BTreeMap::new();
    for label in option("labels")
        .into_iter()
        .flat_map(|list| list.split(','))
    {
        if let Some(value) = record.config.labels.get(label) {
            attributes.insert(label.to_owned(), value.clone());
        }
    }
    for name in option("env").into_iter().flat_map(|list| list.split(',')) {
        let variable = record
            .config
            .env
            .iter()
            .find_map(|entry| entry.split_once('=').filter(|(known, _)| *known == name));
        if let Some((_, value)) = variable {
            attributes.insert(name.to_owned(), value.to_owned());
        }
    }
    if let Some(tag) = option("tag") {
        attributes.insert("tag".to_owned(), expand_tag(tag, record));
    }
    attributes
}

/// Docker's tag templates, those that make sense for one container.
fn expand_tag(tag: &str, record: &Record) -> String {
    let image_id = record.image_id.trim_start_matches("sha256:");
    [
        ("{{.ID}}", record.id.short()),
        ("{{.FullID}}", record.id.as_str()),
        ("{{.Name}}", record.name.as_str()),
        ("{{.ImageName}}", &record.config.image),
        ("{{.ImageFullID}}", &record.image_id),
        ("{{.ImageID}}", image_id.get(..12).unwrap_or(image_id)),
        ("{{.DaemonName}}", "hull"),
    ]
    .iter()
    .fold(tag.to_owned(), |text, (mark, value)| {
        text.replace(mark, value)
    })
}

/// `20m`, `1g`, `512k`, `1000`: powers of 1024 as in dockerd.
fn size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match lower[digits.len()..]
        .trim_end_matches('b')
        .trim_end_matches('i')
    {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        assert_eq!(size("10m"), Some(10 << 20));
        assert_eq!(size("1GB"), Some(1 << 30));
        assert_eq!(size("12"), Some(12));
        assert_eq!(size("x"), None);
    }

    #[test]
    fn an_unknown_option_is_named() {
        let options = BTreeMap::from([("max-sise".to_owned(), "1".to_owned())]);
        let error = check_options(&LogConfig {
            driver: String::new(),
            options,
        })
        .unwrap_err();
        assert!(error.to_string().contains("max-sise"));
    }
}
