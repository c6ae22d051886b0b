//! Images on their way when something breaks: the registry, the disk, the client, a blob.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hull_testkit::process::signal;
use hull_testkit::{Client, Daemon, Registry, Scene, until};

use crate::disk::Disk;

/// Bytes of the large layer; they do not shrink.
const LAYER: u64 = 48_000_000;
const IMAGE: &str = "localhost:5000/big:1";

/// Makes [`IMAGE`]: one large layer more than busybox.
fn make_image(scene: &Scene) {
    scene.ok(&format!(
        "run --name maker busybox sh -c 'head -c {LAYER} /dev/urandom > /big'"
    ));
    scene.ok(&format!("commit maker {IMAGE}"));
    scene.ok("rm maker");
}

/// Has the image in the registry only.
fn send_away(scene: &Scene) {
    make_image(scene);
    scene.ok(&format!("push {IMAGE}"));
    scene.ok(&format!("rmi {IMAGE}"));
}

fn sizes(directory: &Path) -> Vec<(PathBuf, u64)> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => found.extend(sizes(&path)),
            Ok(meta) => found.push((path, meta.len())),
            // Gone meanwhile.
            Err(_) => {}
        }
    }
    found
}

/// Bytes of the largest blob a registry has: the layer, packed.
fn packed(registry: &Registry) -> u64 {
    let blobs = sizes(&registry.root().join("blobs"));
    blobs.iter().map(|(_, size)| *size).max().unwrap()
}

fn bytes_in(directory: &Path) -> u64 {
    sizes(directory).iter().map(|(_, size)| size).sum()
}

#[test]
fn a_registry_that_is_killed_shows_nothing_by_halves_and_takes_the_push_again() {
    crate::play(|scene| {
        let mut registry = Registry::start(&scene.daemon);
        make_image(scene);
        let mut push = scene.begin(&format!("push {IMAGE}"));
        let uploads = registry.root().join("uploads");
        until("some of the layer came", || bytes_in(&uploads) > 1 << 20);
        registry.kill();
        let tags = registry.root().join("repositories/big/_tags");
        assert!(!tags.exists(), "no name before the whole image");
        let whole = sizes(&registry.root().join("blobs"));
        assert!(whole.iter().all(|(_, size)| *size < LAYER), "{whole:?}");
        for (path, _) in whole {
            let sum = Command::new("sha256sum").arg(&path).output().unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(
                String::from_utf8_lossy(&sum.stdout).starts_with(&name),
                "{path:?} is whole"
            );
        }
        // The client tries again by itself, for a while; whoever gave up pushes once more.
        registry.launch(&scene.daemon);
        let (code, _, complaint) = push.wait();
        if code != 0 {
            assert!(!complaint.is_empty());
            scene.ok(&format!("push {IMAGE}"));
        }
        scene.ok(&format!("rmi {IMAGE}"));
        assert_eq!(
            scene.ok(&format!("run --rm {IMAGE} sh -c 'wc -c < /big'")),
            LAYER.to_string()
        );
    });
}

