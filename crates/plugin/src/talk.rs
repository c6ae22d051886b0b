//! One question to a plugin and its answer.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::find::Address;

/// An answer is not longer: volumes are named in it, not sent.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The version of the protocol.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";

/// Why a plugin did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of that name.
    #[error("plugin {0:?} not found")]
    NotFound(String),
    /// The file that should tell its address does not.
    #[error("plugin file {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It does other things.
    #[error("plugin {name:?} does not implement the {kind} interface")]
    WrongKind {
        /// Its name.
        name: String,
        /// What was wanted of it.
        kind: &'static str,
    },
    /// It said no.
    #[error("{question}: {answer}")]
    Refused {
        /// `VolumeDriver.Mount`.
        question: &'static str,
        /// Its words.
        answer: String,
    },
    /// It said nothing.
    #[error("{question}: plugin {plugin:?} did not answer within {} s", within.as_secs())]
    Silent {
        /// Its name.
        plugin: String,
        /// `VolumeDriver.Mount`.
        question: &'static str,
        /// The deadline.
        within: Duration,
    },
    /// It cannot be talked to.
    #[error("{question}: plugin {plugin:?}: {reason}")]
    Broken {
        /// Its name.
        plugin: String,
        /// `VolumeDriver.Mount`.
        question: &'static str,
        /// What happened.
        reason: String,
    },
}

/// Whom to ask.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: Address,
}

/// The member of every answer that tells of a failure.
#[derive(serde::Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Failure {
    err: Option<String>,
}

impl Peer {
    /// Asks, and waits no longer than `within` for the whole answer.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        question: &'static str,
        body: &impl Serialize,
        within: Duration,
    ) -> Result<T, Error> {
        let broken = |reason: String| Error::Broken {
            plugin: self.name.clone(),
            question,
            reason,
        };
        let bytes = serde_json::to_vec(body).map_err(|error| broken(error.to_string()))?;
        let answered = tokio::time::timeout(within, self.exchange(question, bytes)).await;
        let (status, bytes) = answered
            .map_err(|_| Error::Silent {
                plugin: self.name.clone(),
                question,
                within,
            })?
            .map_err(broken)?;
        let refusal = serde_json::from_slice::<Failure>(&bytes).ok();
        let refusal = refusal.and_then(|failure| failure.err.filter(|text| !text.is_empty()));
        if let Some(answer) = refusal {
            return Err(Error::Refused { question, answer });
        }
        if status != StatusCode::OK {
            let text = String::from_utf8_lossy(&bytes);
            let answer = format!("{} (status {status})", text.trim());
            return Err(Error::Refused { question, answer });
        }
        // Some plugins answer with nothing where there is nothing to say.
        let bytes = if matches!(bytes.trim_ascii(), b"" | b"null") {
            Bytes::from_static(b"{}")
        } else {
            bytes
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| broken(format!("its answer is not understood: {error}")))
    }

    async fn exchange(&self, question: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes), String> {
        let connect = |error: std::io::Error| format!("cannot connect: {error}");
        match &self.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(connect)?;
                speak(stream, question, body).await
            }
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(connect)?;
                speak(stream, question, body).await
            }
            Address::Tls(address, certificates) => {
                let stream = certificates.connect(address).await?;
                speak(stream, question, body).await
            }
        }
    }
}

/// Go writes `null` for a map or list that is empty, and reads it as what is unset.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    question: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(text)?;
    // Ends with the sender.
    let driving = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/{question}"))
        .header(header::HOST, "plugin")
        .header(header::ACCEPT, MEDIA_TYPE)
        .header(header::CONTENT_TYPE, MEDIA_TYPE)
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let outcome = async {
        let answer = sender.send_request(request).await.map_err(text)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let bytes = body.collect().await.map_err(|error| error.to_string())?;
        Ok((status, bytes.to_bytes()))
    }
    .await;
    driving.abort();
    outcome
}
