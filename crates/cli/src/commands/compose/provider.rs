//! Services that a program provides, in Docker's protocol: `docker-TYPE compose --project-name=NAME up
//! --OPTION=VALUE SERVICE` makes it (`down` takes it away) and tells in lines of JSON how it goes, and
//! which variables those get that depend on it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};

use hull_compose::apply::{Report, Standing};
use hull_compose::model::{Project, Provider};
use serde::Deserialize;
use serde_json::Value;

use super::project::Scene;
use crate::context::Globals;
use crate::error::{Error, Result};
use crate::plugins;

/// A line of a provider.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
}

/// What a line means.
#[derive(Debug, PartialEq)]
enum Said {
    Info(String),
    Variable(String, String),
    Nothing,
}

/// Has the services of providers made, and gives their variables to those that depend on them.
///
/// # Errors
/// A provider that is not there, or fails.
pub(super) fn provide(globals: &Globals, scene: &mut Scene) -> Result<()> {
    for (name, provider) in providers(&scene.project) {
        let variables = run(globals, scene, &name, &provider, "up")?;
        scene.project.provide(&name, &variables);
    }
    Ok(())
}

/// Has the services of providers taken away.
///
/// # Errors
/// A provider that is not there, or fails.
pub(super) fn withdraw(globals: &Globals, scene: &Scene, services: &[String]) -> Result<()> {
    for (name, provider) in providers(&scene.project) {
        if services.is_empty() || services.contains(&name) {
            run(globals, scene, &name, &provider, "down")?;
        }
    }
    Ok(())
}

fn providers(project: &Project) -> Vec<(String, Provider)> {
    let services = project.services.values();
    let provided = services.filter_map(|service| {
        let provider = service.provider.clone()?;
        Some((service.name.clone(), provider))
    });
    provided.collect()
}

/// Runs a provider to its end; returns the variables it sets.
fn run(
    globals: &Globals,
    scene: &Scene,
    service: &str,
    provider: &Provider,
    verb: &str,
) -> Result<Vec<(String, String)>> {
    let (doing, done) = match verb {
        "up" => ("Creating", "Created"),
        _ => ("Removing", "Removed"),
    };
    scene.progress.progress(service, doing, Standing::Working);
    if globals.compose.is_dry_run() {
        scene.progress.progress(service, done, Standing::Done);
        return Ok(Vec::new());
    }
    let result = program(globals, service, provider).and_then(|program| {
        let mut process = Process::new(program);
        process
            .args(words(&scene.project.name, service, provider, verb))
            .current_dir(&scene.project.directory)
            .envs(&scene.project.environment);
        let tell = |text: &str| scene.progress.progress(service, text, Standing::Working);
        listen(process, service, provider, &tell)
    });
    match &result {
        Ok(_) => scene.progress.progress(service, done, Standing::Done),
        Err(_) => scene.progress.progress(service, "Error", Standing::Failed),
    }
    result
}

/// A plugin of that name, or a program on the `PATH`.
fn program(globals: &Globals, service: &str, provider: &Provider) -> Result<PathBuf> {
    let name = provider.kind.as_str();
    if name != "compose"
        && let Some(plugin) = plugins::find(globals, name)
    {
        return Ok(plugin.path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|directory| {
            [
                directory.join(format!("docker-{name}")),
                directory.join(name),
            ]
        })
        .find(|path| !name.contains('/') && plugins::is_program(path));
    found.ok_or_else(|| {
        Error::new(format!(
            "service {service}: its provider `{name}` is not there"
        ))
        .with_hint(format!(
            "install `docker-{name}` among the command line's plugins, or on the PATH"
        ))
    })
}

fn words(project: &str, service: &str, provider: &Provider, verb: &str) -> Vec<String> {
    let mut words = vec![
        "compose".to_owned(),
        format!("--project-name={project}"),
        verb.to_owned(),
    ];
    for (key, value) in &provider.options {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        words.extend(
            values
                .iter()
                .map(|value| format!("--{key}={}", text(value))),
        );
    }
    words.push(service.to_owned());
    words
}

fn listen(
    mut process: Process,
    service: &str,
    provider: &Provider,
    tell: &dyn Fn(&str),
) -> Result<Vec<(String, String)>> {
    let name = provider.kind.as_str();
    let failed =
        |what: String| Error::new(format!("service {service}: the provider `{name}` {what}"));
    process.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = process
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let mut variables = Vec::new();
    let mut complaint = None;
    let lines = child
        .stdout
        .take()
        .map(BufReader::new)
        .into_iter()
        .flat_map(BufRead::lines);
    for line in lines.map_while(std::result::Result::ok) {
        match said(&line) {
            // It is heard to its end, so that it does not break off in the middle of its work.
            Ok(_) if complaint.is_some() => {}
            Ok(Said::Info(text)) => tell(&text),
            Ok(Said::Variable(key, value)) => variables.push((key, value)),
            Ok(Said::Nothing) => {}
            Err(text) => complaint = complaint.or(Some(text)),
        }
    }
    let status = child
        .wait()
        .map_err(|error| failed(format!("cannot be waited for: {error}")))?;
    match (complaint, status.success()) {
        (Some(text), _) => Err(failed(format!("says: {text}"))),
        (None, false) => Err(failed(format!("failed: {status}"))),
        (None, true) => Ok(variables),
    }
}

/// Reads a line; what it complains of is an error.
fn said(line: &str) -> std::result::Result<Said, String> {
    if line.trim().is_empty() {
        return Ok(Said::Nothing);
    }
    let message: Message =
        serde_json::from_str(line).map_err(|_| format!("`{line}`, which is no message"))?;
    match message.kind.as_str() {
        "info" => Ok(Said::Info(message.message)),
        "debug" => Ok(Said::Nothing),
        "error" => Err(message.message),
        "setenv" => match message.message.split_once('=') {
            Some((key, value)) => Ok(Said::Variable(key.to_owned(), value.to_owned())),
            None => Err(format!("`{}`, which is no KEY=VALUE", message.message)),
        },
        other => Err(format!(
            "`{line}`, and messages of the type `{other}` are not known"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let line =
            |kind: &str, text: &str| said(&format!(r#"{{"type":"{kind}","message":"{text}"}}"#));
        assert_eq!(line("info", "hello"), Ok(Said::Info("hello".into())));
        assert_eq!(line("debug", "x"), Ok(Said::Nothing));
        assert_eq!(
            line("setenv", "URL=a=b"),
            Ok(Said::Variable("URL".into(), "a=b".into()))
        );
        assert_eq!(line("error", "no"), Err("no".into()));
        assert!(line("setenv", "URL").is_err());
        assert!(line("song", "la").is_err());
        assert!(said("hello").is_err());
    }

    #[test]
    fn a_provider_is_called_as_docker_calls_it() {
        let provider = Provider {
            kind: "cloud".into(),
            options: serde_json::from_str(r#"{"size":256,"zone":["a","b"],"on":true}"#).unwrap(),
        };
        assert_eq!(
            words("shop", "db", &provider, "up"),
            [
                "compose",
                "--project-name=shop",
                "up",
                "--on=true",
                "--size=256",
                "--zone=a",
                "--zone=b",
                "db"
            ]
        );
    }
}
