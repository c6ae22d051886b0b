//! Which project is meant, and the daemon it lives on.

use std::collections::BTreeMap;
use std::io::Read;

use hull_api::Client;
use hull_compose::apply::{self, ApplyError};
use hull_compose::error::LoadError;
use hull_compose::model::Project;
use hull_compose::plan::state::Container;
use hull_compose::{Loaded, Options, load};

use super::progress::Progress;
use super::upping::truthy;
use crate::commands::Call;
use crate::commands::image::reference;
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::{FlagSet, suggest};
use crate::settings::Settings;
use crate::ui;

/// The flags between `compose` and its verb.
#[derive(Debug, Default, Clone)]
pub(crate) struct ProjectFlags {
    all_resources: bool,
    pub(super) ansi: String,
    compatibility: bool,
    dry_run: bool,
    env_files: Vec<String>,
    files: Vec<String>,
    parallel: Option<i64>,
    profiles: Vec<String>,
    pub(super) progress: String,
    project_directory: Option<String>,
    project_name: Option<String>,
    old: OldFlags,
}

/// Flags that no page lists any more.
#[derive(Debug, Default, Clone)]
struct OldFlags {
    insecure_registries: Vec<String>,
    no_ansi: bool,
    verbose: bool,
    version: bool,
    workdir: Option<String>,
}

impl ProjectFlags {
    #[rustfmt::skip]
    pub(super) fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("all-resources", "", "Include all resources, even those not used by services", &mut self.all_resources);
        set.add("ansi", "string", "Control when to print ANSI control characters (\"never\"|\"always\"|\"auto\") (default \"auto\")", &mut self.ansi);
        set.add("compatibility", "", "Run compose in backward compatibility mode", &mut self.compatibility);
        set.add("dry-run", "", "Show what would be done, and do nothing", &mut self.dry_run);
        set.add("env-file", "stringArray", "Specify an alternate environment file", &mut self.env_files);
        set.add("f,file", "stringArray", "Compose configuration files", &mut self.files);
        set.add("parallel", "int", "Control max parallelism, -1 for unlimited (default -1)", &mut self.parallel);
        set.add("profile", "stringArray", "Specify a profile to enable", &mut self.profiles);
        set.add("progress", "string", "Set type of progress output (auto, tty, plain, json, quiet)", &mut self.progress);
        set.add("project-directory", "string", "Specify an alternate working directory (default: the path of the, first specified, Compose file)", &mut self.project_directory);
        set.add("p,project-name", "string", "Project name", &mut self.project_name);
        set.hidden("insecure-registry", "stringArray", &mut self.old.insecure_registries);
        set.hidden("no-ansi", "", &mut self.old.no_ansi);
        set.hidden("verbose", "", &mut self.old.verbose);
        set.hidden("v,version", "", &mut self.old.version);
        set.hidden("workdir", "string", &mut self.old.workdir);
    }

    /// Puts old flags into what replaced them, and says so; gives the words that follow.
    pub(super) fn settled(&mut self, mut words: Vec<String>) -> Result<Vec<String>> {
        if self.old.version {
            words = vec!["version".to_owned()];
        }
        if !self.old.insecure_registries.is_empty() {
            return Err(Error::new(
                "--insecure-registry is the daemon's to say, not this command's",
            )
            .with_hint("name the registry in `insecure-registries` of the daemon's daemon.json"));
        }
        if self.old.no_ansi {
            ui::note("option '--no-ansi' is DEPRECATED ! Please use '--ansi' instead.");
            "never".clone_into(&mut self.ansi);
        }
        if let Some(directory) = self.old.workdir.take() {
            if self.project_directory.is_some() {
                return Err(Error::new(
                    "cannot specify DEPRECATED \"--workdir\" and \"--project-directory\". Please use only \"--project-directory\" instead",
                ));
            }
            ui::note(
                "option '--workdir' is DEPRECATED at root level! Please use '--project-directory' instead.",
            );
            self.project_directory = Some(directory);
        }
        Ok(words)
    }

    /// Whether nothing may be changed, only told.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Nothing is to be changed.
    pub(super) fn rehearse(&mut self) {
        self.dry_run = true;
    }

    /// Whether unused networks, volumes, secrets and configs count.
    pub(super) fn keeps_unused(&self) -> bool {
        self.all_resources
    }

    /// Whether to be as the Compose of before.
    pub(super) fn is_compatible(&self) -> bool {
        self.compatibility || truthy("COMPOSE_COMPATIBILITY")
    }

    /// How to load, before a verb's own wishes.
    pub(super) fn options(&self) -> Result<Options> {
        let mut environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let current = std::env::current_dir().map_err(|error| Error::io("open", ".", &error))?;
        // Docker's has it, too, whoever calls.
        let directory = current.to_string_lossy().into_owned();
        environment.entry("PWD".into()).or_insert(directory);
        let files = self.files();
        let mut env_files = self.env_files.clone();
        if env_files.is_empty()
            && let Some(listed) = environment
                .get("COMPOSE_ENV_FILES")
                .filter(|listed| !listed.is_empty())
        {
            env_files = listed.split(',').map(str::to_owned).collect();
        }
        let standard_input = match files.iter().any(|file| file == "-") {
            true => standard_input()?,
            false => String::new(),
        };
        Ok(Options {
            files,
            standard_input,
            current_directory: current.to_string_lossy().into_owned(),
            project_directory: self.project_directory.clone(),
            project_name: self.project_name.clone(),
            env_files: (!env_files.is_empty()).then_some(env_files),
            environment,
            profiles: self.profiles.clone(),
            keep_unused: self.all_resources,
            compatible: self.is_compatible(),
            fetch: Some(super::repository::fetch),
            ..Options::default()
        })
    }

    /// The files that are named, as they are named.
    pub(super) fn files(&self) -> Vec<String> {
        let said = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        match said("COMPOSE_FILE").filter(|_| self.files.is_empty()) {
            Some(listed) => {
                let separator = std::env::var("COMPOSE_PATH_SEPARATOR");
                let separator = separator.as_deref().unwrap_or(":");
                listed.split(separator).map(str::to_owned).collect()
            }
            None => self.files.clone(),
        }
    }

    /// The name that was said here, and not in a file.
    pub(super) fn named(&self) -> Option<String> {
        let name = self
            .project_name
            .clone()
            .or_else(|| std::env::var("COMPOSE_PROJECT_NAME").ok());
        name.filter(|name| !name.is_empty())
    }
}

