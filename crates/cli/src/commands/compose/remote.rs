//! Before an application is brought up whose files somebody else keeps: where they lie now, which of
//! this machine's variables they take, and whether that is meant.

use hull_compose::{Loaded, is_remote};

use crate::commands::Call;
use crate::error::{Error, Result};
use crate::format::tabwriter::align_with;
use crate::ui;

/// Asks, unless `--yes` has answered. Files that take no variables learn nothing, and are only told of.
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
    if yes || loaded.variables.is_empty() {
        return Ok(());
    }
    ui::note(&format!("It takes these variables:\n{}", variables(loaded)));
    if !ui::in_is_terminal() {
        return Err(
            Error::new("what is not of this machine is used only if that is confirmed")
                .with_hint("add `--yes`"),
        );
    }
    match ui::confirm("Go on with them?")? {
        true => Ok(()),
        false => Err(Error::new("it was not confirmed, so nothing was done")),
    }
}

/// Each variable, and where its value is from: the value itself may be a secret.
fn variables(loaded: &Loaded) -> String {
    let mut text = "VARIABLE\tVALUE FROM\tREQUIRED\tDEFAULT\n".to_owned();
    for variable in &loaded.variables {
        let from = match loaded.environment.contains_key(&variable.name) {
            _ if std::env::var_os(&variable.name).is_some() => "the environment",
            true => "a file of variables",
            false if variable.default.is_empty() => "nowhere",
            false => "its default",
        };
        text.push_str(&format!(
            "{}\t{from}\t{}\t{}\n",
            variable.name, variable.required, variable.default
        ));
    }
    align_with(&text, 8, 3).trim_end().to_owned()
}
