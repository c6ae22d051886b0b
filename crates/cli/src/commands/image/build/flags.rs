//! The flags of a build, and what they become.

use std::collections::BTreeMap;

use base64::Engine as _;
use hull_api::query::Query;
use hull_api::types::BuildExtras;

use crate::context::{DEFAULT, Globals};
use crate::error::{Error, Result};
use crate::flags::{FlagSet, List, Map, One, Value, parse_bool};
use crate::options::csv;
use crate::options::host::ExtraHost;
use crate::options::limit::{self, Limit};
use crate::options::number::{Bytes, SwapBytes};

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Progress {
    /// A live tree in a terminal, lines elsewhere.
    #[default]
    Auto,
    Plain,
    Tty,
    RawJson,
    Quiet,
}

impl Value for Progress {
    fn set(&mut self, text: &str) -> std::result::Result<(), String> {
        *self = match text {
            "auto" => Self::Auto,
            "plain" => Self::Plain,
            "tty" => Self::Tty,
            "rawjson" => Self::RawJson,
            "quiet" | "none" => Self::Quiet,
            other => return Err(format!("invalid progress mode {other:?}")),
        };
        Ok(())
    }
}

/// What is asked instead of a build.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// `check`, `outline` or `targets`; empty: nothing, it is a build.
    pub(super) name: String,
    /// The answer is a document.
    pub(super) is_json: bool,
    /// What a check finds is no failure.
    pub(super) ignores_status: bool,
}

#[derive(Default)]
pub(super) struct Flags {
    add_hosts: List<ExtraHost>,
    allow: Vec<String>,
    annotations: Vec<String>,
    attests: Vec<String>,
    build_args: Vec<String>,
    pub(super) build_contexts: Map,
    builder: String,
    pub(super) cache_from: Vec<String>,
    pub(super) cache_to: Vec<String>,
    call: String,
    cgroup_parent: String,
    check: bool,
    compress: bool,
    pub(super) disable_content_trust: Option<bool>,
    cpu_period: i64,
    cpu_quota: i64,
    cpu_shares: i64,
    cpuset_cpus: String,
    cpuset_mems: String,
    pub(super) file: String,
    force_rm: bool,
    pub(super) iidfile: String,
    include: bool,
    isolation: String,
    labels: Vec<String>,
    pub(super) load: bool,
    memory: One<Bytes>,
    memory_swap: One<SwapBytes>,
    pub(super) metadata_file: String,
    network: String,
    no_cache: bool,
    no_cache_filter: Vec<String>,
    pub(super) outputs: Vec<String>,
    platforms: Vec<String>,
    pub(super) progress: Progress,
    provenance: String,
    pull: bool,
    pub(super) push: bool,
    pub(super) quiet: bool,
    rm: Option<bool>,
    sbom: String,
    secrets: Vec<String>,
    security_opt: Vec<String>,
    shm_size: One<Bytes>,
    squash: bool,
    pub(super) ssh: Vec<String>,
    pub(super) tags: Vec<String>,
    target: String,
    ulimits: List<Limit>,
}

