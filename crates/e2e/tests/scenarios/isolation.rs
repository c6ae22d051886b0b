//! What a container can do: the same for `run` and `exec`, and more when it is privileged.
//!
//! `hull-probe` says it from inside, and its own golden files say what it must be.

use std::fs;
use std::process::Command;

use hull_testkit::{Scene, places, scenario};
use serde_json::Value;

/// Where the probe is mounted in its containers.
fn mounted() -> String {
    format!("-v {}:/probe:ro", places::program("hull-probe").display())
}

fn probe(scene: &Scene, options: &str) -> Value {
    let text = scene.ok(&format!("run --rm {options} {} busybox /probe", mounted()));
    serde_json::from_str(&text).unwrap()
}

/// Lets the probe compare a report with one of its golden files.
#[track_caller]
fn assert_golden(scene: &Scene, golden: &str, report: &str) {
    let file = scene.daemon.path("report.json");
    fs::write(&file, report).unwrap();
    let golden = places::repository()
        .join("crates/probe/golden")
        .join(golden);
    let mut compare = Command::new(places::program("hull-probe"));
    let output = compare
        .arg("compare")
        .arg(golden)
        .arg(file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

scenario!(a_default_container_is_closed(scene) {
    assert_golden(scene, "run.json", &probe(scene, "").to_string());
});

scenario!(exec_is_as_closed_as_run(scene) {
    scene.ok(&format!("run -d --name box {} busybox sleep 1000", mounted()));
    assert_golden(scene, "exec.json", &scene.ok("exec box /probe"));
});

scenario!(privileged_opens_what_it_should(scene) {
    assert_golden(scene, "privileged.json", &probe(scene, "--privileged").to_string());
});

scenario!(a_user_has_no_capability_in_effect(scene) {
    let seen = &probe(scene, "-u nobody")["capabilities"];
    for set in ["effective", "permitted", "inheritable", "ambient"] {
        assert_eq!(seen[set], "0000000000000000", "{set}");
    }
});

scenario!(capabilities_are_added_and_dropped(scene) {
    let effective = |options: &str| probe(scene, options)["capabilities"]["effective"].clone();
    assert_eq!(effective("--cap-drop ALL"), "0000000000000000");
    assert_eq!(effective("--cap-drop ALL --cap-add NET_BIND_SERVICE"), "0000000000000400");
    assert_ne!(probe(scene, "--cap-add SYS_ADMIN")["syscalls"]["mount"], "EPERM");
    assert_eq!(probe(scene, "--security-opt no-new-privileges")["no_new_privs"], 1);
    assert_eq!(probe(scene, "--security-opt seccomp=unconfined")["seccomp"], 0);
});

scenario!(a_seccomp_profile_is_obeyed(scene) {
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#;
    let file = scene.daemon.path("profile.json");
    fs::write(&file, profile).unwrap();
    let output = scene.run(&format!("run --rm --security-opt seccomp={} busybox mkdir /x", file.display()));
    assert!(output.code == 1 && output.stderr.contains("Operation not permitted"), "{output:?}");
});
