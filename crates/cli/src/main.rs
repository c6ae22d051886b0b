//! `hull`: the command line. Invoked under the name `docker` it is Docker's; under the name
//! `docker-credential-hull` it keeps passwords.
//!
//! A line of arguments becomes a command in `commands`; its flags are read by `flags` and the
//! grammars in `options`; what it asks of the daemon goes through `connection`; what it has to say
//! is shaped by `format` and printed by `ui`. Nothing else prints.

mod commands;
mod connection;
mod context;
mod credentials;
mod error;
mod flags;
mod format;
mod git;
mod options;
mod packing;
mod plugins;
mod settings;
mod terminal;
mod ui;
mod upload;

use std::process::ExitCode;

fn main() -> ExitCode {
    terminal::ending::begin();
    let mut arguments = std::env::args_os();
    let called = arguments.next().unwrap_or_default();
    if called
        .as_encoded_bytes()
        .ends_with(credentials::PROGRAM.as_bytes())
    {
        return match texts(arguments) {
            Ok(words) => credentials::main(&words),
            Err(error) => ExitCode::from(ui::report(&error)),
        };
    }
    let program = context::Program::called(&called.to_string_lossy());
    if program == context::Program::Docker && !ui::err_is_terminal() {
        ui::be_terse();
    }
    let result = texts(arguments).and_then(|words| commands::dispatch(program, &words));
    ExitCode::from(match result {
        Ok(code) => code,
        Err(error) => ui::report(&error),
    })
}

/// Commands with words that name files here, which must not become others.
const OF_FILES: [&str; 10] = [
    "build", "compose", "context", "cp", "debug", "export", "import", "load", "save", "serve",
];

/// The words of the command line as text. As with Docker, what is none is marked where it stands and passed on, but for
/// commands that would look for another file then.
fn texts(words: impl Iterator<Item = std::ffi::OsString>) -> error::Result<Vec<String>> {
    let words: Vec<_> = words.collect();
    let names_files = words
        .iter()
        .any(|word| OF_FILES.iter().any(|command| word == command));
    let text = |word: std::ffi::OsString| match word.into_string() {
        Ok(word) => Ok(word),
        Err(word) if names_files => Err(error::Error::new(format!(
            "the argument {word:?} is not valid UTF-8"
        ))
        .with_code(125)),
        Err(word) => Ok(word.to_string_lossy().into_owned()),
    };
    words.into_iter().map(text).collect()
}
