//! `compose build --print`: what would be built, as a file that buildx's bake reads.

use hull_compose::model::{Project, Service};
use serde_json::{Map, Value as Json, json};

/// What the command line says beside the files.
pub(super) struct Wishes<'w> {
    pub(super) arguments: &'w [String],
    pub(super) ssh: &'w [String],
    pub(super) no_cache: bool,
    pub(super) pull: bool,
    pub(super) push: bool,
    pub(super) check: bool,
}

/// The file for the services that are built; by default those are that are `chosen`. `document` is the
/// project as `compose config` shows it.
pub(super) fn file(
    project: &Project,
    chosen: &Project,
    document: &Json,
    wishes: &Wishes<'_>,
) -> Json {
    let built = project
        .services
        .values()
        .filter(|service| service.build.is_some());
    let mut targets = Map::new();
    for service in built {
        let build = &document["services"][&service.name]["build"];
        targets.insert(name(&service.name), target(project, service, build, wishes));
    }
    let wanted = chosen.services.values();
    let wanted = wanted.filter(|service| service.build.is_some());
    let names: Vec<String> = wanted.map(|service| name(&service.name)).collect();
    json!({"group": {"default": {"targets": names}}, "target": targets})
}

/// Targets have no dots in their names.
fn name(service: &str) -> String {
    service.replace('.', "_")
}

