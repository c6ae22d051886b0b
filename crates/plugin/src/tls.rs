//! Plugins on other hosts: talked to over TLS, each side known by its certificate.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Whose certificates are believed and which is shown: `TLSConfig` of a plugin's description.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Certificates {
    /// Authorities; none: the machine's own.
    #[serde(rename = "CAFile")]
    authorities: PathBuf,
    /// Our own certificate, if the plugin wants one.
    #[serde(rename = "CertFile")]
    certificate: PathBuf,
    /// Its key.
    #[serde(rename = "KeyFile")]
    key: PathBuf,
    /// Believe anybody: refused.
    #[serde(rename = "InsecureSkipVerify")]
    skip_verify: bool,
}

impl Certificates {
    /// Whether they can be used; why not.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.skip_verify {
            let text = "InsecureSkipVerify is not available: name the plugin's authority in CAFile";
            return Err(text.to_owned());
        }
        if self.certificate.as_os_str().is_empty() != self.key.as_os_str().is_empty() {
            return Err("CertFile and KeyFile belong together".to_owned());
        }
        Ok(())
    }

    /// Connects to `host:port`. Files are read each time: certificates are renewed.
    pub(crate) async fn connect(&self, address: &str) -> Result<TlsStream<TcpStream>, String> {
        let own = self.clone();
        let config = tokio::task::spawn_blocking(move || own.config());
        let config = config.await.map_err(|error| error.to_string())??;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let failed = |error: io::Error| format!("cannot connect: {error}");
        let stream = TcpStream::connect(address).await.map_err(failed)?;
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.map_err(failed)
    }

    fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.roots()?);
        if self.certificate.as_os_str().is_empty() {
            return Ok(builder.with_no_client_auth());
        }
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| format!("{}: {error}", self.key.display()))?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("{}: {error}", self.certificate.display()))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        if self.authorities.as_os_str().is_empty() {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(roots);
        }
        for certificate in certificates(&self.authorities)? {
            roots
                .add(certificate)
                .map_err(|error| format!("{}: {error}", self.authorities.display()))?;
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{}: {error}", path.display()))
}
