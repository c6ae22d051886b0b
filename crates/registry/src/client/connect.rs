//! Connections: TCP, TLS, and proxies on the way.

use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::hosts::{Trust, in_network};
use super::verify::{Anybody, Listed};
use crate::wire::percent_decoded;
use crate::{Error, Result};

/// How long a connection or a handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The head of a proxy's answer.
const PROXY_HEAD_BYTES_MAX: usize = 16 << 10;

/// Ways out that lead through somebody else.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For `http`.
    pub http: Option<String>,
    /// For `https`.
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached directly; `*`: all.
    pub none: Vec<String>,
}

/// Opens connections for one kind of trust.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: TlsConnector,
    proxies: Arc<Proxies>,
}

/// A connection.
pub(crate) enum Stream {
    Plain { tcp: TcpStream, is_proxied: bool },
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connector {
    pub(crate) fn new(trust: &Trust, proxies: Arc<Proxies>) -> Result<Self> {
        Ok(Self {
            tls: TlsConnector::from(Arc::new(tls_config(trust)?)),
            proxies,
        })
    }

    async fn connect(self, uri: Uri) -> io::Result<Stream> {
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let proxy = self.proxies.for_host(is_tls, &host)?;
        let tcp = match &proxy {
            None => dial(&host, port).await?,
            Some(proxy) => {
                let tcp = dial(&proxy.host, proxy.port).await?;
                if is_tls {
                    tunnel(tcp, &host, port, proxy).await?
                } else {
                    tcp
                }
            }
        };
        tcp.set_nodelay(true)?;
        if !is_tls {
            return Ok(Stream::Plain {
                tcp,
                is_proxied: proxy.is_some(),
            });
        }
        let bare = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(bare).map_err(io::Error::other)?;
        match tokio::time::timeout(CONNECT_TIMEOUT, self.tls.connect(name, tcp)).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream?))),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "net/http: TLS handshake timeout",
            )),
        }
    }
}

async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = tokio::net::lookup_host((bare, port)).await;
    let addresses = addresses.map_err(|error| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("dial tcp: lookup {bare}: {error}"),
        )
    })?;
    let mut last = io::Error::new(
        io::ErrorKind::NotFound,
        format!("dial tcp: lookup {bare}: no such host"),
    );
    for address in addresses {
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                let words = match error.kind() {
                    io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                    _ => error.to_string(),
                };
                last = io::Error::new(
                    error.kind(),
                    format!("dial tcp {address}: connect: {words}"),
                );
            }
            Err(_) => {
                last = io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("dial tcp {address}: i/o timeout"),
                )
            }
        }
    }
    Err(last)
}

/// Has a proxy connect us to the host.
async fn tunnel(mut tcp: TcpStream, host: &str, port: u16, proxy: &Proxy) -> io::Result<TcpStream> {
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(credentials) = &proxy.credentials {
        let _ = write!(request, "Proxy-Authorization: Basic {credentials}\r\n");
    }
    request.push_str("\r\n");
    tcp.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(CONNECT_TIMEOUT, tcp.read_u8()).await??;
        head.push(byte);
        if head.len() > PROXY_HEAD_BYTES_MAX {
            return Err(io::Error::other("the proxy's answer has no end"));
        }
    }
    let line = String::from_utf8_lossy(&head);
    let line = line.lines().next().unwrap_or_default();
    if line.split(' ').nth(1) == Some("200") {
        return Ok(tcp);
    }
    Err(io::Error::other(format!("proxyconnect tcp: {line}")))
}

/// A way out.
#[derive(Debug, PartialEq, Eq)]
struct Proxy {
    host: String,
    port: u16,
    /// Name and password, as `Basic` has them.
    credentials: Option<String>,
}

impl Proxy {
    /// Reads `http://user:password@host:port`. An error never shows the address: it may hold a password.
    fn parse(address: &str) -> io::Result<Self> {
        let wrong =
            |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("the proxy {why}"));
        let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(wrong(&format!(
                "is one for {scheme:?}, and only http:// ones are spoken to: set one of those, or name the registry \
                 in NO_PROXY"
            )));
        }
        let rest = rest.trim_end_matches('/');
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        // The two parts are encoded on their own: a password may hold a colon.
        let credentials = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let parts = [percent_decoded(name), percent_decoded(password)];
            STANDARD.encode(parts.join(&b':'))
        });
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse();
                (host, port.map_err(|_| wrong("has a port that is none"))?)
            }
            _ => (authority, 80),
        };
        if host.is_empty() {
            return Err(wrong("names no host"));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            credentials,
        })
    }
}

