//! Says what the process it runs as can do, as JSON: the test of every container's confinement.
//!
//! `hull-probe` prints the report. `hull-probe compare GOLDEN REPORT` lists where a report differs
//! from what is expected and fails if it does anywhere.
//!
//! It is built static, so that it runs in an image that holds nothing else:
//! `RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --target
//! x86_64-unknown-linux-gnu -p hull-probe`.
#![expect(clippy::print_stdout, reason = "the report is the program's output")]

mod attempts;
mod compare;
mod report;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => {
            println!("{:#}", report::report());
            ExitCode::SUCCESS
        }
        ["compare", golden, report] => show(compare::files(golden, report)),
        _ => {
            println!("usage: hull-probe [compare GOLDEN REPORT]");
            ExitCode::from(2)
        }
    }
}

fn show(differences: Result<Vec<String>, String>) -> ExitCode {
    match differences {
        Ok(differences) if differences.is_empty() => ExitCode::SUCCESS,
        Ok(differences) => {
            differences.iter().for_each(|line| println!("{line}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{error}");
            ExitCode::from(2)
        }
    }
}
