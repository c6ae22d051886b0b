//! Where a plugin listens: `NAME.sock`, `NAME/NAME.sock`, or what `NAME.spec` and `NAME.json` say.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{talk::Error, tls::Certificates};

/// Files that tell an address are not larger.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Where plugins are looked for, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories(pub Vec<PathBuf>);

impl Default for Directories {
    fn default() -> Self {
        let usual = [
            "/run/docker/plugins",
            "/etc/docker/plugins",
            "/usr/lib/docker/plugins",
        ];
        Self(usual.map(PathBuf::from).to_vec())
    }
}

/// Where a plugin listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket on this host.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
    /// `host:port`, with certificates.
    Tls(String, Certificates),
}

/// What `NAME.json` holds.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    addr: String,
    #[serde(rename = "TLSConfig")]
    tls: Option<Certificates>,
}

/// Finds a plugin by its name.
pub fn find(name: &str, directories: &Directories) -> Result<Address, Error> {
    let is_name = !name.is_empty()
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    let none = || Error::NotFound(name.to_owned());
    if !is_name {
        return Err(none());
    }
    for directory in &directories.0 {
        for path in [
            directory.join(format!("{name}.sock")),
            directory.join(name).join(format!("{name}.sock")),
        ] {
            if path.exists() {
                return Ok(Address::Unix(path));
            }
        }
        for (extension, parse) in [
            ("spec", address as fn(&str) -> Result<Address, String>),
            ("json", described),
        ] {
            for path in [
                directory.join(format!("{name}.{extension}")),
                directory.join(name).join(format!("{name}.{extension}")),
            ] {
                let Some(text) = read(&path).map_err(|source| Error::File {
                    path: path.clone(),
                    reason: source.to_string(),
                })?
                else {
                    continue;
                };
                return parse(&text).map_err(|reason| Error::File { path, reason });
            }
        }
    }
    Err(none())
}

fn read(path: &Path) -> io::Result<Option<String>> {
    use io::Read as _;
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Some(text))
}

fn described(text: &str) -> Result<Address, String> {
    let description: Description = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let text = description.addr.trim();
    let Some(certificates) = description.tls else {
        return address(text);
    };
    certificates.check()?;
    let place = text
        .strip_prefix("https://")
        .map(|rest| format!("tcp://{rest}"));
    match address(place.as_deref().unwrap_or(text))? {
        Address::Tcp(place) => Ok(Address::Tls(place, certificates)),
        // Who has the socket needs no certificate.
        other => Ok(other),
    }
}

/// `unix:///path`, `tcp://host:port`, `http://host:port`.
fn address(text: &str) -> Result<Address, String> {
    let text = text.trim();
    let invalid = || format!("{text:?} is no address: unix:///path or tcp://host:port");
    let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Address::Unix(PathBuf::from(rest))),
        "tcp" | "http" if rest.trim_end_matches('/').contains(':') => {
            Ok(Address::Tcp(rest.trim_end_matches('/').to_owned()))
        }
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_found_by_its_files() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path();
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
        write("plain.sock", "");
        fs::create_dir(directory.join("own")).unwrap();
        write("own/own.sock", "");
        write("spec.spec", "tcp://10.0.0.1:9000\n");
        write(
            "json.json",
            r#"{"Name":"json","Addr":"unix:///run/x.sock"}"#,
        );
        write(
            "tls.json",
            r#"{"Addr":"https://x:1","TLSConfig":{"CAFile":"x"}}"#,
        );
        write(
            "open.json",
            r#"{"Addr":"https://x:1","TLSConfig":{"InsecureSkipVerify":true}}"#,
        );
        write("bad.spec", "here");
        let places = Directories(vec![directory.join("none"), directory.to_owned()]);
        let found = |name: &str| find(name, &places);
        let unix = |path: &str| Address::Unix(directory.join(path));
        assert_eq!(found("plain").unwrap(), unix("plain.sock"));
        assert_eq!(found("own").unwrap(), unix("own/own.sock"));
        assert_eq!(found("spec").unwrap(), Address::Tcp("10.0.0.1:9000".into()));
        assert_eq!(found("json").unwrap(), Address::Unix("/run/x.sock".into()));
        assert!(
            matches!(found("tls").unwrap(), Address::Tls(place, own) if place == "x:1" && own != Certificates::default())
        );
        assert!(
            found("open")
                .unwrap_err()
                .to_string()
                .contains("InsecureSkipVerify is not available")
        );
        assert!(found("bad").unwrap_err().to_string().contains("no address"));
        for name in ["none", "../plain", ""] {
            let text = found(name).unwrap_err().to_string();
            assert_eq!(text, format!("plugin {name:?} not found"));
        }
    }
}
