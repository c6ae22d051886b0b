//! `compose build`, and the builds that `up` needs.
//!
//! A service is built by `build` of this same program: there is one way to build.

use std::io::Write;
use std::process::{Command as Process, Stdio};

use hull_compose::apply::{Report, Standing, UpOptions};
use hull_compose::model::{self, Project, Service};
use hull_compose::plan::check_context;
use hull_compose::render;

use super::bake::{self, Wishes};
use super::project::{Scene, apply_failure, load_failure, loaded};
use crate::commands::{About, Call, Command, Operands, trust};
use crate::context::Globals;
use crate::error::{Error, Result};
use crate::flags::{FlagSet, parse_bool};
use crate::ui;

/// What is said of `--progress` after `build`, which is obeyed all the same.
const PROGRESS: &str =
    "--progress is a global compose flag, better use `docker compose --progress xx build ...";

#[derive(Default)]
pub(crate) struct Build {
    arguments: Vec<String>,
    builder: String,
    check: bool,
    memory: String,
    no_cache: bool,
    no_effect: [bool; 4],
    print: bool,
    progress: String,
    provenance: String,
    pull: bool,
    push: bool,
    quiet: bool,
    sbom: String,
    ssh: Vec<String>,
    with_dependencies: bool,
}

impl Command for Build {
    const ABOUT: About = About::new(
        &["compose build"],
        "[OPTIONS] [SERVICE...]",
        "Build or rebuild services",
        Operands::AtLeast(0),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("build-arg", "stringArray", "Set build-time variables for services", &mut self.arguments);
        set.add("builder", "string", "Set builder to use", &mut self.builder);
        set.add("check", "", "Check build configuration", &mut self.check);
        set.add("m,memory", "bytes", "Set memory limit for the build container. Not supported by BuildKit.", &mut self.memory);
        set.add("no-cache", "", "Do not use cache when building the image", &mut self.no_cache);
        let [compress, force_rm, no_rm, parallel] = &mut self.no_effect;
        set.hidden("compress", "", compress);
        set.hidden("force-rm", "", force_rm);
        set.hidden("no-rm", "", no_rm);
        set.hidden("parallel", "", parallel);
        set.add("print", "", "Print equivalent bake file", &mut self.print);
        set.hidden("progress", "string", &mut self.progress);
        set.add("provenance", "string", "Add a provenance attestation", &mut self.provenance);
        set.add("pull", "", "Always attempt to pull a newer version of the image", &mut self.pull);
        set.add("push", "", "Push service images", &mut self.push);
        set.add("q,quiet", "", "Suppress the build output", &mut self.quiet);
        set.add("sbom", "string", "Add a SBOM attestation", &mut self.sbom);
        set.add("ssh", "string", "Set SSH authentications used when building service images. (use 'default' for using your default SSH Agent)", &mut self.ssh);
        set.add("with-dependencies", "", "Also build dependencies (transitively)", &mut self.with_dependencies);
    }

    async fn run(self, call: Call) -> Result<u8> {
        if !self.progress.is_empty() {
            ui::note(PROGRESS);
        }
        if self.print {
            return self.printed(&call);
        }
        let mut scene = Scene::of_confirmed_files(&call, &call.operands).await?;
        scene.project.select(&call.operands, self.with_dependencies);
        let services: Vec<&Service> = scene
            .project
            .services
            .values()
            .filter(|service| service.build.is_some())
            .collect();
        if services.is_empty() {
            ui::note("No services to build");
            return Ok(0);
        }
        trust::tell_unchecked();
        for service in &services {
            check_context(service).map_err(load_failure)?;
        }
        let more = More {
            arguments: self.arguments,
            builder: self.builder,
            check: self.check,
            memory: self.memory,
            no_cache: self.no_cache,
            // As Compose calls what the builder calls otherwise.
            progress: match self.progress.as_str() {
                "json" => "rawjson".to_owned(),
                _ => self.progress,
            },
            provenance: self.provenance,
            pull: self.pull,
            quiet: self.quiet,
            sbom: self.sbom,
            ssh: self.ssh,
        };
        for service in services {
            build(&call.globals, &scene, service, &more)?;
            if self.push && !self.check && !service.image.is_empty() {
                scene.engine().push(service).await.map_err(apply_failure)?;
            }
        }
        Ok(0)
    }
}

impl Build {
    /// Prints what would be built, and asks no daemon.
    fn printed(&self, call: &Call) -> Result<u8> {
        let loaded = loaded(call, &call.operands)?;
        // Rendered for Compose, which takes a doubled sign for one.
        let text = render::project_json(&loaded.project).replace("$$", "$");
        let document = serde_json::from_str(&text)
            .map_err(|error| Error::new(format!("the project cannot be shown: {error}")))?;
        let project = Project::of(&loaded).map_err(load_failure)?;
        let mut chosen = Project::of(&loaded).map_err(load_failure)?;
        chosen.select(&call.operands, self.with_dependencies);
        let wishes = Wishes {
            arguments: &self.arguments,
            ssh: &self.ssh,
            no_cache: self.no_cache,
            pull: self.pull,
            push: self.push,
            check: self.check,
        };
        let file = bake::file(&project, &chosen, &document, &wishes);
        ui::line(&format!("{file:#}"))?;
        Ok(0)
    }
}

