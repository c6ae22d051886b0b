//! What plugins have to say after a command: a plugin that the settings name for it (`plugins.NAME.hooks`, and
//! `error-hooks` after a failure) is called as `docker-NAME NAME docker-cli-plugin-hooks JSON`, answers with a template,
//! and what that comes to is printed as a hint. By Docker's protocol, and as there only on a terminal, and only where the
//! settings (`features.hooks`) or `$DOCKER_CLI_HOOKS` switch it on.
//!
//! A plugin that fails, dawdles or talks nonsense is passed over.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::SignalKind;

use super::{Plugin, command, find};
use crate::context::Globals;
use crate::error::{Error, Result};
use crate::flags::{Given, parse_bool};
use crate::format::template::{Kind, Template, Value};
use crate::settings::Settings;
use crate::terminal::signals::listen;
use crate::ui;

/// What a plugin is called with.
const VERB: &str = "docker-cli-plugin-hooks";
/// Switch hooks on or off; the second is the name of old.
const SWITCHES: [&str; 2] = ["DOCKER_CLI_HOOKS", "DOCKER_CLI_HINTS"];
/// A hint is not waited for longer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The one kind of answer there is.
const NEXT_STEPS: i64 = 0;

/// A command that plugins may have something to say about.
pub(crate) struct Hooks {
    globals: Globals,
    plugins: BTreeMap<String, BTreeMap<String, String>>,
    /// The command in full: `image ls`.
    name: String,
    flags: BTreeMap<String, String>,
    /// What templates see of it.
    shown: Value,
}

/// What a plugin is told.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Question<'q> {
    root_cmd: &'q str,
    flags: &'q BTreeMap<String, String>,
    command_error: &'q str,
}

/// What it answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    #[serde(rename = "Type")]
    kind: i64,
    template: String,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            kind: NEXT_STEPS,
            template: String::new(),
        }
    }
}

impl Hooks {
    /// Those for a command of our own, if anybody listens.
    pub(crate) fn of_command(
        globals: &Globals,
        name: &str,
        given: &[Given],
        operands: &[String],
    ) -> Option<Self> {
        let plugins = listeners(globals)?;
        let text = |flag: &Given| (flag.long.to_owned(), Value::text(flag.text.as_str()));
        let told = given.iter().filter(|flag| flag.is_changed).map(|flag| {
            let value = if flag.is_switch {
                flag.text.as_str()
            } else {
                ""
            };
            (flag.long.to_owned(), value.to_owned())
        });
        Some(Self {
            globals: globals.clone(),
            plugins,
            flags: told.collect(),
            shown: shown(name, given.iter().map(text).collect(), operands),
            name: name.to_owned(),
        })
    }

    /// Those for a command of a plugin, of which nobody here knows what its words mean.
    pub(super) fn of_plugin(globals: &Globals, words: &[String]) -> Option<Self> {
        let plugins = listeners(globals)?;
        let dashes = words.iter().filter_map(|word| {
            let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
            Some((flag.to_owned(), String::new()))
        });
        let first = words.first().map_or("", String::as_str);
        Some(Self {
            globals: globals.clone(),
            plugins,
            name: words.join(" "),
            flags: dashes.collect(),
            shown: shown(first, Vec::new(), &[]),
        })
    }

    /// Asks the plugins, and prints what they say. `error` is why the command failed, if it did.
    pub(crate) async fn follow(&self, error: &str) {
        let mut steps: Vec<String> = Vec::new();
        for (name, settings) in &self.plugins {
            let Some(words) = self.matched(settings, error) else {
                continue;
            };
            let Some(plugin) = find(&self.globals, name) else {
                continue;
            };
            let said = self.ask(&plugin, words, error).await.unwrap_or_default();
            if !said.trim().is_empty() {
                steps.extend(said.split('\n').map(str::to_owned));
            }
        }
        if !steps.is_empty() {
            ui::note("\x1b[1m\nWhat's next:\x1b[0m");
        }
        for step in steps {
            ui::note(&format!("    {step}"));
        }
    }

