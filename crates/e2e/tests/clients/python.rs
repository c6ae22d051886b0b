//! docker-py: its script stands in `tests/clients/docker_py.py`.

use std::process::Command;

use hull_testkit::{Client, Scene, places};

#[test]
fn docker_py_plays_its_scenarios() {
    Scene::play(Client::Docker, |scene| {
        let script = places::repository().join("tests/clients/docker_py.py");
        let mut command = Command::new("timeout");
        command
            .arg("300")
            .arg(places::python())
            .arg(script)
            .env("DOCKER_HOST", scene.daemon.host());
        let output = command
            .env("HULL_IMAGE", places::image("busybox"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("all scenarios passed"), "{text}");
    });
}
