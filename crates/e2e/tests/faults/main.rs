//! What may go wrong, and what must hold nevertheless: nothing acknowledged is lost, nothing is left on the host, and no
//! running container notices that the daemon died.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its files fails right there"
)]

mod client;
mod daemon;
mod disk;
mod load;
mod network;
mod process;
mod racer;
mod registry;
mod state;

use hull_testkit::{Client, Scene};

/// Plays a fault with Docker's client.
#[track_caller]
fn play(scenario: impl FnOnce(&mut Scene)) {
    Scene::play(Client::Docker, scenario);
}

/// The process that is parent of a container's first process: its supervisor.
fn supervisor(scene: &Scene, container: &str) -> u32 {
    let pid = scene.inspect(container, "{{.State.Pid}}");
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the container runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
    parent
        .and_then(|text| text.parse().ok())
        .expect("a process has a parent")
}
