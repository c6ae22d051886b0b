//! Where the result goes: `--output`, and the answers of `--call`.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use serde_json::Value;

use super::messages::Outcome;
use crate::error::{Error, Result};
use crate::ui;

/// Where the result goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Into the daemon's store, under these names besides `--tag`, and from there to registries.
    Image { names: Vec<String>, push: bool },
    /// Nowhere.
    CacheOnly,
    /// An archive (`docker`, `oci`, `tar`) into a file; `None`: the standard output.
    Archive(&'static str, Option<PathBuf>),
    /// Files into a directory.
    Directory(PathBuf),
}

/// An archive that is being written.
pub(super) enum Writing {
    File(std::fs::File, String),
    Stdout,
    /// The directory's files: the archive goes to a thread that unpacks it.
    Unpacking(UnixStream, JoinHandle<std::io::Result<()>>),
}

impl Output {
    pub(super) fn parse(texts: &[String], push: bool) -> Result<Self> {
        match (Self::of(texts)?, push) {
            (Self::Image { names, .. }, true) => Ok(Self::Image { names, push }),
            (_, true) => Err(Error::new("--push needs an image: leave --output out")),
            (output, false) => Ok(output),
        }
    }

    fn of(texts: &[String]) -> Result<Self> {
        let [text] = texts else {
            return match texts {
                [] => Ok(Self::image()),
                _ => Err(Error::new("only one --output is available in this version")),
            };
        };
        if !text.contains('=') {
            return Ok(match text.as_str() {
                "-" => Self::Archive("tar", None),
                path => Self::Directory(PathBuf::from(path)),
            });
        }
        let (mut kind, mut destination) = (String::new(), String::new());
        let (mut names, mut push) = (Vec::new(), false);
        for field in text.split(',') {
            match field.split_once('=') {
                Some(("type", value)) => value.clone_into(&mut kind),
                Some(("dest", value)) => value.clone_into(&mut destination),
                Some(("name", value)) => names.push(value.to_owned()),
                Some(("push", value)) => push = value == "true",
                _ => {}
            }
        }
        let file = match destination.as_str() {
            "" | "-" => None,
            path => Some(PathBuf::from(path)),
        };
        match kind.as_str() {
            "image" => Ok(Self::Image { names, push }),
            "registry" => Ok(Self::Image { names, push: true }),
            "docker" if destination.is_empty() => Ok(Self::Image { names, push: false }),
            "docker" => Ok(Self::Archive("docker", file)),
            "oci" => Ok(Self::Archive("oci", file)),
            "tar" => Ok(Self::Archive("tar", file)),
            "cacheonly" => Ok(Self::CacheOnly),
            "local" if destination.is_empty() => {
                Err(Error::new("dest is required for local output"))
            }
            "local" => Ok(Self::Directory(PathBuf::from(destination))),
            other => Err(Error::new(format!("invalid output type {other:?}"))),
        }
    }

    fn image() -> Self {
        Self::Image {
            names: Vec::new(),
            push: false,
        }
    }

    /// The daemon's word for it.
    pub(super) fn kind(&self) -> &str {
        match self {
            Self::Image { .. } => "",
            Self::CacheOnly => "cacheonly",
            Self::Archive(kind, _) => kind,
            Self::Directory(_) => "tar",
        }
    }

    /// Whether it goes to registries.
    pub(super) fn is_pushed(&self) -> bool {
        matches!(self, Self::Image { push: true, .. })
    }

    /// Begins to write.
    pub(super) fn begin(&self) -> Result<Writing> {
        match self {
            Self::Archive(_, Some(path)) => {
                let shown = path.display().to_string();
                let file = std::fs::File::create(path);
                let file = file.map_err(|error| Error::io("create", &shown, &error))?;
                Ok(Writing::File(file, shown))
            }
            Self::Directory(path) => unpack(path),
            _ if ui::out_is_terminal() => Err(Error::new(
                "dest file is required for the archive: refusing to write it to a terminal",
            )),
            _ => Ok(Writing::Stdout),
        }
    }
}

/// Ends what was being written.
pub(super) fn finish(writing: Option<Writing>) -> Result<()> {
    let Some(Writing::Unpacking(archive, unpacking)) = writing else {
        return Ok(());
    };
    drop(archive);
    let failed = || Error::new("cannot write the files of the result");
    let unpacked = unpacking.join().map_err(|_| failed())?;
    unpacked.map_err(|error| Error::new(format!("cannot write the files of the result: {error}")))
}

/// Begins to write files into a directory.
pub(super) fn unpack(path: &Path) -> Result<Writing> {
    let shown = path.display().to_string();
    std::fs::create_dir_all(path).map_err(|error| Error::io("create", &shown, &error))?;
    let (here, there) =
        UnixStream::pair().map_err(|error| Error::io("write to", &shown, &error))?;
    let directory = path.to_owned();
    let unpacking = std::thread::spawn(move || {
        let mut archive = tar::Archive::new(std::io::BufReader::new(there));
        archive.set_preserve_permissions(true);
        archive.unpack(directory)
    });
    Ok(Writing::Unpacking(here, unpacking))
}

impl Writing {
    pub(super) fn write(self, bytes: Vec<u8>) -> Result<Self> {
        match self {
            Self::File(mut file, path) => {
                let written = file.write_all(&bytes);
                written.map_err(|error| Error::io("write", &path, &error))?;
                Ok(Self::File(file, path))
            }
            Self::Stdout => {
                ui::out_bytes(&bytes)?;
                Ok(Self::Stdout)
            }
            Self::Unpacking(mut archive, unpacking) => {
                // If it fails, the thread says why at the end.
                let _ = archive.write_all(&bytes);
                Ok(Self::Unpacking(archive, unpacking))
            }
        }
    }
}

/// Prints the answer of a `--call`; the exit code is 1 if a check found something.
pub(super) fn tell(call: &str, outcome: &Outcome) -> Result<u8> {
    let answer = &outcome.answer;
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    match call {
        "check" => {
            let warnings = list("warnings");
            if warnings.is_empty() {
                ui::line("Check complete, no warnings found.")?;
                return Ok(0);
            }
            let noun = if warnings.len() == 1 {
                "warning has"
            } else {
                "warnings have"
            };
            ui::line(&format!(
                "Check complete, {} {noun} been found!",
                warnings.len()
            ))?;
            for warning in &warnings {
                ui::line(&format!(
                    "\nWARNING: {} - {}\n{}\n\n{}",
                    text(warning, "rule"),
                    text(warning, "url"),
                    text(warning, "message"),
                    text(warning, "excerpt").trim_end(),
                ))?;
            }
            Ok(1)
        }
        "targets" => {
            ui::line("TARGET            DESCRIPTION")?;
            for stage in list("stages") {
                let is_default = stage["default"].as_bool().unwrap_or(false);
                let mark = if is_default { " (default)" } else { "" };
                let name = format!("{}{mark}", text(&stage, "name"));
                ui::line(&format!("{name:<17} {}", text(&stage, "description")))?;
            }
            Ok(0)
        }
        _ => {
            ui::line("BUILD ARG         VALUE                DESCRIPTION")?;
            for arg in list("args") {
                let (name, value) = (text(&arg, "name"), text(&arg, "value"));
                ui::line(&format!(
                    "{name:<17} {value:<20} {}",
                    text(&arg, "description")
                ))?;
            }
            for secret in list("secrets") {
                ui::line(&format!("\nSECRET            {}", text(&secret, "name")))?;
            }
            Ok(0)
        }
    }
}
