//! Which operation a request means. Pure.
//!
//! Patterns are written as in the API's reference. `{id}` stands for one segment, `{name...}` for
//! one or more, for image names have slashes.

use http::Method;
use hull_api::{ApiVersion, query::decoded_path};

use super::answer::Failure;

/// An operation of the Engine API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Ping,
    PingHead,
    Version,
    Info,
    Events,
    DiskUsage,
    /// Hull's own: what of the data root belongs to whom.
    DiskAccount,
    /// Hull's own: keeps a project of Compose for one client.
    ProjectHold,
    /// Hull's own: what is damaged, missing or nobody's.
    Fsck,
    Options,
    ContainerList,
    ContainerCreate,
    ContainerInspect,
    ContainerTop,
    ContainerLogs,
    ContainerChanges,
    ContainerExport,
    ContainerStats,
    ContainerResize,
    ContainerStart,
    ContainerStop,
    ContainerRestart,
    ContainerKill,
    ContainerUpdate,
    ContainerRename,
    ContainerPause,
    ContainerUnpause,
    ContainerAttach,
    ContainerAttachSocket,
    ContainerWait,
    ContainerRemove,
    ArchiveStat,
    ArchiveGet,
    ArchivePut,
    ContainerPrune,
    /// Hull's own: hands it files that lie on no disk in the clear.
    ContainerSeal,
    ContainerSealed,
    ContainerSealCompare,
    Commit,
    ExecCreate,
    ExecStart,
    ExecResize,
    ExecInspect,
    ImageList,
    ImageCreate,
    ImageInspect,
    ImageHistory,
    ImageTag,
    ImageRemove,
    ImageSave,
    ImageSaveMany,
    ImageLoad,
    ImagePrune,
    Registry(RegistryOp),
    ImageAttestations,
    Manifest(ManifestOp),
    NetworkList,
    NetworkInspect,
    NetworkConnect,
    NetworkCreate,
    NetworkDisconnect,
    NetworkRemove,
    NetworkPrune,
    Volume(VolumeOp),
    Build(BuildOp),
    /// BuildKit's services, on the connection itself.
    Grpc,
    /// A client's services, on the connection itself.
    Session,
    /// Docker's own answer of a daemon outside a swarm.
    NoSwarm,
    /// There are no plugins, so there are none to show.
    PluginList,
    /// There are no plugins, so none has that name.
    NoSuchPlugin,
    /// Known to Docker, not to Hull yet.
    Absent(&'static str),
}

impl Op {
    /// Whether what is said there is nobody's business but the client's: passwords, sealed files.
    pub(crate) fn is_secret(self) -> bool {
        matches!(
            self,
            Self::Registry(RegistryOp::Login) | Self::ContainerSeal | Self::ContainerSealCompare
        )
    }
}

/// An operation on volumes; those after `Prune` are Hull's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VolumeOp {
    List,
    Create,
    Inspect,
    Remove,
    Prune,
    Rename,
    Clone,
    Export,
    Import,
    Push,
    Pull,
    ArchiveStat,
    ArchiveGet,
    ArchivePut,
}

/// An operation on lists of manifests, Hull's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ManifestOp {
    Create,
    Annotate,
    Inspect,
    Push,
    Remove,
}

/// An operation of builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BuildOp {
    Build,
    Cancel,
    Prune,
    /// Hull's own: what a client has.
    Context,
    /// Hull's own: what the daemon lacks of it.
    Fill,
    /// Hull's own: a connection to the client's ssh agent, for the next step that wants one.
    Agent,
}

/// An operation that asks a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegistryOp {
    Push,
    Search,
    Distribution,
    Login,
}

/// What a request means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) op: Op,
    pub(crate) version: ApiVersion,
    pub(crate) names: Vec<String>,
}

const GET: &Method = &Method::GET;
const HEAD: &Method = &Method::HEAD;
const POST: &Method = &Method::POST;
const PUT: &Method = &Method::PUT;
const DELETE: &Method = &Method::DELETE;

const PLUGINS: Op = Op::Absent("installing plugins");