impl Flags {
    #[rustfmt::skip]
    pub(super) fn bind<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("add-host", "strings", "Add a custom host-to-IP mapping (format: \"host:ip\")", &mut self.add_hosts);
        set.add("allow", "stringArray", "Allow extra privileged entitlement (e.g., \"network.host\", \"security.insecure\")", &mut self.allow);
        set.add("annotation", "stringArray", "Add annotation to the image", &mut self.annotations);
        set.add("attest", "stringArray", "Attestation parameters (format: \"type=sbom,generator=image\")", &mut self.attests);
        set.add("build-arg", "stringArray", "Set build-time variables", &mut self.build_args);
        set.add("build-context", "stringArray", "Additional build contexts (e.g., name=path)", &mut self.build_contexts);
        set.add("builder", "string", "Override the configured builder instance", &mut self.builder);
        set.add("cache-from", "stringArray", "External cache sources (e.g., \"user/app:cache\", \"type=local,src=path/to/dir\")", &mut self.cache_from);
        set.add("cache-to", "stringArray", "Cache export destinations (e.g., \"user/app:cache\", \"type=local,dest=path/to/dir\")", &mut self.cache_to);
        set.add("call", "string", "Set method for evaluating build (\"check\", \"outline\", \"targets\")", &mut self.call);
        set.add("cgroup-parent", "string", "Set the parent cgroup for the \"RUN\" instructions during build", &mut self.cgroup_parent);
        set.add("check", "", "Shorthand for \"--call=check\"", &mut self.check);
        set.add("compress", "", "Compress the build context using gzip", &mut self.compress);
        set.add("cpu-period", "int", "Limit the CPU CFS (Completely Fair Scheduler) period", &mut self.cpu_period);
        set.add("cpu-quota", "int", "Limit the CPU CFS (Completely Fair Scheduler) quota", &mut self.cpu_quota);
        set.add("c,cpu-shares", "int", "CPU shares (relative weight)", &mut self.cpu_shares);
        set.add("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)", &mut self.cpuset_cpus);
        set.add("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)", &mut self.cpuset_mems);
        set.hidden("disable-content-trust", "", &mut self.disable_content_trust);
        set.add("f,file", "string", "Name of the Dockerfile (default: \"PATH/Dockerfile\")", &mut self.file);
        set.add("force-rm", "", "Always remove intermediate containers", &mut self.force_rm);
        set.add("iidfile", "string", "Write the image ID to a file", &mut self.iidfile);
        set.add("include", "", "Allow INCLUDE instructions (an extension of the Dockerfile language)", &mut self.include);
        set.add("isolation", "string", "Container isolation technology", &mut self.isolation);
        set.add("label", "stringArray", "Set metadata for an image", &mut self.labels);
        set.add("load", "", "Shorthand for \"--output=type=docker\"", &mut self.load);
        set.add("m,memory", "bytes", "Memory limit", &mut self.memory);
        set.add("memory-swap", "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap", &mut self.memory_swap);
        set.add("metadata-file", "string", "Write build result metadata to a file", &mut self.metadata_file);
        set.add("network", "string", "Set the networking mode for the \"RUN\" instructions during build (default \"default\")", &mut self.network);
        set.add("no-cache", "", "Do not use cache when building the image", &mut self.no_cache);
        set.add("no-cache-filter", "stringArray", "Do not cache specified stages", &mut self.no_cache_filter);
        set.add("o,output", "stringArray", "Output destination (format: \"type=local,dest=path\")", &mut self.outputs);
        set.add("platform", "stringArray", "Set target platform for build", &mut self.platforms);
        set.add("progress", "string", "Set type of progress output (\"auto\", \"none\",  \"plain\", \"quiet\", \"rawjson\", \"tty\"). Use plain to show container output", &mut self.progress);
        set.add("provenance", "string", "Shorthand for \"--attest=type=provenance\"", &mut self.provenance);
        set.add("pull", "", "Always attempt to pull all referenced images", &mut self.pull);
        set.add("push", "", "Shorthand for \"--output=type=registry,unpack=false\"", &mut self.push);
        set.add("q,quiet", "", "Suppress the build output and print image ID on success", &mut self.quiet);
        set.add("rm", "", "Remove intermediate containers after a successful build", &mut self.rm);
        set.add("sbom", "string", "Shorthand for \"--attest=type=sbom\"", &mut self.sbom);
        set.add("secret", "stringArray", "Secret to expose to the build (format: \"id=mysecret[,src=/local/secret]\")", &mut self.secrets);
        set.add("security-opt", "stringArray", "Security options", &mut self.security_opt);
        set.add("shm-size", "bytes", "Shared memory size for build containers", &mut self.shm_size);
        set.add("squash", "", "Squash newly built layers into a single new layer", &mut self.squash);
        set.add("ssh", "stringArray", "SSH agent socket or keys to expose to the build (format: \"default|<id>[=<socket>|<key>[,<key>]]\")", &mut self.ssh);
        set.add("t,tag", "stringArray", "Image identifier (format: \"[registry/]repository[:tag]\")", &mut self.tags);
        set.add("target", "string", "Set the target build stage to build", &mut self.target);
        set.add("ulimit", "ulimit", "Ulimit options", &mut self.ulimits);
    }

    /// What this version does not do is refused, not ignored.
    pub(super) fn check(&self, globals: &Globals) -> Result<()> {
        let absent = |flag: &str, why: &str| {
            Err(Error::new(format!(
                "--{flag} is not available in this version{why}"
            )))
        };
        if !matches!(self.isolation.as_str(), "" | "default") {
            return absent("isolation", ": there is one kind on Linux, default");
        }
        if !self.security_opt.is_empty() {
            return absent("security-opt", "");
        }
        // A context's daemon is its builder.
        let builder = self.builder.as_str();
        let is_here = builder.is_empty() || [DEFAULT, &globals.context_name()].contains(&builder);
        if !is_here {
            let message = format!("no builder {builder:?} found");
            return Err(match globals.contexts().has(builder) {
                true => Error::new(message)
                    .with_hint(format!("there is a context: `--context {builder}`")),
                false => Error::new(message)
                    .with_hint("here the daemon itself builds: leave --builder out"),
            });
        }
        for entitlement in split(&self.allow) {
            let is_device = entitlement == "device" || entitlement.starts_with("device=");
            if !is_device && !matches!(&*entitlement, "network.host" | "security.insecure") {
                let message = format!("unknown entitlement {entitlement:?}");
                let hint = "there are network.host, security.insecure and device[=NAME]";
                return Err(Error::new(message).with_hint(hint));
            }
        }
        Ok(())
    }

    pub(super) fn query(&self, dockerfile: &str) -> Result<Query> {
        let mut query = Query::default();
        for tag in &self.tags {
            query.add("t", tag);
        }
        query
            .add_some("dockerfile", dockerfile)
            .add_some("target", &self.target)
            .add_some("networkmode", &self.network)
            .add_some("cgroupparent", &self.cgroup_parent)
            .add_some("cpusetcpus", &self.cpuset_cpus)
            .add_some("cpusetmems", &self.cpuset_mems)
            .add_flag("nocache", self.no_cache)
            .add_flag("pull", self.pull)
            .add_flag("squash", self.squash);
        for (name, value) in [
            ("cpuperiod", self.cpu_period),
            ("cpuquota", self.cpu_quota),
            ("cpushares", self.cpu_shares),
            ("memory", self.memory.0.map_or(0, |bytes| bytes.0)),
            ("memswap", self.memory_swap.0.map_or(0, |bytes| bytes.0)),
            ("shmsize", self.shm_size.0.map_or(0, |bytes| bytes.0)),
        ] {
            if value != 0 {
                query.add(name, value.to_string());
            }
        }
        let hosts: Vec<&String> = self.add_hosts.0.iter().map(|host| &host.0).collect();
        if !hosts.is_empty() {
            query.add("extrahosts", json(&hosts));
        }
        query.add("buildargs", json(&self.args()));
        query.add("labels", json(&pairs(&self.labels)));
        if !self.ulimits.0.is_empty() {
            query.add("ulimits", json(&limit::settled(&self.ulimits.0)));
        }
        Ok(query)
    }

    /// A name without a value takes the one of the environment, if there is one.
    fn args(&self) -> BTreeMap<String, Option<String>> {
        let pair = |text: &String| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (text.clone(), std::env::var(text).ok()),
        };
        let mut args: BTreeMap<_, _> = self.build_args.iter().map(pair).collect();
        if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
            let name = "SOURCE_DATE_EPOCH".to_owned();
            args.entry(name).or_insert(Some(epoch));
        }
        args
    }

    /// Whether a repository that is the context keeps its `.git`.
    pub(super) fn keeps_git(&self) -> bool {
        let args = self.args();
        let wanted = args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR").cloned().flatten();
        wanted.is_some_and(|text| crate::flags::parse_bool(&text) == Ok(true))
    }

    /// What shall be stated about the image: kinds, and their settings.
    fn attests(&self) -> Result<Vec<(String, String)>> {
        let mut attests = Vec::new();
        for text in &self.attests {
            let fields: Vec<&str> = text.split(',').collect();
            settings(text)?;
            let kind = fields.iter().find_map(|field| field.strip_prefix("type="));
            let kind = kind
                .ok_or_else(|| Error::new(format!("attestation type not specified in {text:?}")))?;
            let rest: Vec<&str> = fields
                .iter()
                .filter(|field| !field.starts_with("type="))
                .copied()
                .collect();
            attests.push((kind.to_owned(), rest.join(",")));
        }
        for (kind, text) in [("provenance", &self.provenance), ("sbom", &self.sbom)] {
            match text.as_str() {
                "" | "false" | "0" | "mode=none" => {}
                "true" | "1" => attests.push((kind.to_owned(), String::new())),
                given => {
                    settings(given)?;
                    attests.push((kind.to_owned(), given.to_owned()));
                }
            }
        }
        Ok(attests)
    }

    /// What is asked instead of a build.
    pub(super) fn call(&self) -> Result<Asked> {
        if self.check && self.call.is_empty() {
            return Ok(Asked {
                name: "check".to_owned(),
                ..Asked::default()
            });
        }
        let mut asked = Asked::default();
        for field in csv::fields(&self.call).map_err(Error::new)? {
            let bad = || Error::new(format!("invalid --call {field:?}"));
            match field.split_once('=') {
                None if asked.name.is_empty() => field.clone_into(&mut asked.name),
                Some(("format", "json")) => asked.is_json = true,
                Some(("format", "text")) => asked.is_json = false,
                Some(("ignorestatus", value)) => {
                    asked.ignores_status = parse_bool(value).map_err(|_| bad())?;
                }
                _ => {
                    return Err(bad().with_hint(
                        "for example `--call check`, `--call targets,format=json`, \
                         `--call check,ignorestatus=true`",
                    ));
                }
            }
        }
        if asked.name == "build" {
            asked.name.clear();
        }
        Ok(asked)
    }

    /// Words on the image, each for all places that it names.
    fn annotations(&self) -> Result<Vec<(String, String)>> {
        let mut all = Vec::new();
        for text in &self.annotations {
            let (name, value) = text.split_once('=').ok_or_else(|| {
                Error::new(format!("invalid annotation {text:?}, expected key=value"))
            })?;
            let (places, key) = match name.split_once(':') {
                Some((places, key)) if places.split(',').all(is_place) => (places, key),
                _ => ("manifest", name),
            };
            let named = |place: &str| (format!("-{place}.{key}"), value.to_owned());
            all.extend(places.split(',').map(named));
        }
        Ok(all)
    }

    pub(super) fn extras(&self) -> Result<BuildExtras> {
        let mut secrets = BTreeMap::new();
        for text in &self.secrets {
            let (id, content) = secret(text)?;
            let encoded = base64::engine::general_purpose::STANDARD.encode(content);
            secrets.insert(id, encoded);
        }
        Ok(BuildExtras {
            attests: self.attests()?,
            annotations: self.annotations()?,
            secrets,
            entitlements: split(&self.allow),
            no_cache_filter: split(&self.no_cache_filter),
            platforms: match crate::commands::image::default_platform() {
                default if self.platforms.is_empty() && !default.is_empty() => split(&[default]),
                _ => split(&self.platforms),
            },
            call: self.call()?.name,
            include: self.include,
            ..BuildExtras::default()
        })
    }
}

