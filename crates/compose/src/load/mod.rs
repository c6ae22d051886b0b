//! From files to a model: read → interpolate → extend and include → merge → select → check.
//!
//! Only reading touches the world (`loader`, and `select` for the files that services name);
//! the rest are functions of trees.

mod check;
mod environment;
mod extends;
pub(crate) mod file;
mod include;
mod interpolate;
mod loader;
mod merge;
mod mount;
mod normalize;
mod paths;
mod port;
mod remote;
pub(crate) mod schema;
mod select;
mod shape;
mod short;
mod values;
mod written;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use file::BYTES_MAX as FILE_BYTES_MAX;
pub use interpolate::Variable;
pub(crate) use normalize::resolve_nothing;
pub use remote::{BY_HAND, Fetch, Fetched, NotFetched, is_of_ssh, is_remote};
pub use select::drop_unused;
pub(crate) use yaml::plain as plain_scalar;

use crate::error::{LoadError, Result};
use crate::node::{Map, Node, Place, Value};
use loader::{Environment, Loader, Open, Scope};

/// Where the number of a ulimit stands that is soft and hard limit at once.
pub(crate) const SINGLE: &str = "x-#single";

/// The names a file may have, the best first, and those of what is laid over it.
const FILE_NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];
const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What is to be loaded, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Files as they were named; `-` is the standard input. None: they are looked for.
    pub files: Vec<String>,
    /// What the standard input said.
    pub standard_input: String,
    /// The directory the program runs in.
    pub current_directory: String,
    /// The directory paths begin at, if it is not the first file's.
    pub project_directory: Option<String>,
    /// The project's name, if it was given.
    pub project_name: Option<String>,
    /// Files of variables, if they were given.
    pub env_files: Option<Vec<String>>,
    /// The program's environment.
    pub environment: BTreeMap<String, String>,
    /// Profiles that are on.
    pub profiles: Vec<String>,
    /// Services that count though none of their profiles is on.
    pub services: Vec<String>,
    /// Replace variables.
    pub interpolate: bool,
    /// Say what goes without saying.
    pub normalize: bool,
    /// Make paths absolute.
    pub resolve_paths: bool,
    /// Check that the whole fits together.
    pub check: bool,
    /// Read the files of variables that services name.
    pub resolve_environment: bool,
    /// Read the files of labels that services name.
    pub resolve_labels: bool,
    /// Keep networks, volumes, secrets and configs that no service refers to.
    pub keep_unused: bool,
    /// Names have a `_` between their parts, as the Compose of before made them.
    pub compatible: bool,
    /// What fetches files that are named by an address of a repository; none: they are refused.
    pub fetch: Option<Fetch>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            standard_input: String::new(),
            current_directory: "/".into(),
            project_directory: None,
            project_name: None,
            env_files: None,
            environment: BTreeMap::new(),
            profiles: Vec::new(),
            services: Vec::new(),
            interpolate: true,
            normalize: true,
            resolve_paths: true,
            check: true,
            resolve_environment: true,
            resolve_labels: true,
            keep_unused: false,
            compatible: false,
            fetch: None,
        }
    }
}

/// A loaded project.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The model in its long form.
    pub project: Map,
    /// Services that are not on.
    pub disabled: Map,
    /// The project's name.
    pub name: String,
    /// What relative paths began at.
    pub directory: String,
    /// The files, absolute (`-` stays).
    pub files: Vec<String>,
    /// The files of variables, absolute.
    pub env_files: Vec<String>,
    /// All variables.
    pub environment: BTreeMap<String, String>,
    /// Variables the files refer to.
    pub variables: Vec<Variable>,
    /// Variables of this machine's that files take by their name alone.
    pub taken: BTreeSet<String>,
    /// Directories that hold what was fetched.
    pub roots: Vec<PathBuf>,
    /// What should be told.
    pub warnings: Vec<String>,
    /// Networks, volumes, secrets and configs count though no service refers to them.
    pub keep_unused: bool,
    /// Names have a `_` between their parts.
    pub compatible: bool,
}

