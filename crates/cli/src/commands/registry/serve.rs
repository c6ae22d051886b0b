//! `registry serve`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hull_registry::server::{IssuerOptions, Options, Registry, UpstreamOptions};
use hull_registry::{Credentials, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::commands::{About, Call, Command, Operands};
use crate::error::{Error, Result};
use crate::flags::{FlagSet, One};
use crate::options::number::Bytes;
use crate::terminal::signals;
use crate::ui;

const DEFAULT_LISTEN: &str = "127.0.0.1:5000";
/// How long a blob that no manifest needs stays: longer than any push takes.
const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 60 * 60);
const DEFAULT_COLLECT: Duration = Duration::from_secs(24 * 60 * 60);
/// Threads that serve: they wait for the disk and the network, as a rule.
const THREADS_MAX: usize = 4;

#[derive(Default)]
pub(crate) struct Serve {
    listen: String,
    root: String,
    tls_certificate: String,
    tls_client_authorities: String,
    tls_key: String,
    htpasswd: String,
    token_service: String,
    token_realm: String,
    token_issuer: String,
    token_keys: String,
    anonymous_pull: bool,
    read_only: bool,
    quota: One<Bytes>,
    upstream: String,
    upstream_user: String,
    upstream_password_file: String,
    upstream_insecure: bool,
    collect_every: Option<Duration>,
    grace: Option<Duration>,
    metrics: String,
    log_level: String,
}

impl Command for Serve {
    const ABOUT: About = About::new(
        &["registry serve"],
        "[OPTIONS]",
        "Serve images of a directory to any client",
        Operands::None,
    )
    .described(
        "Serve images of a directory to any client, by the OCI distribution protocol.\n\
         Users are lines of a htpasswd file with bcrypt hashes (htpasswd -B); without one, everybody may pull and push.",
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("anonymous-pull", "", "Let everybody pull, and only users push", &mut self.anonymous_pull);
        set.add("gc-every", "duration", "Time between two collections of what nobody needs, 0s for none (default 24h)", &mut self.collect_every);
        set.add("gc-grace", "duration", "How long a blob that no manifest needs is kept (default 24h)", &mut self.grace);
        set.add("htpasswd", "file", "Users and their bcrypt hashes", &mut self.htpasswd);
        set.add("listen", "address", "Where to serve (default 127.0.0.1:5000)", &mut self.listen);
        set.add("log-level", "string", "debug, info, warn or error (default info)", &mut self.log_level);
        set.add("metrics", "address", "Where to serve counters for Prometheus (/metrics)", &mut self.metrics);
        set.add("quota", "bytes", "The most bytes to keep", &mut self.quota);
        set.add("read-only", "", "Take nothing in, and nothing away", &mut self.read_only);
        set.add("root", "directory", "Where everything lies", &mut self.root);
        set.add("tls-cert", "file", "Serve with TLS: the certificate chain", &mut self.tls_certificate);
        set.add("tls-client-ca", "file", "Serve with TLS: let in only clients with a certificate of these authorities", &mut self.tls_client_authorities);
        set.add("tls-key", "file", "Serve with TLS: the private key", &mut self.tls_key);
        set.add("token-issuer", "name", "Believe tokens of this issuer only (with --token-keys)", &mut self.token_issuer);
        set.add("token-keys", "file", "Believe tokens signed with these keys, made elsewhere: a JSON Web Key Set, or PEM", &mut self.token_keys);
        set.add("token-realm", "url", "Where clients are sent for tokens, if not here", &mut self.token_realm);
        set.add("token-service", "name", "Give users tokens, for a service of this name", &mut self.token_service);
        set.add("upstream", "registry", "Be a cache of this registry, such as docker.io", &mut self.upstream);
        set.add("upstream-insecure", "", "Speak to the upstream without TLS or with anybody's certificate", &mut self.upstream_insecure);
        set.add("upstream-password-file", "file", "The upstream's password", &mut self.upstream_password_file);
        set.add("upstream-user", "name", "The upstream's user", &mut self.upstream_user);
    }

    async fn run(self, _: Call) -> Result<u8> {
        if self.root.is_empty() {
            return Err(Error::new(
                "--root is required: the directory in which images are kept",
            ));
        }
        // The command line's own runtime has one thread; a server wants more.
        let serving = std::thread::spawn(move || serve_on_threads(self));
        serving
            .join()
            .map_err(|_| Error::new("the registry broke off"))?
    }
}

