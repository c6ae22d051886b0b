//! Where the result goes: `--output`, and the answers of `--call`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use hull_api::types::BuildOutput;
use serde_json::Value;

use super::files;
use super::flags::Asked;
use super::messages::Outcome;
use crate::error::{Error, Result};
use crate::flags::parse_bool;
use crate::options::csv;
use crate::ui;

/// A place where the result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    to: To,
    /// Its names besides those of `--tag`.
    pub(super) names: Vec<String>,
    /// How new layers are packed; empty: as always.
    compression: String,
    /// Whether the files of each platform have a directory of their own.
    split: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum To {
    /// Into the daemon's store, and from there to registries.
    Image { push: bool },
    /// Nowhere.
    CacheOnly,
    /// An archive (`docker`, `oci`, `tar`) into a file; `None`: the standard output.
    Archive(&'static str, Option<PathBuf>),
    /// What is in such an archive, into a directory.
    Directory(&'static str, PathBuf),
}

/// An archive that is being written.
pub(super) enum Writing {
    File(std::fs::File, String),
    Stdout,
    /// The directory's files: the archive goes to a thread that unpacks it.
    Unpacking(UnixStream, JoinHandle<std::io::Result<Vec<String>>>),
}

/// Options that every kind of image has.
const OF_IMAGES: [&str; 5] = [
    "name",
    "compression",
    "force-compression",
    "oci-mediatypes",
    "rewrite-timestamp",
];

/// Options of what goes into a store.
const OF_STORES: [&str; 6] = [
    "push",
    "push-by-digest",
    "name-canonical",
    "store",
    "unpack",
    "registry.insecure",
];

/// Where all of it goes: the image into the store, if nothing is said.
pub(super) fn parse(texts: &[String], push: bool, load: bool) -> Result<Vec<Output>> {
    let all = texts.iter().map(|text| Output::parse(text));
    let mut all: Vec<Output> = all.collect::<Result<_>>()?;
    let is_image = |output: &Output| matches!(output.to, To::Image { .. });
    if all.is_empty() || (load && !all.iter().any(is_image)) {
        all.push(Output::new(To::Image { push: false }));
    }
    if push {
        for output in &mut all {
            match &mut output.to {
                To::Image { push } => *push = true,
                _ => return Err(Error::new("--push needs an image: leave --output out")),
            }
        }
    }
    let is_stdout = |output: &&Output| matches!(output.to, To::Archive(_, None));
    if all.iter().filter(is_stdout).count() > 1 {
        return Err(Error::new("only one output can go to the standard output"));
    }
    Ok(all)
}

impl Output {
    fn new(to: To) -> Self {
        Self {
            to,
            names: Vec::new(),
            compression: String::new(),
            split: None,
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let fields = csv::fields(text).map_err(Error::new)?;
        if fields.len() == 1 && !text.starts_with("type=") {
            return Ok(Self::new(match text {
                "-" => To::Archive("tar", None),
                path => To::Directory("tar", PathBuf::from(path)),
            }));
        }
        let (mut kind, mut destination) = (String::new(), String::new());
        let mut options: BTreeMap<String, String> = BTreeMap::new();
        for field in fields {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| Error::new(format!("invalid value {field}")))?;
            match key.trim().to_ascii_lowercase().as_str() {
                "type" => value.clone_into(&mut kind),
                "dest" => value.clone_into(&mut destination),
                key => drop(options.insert(key.to_owned(), value.to_owned())),
            }
        }
        Options { kind, options }.output(&destination)
    }

    /// What the daemon is told.
    pub(super) fn wanted(&self) -> BuildOutput {
        BuildOutput {
            kind: match &self.to {
                To::Image { .. } => "image",
                To::CacheOnly => "cacheonly",
                To::Archive(kind, _) | To::Directory(kind, _) => kind,
            }
            .to_owned(),
            names: self.names.clone(),
            compression: self.compression.clone(),
            platform_split: self.split,
        }
    }

    /// Whether it goes to registries.
    pub(super) fn is_pushed(&self) -> bool {
        matches!(self.to, To::Image { push: true })
    }

    /// Begins to write.
    pub(super) fn begin(&self) -> Result<Writing> {
        match &self.to {
            To::Archive(_, Some(path)) => {
                let shown = path.display().to_string();
                let file = std::fs::File::create(path);
                let file = file.map_err(|error| Error::io("create", &shown, &error))?;
                Ok(Writing::File(file, shown))
            }
            To::Directory(_, path) => unpack(path),
            _ if ui::out_is_terminal() => Err(Error::new(
                "dest file is required for the archive: refusing to write it to a terminal",
            )),
            _ => Ok(Writing::Stdout),
        }
    }
}

/// What is said of one output. An option that means nothing is refused, not ignored.
struct Options {
    kind: String,
    options: BTreeMap<String, String>,
}

impl Options {
    fn output(mut self, destination: &str) -> Result<Output> {
        if self.kind == "registry" {
            "image".clone_into(&mut self.kind);
            let push = "push".to_owned();
            self.options.entry(push).or_insert("true".to_owned());
        }
        if self.kind.is_empty() {
            return Err(Error::new("type is required for output"));
        }
        self.check()?;
        let is_tar = self.switch("tar", true)?;
        let file = match destination {
            "" | "-" => None,
            path => Some(PathBuf::from(path)),
        };
        let archive = |kind| match (is_tar, &file) {
            (true, file) => Ok(To::Archive(kind, file.clone())),
            (false, Some(path)) => Ok(To::Directory(kind, path.clone())),
            (false, None) => Err(Error::new(format!(
                "dest is required for a directory: type={kind},tar=false,dest=DIRECTORY"
            ))),
        };
        let to = match self.kind.as_str() {
            "image" => To::Image {
                push: self.switch("push", false)?,
            },
            "docker" if destination.is_empty() && is_tar => To::Image { push: false },
            "docker" => archive("docker")?,
            "oci" => archive("oci")?,
            "tar" => To::Archive("tar", file),
            "cacheonly" => To::CacheOnly,
            "local" if destination.is_empty() => {
                return Err(Error::new("dest is required for local output"));
            }
            "local" => To::Directory("tar", PathBuf::from(destination)),
            other => return Err(Error::new(format!("invalid output type {other:?}"))),
        };
        let text = |name: &str| self.options.get(name).map_or("", String::as_str);
        let names = text("name").split(',').map(str::trim);
        let names = names.filter(|name| !name.is_empty()).map(str::to_owned);
        Ok(Output {
            to,
            names: names.collect(),
            compression: text("compression").to_owned(),
            split: match text("platform-split") {
                "" => None,
                _ => Some(self.switch("platform-split", true)?),
            },
        })
    }

    fn known(&self) -> Vec<&'static str> {
        match self.kind.as_str() {
            "image" => OF_IMAGES.into_iter().chain(OF_STORES).collect(),
            "docker" | "oci" => OF_IMAGES.into_iter().chain(["tar"]).collect(),
            "tar" | "local" => vec!["platform-split"],
            _ => Vec::new(),
        }
    }

    fn check(&self) -> Result<()> {
        let kind = &self.kind;
        let known = self.known();
        let strange = |key: &&String| !known.contains(&key.as_str());
        if let Some(key) = self.options.keys().find(strange) {
            let mut error = Error::new(format!("--output type={kind} has no option {key:?}"));
            if !known.is_empty() {
                error = error.with_hint(format!("there are: {}", known.join(", ")));
            }
            return Err(error);
        }
        if !matches!(
            self.options.get("compression").map_or("", String::as_str),
            "" | "gzip" | "zstd" | "uncompressed"
        ) {
            let message = format!(
                "unsupported compression type: {}: there are gzip, zstd and uncompressed",
                self.options["compression"]
            );
            return Err(Error::new(message));
        }
        for (name, only) in [
            ("push-by-digest", false),
            ("name-canonical", false),
            ("store", true),
            ("registry.insecure", false),
            ("force-compression", false),
            ("oci-mediatypes", true),
        ] {
            if self.switch(name, only)? != only {
                let message = format!(
                    "--output type={kind}: {name}={} is not available here",
                    self.options[name]
                );
                let way_out = "`docker buildx build` against this daemon has it";
                return Err(match name {
                    "push-by-digest" | "name-canonical" | "store" => {
                        Error::new(message).with_hint(way_out)
                    }
                    _ => Error::new(message),
                });
            }
        }
        // They change nothing: images are always unpacked, and never newer than SOURCE_DATE_EPOCH.
        for name in ["unpack", "rewrite-timestamp"] {
            self.switch(name, true)?;
        }
        Ok(())
    }

    fn switch(&self, name: &str, default: bool) -> Result<bool> {
        match self.options.get(name).map(String::as_str) {
            None | Some("") => Ok(default),
            Some(text) => parse_bool(text).map_err(|_| {
                Error::new(format!("--output: {name}={text} is neither true nor false"))
            }),
        }
    }
}

/// Ends what was being written.
pub(super) fn finish(writing: Writing) -> Result<()> {
    let Writing::Unpacking(archive, unpacking) = writing else {
        return Ok(());
    };
    drop(archive);
    let failed = || Error::new("cannot write the files of the result");
    let unpacked = unpacking.join().map_err(|_| failed())?;
    let left_out = unpacked
        .map_err(|error| Error::new(format!("cannot write the files of the result: {error}")))?;
    for path in left_out {
        ui::warn(&format!("{path} is left out: only root can make devices"));
    }
    Ok(())
}

/// Begins to write files into a directory.
pub(super) fn unpack(path: &Path) -> Result<Writing> {
    let shown = path.display().to_string();
    std::fs::create_dir_all(path).map_err(|error| Error::io("create", &shown, &error))?;
    let (here, there) =
        UnixStream::pair().map_err(|error| Error::io("write to", &shown, &error))?;
    let directory = path.to_owned();
    let unpacking = std::thread::spawn(move || files::unpack(there, &directory));
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
pub(super) fn tell(asked: &Asked, outcome: &Outcome) -> Result<u8> {
    let answer = &outcome.answer;
    let found = answer["warnings"].as_array().map_or(0, Vec::len);
    let code = u8::from(found > 0 && !asked.ignores_status);
    if asked.is_json {
        ui::line(answer["document"].as_str().unwrap_or_default())?;
        return Ok(code);
    }
    tell_text(&asked.name, answer)?;
    Ok(code)
}

fn tell_text(call: &str, answer: &Value) -> Result<()> {
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    match call {
        "check" => {
            let warnings = list("warnings");
            if warnings.is_empty() {
                ui::line("Check complete, no warnings found.")?;
                return Ok(());
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
        }
        "targets" => {
            ui::line("TARGET            DESCRIPTION")?;
            for stage in list("stages") {
                let is_default = stage["default"].as_bool().unwrap_or(false);
                let mark = if is_default { " (default)" } else { "" };
                let name = format!("{}{mark}", text(&stage, "name"));
                ui::line(&format!("{name:<17} {}", text(&stage, "description")))?;
            }
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
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Output> {
        Output::parse(text)
    }

    fn refused(text: &str) -> String {
        one(text).unwrap_err().message().to_owned()
    }

    #[test]
    fn outputs_are_understood() {
        let image = one("type=image,\"name=aa:1,bb:2\",compression=zstd").unwrap();
        assert_eq!(image.names, ["aa:1", "bb:2"]);
        assert_eq!(
            (image.wanted().compression.as_str(), image.is_pushed()),
            ("zstd", false)
        );
        assert!(one("type=registry,name=a").unwrap().is_pushed());
        let loaded = one("type=docker,name=a").unwrap();
        assert_eq!(
            (loaded.to, loaded.names.len()),
            (To::Image { push: false }, 1)
        );
        let layout = one("type=oci,dest=d,tar=false").unwrap();
        assert_eq!(layout.to, To::Directory("oci", "d".into()));
        assert_eq!(
            one("type=docker,dest=f").unwrap().to,
            To::Archive("docker", Some("f".into()))
        );
        assert_eq!(
            one("type=local,dest=d,platform-split=false").unwrap().split,
            Some(false)
        );
        assert_eq!(one("dir").unwrap().to, To::Directory("tar", "dir".into()));
        assert_eq!(one("-").unwrap().to, To::Archive("tar", None));
    }

    #[test]
    fn an_option_that_means_nothing_is_refused_by_its_name() {
        for (text, expected) in [
            ("type=image,bogus=1", "\"bogus\""),
            (
                "type=image,name=a,push-by-digest=true",
                "push-by-digest=true",
            ),
            ("type=local,dest=d,compression=zstd", "\"compression\""),
            ("type=oci,dest=d,compression=lz4", "lz4"),
            ("type=oci,tar=false", "dest is required"),
            ("type=image,push=perhaps", "push=perhaps"),
            ("type=image,name", "invalid value name"),
            ("dest=d,name=x", "type is required"),
            ("type=what,dest=d", "\"what\""),
        ] {
            let message = refused(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn several_outputs_fit_together_or_are_refused() {
        let texts = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        let both = parse(
            &texts(&["type=local,dest=d", "type=image,name=a"]),
            false,
            false,
        )
        .unwrap();
        assert_eq!(both.len(), 2);
        let loaded = parse(&texts(&["type=local,dest=d"]), false, true).unwrap();
        assert_eq!(loaded[1].to, To::Image { push: false });
        assert_eq!(
            parse(&[], true, false).unwrap()[0].to,
            To::Image { push: true }
        );
        assert!(parse(&texts(&["type=local,dest=d"]), true, false).is_err());
        assert!(parse(&texts(&["-", "type=oci"]), false, false).is_err());
    }
}