#[test]
fn a_pull_that_fills_the_disk_says_so_and_the_next_one_goes_on() {
    let disk = Disk::new(256, &[]);
    let scene = disk.scene();
    let registry = Registry::start(&scene.daemon);
    let room = disk.room();
    send_away(&scene);
    scene.ok("system prune -f");
    // What is removed goes in the background: then there is room for half of the layer, and no more.
    until("the disk is as empty as before", || {
        disk.room() + LAYER / 8 > room
    });
    disk.fill_but(LAYER / 2);
    let sent = |registry: &Registry| registry.counter(&scene.daemon, "sent_bytes_total");
    let text = scene.fails(1, &format!("pull {IMAGE}"));
    assert!(
        text.contains("no space left on device") || text.contains("No space left on device"),
        "{text}"
    );
    assert!(
        !scene
            .ok("images --format '{{.Repository}}'")
            .contains("big"),
        "nothing by halves"
    );
    let partial = bytes_in(&disk.path().join("root/image/partial"));
    assert!(partial > LAYER / 8, "what came is kept: {partial} bytes");
    disk.free();
    let before = sent(&registry);
    scene.ok(&format!("pull {IMAGE}"));
    let again = sent(&registry) - before;
    assert!(
        again < packed(&registry) - partial + (1 << 20),
        "{again} bytes came, of which {partial} were here"
    );
    assert_eq!(
        scene.ok(&format!("run --rm {IMAGE} sh -c 'wc -c < /big'")),
        LAYER.to_string()
    );
    scene.ok("system df");
    drop(registry);
    scene.daemon.finish();
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_pull_locks_nothing() {
    crate::play(|scene| {
        let registry = Registry::start(&scene.daemon);
        send_away(scene);
        let partial = scene.daemon.path("data/image/partial");
        let mut pull = scene.begin(&format!("pull {IMAGE}"));
        until("some of the layer came", || bytes_in(&partial) > 1 << 20);
        pull.kill();
        // It stops with its client (or was through): nothing more is sent.
        let sent = || registry.counter(&scene.daemon, "sent_bytes_total");
        let mut last = u64::MAX;
        until("nothing is sent any more", || {
            std::thread::sleep(std::time::Duration::from_millis(200));
            let now = sent();
            std::mem::replace(&mut last, now) == now
        });
        // What came is accounted for, like all else, once the daemon is through with it.
        let data = scene.daemon.path("data");
        until("the account agrees with du", || {
            let usage = scene
                .daemon
                .api("GET", "/system/df?type=image", &serde_json::Value::Null)
                .json();
            let du = Command::new("du")
                .args(["--summarize", "--block-size=1", "--total"])
                .args([data.join("image"), data.join("layers")])
                .output()
                .unwrap();
            let du = String::from_utf8_lossy(&du.stdout).into_owned();
            let total = du.lines().last().unwrap();
            let total = total.split_whitespace().next().unwrap();
            usage["LayersSize"].as_u64() == total.parse().ok()
        });
        let before = sent();
        scene.ok(&format!("pull {IMAGE}"));
        assert!(
            sent() - before < packed(&registry),
            "what came is not fetched again"
        );
        assert_eq!(bytes_in(&partial), 0);
        assert_eq!(scene.ok(&format!("run --rm {IMAGE} echo works")), "works");
        scene.ok(&format!("rmi {IMAGE}"));
    });
}

#[test]
fn a_damaged_blob_is_found_and_fetched_again() {
    Scene::play(Client::Hull, |scene| {
        let _registry = Registry::start(&scene.daemon);
        make_image(scene);
        scene.ok(&format!("push {IMAGE}"));
        let (path, _) = largest(&scene.daemon);
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(b"damage", LAYER / 2).unwrap();
        drop(file);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let report = scene.run("system fsck");
        assert!(
            report.code == 1 && report.stdout.contains(&name),
            "{report:?}"
        );
        // It is not passed on to others.
        scene.ok(&format!("tag {IMAGE} localhost:5000/other:1"));
        let text = scene.run("system fsck --repair").stdout;
        assert!(text.contains("a pull or load brings it again"), "{text}");
        let text = scene.fails(1, "push localhost:5000/other:1");
        assert!(text.contains("pull it first"), "{text}");
        let pulled = scene.ok(&format!("pull {IMAGE}"));
        assert!(
            pulled.contains("Download complete") || pulled.contains("Pull complete"),
            "{pulled}"
        );
        assert_eq!(scene.ok("system fsck"), "all is sound");
        assert_eq!(
            scene.ok(&format!("run --rm {IMAGE} sh -c 'wc -c < /big'")),
            LAYER.to_string()
        );
        scene.ok("push localhost:5000/other:1");
    });
}

fn largest(daemon: &Daemon) -> (PathBuf, u64) {
    let blobs = sizes(&daemon.path("data/image/blobs"));
    let found = blobs.into_iter().max_by_key(|(_, size)| *size);
    found.expect("there are blobs")
}

#[test]
fn memory_does_not_grow_with_a_layer() {
    /// What the daemon may take at the most, and for a layer of 1 GB.
    const MEMORY_KIB: u64 = 64 << 10;
    crate::play(|scene| {
        let registry = Registry::start(&scene.daemon);
        scene.ok("run --name maker busybox sh -c 'dd if=/dev/zero of=/big bs=1M count=0 seek=1000; head -c 30000000 /dev/urandom >> /big'");
        scene.ok(&format!("commit maker {IMAGE}"));
        scene.ok("rm maker");
        // A fresh process: what the commit took is not counted.
        scene.daemon.crash();
        scene.ok(&format!("push {IMAGE}"));
        scene.ok(&format!("rmi {IMAGE}"));
        scene.ok(&format!("pull {IMAGE}"));
        let daemon = peak_kib(scene.daemon.pid());
        assert!(daemon < MEMORY_KIB, "the daemon took {daemon} KiB");
        let server = peak_kib(registry.pid());
        assert!(server < MEMORY_KIB, "the registry took {server} KiB");
    });
}

/// The most memory a process ever had.
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok())
        .expect("the kernel tells it")
}

