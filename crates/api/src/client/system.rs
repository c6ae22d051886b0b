//! The daemon itself.

use std::collections::BTreeMap;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use bytes::Bytes;
use http::{Method, Response};
use hyper::body::Incoming;

use super::{ByteStream, Call, Client, ClientError, JsonStream, container::filtered};
use crate::{
    decode,
    filters::Filters,
    query::{Query, encoded},
    types::{
        AuthConfig, AuthResponse, DiskAccount, DiskUsage, Event, FsckReport, Info, Ping, Plugin,
        ProjectHold, Version,
    },
    version::ApiVersion,
};

/// The version of a daemon that does not name one.
const UNNAMED: ApiVersion = ApiVersion::new(24);

impl Client {
    /// Whether the daemon is there, and what it speaks.
    pub async fn ping(&self) -> Result<Ping, ClientError> {
        match self.send_to(Method::HEAD, "/_ping", Call::default()).await {
            Ok(answer) => Ok(ping_of(&answer)),
            Err(error @ ClientError::Connect { .. }) => Err(error),
            // Connecting anew would only have it fail once more, and ask for the password twice.
            Err(error @ ClientError::Exchange { .. }) if self.shared.endpoint.is_kept() => {
                Err(error)
            }
            Err(_) => Ok(ping_of(
                &self.send_to(Method::GET, "/_ping", Call::default()).await?,
            )),
        }
    }

    /// Agrees with the daemon on a version: the newest both speak.
    pub async fn negotiate(&self) -> Result<Ping, ClientError> {
        let ping = self.ping().await?;
        let theirs = ping.api_version.parse().unwrap_or(UNNAMED);
        self.set_version(ApiVersion::MAX.negotiated(theirs));
        Ok(ping)
    }

    /// What runs there.
    pub async fn server_version(&self) -> Result<Version, ClientError> {
        let version: Version = self.get("/version", Query::default()).await?;
        ClientError::unless(!version.version.is_empty(), "/version", "Version")?;
        Ok(version)
    }

    /// Facts about the daemon and its host.
    pub async fn info(&self) -> Result<Info, ClientError> {
        let info: Info = self.get("/info", Query::default()).await?;
        ClientError::unless(!info.server_version.is_empty(), "/info", "ServerVersion")?;
        Ok(info)
    }

    /// As [`info`](Self::info), as the daemon wrote it.
    pub async fn info_raw(&self) -> Result<Bytes, ClientError> {
        self.get_raw("/info", Query::default()).await
    }

    /// Plugins that are installed from registries.
    pub async fn plugins(&self, filters: &Filters) -> Result<Vec<Plugin>, ClientError> {
        self.get("/plugins", filtered(Query::default(), filters))
            .await
    }

    /// What fills the disk. No kinds: all of them. `verbose`: object by object.
    pub async fn disk_usage(
        &self,
        kinds: &[&str],
        verbose: bool,
    ) -> Result<DiskUsage, ClientError> {
        let mut query = Query::default();
        for kind in kinds {
            query.add("type", *kind);
        }
        query.add_flag("verbose", verbose);
        self.get("/system/df", query).await
    }

    /// What of the data root belongs to whom. (Hull's own.)
    pub async fn disk_account(&self) -> Result<DiskAccount, ClientError> {
        self.get("/hull/system/account", Query::default()).await
    }

    /// What on the disk is damaged, missing or nobody's; with `repair`, mended. (Hull's own.)
    pub async fn fsck(&self, repair: bool, contents: bool) -> Result<FsckReport, ClientError> {
        let mut query = Query::default();
        query.add_flag("repair", repair);
        query.add("contents", if contents { "1" } else { "0" });
        self.post("/hull/system/fsck", Call::with(query)).await
    }

    /// Wants a project of Compose for itself; it is, from the word that says so until the answer is
    /// dropped. `who` is what others are told meanwhile. Nothing: the daemon keeps no such thing. (Hull's own.)
    pub async fn hold_project(
        &self,
        name: &str,
        who: &str,
    ) -> Result<Option<JsonStream<ProjectHold>>, ClientError> {
        let mut query = Query::default();
        query.add("who", who);
        let path = format!("/hull/projects/{}/hold", encoded(name));
        match self.send(Method::POST, &path, Call::with(query)).await {
            Ok(answer) => Ok(Some(ByteStream::new(answer).json())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What happens. Empty times: from now on, without end.
    pub async fn events(
        &self,
        since: &str,
        until: &str,
        filters: &Filters,
    ) -> Result<JsonStream<Event>, ClientError> {
        let mut query = Query::default();
        query.add_some("since", since).add_some("until", until);
        Ok(self
            .get_stream("/events", filtered(query, filters))
            .await?
            .json())
    }

    /// Tries credentials.
    pub async fn login(&self, auth: &AuthConfig) -> Result<AuthResponse, ClientError> {
        self.post("/auth", Call::json(Query::default(), auth)).await
    }
}

/// The value of `X-Registry-Auth`.
pub fn encode_auth(auth: &AuthConfig) -> String {
    URL_SAFE.encode(serde_json::to_vec(auth).expect("credentials always have a JSON form"))
}

/// Reads a value of `X-Registry-Auth`: URL-safe base64 of JSON, or (from careless clients) plain
/// base64. `None`: neither.
pub fn decode_auth(value: &[u8]) -> Option<AuthConfig> {
    decode_header(value)
}

/// Reads a value of `X-Registry-Config`: credentials by server. `None`: it is no base64 of JSON.
pub fn decode_auths(value: &[u8]) -> Option<BTreeMap<String, AuthConfig>> {
    decode_header(value)
}

fn decode_header<T: serde::de::DeserializeOwned>(value: &[u8]) -> Option<T> {
    let trimmed = value.strip_suffix(b"=").unwrap_or(value);
    let trimmed = trimmed.strip_suffix(b"=").unwrap_or(trimmed);
    let padded = [trimmed, &b"==="[..(4 - trimmed.len() % 4) % 4]].concat();
    let json = URL_SAFE
        .decode(&padded)
        .or_else(|_| STANDARD.decode(&padded))
        .ok()?;
    decode::from_slice(&json).ok()
}

fn ping_of(answer: &Response<Incoming>) -> Ping {
    let header = |name: &str| {
        let value = answer
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    Ping {
        api_version: header("api-version"),
        os_type: header("ostype"),
        experimental: header("docker-experimental") == "true",
        builder_version: header("builder-version"),
        server: header("server"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_travel_in_a_header() {
        let auth = AuthConfig {
            username: "someone".into(),
            password: "p\u{e4}ss?>".into(),
            ..AuthConfig::default()
        };
        let value = encode_auth(&auth);
        assert_eq!(decode_auth(value.as_bytes()), Some(auth.clone()));
        assert_eq!(
            decode_auth(value.trim_end_matches('=').as_bytes()),
            Some(auth)
        );
        assert_eq!(decode_auth(b"e30="), Some(AuthConfig::default()));
        assert_eq!(decode_auth(b"%%%"), None);
        assert!(!format!("{:?}", decode_auth(value.as_bytes())).contains("ss?"));
    }
}
