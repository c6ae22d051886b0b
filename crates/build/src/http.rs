//! Fetches addresses: `ADD https://…`, and contexts that are one.

use std::io::Read;
use std::time::Duration;

use ureq::tls::{RootCerts, TlsConfig};

/// How long a server may take to begin its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// For the whole of a file.
const BODY_WITHIN: Duration = Duration::from_secs(3600);

/// What an address gave.
pub(crate) struct Answer {
    /// Its bytes.
    pub(crate) content: Box<dyn Read + Send>,
    /// Seconds since 1970: when the server says that it changed.
    pub(crate) modified: Option<i64>,
    /// What the server says it is.
    pub(crate) media: String,
}

/// Fetches an address. Blocks.
pub(crate) fn get(url: &str) -> Result<Answer, String> {
    // Certificates are judged as all programs of this host judge them.
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .build();
    let config = ureq::Agent::config_builder()
        .timeout_connect(Some(ANSWER_WITHIN))
        .timeout_recv_response(Some(ANSWER_WITHIN))
        .timeout_recv_body(Some(BODY_WITHIN))
        .user_agent("hull")
        .tls_config(tls)
        .build();
    let agent: ureq::Agent = config.into();
    let answer = agent.get(url).call().map_err(|error| error.to_string())?;
    let header = |name: &str| {
        let value = answer.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let modified = header("last-modified").and_then(|text| {
        let time = jiff::fmt::rfc2822::parse(&text).ok()?;
        Some(time.timestamp().as_second())
    });
    let media = header("content-type").unwrap_or_default();
    Ok(Answer {
        content: Box::new(answer.into_body().into_reader()),
        modified,
        media,
    })
}