/// What a command line adds to what a file says.
#[derive(Debug, Default, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command"
)]
pub(super) struct More {
    arguments: Vec<String>,
    builder: String,
    check: bool,
    memory: String,
    no_cache: bool,
    progress: String,
    provenance: String,
    pull: bool,
    quiet: bool,
    sbom: String,
    ssh: Vec<String>,
}

impl More {
    /// Nothing, but perhaps to be quiet.
    pub(super) fn quiet(quiet: bool) -> Self {
        Self {
            quiet,
            ..Self::default()
        }
    }
}

/// Builds the services whose images are not there, or all that can be built. What stands in the way of
/// what they are built for is told before.
pub(super) async fn build_missing(
    call: &Call,
    scene: &Scene,
    options: &UpOptions,
    (all, quiet): (bool, bool),
) -> Result<()> {
    trust::tell_unchecked();
    let more = More::quiet(quiet);
    let mut wanted: Vec<&Service> = Vec::new();
    for service in scene.project.services.values() {
        if service.build.is_none() {
            continue;
        }
        let name = service.image_name(&scene.project.name);
        let is_there = scene.client.image(&name).await.is_ok();
        // One that also has a name to pull by is pulled if that is what its policy says.
        let is_pulled =
            !service.image.is_empty() && matches!(service.pull_policy.as_str(), "always" | "never");
        if all || service.pull_policy == "build" || (!is_there && !is_pulled) {
            check_context(service).map_err(load_failure)?;
            wanted.push(service);
        }
    }
    if !wanted.is_empty() {
        let engine = scene.engine();
        let checked = engine.check_first(&options.wishes).await;
        checked.map_err(apply_failure)?;
    }
    for service in wanted {
        build(&call.globals, scene, service, &more)?;
    }
    Ok(())
}

/// Builds one service, and before it those whose images it is built from.
pub(super) fn build(
    globals: &Globals,
    scene: &Scene,
    service: &Service,
    more: &More,
) -> Result<()> {
    for base in scene.project.built_from(service).map_err(load_failure)? {
        if base.build.is_some() {
            build_one(globals, scene, base, more)?;
        }
    }
    build_one(globals, scene, service, more)
}

fn build_one(globals: &Globals, scene: &Scene, service: &Service, more: &More) -> Result<()> {
    check_context(service).map_err(load_failure)?;
    if globals.compose.is_dry_run() {
        // It is another program that builds, so nothing else would keep it from doing so.
        let image = format!("Image {}", service.image_name(&scene.project.name));
        scene
            .progress
            .progress(&image, "Building", Standing::Working);
        scene.progress.progress(&image, "Built", Standing::Done);
        return Ok(());
    }
    let mut words = words(&scene.project, service, more);
    as_before(service, &mut words)?;
    if trust::is_asked() {
        words.insert(0, "--disable-content-trust".to_owned());
    }
    let inline = service
        .build
        .as_ref()
        .map(|build| build.dockerfile_inline.as_str())
        .unwrap_or_default();
    let program = std::env::current_exe()
        .map_err(|error| Error::new(format!("cannot find this program: {error}")))?;
    let mut process = Process::new(program);
    process.args(globals.words()).arg("build").args(words);
    process.stdin(if inline.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    });
    let failed = |error: std::io::Error| {
        Error::new(format!(
            "cannot start the build of {}: {error}",
            service.name
        ))
    };
    let mut child = process.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(inline.as_bytes()).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    match status.success() {
        true => Ok(()),
        false => Err(
            Error::new(format!("service {}: the build failed", service.name))
                .with_code(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        ),
    }
}

