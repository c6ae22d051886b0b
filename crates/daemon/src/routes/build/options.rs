//! From a request to a build: the query's parameters, the context, the Dockerfile.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use base64::Engine as _;
use hull_api::types::{AuthConfig, BuildCache, BuildExtras, BuildOutput};
use hull_build::{
    BuildRequest, Builder, Cancel, Contexts, Error, Fetching, Login, NamedContext, NoAgents,
    Remote, SshAgents,
    export::{Annotation, Attest},
    request::{CacheSource, RunDefaults, context_name},
    tree::Tree,
};
use hull_image::store::LayerCompression;
use hull_oci::{Platform, Reference};
use serde::de::DeserializeOwned;

use super::agents::Offered;
use crate::{
    app::App,
    convert,
    http::{answer::Failure, request::Request},
};

/// The name of the main context.
const MAIN: &str = "context";
/// The largest Dockerfile and `.dockerignore` that are read.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// What the query says.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) build_id: String,
    pub(super) quiet: bool,
    pub(super) names: Vec<Reference>,
    pub(super) squash: bool,
    dockerfile: String,
    remote: String,
    args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    cache_from: Vec<String>,
    target: String,
    platforms: Vec<Platform>,
    no_cache: bool,
    pull: bool,
    run: RunDefaults,
    pub(super) logins: BTreeMap<String, Login>,
}

/// A build that can begin.
pub(super) struct Prepared {
    pub(super) request: BuildRequest,
    pub(super) names: Vec<Reference>,
    pub(super) squash: bool,
    pub(super) quiet: bool,
    /// `check`, `outline`, `targets`; empty: a build.
    pub(super) call: String,
    /// None: an image in the store.
    pub(super) outputs: Vec<Wanted>,
    pub(super) cache_to: Vec<CacheTarget>,
    pub(super) attest: Attest,
    pub(super) annotations: Vec<Annotation>,
}

/// A place where the result goes.
pub(super) struct Wanted {
    /// `image`, `docker`, `oci`, `tar` or `cacheonly`.
    pub(super) kind: String,
    /// All its names.
    pub(super) names: Vec<Reference>,
    pub(super) compression: LayerCompression,
    /// Files of each platform in a directory of its own.
    pub(super) split: Option<bool>,
}

