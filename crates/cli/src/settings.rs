//! The client's settings (`config.json`): credentials, and the few preferences that are honoured.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hull_api::types::AuthConfig;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// The key Docker Hub's credentials are stored under.
pub(crate) const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What of the settings matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Settings {
    auths: BTreeMap<String, Stored>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
    pub(crate) detach_keys: String,
    pub(crate) ps_format: String,
    pub(crate) images_format: String,
    pub(crate) stats_format: String,
    pub(crate) networks_format: String,
    pub(crate) volumes_format: String,
    #[serde(skip)]
    path: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stored {
    auth: String,
    identitytoken: String,
}

impl Settings {
    /// Reads the settings; none are no error, damaged ones are told and ignored.
    pub(crate) fn read(directory: &str) -> Self {
        let path = Path::new(directory).join("config.json");
        let mut settings = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                crate::ui::warn(&format!(
                    "Error loading config file: {}: {error}",
                    path.display()
                ));
                Self::default()
            }),
            Err(_) => Self::default(),
        };
        settings.path = path;
        settings
    }

    /// The credentials for a registry's host, if there are any.
    pub(crate) fn credentials(&self, server: &str) -> Option<AuthConfig> {
        let helper = match self.cred_helpers.get(server) {
            Some(helper) => helper,
            None => &self.creds_store,
        };
        if !helper.is_empty() {
            return from_helper(helper, server);
        }
        let stored = self.auths.get(server).or_else(|| {
            let same = |key: &&String| host_of(key) == host_of(server);
            self.auths
                .keys()
                .find(same)
                .and_then(|key| self.auths.get(key))
        })?;
        let decoded = String::from_utf8(STANDARD.decode(&stored.auth).ok()?).ok()?;
        let (username, password) = decoded.split_once(':').unwrap_or((&decoded, ""));
        Some(AuthConfig {
            username: username.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
            identitytoken: stored.identitytoken.clone(),
            serveraddress: server.to_owned(),
            ..AuthConfig::default()
        })
    }

    /// Whether credentials are kept by a helper program.
    pub(crate) fn has_helper(&self) -> bool {
        !self.creds_store.is_empty()
    }

    /// Keeps credentials.
    ///
    /// # Errors
    /// When the settings cannot be written.
    pub(crate) fn store(&self, auth: &AuthConfig) -> Result<()> {
        let server = auth.serveraddress.clone();
        if self.has_helper() {
            return store_in_helper(&self.creds_store, auth);
        }
        let mut entry = json!({
            "auth": STANDARD.encode(format!("{}:{}", auth.username, auth.password)),
        });
        if !auth.identitytoken.is_empty() {
            entry["auth"] = STANDARD.encode(format!("{}:", auth.username)).into();
            entry["identitytoken"] = auth.identitytoken.clone().into();
        }
        self.change(|auths| _ = auths.insert(server, entry))
    }

    /// Forgets credentials, if there are any.
    ///
    /// # Errors
    /// When the settings cannot be written.
    pub(crate) fn erase(&self, server: &str) -> Result<()> {
        let keys: Vec<String> = self
            .auths
            .keys()
            .filter(|key| host_of(key) == host_of(server))
            .cloned()
            .collect();
        if self.has_helper() {
            return run_helper(&self.creds_store, "erase", server).map(drop);
        }
        if keys.is_empty() {
            return Ok(());
        }
        self.change(|auths| keys.iter().for_each(|key| _ = auths.remove(key)))
    }

    /// Rewrites the `auths` of the file and leaves the rest as it is.
    fn change(&self, change: impl FnOnce(&mut Map<String, Value>)) -> Result<()> {
        let shown = self.path.to_string_lossy().into_owned();
        let mut document = match std::fs::read(&self.path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| Error::new(format!("cannot change {shown}: {error}")))?,
            Err(_) => json!({}),
        };
        let Some(root) = document.as_object_mut() else {
            return Err(Error::new(format!(
                "cannot change {shown}: it is not an object"
            )));
        };
        let auths = root.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        if let Some(auths) = auths.as_object_mut() {
            change(auths);
        }
        let text = serde_json::to_string(&document).unwrap_or_default();
        write_private(&self.path, &crate::format::json::indent(&text, "\t"))
            .map_err(|error| Error::io("write", &shown, &error))
    }
}

/// Replaces a file in one step, readable by its owner only.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let fresh = path.with_extension(format!("json.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

fn host_of(server: &str) -> &str {
    let server = server.split_once("://").map_or(server, |(_, rest)| rest);
    server.split('/').next().unwrap_or(server)
}

fn from_helper(helper: &str, server: &str) -> Option<AuthConfig> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let output = run_helper(helper, "get", server).ok()?;
    let answer: Answer = serde_json::from_slice(&output).ok()?;
    let mut auth = AuthConfig {
        serveraddress: server.to_owned(),
        ..AuthConfig::default()
    };
    if answer.username == "<token>" {
        auth.identitytoken = answer.secret;
    } else {
        auth.username = answer.username;
        auth.password = answer.secret;
    }
    Some(auth)
}

fn store_in_helper(helper: &str, auth: &AuthConfig) -> Result<()> {
    let (username, secret) = match auth.identitytoken.as_str() {
        "" => (auth.username.as_str(), auth.password.as_str()),
        token => ("<token>", token),
    };
    let request = json!({"ServerURL": auth.serveraddress, "Username": username, "Secret": secret});
    run_helper(helper, "store", &request.to_string()).map(drop)
}

fn run_helper(helper: &str, verb: &str, input: &str) -> Result<Vec<u8>> {
    let program = format!("docker-credential-{helper}");
    let failed = |error: &std::io::Error| Error::io("exec", &program, error);
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .map_err(|error| failed(&error))?;
    }
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        let why = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Err(Error::new(format!(
            "error from credential helper {program}: {why}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_kept_and_forgotten_and_the_rest_stays() {
        let directory = std::env::temp_dir().join(format!("hull-settings-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("config.json"), r#"{"psFormat":"x"}"#).unwrap();
        let text = directory.to_string_lossy().into_owned();
        let auth = AuthConfig {
            username: "me".into(),
            password: "a:b".into(),
            serveraddress: "localhost:5000".into(),
            ..AuthConfig::default()
        };
        Settings::read(&text).store(&auth).unwrap();
        let settings = Settings::read(&text);
        assert_eq!(settings.ps_format, "x");
        assert_eq!(settings.credentials("localhost:5000"), Some(auth));
        settings.erase("https://localhost:5000/v2/").unwrap();
        let settings = Settings::read(&text);
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(settings.credentials("localhost:5000"), None);
        assert_eq!(settings.ps_format, "x");
    }
}
