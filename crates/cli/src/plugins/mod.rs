//! Programs that add commands, by the protocol and in the directories of Docker's: `docker-NAME` answers
//! `docker-cli-plugin-metadata` with what it is, and is given the whole command line when its command is typed.
//!
//! A plugin becomes this process: signals, terminal and exit code are its own, so that it needs no
//! `$DOCKER_CLI_PLUGIN_SOCKET`, by which Docker's client tells a plugin beside it that it was told to end. Plugins that are named in the settings may
//! add a hint after a command, see `hooks`.

mod hooks;
mod metadata;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::context::Globals;
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::ui;

pub(crate) use hooks::Hooks;
pub(crate) use metadata::{Described, all};

/// Where distributions put plugins, the first that has one wins.
const DIRECTORIES: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];
/// Commands of ours that, under Docker's name, give way to an installed plugin.
const GIVING_WAY: [&str; 2] = ["buildx", "compose"];
/// The one command Docker lets the settings rename.
const ALIASABLE: &str = "builder";
/// The one of Docker's own that stands for a part of a plugin.
const BAKE: &str = "bake";
/// Tells a plugin which program to call back.
const CALLER: &str = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND";

/// A program that adds a command.
#[derive(Debug, Clone)]
pub(crate) struct Plugin {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// A command line after its alias was replaced.
pub(crate) struct Aliased {
    pub(crate) plugin: Plugin,
    pub(crate) arguments: Vec<String>,
}

/// The plugin of this name, which says of itself what it has to.
pub(crate) fn find(globals: &Globals, name: &str) -> Option<Plugin> {
    let plugin = first(globals, name)?;
    metadata::of(&plugin).is_ok().then_some(plugin)
}

/// Why what lies there under this name is no plugin, and where that is.
pub(crate) fn broken(globals: &Globals, name: &str) -> Option<(PathBuf, String)> {
    let plugin = first(globals, name)?;
    let why = metadata::of(&plugin).err()?;
    Some((plugin.path, why))
}

/// What lies under this name in the first of the directories that has it.
fn first(globals: &Globals, name: &str) -> Option<Plugin> {
    if !is_name(name) {
        return None;
    }
    let candidates = directories(globals)
        .into_iter()
        .map(|directory| directory.join(format!("docker-{name}")));
    let path = candidates.into_iter().find(|path| path.exists())?;
    Some(Plugin {
        name: name.to_owned(),
        path,
    })
}

/// The plugin that is meant rather than our own command of this name.
pub(crate) fn overriding(globals: &Globals, name: &str) -> Option<Plugin> {
    (globals.is_docker() && GIVING_WAY.contains(&name))
        .then(|| find(globals, name))
        .flatten()
}

/// What an alias makes of a command line: one of the settings, or `bake`, which is a part of buildx.
///
/// # Errors
/// An alias for a plugin that is not there.
pub(crate) fn aliased(
    globals: &Globals,
    arguments: &[String],
    word: &str,
) -> Result<Option<Aliased>> {
    let target = match word {
        BAKE => Some("buildx bake".to_owned()),
        ALIASABLE => Settings::read(&globals.config_directory)
            .aliases
            .remove(word),
        _ => None,
    };
    let Some(target) = target else {
        return Ok(None);
    };
    let words: Vec<String> = target.split_whitespace().map(str::to_owned).collect();
    let name = words.first().map_or("", String::as_str);
    let plugin = find(globals, name).ok_or_else(|| match word {
        BAKE => no_bake(globals),
        _ => Error::new(format!(
            "the settings make {word:?} an alias of {target:?}, and there is no plugin docker-{name}"
        )),
    })?;
    let at = arguments.iter().position(|argument| argument == word);
    let (before, after) = arguments.split_at(at.unwrap_or(0));
    let arguments = [before, &words, &after[1..]].concat();
    Ok(Some(Aliased { plugin, arguments }))
}

/// What Docker says of `bake` without buildx; under our own name, the way out.
fn no_bake(globals: &Globals) -> Error {
    match globals.is_docker() {
        true => Error::new(
            "ERROR: docker bake requires the buildx component but it is missing or broken.\n       Install the buildx component to use bake:\n       https://docs.docker.com/go/buildx/",
        ),
        false => missing(globals, "bake", "buildx").with_hint(
            "`hull compose build` builds the images of a Compose file, `hull build` one image",
        ),
    }
}

/// Says of a command that a plugin which is not installed has it, and where to put that.
pub(crate) fn missing(globals: &Globals, word: &str, plugin: &str) -> Error {
    let own = Path::new(&globals.config_directory).join("cli-plugins");
    Error::new(format!(
        "'hull {word}' needs the plugin {plugin}, which is not installed: the program docker-{plugin} belongs in {}",
        own.display()
    ))
}

/// Becomes the plugin; stays beside it only where others want to say something after `words`, which are its command.
///
/// # Errors
/// When it cannot be executed.
pub(crate) fn run(
    globals: &Globals,
    plugin: &Plugin,
    arguments: &[String],
    words: &[String],
) -> Result<u8> {
    let path = plugin.path.to_string_lossy();
    ui::debug(|| format!("the plugin {path} takes the command"));
    let mut command = command(globals, plugin);
    command.args(arguments);
    if let Some(hooks) = Hooks::of_plugin(globals, words) {
        return hooks.around(command, &path);
    }
    let error = command.exec();
    Err(Error::io("exec", &path, &error).with_code(126))
}

/// What a plugin has to say about the next word, in the form of Docker's scripts.
pub(crate) fn completed(
    globals: &Globals,
    plugin: &Plugin,
    verb: &str,
    words: &[String],
    current: &str,
) -> Option<String> {
    let mut command = command(globals, plugin);
    command.args([verb, plugin.name.as_str()]).args(words);
    let output = command.arg(current).stdin(Stdio::null()).output().ok()?;
    let is_whole = output.status.success();
    is_whole.then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The names of those that are there, without asking them.
pub(crate) fn names(globals: &Globals) -> Vec<String> {
    let files = directories(globals)
        .into_iter()
        .filter_map(|directory| std::fs::read_dir(directory).ok())
        .flat_map(|entries| entries.flatten());
    let name = |file: std::fs::DirEntry| {
        let text = file.file_name().into_string().ok()?;
        let name = text.strip_prefix("docker-").filter(|name| is_name(name))?;
        is_program(&file.path()).then(|| name.to_owned())
    };
    files.filter_map(name).collect()
}

/// The plugin, told who calls and where the daemon is.
fn command(globals: &Globals, plugin: &Plugin) -> Command {
    let mut command = Command::new(&plugin.path);
    if let Ok(own) = std::env::current_exe() {
        command.env(CALLER, own);
    }
    if !globals.is_told_where() {
        // Left alone it would go to Docker's socket.
        command.env("DOCKER_HOST", globals.default_host());
    }
    command
}

/// Where plugins are looked for, the user's own first.
fn directories(globals: &Globals) -> Vec<PathBuf> {
    let settings = Settings::read(&globals.config_directory);
    let own = Path::new(&globals.config_directory).join("cli-plugins");
    let system = DIRECTORIES.map(PathBuf::from);
    settings
        .cli_plugins_extra_dirs
        .into_iter()
        .chain([own])
        .chain(system)
        .collect()
}

fn is_name(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

pub(crate) fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
