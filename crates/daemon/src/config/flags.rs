//! The command line, read as Docker's daemon reads its own.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{
    ConfigError, Sources,
    table::{self, Kind, Row},
    value,
};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Run (or validate).
    Run(Box<Sources>),
    /// Show the flags.
    Help,
    /// Show the version.
    Version,
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(arguments: &[String]) -> Result<Asked, ConfigError> {
    let mut sources = Sources::default();
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        let given = if let Some(long) = argument.strip_prefix("--") {
            vec![long_flag(long, &mut rest)?]
        } else if let Some(letters) = argument.strip_prefix('-').filter(|text| !text.is_empty()) {
            short_flags(letters, &mut rest)?
        } else {
            return Err(ConfigError::Flag(
                "\"hulld\" accepts no arguments.".to_owned(),
            ));
        };
        for (row, value) in given {
            match row.flag {
                "help" => return Ok(Asked::Help),
                "version" => return Ok(Asked::Version),
                "validate" => sources.validate = value == json!(true),
                "config-file" => sources.file = value.as_str().map(PathBuf::from),
                "shim" => sources.shim = value.as_str().map(PathBuf::from),
                "restart" => {}
                _ => sources.flags.add(row.key, value),
            }
        }
    }
    Ok(Asked::Run(Box::new(sources)))
}

/// `name`, `name=value`, `name` and the next argument.
fn long_flag<'a>(
    text: &str,
    rest: &mut impl Iterator<Item = &'a str>,
) -> Result<(&'static Row, Value), ConfigError> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let row =
        table::by_flag(name).ok_or_else(|| ConfigError::Flag(format!("unknown flag: --{name}")))?;
    let missing = || ConfigError::Flag(format!("flag needs an argument: --{name}"));
    let text = match value {
        Some(value) => value,
        None if row.kind == Kind::Switch => "true",
        None => rest.next().ok_or_else(missing)?,
    };
    Ok((row, value::from_text(row, text).map_err(ConfigError::Flag)?))
}

/// `D`, `Dl debug`, `Hunix:///x`, `H=unix:///x`.
fn short_flags<'a>(
    letters: &str,
    rest: &mut impl Iterator<Item = &'a str>,
) -> Result<Vec<(&'static Row, Value)>, ConfigError> {
    let mut given = Vec::new();
    let mut left = letters.chars();
    while let Some(letter) = left.next() {
        let row = table::by_letter(letter).ok_or_else(|| {
            ConfigError::Flag(format!("unknown shorthand flag: '{letter}' in -{letters}"))
        })?;
        let attached = left.as_str();
        let text = match (row.kind, attached.strip_prefix('=')) {
            (_, Some(value)) => value,
            (Kind::Switch, None) => {
                given.push((row, json!(true)));
                continue;
            }
            (_, None) if !attached.is_empty() => attached,
            (_, None) => rest.next().ok_or_else(|| {
                ConfigError::Flag(format!("flag needs an argument: '{letter}' in -{letters}"))
            })?,
        };
        given.push((row, value::from_text(row, text).map_err(ConfigError::Flag)?));
        break;
    }
    Ok(given)
}
