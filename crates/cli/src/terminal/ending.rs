//! SIGINT and SIGTERM end the program with the exit codes of Docker's (130 and 143) rather than by the signal, of which a
//! shell script would die, too. Whoever listens to one of the two takes it over; nothing else has to know of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::flag::register_conditional_shutdown;

/// What ends the program, and whether it does at present.
static ENDING: LazyLock<[(i32, Arc<AtomicBool>); 2]> =
    LazyLock::new(|| [2, 15].map(|number| (number, Arc::new(AtomicBool::new(true)))));

/// Begins to end the program with its own exit codes. Where that cannot be had, signals do what they always do.
pub(crate) fn begin() {
    for (number, ends) in &*ENDING {
        _ = register_conditional_shutdown(*number, 128 + number, Arc::clone(ends));
    }
}

/// Whether a signal ends the program from now on; others than the two are left alone.
pub(super) fn set(number: i32, ends: bool) {
    if let Some((_, state)) = ENDING.iter().find(|(known, _)| *known == number) {
        state.store(ends, Ordering::Relaxed);
    }
}