/// First match wins: fixed names stand before placeholders.
#[rustfmt::skip]
pub(crate) const ROUTES: &[(&Method, &str, Op)] = &[
    (HEAD, "/_ping", Op::PingHead),
    (GET, "/_ping", Op::Ping),
    (GET, "/version", Op::Version),
    (GET, "/info", Op::Info),
    (GET, "/events", Op::Events),
    (GET, "/system/df", Op::DiskUsage),
    (GET, "/hull/system/account", Op::DiskAccount),
    (POST, "/hull/system/fsck", Op::Fsck),
    (POST, "/hull/projects/{name}/hold", Op::ProjectHold),
    (PUT, "/hull/containers/{id}/sealed", Op::ContainerSeal),
    (GET, "/hull/containers/{id}/sealed", Op::ContainerSealed),
    (POST, "/hull/containers/{id}/sealed/compare", Op::ContainerSealCompare),
    (POST, "/hull/manifests/{name...}/annotate", Op::Manifest(ManifestOp::Annotate)),
    (POST, "/hull/manifests/{name...}/push", Op::Manifest(ManifestOp::Push)),
    (POST, "/hull/manifests/{name...}", Op::Manifest(ManifestOp::Create)),
    (GET, "/hull/manifests/{name...}", Op::Manifest(ManifestOp::Inspect)),
    (DELETE, "/hull/manifests/{name...}", Op::Manifest(ManifestOp::Remove)),
    (POST, "/auth", Op::Registry(RegistryOp::Login)),
    (GET, "/containers/json", Op::ContainerList),
    (POST, "/containers/create", Op::ContainerCreate),
    (POST, "/containers/prune", Op::ContainerPrune),
    (GET, "/containers/{id}/json", Op::ContainerInspect),
    (GET, "/containers/{id}/top", Op::ContainerTop),
    (GET, "/containers/{id}/logs", Op::ContainerLogs),
    (GET, "/containers/{id}/changes", Op::ContainerChanges),
    (GET, "/containers/{id}/export", Op::ContainerExport),
    (GET, "/containers/{id}/stats", Op::ContainerStats),
    (POST, "/containers/{id}/resize", Op::ContainerResize),
    (POST, "/containers/{id}/start", Op::ContainerStart),
    (POST, "/containers/{id}/stop", Op::ContainerStop),
    (POST, "/containers/{id}/restart", Op::ContainerRestart),
    (POST, "/containers/{id}/kill", Op::ContainerKill),
    (POST, "/containers/{id}/update", Op::ContainerUpdate),
    (POST, "/containers/{id}/rename", Op::ContainerRename),
    (POST, "/containers/{id}/pause", Op::ContainerPause),
    (POST, "/containers/{id}/unpause", Op::ContainerUnpause),
    (POST, "/containers/{id}/attach", Op::ContainerAttach),
    (GET, "/containers/{id}/attach/ws", Op::ContainerAttachSocket),
    (POST, "/containers/{id}/wait", Op::ContainerWait),
    (HEAD, "/containers/{id}/archive", Op::ArchiveStat),
    (GET, "/containers/{id}/archive", Op::ArchiveGet),
    (PUT, "/containers/{id}/archive", Op::ArchivePut),
    (POST, "/containers/{id}/exec", Op::ExecCreate),
    (GET, "/containers/{id}/checkpoints", Op::Absent("checkpoints")),
    (POST, "/containers/{id}/checkpoints", Op::Absent("checkpoints")),
    (DELETE, "/containers/{id}/checkpoints/{checkpoint}", Op::Absent("checkpoints")),
    (DELETE, "/containers/{id}", Op::ContainerRemove),
    (POST, "/commit", Op::Commit),
    (POST, "/exec/{id}/start", Op::ExecStart),
    (POST, "/exec/{id}/resize", Op::ExecResize),
    (GET, "/exec/{id}/json", Op::ExecInspect),
    (GET, "/images/json", Op::ImageList),
    (GET, "/images/search", Op::Registry(RegistryOp::Search)),
    (GET, "/images/get", Op::ImageSaveMany),
    (POST, "/images/create", Op::ImageCreate),
    (POST, "/images/load", Op::ImageLoad),
    (POST, "/images/prune", Op::ImagePrune),
    (GET, "/images/{name...}/get", Op::ImageSave),
    (GET, "/images/{name...}/history", Op::ImageHistory),
    (GET, "/images/{name...}/json", Op::ImageInspect),
    (GET, "/images/{name...}/attestations", Op::ImageAttestations),
    (POST, "/images/{name...}/push", Op::Registry(RegistryOp::Push)),
    (POST, "/images/{name...}/tag", Op::ImageTag),
    (DELETE, "/images/{name...}", Op::ImageRemove),
    (GET, "/distribution/{name...}/json", Op::Registry(RegistryOp::Distribution)),
    (POST, "/build", Op::Build(BuildOp::Build)),
    (POST, "/build/prune", Op::Build(BuildOp::Prune)),
    (POST, "/build/cancel", Op::Build(BuildOp::Cancel)),
    (POST, "/hull/build/context", Op::Build(BuildOp::Context)),
    (PUT, "/hull/build/context/{id}", Op::Build(BuildOp::Fill)),
    (POST, "/hull/build/agent/{id}", Op::Build(BuildOp::Agent)),
    (POST, "/session", Op::Session),
    (POST, "/grpc", Op::Grpc),
    (GET, "/networks", Op::NetworkList),
    (GET, "/networks/", Op::NetworkList),
    (GET, "/networks/{id...}", Op::NetworkInspect),
    (POST, "/networks/create", Op::NetworkCreate),
    (POST, "/networks/prune", Op::NetworkPrune),
    (POST, "/networks/{id...}/connect", Op::NetworkConnect),
    (POST, "/networks/{id...}/disconnect", Op::NetworkDisconnect),
    (DELETE, "/networks/{id...}", Op::NetworkRemove),
    (GET, "/volumes", Op::Volume(VolumeOp::List)),
    (POST, "/volumes/create", Op::Volume(VolumeOp::Create)),
    (POST, "/volumes/prune", Op::Volume(VolumeOp::Prune)),
    (POST, "/volumes/pull", Op::Volume(VolumeOp::Pull)),
    (POST, "/volumes/{name}/push", Op::Volume(VolumeOp::Push)),
    (POST, "/volumes/{name}/rename", Op::Volume(VolumeOp::Rename)),
    (POST, "/volumes/{name}/clone", Op::Volume(VolumeOp::Clone)),
    (GET, "/volumes/{name}/export", Op::Volume(VolumeOp::Export)),
    (POST, "/volumes/{name}/import", Op::Volume(VolumeOp::Import)),
    (HEAD, "/volumes/{name}/archive", Op::Volume(VolumeOp::ArchiveStat)),
    (GET, "/volumes/{name}/archive", Op::Volume(VolumeOp::ArchiveGet)),
    (PUT, "/volumes/{name}/archive", Op::Volume(VolumeOp::ArchivePut)),
    (GET, "/volumes/{name...}", Op::Volume(VolumeOp::Inspect)),
    (PUT, "/volumes/{name...}", Op::NoSwarm),
    (DELETE, "/volumes/{name...}", Op::Volume(VolumeOp::Remove)),
    (GET, "/swarm", Op::NoSwarm),
    (POST, "/swarm/init", Op::Absent("swarm mode")),
    (POST, "/swarm/join", Op::Absent("swarm mode")),
    (POST, "/swarm/leave", Op::NoSwarm),
    (POST, "/swarm/update", Op::NoSwarm),
    (GET, "/swarm/unlockkey", Op::NoSwarm),
    (POST, "/swarm/unlock", Op::NoSwarm),
    (GET, "/nodes", Op::NoSwarm),
    (GET, "/nodes/{id}", Op::NoSwarm),
    (DELETE, "/nodes/{id}", Op::NoSwarm),
    (POST, "/nodes/{id}/update", Op::NoSwarm),
    (GET, "/services", Op::NoSwarm),
    (POST, "/services/create", Op::NoSwarm),
    (GET, "/services/{id}", Op::NoSwarm),
    (DELETE, "/services/{id}", Op::NoSwarm),
    (POST, "/services/{id}/update", Op::NoSwarm),
    (GET, "/services/{id}/logs", Op::NoSwarm),
    (GET, "/tasks", Op::NoSwarm),
    (GET, "/tasks/{id}", Op::NoSwarm),
    (GET, "/tasks/{id}/logs", Op::NoSwarm),
    (GET, "/secrets", Op::NoSwarm),
    (POST, "/secrets/create", Op::NoSwarm),
    (GET, "/secrets/{id}", Op::NoSwarm),
    (DELETE, "/secrets/{id}", Op::NoSwarm),
    (POST, "/secrets/{id}/update", Op::NoSwarm),
    (GET, "/configs", Op::NoSwarm),
    (POST, "/configs/create", Op::NoSwarm),
    (GET, "/configs/{id}", Op::NoSwarm),
    (DELETE, "/configs/{id}", Op::NoSwarm),
    (POST, "/configs/{id}/update", Op::NoSwarm),
    (GET, "/plugins", Op::PluginList),
    (GET, "/plugins/privileges", PLUGINS),
    (POST, "/plugins/pull", PLUGINS),
    (POST, "/plugins/create", PLUGINS),
    (GET, "/plugins/{name...}/json", Op::NoSuchPlugin),
    (POST, "/plugins/{name...}/enable", Op::NoSuchPlugin),
    (POST, "/plugins/{name...}/disable", Op::NoSuchPlugin),
    (POST, "/plugins/{name...}/upgrade", Op::NoSuchPlugin),
    (POST, "/plugins/{name...}/push", Op::NoSuchPlugin),
    (POST, "/plugins/{name...}/set", Op::NoSuchPlugin),
    (DELETE, "/plugins/{name...}", Op::NoSuchPlugin),
];

