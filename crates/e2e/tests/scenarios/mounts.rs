//! How mounts below a bind are seen, on both sides, before and after a container starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hull_testkit::{Scene, scenario};

/// What a container needs to mount something itself.
const MAY_MOUNT: &str =
    "--cap-add SYS_ADMIN --security-opt apparmor=unconfined --security-opt seccomp=unconfined";

/// A shared mount of the host's with another one below it, `inner`. Dropping it unmounts both.
struct Shared(PathBuf);

impl Shared {
    fn new(scene: &Scene) -> Self {
        let shared = Self(scene.daemon.path("shared"));
        fs::create_dir(&shared.0).unwrap();
        memory(&shared.0);
        run(&["--make-rshared"], &shared.0);
        for name in ["inner", "early", "late"] {
            fs::create_dir(shared.0.join(name)).unwrap();
        }
        memory(&shared.0.join("inner"));
        fs::write(shared.0.join("inner/file"), "below").unwrap();
        shared
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .args(["--recursive", "--lazy"])
            .arg(&self.0)
            .status();
    }
}

fn memory(path: &Path) {
    run(&["-t", "tmpfs", "tmpfs"], path);
}

#[track_caller]
fn run(options: &[&str], path: &Path) {
    let status = Command::new("mount")
        .args(options)
        .arg(path)
        .status()
        .unwrap();
    assert!(status.success(), "mount {options:?} {}", path.display());
}

scenario!(mounts_travel_as_far_as_the_propagation_says(scene) {
    let shared = Shared::new(scene);
    let host = shared.0.display();
    let ready = "mount -t tmpfs tmpfs /d/early && echo mine > /d/early/file && touch /tmp/ready; exec sleep 100000";
    // How far what the container and what the host mounts travels.
    for (mode, to_host, to_container) in [
        ("rshared", true, true), ("shared", true, true), ("rslave", false, true), ("slave", false, true),
        ("rprivate", false, false), ("private", false, false),
    ] {
        scene.ok(&format!("run -d --name {mode} {MAY_MOUNT} -v {host}:/d:{mode} busybox sh -c '{ready}'"));
        scene.ok(&format!("exec {mode} sh -c 'n=0; until test -e /tmp/ready || test $n -gt 400; do n=$((n+1)); sleep 0.05; done; test -e /tmp/ready'"));
        assert_eq!(shared.0.join("early/file").exists(), to_host, "{mode}");
        memory(&shared.0.join("late"));
        fs::write(shared.0.join("late/file"), "the host's").unwrap();
        let seen = scene.run(&format!("exec {mode} cat /d/late/file"));
        assert_eq!(seen.code == 0, to_container, "{mode}: {seen:?}");
        assert_eq!(scene.inspect(mode, "{{(index .Mounts 0).Propagation}}"), mode);
        scene.ok(&format!("rm -f {mode}"));
        for name in ["late", "early"] {
            let _ = Command::new("umount").arg(shared.0.join(name)).stderr(std::process::Stdio::null()).status();
        }
    }
    // Without a word of it nothing travels.
    scene.ok(&format!("run -d --name usual -v {host}:/d busybox sleep 100000"));
    assert_eq!(scene.inspect("usual", "{{(index .Mounts 0).Propagation}}"), "rprivate");
});

scenario!(what_cannot_travel_is_refused(scene) {
    let shared = Shared::new(scene);
    let host = shared.0.display();
    run(&["--make-rprivate"], &shared.0);
    for (mode, wanted) in [("rshared", "shared"), ("shared", "shared"), ("rslave", "shared or slave")] {
        let text = scene.fails(125, &format!("run --rm -v {host}/early:/d:{mode} busybox true"));
        let expected = format!("path {host}/early is mounted on {host} but it is not a {wanted} mount");
        assert!(text.contains(&expected), "{mode}: {text}");
    }
    // The daemon's own data lies below: `slave` was always forgiven there.
    scene.ok("run --rm -v /:/d:ro,rslave busybox true");
    // A container's files are reached all the same.
    scene.ok(&format!("create --name stuck -v {host}:/d:rshared busybox true"));
    scene.ok("cp stuck:/etc/passwd -");
});

