//! `context update`

use super::place::{HELP, Words};
use crate::commands::{About, Call, Command, Operands};
use crate::context::store::check_name;
use crate::error::Result;
use crate::flags::FlagSet;
use crate::ui;

#[derive(Default)]
pub(crate) struct Update {
    description: String,
    docker: Words,
}

impl Command for Update {
    const ABOUT: About = About::new(
        &["context update"],
        "[OPTIONS] CONTEXT",
        "Update a context",
        Operands::Exactly(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("description", "string", "Description of the context", &mut self.description);
        set.add("docker", "stringToString", "set the docker endpoint (default [])", &mut self.docker);
    }

    fn description() -> String {
        format!("Update a context\n\n{}", HELP.replace("VERB", "update"))
    }

    async fn run(self, call: Call) -> Result<u8> {
        let name = call.operand(0);
        check_name(name)?;
        let store = call.globals.contexts();
        let mut metadata = store.get(name)?;
        if !self.description.is_empty() {
            metadata.metadata.description = self.description;
        }
        if call.has("docker") {
            let (place, keys) = self.docker.endpoint(&call.globals)?;
            metadata.set_place(&place);
            store.put_keys(name, &keys)?;
        }
        store.put(&metadata)?;
        ui::line(name)?;
        ui::note(&format!("Successfully updated context \"{name}\""));
        Ok(0)
    }
}