/// The command line of `build`.
fn words(project: &Project, service: &Service, more: &More) -> Vec<String> {
    let Some(build) = &service.build else {
        return Vec::new();
    };
    let mut words = vec![format!("--tag={}", service.image_name(&project.name))];
    words.extend(dockerfile(build));
    let mut add = |flag: &str, value: &str| words.push(format!("--{flag}={value}"));
    for (key, value) in &build.args {
        match value {
            Some(value) => add("build-arg", &format!("{key}={value}")),
            None => add("build-arg", key),
        }
    }
    for (key, value) in &build.labels {
        add("label", &format!("{key}={value}"));
    }
    for (key, value) in [
        ("project", project.name.as_str()),
        ("service", &service.name),
        ("version", hull_compose::COMPOSE_VERSION),
    ] {
        add("label", &format!("com.docker.compose.{key}={value}"));
    }
    let hosts: Vec<String> = build
        .extra_hosts
        .iter()
        .map(|host| host.replacen('=', ":", 1))
        .collect();
    for (flag, values) in [
        ("tag", &build.tags),
        ("build-arg", &more.arguments),
        ("cache-from", &build.cache_from),
        ("cache-to", &build.cache_to),
        ("no-cache-filter", &build.no_cache_filter),
        ("platform", &build.platforms),
        ("allow", &build.rights()),
        ("ssh", &build.ssh),
        ("ssh", &more.ssh),
        ("builder", &vec![more.builder.clone()]),
        ("progress", &vec![more.progress.clone()]),
        (
            "provenance",
            &vec![said(&more.provenance, &build.provenance)],
        ),
        ("sbom", &vec![said(&more.sbom, &build.sbom)]),
        ("add-host", &hosts),
        ("target", &vec![build.target.clone()]),
        ("network", &vec![build.network.clone()]),
        ("shm-size", &vec![build.shm_size.clone()]),
        ("isolation", &vec![build.isolation.clone()]),
        ("ulimit", &build.limits()),
        ("memory", &vec![more.memory.clone()]),
    ] {
        values
            .iter()
            .filter(|value| !value.is_empty())
            .for_each(|value| add(flag, value));
    }
    for (name, context) in &build.additional_contexts {
        let place = place_of(project, context);
        add("build-context", &format!("{name}={place}"));
    }
    words.extend(secrets(project, build));
    words.extend(switches(build, more));
    words.push(build.context.clone());
    words
}

/// What is on.
fn switches(build: &model::Build, more: &More) -> Vec<String> {
    let switches = [
        ("check", more.check),
        ("no-cache", build.no_cache || more.no_cache),
        ("pull", build.pull || more.pull),
        ("quiet", more.quiet),
    ];
    let given = switches.into_iter().filter(|(_, given)| *given);
    given.map(|(flag, _)| format!("--{flag}")).collect()
}

/// Where a further context is; a service's is the image that was built of it.
fn place_of(project: &Project, context: &str) -> String {
    let base = context.strip_prefix("service:").and_then(|name| {
        let services = &project.services;
        services.get(name).or_else(|| project.bases.get(name))
    });
    match base {
        Some(base) => format!("stored-image://{}", base.image_name(&project.name)),
        None => context.to_owned(),
    }
}

/// What the command line says, else what the file does.
fn said(more: &str, written: &str) -> String {
    match more {
        "" => written.to_owned(),
        more => more.to_owned(),
    }
}

/// Flags that the builder of before has not, and that change nothing of what is built.
const SHOWN_OTHERWISE: [&str; 5] = ["builder", "cache-to", "progress", "provenance", "sbom"];

/// Flags that it has not and that matter, with the keys that ask for them.
const NOT_BEFORE: [(&str, &str); 5] = [
    ("additional_contexts", "--build-context="),
    ("entitlements", "--allow="),
    ("no_cache_filter", "--no-cache-filter="),
    ("secrets", "--secret="),
    ("ssh", "--ssh="),
];

/// Leaves of a command line what the builder of before understands (`DOCKER_BUILDKIT=0`).
fn as_before(service: &Service, words: &mut Vec<String>) -> Result<()> {
    let switch = std::env::var("DOCKER_BUILDKIT").unwrap_or_default();
    if parse_bool(&switch) != Ok(false) {
        return Ok(());
    }
    for (key, flag) in NOT_BEFORE {
        if words.iter().any(|word| word.starts_with(flag)) {
            return Err(Error::new(format!(
                "services.{}.build.{key}: the builder of before has no such thing, and DOCKER_BUILDKIT=0 asks for it",
                service.name
            ))
            .with_hint("unset DOCKER_BUILDKIT"));
        }
    }
    words.retain(|word| {
        let flag = word
            .strip_prefix("--")
            .and_then(|word| word.split_once('='));
        !flag.is_some_and(|(flag, _)| SHOWN_OTHERWISE.contains(&flag))
    });
    Ok(())
}

/// Where the Dockerfile is: `build` takes it from where it is called, a file from its context.
fn dockerfile(build: &model::Build) -> Option<String> {
    if !build.dockerfile_inline.is_empty() {
        return Some("--file=-".into());
    }
    if build.dockerfile.is_empty() {
        return None;
    }
    let is_local = build.context.starts_with('/') && !build.dockerfile.starts_with('/');
    Some(match is_local {
        true => format!("--file={}/{}", build.context, build.dockerfile),
        false => format!("--file={}", build.dockerfile),
    })
}

fn secrets(project: &Project, build: &model::Build) -> Vec<String> {
    let mut words = Vec::new();
    for secret in &build.secrets {
        if let Some(object) = project.secrets.get(&secret.source) {
            let id = if secret.target.is_empty() {
                &secret.source
            } else {
                &secret.target
            };
            words.push(match object.environment.is_empty() {
                true => format!("--secret=id={id},src={}", object.file),
                false => format!("--secret=id={id},env={}", object.environment),
            });
        }
    }
    words
}
