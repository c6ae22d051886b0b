//! Which daemon is meant, and where the client's own settings lie.
//!
//! In this order: `-H`, `-c` or `$DOCKER_CONTEXT`, `$DOCKER_HOST`, the current context of the
//! settings, Hull's socket if it is there, Docker's.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result, Usage};
use crate::flags::FlagSet;

/// Where Hull's daemon listens.
const HULL_SOCKET: &str = "/run/hull/hull.sock";
/// Where Docker's daemon listens.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Ports of daemons without and with TLS.
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// The name this program was called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Hull,
    Docker,
}

impl Program {
    /// From the path of the executable as it was called.
    pub(crate) fn called(path: &str) -> Self {
        match Path::new(path).file_name().and_then(|name| name.to_str()) {
            Some("docker") => Self::Docker,
            _ => Self::Hull,
        }
    }

    /// How messages name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hull => "hull",
            Self::Docker => "docker",
        }
    }
}

/// The flags before the command.
#[derive(Debug)]
pub(crate) struct Globals {
    pub(crate) program: Program,
    pub(crate) wants_help: bool,
    pub(crate) wants_version: bool,
    pub(crate) config_directory: String,
    pub(crate) debug: bool,
    context: String,
    hosts: Vec<String>,
    log_level: String,
    tls: bool,
    tls_verify: Option<bool>,
    tls_ca: String,
    tls_cert: String,
    tls_key: String,
}

/// The daemon to talk to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    /// The address as messages name it.
    pub(crate) shown: String,
    pub(crate) tls: Option<TlsFiles>,
    /// The context it comes from.
    pub(crate) context: String,
}

/// Where a daemon listens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp {
        host: String,
        port: u16,
    },
    /// `ssh://[user@]host[:port]`, reached through `system dial-stdio`.
    Ssh {
        target: String,
        port: Option<u16>,
    },
}

/// Certificates for a TLS connection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TlsFiles {
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) verify: bool,
}

impl Globals {
    /// The defaults, from the environment.
    pub(crate) fn new(program: Program) -> Self {
        let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
        let directory = environment("DOCKER_CONFIG").unwrap_or_else(|| format!("{home}/.docker"));
        Self {
            program,
            wants_help: false,
            wants_version: false,
            config_directory: directory,
            debug: environment("DEBUG").is_some(),
            context: String::new(),
            hosts: Vec::new(),
            log_level: String::new(),
            tls: false,
            tls_verify: None,
            tls_ca: String::new(),
            tls_cert: String::new(),
            tls_key: String::new(),
        }
    }

    /// Reads the flags before the command; the rest is the command's.
    ///
    /// # Errors
    /// A flag that is not known here.
    pub(crate) fn read(program: Program, arguments: &[String]) -> Result<(Self, Vec<String>)> {
        let mut globals = Self::new(program);
        let mut set = FlagSet::default();
        globals.flags(&mut set);
        let name = program.name();
        let parsed = set.parse(arguments, false).map_err(|error| {
            Error::Usage(Usage {
                message: error.to_string(),
                suggestion: error.suggestion,
                usage: format!("{name} [OPTIONS] COMMAND [ARG...]"),
                pointer: format!("Run '{name} --help' for more information"),
                code: 125,
            })
        })?;
        globals.wants_help |= parsed.help;
        if globals.hosts.len() > 1 {
            return Err(Error::new("specify only one -H"));
        }
        if !globals.hosts.is_empty() && !globals.context.is_empty() {
            return Err(Error::new(
                "conflicting options: cannot specify both --host and --context",
            ));
        }
        Ok((globals, parsed.operands))
    }

