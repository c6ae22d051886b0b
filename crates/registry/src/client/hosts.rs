//! Which hosts serve a registry, and how each is reached: mirrors first, then the origin.
//!
//! What is configured for a registry lies in `certs.d/<host[:port]>/`: `*.crt` are authorities to
//! trust, `NAME.cert` with `NAME.key` is a certificate to show, and `hosts.toml` names mirrors in
//! containerd's form. `certs.d/_default/hosts.toml` is for registries that have no directory.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Settings;
use crate::{Error, Result};

/// Docker Hub's name, and the host that serves it.
pub(crate) const HUB: &str = "docker.io";
const HUB_HOST: &str = "registry-1.docker.io";
const DEFAULT_DIRECTORY: &str = "_default";
/// What a host can do, in containerd's words. (Referrers are asked of the origin alone.)
const CAPABILITIES: [&str; 4] = ["pull", "resolve", "push", "referrers"];

/// How a host may be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Https,
    Http,
    /// TLS without asking who it is, or none at all: whatever the host speaks.
    Insecure,
}

/// Whom to trust and what to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Trust {
    pub(crate) authorities: Vec<PathBuf>,
    /// Certificates and their keys.
    pub(crate) shown: Vec<(PathBuf, PathBuf)>,
    pub(crate) skip_verify: bool,
}

/// One host that serves a registry's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// `host[:port]`.
    pub(crate) authority: String,
    pub(crate) scheme: Scheme,
    /// What stands before a repository's name: `/v2`.
    pub(crate) base: String,
    pub(crate) trust: Trust,
    pub(crate) headers: Vec<(String, String)>,
    /// The registry a mirror is asked for, when it may serve several.
    pub(crate) namespace: Option<String>,
    /// Blobs and manifests by digest come from here.
    pub(crate) can_pull: bool,
    pub(crate) can_resolve: bool,
    pub(crate) can_push: bool,
    pub(crate) is_origin: bool,
}

/// The hosts of a registry, in the order they are tried.
pub(crate) fn plan(domain: &str, settings: &Settings) -> Result<Vec<Host>> {
    let origin = origin(domain, settings)?;
    let mut hosts = Vec::new();
    if domain == HUB {
        for mirror in &settings.mirrors {
            hosts.push(mirror_of(mirror, settings)?);
        }
    }
    let file = settings.certs.as_ref().and_then(|certs| {
        [domain, DEFAULT_DIRECTORY]
            .iter()
            .map(|name| certs.join(name).join("hosts.toml"))
            .find(|path| path.exists())
    });
    let server = match file {
        Some(path) => {
            let (mirrors, server) = read_hosts(&path, domain, settings)?;
            hosts.extend(mirrors);
            server
        }
        None => None,
    };
    hosts.push(server.map_or(origin, |server| Host {
        is_origin: true,
        can_push: true,
        can_pull: true,
        can_resolve: true,
        ..server
    }));
    Ok(hosts)
}

fn origin(domain: &str, settings: &Settings) -> Result<Host> {
    let authority = if domain == HUB { HUB_HOST } else { domain };
    let mut trust = trust_of(domain, settings)?;
    let scheme = if is_insecure(domain, settings) {
        Scheme::Insecure
    } else {
        Scheme::Https
    };
    trust.skip_verify = scheme == Scheme::Insecure;
    Ok(Host {
        authority: authority.to_owned(),
        scheme,
        base: "/v2".to_owned(),
        trust,
        headers: Vec::new(),
        namespace: None,
        can_pull: true,
        can_resolve: true,
        can_push: true,
        is_origin: true,
    })
}

/// A mirror that is given as an address.
fn mirror_of(address: &str, settings: &Settings) -> Result<Host> {
    let (scheme, authority, path) = split(address).ok_or_else(|| Error::Setting {
        what: format!("the mirror {address:?}"),
        why: "must be http:// or https:// and a host".to_owned(),
    })?;
    let mut trust = trust_of(authority, settings)?;
    let scheme = match scheme {
        Scheme::Https if is_insecure(authority, settings) => Scheme::Insecure,
        scheme => scheme,
    };
    trust.skip_verify = scheme == Scheme::Insecure;
    let path = path.trim_end_matches('/');
    Ok(Host {
        authority: authority.to_owned(),
        scheme,
        base: if path.ends_with("/v2") {
            path.to_owned()
        } else {
            format!("{path}/v2")
        },
        trust,
        headers: Vec::new(),
        namespace: None,
        can_pull: true,
        can_resolve: true,
        can_push: false,
        is_origin: false,
    })
}

