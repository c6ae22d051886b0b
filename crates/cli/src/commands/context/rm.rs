//! `context rm`

use crate::commands::{About, Call, Command, Operands};
use crate::context::DEFAULT;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::settings::Settings;
use crate::ui;

#[derive(Default)]
pub(crate) struct Rm {
    force: bool,
}

impl Command for Rm {
    const ABOUT: About = About::new(
        &["context rm", "context remove"],
        "CONTEXT [CONTEXT...]",
        "Remove one or more contexts",
        Operands::AtLeast(1),
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "f,force",
            "",
            "Force the removal of a context in use",
            &mut self.force,
        );
    }

    async fn run(self, call: Call) -> Result<u8> {
        let current = call.globals.context_name();
        let mut failures = Vec::new();
        for name in &call.operands {
            match self.one(&call, name, &current) {
                Ok(()) => ui::line(name)?,
                Err(error) => failures.push(error.message().to_owned()),
            }
        }
        match failures.is_empty() {
            true => Ok(0),
            false => Err(Error::new(failures.join("\n"))),
        }
    }
}

impl Rm {
    fn one(&self, call: &Call, name: &str, current: &str) -> Result<()> {
        if name == DEFAULT {
            return Err(Error::new("context \"default\" cannot be removed"));
        }
        let store = call.globals.contexts();
        if !self.force && !store.has(name) {
            return Err(Error::new(format!("context \"{name}\" does not exist")));
        }
        if name == current {
            if !self.force {
                return Err(Error::new(format!(
                    "context \"{name}\" is in use, set -f flag to force remove"
                )));
            }
            Settings::read(&call.globals.config_directory)
                .edit(|document| document.remove("currentContext"))?;
        }
        store.remove(name)
    }
}