    /// Binds the flags.
    #[rustfmt::skip]
    pub(crate) fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("config", "string", "Location of client config files (default \"~/.docker\")", &mut self.config_directory);
        set.add("c,context", "string", "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with \"docker context use\")", &mut self.context);
        set.add("D,debug", "", "Enable debug mode", &mut self.debug);
        set.add("H,host", "list", "Daemon socket to connect to", &mut self.hosts);
        set.add("l,log-level", "string", "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\") (default \"info\")", &mut self.log_level);
        set.add("tls", "", "Use TLS; implied by --tlsverify", &mut self.tls);
        set.add("tlscacert", "string", "Trust certs signed only by this CA (default \"~/.docker/ca.pem\")", &mut self.tls_ca);
        set.add("tlscert", "string", "Path to TLS certificate file (default \"~/.docker/cert.pem\")", &mut self.tls_cert);
        set.add("tlskey", "string", "Path to TLS key file (default \"~/.docker/key.pem\")", &mut self.tls_key);
        set.add("tlsverify", "", "Use TLS and verify the remote", &mut self.tls_verify);
        set.add("v,version", "", "Print version information and quit", &mut self.wants_version);
    }

    /// The daemon meant by flags, environment and settings.
    ///
    /// # Errors
    /// A context that does not exist, or an address of no known form.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        if let Some(host) = self.hosts.first() {
            return self.at(host, "default");
        }
        if self.context.is_empty()
            && let Some(host) = environment("DOCKER_HOST")
        {
            return self.at(&host, "default");
        }
        let context = match self.context.as_str() {
            "" => environment("DOCKER_CONTEXT").or_else(|| self.current_context()),
            name => Some(name.to_owned()),
        };
        match context.filter(|name| name != "default") {
            Some(name) => self.of_context(&name),
            None => self.at(&default_host(), "default"),
        }
    }

    fn current_context(&self) -> Option<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Settings {
            current_context: Option<String>,
        }
        let path = Path::new(&self.config_directory).join("config.json");
        let text = std::fs::read(path).ok()?;
        let settings: Settings = serde_json::from_slice(&text).ok()?;
        settings.current_context.filter(|name| !name.is_empty())
    }

    fn of_context(&self, name: &str) -> Result<Endpoint> {
        let directory = Path::new(&self.config_directory).join("contexts");
        let metadata = stored_context(&directory, name).ok_or_else(|| {
            let path = directory.join("meta");
            Error::new(format!(
                "Failed to initialize: unable to resolve docker endpoint: context \"{name}\": context not found in {}",
                path.display()
            ))
        })?;
        let (folder, host) = metadata;
        let mut endpoint = self.at(&host, name)?;
        let files = directory.join("tls").join(folder).join("docker");
        if files.is_dir() {
            endpoint.tls = Some(TlsFiles {
                ca: files.join("ca.pem"),
                cert: files.join("cert.pem"),
                key: files.join("key.pem"),
                verify: true,
            });
        }
        Ok(endpoint)
    }

    fn at(&self, host: &str, context: &str) -> Result<Endpoint> {
        let tls = self.tls_files();
        let address = address(host, tls.is_some())?;
        let shown = match &address {
            Address::Tcp { host, port } => format!("tcp://{host}:{port}"),
            _ => host.trim().to_owned(),
        };
        let tls = tls.filter(|_| matches!(address, Address::Tcp { .. }));
        Ok(Endpoint {
            address,
            shown,
            tls,
            context: context.to_owned(),
        })
    }

    fn tls_files(&self) -> Option<TlsFiles> {
        let verify = self
            .tls_verify
            .unwrap_or_else(|| environment("DOCKER_TLS_VERIFY").is_some());
        if !(verify || self.tls || environment("DOCKER_TLS").is_some()) {
            return None;
        }
        let directory =
            environment("DOCKER_CERT_PATH").unwrap_or_else(|| self.config_directory.clone());
        let file = |given: &str, name: &str| match given {
            "" => Path::new(&directory).join(name),
            given => PathBuf::from(given),
        };
        Some(TlsFiles {
            ca: file(&self.tls_ca, "ca.pem"),
            cert: file(&self.tls_cert, "cert.pem"),
            key: file(&self.tls_key, "key.pem"),
            verify,
        })
    }
}