#[test]
fn a_thousand_clients_at_once_are_served_in_little_memory() {
    const CLIENTS: usize = 1000;
    const MEMORY_KIB: u64 = 64 << 10;
    crate::play(|scene| {
        let registry = Registry::start(&scene.daemon);
        scene.ok("tag busybox localhost:5000/box:1");
        scene.ok("push localhost:5000/box:1");
        let blobs = sizes(&registry.root().join("blobs"));
        let (layer, size) = blobs.into_iter().max_by_key(|(_, size)| *size).unwrap();
        let digest = layer.file_name().unwrap().to_string_lossy().into_owned();
        // All of them hold a download open at the same time: none reads on before all have begun.
        let script = format!(
            "import socket\n\
             clients = []\n\
             for n in range({CLIENTS}):\n\
             \x20   s = socket.create_connection(('127.0.0.1', 5000), 60)\n\
             \x20   s.sendall(b'GET /v2/box/blobs/sha256:{digest} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')\n\
             \x20   clients.append(s)\n\
             for s in clients:\n\
             \x20   assert s.recv(12) == b'HTTP/1.1 200', 'an answer begins'\n\
             sizes = set()\n\
             for s in clients:\n\
             \x20   total = b''\n\
             \x20   count = 0\n\
             \x20   head = True\n\
             \x20   while piece := s.recv(1 << 20):\n\
             \x20       if head:\n\
             \x20           total += piece\n\
             \x20           if b'\\r\\n\\r\\n' in total:\n\
             \x20               count = len(total.split(b'\\r\\n\\r\\n', 1)[1]); head = False\n\
             \x20       else:\n\
             \x20           count += len(piece)\n\
             \x20   sizes.add(count)\n\
             print(sizes)\n"
        );
        let mut command = scene.daemon.namespace().command("sh");
        command.args([
            "-c",
            "ulimit -n 4096; exec timeout 80 python3 -c \"$0\"",
            &script,
        ]);
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            told.trim(),
            format!("{{{size}}}"),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let server = peak_kib(registry.pid());
        assert!(server < MEMORY_KIB, "the registry took {server} KiB");
    });
}

#[test]
fn a_registry_that_stands_still_is_left_by_a_client_that_loses_patience() {
    crate::play(|scene| {
        let registry = Registry::start(&scene.daemon);
        send_away(scene);
        signal(registry.pid(), "STOP");
        let mut pull = scene.begin(&format!("pull {IMAGE}"));
        std::thread::sleep(std::time::Duration::from_millis(300));
        pull.signal("INT");
        let (code, ..) = pull.wait();
        assert_ne!(code, 0);
        // What others ask of the daemon does not wait for it.
        assert_eq!(scene.ok("run --rm busybox echo on"), "on");
        signal(registry.pid(), "CONT");
        scene.ok(&format!("pull {IMAGE}"));
        scene.ok(&format!("rmi {IMAGE}"));
    });
}
