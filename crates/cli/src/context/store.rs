//! Docker's own store of contexts, so that both programs know the same ones.
//!
//! ```text
//! <settings>/contexts/meta/<sha256 of the name>/meta.json             name, description, endpoint
//! <settings>/contexts/tls/<sha256 of the name>/docker/{ca,cert,key}.pem   0600
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::settings::write_private;

/// The files a context may have.
pub(crate) const KEY_FILES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

/// A context as it is stored; what is not known here is carried over.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Metadata {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) metadata: About,
    #[serde(default)]
    pub(crate) endpoints: BTreeMap<String, Box<RawValue>>,
}

/// What is told of a context besides its endpoint.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct About {
    #[serde(
        rename = "Description",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) description: String,
    #[serde(flatten)]
    pub(crate) others: BTreeMap<String, serde_json::Value>,
}

/// Where the daemon of a context is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    #[serde(rename = "Host", default, skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    pub(crate) skip_tls_verify: bool,
}

impl Metadata {
    /// The daemon's endpoint.
    pub(crate) fn place(&self) -> Place {
        let raw = self.endpoints.get("docker");
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default()
    }

    /// Sets the daemon's endpoint.
    pub(crate) fn set_place(&mut self, place: &Place) {
        if let Ok(raw) = serde_json::value::to_raw_value(place) {
            self.endpoints.insert("docker".to_owned(), raw);
        }
    }
}

/// Keys by file name.
pub(crate) type Keys = BTreeMap<String, Vec<u8>>;

/// The store.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    /// The store beside the settings.
    pub(crate) fn of(config_directory: &str) -> Self {
        Self {
            root: Path::new(config_directory).join("contexts"),
        }
    }

    /// Where a context's description lies.
    pub(crate) fn meta_directory(&self, name: &str) -> PathBuf {
        self.root.join("meta").join(folder(name))
    }

    /// Where a context's keys lie.
    pub(crate) fn tls_directory(&self, name: &str) -> PathBuf {
        self.root.join("tls").join(folder(name))
    }

    /// A stored context.
    ///
    /// # Errors
    /// There is none, or it cannot be understood.
    pub(crate) fn get(&self, name: &str) -> Result<Metadata> {
        let path = self.meta_directory(name).join("meta.json");
        let shown = path.to_string_lossy().into_owned();
        let text = fs::read(&path).map_err(|error| {
            let open = Error::io("open", &shown, &error);
            match error.kind() {
                io::ErrorKind::NotFound => Error::new(format!(
                    "context \"{name}\": context not found: {}",
                    open.message()
                )),
                _ => open,
            }
        })?;
        serde_json::from_slice(&text)
            .map_err(|error| Error::new(format!("context \"{name}\": parsing {shown}: {error}")))
    }

    /// Whether a context is stored.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.meta_directory(name).join("meta.json").exists()
    }

    /// All stored contexts that can be read, by name; and what is wrong with one that cannot, if there is one.
    pub(crate) fn list(&self) -> (Vec<Metadata>, Option<Error>) {
        let (mut list, mut damaged) = (Vec::new(), None);
        let root = self.root.join("meta");
        let entries = match fs::read_dir(&root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (list, None),
            Err(error) => {
                let error = Error::io("open", &root.to_string_lossy(), &error);
                return (list, Some(error));
            }
        };
        for entry in entries.flatten() {
            let path = entry.path().join("meta.json");
            let shown = path.to_string_lossy();
            let read = match fs::read(&path) {
                // Not a context, as Docker sees it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => Err(Error::io("open", &shown, &error).message().to_owned()),
                Ok(text) => serde_json::from_slice(&text)
                    .map_err(|error| format!("parsing {shown}: {error}")),
            };
            match read {
                Ok(metadata) => list.push(metadata),
                Err(why) => damaged = Some(Error::new(format!("failed to read metadata: {why}"))),
            }
        }
        list.sort_by(|one: &Metadata, other| one.name.cmp(&other.name));
        (list, damaged)
    }

    /// The keys of a context's daemon.
    ///
    /// # Errors
    /// Keys that cannot be read.
    pub(crate) fn keys(&self, name: &str) -> Result<Keys> {
        let directory = self.tls_directory(name).join("docker");
        let mut keys = Keys::new();
        for file in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = file.path();
            let bytes = fs::read(&path)
                .map_err(|error| Error::io("open", &path.to_string_lossy(), &error))?;
            keys.insert(file.file_name().to_string_lossy().into_owned(), bytes);
        }
        Ok(keys)
    }

    /// Writes a context's description.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(crate) fn put(&self, metadata: &Metadata) -> Result<()> {
        let directory = self.meta_directory(&metadata.name);
        let path = directory.join("meta.json");
        let written = make_directory(&directory, 0o755)
            .and_then(|()| Ok(serde_json::to_vec(metadata)?))
            .and_then(|text| write_private(&path, &text))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)));
        written.map_err(|error| Error::io("write", &path.to_string_lossy(), &error))
    }

    /// Replaces the keys of a context's daemon.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(crate) fn put_keys(&self, name: &str, keys: &Keys) -> Result<()> {
        let root = self.tls_directory(name);
        let directory = root.join("docker");
        let shown = directory.to_string_lossy().into_owned();
        let failed = |error: io::Error| Error::io("write", &shown, &error);
        remove_all(&root).map_err(failed)?;
        if keys.is_empty() {
            return Ok(());
        }
        make_directory(&directory, 0o700).map_err(failed)?;
        for (file, bytes) in keys {
            write_private(&directory.join(file), bytes).map_err(failed)?;
        }
        Ok(())
    }

    /// Forgets a context.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        for directory in [self.meta_directory(name), self.tls_directory(name)] {
            remove_all(&directory)
                .map_err(|error| Error::io("remove", &directory.to_string_lossy(), &error))?;
        }
        Ok(())
    }
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The folder of a name.
fn folder(name: &str) -> String {
    hull_oci::Digest::of(name.as_bytes()).hex().to_owned()
}

