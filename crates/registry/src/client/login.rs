//! `login`: whether a registry believes a password.

use http::StatusCode;

use super::challenge::Challenge;
use super::hosts::{self, HUB};
use super::request::{Call, words};
use super::session::challenge_of;
use super::{Client, Credentials};
use crate::{Error, Result};

/// Docker's key for the Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";

impl Client {
    /// Tries credentials at a registry (`localhost:5000`, an address, or the Hub's key). Gives what
    /// is to be kept instead of the password, if the registry gives such.
    pub async fn login(&self, server: &str, credentials: &Credentials) -> Result<Option<String>> {
        let domain = domain(server);
        let hosts = hosts::plan(domain, self.settings())?;
        let host = hosts
            .iter()
            .find(|host| host.is_origin)
            .ok_or_else(|| Error::Invalid(format!("{server} is no registry")))?;
        let call = Call::get(format!("{}/", host.base));
        let url = format!("https://{}{}/", host.authority, host.base);
        let answer = self.send(host, &call.path, &call, None).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return match answer.status() {
                status if status.is_success() => Ok(None),
                status => Err(Error::Status {
                    method: "GET".to_owned(),
                    url,
                    status,
                    why: String::new(),
                }),
            };
        }
        let Some(challenge) = challenge_of(&answer) else {
            return Err(Error::Login {
                url,
                why: "the registry does not say how to log in".to_owned(),
            });
        };
        self.forget(host);
        let mut identity = None;
        let authorization = match &challenge {
            Challenge::Bearer { realm, service, .. } => {
                let given = self
                    .fetch_token(host, (realm, service), "", Some(credentials), true)
                    .await?;
                identity = Some(given.refresh_token).filter(|token| !token.is_empty());
                self.answer_challenge(host, &challenge, "", Some(credentials))
                    .await?
            }
            Challenge::Basic => {
                self.answer_challenge(host, &challenge, "", Some(credentials))
                    .await?
            }
        };
        let answer = self
            .send(host, &call.path, &call, authorization.as_ref())
            .await?;
        match answer.status() {
            status if status.is_success() => Ok(identity),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let why = words(answer.into_body(), self.settings().patience).await;
                let why = why.trim_start_matches("unauthorized: ");
                Err(Error::Login {
                    url,
                    why: if why.is_empty() {
                        "incorrect username or password"
                    } else {
                        why
                    }
                    .to_owned(),
                })
            }
            status => Err(Error::Status {
                method: "GET".to_owned(),
                url,
                status,
                why: String::new(),
            }),
        }
    }
}

/// The registry that credentials under this key are for.
fn domain(server: &str) -> &str {
    if server.is_empty() || server == HUB_KEY {
        return HUB;
    }
    let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
    match bare.split('/').next().unwrap_or(bare) {
        "index.docker.io" | "registry-1.docker.io" => HUB,
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::domain;

    #[test]
    fn keys_name_registries() {
        for (key, expected) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("localhost:5000", "localhost:5000"),
            ("https://quay.io/v2/", "quay.io"),
        ] {
            assert_eq!(domain(key), expected);
        }
    }
}
