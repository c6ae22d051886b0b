//! Any bytes are messages of BuildKit's protocol that are understood, or are refused.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hull_buildkit::chew(bytes));