fn split(address: &str) -> Option<(Scheme, &str, &str)> {
    let (scheme, rest) = match address.split_once("://") {
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(_) => return None,
        None => (Scheme::Https, address),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    (!authority.is_empty() && !authority.contains('@')).then_some((scheme, authority, path))
}

/// Loopback always is; others when the settings name them, by host, host and port, or network. A
/// name is in the networks of its addresses.
pub(crate) fn is_insecure(authority: &str, settings: &Settings) -> bool {
    let host = host_of(authority);
    if host == "localhost" {
        return true;
    }
    let address: Option<IpAddr> = host.parse().ok();
    if address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let named = |entry: &'_ String| {
        let rest = entry.split_once("://").map(|(_, rest)| rest.to_owned());
        let rest = rest.unwrap_or_else(|| entry.clone());
        rest.trim_end_matches('/').to_owned()
    };
    let entries: Vec<String> = settings.insecure.iter().map(named).collect();
    if entries.iter().any(|own| own == authority || own == host) {
        return true;
    }
    let networks: Vec<_> = entries.iter().filter(|own| own.contains('/')).collect();
    // Names are only looked up where that may matter.
    if networks.is_empty() {
        return false;
    }
    let addresses: Vec<IpAddr> = match address {
        Some(address) => vec![address],
        None => addresses_of(host),
    };
    let is_inside = |address: &IpAddr| networks.iter().any(|own| in_network(own, *address));
    addresses.iter().any(is_inside)
}

fn addresses_of(host: &str) -> Vec<IpAddr> {
    let look = || (host, 0).to_socket_addrs();
    // May take long: the runtime's other tasks do not wait for it.
    let found = match tokio::runtime::Handle::try_current().map(|it| it.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(look),
        _ => look(),
    };
    found.map_or_else(|_| Vec::new(), |all| all.map(|one| one.ip()).collect())
}

fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority.split(':').next().unwrap_or(authority)
}

pub(super) fn in_network(network: &str, address: IpAddr) -> bool {
    let Some((base, bits)) = network.split_once('/') else {
        return false;
    };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            base.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(base), IpAddr::V6(address)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            base.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

/// What Docker's files say for a host.
fn trust_of(authority: &str, settings: &Settings) -> Result<Trust> {
    let mut trust = Trust::default();
    let Some(directory) = settings.certs.as_ref().map(|certs| certs.join(authority)) else {
        return Ok(trust);
    };
    let Ok(entries) = fs::read_dir(&directory) else {
        return Ok(trust);
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => trust.authorities.push(path),
            Some("cert") => {
                let key = path.with_extension("key");
                if !key.exists() {
                    return Err(Error::Setting {
                        what: path.display().to_string(),
                        why: format!("missing key {} for client certificate", key.display()),
                    });
                }
                trust.shown.push((path, key));
            }
            _ => {}
        }
    }
    Ok(trust)
}

