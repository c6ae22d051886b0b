//! CDI: devices that files of the host describe, for containers and for builds.

use std::fs;
use std::path::Path;

use hull_testkit::{Client, Scene};
use serde_json::Value;
use tempfile::TempDir;

/// A vendor's file: the null device under another name, with what belongs to it.
const VENDOR: &str = r#"cdiVersion: "0.7.0"
kind: vendor.com/device
containerEdits:
  env:
  - VENDOR=here
devices:
- name: nothing
  containerEdits:
    env: [DEVICE=nothing]
    deviceNodes:
    - {path: /dev/nothing, hostPath: /dev/null, permissions: rw, fileMode: 0622}
    mounts:
    - hostPath: @HERE@/library
      containerPath: /opt/vendor/library
      options: [ro, nosuid, nodev, bind]
    additionalGids: [4242]
    hooks:
    - hookName: createRuntime
      path: /bin/sh
      args: [sh, -c, "cat > @HERE@/hooked"]
- name: free
  annotations: {org.mobyproject.buildkit.device.autoallow: "true"}
  containerEdits:
    env: [DEVICE=free]
"#;

/// What a container with the device sees.
const LOOK: &str = "sh -c 'echo x > /dev/nothing && stat -c \"%a %t:%T\" /dev/nothing && echo $VENDOR $DEVICE && \
    cat /opt/vendor/library/file && id -G && ! touch /opt/vendor/library/new 2>/dev/null'";
const SEEN: &str = "622 1:3\nhere nothing\ncontent\n0 4242";

/// Plays on a daemon that finds this vendor's file.
fn play(scenario: impl FnOnce(&mut Scene, &Path)) {
    let directory = TempDir::with_prefix("hull-cdi-").unwrap();
    let here = directory.path();
    fs::create_dir(here.join("library")).unwrap();
    fs::write(here.join("library/file"), "content\n").unwrap();
    let text = VENDOR.replace("@HERE@", &here.display().to_string());
    fs::write(here.join("vendor.yaml"), text).unwrap();
    let option = format!("--cdi-spec-dir={}", here.display());
    Scene::play_with(Client::Hull, &[&option], |scene| scenario(scene, here));
}

#[test]
fn a_container_gets_what_the_vendor_s_file_says() {
    play(|scene, here| {
        let device = "--device vendor.com/device=nothing";
        assert_eq!(scene.ok(&format!("run --rm {device} busybox {LOOK}")), SEEN);
        let state: Value = serde_json::from_slice(&fs::read(here.join("hooked")).unwrap()).unwrap();
        assert!(state["pid"].as_u64().is_some(), "{state}");
        // A user who is not root owns the node.
        let line = "run --rm --user 7:8 --device vendor.com/device=nothing busybox stat -c '%u:%g' /dev/nothing";
        assert_eq!(scene.ok(line), "7:8");
        let info = scene.daemon.api("GET", "/info", &Value::Null).json();
        assert_eq!(info["CDISpecDirs"][0], here.display().to_string());
        assert_eq!(
            info["DiscoveredDevices"][1]["ID"],
            "vendor.com/device=nothing"
        );
    });
}

#[test]
fn a_device_that_nobody_describes_is_refused_with_those_that_there_are() {
    play(|scene, here| {
        let line = "run --name box --device vendor.com/device=other busybox true";
        let complaint = scene.fails(125, line);
        let text = "CDI device injection failed: unresolvable CDI devices vendor.com/device=other \
                    (described are vendor.com/device=free, vendor.com/device=nothing";
        assert!(complaint.contains(text), "{complaint}");
        scene.ok("rm box");
        // A file is read anew at each start: one that went away takes its devices with it.
        scene.ok("create --name box --device vendor.com/device=free busybox sh -c 'echo $DEVICE'");
        assert_eq!(scene.ok("start -a box"), "free");
        fs::write(here.join("vendor.yaml"), "cdiVersion: [").unwrap();
        let complaint = scene.fails(1, "start box");
        assert!(
            complaint.contains("vendor.yaml: this is not YAML"),
            "{complaint}"
        );
        let complaint = scene.fails(125, "run --rm --gpus all busybox true");
        assert!(
            complaint.contains("could not select device driver"),
            "{complaint}"
        );
    });
}

#[test]
fn a_build_s_step_gets_a_device_that_the_client_grants() {
    play(|scene, _| {
        let context = scene.daemon.path("context");
        fs::create_dir(&context).unwrap();
        let build = |dockerfile: &str, line: &str| {
            fs::write(context.join("Dockerfile"), dockerfile).unwrap();
            scene.run(&format!("build {line} -t it {}", context.display()))
        };
        let wants = format!(
            "FROM busybox\nARG WHICH=nothing\nRUN --device=vendor.com/device=$WHICH,required {LOOK} > /seen\n"
        );
        let refused = build(&wants, "");
        let complaint = refused.stderr;
        assert_ne!(refused.code, 0, "{complaint}");
        assert!(complaint.contains("device vendor.com/device=nothing is not allowed: grant it with --allow device=vendor.com/device=nothing"), "{complaint}");
        assert!(complaint.contains("Dockerfile:3"), "{complaint}");
        let granted = build(&wants, "--allow device=vendor.com/device");
        assert_eq!(granted.code, 0, "{}", granted.stderr);
        assert_eq!(scene.ok("run --rm it cat /seen"), SEEN);
        // Of what was mounted nothing is left, and nothing of its variables.
        assert_eq!(
            scene.ok("run --rm it sh -c 'ls -d /opt; echo $VENDOR; true'"),
            ""
        );
        let missing = build(&wants, "--allow device --build-arg WHICH=other");
        assert_ne!(missing.code, 0);
        assert!(
            missing
                .stderr
                .contains("required device \"vendor.com/device=other\" is not registered"),
            "{}",
            missing.stderr
        );
        // One that may be missing, and one that needs no leave.
        let free = "FROM busybox\nRUN --device=vendor.com/device=other --device=vendor.com/device=free echo $DEVICE > /seen\n";
        let done = build(free, "");
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(
            done.stderr
                .contains("is not registered: the step is run without it"),
            "{}",
            done.stderr
        );
        assert_eq!(scene.ok("run --rm it cat /seen"), "free");
        let wrong = build("FROM busybox\nRUN --device=nothing true\n", "");
        assert!(
            wrong.stderr.contains("unexpected \"nothing\" in --device"),
            "{}",
            wrong.stderr
        );
        scene.ok("rmi it");
        scene.ok("builder prune -af");
    });
}
