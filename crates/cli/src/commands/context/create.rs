//! `context create`

use super::place::{HELP, Words};
use super::{DEFAULT_DESCRIPTION, keys, metadata};
use crate::commands::{About, Call, Command, Operands};
use crate::context::DEFAULT;
use crate::context::store::{Metadata, check_name};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

#[derive(Default)]
pub(crate) struct Create {
    description: String,
    docker: Words,
    from: String,
}

impl Command for Create {
    const ABOUT: About = About::new(
        &["context create"],
        "[OPTIONS] CONTEXT",
        "Create a context",
        Operands::Exactly(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("description", "string", "Description of the context", &mut self.description);
        set.add("docker", "stringToString", "set the docker endpoint (default [])", &mut self.docker);
        set.add("from", "string", "create context from a named context", &mut self.from);
    }

    fn description() -> String {
        format!("Create a context\n\n{}", HELP.replace("VERB", "create"))
    }

    async fn run(self, call: Call) -> Result<u8> {
        let name = call.operand(0);
        check_name(name)?;
        let store = call.globals.contexts();
        if store.has(name) {
            return Err(Error::new(format!("context \"{name}\" already exists")));
        }
        let has_place = call.has("docker");
        if !self.from.is_empty() && has_place {
            return Err(Error::new("cannot use --docker flag when --from is set"));
        }
        let (mut made, keys) = if has_place {
            let (place, keys) = self.docker.endpoint(&call.globals)?;
            let mut made = Metadata::default();
            made.set_place(&place);
            (made, keys)
        } else {
            let from = match self.from.as_str() {
                "" => call.globals.context_name(),
                from => from.to_owned(),
            };
            let mut made = metadata(&call.globals, &from)?;
            if from == DEFAULT {
                DEFAULT_DESCRIPTION.clone_into(&mut made.metadata.description);
            }
            (made, keys(&call.globals, &from)?)
        };
        name.clone_into(&mut made.name);
        if !self.description.is_empty() {
            made.metadata.description = self.description;
        }
        store.put_keys(name, &keys)?;
        store.put(&made)?;
        ui::line(name)?;
        ui::note(&format!("Successfully created context \"{name}\""));
        Ok(0)
    }
}
