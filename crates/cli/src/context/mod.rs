//! Which daemon is meant, and where the client's own settings lie.
//!
//! In this order: `-H`, `-c` or `$DOCKER_CONTEXT`, `$DOCKER_HOST`, the current context of the
//! settings, Hull's socket if it is there, Docker's.

mod address;
pub(crate) mod store;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Usage};
use crate::flags::FlagSet;
use crate::settings::Settings;

pub(crate) use address::Address;
use store::Store;

/// Where Hull's daemon listens.
const HULL_SOCKET: &str = "/run/hull/hull.sock";
/// Where Docker's daemon listens.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Ports of daemons without and with TLS.
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;
/// The context that is made of flags and environment.
pub(crate) const DEFAULT: &str = "default";
/// What `--log-level` may be.
const LOG_LEVELS: [&str; 8] = [
    "panic", "fatal", "error", "warn", "warning", "info", "debug", "trace",
];

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
#[derive(Debug, Clone)]
pub(crate) struct Globals {
    /// Those between `compose` and its verb.
    pub(crate) compose: crate::commands::compose::ProjectFlags,
    pub(crate) program: Program,
    pub(crate) wants_help: bool,
    pub(crate) wants_help_by_letter: bool,
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

/// Certificates for a TLS connection. Without an authority, the system's are trusted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) verify: bool,
}

impl Globals {
    /// The defaults, from the environment.
    pub(crate) fn new(program: Program) -> Self {
        let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
        let directory = environment("DOCKER_CONFIG").unwrap_or_else(|| format!("{home}/.docker"));
        Self {
            compose: Default::default(),
            program,
            wants_help: false,
            wants_help_by_letter: false,
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

    /// Whether the words are Docker's and nothing but.
    pub(crate) fn is_docker(&self) -> bool {
        self.program == Program::Docker
    }

    /// Whether what goes on behind a command is to be told.
    pub(crate) fn wants_all_told(&self) -> bool {
        self.debug
            || matches!(
                self.log_level.to_ascii_lowercase().as_str(),
                "debug" | "trace"
            )
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
        globals.wants_help_by_letter |= parsed.help_by_letter;
        let level = globals.log_level.as_str();
        if !level.is_empty() && !LOG_LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(Error::new(format!(
                "Unable to parse logging level: {level}"
            )));
        }
        if !globals.hosts.is_empty() && !globals.context.is_empty() {
            return Err(Error::new(
                "conflicting options: cannot specify both --host and --context",
            ));
        }
        Ok((globals, parsed.operands))
    }

    /// The flags once more, for a command that this program runs itself.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = vec![format!("--config={}", self.config_directory)];
        if !self.context.is_empty() {
            words.push(format!("--context={}", self.context));
        }
        words.extend(self.hosts.iter().map(|host| format!("--host={host}")));
        words
    }

