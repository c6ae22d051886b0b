//! Signals that are not for this program but for the container it is attached to, or for nobody.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hull_api::Client;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use super::{ending, guard};
use crate::error::Error;
use crate::ui;

/// What is passed on, with the numbers Linux gives them.
const FORWARDED: [(&str, i32); 8] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
];

/// What does not end this program while it is attached, until it has come `FORCED` times.
const HELD: [i32; 2] = [2, 15];
/// Whoever presses Ctrl-C this often means this program. The number is Docker's.
const FORCED: usize = 3;

/// Whether those of `HELD` are held at present.
static HOLDS: AtomicBool = AtomicBool::new(false);

/// What becomes of signals while a container is attached, until this is dropped.
#[must_use]
pub(crate) struct Heeding {
    tasks: JoinSet<()>,
    pub(super) passes_on: bool,
}

impl Drop for Heeding {
    fn drop(&mut self) {
        HOLDS.store(false, Ordering::Relaxed);
        if !guard::watches() {
            HELD.into_iter()
                .for_each(|number| ending::set(number, true));
        }
    }
}

/// Begins to pass signals on to a container; whoever insists on the end of this program gets it.
pub(crate) fn forward(client: &Client, container: &str) -> Heeding {
    let mut heeding = hold();
    heeding.passes_on = true;
    for (name, number) in FORWARDED {
        let Ok(mut signals) = listen(SignalKind::from_raw(number)) else {
            continue;
        };
        let (client, container) = (client.clone(), container.to_owned());
        heeding.tasks.spawn(async move {
            while signals.recv().await.is_some() {
                // The container may have ended meanwhile, which is what the signal was for.
                _ = client.container_kill(&container, name).await;
            }
        });
    }
    heeding
}

/// Begins to pass nothing on: as with Docker, Ctrl-C is for nobody, unless it is insisted on.
pub(crate) fn hold() -> Heeding {
    let mut tasks = JoinSet::new();
    let count = Arc::new(AtomicUsize::new(0));
    for number in HELD {
        let Ok(mut signals) = listen(SignalKind::from_raw(number)) else {
            continue;
        };
        let count = Arc::clone(&count);
        tasks.spawn(async move {
            while signals.recv().await.is_some() {
                if count.fetch_add(1, Ordering::Relaxed) + 1 == FORCED {
                    guard::restore();
                    let text = format!("\ngot {FORCED} SIGTERM/SIGINTs, forcefully exiting");
                    guard::exit(ui::report(&Error::new(text)).into());
                }
            }
        });
    }
    HOLDS.store(true, Ordering::Relaxed);
    Heeding {
        tasks,
        passes_on: false,
    }
}

/// Whether a signal is held back from ending this program.
pub(super) fn holds(number: i32) -> bool {
    HELD.contains(&number) && HOLDS.load(Ordering::Relaxed)
}

/// Listens to a signal, which does nothing else from now on.
///
/// # Errors
/// When it cannot be listened to.
pub(crate) fn listen(kind: SignalKind) -> io::Result<Signal> {
    let signals = signal(kind)?;
    ending::set(kind.as_raw_value(), false);
    Ok(signals)
}

/// Changes of the terminal's size.
pub(crate) fn resizes() -> Option<Signal> {
    signal(SignalKind::window_change()).ok()
}
