//! `login` and `logout`

use std::io::{BufRead, Read};

use hull_api::types::AuthConfig;

use super::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::settings::{DOCKER_HUB, Settings};
use crate::terminal::{Mode, ending};
use crate::ui;

#[derive(Default)]
pub(crate) struct Login {
    password: String,
    password_stdin: bool,
    username: String,
}

impl Command for Login {
    const ABOUT: About = About::new(
        &["login"],
        "[OPTIONS] [SERVER]",
        "Authenticate to a registry",
        Operands::AtMost(1),
    )
    .described("Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.");

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("p,password", "string", "Password or Personal Access Token (PAT)", &mut self.password);
        set.add("password-stdin", "", "Take the Password or Personal Access Token (PAT) from stdin", &mut self.password_stdin);
        set.add("u,username", "string", "Username", &mut self.username);
    }

    async fn run(mut self, call: Call) -> Result<u8> {
        self.read_password(&call)?;
        let settings = Settings::read(&call.globals.config_directory);
        let mut auth = AuthConfig {
            username: self.username,
            password: self.password,
            serveraddress: server(call.operand(0)),
            ..AuthConfig::default()
        };
        let mut are_stored = false;
        if auth.username.is_empty()
            && auth.password.is_empty()
            && let Some(stored) = settings.credentials(&auth.serveraddress)
        {
            let whose = match stored.username.as_str() {
                "" => String::new(),
                name => format!(" [Username: {name}]"),
            };
            ui::note(&format!(
                "Authenticating with existing credentials...{whose}"
            ));
            auth = stored;
            are_stored = true;
        }
        if call.globals.is_docker() {
            // Docker's client calls it a success if nobody wants to log in after all.
            ending::choose(0);
        }
        ask_for_what_is_missing(&mut auth)?;
        let client = connect(&call.globals).await?;
        let mut answer = client.login(&auth).await;
        if let Err(error) = &answer
            && are_stored
            && ui::in_is_terminal()
        {
            // Whoever sits there may know others.
            let is_refused = error.status().is_some_and(|status| status.as_u16() == 401);
            ui::note(&match is_refused {
                true => "Stored credentials invalid or expired".to_owned(),
                false => format!("Login did not succeed, error: {error}"),
            });
            ask_again(&mut auth)?;
            answer = client.login(&auth).await;
        }
        let answer = answer.map_err(failure)?;
        if !answer.identity_token.is_empty() {
            auth.password.clear();
            auth.identitytoken = answer.identity_token;
        }
        settings.store(&auth)?;
        if settings.helper(&auth.serveraddress).is_none() {
            let path = format!("{}/config.json", call.globals.config_directory);
            ui::note(&format!(
                "\nWARNING! Your credentials are stored unencrypted in '{path}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n"
            ));
        }
        if !answer.status.is_empty() {
            ui::line(&answer.status)?;
        }
        Ok(0)
    }
}

impl Login {
    fn read_password(&mut self, call: &Call) -> Result<()> {
        if call.has("password") && self.password_stdin {
            return Err(Error::new(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        if call.has("username") && self.username.is_empty() {
            return Err(Error::new("username is empty"));
        }
        if call.has("password") {
            ui::note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
            if self.password.is_empty() {
                return Err(Error::new("password is empty"));
            }
        }
        if self.password_stdin {
            if self.username.is_empty() {
                return Err(Error::new(
                    "the --password-stdin option requires --username to be set",
                ));
            }
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Error::io("read", "/dev/stdin", &error))?;
            text.trim_end_matches(['\n', '\r'])
                .clone_into(&mut self.password);
            if self.password.is_empty() {
                return Err(Error::new("password is empty"));
            }
        }
        Ok(())
    }
}

fn ask_for_what_is_missing(auth: &mut AuthConfig) -> Result<()> {
    let has_secret = !auth.password.is_empty() || !auth.identitytoken.is_empty();
    if has_secret && !auth.username.is_empty() {
        return Ok(());
    }
    if !ui::in_is_terminal() {
        return Err(Error::new(
            "Error: Cannot perform an interactive login from a non TTY device",
        ));
    }
    if auth.username.is_empty() {
        ui::out("Username: ")?;
        auth.username = read_line()?;
        if auth.username.is_empty() {
            return Err(Error::new("username is required"));
        }
    }
    ui::out("Password: ")?;
    auth.password = without_echo(read_line)?;
    ui::line("")?;
    if auth.password.is_empty() {
        return Err(Error::new("password is required"));
    }
    Ok(())
}

/// Asks for other credentials than those that are kept; the same user is one key away.
fn ask_again(auth: &mut AuthConfig) -> Result<()> {
    auth.password.clear();
    auth.identitytoken.clear();
    let before = std::mem::take(&mut auth.username);
    if !before.is_empty() {
        ui::out(&format!("Username ({before}): "))?;
        auth.username = read_line()?;
        if auth.username.is_empty() {
            auth.username = before;
        }
    }
    ask_for_what_is_missing(auth)
}

fn read_line() -> Result<String> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Error::io("read", "/dev/stdin", &error))?;
    Ok(line.trim().to_owned())
}

/// Reads while the terminal shows nothing of it.
fn without_echo(read: impl FnOnce() -> Result<String>) -> Result<String> {
    let silent = Mode::silent().map_err(|error| Error::io("silence", "/dev/stdin", &error))?;
    let line = read();
    drop(silent);
    line
}

/// The key a server's credentials are stored under.
fn server(operand: &str) -> String {
    match operand {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        // A path says nothing about credentials, except for the Hub's own key.
        DOCKER_HUB => DOCKER_HUB.to_owned(),
        other => {
            let bare = other.split_once("://").map_or(other, |(_, rest)| rest);
            bare.split('/').next().unwrap_or(bare).to_owned()
        }
    }
}

#[derive(Default)]
pub(crate) struct Logout;

impl Command for Logout {
    const ABOUT: About =
        About::new(&["logout"], "[SERVER]", "Log out from a registry", Operands::AtMost(1))
            .described("Log out from a registry.\nIf no server is specified, the default is defined by the daemon.");

    async fn run(self, call: Call) -> Result<u8> {
        let server = server(call.operand(0));
        let settings = Settings::read(&call.globals.config_directory);
        ui::line(&format!("Removing login credentials for {server}"))?;
        settings.erase(&server)?;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_by_their_host() {
        assert_eq!(server(""), DOCKER_HUB);
        assert_eq!(server("https://localhost:5000/v2/"), "localhost:5000");
        assert_eq!(server("ghcr.io"), "ghcr.io");
    }
}