/// Where finished steps are to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CacheTarget {
    pub(super) kind: CacheKind,
    /// All steps, not only those the result is made of.
    pub(super) all: bool,
    /// The build is good without it.
    pub(super) ignore_error: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CacheKind {
    /// Into the image.
    Inline,
    /// To the client.
    Local,
    /// Under this name.
    Registry(String),
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ulimit {
    name: String,
    soft: i64,
    hard: i64,
}

impl Options {
    pub(super) fn parse(request: &Request) -> Result<Self, Failure> {
        let query = &request.query;
        if query.all("securityopt").next().is_some() {
            return Err(Failure::invalid(
                "The daemon on this platform does not support setting security options on build",
            ));
        }
        let number = |name: &str| Ok::<_, Failure>(query.number(name)?.unwrap_or(0));
        let names = query.all("t").filter(|name| !name.is_empty()).map(name);
        let args: BTreeMap<String, Option<String>> = json(query.text("buildargs"), "buildargs")?;
        let ulimits: Vec<Ulimit> = json(query.text("ulimits"), "ulimits")?;
        let auths = request.headers.get("x-registry-config");
        let auths = auths.filter(|value| !value.is_empty()).map(|value| {
            hull_api::client::decode_auths(value.as_bytes()).ok_or_else(|| {
                Failure::invalid("invalid X-Registry-Config header: it is no base64 of JSON")
            })
        });
        let platform = query.text("platform");
        let platforms = platform
            .split(',')
            .filter(|text| !text.is_empty())
            .map(parse_platform);
        Ok(Self {
            build_id: query.text("buildid").to_owned(),
            quiet: query.flag("q"),
            names: names.collect::<Result<_, _>>()?,
            squash: query.flag("squash"),
            dockerfile: query.text("dockerfile").to_owned(),
            remote: query.text("remote").to_owned(),
            args: args
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
            labels: json(query.text("labels"), "labels")?,
            cache_from: json(query.text("cachefrom"), "cachefrom")?,
            target: query.text("target").to_owned(),
            platforms: platforms.collect::<Result<_, _>>()?,
            no_cache: query.flag("nocache"),
            pull: query.flag("pull"),
            run: RunDefaults {
                network: query.text("networkmode").to_owned(),
                extra_hosts: extra_hosts(query.text("extrahosts")),
                shm_size: number("shmsize")?,
                ulimits: ulimits
                    .iter()
                    .map(|limit| format!("{}={}:{}", limit.name, limit.soft, limit.hard))
                    .collect(),
                cgroup_parent: query.text("cgroupparent").to_owned(),
                memory: number("memory")?,
                memory_swap: number("memswap")?,
                cpu_shares: number("cpushares")?,
                cpu_period: number("cpuperiod")?,
                cpu_quota: number("cpuquota")?,
                cpuset_cpus: query.text("cpusetcpus").to_owned(),
                cpuset_mems: query.text("cpusetmems").to_owned(),
                hostname: String::new(),
            },
            logins: logins(auths.transpose()?.unwrap_or_default()),
        })
    }

    fn request(&self, name: String, text: String) -> BuildRequest {
        let epoch = self.args.get("SOURCE_DATE_EPOCH");
        let mut run = self.run.clone();
        if let Some(hostname) = self.args.get("BUILDKIT_SANDBOX_HOSTNAME") {
            run.hostname.clone_from(hostname);
        }
        let sources = self.cache_from.iter();
        BuildRequest {
            target: self.target.clone(),
            args: self.args.clone(),
            labels: self.labels.clone(),
            platforms: self.platforms.clone(),
            no_cache: self.no_cache,
            pull: self.pull,
            run,
            source_date_epoch: epoch.and_then(|text| text.parse().ok()),
            logins: Arc::new(self.logins.clone()),
            cache_from: sources
                .map(|name| CacheSource::Image(name.clone()))
                .collect(),
            ..BuildRequest::new(name, text)
        }
    }

    fn prepared(&self, request: BuildRequest) -> Prepared {
        Prepared {
            request,
            names: self.names.clone(),
            squash: self.squash,
            quiet: self.quiet,
            call: String::new(),
            outputs: Vec::new(),
            cache_to: self.inline_cache().into_iter().collect(),
            attest: Attest::default(),
            annotations: Vec::new(),
        }
    }

    /// The image tells of its steps if a build argument says so.
    fn inline_cache(&self) -> Option<CacheTarget> {
        let wanted = self.args.get("BUILDKIT_INLINE_CACHE");
        let is_wanted = wanted.is_some_and(|text| matches!(&**text, "1" | "true"));
        is_wanted.then_some(CacheTarget {
            kind: CacheKind::Inline,
            all: false,
            ignore_error: false,
        })
    }
}

/// Credentials by the servers that clients keep them under (`https://index.docker.io/v1/`), by hosts
/// as names of images have them.
pub(super) fn logins(auths: BTreeMap<String, AuthConfig>) -> BTreeMap<String, Login> {
    let login = |(server, auth): (String, AuthConfig)| {
        let host = server.split_once("://").map_or(&*server, |(_, rest)| rest);
        let host = match host.split('/').next().unwrap_or_default() {
            "index.docker.io" | "registry-1.docker.io" => "docker.io",
            host => host,
        };
        let credentials = convert::registry::credentials(auth)?;
        let login = Login {
            user: credentials.username,
            password: credentials.password,
            identity_token: credentials.identity_token,
            registry_token: credentials.registry_token,
        };
        Some((host.to_owned(), login))
    };
    auths.into_iter().filter_map(login).collect()
}

/// `name:address` in a JSON list, or (old clients) divided by commas.
fn extra_hosts(text: &str) -> Vec<String> {
    if let Ok(list) = serde_json::from_str::<Vec<String>>(text) {
        return list;
    }
    let hosts = text.split(',').filter(|host| !host.is_empty());
    hosts.map(str::to_owned).collect()
}

fn name(text: &str) -> Result<Reference, Failure> {
    let reference = text.parse::<Reference>();
    let reference = reference.map_err(|error| Failure::invalid(error.to_string()))?;
    if reference.digest().is_some() {
        let message = "invalid reference format: build tag cannot contain a digest";
        return Err(Failure::invalid(message));
    }
    Ok(reference.or_latest())
}

fn parse_platform(text: &str) -> Result<Platform, Failure> {
    text.parse::<Platform>()
        .map_err(|error| Failure::invalid(error.to_string()))
}

fn json<T: DeserializeOwned + Default>(text: &str, what: &str) -> Result<T, Failure> {
    if text.is_empty() || text == "null" {
        return Ok(T::default());
    }
    serde_json::from_str(text)
        .map_err(|error| Failure::invalid(format!("error reading {what}: {error}")))
}

/// A build whose context comes as an archive. Blocks.
pub(super) fn from_archive(
    builder: &Builder,
    options: &Options,
    pipe: OwnedFd,
    cancel: &Cancel,
) -> Result<Prepared, Error> {
    let tree = if options.remote.is_empty() {
        let mut writer = builder.trees().temporary()?;
        writer.unpack(File::from(pipe))?;
        writer.finish()?
    } else {
        drop(pipe);
        let how = Fetching {
            secrets: &BTreeMap::<String, Vec<u8>>::new(),
            agents: &(Arc::new(NoAgents) as _),
            args: &options.args,
            cancel,
        };
        match builder.fetch(&options.remote, &how)? {
            Remote::Files(tree) => tree,
            Remote::Dockerfile(text) => {
                return Ok(options.prepared(options.request("Dockerfile".to_owned(), text)));
            }
        }
    };
    let contexts = BTreeMap::from([(MAIN.to_owned(), tree)]);
    let request = with_contexts(options, contexts, None, None)?;
    Ok(options.prepared(request))
}

/// The context that is an address, fetched.
pub(super) async fn remote(
    builder: &Arc<Builder>,
    options: &Options,
    extras: &BuildExtras,
    cancel: &Cancel,
) -> Result<Option<Remote>, Failure> {
    if options.remote.is_empty() {
        return Ok(None);
    }
    let (builder, url, stop) = (Arc::clone(builder), options.remote.clone(), cancel.clone());
    let secrets = secrets(&extras.secrets)?;
    let args = options.args.clone();
    // Of repositories, this client makes directories itself.
    let agents: Arc<dyn SshAgents> = Arc::new(NoAgents);
    let fetching = move || {
        let how = Fetching {
            secrets: &secrets,
            agents: &agents,
            args: &args,
            cancel: &stop,
        };
        builder.fetch(&url, &how)
    };
    Ok(Some(super::blocking(fetching).await??))
}

fn secrets(encoded: &BTreeMap<String, String>) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let decode = |(id, value): (&String, &String)| {
        let secret = base64::engine::general_purpose::STANDARD.decode(value);
        let secret =
            secret.map_err(|_| Failure::invalid(format!("the secret {id} is not base64")))?;
        Ok((id.clone(), secret))
    };
    encoded.iter().map(decode).collect()
}