/// What a request means, or why it means nothing.
pub(crate) fn route(method: &Method, path: &str, oldest: ApiVersion) -> Result<Meaning, Failure> {
    let (version, path) = versioned(path, oldest)?;
    if method == Method::OPTIONS {
        return Ok(Meaning {
            op: Op::Options,
            version,
            names: Vec::new(),
        });
    }
    ROUTES
        .iter()
        .filter(|(known, ..)| *known == method)
        .find_map(|(_, pattern, op)| {
            let names = matched(pattern, path)?;
            Some(Meaning {
                op: *op,
                version,
                names,
            })
        })
        .ok_or_else(Failure::no_such_page)
}

/// Takes `/v1.50` off a path; without it the newest version is meant.
fn versioned(path: &str, oldest: ApiVersion) -> Result<(ApiVersion, &str), Failure> {
    let newest = Ok((ApiVersion::MAX, path));
    let Some(rest) = path.strip_prefix("/v") else {
        return newest;
    };
    let (text, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if text.is_empty()
        || !text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        // A path that begins with a `v` by chance: `/volumes`, `/version`.
        return newest;
    }
    let version: ApiVersion = text
        .parse()
        .map_err(|_| Failure::invalid(format!("API version has invalid format: {text}")))?;
    if version > ApiVersion::MAX {
        return Err(Failure::invalid(format!(
            "client version {version} is too new. Maximum supported API version is {}",
            ApiVersion::MAX
        )));
    }
    if version < oldest {
        return Err(Failure::invalid(format!(
            "client version {version} is too old. Minimum supported API version is {oldest}, \
             please upgrade your client to a newer version"
        )));
    }
    Ok((version, path))
}