fn serve_on_threads(serve: Serve) -> Result<u8> {
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(THREADS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(threads * 4)
        .thread_stack_size(512 << 10)
        .enable_all()
        .build()
        .map_err(|error| Error::new(format!("cannot wait for clients: {error}")))?;
    let result = runtime.block_on(serve_until_told(serve));
    runtime.shutdown_background();
    result
}

async fn serve_until_told(serve: Serve) -> Result<u8> {
    use tokio::signal::unix::SignalKind;
    start_log(&serve.log_level)?;
    allow_many_files();
    let (address, metrics_address) = (or(&serve.listen, DEFAULT_LISTEN), serve.metrics.clone());
    let registry =
        Registry::open(serve.options()?).map_err(|error| Error::new(error.to_string()))?;
    let listener = listen(&address).await?;
    let shown = listener
        .local_addr()
        .map_err(|error| Error::io("listen on", &address, &error))?;
    if !metrics_address.is_empty() {
        let listener = listen(&metrics_address).await?;
        tokio::spawn(serve_metrics(listener, Arc::clone(&registry)));
    }
    let on = |kind| {
        signals::listen(kind)
            .map_err(|error| Error::new(format!("cannot watch for signals: {error}")))
    };
    let (mut terminate, mut interrupt) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    ui::line(&format!("Serving on {shown}"))?;
    tokio::select! {
        () = registry.serve(listener) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(0)
}

impl Serve {
    fn options(self) -> Result<Options> {
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let tls = match (path(&self.tls_certificate), path(&self.tls_key)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(Error::new("--tls-cert and --tls-key go together")),
        };
        let every = self.collect_every.unwrap_or(DEFAULT_COLLECT);
        Ok(Options {
            root: PathBuf::from(&self.root),
            tls,
            tls_clients: path(&self.tls_client_authorities),
            htpasswd: path(&self.htpasswd),
            token_service: text(&self.token_service),
            token_realm: text(&self.token_realm),
            token_issuer: self.issuer()?,
            anonymous_pull: self.anonymous_pull,
            read_only: self.read_only,
            quota: self
                .quota
                .0
                .map_or(0, |quota| u64::try_from(quota.0).unwrap_or(0)),
            upstream: self.upstream()?,
            collect_every: (!every.is_zero()).then_some(every),
            grace: self.grace.unwrap_or(DEFAULT_GRACE),
        })
    }

    fn issuer(&self) -> Result<Option<IssuerOptions>> {
        if self.token_keys.is_empty() {
            if self.token_issuer.is_empty() {
                return Ok(None);
            }
            return Err(Error::new(
                "--token-issuer needs --token-keys: what its tokens are signed with",
            ));
        }
        if self.token_service.is_empty() || self.token_realm.is_empty() {
            return Err(Error::new(
                "--token-keys needs --token-service and --token-realm",
            ));
        }
        Ok(Some(IssuerOptions {
            name: self.token_issuer.clone(),
            keys: PathBuf::from(&self.token_keys),
        }))
    }

    fn upstream(&self) -> Result<Option<UpstreamOptions>> {
        if self.upstream.is_empty() {
            return Ok(None);
        }
        let host = self
            .upstream
            .split_once("://")
            .map_or(self.upstream.as_str(), |(_, host)| host);
        let host = host.trim_end_matches('/').to_owned();
        let password = match self.upstream_password_file.as_str() {
            "" => String::new(),
            path => {
                std::fs::read_to_string(path).map_err(|error| Error::io("read", path, &error))?
            }
        };
        let password = password.trim_end_matches(['\n', '\r']);
        Ok(Some(UpstreamOptions {
            credentials: (!self.upstream_user.is_empty())
                .then(|| Credentials::basic(&self.upstream_user, password)),
            settings: Settings {
                insecure: if self.upstream_insecure {
                    vec![host.clone()]
                } else {
                    Vec::new()
                },
                certs: Some(PathBuf::from("/etc/docker/certs.d")),
                ..Settings::default()
            },
            host,
        }))
    }
}

async fn listen(address: &str) -> Result<TcpListener> {
    let address = address.strip_prefix("tcp://").unwrap_or(address);
    let address = if address.starts_with(':') {
        format!("0.0.0.0{address}")
    } else {
        address.to_owned()
    };
    TcpListener::bind(&address)
        .await
        .map_err(|error| Error::io("listen on", &address, &error))
}

/// One page, for a machine that asks every few seconds.
async fn serve_metrics(listener: TcpListener, registry: Arc<Registry>) {
    loop {
        let Ok((mut stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let registry = Arc::clone(&registry);
        tokio::spawn(async move {
            let answered = tokio::time::timeout(
                Duration::from_secs(10),
                answer_metrics(&mut stream, &registry),
            )
            .await;
            if !matches!(answered, Ok(Ok(()))) {
                tracing::debug!(peer = %SocketAddr::to_string(&peer), "a client asked for counters and went away");
            }
        });
    }
}

async fn answer_metrics(
    stream: &mut tokio::net::TcpStream,
    registry: &Registry,
) -> std::io::Result<()> {
    let mut head = [0; 4096];
    let read = stream.read(&mut head).await?;
    let is_known = head[..read].starts_with(b"GET /metrics ");
    let (status, body) = if is_known {
        ("200 OK", registry.metrics())
    } else {
        ("404 Not Found", String::new())
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Each client takes a socket, and a file while it is served: as many as this process may have.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        tracing::warn!(%error, "few clients can be served at once");
    }
}

fn start_log(level: &str) -> Result<()> {
    let level = or(level, "info");
    let filter: tracing_subscriber::filter::LevelFilter = level
        .parse()
        .map_err(|_| Error::new(format!("invalid --log-level: {level}")))?;
    tracing_subscriber::fmt()
        .with_max_level(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    Ok(())
}

fn or(text: &str, default: &str) -> String {
    if text.is_empty() { default } else { text }.to_owned()
}
