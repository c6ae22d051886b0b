//! Gives the terminal back when a signal ends the program while it is in another mode.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcsetattr};
use tokio::signal::unix::SignalKind;
use tokio::task::JoinSet;

use super::signals::{holds, listen};
use super::{Signals, ending};

/// What ends a program that does not heed it.
const ENDING: [i32; 4] = [1, 2, 3, 15];

/// How the terminal was, while it is otherwise.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// That somebody waits for the signals that end the program.
static WATCH: OnceLock<()> = OnceLock::new();

/// Remembers what to give back; forgets it when dropped.
pub(super) struct Guard;

impl Guard {
    /// Begins to heed the signals, unless somebody else does. They go on ending the program when this is
    /// dropped, as they do where nobody heeds them.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub(super) fn of(before: &Termios, signals: Signals) -> io::Result<Self> {
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before.clone());
        if signals == Signals::End && WATCH.get().is_none() {
            watch()?;
            _ = WATCH.set(());
        }
        Ok(Self)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Whether signals end the program from here.
pub(super) fn watches() -> bool {
    WATCH.get().is_some()
}

/// Waits on a thread of its own: the others may sit in a read.
fn watch() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // They are listened to from now on, not only once the thread runs.
    let mut waiting = JoinSet::new();
    for number in ENDING {
        let entered = runtime.enter();
        let mut signals = listen(SignalKind::from_raw(number))?;
        drop(entered);
        let wait = async move {
            while signals.recv().await.is_some() {
                if !holds(number) {
                    restore();
                    exit(ending::code(number));
                }
            }
        };
        waiting.spawn_on(wait, runtime.handle());
    }
    std::thread::spawn(move || {
        runtime.block_on(async { while waiting.join_next().await.is_some() {} });
    });
    Ok(())
}

/// Gives the terminal back, if it is otherwise than it was.
pub(super) fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(before) = before.as_ref() {
        _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
    }
}

#[expect(
    clippy::exit,
    reason = "what the signal would have done, had the terminal not been in the way"
)]
pub(super) fn exit(code: i32) -> ! {
    std::process::exit(code);
}
