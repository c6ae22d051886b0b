//! What a client asks of the Dockerfile front end: attributes by name, understood. Pure.
//!
//! The names are BuildKit's. What is not known here is left alone, as BuildKit leaves it: clients
//! send words about themselves (`vcs:source`, `cmdline`) that change nothing.

use std::collections::{BTreeMap, HashMap};

/// The front end that is built in.
const DOCKERFILE: &str = "dockerfile.v0";

/// The front end of images: a Dockerfile's `# syntax=` may name such a one.
const GATEWAY: &str = "gateway.v0";

/// What the Dockerfile is called unless the client says otherwise.
const FILE_NAME: &str = "Dockerfile";

/// An attribute that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AttributeError {
    #[error(
        "frontend {0:?} is not available: Hull builds Dockerfiles (dockerfile.v0) and runs no frontend images"
    )]
    Frontend(String),
    #[error("invalid key-value pair {0}")]
    NotAPair(String),
    #[error("failed to parse IP {0}")]
    NotAnAddress(String),
    #[error("invalid image-resolve-mode: {0}")]
    ResolveMode(String),
    #[error("invalid {name} value: {value}")]
    Number { name: String, value: String },
    #[error("invalid context specifier {value} for {name}")]
    Context { name: String, value: String },
    #[error("unsupported context source {value} for {name}")]
    ContextSource { name: String, value: String },
}

/// Where the main context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Main {
    /// A directory of the client, by its name in the session.
    Local(String),
    /// An address: of something the client uploads, an archive, a repository.
    Address(String),
}

/// What a named context stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// An image.
    Image(String),
    /// A directory of the client, by its name in the session.
    Local(String),
    /// An image in a store of the client's: the store, and the image's digest.
    Layout { store: String, digest: String },
    /// Another build's result, by its name among this build's inputs.
    Input(String),
    /// An archive or a file to be fetched.
    Address(String),
}

/// What the client wants to know instead of building.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// The linter's opinion.
    Lint,
    /// What the target takes.
    Outline,
    /// Which targets there are.
    Targets,
    /// Which questions there are.
    Describe,
    /// Something else.
    Unknown(String),
}

/// The attributes, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) file_name: String,
    pub(crate) main: Main,
    /// Below the main context.
    pub(crate) subdirectory: String,
    /// Where the Dockerfile is, by its name in the session. `None`: the client does not say.
    pub(crate) dockerfile_directory: Option<String>,
    pub(crate) target: String,
    pub(crate) build_args: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) platforms: Vec<String>,
    /// `None`: use the cache; empty: do all again; otherwise these stages.
    pub(crate) no_cache: Option<Vec<String>>,
    pub(crate) pull: bool,
    pub(crate) named: BTreeMap<String, Named>,
    pub(crate) network: String,
    /// `name:address`.
    pub(crate) extra_hosts: Vec<String>,
    pub(crate) shm_size: i64,
    pub(crate) ulimits: Vec<String>,
    pub(crate) cgroup_parent: String,
    pub(crate) hostname: String,
    pub(crate) resources: Resources,
    pub(crate) source_date_epoch: Option<i64>,
    pub(crate) question: Option<Question>,
    /// Sessions of single directories, where they differ from the build's.
    pub(crate) sessions: BTreeMap<String, String>,
    /// `attest:KIND`, as given.
    pub(crate) attestations: BTreeMap<String, String>,
    /// Whether the image carries its cache's description.
    pub(crate) inline_cache: bool,
}

/// Limits of each step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    pub(crate) memory: i64,
    pub(crate) memory_swap: i64,
    pub(crate) cpu_shares: i64,
    pub(crate) cpu_period: i64,
    pub(crate) cpu_quota: i64,
    pub(crate) cpuset_cpus: String,
    pub(crate) cpuset_mems: String,
}

