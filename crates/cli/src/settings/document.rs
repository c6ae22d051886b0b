//! The file itself: an object whose keys keep their text and, where Docker has one, their order.
//!
//! What is not known here is carried over untouched, so that no other program loses what it wrote. The file is replaced in
//! one step and readable by its owner only: it may hold passwords.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::format::json::indent;

/// The keys Docker writes, in its order; others follow in theirs.
const ORDER: [&str; 25] = [
    "auths",
    "HttpHeaders",
    "psFormat",
    "imagesFormat",
    "networksFormat",
    "pluginsFormat",
    "volumesFormat",
    "statsFormat",
    "detachKeys",
    "credsStore",
    "credHelpers",
    "serviceInspectFormat",
    "servicesFormat",
    "tasksFormat",
    "secretFormat",
    "configFormat",
    "nodesFormat",
    "pruneFilters",
    "proxies",
    "currentContext",
    "cliPluginsExtraDirs",
    "plugins",
    "aliases",
    "features",
    "experimental",
];

/// A settings file that can be changed key by key.
#[derive(Debug)]
pub(crate) struct Document {
    path: PathBuf,
    entries: Vec<(String, Box<RawValue>)>,
}

impl Document {
    /// Reads a file; a missing or empty one has no keys.
    ///
    /// # Errors
    /// A file that cannot be read or is no object: it is left alone rather than overwritten.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let shown = path.to_string_lossy().into_owned();
        let entries = match std::fs::read(path) {
            Ok(text) if text.trim_ascii().is_empty() => Vec::new(),
            Ok(text) => {
                let entries: Entries = serde_json::from_slice(&text).map_err(|error| {
                    Error::new(format!("cannot change {shown}: {error}"))
                        .with_hint("mend the file, or move it away")
                })?;
                entries.0
            }
            // Whether a file can come to be there shows when it is written.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Vec::new()
            }
            Err(error) => return Err(Error::io("open", &shown, &error)),
        };
        Ok(Self {
            path: path.to_owned(),
            entries,
        })
    }

    /// A key's value, if it is there and has this form.
    pub(crate) fn get<'d, T: Deserialize<'d>>(&'d self, key: &str) -> Option<T> {
        let (_, raw) = self.entries.iter().find(|(known, _)| known == key)?;
        serde_json::from_str(raw.get()).ok()
    }

    /// Sets a key.
    pub(crate) fn set(&mut self, key: &str, value: &impl Serialize) {
        let Ok(raw) = serde_json::value::to_raw_value(value) else {
            return;
        };
        match self.entries.iter_mut().find(|(known, _)| known == key) {
            Some(entry) => entry.1 = raw,
            None => self.entries.push((key.to_owned(), raw)),
        }
    }

    /// Takes a key away.
    pub(crate) fn remove(&mut self, key: &str) {
        self.entries.retain(|(known, _)| known != key);
    }

    /// All of it as JSON.
    pub(crate) fn text(&self) -> String {
        let members: Vec<String> = self
            .entries
            .iter()
            .map(|(key, raw)| format!("{}:{}", serde_json::json!(key), raw.get()))
            .collect();
        format!("{{{}}}", members.join(","))
    }

    /// Replaces the file, or the one a link points to.
    ///
    /// # Errors
    /// When it cannot be written; the old one is then still whole.
    pub(crate) fn write(mut self) -> Result<()> {
        if self.get::<&RawValue>("auths").is_none() {
            self.set("auths", &serde_json::json!({}));
        }
        let place = |key: &str| ORDER.iter().position(|known| *known == key);
        self.entries
            .sort_by_key(|(key, _)| place(key).unwrap_or(ORDER.len()));
        let text = indent(&self.text(), "\t");
        let path = std::fs::canonicalize(&self.path).unwrap_or(self.path);
        write_private(&path, text.as_bytes())
            .map_err(|error| Error::io("write", &path.to_string_lossy(), &error))
    }
}

/// Replaces a file in one step, readable by its owner only.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .create(directory)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(name);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&fresh, path));
    if written.is_err() {
        _ = std::fs::remove_file(&fresh);
    }
    written
}

/// The members of an object, in order; of a key that stands twice, the last.
struct Entries(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Entries;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Entries, A::Error> {
                let mut entries: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    entries.retain(|(known, _)| *known != key);
                    entries.push((key, value));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_keep_their_text_and_known_ones_their_place() {
        let directory = std::env::temp_dir().join(format!("hull-document-{}", std::process::id()));
        let path = directory.join("config.json");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(
            &path,
            r#"{"zz":{"b":1.50,"a":[]},"psFormat":"x","auths":{}}"#,
        )
        .unwrap();
        let mut document = Document::read(&path).unwrap();
        document.set("currentContext", &"far");
        document.write().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, "{\"a\":").unwrap();
        let damaged = Document::read(&path).unwrap_err();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(
            text,
            "{\n\t\"auths\": {},\n\t\"psFormat\": \"x\",\n\t\"currentContext\": \"far\",\n\t\"zz\": {\n\t\t\"b\": 1.50,\n\t\t\"a\": []\n\t}\n}"
        );
        assert!(damaged.message().contains("cannot change"), "{damaged:?}");
    }
}