/// A build whose contexts came before.
pub(super) fn from_extras(
    app: &App,
    options: &Options,
    mut extras: BuildExtras,
    remote: Option<Remote>,
) -> Result<Prepared, Failure> {
    let mut contexts = BTreeMap::new();
    match remote {
        None => {}
        Some(Remote::Files(tree)) => drop(contexts.insert(MAIN.to_owned(), tree)),
        Some(Remote::Dockerfile(text)) => extras.dockerfile = Some(text),
    }
    let mut named = BTreeMap::new();
    for (name, id) in &extras.contexts {
        contexts.insert(name.clone(), app.builds.contexts.take(id)?);
        if name != MAIN {
            named.insert(context_name(name), NamedContext::Local(name.clone()));
        }
    }
    for (name, value) in &extras.named {
        named.insert(context_name(name), named_context(value)?);
    }
    let secrets = secrets(&extras.secrets)?;
    let platforms = extras.platforms.iter().map(|text| parse_platform(text));
    let platforms: Vec<Platform> = platforms.collect::<Result<_, _>>()?;
    let mut request = with_contexts(options, contexts, extras.dockerfile, extras.ignore)?;
    request.named_contexts = named;
    request.secrets = Arc::new(secrets);
    request.entitlements = extras.entitlements;
    request.no_cache_filter = extras.no_cache_filter;
    if !extras.ssh.is_empty() {
        request.ssh = Arc::new(Offered {
            runtime: tokio::runtime::Handle::current(),
            agents: Arc::clone(&app.builds.agents),
            token: extras.agent_token,
            ids: extras.ssh,
        });
    }
    request.allow_include = extras.include;
    if !platforms.is_empty() {
        request.platforms = platforms;
    }
    let mut attest = Attest::default();
    for (kind, settings) in &extras.attests {
        attest.add(kind, settings).map_err(Failure::invalid)?;
    }
    let mut annotations = Vec::new();
    for (name, value) in &extras.annotations {
        let wrong = |why| Failure::invalid(format!("invalid annotation {name}={value}: {why}"));
        annotations.push(Annotation::parse(name, value).map_err(wrong)?);
    }
    for cache in extras.cache_from {
        request.cache_from.push(cache_source(app, cache)?);
    }
    Ok(Prepared {
        call: extras.call,
        outputs: extras
            .outputs
            .into_iter()
            .map(|output| wanted(options, output))
            .collect::<Result<_, _>>()?,
        attest,
        annotations,
        cache_to: extras
            .cache_to
            .into_iter()
            .map(cache_target)
            .chain(options.inline_cache().map(Ok))
            .collect::<Result<_, _>>()?,
        ..options.prepared(request)
    })
}