impl Attributes {
    /// Understands what came with a front end's name.
    pub(crate) fn parse(
        frontend: &str,
        given: &HashMap<String, String>,
    ) -> Result<Self, AttributeError> {
        check_frontend(frontend, given)?;
        let text = |name: &str| given.get(name).cloned().unwrap_or_default();
        let or = |name: &str, default: &str| {
            Some(text(name))
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| default.to_owned())
        };
        let with_prefix = |prefix: &str| -> BTreeMap<String, String> {
            let matching = given.iter().filter_map(|(name, value)| {
                Some((name.strip_prefix(prefix)?.to_owned(), value.clone()))
            });
            matching.collect()
        };
        let context_key = or("contextkey", "context");
        let mut build_args = with_prefix("build-arg:");
        if let Some(many) = given.get("multi-platform") {
            let name = "BUILDKIT_MULTI_PLATFORM".to_owned();
            build_args.entry(name).or_insert_with(|| many.clone());
        }
        let epoch = given
            .get("source-date-epoch")
            .or(build_args.get("SOURCE_DATE_EPOCH"));
        Ok(Self {
            file_name: or("filename", FILE_NAME),
            main: match text("context") {
                local if local.is_empty() => Main::Local(context_key),
                address => Main::Address(address),
            },
            subdirectory: text("contextsubdir"),
            dockerfile_directory: given.get("dockerfilekey").cloned(),
            target: text("target"),
            labels: with_prefix("label:"),
            platforms: list(&text("platform")),
            no_cache: given.get("no-cache").map(|stages| list(stages)),
            pull: pull(&text("image-resolve-mode"))?,
            named: named(with_prefix("context:"))?,
            network: text("force-network-mode"),
            extra_hosts: extra_hosts(&text("add-hosts"))?,
            shm_size: number("shm-size", given)?,
            ulimits: list(&text("ulimit")),
            cgroup_parent: text("cgroup-parent"),
            hostname: or("hostname", &text("build-arg:BUILDKIT_SANDBOX_HOSTNAME")),
            resources: Resources {
                memory: number("memory", given)?,
                memory_swap: number("memory-swap", given)?,
                cpu_shares: number("cpu-shares", given)?,
                cpu_period: number("cpu-period", given)?,
                cpu_quota: number("cpu-quota", given)?,
                cpuset_cpus: text("cpuset-cpus"),
                cpuset_mems: text("cpuset-mems"),
            },
            source_date_epoch: match epoch.filter(|text| !text.is_empty()) {
                None => None,
                Some(text) => Some(parse_number("SOURCE_DATE_EPOCH", text)?),
            },
            question: question(&text("requestid")),
            sessions: with_prefix("local-sessionid:"),
            attestations: with_prefix("attest:"),
            inline_cache: is_true(&text("build-arg:BUILDKIT_INLINE_CACHE")),
            build_args,
        })
    }
}

/// Hull's own front end reads Dockerfiles, whatever image of Docker's is named to read them.
fn check_frontend(frontend: &str, given: &HashMap<String, String>) -> Result<(), AttributeError> {
    let source = given.get("source").map_or("", String::as_str);
    let known = match frontend {
        DOCKERFILE => true,
        GATEWAY => hull_build::frontend::is_built_in(source),
        _ => false,
    };
    let named = if frontend == GATEWAY {
        source
    } else {
        frontend
    };
    known
        .then_some(())
        .ok_or_else(|| AttributeError::Frontend(named.to_owned()))
}

fn question(request: &str) -> Option<Question> {
    Some(match request {
        "" => return None,
        "frontend.lint" => Question::Lint,
        "frontend.outline" => Question::Outline,
        "frontend.targets" => Question::Targets,
        "frontend.subrequests.describe" => Question::Describe,
        other => Question::Unknown(other.to_owned()),
    })
}

fn pull(mode: &str) -> Result<bool, AttributeError> {
    match mode {
        "" | "default" | "local" => Ok(false),
        "pull" => Ok(true),
        other => Err(AttributeError::ResolveMode(other.to_owned())),
    }
}

fn named(given: BTreeMap<String, String>) -> Result<BTreeMap<String, Named>, AttributeError> {
    let parse = |(name, value): (String, String)| {
        // `name::linux/amd64` is for one platform; each build here has one at a time.
        let key = name.split("::").next().unwrap_or_default().to_lowercase();
        Ok((key, named_context(&name, &value)?))
    };
    given.into_iter().map(parse).collect()
}

fn named_context(name: &str, value: &str) -> Result<Named, AttributeError> {
    if hull_build::git::is_repository(value) {
        return Ok(Named::Address(value.to_owned()));
    }
    let (scheme, rest) = value
        .split_once(':')
        .ok_or_else(|| AttributeError::Context {
            name: name.to_owned(),
            value: value.to_owned(),
        })?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    match scheme {
        "docker-image" => Ok(Named::Image(path.to_owned())),
        "local" => Ok(Named::Local(rest.to_owned())),
        "input" => Ok(Named::Input(rest.to_owned())),
        "http" | "https" => Ok(Named::Address(value.to_owned())),
        "oci-layout" => match path.split_once('@') {
            Some((store, digest)) => Ok(Named::Layout {
                store: store.split(':').next().unwrap_or_default().to_owned(),
                digest: digest.to_owned(),
            }),
            None => Err(AttributeError::Context {
                name: name.to_owned(),
                value: format!("{value} (it needs a digest)"),
            }),
        },
        _ => Err(AttributeError::ContextSource {
            name: name.to_owned(),
            value: scheme.to_owned(),
        }),
    }
}

/// `name=address`, as a container's `name:address`.
fn extra_hosts(text: &str) -> Result<Vec<String>, AttributeError> {
    let parse = |pair: String| {
        let (name, address) = pair
            .split_once('=')
            .ok_or_else(|| AttributeError::NotAPair(pair.clone()))?;
        address
            .parse::<std::net::IpAddr>()
            .map_err(|_| AttributeError::NotAnAddress(address.to_owned()))?;
        Ok(format!("{}:{address}", name.to_lowercase()))
    };
    list(text).into_iter().map(parse).collect()
}

fn number(name: &str, given: &HashMap<String, String>) -> Result<i64, AttributeError> {
    match given.get(name).filter(|text| !text.is_empty()) {
        None => Ok(0),
        Some(text) => parse_number(name, text),
    }
}

