//! The client's settings (`config.json`), shared with Docker's client: credentials, formats, proxies, plugins, contexts.

mod document;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, Once, PoisonError};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hull_api::types::AuthConfig;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(crate) use document::{Document, write_private};

use crate::error::{Error, Result};

/// The key Docker Hub's credentials are stored under.
pub(crate) const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What was read last.
static KNOWN: Mutex<Option<Settings>> = Mutex::new(None);

/// What of the settings matters here.
#[derive(Debug, Clone, Default, Deserialize)]
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
    pub(crate) plugins_format: String,
    #[serde(rename = "HttpHeaders")]
    pub(crate) http_headers: BTreeMap<String, String>,
    pub(crate) proxies: BTreeMap<String, Proxies>,
    pub(crate) current_context: String,
    pub(crate) cli_plugins_extra_dirs: Vec<PathBuf>,
    pub(crate) plugins: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) aliases: BTreeMap<String, String>,
    pub(crate) features: BTreeMap<String, Value>,
    #[serde(skip)]
    path: PathBuf,
}

/// The proxies containers are told of.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Proxies {
    http_proxy: String,
    https_proxy: String,
    no_proxy: String,
    ftp_proxy: String,
    all_proxy: String,
}

impl Proxies {
    /// The variables, each as it is spelled in capitals.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("ALL_PROXY", &self.all_proxy),
            ("FTP_PROXY", &self.ftp_proxy),
            ("HTTPS_PROXY", &self.https_proxy),
            ("HTTP_PROXY", &self.http_proxy),
            ("NO_PROXY", &self.no_proxy),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name, value.as_str()))
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Stored {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl Settings {
    /// Reads the settings; none are no error, damaged ones are told once and ignored. A command looks at them more than once;
    /// the file is read once, and again after a change.
    pub(crate) fn read(directory: &str) -> Self {
        let path = Path::new(directory).join("config.json");
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(settings) if settings.path == path => settings.clone(),
            _ => known.insert(Self::of_file(path)).clone(),
        }
    }

    fn of_file(path: PathBuf) -> Self {
        static TOLD: Once = Once::new();
        let shown = path.display();
        let read = match std::fs::read(&path) {
            Ok(text) if text.trim_ascii().is_empty() => Ok(Self::default()),
            Ok(text) => parsed(&text).map_err(|error| {
                let why = match error.is_eof() {
                    true => "unexpected EOF".to_owned(),
                    false => error.to_string(),
                };
                format!("Error parsing config file ({shown}): {why}")
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => {
                let error = Error::io("open", &path.to_string_lossy(), &error);
                Err(format!("Error loading config file: {}", error.message()))
            }
        };
        let mut settings = read.unwrap_or_else(|told| {
            TOLD.call_once(|| {
                crate::ui::warn(&told);
                if crate::ui::explains() {
                    crate::ui::note("hint: mend the file, or move it away; until then it counts for nothing, logins included");
                }
            });
            Self::default()
        });
        settings.path = path;
        settings
    }

    /// The proxies for containers of a daemon: its own, else those for all.
    pub(crate) fn proxies_for(&self, host: &str) -> Option<&Proxies> {
        self.proxies
            .get(host)
            .or_else(|| self.proxies.get("default"))
    }

    /// Changes the file.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Document)) -> Result<()> {
        let mut document = Document::read(&self.path)?;
        let before = document.text();
        change(&mut document);
        // Where nothing changes, no file comes to be.
        if document.text() == before {
            return Ok(());
        }
        *KNOWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
        document.write()
    }

    /// The credentials for a registry's host, if there are any.
    pub(crate) fn credentials(&self, server: &str) -> Option<AuthConfig> {
        if let Some(helper) = self.helper(server) {
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
        // Others write the two in the clear, as Docker reads them.
        let (username, password) = match stored.auth.is_empty() {
            true => (stored.username.as_str(), stored.password.as_str()),
            false => decoded.split_once(':').unwrap_or((&decoded, "")),
        };
        Some(AuthConfig {
            username: username.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
            identitytoken: stored.identitytoken.clone(),
            registrytoken: stored.registrytoken.clone(),
            serveraddress: server.to_owned(),
            ..AuthConfig::default()
        })
    }

    /// All credentials there are, by server.
    pub(crate) fn all_credentials(&self) -> BTreeMap<String, AuthConfig> {
        let mut servers: BTreeSet<String> = self.auths.keys().cloned().collect();
        servers.extend(self.cred_helpers.keys().cloned());
        if !self.creds_store.is_empty() {
            // A helper that is not there has nothing to tell: who needs a login hears of it then.
            let listed = run_helper(&self.creds_store, "list", "").unwrap_or_default();
            let listed: BTreeMap<String, String> =
                serde_json::from_slice(&listed).unwrap_or_default();
            servers.extend(listed.into_keys());
        }
        let found = servers.into_iter().filter_map(|server| {
            let auth = self.credentials(&server)?;
            Some((server, auth))
        });
        found.collect()
    }

    /// The program that keeps a server's credentials: its own, or the one for all.
    pub(crate) fn helper(&self, server: &str) -> Option<&str> {
        let own = self
            .cred_helpers
            .get(server)
            .or_else(|| self.cred_helpers.get(host_of(server)));
        let helper = own.unwrap_or(&self.creds_store);
        (!helper.is_empty()).then_some(helper)
    }

    /// Keeps credentials.
    ///
    /// # Errors
    /// When the settings cannot be written.
    pub(crate) fn store(&self, auth: &AuthConfig) -> Result<()> {
        let server = auth.serveraddress.clone();
        if let Some(helper) = self.helper(&server) {
            store_in_helper(helper, auth)?;
            // As Docker has it: that there are credentials is told, not which.
            return self.change(|auths| _ = auths.insert(server, json!({})));
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
        if let Some(helper) = self.helper(server) {
            run_helper(helper, "erase", server)?;
        }
        if keys.is_empty() {
            return Ok(());
        }
        self.change(|auths| keys.iter().for_each(|key| _ = auths.remove(key)))
    }

    /// Rewrites the `auths` of the file and leaves the rest as it is.
    fn change(&self, change: impl FnOnce(&mut Map<String, Value>)) -> Result<()> {
        self.edit(|document| {
            let mut auths = document.get("auths").unwrap_or_default();
            change(&mut auths);
            document.set("auths", &auths);
        })
    }
}

/// A key that holds nothing is as good as none.
fn parsed(text: &[u8]) -> serde_json::Result<Settings> {
    let mut keys: Map<String, Value> = serde_json::from_slice(text)?;
    keys.retain(|_, value| !value.is_null());
    serde_json::from_value(Value::Object(keys))
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
    let output = run_helper(helper, "get", server)
        .inspect_err(|error| {
            // Who has no credentials hears of that from the registry.
            if !error.message().contains("credentials not found") {
                crate::ui::warn(error.message());
            }
        })
        .ok()?;
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
