//! `docker-credential-hull`: keeps passwords of registries for `hull`, `docker` and others.
//!
//! This program under that name speaks the protocol of Docker's credential helpers: a verb as the
//! argument, one document on standard input, one on standard output. An error is a line on standard
//! *output* and exit code 1: that is where clients look for it.

mod vault;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ui;
use vault::{Secret, Vault};

/// The name this is called by.
pub(crate) const PROGRAM: &str = "docker-credential-hull";
/// Clients know by this text that there is nothing for a server, as opposed to something wrong.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// No password is larger.
const INPUT_BYTES_MAX: u64 = 1 << 20;

/// What comes in and goes out.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Runs the helper.
pub(crate) fn main(words: &[String]) -> ExitCode {
    match perform(words) {
        Ok(text) => ExitCode::from(ui::out(&text).map_or_else(|error| ui::report(&error), |()| 0)),
        Err(error) => {
            // Who reads standard output may be gone: there is nobody else to tell.
            let _ = ui::line(error.message());
            ExitCode::FAILURE
        }
    }
}

fn perform(words: &[String]) -> Result<String> {
    let [verb] = words else {
        return Err(usage());
    };
    match verb.as_str() {
        "store" => store(),
        "get" => get(),
        "erase" => erase(),
        "list" => list(),
        "version" | "--version" | "-v" => {
            Ok(format!("{PROGRAM} (hull) v{}\n", env!("CARGO_PKG_VERSION")))
        }
        _ => Err(usage()),
    }
}

fn usage() -> Error {
    Error::new(format!("Usage: {PROGRAM} <store|get|erase|list|version>"))
}

fn store() -> Result<String> {
    let given: Credentials = serde_json::from_str(&input()?)
        .map_err(|error| Error::new(format!("cannot read the credentials: {error}")))?;
    if given.server_url.is_empty() {
        return Err(Error::new("no credentials server URL"));
    }
    if given.username.is_empty() {
        return Err(Error::new("no credentials username"));
    }
    let secret = Secret {
        username: given.username,
        secret: given.secret,
    };
    Vault::at_home()?.change(|secrets| _ = secrets.insert(given.server_url, secret))?;
    Ok(String::new())
}

fn get() -> Result<String> {
    let server_url = server()?;
    let secrets = Vault::at_home()?.read()?;
    let Some(found) = secrets.get(&server_url) else {
        return Err(Error::new(NOT_FOUND));
    };
    let answer = Credentials {
        server_url,
        username: found.username.clone(),
        secret: found.secret.clone(),
    };
    line_of(&answer)
}

fn erase() -> Result<String> {
    let server = server()?;
    Vault::at_home()?.change(|secrets| _ = secrets.remove(&server))?;
    Ok(String::new())
}

fn list() -> Result<String> {
    let secrets = Vault::at_home()?.read()?;
    let names: BTreeMap<&String, &String> = secrets
        .iter()
        .map(|(server, secret)| (server, &secret.username))
        .collect();
    line_of(&names)
}

fn line_of(document: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(document);
    let text = text.map_err(|error| Error::new(format!("cannot show it: {error}")))?;
    Ok(format!("{text}\n"))
}

fn server() -> Result<String> {
    let text = input()?;
    match text.trim() {
        "" => Err(Error::new("no credentials server URL")),
        server => Ok(server.to_owned()),
    }
}

fn input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(INPUT_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Error::io("read", "/dev/stdin", &error))?;
    Ok(text)
}