fn standard_input() -> Result<String> {
    let wrong = |error| Error::io("read", "/dev/stdin", &error);
    let mut text = String::new();
    let mut bounded = std::io::stdin()
        .lock()
        .take(hull_compose::FILE_BYTES_MAX + 1);
    let length = bounded.read_to_string(&mut text).map_err(wrong)?;
    if length as u64 > hull_compose::FILE_BYTES_MAX {
        let message = format!("it has more than {} bytes", hull_compose::FILE_BYTES_MAX);
        return Err(wrong(std::io::Error::other(message)));
    }
    Ok(text)
}

/// Says what is wrong with the files.
pub(super) fn load_failure(error: LoadError) -> Error {
    let hint = error.hint().map(str::to_owned);
    let failure = Error::new(error.full());
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// Says what could not be carried out.
pub(super) fn apply_failure(error: ApplyError) -> Error {
    match error {
        ApplyError::Request {
            operation,
            object,
            source,
        } => match source {
            hull_api::ClientError::Refused { .. } => {
                let why = failure(source).message().to_owned();
                // The daemon's advice is for a command line.
                let why = why.replace(
                    "for example `-p ",
                    "in the service's `ports:`, for example `",
                );
                Error::new(format!("cannot {operation} {object}: {why}"))
            }
            other => failure(other),
        },
        ApplyError::Written(error) => load_failure(error),
        other => Error::new(other.to_string()),
    }
}

/// There is no such service; perhaps another one was meant.
pub(super) fn no_such_service<'k, K: AsRef<str> + ?Sized + 'k>(
    name: &str,
    known: impl Iterator<Item = &'k K>,
) -> Error {
    let known: Vec<&str> = known.map(AsRef::as_ref).collect();
    let error = Error::new(format!("no such service: {name}"));
    match suggest::nearest(name, known.iter().copied()) {
        Some(near) => error.with_hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => error,
        None => error.with_hint(format!("there is {}", listed(&known))),
    }
}

/// A few names, and how many more there are.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<&str> = names.to_vec();
    names.sort_unstable();
    names.dedup();
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect();
    match names.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        Some(more) => format!("{} and {more} more", shown.join(", ")),
        None => shown.join(", "),
    }
}

