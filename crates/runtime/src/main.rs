//! `hull-runtime`: the OCI runtime as a command, with runc's verbs and flags.

mod command;

use std::{ffi::OsString, io::Write as _, process::ExitCode};

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1).map(OsString::into_string);
    match words.collect() {
        Ok(words) => command::main(words),
        Err(word) => {
            let _ = writeln!(std::io::stderr(), "hull-runtime: {word:?} is not UTF-8");
            ExitCode::FAILURE
        }
    }
}
