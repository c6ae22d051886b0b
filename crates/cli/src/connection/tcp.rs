//! A daemon's TCP port, with or without encryption.

use std::io;
use std::time::Duration;

use hull_api::client::{Connect, Connecting, Duplex};
use tokio::net::TcpStream;

use super::tls::Connector;

/// A host that does not answer at all is given up after this time.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// A port.
#[derive(Debug)]
pub(super) struct TcpEndpoint {
    host: String,
    port: u16,
    prefix: String,
    shown: String,
    tls: Option<Connector>,
}

impl TcpEndpoint {
    pub(super) fn new(
        host: &str,
        port: u16,
        prefix: &str,
        tls: Option<Connector>,
        shown: &str,
    ) -> Self {
        Self {
            host: host.to_owned(),
            port,
            prefix: prefix.to_owned(),
            shown: shown.to_owned(),
            tls,
        }
    }
}

impl Connect for TcpEndpoint {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let connecting = TcpStream::connect((self.host.as_str(), self.port));
            let stream = tokio::time::timeout(CONNECT_MAX, connecting)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            stream.set_nodelay(true)?;
            match &self.tls {
                None => Ok(Box::new(stream) as Box<dyn Duplex>),
                Some(tls) => {
                    let stream = tls.connect(&self.host, stream).await?;
                    Ok(Box::new(stream) as Box<dyn Duplex>)
                }
            }
        })
    }

    fn host(&self) -> String {
        self.shown.clone()
    }

    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn is_kept(&self) -> bool {
        // A handshake costs round trips and signatures.
        self.tls.is_some()
    }
}
