//! Docker's own command line and ours under the name `docker`, against the same daemon: the same words on standard output
//! and standard error, and the same exit code, byte for byte.
//!
//! `lines/*.txt` hold the command lines, as one types them into a shell. `differences.tsv` holds those whose answers differ
//! on purpose, each with its reason; a line that stands there and no longer differs is a failure, too.
//! `HULL_PARITY_ONLY=text` plays only the sections whose title contains the text.

mod play;
mod script;
mod settle;

use script::Script;

/// One file of lines, each on a daemon of its own.
macro_rules! files {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            play::file(stringify!($name), include_str!(concat!("lines/", stringify!($name), ".txt")));
        })*

        const FILES: &[&str] = &[$(include_str!(concat!("lines/", stringify!($name), ".txt"))),*];
    };
}

files!(
    pages, listing, templates, containers, images, settings, objects, mistakes, flags
);

/// What the two are compared by is enough to call them alike.
const LINES_MIN: usize = 300;

#[test]
fn there_are_enough_lines_and_no_difference_is_listed_in_vain() {
    let scripts: Vec<Script> = FILES.iter().map(|text| script::parse(text)).collect();
    let lines: Vec<&str> = scripts
        .iter()
        .flat_map(|script| &script.sections)
        .flat_map(|section| section.compared())
        .collect();
    assert!(lines.len() >= LINES_MIN, "only {} lines", lines.len());
    for known in settle::differences() {
        assert!(
            lines.contains(&known.line),
            "differences.tsv names a line that no file has: {}",
            known.line
        );
        assert!(known.reason.len() > 10, "no reason: {}", known.line);
    }
}
