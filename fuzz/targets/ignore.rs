//! Any text is a `.dockerignore` or refused, and any path is then in or out.

#![no_main]

use std::path::Path;

use hull_context::Ignore;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (text, path) = input;
    if let Ok(ignore) = Ignore::parse(text) {
        let _ = ignore.ignores(Path::new(path));
    }
});
