//! The server's certificate, and whose certificates clients must show.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::RootCertStore;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::{Error, Result};

/// How often it is looked whether the certificate is another one.
const LOOK: Duration = Duration::from_secs(1);

/// Reads a certificate chain and its key; with `clients`, only those are let in that show a
/// certificate of one of its authorities.
pub(crate) fn acceptor(
    certificate: &Path,
    key: &Path,
    clients: Option<&Path>,
) -> Result<TlsAcceptor> {
    let shown = Shown::read(certificate, key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(certificate, error.to_string()))?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(authorities)? {
                roots
                    .add(authority)
                    .map_err(|error| wrong(authorities, error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier
                .build()
                .map_err(|error| wrong(authorities, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_cert_resolver(Arc::new(shown));
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The certificate and its key, read again when their files change: they are renewed while the
/// registry goes on.
#[derive(Debug)]
struct Shown {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    pair: Arc<CertifiedKey>,
    /// When the files were written.
    written: [Option<SystemTime>; 2],
    looked: Instant,
}

impl Shown {
    fn read(certificate: &Path, key: &Path) -> Result<Self> {
        let written = [certificate, key].map(written);
        let pair = pair(certificate, key)?;
        let looked = Instant::now();
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: Mutex::new(Current {
                pair,
                written,
                looked,
            }),
        })
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK {
            current.looked = Instant::now();
            let now = [&self.certificate, &self.key].map(|path| written(path));
            if now != current.written {
                match pair(&self.certificate, &self.key) {
                    Ok(pair) => {
                        tracing::info!(path = %self.certificate.display(), "the certificate was renewed");
                        (current.pair, current.written) = (pair, now);
                    }
                    // Only one of them may be there yet.
                    Err(error) => {
                        tracing::warn!(%error, "the certificate cannot be renewed: the old one stays");
                    }
                }
            }
        }
        Some(Arc::clone(&current.pair))
    }
}

fn written(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|meta| meta.modified())
        .ok()
}

fn pair(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>> {
    let chain = certificates(certificate)?;
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let provider = rustls::crypto::ring::default_provider();
    let pair = CertifiedKey::from_der(chain, private, &provider);
    pair.map(Arc::new)
        .map_err(|error| wrong(certificate, error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| wrong(path, error.to_string()))?;
    if found.is_empty() {
        return Err(wrong(path, "holds no certificate".to_owned()));
    }
    Ok(found)
}

fn wrong(path: &Path, why: String) -> Error {
    Error::Setting {
        what: path.display().to_string(),
        why,
    }
}
