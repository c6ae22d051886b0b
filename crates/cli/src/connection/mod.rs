//! From the endpoint that is meant to a client of it, and from its errors to words for people.

mod descriptor;
mod headers;
mod ssh;
mod tcp;
mod tls;

use std::io;
use std::time::Duration;

use hull_api::client::UnixEndpoint;
use hull_api::{ApiVersion, Client, ClientError};

use crate::context::{Address, Endpoint, Globals};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::ui;

use descriptor::DescriptorEndpoint;
use ssh::SshEndpoint;
use tcp::TcpEndpoint;

/// The newest version of the API that is spoken: the last in which the addresses of the default
/// network stand where scripts look for them (`.NetworkSettings.IPAddress`). Nothing newer is needed.
pub(crate) const API_MAX: ApiVersion = ApiVersion::new(50);

/// How to start the daemon, for who has none.
const HINT: &str = "start it with `systemctl start hull`, or with `hulld` as root";

/// Where to look when it hangs.
const STALLED: &str = "see whether its process is stopped, and what its log says last";

/// Where to look when it does not say why it refuses.
const SILENT: &str = "the daemon does not say why; its log may";

/// What to think of where one is sent elsewhere.
const ELSEWHERE: &str = "a daemon sends nobody elsewhere: a web server or a proxy seems to listen there, see `hull help hosts`";

/// Where to look when it goes away in the middle of something.
const BROKEN: &str =
    "what was to come is missing; see whether the daemon runs, and what its log says last";

/// A daemon says what it speaks within this time, or it hangs.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// The same over ssh, where somebody may have to type a password first.
const GREETING_MAX_SSH: Duration = Duration::from_secs(120);

/// A client of the daemon that is meant, speaking a version both know.
///
/// # Errors
/// No such endpoint, or no daemon there.
pub(crate) async fn connect(globals: &Globals) -> Result<Client> {
    let client = unnegotiated(globals)?;
    let client = match globals.compose.is_dry_run() {
        true => client.rehearsal(),
        false => client,
    };
    match std::env::var("DOCKER_API_VERSION")
        .ok()
        .filter(|version| !version.is_empty())
    {
        Some(version) => {
            let version: ApiVersion = version
                .parse()
                .ok()
                .filter(|parsed: &ApiVersion| parsed.to_string().starts_with("1."))
                .ok_or_else(|| {
                    Error::new(format!("invalid API version ({version})"))
                        .with_hint("$DOCKER_API_VERSION is of the form 1.50")
                })?;
            client.set_version(version);
            ui::debug(|| {
                format!(
                    "API {} is spoken, as $DOCKER_API_VERSION says",
                    client.version()
                )
            });
        }
        None => {
            let limit = match client.host().starts_with("ssh:") {
                true => GREETING_MAX_SSH,
                false => GREETING_MAX,
            };
            let asked = std::time::Instant::now();
            let greeting = tokio::time::timeout(limit, client.negotiate()).await;
            greeting
                .map_err(|_| silent(&client, limit))?
                .map_err(failure)?;
            let newest = client.version();
            client.set_version(newest.min(API_MAX));
            ui::debug(|| {
                let (spoken, took) = (client.version(), asked.elapsed().as_millis());
                format!("the daemon answered in {took} ms, speaks API {newest}; {spoken} is used")
            });
        }
    }
    Ok(client)
}

fn silent(client: &Client, limit: Duration) -> Error {
    let (host, seconds) = (client.host(), limit.as_secs());
    Error::new(format!(
        "error during connect: the daemon at {host} does not answer (waited {seconds} seconds)"
    ))
    .with_hint(STALLED)
}

/// A client that has not yet spoken.
///
/// # Errors
/// No such endpoint.
pub(crate) fn unnegotiated(globals: &Globals) -> Result<Client> {
    let endpoint = globals.endpoint()?;
    ui::debug(|| {
        let settings = std::path::Path::new(&globals.config_directory).join("config.json");
        format!(
            "the daemon at {} (context {}, {}), settings of {}",
            endpoint.shown,
            endpoint.context,
            if endpoint.tls.is_some() {
                "with TLS"
            } else {
                "no TLS"
            },
            settings.display()
        )
    });
    client_of(&endpoint, globals)
}

