//! Encryption: who is trusted, and who we are.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::context::TlsFiles;
use crate::error::{Error, Result};

/// Where systems keep the authorities everybody trusts.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Encrypts connections.
pub(super) struct Connector(TlsConnector);

impl fmt::Debug for Connector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Connector")
    }
}

impl Connector {
    /// The handshake, for a host of this name.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

/// Reads the files.
///
/// # Errors
/// A file that is missing or holds something else.
pub(super) fn connector(files: &TlsFiles) -> Result<Connector> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(format!("TLS is not available: {error}")))?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(if files.verify {
            let roots = Arc::new(roots(files.ca.as_deref())?);
            WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| Error::new(format!("no authority to trust: {error}")))?
        } else {
            Arc::new(Anybody(provider))
        });
    let config = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|error| {
                Error::new(format!(
                    "Could not load X509 key pair: {} and {}: {error}",
                    cert.display(),
                    key.display()
                ))
            })?,
        _ => builder.with_no_client_auth(),
    };
    Ok(Connector(TlsConnector::from(Arc::new(config))))
}

/// What stands in a key that takes a password.
const LOCKED: &[u8] = b"ENCRYPTED";

fn roots(authority: Option<&Path>) -> Result<RootCertStore> {
    let system = || {
        SYSTEM_ROOTS
            .iter()
            .map(Path::new)
            .find(|path| path.exists())
    };
    let mut store = RootCertStore::empty();
    if let Some(path) = authority.or_else(system) {
        for certificate in certificates(path)? {
            // Systems list authorities of kinds that are not known here; those are not trusted.
            _ = store.add(certificate);
        }
        if store.is_empty() {
            return Err(holds_no(path, "certificate of an authority"));
        }
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(path)?;
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(holds_no(path, "certificate")),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        let error = holds_no(path, "private key");
        let is_locked = bytes.windows(LOCKED.len()).any(|part| part == LOCKED);
        match is_locked {
            true => error.with_hint(format!(
                "it is encrypted, and nobody asks for its password here: `openssl pkey -in {}` writes it without",
                path.display()
            )),
            false => error,
        }
    })
}

fn holds_no(path: &Path, what: &str) -> Error {
    Error::new(format!("{} holds no {what} in PEM form", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let error = Error::io("open", &path.to_string_lossy(), &error);
        Error::new(format!(
            "Failed to initialize: unable to resolve docker endpoint: {}",
            error.message()
        ))
        .with_hint("keys are looked for in $DOCKER_CERT_PATH, or beside the settings")
    })
}

/// Trusts whoever answers: what `--tls` without `--tlsverify` asks for.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
