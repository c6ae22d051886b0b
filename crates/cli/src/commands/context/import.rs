//! `context import`

use std::io::Read;

use super::archive;
use crate::commands::{About, Call, Command, Operands};
use crate::context::store::check_name;
use crate::error::{Error, Result};
use crate::ui;

/// No archive of a context is larger.
const ARCHIVE_MAX: u64 = 64 << 20;

#[derive(Default)]
pub(crate) struct Import;

impl Command for Import {
    const ABOUT: About = About::new(
        &["context import"],
        "CONTEXT FILE|-",
        "Import a context from a tar or zip file",
        Operands::Exactly(2),
    );

    async fn run(self, call: Call) -> Result<u8> {
        let (name, path) = (call.operand(0), call.operand(1));
        check_name(name)?;
        let store = call.globals.contexts();
        if store.has(name) {
            return Err(Error::new(format!("context \"{name}\" already exists")));
        }
        let mut bytes = Vec::new();
        let read = match path {
            "-" => std::io::stdin().take(ARCHIVE_MAX).read_to_end(&mut bytes),
            path => std::fs::File::open(path)
                .and_then(|file| file.take(ARCHIVE_MAX).read_to_end(&mut bytes)),
        };
        read.map_err(|error| Error::io("open", path, &error))?;
        let (mut metadata, keys) = archive::read(&bytes)?;
        name.clone_into(&mut metadata.name);
        store.put_keys(name, &keys)?;
        store.put(&metadata)?;
        ui::line(name)?;
        ui::note(&format!("Successfully imported context \"{name}\""));
        Ok(0)
    }
}