#[derive(Default)]
struct Selected {
    enabled: Map,
    disabled: Map,
}

/// Loads a project.
///
/// # Errors
/// What is wrong, with its place.
pub fn load(options: &Options) -> Result<Loaded> {
    let mut loader = Loader::new(options);
    let place = find(options, &mut loader)?;
    loader.directory.clone_from(&place.directory);
    let env_files = env_files(options, &place.directory);
    let mut environment = loader.env_files(&env_files, &options.environment, None)?;
    environment.extend(options.environment.clone());
    let name = project_name(&mut loader, options, &place, &environment)?;
    environment.insert("COMPOSE_PROJECT_NAME".into(), name.clone());
    let scope = Scope {
        directory: place.directory.clone(),
        environment,
        open: vec![Open {
            files: place.files.clone(),
            from: String::new(),
        }],
    };
    let mut project = loader.model(&place.files, &scope, None)?;
    let environment = scope.environment;
    // As it is written, it has a name only where it is said or made.
    if options.interpolate || options.normalize {
        project.set("name", Node::text_at(&Place::nowhere(), name.clone()));
    }
    loader.take_arguments(&project, &environment);
    if options.normalize {
        // As values are written, they are of no machine's.
        let none = Environment::new();
        let environment = if options.interpolate {
            &environment
        } else {
            &none
        };
        normalize::normalize(&mut project, &name, environment)?;
    }
    if options.check {
        normalize::scales(&mut project)?;
    }
    let disabled = split(&loader, &mut project, &environment)?;
    if options.check {
        check::check(&project, &disabled, options.interpolate)?;
    }
    if !options.keep_unused {
        select::drop_unused(&mut project);
    }
    let mut warnings = loader.warnings;
    warnings.extend(
        loader.missing.iter().map(|name| {
            format!("the variable `{name}` is not set; a blank text stands in its place")
        }),
    );
    let mut variables = loader.variables;
    variables.sort();
    variables.dedup_by(|later, earlier| later.name == earlier.name);
    Ok(Loaded {
        project,
        disabled,
        name,
        directory: place.directory,
        files: place.files,
        env_files,
        environment,
        variables,
        taken: loader.taken.into_inner(),
        roots: loader.roots,
        warnings,
        keep_unused: options.keep_unused,
        compatible: options.compatible,
    })
}

/// Leaves the services that are on, with all that their files say of them, and gives the others.
fn split(loader: &Loader<'_>, project: &mut Map, environment: &Environment) -> Result<Map> {
    let options = loader.options;
    let services = match project.remove("services").map(|node| node.value) {
        Some(Value::Map(services)) => services,
        _ => Map::default(),
    };
    let profiles = profiles(options, environment);
    let mut selected = select::by_profile(services, &profiles, &options.services)?;
    if options.resolve_environment {
        loader.resolve_variables(&mut selected.enabled, environment)?;
    }
    if options.resolve_labels {
        loader.resolve_labels(&mut selected.enabled, environment)?;
    }
    project.set(
        "services",
        Node::at(&Place::nowhere(), Value::Map(selected.enabled)),
    );
    Ok(selected.disabled)
}