fn wanted(options: &Options, output: BuildOutput) -> Result<Wanted, Failure> {
    let mut names = options.names.clone();
    for text in &output.names {
        let name = name(text)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(Wanted {
        kind: output.kind,
        names,
        compression: match output.compression.as_str() {
            "" | "gzip" => LayerCompression::Gzip,
            "zstd" => LayerCompression::Zstd,
            "uncompressed" => LayerCompression::None,
            other => {
                let message = format!("unsupported compression type: {other}");
                return Err(Failure::invalid(message));
            }
        },
        split: output.platform_split,
    })
}

fn cache_source(app: &App, cache: BuildCache) -> Result<CacheSource, Failure> {
    match cache.kind.as_str() {
        "registry" => Ok(CacheSource::Image(cache.reference)),
        "local" => {
            let tree = app.builds.contexts.take(&cache.reference)?;
            Ok(CacheSource::Layout(tree, None))
        }
        other => Err(unknown_cache("importer", other)),
    }
}

fn cache_target(cache: BuildCache) -> Result<CacheTarget, Failure> {
    Ok(CacheTarget {
        kind: match cache.kind.as_str() {
            "registry" => CacheKind::Registry(cache.reference),
            "local" => CacheKind::Local,
            "inline" => CacheKind::Inline,
            other => return Err(unknown_cache("exporter", other)),
        },
        all: cache.all,
        ignore_error: cache.ignore_error,
    })
}

fn unknown_cache(what: &str, kind: &str) -> Failure {
    Failure::invalid(format!(
        "unknown cache {what}: {kind:?}: there are registry, local and inline"
    ))
}

fn named_context(value: &str) -> Result<NamedContext, Failure> {
    if let Some(image) = value.strip_prefix("docker-image://") {
        return Ok(NamedContext::Image(image.to_owned()));
    }
    // As `hull compose` calls what it has just built: no registry is asked for it.
    if let Some(image) = value.strip_prefix("stored-image://") {
        return Ok(NamedContext::Stored(image.to_owned()));
    }
    let is_http = value.starts_with("http://") || value.starts_with("https://");
    if is_http || hull_build::git::is_repository(value) {
        return Ok(NamedContext::Url(value.to_owned()));
    }
    Err(Failure::invalid(format!(
        "the context {value:?} is neither a directory, docker-image:// nor an address"
    )))
}

/// The Dockerfile and what it may see.
fn with_contexts(
    options: &Options,
    contexts: BTreeMap<String, Arc<Tree>>,
    text: Option<String>,
    ignore: Option<String>,
) -> Result<BuildRequest, Error> {
    let invalid = |message: String| Error::Invalid {
        message,
        place: None,
    };
    let name = match options.dockerfile.trim_start_matches("./") {
        "" => "Dockerfile",
        name => name,
    };
    let main = contexts.get(MAIN);
    let read = |path: &str| match main {
        Some(tree) => tree.read(path, TEXT_BYTES_MAX).map_err(invalid),
        None => Ok(None),
    };
    let utf8 = |bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| invalid(format!("{name} is not UTF-8 text")))
    };
    let is_elsewhere = text.is_some();
    let text = match text {
        Some(text) => text,
        None => {
            // What people type is found whatever its case, as Docker does for the default name.
            let mut content = read(name)?;
            if content.is_none() && name == "Dockerfile" {
                content = read("dockerfile")?;
            }
            let missing = || invalid(format!("Cannot locate specified Dockerfile: {name}"));
            utf8(content.ok_or_else(missing)?)?
        }
    };
    // A Dockerfile has its own beside it.
    let own = match ignore {
        Some(text) => Some(text.into_bytes()),
        None if is_elsewhere => None,
        None => read(&format!("{name}.dockerignore"))?,
    };
    let ignore = match own {
        None => read(".dockerignore")?,
        own => own,
    };
    let has_context = main.is_some();
    let mut request = options.request(name.to_owned(), text);
    request.ignore = utf8(ignore.unwrap_or_default())?;
    request.has_context = has_context;
    request.contexts = Arc::new(Local(contexts));
    Ok(request)
}

/// Directories that are here already.
struct Local(BTreeMap<String, Arc<Tree>>);

impl Contexts for Local {
    fn tree(&self, name: &str, _: &hull_build::request::Wanted) -> Result<Arc<Tree>, String> {
        let tree = self.0.get(name).cloned();
        tree.ok_or_else(|| format!("there is no context {name:?} in this build"))
    }

    fn file(&self, name: &str, path: &str) -> Result<Option<Vec<u8>>, String> {
        match self.0.get(name) {
            Some(tree) => tree.read(path, TEXT_BYTES_MAX),
            None => Ok(None),
        }
    }
}
