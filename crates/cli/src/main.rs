//! `hull`: the command line. Invoked under the name `docker` it is Docker's.
//!
//! A line of arguments becomes a command in `commands`; its flags are read by `flags` and the
//! grammars in `options`; what it asks of the daemon goes through `connection`; what it has to say
//! is shaped by `format` and printed by `ui`. Nothing else prints.

mod commands;
mod connection;
mod context;
mod error;
mod flags;
mod format;
mod options;
mod settings;
mod terminal;
mod ui;
mod upload;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = context::Program::called(&arguments.next().unwrap_or_default());
    let arguments: Vec<String> = arguments.collect();
    ExitCode::from(match commands::dispatch(program, &arguments) {
        Ok(code) => code,
        Err(error) => ui::report(&error),
    })
}