/// containerd's file.
#[derive(Debug, Deserialize)]
struct HostsFile {
    server: Option<String>,
    #[serde(default)]
    host: toml::Table,
    #[serde(flatten)]
    own: HostFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HostFields {
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMore<PathBuf>>,
    client: Option<Shown>,
    skip_verify: bool,
    override_path: bool,
    header: BTreeMap<String, OneOrMore<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Shown {
    One(PathBuf),
    Pairs(Vec<(PathBuf, PathBuf)>),
    Files(Vec<PathBuf>),
}

impl<T> OneOrMore<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

/// The mirrors of a file, and what replaces the origin.
fn read_hosts(path: &Path, domain: &str, settings: &Settings) -> Result<(Vec<Host>, Option<Host>)> {
    let wrong = |why: String| Error::Setting {
        what: path.display().to_string(),
        why,
    };
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let file: HostsFile =
        toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut mirrors = Vec::new();
    for (address, fields) in file.host {
        let fields: HostFields = fields
            .try_into()
            .map_err(|error: toml::de::Error| wrong(error.message().to_owned()))?;
        let mut host = with_fields(mirror_of(&address, settings)?, fields, &address, directory)?;
        host.namespace = Some(domain.to_owned());
        mirrors.push(host);
    }
    let server = match file.server {
        Some(address) => Some(with_fields(
            mirror_of(&address, settings)?,
            file.own,
            &address,
            directory,
        )?),
        None => None,
    };
    Ok((mirrors, server))
}

fn with_fields(
    mut host: Host,
    fields: HostFields,
    address: &str,
    directory: &Path,
) -> Result<Host> {
    if let Some(capabilities) = fields.capabilities {
        let unknown = |own: &&String| !CAPABILITIES.contains(&own.as_str());
        if let Some(unknown) = capabilities.iter().find(unknown) {
            return Err(Error::Setting {
                what: format!("the capabilities of {address}"),
                why: format!("{unknown:?} is none: there are {}", CAPABILITIES.join(", ")),
            });
        }
        let can = |what: &str| capabilities.iter().any(|own| own == what);
        host.can_pull = can("pull");
        (host.can_resolve, host.can_push) = (can("resolve"), can("push"));
    }
    let files = fields.ca.map(OneOrMore::into_vec).unwrap_or_default();
    host.trust
        .authorities
        .extend(files.into_iter().map(|path| directory.join(path)));
    match fields.client {
        None => {}
        Some(Shown::One(both)) => host
            .trust
            .shown
            .push((directory.join(&both), directory.join(both))),
        Some(Shown::Pairs(pairs)) => {
            let whole =
                |(cert, key): (PathBuf, PathBuf)| (directory.join(cert), directory.join(key));
            host.trust.shown.extend(pairs.into_iter().map(whole));
        }
        Some(Shown::Files(files)) => match &files[..] {
            [cert, key] => host
                .trust
                .shown
                .push((directory.join(cert), directory.join(key))),
            _ => {
                return Err(Error::Setting {
                    what: format!("the client certificates for {address}"),
                    why: "must be pairs of a certificate and its key".to_owned(),
                });
            }
        },
    }
    host.trust.skip_verify |= fields.skip_verify;
    if fields.override_path {
        let (_, _, path) = split(address).unwrap_or((Scheme::Https, "", ""));
        host.base = path.trim_end_matches('/').to_owned();
    }
    for (name, values) in fields.header {
        host.headers.extend(
            values
                .into_vec()
                .into_iter()
                .map(|value| (name.clone(), value)),
        );
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            insecure: vec![
                "http://plain.example:5000".into(),
                "10.1.0.0/16".into(),
                "any.example".into(),
            ],
            ..Settings::default()
        }
    }

    #[test]
    fn insecure_is_loopback_and_what_is_named() {
        for (authority, insecure) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.1.2.3:5000", true),
            ("[::1]:5000", true),
            ("plain.example:5000", true),
            ("plain.example:5001", false),
            ("any.example:443", true),
            ("10.1.2.3:5000", true),
            ("10.2.2.3", false),
            ("docker.io", false),
            ("localhost.example", false),
        ] {
            assert_eq!(is_insecure(authority, &settings()), insecure, "{authority}");
        }
    }

    #[test]
    fn mirrors_come_before_the_origin() {
        let settings = Settings {
            mirrors: vec![
                "https://mirror.example".into(),
                "http://10.1.0.9:5000/hub/".into(),
            ],
            ..settings()
        };
        let hosts = plan("docker.io", &settings).unwrap();
        let shown: Vec<_> = hosts
            .iter()
            .map(|host| (host.authority.as_str(), host.scheme, host.base.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                ("mirror.example", Scheme::Https, "/v2"),
                ("10.1.0.9:5000", Scheme::Http, "/hub/v2"),
                ("registry-1.docker.io", Scheme::Https, "/v2"),
            ]
        );
        assert_eq!(plan("ghcr.io", &settings).unwrap().len(), 1);
        let bad = Settings {
            mirrors: vec!["ftp://x".into()],
            ..Settings::default()
        };
        assert!(plan("docker.io", &bad).is_err());
    }

