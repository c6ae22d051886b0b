//! Any text is a Dockerfile or a syntax error, and what is parsed can be expanded.

#![no_main]

use hull_build::dockerfile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(located) = dockerfile::parse(text) {
        // The caret must point into the text.
        let _ = located.error.to_string();
    }
});
