//! `context export`

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use super::{archive, keys, metadata};
use crate::commands::{About, Call, Command, Operands};
use crate::context::DEFAULT;
use crate::context::store::check_name;
use crate::error::{Error, Result};
use crate::ui;

#[derive(Default)]
pub(crate) struct Export;

impl Command for Export {
    const ABOUT: About = About::new(
        &["context export"],
        "[OPTIONS] CONTEXT [FILE|-]",
        "Export a context to a tar archive FILE or a tar stream on STDOUT.",
        Operands::Between(1, 2),
    );

    async fn run(self, call: Call) -> Result<u8> {
        let name = call.operand(0);
        if name != DEFAULT {
            check_name(name)?;
        }
        let bytes = archive::write(&metadata(&call.globals, name)?, &keys(&call.globals, name)?)?;
        let path = match call.operand(1) {
            "-" => {
                if ui::out_is_terminal() {
                    return Err(Error::new(
                        "cowardly refusing to export to a terminal, specify a file path",
                    ));
                }
                ui::out_bytes(&bytes)?;
                return Ok(0);
            }
            "" => format!("{name}.dockercontext"),
            path => path.to_owned(),
        };
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(&bytes));
        written.map_err(|error| Error::io("open", &path, &error))?;
        ui::note(&format!("Written file {path:?}"));
        Ok(0)
    }
}
