//! A plugin on another host: both sides are known by their certificates, or nothing is said.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hull_plugin::{Directories, VolumeDriver};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const PATIENCE: Duration = Duration::from_secs(20);

/// An authority, a plugin's and a daemon's certificate of it, and an authority of somebody else.
const CERTIFICATES: &str = r#"
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -days 2 -subj /CN=authority
openssl req -x509 -newkey rsa:2048 -nodes -keyout other-key.pem -out other.pem -days 2 -subj /CN=other
for name in plugin daemon; do
    openssl req -newkey rsa:2048 -nodes -keyout $name-key.pem -out $name.csr -subj /CN=$name
    echo subjectAltName=IP:127.0.0.1 > ext
    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -out $name.pem -days 2 -extfile ext
done
"#;

fn acceptor(directory: &Path) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let read = |name: &str| CertificateDer::from_pem_file(directory.join(name)).unwrap();
    roots.add(read("ca.pem")).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join("plugin-key.pem")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![read("plugin.pem")], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Answers every question with what a plugin for volumes says first.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(mut stream) = acceptor.accept(stream).await else {
            continue;
        };
        let mut seen = Vec::new();
        while !seen.ends_with(b"{}") {
            let mut piece = [0; 4096];
            match stream.read(&mut piece).await {
                Ok(got) if got > 0 => seen.extend_from_slice(&piece[..got]),
                _ => break,
            }
        }
        let text = r#"{"Implements":["VolumeDriver"]}"#;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
        let _ = stream.write_all(format!("{head}{text}").as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

#[tokio::test]
async fn a_plugin_over_tls_knows_us_and_is_known() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path();
    let made = Command::new("sh")
        .args(["-ec", CERTIFICATES])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(listener, acceptor(directory)));
    let open = async |authority: &str, own: bool| {
        let place = |name: &str| directory.join(name).display().to_string();
        let mut tls = serde_json::json!({"CAFile": place(authority)});
        if own {
            tls["CertFile"] = place("daemon.pem").into();
            tls["KeyFile"] = place("daemon-key.pem").into();
        }
        let text = serde_json::json!({"Addr": format!("https://{address}"), "TLSConfig": tls});
        fs::write(directory.join("far.json"), text.to_string()).unwrap();
        let places = Directories(vec![directory.to_owned()]);
        let opened = VolumeDriver::open("far", &places, PATIENCE).await;
        opened.map(drop).map_err(|error| error.to_string())
    };
    open("ca.pem", true).await.unwrap();
    let text = open("other.pem", true).await.unwrap_err();
    assert!(
        text.contains("plugin \"far\"") && text.contains("certificate"),
        "{text}"
    );
    open("ca.pem", false).await.unwrap_err();
    open("none.pem", true).await.unwrap_err();
    serving.abort();
}