fn target(project: &Project, service: &Service, build: &Json, wishes: &Wishes<'_>) -> Json {
    let mut target = Map::new();
    let mut put = |key: &str, value: Json| {
        let is_empty = match &value {
            Json::Null | Json::Bool(false) => true,
            Json::String(text) => text.is_empty(),
            Json::Array(values) => values.is_empty(),
            Json::Object(values) => values.is_empty(),
            Json::Bool(true) | Json::Number(_) => false,
        };
        if !is_empty {
            target.insert(key.to_owned(), value);
        }
    };
    put("context", build["context"].clone());
    put("contexts", contexts(&build["additional_contexts"]));
    match text(&build["dockerfile_inline"]) {
        "" => put("dockerfile", dockerfile(build).into()),
        inline => put("dockerfile-inline", plain(inline).into()),
    }
    put("args", arguments(&build["args"], wishes.arguments));
    put("labels", labels(project, service, &build["labels"]));
    let own = service.image_name(&project.name);
    let tags = texts(&build["tags"]).into_iter().filter(|tag| *tag != own);
    put("tags", tags.chain([own.clone()]).collect());
    put("cache-from", build["cache_from"].clone());
    put("cache-to", build["cache_to"].clone());
    put("target", build["target"].clone());
    put("secret", secrets(project, service));
    let agents = texts(&build["ssh"])
        .into_iter()
        .chain(wishes.ssh.iter().cloned());
    put(
        "ssh",
        agents
            .map(|agent| {
                if agent.contains('=') {
                    agent
                } else {
                    agent + "="
                }
            })
            .collect(),
    );
    put("platforms", build["platforms"].clone());
    put("pull", (wishes.pull || build["pull"] == true).into());
    put(
        "no-cache",
        (wishes.no_cache || build["no_cache"] == true).into(),
    );
    put("network", build["network"].clone());
    put("shm-size", build["shm_size"].clone());
    put("ulimits", ulimits(&build["ulimits"]));
    put("entitlements", entitlements(build));
    put("extra-hosts", hosts(&build["extra_hosts"]));
    match wishes.check {
        true => put("call", "lint".into()),
        false => put("output", json!([output(service, build, wishes)])),
    }
    put("attest", attestations(build));
    Json::Object(target)
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

fn texts(value: &Json) -> Vec<String> {
    let values = value.as_array().into_iter().flatten();
    values.filter_map(Json::as_str).map(str::to_owned).collect()
}

fn pairs(value: &Json) -> impl Iterator<Item = (&String, &Json)> {
    value.as_object().into_iter().flatten()
}

fn contexts(contexts: &Json) -> Json {
    let named = pairs(contexts).map(|(key, value)| {
        let place = match text(value).strip_prefix("service:") {
            Some(service) => format!("target:{}", name(service)),
            None => text(value).to_owned(),
        };
        (key.clone(), place.into())
    });
    Json::Object(named.collect())
}

/// A file takes it from its context, bake from where it is called.
fn dockerfile(build: &Json) -> String {
    let (context, file) = (text(&build["context"]), text(&build["dockerfile"]));
    match context.starts_with('/') && !file.is_empty() && !file.starts_with('/') {
        true => format!("{}/{file}", context.trim_end_matches('/')),
        false => file.to_owned(),
    }
}

/// Arguments with a value; one without takes that of the caller's environment.
fn arguments(written: &Json, given: &[String]) -> Json {
    let mut arguments: Map<String, Json> = pairs(written)
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for argument in given {
        match argument.split_once('=') {
            Some((key, value)) => _ = arguments.insert(key.to_owned(), value.into()),
            None => {
                if let Ok(value) = std::env::var(argument) {
                    arguments.insert(argument.clone(), value.into());
                }
            }
        }
    }
    for value in arguments.values_mut() {
        if let Json::String(text) = value {
            *text = plain(text);
        }
    }
    Json::Object(arguments)
}

/// Bake puts values in for `${…}`; doubled, it leaves them.
fn plain(text: &str) -> String {
    text.replace("${", "$${")
}

fn labels(project: &Project, service: &Service, written: &Json) -> Json {
    let own = [
        ("project", project.name.as_str()),
        ("service", &service.name),
        ("version", hull_compose::COMPOSE_VERSION),
    ];
    let own = own.map(|(key, value)| (format!("com.docker.compose.{key}"), Json::from(value)));
    let written = pairs(written).map(|(key, value)| (key.clone(), value.clone()));
    Json::Object(written.chain(own).collect())
}

fn secrets(project: &Project, service: &Service) -> Json {
    let wanted = service.build.iter().flat_map(|build| &build.secrets);
    let known = wanted.filter_map(|secret| Some((secret, project.secrets.get(&secret.source)?)));
    known
        .map(|(secret, object)| {
            let id = match secret.target.is_empty() {
                true => &secret.source,
                false => &secret.target,
            };
            match object.environment.is_empty() {
                true => format!("id={id},type=file,src={}", object.file),
                false => format!("id={id},type=env,env={}", object.environment),
            }
        })
        .collect()
}

fn ulimits(limits: &Json) -> Json {
    let limits = pairs(limits).map(|(key, limit)| match limit {
        Json::Object(both) => format!("{key}={}:{}", both["soft"], both["hard"]),
        one => format!("{key}={one}"),
    });
    limits.collect()
}

fn entitlements(build: &Json) -> Json {
    let mut entitlements = texts(&build["entitlements"]);
    if build["privileged"] == true {
        entitlements.push("security.insecure".to_owned());
    }
    entitlements.into_iter().collect()
}

fn hosts(hosts: &Json) -> Json {
    let texts = texts(hosts);
    let pairs = texts.iter().filter_map(|host| host.split_once('='));
    Json::Object(
        pairs
            .map(|(host, address)| (host.to_owned(), address.into()))
            .collect(),
    )
}

fn output(service: &Service, build: &Json, wishes: &Wishes<'_>) -> &'static str {
    // Without a name of its own it has no place to go to.
    let is_pushed = wishes.push && !service.image.is_empty();
    match (is_pushed, texts(&build["platforms"]).len()) {
        (true, 0 | 1) => "type=registry",
        (false, 0 | 1) => "type=docker",
        (true, _) => "type=image,push=true",
        (false, _) => "type=image,push=false",
    }
}

fn attestations(build: &Json) -> Json {
    let one = |kind: &str| match text(&build[kind]) {
        "" => None,
        "false" => Some(format!("type={kind},disabled=true")),
        "true" => Some(format!("type={kind}")),
        more => Some(format!("type={kind},{more}")),
    };
    ["provenance", "sbom"].into_iter().filter_map(one).collect()
}