fn parse_number(name: &str, text: &str) -> Result<i64, AttributeError> {
    text.parse().map_err(|_| AttributeError::Number {
        name: name.to_owned(),
        value: text.to_owned(),
    })
}

/// The fields of a line of comma-separated values, in which quotes protect commas.
pub(crate) fn list(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let field = fields.last_mut().expect("never empty");
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    fields.retain(|field| !field.is_empty());
    fields
}

/// As Go reads truth.
pub(crate) fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(given: &[(&str, &str)]) -> Result<Attributes, AttributeError> {
        let given = given
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Attributes::parse("dockerfile.v0", &given.collect())
    }

    #[test]
    fn without_attributes_the_context_is_the_client_s_directory() {
        let parsed = parse(&[]).unwrap();
        assert_eq!(parsed.file_name, "Dockerfile");
        assert_eq!(parsed.main, Main::Local("context".to_owned()));
        assert_eq!(parsed.dockerfile_directory, None);
        assert_eq!((parsed.no_cache, parsed.pull), (None, false));
    }

    #[test]
    fn attributes_are_understood() {
        let parsed = parse(&[
            ("filename", "Other.dockerfile"),
            ("build-arg:A", "1"),
            ("build-arg:SOURCE_DATE_EPOCH", "1700000000"),
            ("label:x", "y"),
            ("platform", "linux/amd64,linux/arm64"),
            ("no-cache", "one,two"),
            ("image-resolve-mode", "pull"),
            ("add-hosts", "Db=10.0.0.1,six=::1"),
            ("ulimit", "nofile=10:20,core=0"),
            ("shm-size", "1048576"),
            ("requestid", "frontend.lint"),
            ("vcs:source", "ignored"),
        ])
        .unwrap();
        assert_eq!(parsed.file_name, "Other.dockerfile");
        assert_eq!(parsed.build_args["A"], "1");
        assert_eq!(parsed.source_date_epoch, Some(1_700_000_000));
        assert_eq!(parsed.labels["x"], "y");
        assert_eq!(parsed.platforms, ["linux/amd64", "linux/arm64"]);
        assert_eq!(parsed.no_cache.unwrap(), ["one", "two"]);
        assert!(parsed.pull);
        assert_eq!(parsed.extra_hosts, ["db:10.0.0.1", "six:::1"]);
        assert_eq!(parsed.ulimits, ["nofile=10:20", "core=0"]);
        assert_eq!(parsed.shm_size, 1_048_576);
        assert_eq!(parsed.question, Some(Question::Lint));
        assert_eq!(parse(&[("no-cache", "")]).unwrap().no_cache, Some(vec![]));
    }

    #[test]
    fn named_contexts_have_their_sources() {
        let parsed = parse(&[
            ("context:Base", "docker-image://alpine:3"),
            ("context:src", "local:src"),
            ("context:up", "input:up"),
            ("context:oci", "oci-layout://store@sha256:aa"),
            ("context:web", "https://example.com/a.tar"),
        ]);
        let named = parsed.unwrap().named;
        assert_eq!(named["base"], Named::Image("alpine:3".to_owned()));
        assert_eq!(named["src"], Named::Local("src".to_owned()));
        assert_eq!(named["up"], Named::Input("up".to_owned()));
        let layout = Named::Layout {
            store: "store".to_owned(),
            digest: "sha256:aa".to_owned(),
        };
        assert_eq!(named["oci"], layout);
        assert_eq!(
            named["web"],
            Named::Address("https://example.com/a.tar".to_owned())
        );
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let text = |given| parse(given).unwrap_err().to_string();
        assert_eq!(text(&[("add-hosts", "db")]), "invalid key-value pair db");
        assert_eq!(text(&[("add-hosts", "db=x")]), "failed to parse IP x");
        assert_eq!(text(&[("shm-size", "big")]), "invalid shm-size value: big");
        assert_eq!(
            text(&[("image-resolve-mode", "x")]),
            "invalid image-resolve-mode: x"
        );
        assert_eq!(
            text(&[("context:a", "b")]),
            "invalid context specifier b for a"
        );
        assert_eq!(
            text(&[("context:a", "ftp://b")]),
            "unsupported context source ftp for a"
        );
    }

    #[test]
    fn a_named_frontend_is_served_if_it_is_dockers_own() {
        let gateway = |source: &str| {
            Attributes::parse(
                "gateway.v0",
                &HashMap::from([("source".to_owned(), source.to_owned())]),
            )
        };
        assert!(gateway("docker/dockerfile:1").is_ok());
        assert!(gateway("docker.io/docker/dockerfile-upstream:master@sha256:aa").is_ok());
        assert!(gateway("example.com/evil/dockerfile").is_err());
        assert!(Attributes::parse("other", &HashMap::new()).is_err());
    }

    proptest! {
        #[test]
        fn any_attributes_are_understood_or_refused(
            given in proptest::collection::hash_map(
                "(context:|build-arg:|label:)?[a-z-]{0,12}", ".{0,30}", 0..8)
        ) {
            let _ = Attributes::parse("dockerfile.v0", &given);
        }
    }
}
