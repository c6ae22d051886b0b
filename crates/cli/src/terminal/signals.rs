//! Signals that are not for this program but for the container it is attached to.

use hull_api::Client;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

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

/// Passes signals on to a container until it is dropped.
#[must_use]
pub(crate) struct Forwarding {
    _tasks: JoinSet<()>,
}

/// Begins to pass signals on.
pub(crate) fn forward(client: &Client, container: &str) -> Forwarding {
    let mut tasks = JoinSet::new();
    for (name, number) in FORWARDED {
        let Ok(mut signals) = signal(SignalKind::from_raw(number)) else {
            continue;
        };
        let (client, container) = (client.clone(), container.to_owned());
        tasks.spawn(async move {
            while signals.recv().await.is_some() {
                // The container may have ended meanwhile, which is what the signal was for.
                _ = client.container_kill(&container, name).await;
            }
        });
    }
    Forwarding { _tasks: tasks }
}

/// Changes of the terminal's size.
pub(crate) fn resizes() -> Option<Signal> {
    signal(SignalKind::window_change()).ok()
}