    /// The words of the settings that mean this command.
    fn matched<'s>(&self, settings: &'s BTreeMap<String, String>, error: &str) -> Option<&'s str> {
        let listed = |key: &str| settings.get(key).map_or("", String::as_str).split(',');
        let own: Vec<&str> = self.name.split(' ').collect();
        let fits = |words: &&str| {
            let words: Vec<&str> = words.split(' ').collect();
            own.starts_with(&words)
        };
        let failed = listed("error-hooks").filter(|_| !error.is_empty());
        listed("hooks").chain(failed).find(fits)
    }

    /// What a plugin says; nothing if it fails.
    async fn ask(&self, plugin: &Plugin, words: &str, error: &str) -> Option<String> {
        let question = serde_json::to_string(&Question {
            root_cmd: words,
            flags: &self.flags,
            command_error: error,
        });
        let mut command = tokio::process::Command::from(command(&self.globals, plugin));
        command
            .args([plugin.name.as_str(), VERB, &question.ok()?])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(ANSWER_MAX, command.output()).await;
        let output = output.ok()?.ok().filter(|output| output.status.success())?;
        let answer: Answer = serde_json::from_slice(&output.stdout).ok()?;
        let template = Template::parse_hook(&answer.template).ok()?;
        (answer.kind == NEXT_STEPS).then(|| template.render(&self.shown).ok())?
    }

    /// Runs a plugin to its end rather than becoming it, and asks then.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub(super) fn around(self, command: std::process::Command, path: &str) -> Result<u8> {
        let runtime = crate::commands::runtime()?;
        runtime.block_on(async {
            // Keys of the terminal reach the plugin as well, which decides what they mean.
            let _kept = [SignalKind::interrupt(), SignalKind::quit()].map(listen);
            let mut command = tokio::process::Command::from(command);
            let status = command.status().await;
            let status = status.map_err(|error| Error::io("exec", path, &error).with_code(126))?;
            let code = status.code().unwrap_or(1);
            let error = match code {
                0 => String::new(),
                code => format!("exit status {code}"),
            };
            self.follow(&error).await;
            Ok(u8::try_from(code).unwrap_or(1))
        })
    }
}

/// What templates see: `.Name`, and what `flag` and `arg` look into.
fn shown(name: &str, flags: Vec<(String, Value)>, operands: &[String]) -> Value {
    let last = name.rsplit(' ').next().unwrap_or_default();
    let operands = operands.iter().map(|word| Value::text(word.as_str()));
    let fields = [
        ("Name", Value::text(last)),
        ("flags", Value::object(Kind::Map, flags)),
        ("args", Value::list(operands.collect())),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Value::object(Kind::Row("*cobra.Command"), fields.into())
}

/// What the settings say of plugins, where hooks are wanted at all.
fn listeners(globals: &Globals) -> Option<BTreeMap<String, BTreeMap<String, String>>> {
    if !ui::out_is_terminal() {
        return None;
    }
    let settings = Settings::read(&globals.config_directory);
    let listens = |plugin: &BTreeMap<String, String>| {
        plugin.contains_key("hooks") || plugin.contains_key("error-hooks")
    };
    let is_on = settings.plugins.values().any(listens) && is_enabled(&settings);
    is_on.then_some(settings.plugins)
}

fn is_enabled(settings: &Settings) -> bool {
    let told = SWITCHES
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty());
    let told = told.or_else(|| Some(settings.features.get("hooks")?.as_str()?.to_owned()));
    told.is_some_and(|value| parse_bool(&value).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Program;

    fn hooks(name: &str) -> Hooks {
        let flags = vec![("name".to_owned(), Value::text("web"))];
        Hooks {
            globals: Globals::new(Program::Docker),
            plugins: BTreeMap::new(),
            name: name.to_owned(),
            flags: BTreeMap::new(),
            shown: shown(name, flags, &["busybox".to_owned()]),
        }
    }

    #[test]
    fn the_first_words_of_the_command_are_matched() {
        let settings = BTreeMap::from([
            ("hooks".to_owned(), "pull,image ls".to_owned()),
            ("error-hooks".to_owned(), "build".to_owned()),
        ]);
        let table = [
            ("pull", "", Some("pull")),
            ("image ls", "", Some("image ls")),
            ("image", "", None),
            ("pulls", "", None),
            ("build", "", None),
            ("build", "it broke", Some("build")),
        ];
        for (name, error, expected) in table {
            assert_eq!(hooks(name).matched(&settings, error), expected, "{name}");
        }
        assert_eq!(hooks("run").matched(&BTreeMap::new(), ""), None);
    }

    #[test]
    fn templates_see_name_flags_and_operands() {
        let hooks = hooks("container run");
        let render = |text: &str| Template::parse_hook(text).ok()?.render(&hooks.shown).ok();
        let text = r#"{{.Name}} {{flag . "name"}} {{arg . 0}}{{arg . 7}}"#;
        assert_eq!(render(text).as_deref(), Some("run web busybox"));
        assert_eq!(render(r#"{{flag . "nosuch"}}"#), None);
        assert!(Template::parse(text).is_err());
    }
}