/// What programs read, as one line of JSON.
pub(super) fn printed(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Loads the project, with the services that are named even if their profile is off.
pub(super) fn loaded(call: &Call, services: &[String]) -> Result<Loaded> {
    let mut options = call.globals.compose.options()?;
    options.services = services.to_vec();
    let loaded = load(&options).map_err(load_failure)?;
    for warning in &loaded.warnings {
        ui::warn(warning);
    }
    Ok(loaded)
}

/// What the settings hold for the registry of an image.
fn credentials(directory: String) -> Box<apply::Credentials> {
    Box::new(move |image| {
        let name = reference::parse(image).ok()?;
        Settings::read(&directory).credentials(&reference::server(&name))
    })
}

/// A project and its daemon.
pub(super) struct Scene {
    pub(super) client: Client,
    pub(super) project: Project,
    pub(super) progress: Progress,
    pub(super) parallel: usize,
    pub(super) notes: apply::Notes,
    credentials: Box<apply::Credentials>,
}

impl Scene {
    /// From the files.
    pub(super) async fn of_files(call: &Call, services: &[String]) -> Result<Self> {
        let loaded = loaded(call, services)?;
        Self::of_loaded(call, &loaded).await
    }

    /// The same, for a verb that makes what the files say: what a project of somebody else reaches for
    /// is asked about.
    pub(super) async fn of_confirmed_files(call: &Call, services: &[String]) -> Result<Self> {
        let loaded = loaded(call, services)?;
        let scene = Self::of_loaded(call, &loaded).await?;
        super::remote::confirm(call, &loaded, &scene, false).await?;
        Ok(scene)
    }

    /// From what was loaded.
    pub(super) async fn of_loaded(call: &Call, loaded: &Loaded) -> Result<Self> {
        let project = Project::of(loaded).map_err(load_failure)?;
        Self::of_project(call, project).await
    }

    /// From the files if there are any; the name is enough for what only looks at the daemon.
    pub(super) async fn of_name(call: &Call, services: &[String]) -> Result<Self> {
        // Profiles do not matter for what is there already.
        Self::named(call, services, true).await
    }

    /// The same, for what ends things: not those of another project that a fetched file names.
    pub(super) async fn to_end(call: &Call, services: &[String]) -> Result<Self> {
        let scene = Self::of_name(call, services).await?;
        super::remote::check_own(call, &scene).await?;
        Ok(scene)
    }

    /// The same, for what takes the whole project away: but for services whose profile is off.
    pub(super) async fn to_take_away(call: &Call, services: &[String]) -> Result<Self> {
        let scene = Self::named(call, services, !services.is_empty()).await?;
        super::remote::check_own(call, &scene).await?;
        Ok(scene)
    }

    async fn named(call: &Call, services: &[String], with_all_profiles: bool) -> Result<Self> {
        let flags = &call.globals.compose;
        let mut options = flags.options()?;
        if with_all_profiles && options.profiles.is_empty() {
            options.profiles = vec!["*".to_owned()];
        }
        options.check = false;
        let project = match (load(&options), flags.named()) {
            (Ok(loaded), _) => Project::of(&loaded).map_err(load_failure)?,
            (Err(_), Some(name)) if flags.files.is_empty() => Project {
                name,
                ..Project::default()
            },
            (Err(error), _) => return Err(load_failure(error)),
        };
        let scene = Self::of_project(call, project).await?;
        scene.check_names(services).await?;
        Ok(scene)
    }

    async fn of_project(call: &Call, project: Project) -> Result<Self> {
        let flags = &call.globals.compose;
        let limit = flags
            .parallel
            .or_else(|| std::env::var("COMPOSE_PARALLEL_LIMIT").ok()?.parse().ok());
        Ok(Self {
            client: connect(&call.globals).await?,
            project,
            progress: Progress::new(&flags.progress, &flags.ansi, flags.dry_run),
            parallel: limit
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| *limit > 0)
                .unwrap_or(usize::MAX),
            notes: apply::Notes::default(),
            credentials: credentials(call.globals.config_directory.clone()),
        })
    }

    async fn check_names(&self, services: &[String]) -> Result<()> {
        if services.is_empty() {
            return Ok(());
        }
        let all = self.all().await?;
        for name in services {
            let is_known = self.project.services.contains_key(name)
                || self.project.disabled.contains(name)
                || all.iter().any(|container| container.service() == name);
            if !is_known {
                let running = all.iter().map(Container::service);
                let known = self.project.services.keys().chain(&self.project.disabled);
                return Err(no_such_service(
                    name,
                    known.map(String::as_str).chain(running),
                ));
            }
        }
        Ok(())
    }

    /// What works on it.
    pub(super) fn engine(&self) -> apply::Engine<'_> {
        let mut engine =
            apply::Engine::new(&self.client, &self.project, &self.progress, &self.notes);
        engine.credentials = &*self.credentials;
        engine.parallel = self.parallel;
        engine
    }

    async fn all(&self) -> Result<Vec<Container>> {
        apply::containers(&self.client, &self.project.name)
            .await
            .map_err(apply_failure)
    }

    /// The containers of some services, or of all, in their order; those of `run` only if they are
    /// wanted.
    pub(super) async fn containers(
        &self,
        services: &[String],
        one_off: bool,
    ) -> Result<Vec<Container>> {
        let mut containers: Vec<Container> = self
            .all()
            .await?
            .into_iter()
            .filter(|container| {
                services.is_empty() || services.iter().any(|name| name == container.service())
            })
            .filter(|container| one_off || !container.is_one_off())
            .collect();
        containers.sort_by(|a, b| {
            (a.service(), a.number(), a.name()).cmp(&(b.service(), b.number(), b.name()))
        });
        Ok(containers)
    }

    /// One running container of a service: the one with that number, or the first.
    pub(super) async fn one(&self, service: &str, index: i64) -> Result<Container> {
        let containers = self.containers(&[service.to_owned()], false).await?;
        let found = containers.into_iter().find(|container| {
            container.is_running() && (index == 0 || container.number() == index)
        });
        found.ok_or_else(|| match index {
            0 => Error::new(format!("service \"{service}\" is not running")),
            index => Error::new(format!(
                "service \"{service}\" is not running container #{index}"
            )),
        })
    }
}