/// Refuses settings that are no pairs.
fn settings(text: &str) -> Result<()> {
    match text.split(',').find(|field| !field.contains('=')) {
        Some(field) => Err(Error::new(format!(
            "invalid attestation setting {field:?}: expected NAME=VALUE, for example mode=max"
        ))),
        None => Ok(()),
    }
}

fn split(list: &[String]) -> Vec<String> {
    let all = list.iter().flat_map(|text| text.split(','));
    all.map(|text| text.trim().to_owned()).collect()
}

/// Whether an annotation may be said there: `index`, `manifest[linux/arm64]`.
fn is_place(text: &str) -> bool {
    let name = text.split('[').next().unwrap_or_default();
    matches!(
        name,
        "manifest" | "manifest-descriptor" | "index" | "index-descriptor"
    )
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn pairs(list: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    list.iter().map(pair).collect()
}

/// `id=ID[,src=PATH|env=NAME]`: the id and what it holds.
fn secret(text: &str) -> Result<(String, Vec<u8>)> {
    let (mut id, mut source, mut variable) = (String::new(), String::new(), String::new());
    let mut kind = String::new();
    for field in text.split(',') {
        let invalid = || Error::new(format!("invalid field '{field}' must be a key=value pair"));
        let (key, value) = field.split_once('=').ok_or_else(invalid)?;
        match key.to_ascii_lowercase().as_str() {
            "id" => value.clone_into(&mut id),
            "src" | "source" => value.clone_into(&mut source),
            "env" => value.clone_into(&mut variable),
            "type" => value.clone_into(&mut kind),
            _ => return Err(Error::new(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    if id.is_empty() {
        return Err(Error::new(format!("the secret {text:?} has no id")));
    }
    // As Docker has it: what names no source is a variable of that name, or else a file.
    if source.is_empty() && variable.is_empty() && kind != "file" && std::env::var(&id).is_ok() {
        variable.clone_from(&id);
    }
    if kind == "env" && variable.is_empty() {
        variable.clone_from(if source.is_empty() { &id } else { &source });
    }
    if !variable.is_empty() {
        let value = std::env::var_os(&variable);
        let value =
            value.ok_or_else(|| Error::new(format!("the variable {variable} is not set")))?;
        return Ok((id, value.into_encoded_bytes()));
    }
    let path = if source.is_empty() { &id } else { &source };
    let content = std::fs::read(path).map_err(|error| Error::io("read", path, &error))?;
    Ok((id, content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Program;

    #[test]
    fn what_is_asked_instead_of_a_build() {
        let asked = |call: &str, check: bool| {
            Flags {
                call: call.to_owned(),
                check,
                ..Flags::default()
            }
            .call()
        };
        let targets = asked("targets,format=json", false).unwrap();
        assert_eq!((targets.name.as_str(), targets.is_json), ("targets", true));
        assert_eq!(asked("build", false).unwrap(), Asked::default());
        assert_eq!(asked("", false).unwrap(), Asked::default());
        assert_eq!(asked("", true).unwrap().name, "check");
        assert!(
            asked("check,ignorestatus=true", false)
                .unwrap()
                .ignores_status
        );
        for wrong in ["targets,format=xml", "check,outline", "check,x=y"] {
            assert!(asked(wrong, false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let globals = Globals::new(Program::Hull);
        let flags = |change: fn(&mut Flags)| {
            let mut flags = Flags::default();
            change(&mut flags);
            let outcome = flags
                .check(&globals)
                .and_then(|()| flags.attests().map(drop));
            outcome.map_err(|error| error.message().to_owned())
        };
        assert_eq!(flags(|flags| flags.builder = "default".to_owned()), Ok(()));
        let allowed = |flags: &mut Flags| flags.allow.push("network.host,device=a/b=c".to_owned());
        assert_eq!(flags(allowed), Ok(()));
        let text = flags(|flags| flags.builder = "nosuch".to_owned()).unwrap_err();
        assert_eq!(text, "no builder \"nosuch\" found");
        let text = flags(|flags| flags.allow.push("foo".to_owned())).unwrap_err();
        assert_eq!(text, "unknown entitlement \"foo\"");
        let text = flags(|flags| flags.provenance = "xx".to_owned()).unwrap_err();
        assert!(text.contains("\"xx\""), "{text}");
        assert_eq!(
            flags(|flags| flags.provenance = "mode=max".to_owned()),
            Ok(())
        );
    }
}