    /// Binds the flags.
    #[rustfmt::skip]
    pub(crate) fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        let files = environment("DOCKER_CERT_PATH").unwrap_or_else(|| self.config_directory.clone());
        let config = format!("Location of client config files (default \"{}\")", self.config_directory);
        let key = |what: &str, name: &str| format!("{what} (default \"{files}/{name}\")");
        set.add("config", "string", config, &mut self.config_directory);
        set.add("c,context", "string", "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with \"docker context use\")", &mut self.context);
        set.add("D,debug", "", "Enable debug mode", &mut self.debug);
        set.add("H,host", "list", "Daemon socket to connect to", &mut self.hosts);
        set.add("l,log-level", "string", "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\") (default \"info\")", &mut self.log_level);
        set.add("tls", "", "Use TLS; implied by --tlsverify", &mut self.tls);
        set.add("tlscacert", "string", key("Trust certs signed only by this CA", "ca.pem"), &mut self.tls_ca);
        set.add("tlscert", "string", key("Path to TLS certificate file", "cert.pem"), &mut self.tls_cert);
        set.add("tlskey", "string", key("Path to TLS key file", "key.pem"), &mut self.tls_key);
        set.add("tlsverify", "", "Use TLS and verify the remote", &mut self.tls_verify);
        set.add("v,version", "", "Print version information and quit", &mut self.wants_version);
    }

    /// The name of the context that is in force.
    pub(crate) fn context_name(&self) -> String {
        if !self.context.is_empty() {
            return self.context.clone();
        }
        if !self.hosts.is_empty() || environment("DOCKER_HOST").is_some() {
            return DEFAULT.to_owned();
        }
        environment("DOCKER_CONTEXT")
            .or_else(|| {
                let current = Settings::read(&self.config_directory).current_context;
                Some(current).filter(|name| !name.is_empty())
            })
            .unwrap_or_else(|| DEFAULT.to_owned())
    }

    /// The address of the context called `default`.
    pub(crate) fn default_host(&self) -> String {
        let given = self.hosts.first().cloned();
        // One that says nothing means the usual place, whatever the environment says.
        given
            .map(|host| match host.trim() {
                "" => default_host(),
                _ => host,
            })
            .or_else(|| environment("DOCKER_HOST"))
            .unwrap_or_else(default_host)
    }

    /// Whether somebody said which daemon to use.
    pub(crate) fn is_told_where(&self) -> bool {
        self.context_name() != DEFAULT
            || !self.hosts.is_empty()
            || environment("DOCKER_HOST").is_some()
    }

    /// The store of contexts.
    pub(crate) fn contexts(&self) -> Store {
        Store::of(&self.config_directory)
    }

    /// The daemon meant by flags, environment and settings.
    ///
    /// # Errors
    /// A context that does not exist, or an address of no known form.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        let unresolved = |why: &str| {
            Error::new(format!(
                "Failed to initialize: unable to resolve docker endpoint: {why}"
            ))
        };
        if self.hosts.len() > 1 {
            return Err(unresolved("Specify only one -H"));
        }
        let name = self.context_name();
        let found = if name == DEFAULT {
            self.told()
        } else {
            self.of_context(&name)
        };
        found.map_err(|error| {
            let hint = match name.as_str() {
                DEFAULT => "a daemon's address is unix:///path, tcp://host:port or ssh://user@host",
                _ => "`context ls` shows what contexts there are",
            };
            unresolved(error.message()).with_hint(hint)
        })
    }

    /// The daemon that flags and environment tell of.
    fn told(&self) -> Result<Endpoint> {
        let host = self.default_host();
        let is_web = ["http://", "https://"]
            .iter()
            .any(|scheme| host.trim().starts_with(scheme));
        if is_web {
            return Err(Error::new(format!("invalid bind address format: {host}")));
        }
        let tls = self.tls_files();
        // Asked for, it has to be there, also where nothing is encrypted.
        if let Some(authority) = tls.as_ref().and_then(|files| files.ca.as_ref()) {
            std::fs::File::open(authority)
                .map_err(|error| Error::io("open", &authority.to_string_lossy(), &error))?;
        }
        self.at(&host, DEFAULT, tls)
    }

    fn of_context(&self, name: &str) -> Result<Endpoint> {
        let store = self.contexts();
        let place = store.get(name)?.place();
        let host = match place.host.as_str() {
            "" => default_host(),
            host => host.to_owned(),
        };
        let directory = store.tls_directory(name).join("docker");
        let file = |name: &str| Some(directory.join(name)).filter(|path| path.exists());
        let tls = (directory.is_dir() || place.skip_tls_verify).then(|| TlsFiles {
            ca: file("ca.pem"),
            cert: file("cert.pem"),
            key: file("key.pem"),
            verify: !place.skip_tls_verify,
        });
        self.at(&host, name, tls)
    }

    fn at(&self, host: &str, context: &str, tls: Option<TlsFiles>) -> Result<Endpoint> {
        let address = Address::parse(host, tls.is_some())?;
        let secured = host.trim().starts_with("https://").then_some(TlsFiles {
            ca: None,
            cert: None,
            key: None,
            verify: true,
        });
        let tls = tls.or(secured);
        let tls = tls.filter(|_| matches!(address, Address::Tcp { .. }));
        Ok(Endpoint {
            shown: address.shown(host),
            address,
            tls,
            context: context.to_owned(),
        })
    }

    /// The files that flags and environment name, if a daemon is reached by TLS.
    pub(crate) fn tls_files(&self) -> Option<TlsFiles> {
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
        let existing = |path: PathBuf, given: &str| {
            Some(path).filter(|path| !given.is_empty() || path.exists())
        };
        Some(TlsFiles {
            ca: Some(file(&self.tls_ca, "ca.pem")),
            cert: existing(file(&self.tls_cert, "cert.pem"), &self.tls_cert),
            key: existing(file(&self.tls_key, "key.pem"), &self.tls_key),
            verify,
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_which_program_it_is() {
        assert_eq!(Program::called("/usr/bin/docker"), Program::Docker);
        assert_eq!(Program::called("hull"), Program::Hull);
    }

    #[test]
    fn contexts_are_found_by_their_name() {
        let directory = std::env::temp_dir().join(format!("hull-contexts-{}", std::process::id()));
        let config = directory.to_string_lossy().into_owned();
        let mut far = store::Metadata {
            name: "far".to_owned(),
            ..store::Metadata::default()
        };
        far.set_place(&store::Place {
            host: "tcp://far:1".to_owned(),
            skip_tls_verify: false,
        });
        Store::of(&config).put(&far).unwrap();
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