/// Refuses what is no name for a new context.
///
/// # Errors
/// Docker's words for it.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
    if name == "default" {
        return Err(Error::new("\"default\" is a reserved context name"));
    }
    if name.is_empty() {
        return Err(Error::new("context name cannot be empty"));
    }
    let begins = name.as_bytes()[0].is_ascii_alphanumeric();
    if name.len() < 2 || !begins || !name.bytes().all(allowed) {
        return Err(Error::new(format!(
            "context name \"{name}\" is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_as_docker_names_them() {
        assert_eq!(
            folder("nosuch"),
            "9e62f93eb7d2499903ac66232f187c56fc050eb74c765f90eb214360b21f0e96"
        );
    }

    #[test]
    fn a_damaged_context_is_told_and_hides_no_other() {
        let root = std::env::temp_dir().join(format!("hull-store-{}", std::process::id()));
        let store = Store::of(&root.to_string_lossy());
        let far = Metadata {
            name: "far".to_owned(),
            ..Metadata::default()
        };
        assert!(store.list().0.is_empty() && store.list().1.is_none());
        store.put(&far).unwrap();
        fs::create_dir_all(store.meta_directory("none")).unwrap();
        assert!(store.list().1.is_none());
        fs::create_dir_all(store.meta_directory("near")).unwrap();
        let path = store.meta_directory("near").join("meta.json");
        fs::write(&path, "{\"Name\":").unwrap();
        let (list, damaged) = store.list();
        fs::remove_dir_all(&root).unwrap();
        let names: Vec<&str> = list.iter().map(|context| context.name.as_str()).collect();
        assert_eq!(names, ["far"]);
        assert!(
            damaged
                .unwrap()
                .message()
                .contains(&*path.to_string_lossy())
        );
    }

    #[test]
    fn names_have_two_characters_at_least() {
        assert!(check_name("ab").is_ok() && check_name("a.+-_9").is_ok());
        for bad in ["", "a", "default", "-a", "a b", "ä1"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