fn client_of(endpoint: &Endpoint, globals: &Globals) -> Result<Client> {
    let headers = match headers::of_environment()? {
        Some(headers) => headers,
        None => headers::of_settings(&Settings::read(&globals.config_directory))?,
    };
    Ok(match &endpoint.address {
        Address::Unix(path) => Client::with_headers(UnixEndpoint::new(path), headers),
        Address::Tcp { host, port, path } => {
            let connector = match &endpoint.tls {
                Some(files) => Some(tls::connector(files)?),
                None => None,
            };
            let endpoint = TcpEndpoint::new(host, *port, path, connector, &endpoint.shown);
            Client::with_headers(endpoint, headers)
        }
        Address::Ssh {
            target,
            port,
            socket,
        } => {
            let endpoint = SshEndpoint::new(target, *port, socket, &endpoint.shown, globals);
            Client::with_headers(endpoint, headers)
        }
        Address::Descriptor(number) => {
            Client::with_headers(DescriptorEndpoint::new(*number), headers)
        }
    })
}

/// What went wrong with a request, in Docker's words.
pub(crate) fn failure(error: ClientError) -> Error {
    match error {
        ClientError::Refused { message, .. } => {
            Error::new(format!("Error response from daemon: {message}"))
        }
        ClientError::Connect { host, source } if source.kind() == io::ErrorKind::PermissionDenied => {
            Error::new(format!(
                "permission denied while trying to connect to the Docker daemon socket at {host}: connect: permission denied"
            ))
            .with_hint(who_may(&host))
        }
        ClientError::Connect { host, source } => {
            let text =
                format!("Cannot connect to the Docker daemon at {host}. Is the docker daemon running?");
            let is_absent = matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            );
            if is_absent {
                Error::new(text).with_hint(how_to_start(&host))
            } else {
                Error::new(format!("error during connect: {host}: {source}"))
            }
        }
        silent @ ClientError::Unexplained { .. } => Error::new(silent.to_string()).with_hint(SILENT),
        elsewhere @ ClientError::Redirected { .. } => {
            Error::new(elsewhere.to_string()).with_hint(ELSEWHERE)
        }
        broken @ ClientError::Exchange { .. } => Error::new(cut(&broken)).with_hint(BROKEN),
        stalled @ ClientError::Stalled { .. } => Error::new(chain(&stalled)).with_hint(STALLED),
        other => Error::new(chain(&other)),
    }
}

/// How to have a daemon at an address where nobody listens.
fn how_to_start(host: &str) -> String {
    let start = match host.starts_with("unix:") {
        true => HINT,
        false => "see that a daemon runs there and listens at this address and port",
    };
    // What was set long ago is what is looked for last.
    match std::env::var("DOCKER_HOST") {
        Ok(told) if told == host => format!("{start}; the address is the one in $DOCKER_HOST"),
        _ => start.to_owned(),
    }
}

/// Who may use a socket, and how to become one of them.
fn who_may(host: &str) -> String {
    use std::os::unix::fs::MetadataExt;
    let socket = host
        .strip_prefix("unix://")
        .and_then(|path| std::fs::metadata(path).ok());
    let group = socket.and_then(|socket| group_name(socket.gid()));
    match group {
        Some(group) if group != "root" => format!(
            "run it as root, or join the group: `sudo usermod -aG {group} $USER`, then log in again"
        ),
        _ => "run it as root".to_owned(),
    }
}

fn group_name(gid: u32) -> Option<String> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

/// What is told of a connection that broke: an end in the middle in Docker's words, whatever the HTTP library calls it.
fn cut(broken: &ClientError) -> String {
    let text = chain(broken);
    let Some((told, why)) = text.split_once(": ").and_then(|(start, rest)| {
        let (path, why) = rest.split_once(": ")?;
        Some((format!("{start}: {path}"), why))
    }) else {
        return text;
    };
    match why {
        // Before the answer, and within it.
        why if why.contains("before message completed") => format!("{told}: EOF"),
        why if why.contains("EOF") || why.contains("end of file") => {
            let told = told.trim_start_matches("error during connect: ");
            format!("unexpected EOF: {told}")
        }
        _ => text,
    }
}

/// An error with the causes that its own text does not tell already.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}
