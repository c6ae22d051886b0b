//! What a container can do: the same for `run` and `exec`, and more when it is privileged.

use std::collections::BTreeMap;

use hull_testkit::{Scene, places, scenario};

/// What `hull-probe` prints in a default container. What depends on the kernel alone is left out.
const DEFAULT: &str = include_str!("../../golden/default-container.txt");

fn probe(scene: &Scene, options: &str) -> BTreeMap<String, String> {
    let program = places::program("hull-probe");
    facts(&scene.ok(&format!(
        "run --rm {options} -v {}:/probe:ro busybox /probe",
        program.display()
    )))
}

fn facts(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(": "));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Each line of `expected` must hold; alternatives are parted by ` | `.
#[track_caller]
fn assert_holds(expected: &str, seen: &BTreeMap<String, String>) {
    let wrong: Vec<_> = facts(expected)
        .into_iter()
        .filter(|(key, value)| {
            !value
                .split(" | ")
                .any(|one| seen.get(key).is_some_and(|it| it == one))
        })
        .map(|(key, value)| format!("{key}: {:?}, not {value:?}", seen.get(&key)))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

scenario!(a_default_container_is_closed(scene) {
    assert_holds(DEFAULT, &probe(scene, ""));
});

scenario!(exec_is_as_closed_as_run(scene) {
    let program = places::program("hull-probe");
    scene.ok(&format!("run -d --name c -v {}:/probe:ro busybox sleep 1000", program.display()));
    assert_holds(DEFAULT, &facts(&scene.ok("exec c /probe")));
});

scenario!(a_user_has_no_capability_in_effect(scene) {
    let seen = probe(scene, "-u nobody");
    assert_eq!((seen["status CapEff"].as_str(), seen["status CapPrm"].as_str()), ("0000000000000000", "0000000000000000"));
    assert_eq!((seen["status CapInh"].as_str(), seen["status CapAmb"].as_str()), ("0000000000000000", "0000000000000000"));
});

scenario!(privileged_opens_what_it_should(scene) {
    let seen = probe(scene, "--privileged");
    let expected = "status Seccomp: 0\nstatus CapInh: 0000000000000000\ncall mount: reachable\ncall unshare mount: reachable\n\
                    call pivot_root: reachable\nwrite /proc/sys/kernel/hostname: allowed\nmount /sys: rw,nosuid,nodev,noexec\ndescriptors: 0 1 2";
    assert_holds(expected, &seen);
    assert_eq!(seen["status CapEff"], seen["status CapBnd"]);
});

scenario!(capabilities_are_added_and_dropped(scene) {
    assert_eq!(probe(scene, "--cap-drop ALL")["status CapEff"], "0000000000000000");
    assert_eq!(probe(scene, "--cap-drop ALL --cap-add NET_BIND_SERVICE")["status CapEff"], "0000000000000400");
    assert_eq!(probe(scene, "--cap-add SYS_ADMIN")["call mount"], "reachable");
    assert_eq!(probe(scene, "--security-opt no-new-privileges")["status NoNewPrivs"], "1");
    assert_eq!(probe(scene, "--security-opt seccomp=unconfined")["status Seccomp"], "0");
});

scenario!(a_seccomp_profile_is_obeyed(scene) {
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#;
    let file = scene.daemon.path("profile.json");
    std::fs::write(&file, profile).unwrap();
    let output = scene.run(&format!("run --rm --security-opt seccomp={} busybox mkdir /x", file.display()));
    assert!(output.code == 1 && output.stderr.contains("Operation not permitted"), "{output:?}");
});