fn profiles(options: &Options, environment: &Environment) -> Vec<String> {
    if !options.profiles.is_empty() {
        return options.profiles.clone();
    }
    let listed = environment
        .get("COMPOSE_PROFILES")
        .map(String::as_str)
        .unwrap_or_default();
    listed
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Which files, and from where.
struct Found {
    files: Vec<String>,
    directory: String,
}

fn find(options: &Options, loader: &mut Loader<'_>) -> Result<Found> {
    let current = &options.current_directory;
    let absolute = |path: &str| paths::join(current, path);
    let given = options.project_directory.as_deref().map(absolute);
    let files: Vec<String> = match options.files.is_empty() {
        false => options
            .files
            .iter()
            .map(|file| match file.as_str() {
                "-" => Ok(file.clone()),
                file if remote::is_remote(file) => loader.fetched(file, None),
                file => Ok(absolute(file)),
            })
            .collect::<Result<_>>()?,
        true => search(given.as_deref().unwrap_or(current), given.is_none())?,
    };
    let directory = given.unwrap_or_else(|| match files.first().map(String::as_str) {
        None | Some("-") => current.clone(),
        Some(file) => paths::parent(file).to_owned(),
    });
    Ok(Found { files, directory })
}

/// Looks for a file in a directory, and above it.
fn search(directory: &str, upwards: bool) -> Result<Vec<String>> {
    // What is there and is no file shall be refused, not passed over.
    let exists = |path: &str| std::path::Path::new(path).exists();
    let mut here = directory;
    loop {
        let named = |names: &[&str]| {
            names
                .iter()
                .map(|name| paths::join(here, name))
                .find(|path| exists(path))
        };
        if let Some(file) = named(&FILE_NAMES) {
            return Ok([file].into_iter().chain(named(&OVERRIDE_NAMES)).collect());
        }
        if !upwards || here == "/" {
            break;
        }
        here = paths::parent(here);
    }
    Err(LoadError::Project {
        message: "no configuration file provided: not found".into(),
        hint: Some(format!(
            "{directory} has no `{}`; name a file with `-f`",
            FILE_NAMES[0]
        )),
    })
}

fn env_files(options: &Options, directory: &str) -> Vec<String> {
    match &options.env_files {
        Some(files) => files
            .iter()
            .map(|file| paths::join(&options.current_directory, file))
            .collect(),
        None => Vec::from_iter(default_env_file(directory)),
    }
}

/// The file of variables that needs no naming. A directory of that name is something else.
fn default_env_file(directory: &str) -> Option<String> {
    let path = paths::join(directory, ".env");
    let found = std::fs::metadata(&path).ok()?;
    (!found.is_dir()).then_some(path)
}

fn project_name(
    loader: &mut Loader<'_>,
    options: &Options,
    place: &Found,
    environment: &Environment,
) -> Result<String> {
    let given = options.project_name.clone();
    let given = given
        .or_else(|| environment.get("COMPOSE_PROJECT_NAME").cloned())
        .filter(|name| !name.is_empty());
    if let Some(name) = given {
        if name != normalized(&name) {
            return Err(LoadError::Project {
                message: format!("`{name}` cannot be the name of a project"),
                hint: Some("it has lower case letters, digits, `-` and `_`, and begins with a letter or a digit".into()),
            });
        }
        return Ok(name);
    }
    let mut written = None;
    for file in &place.files {
        for document in loader.documents(file, None)? {
            if let Some(node) = document.as_map().and_then(|map| map.get("name")) {
                written = Some(node.clone());
            }
        }
    }
    if let Some(mut node) = written {
        let lookup = |name: &str| environment.get(name).cloned();
        let mut interpolation = interpolate::Interpolation {
            lookup: &lookup,
            missing: Default::default(),
        };
        interpolation.tree(&mut node)?;
        let name = normalized(&node.scalar_text().unwrap_or_default());
        if name.is_empty() {
            return Err(LoadError::at(&node, format!("`{name}` cannot be the name of a project"))
                .with_hint("it has lower case letters, digits, `-` and `_`, and begins with a letter or a digit"));
        }
        return Ok(name);
    }
    let base = place.directory.rsplit('/').next().unwrap_or_default();
    match normalized(base) {
        name if name.is_empty() => Err(LoadError::Project {
            message: format!(
                "the directory {} gives no name for the project",
                place.directory
            ),
            hint: Some("give one with `-p`".into()),
        }),
        name => Ok(name),
    }
}

/// What is left of a name once all that a project's name cannot have is gone.
fn normalized(name: &str) -> String {
    let kept: String = name
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_' || *c == '-')
        .collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}
