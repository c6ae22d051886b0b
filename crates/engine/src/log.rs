//! Where a container's output goes.

use std::{collections::BTreeMap, path::Path};

use hull_shim::protocol::Log;
use regex_lite::Regex;

use crate::{
    error::{Error, Result},
    logs::forward,
    model::LogConfig,
    record::Record,
};

/// Rotated by default: three files of 20 MB, the older ones compressed.
const SIZE_MAX: u64 = 20_000_000;
/// How many files are kept by default.
const FILES_MAX: u32 = 3;

/// The options of all drivers.
const COMMON: [&str; 7] = [
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
    "mode",
    "max-buffer-size",
];
/// The options of drivers that keep the log here.
const KEPT: [&str; 3] = ["max-size", "max-file", "compress"];
/// The same for the spool of drivers that send it on.
const SPOOLED: [&str; 4] = [
    "cache-disabled",
    "cache-max-size",
    "cache-max-file",
    "cache-compress",
];

/// Drivers that need no collector.
const LOCAL: [&str; 3] = ["json-file", "local", "none"];

/// The names of all drivers, as `info` lists them.
pub fn drivers() -> Vec<&'static str> {
    let mut all = [&LOCAL[..], &forward::DRIVERS[..]].concat();
    all.sort_unstable();
    all
}

/// Refuses drivers and options nobody knows, naming them.
pub(crate) fn check(log: &LogConfig) -> Result<()> {
    let driver = match log.driver.as_str() {
        "" => "json-file",
        driver => driver,
    };
    if !drivers().contains(&driver) {
        return Err(Error::NotImplemented(format!(
            "logging driver {driver:?} is not available; use {}",
            drivers().join(", ")
        )));
    }
    let storage: &[&str] = match forward::DRIVERS.contains(&driver) {
        true => &SPOOLED,
        false => &KEPT,
    };
    for (key, value) in &log.options {
        let own = forward::options(driver);
        let known = [&COMMON[..], storage, own].concat();
        if !known.contains(&key.as_str()) {
            return Err(Error::Invalid(format!(
                "unknown log opt '{key}' for {driver} log driver"
            )));
        }
        if !is_valid(key.trim_start_matches("cache-"), value) {
            return Err(Error::Invalid(format!(
                "invalid value {value:?} for log opt '{key}'"
            )));
        }
    }
    Ok(())
}

fn is_valid(key: &str, value: &str) -> bool {
    match key {
        "max-size" => size(value).is_some() || value == "-1",
        "max-file" => value.parse::<u32>().is_ok_and(|count| count > 0),
        "compress" | "disabled" => value.parse::<bool>().is_ok(),
        "mode" => matches!(value, "blocking" | "non-blocking"),
        "labels-regex" | "env-regex" => Regex::new(value).is_ok(),
        _ => true,
    }
}

/// The shim's orders for a container's output.
pub(crate) fn plan(record: &Record) -> Log {
    let log = &record.host.log;
    let Some(path) = &record.log_path else {
        return Log::None;
    };
    let option = |key: &str| {
        let own = log.options.get(key);
        let spooled = own.or_else(|| log.options.get(&format!("cache-{key}")));
        spooled.map(String::as_str)
    };
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

/// The log's path, if the container keeps one.
pub(crate) fn spool(record: &Record) -> Result<&Path> {
    record.log_path.as_deref().ok_or_else(unreadable)
}

/// Refuses to read a log back that is not meant to be.
pub(crate) fn readable(record: &Record) -> Result<()> {
    let off = record.host.log.options.get("cache-disabled");
    match off.is_some_and(|off| off == "true") {
        true => Err(unreadable()),
        false => spool(record).map(drop),
    }
}

fn unreadable() -> Error {
    Error::NotImplemented("configured logging driver does not support reading".to_owned())
}

/// What is written with each line: the chosen labels and variables, and the tag.
pub(crate) fn attributes(record: &Record) -> BTreeMap<String, String> {
    let option = |key: &str| record.host.log.options.get(key);
    let is_chosen = |list: &str, pattern: &str, name: &str| {
        let listed = option(list).is_some_and(|list| list.split(',').any(|known| known == name));
        listed
            || option(pattern)
                .and_then(|pattern| Regex::new(pattern).ok())
                .is_some_and(|pattern| pattern.is_match(name))
    };
    let mut attributes = BTreeMap::new();
    for (label, value) in &record.config.labels {
        if is_chosen("labels", "labels-regex", label) {
            attributes.insert(label.clone(), value.clone());
        }
    }
    for (name, value) in record
        .config
        .env
        .iter()
        .filter_map(|entry| entry.split_once('='))
    {
        if is_chosen("env", "env-regex", name) {
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
    fn what_nobody_knows_is_named() {
        for (driver, key, value, part) in [
            (
                "",
                "max-sise",
                "1",
                "unknown log opt 'max-sise' for json-file",
            ),
            (
                "syslog",
                "max-size",
                "1m",
                "unknown log opt 'max-size' for syslog",
            ),
            ("syslog", "cache-max-size", "x", "invalid value \"x\""),
            ("local", "mode", "fast", "invalid value \"fast\""),
            ("json-file", "env-regex", "(", "invalid value \"(\""),
            (
                "awslogs",
                "tag",
                "x",
                "\"awslogs\" is not available; use fluentd, gelf,",
            ),
        ] {
            let log = LogConfig {
                driver: driver.to_owned(),
                options: BTreeMap::from([(key.to_owned(), value.to_owned())]),
            };
            let error = check(&log).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
