//! SIGINT and SIGTERM end the program with the exit codes of Docker's (130 and 143) rather than by the signal, of which a
//! shell script would die, too. Whoever listens to one of the two takes it over; nothing else has to know of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use signal_hook::flag::register_conditional_shutdown;

/// A signal that ends the program.
struct Ending {
    number: i32,
    /// Whether it does at present, with the exit code of a signal.
    ends: Arc<AtomicBool>,
    /// Whether it does with another one, if one was chosen.
    ends_otherwise: Arc<AtomicBool>,
}

static ENDING: LazyLock<[Ending; 2]> = LazyLock::new(|| {
    [2, 15].map(|number| Ending {
        number,
        ends: Arc::new(AtomicBool::new(true)),
        ends_otherwise: Arc::new(AtomicBool::new(false)),
    })
});

/// The exit code that was chosen.
static CODE: OnceLock<i32> = OnceLock::new();

/// Begins to end the program with its own exit codes. Where that cannot be had, signals do what they always do.
pub(crate) fn begin() {
    for ending in &*ENDING {
        let code = 128 + ending.number;
        _ = register_conditional_shutdown(ending.number, code, Arc::clone(&ending.ends));
    }
}

/// From now on the signals end the program with this exit code.
pub(crate) fn choose(code: i32) {
    if CODE.set(code).is_err() {
        return;
    }
    for ending in &*ENDING {
        let other = Arc::clone(&ending.ends_otherwise);
        if register_conditional_shutdown(ending.number, code, other).is_ok() {
            let ends = ending.ends.swap(false, Ordering::Relaxed);
            ending.ends_otherwise.store(ends, Ordering::Relaxed);
        }
    }
}

/// The exit code of a program that this signal ends.
pub(super) fn code(number: i32) -> i32 {
    CODE.get().copied().unwrap_or(128 + number)
}

/// Whether a signal ends the program from now on; others than the two are left alone.
pub(super) fn set(number: i32, ends: bool) {
    if let Some(ending) = ENDING.iter().find(|ending| ending.number == number) {
        let state = match CODE.get() {
            Some(_) => &ending.ends_otherwise,
            None => &ending.ends,
        };
        state.store(ends, Ordering::Relaxed);
    }
}