    #[test]
    fn a_hosts_file_gives_any_registry_mirrors() {
        let certs = tempfile::tempdir().unwrap();
        let directory = certs.path().join("quay.io");
        fs::create_dir(&directory).unwrap();
        fs::write(
            directory.join("hosts.toml"),
            r#"
            server = "https://quay.internal"
            [host."https://mirror.example:8443/cache/quay"]
              capabilities = ["pull"]
              ca = "mirror.crt"
              client = [["a.cert", "a.key"]]
              override_path = true
              [host."https://mirror.example:8443/cache/quay".header]
                x-key = "secret"
            [host."http://second.example"]
              skip_verify = true
            [host."http://third.example"]
              capabilities = ["resolve"]
            "#,
        )
        .unwrap();
        fs::write(directory.join("own.crt"), "").unwrap();
        let settings = Settings {
            certs: Some(certs.path().to_owned()),
            ..Settings::default()
        };
        let mut hosts = plan("quay.io", &settings).unwrap();
        assert_eq!(hosts.len(), 4);
        let third = hosts.remove(2);
        assert_eq!((third.can_pull, third.can_resolve), (false, true));
        assert_eq!(
            (hosts[0].authority.as_str(), hosts[0].base.as_str()),
            ("mirror.example:8443", "/cache/quay")
        );
        assert_eq!((hosts[0].can_resolve, hosts[0].can_push), (false, false));
        assert!(hosts[0].can_pull && hosts[1].can_pull && hosts[2].can_pull);
        assert_eq!(hosts[0].trust.authorities, [directory.join("mirror.crt")]);
        assert_eq!(
            hosts[0].trust.shown,
            [(directory.join("a.cert"), directory.join("a.key"))]
        );
        assert_eq!(
            hosts[0].headers,
            [("x-key".to_owned(), "secret".to_owned())]
        );
        assert_eq!(hosts[1].scheme, Scheme::Http);
        assert_eq!(
            (
                hosts[2].authority.as_str(),
                hosts[2].is_origin,
                hosts[2].can_push
            ),
            ("quay.internal", true, true)
        );
    }

    #[test]
    fn a_capability_that_is_none_is_refused_by_name() {
        let certs = tempfile::tempdir().unwrap();
        let path = certs.path().join("_default");
        fs::create_dir(&path).unwrap();
        let hosts = "[host.\"https://mirror.example\"]\ncapabilities = [\"pull\", \"reslove\"]\n";
        fs::write(path.join("hosts.toml"), hosts).unwrap();
        let settings = Settings {
            certs: Some(certs.path().to_owned()),
            ..Settings::default()
        };
        let error = plan("quay.io", &settings).unwrap_err().to_string();
        assert!(
            error.contains("\"reslove\"") && error.contains("resolve"),
            "{error}"
        );
    }

    #[test]
    fn certificates_lie_where_docker_has_them() {
        let certs = tempfile::tempdir().unwrap();
        let directory = certs.path().join("reg.example:5000");
        fs::create_dir(&directory).unwrap();
        for name in ["ca.crt", "me.cert", "me.key", "README"] {
            fs::write(directory.join(name), "").unwrap();
        }
        let settings = Settings {
            certs: Some(certs.path().to_owned()),
            ..Settings::default()
        };
        let trust = &plan("reg.example:5000", &settings).unwrap()[0].trust;
        assert_eq!(trust.authorities, [directory.join("ca.crt")]);
        assert_eq!(
            trust.shown,
            [(directory.join("me.cert"), directory.join("me.key"))]
        );
        fs::remove_file(directory.join("me.key")).unwrap();
        let error = plan("reg.example:5000", &settings).unwrap_err().to_string();
        assert!(error.contains("missing key"), "{error}");
    }
}