scenario!(mounts_below_a_bind_come_along_or_stay(scene) {
    let shared = Shared::new(scene);
    let host = shared.0.display();
    let cat = "busybox cat /d/inner/file";
    assert_eq!(scene.ok(&format!("run --rm -v {host}:/d {cat}")), "below");
    assert_eq!(scene.ok(&format!("run --rm --mount type=bind,src={host},dst=/d {cat}")), "below");
    let alone = format!("type=bind,src={host},dst=/d,bind-recursive=disabled");
    let output = scene.run(&format!("run --rm --mount {alone} {cat}"));
    assert!(output.code != 0 && output.stderr.contains("No such file"), "{output:?}");
});

scenario!(read_only_holds_below_a_bind_too(scene) {
    let shared = Shared::new(scene);
    let host = shared.0.display();
    let touch = "busybox touch /d/inner/new";
    let refused = |line: &str| {
        let output = scene.run(line);
        assert!(output.code == 1 && output.stderr.contains("Read-only file system"), "{line}: {output:?}");
        assert!(!shared.0.join("inner/new").exists());
    };
    refused(&format!("run --rm -v {host}:/d:ro {touch}"));
    let mount = format!("run --rm --mount type=bind,src={host},dst=/d,readonly");
    refused(&format!("{mount} {touch}"));
    refused(&format!("{mount},bind-recursive=readonly,bind-propagation=rprivate {touch}"));
    // What is mounted there later is read-only no more than the kernel makes it.
    scene.ok(&format!("{mount},bind-recursive=writable {touch}"));
    assert!(shared.0.join("inner/new").exists());
    let text = scene.fails(125, &format!("{mount},bind-recursive=readonly {touch}"));
    assert!(text.contains("bind-propagation") || text.contains("rprivate"), "{text}");
});

scenario!(what_cannot_be_mounted_is_refused(scene) {
    let missing = scene.daemon.path("missing");
    let shown = missing.display();
    let text = scene.fails(125, &format!("run --mount type=bind,src={shown},dst=/d busybox true"));
    assert!(text.contains(&format!("bind source path does not exist: {shown}")), "{text}");
    assert!(!missing.exists());
    let pipe = "type=npipe,src=\\\\\\\\.\\\\pipe\\\\docker_engine,dst=/d";
    let text = scene.fails(125, &format!("run --mount '{pipe}' busybox true"));
    assert!(text.contains("npipe") && text.contains("mount type unknown"), "{text}");
    assert_eq!(scene.ok("ps -aq"), "");
});

scenario!(labels_for_selinux_are_accepted(scene) {
    let host = scene.daemon.path("labelled");
    fs::create_dir(&host).unwrap();
    let host = host.display();
    for mode in ["z", "Z", "ro,z", "rw,Z"] {
        assert_eq!(scene.ok(&format!("run --rm -v {host}:/d:{mode} -v data:/v:{mode} busybox echo {mode}")), mode);
    }
    let text = scene.fails(125, &format!("run --rm -v {host}:/d:z,Z busybox true"));
    assert!(text.contains("invalid mode"), "{text}");
});

scenario!(a_stopped_container_is_copied_to_with_translated_owners(scene) {
    let host = scene.daemon.path("mine");
    fs::create_dir(&host).unwrap();
    std::os::unix::fs::chown(&host, Some(1234), Some(4321)).unwrap();
    let note = scene.daemon.path("note");
    fs::write(&note, "later").unwrap();
    scene.ok(&format!("create --name box -v {}:/d:idmap busybox cat /d/note", host.display()));
    scene.ok(&format!("cp {} box:/d/note", note.display()));
    // To the container it is root's, on the host the owner's.
    let found = fs::metadata(host.join("note")).unwrap();
    let owner = (std::os::unix::fs::MetadataExt::uid(&found), std::os::unix::fs::MetadataExt::gid(&found));
    assert_eq!(owner, (1234, 4321));
    assert_eq!(scene.ok("start -a box"), "later");
    let back = scene.daemon.path("back");
    scene.ok(&format!("cp -a box:/d/note {}", back.display()));
    let found = fs::metadata(&back).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&found), 0);
});