/// The folder and the host of a stored context. Folders are named by a digest of the name, so the
/// name inside is what counts.
fn stored_context(directory: &Path, name: &str) -> Option<(String, String)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Metadata {
        name: String,
        endpoints: std::collections::BTreeMap<String, StoredEndpoint>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct StoredEndpoint {
        host: String,
    }
    for folder in std::fs::read_dir(directory.join("meta")).ok()?.flatten() {
        let Ok(text) = std::fs::read(folder.path().join("meta.json")) else {
            continue;
        };
        let Ok(metadata) = serde_json::from_slice::<Metadata>(&text) else {
            continue;
        };
        if metadata.name == name {
            let host = metadata.endpoints.get("docker")?.host.clone();
            return Some((folder.file_name().to_string_lossy().into_owned(), host));
        }
    }
    None
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn default_host() -> String {
    let socket = if Path::new(HULL_SOCKET).exists() {
        HULL_SOCKET
    } else {
        DOCKER_SOCKET
    };
    format!("unix://{socket}")
}

/// Reads `unix:///path`, `tcp://host[:port]`, `ssh://[user@]host[:port]`, `host[:port]`.
fn address(text: &str, tls: bool) -> Result<Address> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
    match scheme {
        "unix" if rest.is_empty() => Ok(Address::Unix(DOCKER_SOCKET.into())),
        "unix" => Ok(Address::Unix(rest.into())),
        "tcp" | "http" | "https" => {
            let rest = rest.split('/').next().unwrap_or_default();
            let (host, port) = host_and_port(rest).ok_or_else(|| invalid(text))?;
            let default = if tls || scheme == "https" {
                TLS_PORT
            } else {
                PLAIN_PORT
            };
            let host = if host.is_empty() {
                "localhost".to_owned()
            } else {
                host
            };
            Ok(Address::Tcp {
                host,
                port: port.unwrap_or(default),
            })
        }
        "ssh" => {
            let rest = rest.split('/').next().unwrap_or_default();
            let (user, place) = match rest.rsplit_once('@') {
                Some((user, place)) => (format!("{user}@"), place),
                None => (String::new(), rest),
            };
            let (host, port) = host_and_port(place).ok_or_else(|| invalid(text))?;
            if host.is_empty() || host.starts_with('-') || user.starts_with('-') {
                return Err(invalid(text));
            }
            Ok(Address::Ssh {
                target: format!("{user}{host}"),
                port,
            })
        }
        _ => Err(invalid(text)),
    }
}

fn invalid(text: &str) -> Error {
    Error::new(format!("invalid bind address format: {text}"))
}

fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None => None,
        };
        return Some((host.to_owned(), port));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => Some((host.to_owned(), Some(port.parse().ok()?))),
        None => Some((text.to_owned(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(
            address("unix:///x.sock", false),
            Ok(Address::Unix("/x.sock".into()))
        );
        let tcp = |host: &str, port| {
            Ok(Address::Tcp {
                host: host.into(),
                port,
            })
        };
        assert_eq!(address("tcp://1.2.3.4:5", false), tcp("1.2.3.4", 5));
        assert_eq!(address("tcp://h", false), tcp("h", 2375));
        assert_eq!(address("tcp://h", true), tcp("h", 2376));
        assert_eq!(address("[::1]:7", false), tcp("::1", 7));
        assert_eq!(
            address("ssh://me@h:22", false),
            Ok(Address::Ssh {
                target: "me@h".into(),
                port: Some(22)
            })
        );
        assert!(address("ssh://-oProxyCommand=x", false).is_err());
        assert!(address("npipe:////./x", false).is_err());
    }

    #[test]
    fn the_name_decides_which_program_it_is() {
        assert_eq!(Program::called("/usr/bin/docker"), Program::Docker);
        assert_eq!(Program::called("hull"), Program::Hull);
    }

    #[test]
    fn contexts_are_found_by_their_name() {
        let directory = std::env::temp_dir().join(format!("hull-contexts-{}", std::process::id()));
        let folder = directory.join("contexts/meta/abc");
        std::fs::create_dir_all(&folder).unwrap();
        let text = r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://far:1","SkipTLSVerify":false}}}"#;
        std::fs::write(folder.join("meta.json"), text).unwrap();
        let config = directory.to_string_lossy().into_owned();
        let read = |name: &str| {
            let arguments = ["--config", &config, "-c", name, "ps"].map(str::to_owned);
            Globals::read(Program::Hull, &arguments)
                .unwrap()
                .0
                .endpoint()
        };
        let (found, missing) = (read("far"), read("near"));
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found.unwrap().shown, "tcp://far:1");
        assert!(
            missing
                .unwrap_err()
                .message()
                .contains("context \"near\": context not found")
        );
    }
}
