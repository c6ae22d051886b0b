//! The daemon's configuration: flags and a file, one set of options.
//!
//! Every option stands once in the [`table`]: its flag, its key in the file, and the kind of its
//! value. [`flags`] and [`file`] turn their text into values of those kinds, [`merge`] refuses what
//! was said twice, and [`Config`] is what the rest of the daemon reads. The file is JSON, as
//! Docker's `daemon.json`, with the same keys.

mod file;
mod flags;
mod gc;
mod settings;
mod table;
mod value;

use std::path::{Path, PathBuf};

pub(crate) use flags::{Asked, parse as parse_flags};
pub(crate) use settings::{Config, Endpoint, LogFormat, Tls};
pub(crate) use table::help;
use value::Values;

/// Where the file is looked for unless a flag says otherwise.
const DEFAULT_FILE: &str = "/etc/hull/daemon.json";

/// The configuration makes no sense. The texts are those of Docker's daemon where it has one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The command line is wrong.
    #[error("{0}")]
    Flag(String),
    /// The file is there but cannot be read.
    #[error("unable to configure the daemon with file {path}: {source}")]
    Read {
        path: String,
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error("unable to configure the daemon with file {path}: {reason}")]
    File { path: String, reason: String },
    /// A value is wrong, wherever it came from.
    #[error("{0}")]
    Value(String),
}

/// What to do, from the command line: the flags' values and where the file is.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    flags: Values,
    file: Option<PathBuf>,
    /// Check the configuration and end.
    pub(crate) validate: bool,
    /// The shim's program; `None`: beside the daemon's.
    pub(crate) shim: Option<PathBuf>,
}

impl Sources {
    /// Reads the file and merges it with the flags. Called again on every reload.
    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        let path = self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        let from_file = match file::read(path) {
            Ok(values) => values,
            Err(ConfigError::Read { source, .. })
                if self.file.is_none() && source.kind() == std::io::ErrorKind::NotFound =>
            {
                Values::default()
            }
            Err(error) => return Err(error),
        };
        let values = merge(&self.flags, from_file, path)?;
        let mut config = Config::of(values)?;
        let beside = path.with_file_name("certs.d");
        if self.file.is_some() || beside.exists() {
            config.certs = beside;
        }
        Ok(config)
    }
}

/// Both together. An option in both is an error, except for runtimes, which add up.
fn merge(flags: &Values, file: Values, path: &Path) -> Result<Values, ConfigError> {
    let mut twice = Vec::new();
    let mut merged = file;
    for (key, value) in flags.iter() {
        match merged.get(key) {
            Some(known) if key != "runtimes" => {
                twice.push(format!(
                    "{key}: (from flag: {}, from file: {})",
                    value::shown(value),
                    value::shown(known)
                ));
            }
            _ => merged.add(key, value.clone()),
        }
    }
    if twice.is_empty() {
        return Ok(merged);
    }
    Err(ConfigError::File {
        path: path.display().to_string(),
        reason: format!(
            "the following directives are specified both as a flag and in the configuration file: {}",
            twice.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests;
