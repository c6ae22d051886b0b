//! Before an application is brought up whose files somebody else keeps: where they lie now, what of this
//! machine they take and reach for, and whether that is meant.

use std::collections::BTreeSet;

use hull_compose::model::Project;
use hull_compose::{Loaded, is_remote, reach};

use super::project::load_failure;
use crate::commands::Call;
use crate::error::{Error, Result};
use crate::format::tabwriter::align_with;
use crate::ui;

/// Asks, unless `--yes` has answered. Files that take nothing and stay within what is their own are only
/// told of.
///
/// # Errors
/// It is not meant, or there is nobody to ask.
pub(super) fn confirm(call: &Call, loaded: &Loaded, yes: bool) -> Result<()> {
    let named = call.globals.compose.files();
    let fetched = named.iter().zip(&loaded.files);
    let fetched: Vec<_> = fetched.filter(|(name, _)| is_remote(name)).collect();
    if fetched.is_empty() {
        return Ok(());
    }
    for (name, file) in fetched {
        ui::note(&format!("{name} is kept in {file}"));
    }
    let project = Project::of(loaded).map_err(load_failure)?;
    let (variables, reached) = (variables(loaded, &project), reached(loaded, &project));
    if !variables.is_empty() {
        ui::note(&format!("It takes these variables:\n{variables}"));
    }
    if !reached.is_empty() {
        ui::note(&format!("It reaches for this of the machine:\n{reached}"));
    }
    if yes || (variables.is_empty() && reached.is_empty()) {
        return Ok(());
    }
    if !ui::in_is_terminal() {
        return Err(Error::new(
            "a project of somebody else is brought up only if all that is confirmed",
        )
        .with_hint("add `--yes` (`up`, `create` and `run` take it)"));
    }
    match ui::confirm("Go on with that?")? {
        true => Ok(()),
        false => Err(Error::new("it was not confirmed, so nothing was done")),
    }
}

/// Each variable, and where its value is from: the value itself may be a secret.
fn variables(loaded: &Loaded, project: &Project) -> String {
    let mut text = String::new();
    let from = |name: &str, default: &str| match loaded.environment.contains_key(name) {
        _ if std::env::var_os(name).is_some() => "the environment",
        true => "a file of variables",
        false if default.is_empty() => "nowhere",
        false => "its default",
    };
    let mut known = BTreeSet::new();
    for variable in &loaded.variables {
        let (name, default) = (variable.name.as_str(), &variable.default);
        known.insert(name);
        let from = from(name, default);
        text.push_str(&format!(
            "{}\t{from}\t{}\t{}\n",
            name.escape_debug(),
            variable.required,
            default.escape_debug()
        ));
    }
    let objects = project.secrets.values().chain(project.configs.values());
    let objects = objects.map(|object| object.environment.as_str());
    let mut by_name: BTreeSet<&str> = loaded.taken.iter().map(String::as_str).collect();
    by_name.extend(objects.filter(|name| !name.is_empty()));
    for name in by_name.difference(&known) {
        text.push_str(&format!(
            "{}\t{}\tfalse\t\n",
            name.escape_debug(),
            from(name, "")
        ));
    }
    match text.is_empty() {
        true => text,
        false => table(&format!("VARIABLE\tVALUE FROM\tREQUIRED\tDEFAULT\n{text}")),
    }
}

/// Each key that reaches for what is not the project's own, and for what.
fn reached(loaded: &Loaded, project: &Project) -> String {
    let list = reach::of(project, &loaded.roots);
    let lines = list
        .iter()
        .map(|one| format!("{}\t{}\n", one.key, one.what));
    table(&lines.collect::<String>())
}

fn table(text: &str) -> String {
    let aligned = align_with(text, 8, 3);
    let lines: Vec<&str> = aligned.lines().map(str::trim_end).collect();
    lines.join("\n")
}
