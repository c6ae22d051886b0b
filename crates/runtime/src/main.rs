//! `hull-runtime`: the OCI runtime as a command, with runc's verbs and flags.

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::main(std::env::args().skip(1).collect())
}