impl Proxies {
    /// What a proxy on the way to a plain host wants to be told of who asks. (For TLS, the tunnel says it.)
    pub(super) fn authorization(&self, uri: &Uri) -> io::Result<Option<HeaderValue>> {
        if uri.scheme_str() == Some("https") {
            return Ok(None);
        }
        let proxy = self.for_host(false, uri.host().unwrap_or_default())?;
        let Some(credentials) = proxy.and_then(|proxy| proxy.credentials) else {
            return Ok(None);
        };
        let value = HeaderValue::from_str(&format!("Basic {credentials}"));
        let mut value = value.map_err(io::Error::other)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// `None`: the host is reached directly.
    fn for_host(&self, is_tls: bool, host: &str) -> io::Result<Option<Proxy>> {
        let address = if is_tls { &self.https } else { &self.http };
        match address {
            Some(address) if !self.is_direct(host) => Proxy::parse(address).map(Some),
            _ => Ok(None),
        }
    }

    fn is_direct(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let address = host.parse::<IpAddr>().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.none
            .iter()
            .map(|entry| entry.trim())
            .filter(|entry| !entry.is_empty())
            .any(|entry| {
                let domain = entry.trim_start_matches('*').trim_start_matches('.');
                let is_below = host
                    .strip_suffix(domain)
                    .is_some_and(|front| front.ends_with('.'));
                let is_in = address.is_some_and(|address| in_network(entry, address));
                entry == "*" || host == domain || is_below || is_in
            })
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(uri).await.map(TokioIo::new) })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let is_proxied = matches!(
            self,
            Self::Plain {
                is_proxied: true,
                ..
            }
        );
        Connected::new().proxy(is_proxied)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { tcp, .. } => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain { tcp, .. } => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { tcp, .. } => Pin::new(tcp).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { tcp, .. } => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

fn tls_config(trust: &Trust) -> Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let wrong = |what: &std::path::Path, why: String| Error::Setting {
        what: what.display().to_string(),
        why,
    };
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Internal(error.to_string()))?;
    let builder = if trust.skip_verify {
        let anybody = Arc::new(Anybody(provider));
        builder
            .dangerous()
            .with_custom_certificate_verifier(anybody)
    } else {
        let mut roots = native_roots().clone();
        let mut listed = Vec::new();
        for path in &trust.authorities {
            let certificates = CertificateDer::pem_file_iter(path)
                .map_err(|error| wrong(path, error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| wrong(path, error.to_string()))?;
                listed.push(certificate.clone().into_owned());
                roots
                    .add(certificate)
                    .map_err(|error| wrong(path, error.to_string()))?;
            }
        }
        let listed = Listed::new(roots, listed, provider);
        let listed = listed.map_err(|error| Error::Internal(error.to_string()))?;
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(listed))
    };
    let Some((path, key_path)) = trust.shown.first() else {
        return Ok(builder.with_no_client_auth());
    };
    let chain =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| wrong(path, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(key_path)
        .map_err(|error| wrong(key_path, error.to_string()))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| wrong(path, error.to_string()))
}

/// The machine's own authorities, read once.
fn native_roots() -> &'static rustls::RootCertStore {
    static ROOTS: OnceLock<rustls::RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = rustls::RootCertStore::empty();
        let loaded = rustls_native_certs::load_native_certs();
        for error in loaded.errors {
            tracing::debug!(%error, "cannot read an authority of the machine");
        }
        roots.add_parsable_certificates(loaded.certs);
        roots
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_gone_around_where_they_are_not_wanted() {
        let proxies = Proxies {
            http: None,
            https: Some("http://me:secret@proxy.example:3128/".into()),
            none: ["direct.example", ".inner.example", " ", "10.0.0.0/8"]
                .map(Into::into)
                .into(),
        };
        let way = |is_tls, host| proxies.for_host(is_tls, host).unwrap();
        let proxy = way(true, "ghcr.io").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example", 3128));
        assert_eq!(proxy.credentials.as_deref(), Some("bWU6c2VjcmV0"));
        assert_eq!(way(false, "ghcr.io"), None);
        for host in [
            "direct.example",
            "a.direct.example",
            "x.inner.example",
            "localhost",
            "127.0.0.1",
            "10.1.2.3",
        ] {
            assert_eq!(way(true, host), None, "{host}");
        }
        assert!(way(true, "indirect.example").is_some());
    }

    #[test]
    fn a_proxy_is_told_who_asks_and_nobody_else_is() {
        let address = "http://me%40home:a%3Ab%25@proxy.example:3128";
        let proxies = Proxies {
            http: Some(address.into()),
            https: Some(address.into()),
            none: vec!["direct.example".into()],
        };
        let told = |uri: &str| proxies.authorization(&uri.parse().unwrap()).unwrap();
        let expected = format!("Basic {}", STANDARD.encode("me@home:a:b%"));
        assert_eq!(told("http://ghcr.io/v2/").unwrap(), expected.as_str());
        assert_eq!(told("http://direct.example/v2/"), None);
        assert_eq!(told("https://ghcr.io/v2/"), None, "the tunnel says it");
    }

    #[test]
    fn a_proxy_of_another_kind_is_refused_by_name() {
        for (address, words) in [
            ("https://me:secret@proxy.example", "\"https\""),
            ("socks5://me:secret@proxy.example:1080", "\"socks5\""),
            ("http://me:secret@proxy.example:port", "port"),
            ("http://me:secret@:3128", "no host"),
        ] {
            let error = Proxy::parse(address).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let bare = Proxy::parse("proxy.example").unwrap();
        assert_eq!((bare.host.as_str(), bare.port), ("proxy.example", 80));
    }
}