/// What the placeholders of `pattern` stand for in `path`; `None`: it does not match.
fn matched(pattern: &str, path: &str) -> Option<Vec<String>> {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    let mut names = Vec::new();
    matched_segments(&pattern, &path, &mut names).then_some(names)
}

fn matched_segments(pattern: &[&str], path: &[&str], names: &mut Vec<String>) -> bool {
    let Some((first, pattern_rest)) = pattern.split_first() else {
        return path.is_empty();
    };
    let Some((segment, path_rest)) = path.split_first() else {
        return false;
    };
    if !first.starts_with('{') {
        return first == segment && matched_segments(pattern_rest, path_rest, names);
    }
    if !first.ends_with("...}") {
        if segment.is_empty() {
            return false;
        }
        names.push(decoded_path(segment));
        return matched_segments(pattern_rest, path_rest, names);
    }
    // A name takes all segments that the rest of the pattern leaves.
    let Some(taken) = path
        .len()
        .checked_sub(pattern_rest.len())
        .filter(|taken| *taken > 0)
    else {
        return false;
    };
    let name = decoded_path(&path[..taken].join("/"));
    if name.is_empty() {
        return false;
    }
    names.push(name);
    matched_segments(pattern_rest, &path[taken..], names)
}

#[cfg(test)]
mod tests;
