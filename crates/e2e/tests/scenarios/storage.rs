//! Volumes with options, parts of volumes, images as mounts, translated owners, other names.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use hull_testkit::{Client, Daemon, Registry, Scene, scenario};

/// What is mounted on the host below the daemon's volumes.
fn mounted(scene: &Scene) -> usize {
    let volumes = scene.daemon.path("data/volumes").display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts
        .lines()
        .filter(|line| line.contains(&volumes))
        .count()
}

scenario!(a_volume_of_memory_is_shared_while_it_is_used(scene) {
    scene.ok("volume create -o type=tmpfs -o device=tmpfs -o o=size=1m,mode=700,nosuid ram");
    assert_eq!(mounted(scene), 0);
    scene.ok("run -d --name one -v ram:/r busybox sh -c 'echo x > /r/f; exec sleep 1000'");
    assert_eq!(scene.ok("run --rm -v ram:/r busybox sh -c 'until cat /r/f 2>/dev/null; do :; done; ls -ld /r | cut -c1-10'"), "x\ndrwx------");
    let output = scene.run("run --rm -v ram:/r busybox dd if=/dev/zero of=/r/big bs=64k count=40");
    assert!(output.stderr.contains("No space left"), "{output:?}");
    assert_eq!(mounted(scene), 1);
    scene.daemon.crash();
    assert_eq!(scene.ok("exec one cat /r/f"), "x");
    assert_eq!(scene.ok("run --rm -v ram:/r busybox cat /r/f"), "x");
    scene.ok("rm -f one");
    assert_eq!(mounted(scene), 0);
    assert_eq!(scene.ok("run --rm -v ram:/r busybox ls /r"), "");
    assert_eq!(mounted(scene), 0);
});

scenario!(a_volume_can_be_another_directory_of_the_host(scene) {
    let host = scene.daemon.path("shared");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("in"), "hello").unwrap();
    scene.ok(&format!("volume create -o type=none -o o=bind,ro -o device={} there", host.display()));
    assert_eq!(scene.ok("run --rm -v there:/d busybox cat /d/in"), "hello");
    let output = scene.run("run --rm -v there:/d busybox touch /d/x");
    assert!(output.stderr.contains("Read-only file system"), "{output:?}");
    fs::remove_dir_all(&host).unwrap();
    let text = scene.fails(125, "run --rm -v there:/d busybox true");
    assert!(text.contains("failed to mount local volume: mount") && text.contains("No such file"), "{text}");
    scene.ok("volume rm there");
});

scenario!(options_that_make_no_sense_are_refused(scene) {
    for (options, reason) in [
        ("-o colour=red", "invalid option: \"colour\""),
        ("-o type=nfs", "missing required option: \"device\""),
        ("-o device=:/x", "missing required option: \"type\""),
        ("-o type=tmpfs -o device=tmpfs -o size=1m", "option \"size\" is for plain volumes"),
    ] {
        let text = scene.fails(1, &format!("volume create {options} bad"));
        assert!(text.contains(reason), "{text}");
    }
    assert_eq!(scene.ok("volume ls -q"), "");
    scene.ok("volume create -o type=nosuchfs -o device=x -o o=ro odd");
    let text = scene.fails(125, "run --rm -v odd:/d busybox true");
    assert!(text.contains("knows no file system \"nosuchfs\""), "{text}");
});

scenario!(a_part_of_a_volume_is_mounted_and_nothing_outside_it(scene) {
    let secret = scene.daemon.path("secret");
    fs::create_dir(&secret).unwrap();
    let secret = secret.display();
    scene.ok(&format!("run --rm -v data:/d busybox sh -c 'mkdir -p /d/a/b; echo x > /d/a/b/f; ln -s a/b /d/in; ln -s {secret} /d/out'"));
    let part = |path: &str| format!("run --rm --mount src=data,dst=/p,volume-subpath={path} busybox ls /p");
    assert_eq!(scene.ok(&part("a/b")), "f");
    assert_eq!(scene.ok(&part("in")), "f");
    let text = scene.fails(125, &part("out"));
    assert!(text.contains("cannot access path out in volume data"), "{text}");
    // What is a directory when the container is made may be a link when it starts.
    scene.ok("create --name later --mount src=data,dst=/p,volume-subpath=a/b busybox ls /p");
    scene.ok(&format!("run --rm -v data:/d busybox sh -c 'rm -r /d/a/b; ln -s {secret} /d/a/b'"));
    let text = scene.fails(1, "start -a later");
    assert!(text.contains("cannot access path a/b in volume data"), "{text}");
});

scenario!(an_image_is_mounted_read_only(scene) {
    scene.ok("run --name maker busybox sh -c 'mkdir -p /srv/deep; echo tool > /srv/deep/file; rm /bin/vi'");
    scene.ok("commit maker tools:1");
    scene.ok("rm maker");
    let whole = "run --rm --mount type=image,src=tools:1,dst=/t busybox sh -c 'cat /t/srv/deep/file; ls /t/bin/vi; touch /t/x'";
    let output = scene.run(whole);
    assert!(output.stdout.starts_with("tool\n") && output.stderr.contains("Read-only file system"), "{output:?}");
    assert!(output.stderr.contains("/t/bin/vi: No such file"), "{output:?}");
    let part = "run --rm --mount type=image,src=tools:1,dst=/t,image-subpath=srv/deep busybox ls /t";
    assert_eq!(scene.ok(part), "file");
    scene.ok("create --name user --mount type=image,src=tools:1,dst=/t busybox cat /t/srv/deep/file");
    assert_eq!(scene.inspect("user", "{{(index .Mounts 0).Type}}"), "image");
    let text = scene.fails(1, "rmi tools:1");
    assert!(text.contains("in use") || text.contains("using"), "{text}");
    assert_eq!(scene.ok("start -a user"), "tool");
    let text = scene.fails(125, "run --rm --mount type=image,src=nowhere:9,dst=/t busybox true");
    assert!(text.contains("nowhere:9"), "{text}");
});

scenario!(a_new_volume_is_an_exact_copy(scene) {
    let make = "mkdir -p /v/d; echo x > /v/d/f; ln /v/d/f /v/hard; ln -s d/f /v/soft; mkfifo /v/pipe; chown -R 12:34 /v/d; chmod 2750 /v/d; chmod 4711 /v/d/f; truncate -s 8M /v/sparse; touch -d '2001-02-03 04:05:06' /v/d/f; chmod 1777 /v";
    scene.ok(&format!("run --name maker busybox sh -c \"{make}\""));
    scene.ok("commit maker full:1");
    scene.ok("run --rm -v copy:/v full:1 true");
    let volume = scene.daemon.path("data/volumes/copy/_data");
    let of = |name: &str| fs::symlink_metadata(volume.join(name)).unwrap();
    assert_eq!(of("").permissions().mode() & 0o7777, 0o1777);
    assert_eq!((of("d").uid(), of("d").gid(), of("d").permissions().mode() & 0o7777), (12, 34, 0o2750));
    assert_eq!((of("d/f").permissions().mode() & 0o7777, of("d/f").mtime()), (0o4711, 981_173_106));
    assert_eq!((of("d/f").ino(), of("d/f").nlink()), (of("hard").ino(), 2));
    assert_eq!((of("sparse").len(), of("sparse").blocks()), (8 << 20, 0));
    assert_eq!(fs::read_link(volume.join("soft")).unwrap().to_str(), Some("d/f"));
    // Not with `nocopy`, and never over what is there.
    assert_eq!(scene.ok("run --rm -v empty:/v:nocopy full:1 ls /v"), "");
    scene.ok("run --rm -v own:/x busybox touch /x/mine");
    assert_eq!(scene.ok("run --rm -v own:/v full:1 ls /v"), "mine");
});

scenario!(volumes_are_borrowed_with_a_mode(scene) {
    scene.ok("run --name keeper -v data:/data busybox sh -c 'echo x > /data/f'");
    let output = scene.run("run --rm --volumes-from keeper:ro busybox sh -c 'cat /data/f; touch /data/g'");
    assert!(output.stdout == "x\n" && output.stderr.contains("Read-only file system"), "{output:?}");
    scene.ok("run --rm --volumes-from keeper:rw,z busybox touch /data/g");
    let text = scene.fails(125, "run --rm --volumes-from keeper:often busybox true");
    assert!(text.contains("invalid mode: often"), "{text}");
});

scenario!(owners_are_translated(scene) {
    let host = scene.daemon.path("mine");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("old"), "").unwrap();
    for path in [host.clone(), host.join("old")] {
        chown(path, Some(1234), Some(4321)).unwrap();
    }
    let owner = |name: &str| {
        let found = fs::metadata(host.join(name)).unwrap();
        (found.uid(), found.gid())
    };
    let shown = host.display();
    assert_eq!(scene.ok(&format!("run --rm -v {shown}:/d:idmap busybox sh -c 'touch /d/root; stat -c %u:%g /d/old'")), "0:0");
    assert_eq!(owner("root"), (1234, 4321));
    assert_eq!(scene.ok(&format!("run --rm -u 77:88 -v {shown}:/d:idmap busybox sh -c 'touch /d/user; stat -c %u:%g /d/old'")), "77:88");
    assert_eq!(owner("user"), (1234, 4321));
    // Nobody else of the container becomes root on the host.
    let output = scene.run(&format!("run --rm -u 1234 -v {shown}:/d:idmap=uids=1234-0-1;gids=4321-0-1 busybox touch /d/other"));
    assert!(output.code == 1 && !host.join("other").exists(), "{output:?}");
    assert_eq!(scene.ok(&format!("run --rm -v {shown}:/d:ro,idmap=uids=1234-5-1;gids=4321-6-1 busybox stat -c %u:%g /d/old")), "5:6");
    let text = scene.fails(125, &format!("run --rm -v {shown}:/d:idmap=some busybox true"));
    assert!(text.contains("HOST-CONTAINER-COUNT"), "{text}");
});

#[test]
fn owners_are_translated_for_mount_too() {
    Scene::play(Client::Hull, |scene| {
        let host = scene.daemon.path("mine");
        fs::create_dir(&host).unwrap();
        chown(&host, Some(1234), Some(4321)).unwrap();
        scene.ok(&format!(
            "run --rm --mount type=bind,src={},dst=/d,idmap busybox touch /d/f",
            host.display()
        ));
        assert_eq!(fs::metadata(host.join("f")).unwrap().uid(), 1234);
    });
}

scenario!(a_stopped_container_is_copied_from_and_to_with_its_volumes(scene) {
    fs::write(scene.daemon.path("note"), "later").unwrap();
    let (note, back) = (scene.daemon.path("note"), scene.daemon.path("back"));
    fs::create_dir(scene.daemon.path("dir")).unwrap();
    let dir = scene.daemon.path("dir");
    scene.ok(&format!("create --name box -v data:/data -v {}:/bound:ro busybox cat /data/note", dir.display()));
    scene.ok(&format!("cp {} box:/data/note", note.display()));
    assert_eq!(fs::read_to_string(scene.daemon.path("data/volumes/data/_data/note")).unwrap(), "later");
    scene.ok(&format!("cp box:/data/note {}", back.display()));
    assert_eq!(fs::read_to_string(&back).unwrap(), "later");
    let output = scene.run(&format!("cp {} box:/bound/note", note.display()));
    assert!(output.code == 1 && !dir.join("note").exists(), "{output:?}");
    assert_eq!(scene.ok("start -a box"), "later");
});

#[test]
fn a_volume_in_use_gets_another_name() {
    Scene::play(Client::Hull, |scene| {
        scene.ok("run -d --name box -v old:/d busybox sh -c 'echo x > /d/f; exec sleep 1000'");
        scene.ok("volume rename old new");
        assert_eq!(
            scene.inspect(
                "box",
                "{{(index .Mounts 0).Name}} {{index .HostConfig.Binds 0}}"
            ),
            "new new:/d"
        );
        assert_eq!(
            scene.ok("run --rm -v new:/d busybox sh -c 'until cat /d/f 2>/dev/null; do :; done'"),
            "x"
        );
        assert!(scene.fails(1, "volume rm new").contains("volume is in use"));
        // The old name is free, and means another volume.
        assert_eq!(scene.ok("run --rm -v old:/d busybox ls /d"), "");
        assert!(
            scene
                .fails(1, "volume rename old new")
                .contains("there is a volume of that name")
        );
        assert!(
            scene
                .fails(1, "volume rename none other")
                .contains("no such volume")
        );
        scene.daemon.crash();
        assert_eq!(scene.ok("volume ls -q"), "new\nold");
        scene.ok("restart -t 0 box");
        assert_eq!(scene.ok("exec box cat /d/f"), "x");
        scene.ok("rm -f box");
        scene.ok("volume rm new old");
    });
}

#[test]
fn volumes_outlive_the_state_file() {
    Scene::play(Client::Hull, |scene| {
        scene.ok("volume create --label kind=precious first");
        scene.ok("run --rm -v first:/d busybox sh -c 'echo kept > /d/f'");
        scene.ok("volume rename first second");
        scene.daemon.kill();
        for name in ["hull.db", "hull.db-wal", "hull.db-shm"] {
            let _ = fs::remove_file(scene.daemon.path("data").join(name));
        }
        scene.daemon.launch();
        assert_eq!(
            scene.ok("volume ls -q --filter label=kind=precious"),
            "second"
        );
        assert_eq!(scene.ok("run --rm -v second:/d busybox cat /d/f"), "kept");
    });
}

/// A volume with one of everything; returns its directory on the host.
fn one_of_everything(scene: &Scene, name: &str) -> std::path::PathBuf {
    let make = "cd /v; mkdir d; echo x > d/f; ln d/f hard; ln -s d/f soft; mkfifo pipe; mknod null c 1 3; chown -R 12:34 d; chmod 2750 d; chmod 4711 d/f; truncate -s 8M sparse; echo end >> sparse; chmod 1777 .";
    scene.ok(&format!("run --rm -v {name}:/v busybox sh -c '{make}'"));
    let data = scene.daemon.path(&format!("data/volumes/{name}/_data"));
    fs::write(
        data.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"odd-\xff\xfe")),
        "odd",
    )
    .unwrap();
    rustix::fs::setxattr(
        data.join("d/f"),
        "user.note",
        b"kept",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    data
}

/// All that is to be known of a tree, as text.
fn described(data: &std::path::Path) -> String {
    let mut lines = Vec::new();
    let mut todo = vec![data.to_path_buf()];
    while let Some(path) = todo.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        if found.is_dir() {
            todo.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        let mut value = [0; 16];
        let note = rustix::fs::lgetxattr(&path, "user.note", &mut value[..]).unwrap_or(0);
        let content = if found.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        let name = path.strip_prefix(data).unwrap();
        lines.push(format!(
            "{name:?} {:o} {}:{} {}.{:09} {} links {} dev {:x} note {note} blocks {} sum {}",
            found.mode(),
            found.uid(),
            found.gid(),
            found.mtime(),
            found.mtime_nsec(),
            found.len(),
            found.nlink(),
            found.rdev(),
            found.blocks() < 64,
            content.iter().map(|&byte| u64::from(byte)).sum::<u64>()
        ));
    }
    lines.sort();
    lines.join("\n")
}

#[test]
fn a_volume_is_exported_and_imported_with_everything() {
    Scene::play(Client::Hull, |scene| {
        let data = one_of_everything(scene, "full");
        let file = scene.daemon.path("full.tar");
        scene.ok(&format!("volume export -o {} full", file.display()));
        assert!(
            fs::metadata(&file).unwrap().len() < 1 << 20,
            "holes are not written out"
        );
        scene.ok(&format!("volume import again {}", file.display()));
        assert_eq!(
            described(&scene.daemon.path("data/volumes/again/_data")),
            described(&data)
        );
        // What others make of it.
        let tar = std::process::Command::new("tar")
            .arg("-tvf")
            .arg(&file)
            .output()
            .unwrap();
        let listing = String::from_utf8_lossy(&tar.stdout).into_owned();
        assert!(
            tar.status.success() && listing.contains("8388612") && listing.contains("hard link to"),
            "{listing}"
        );
        let text = scene.fails(1, &format!("volume import again {}", file.display()));
        assert!(text.contains("it is not empty"), "{text}");
        scene.ok(&format!(
            "volume import --overwrite again {}",
            file.display()
        ));
        fs::write(&file, "no archive").unwrap();
        scene.fails(1, &format!("volume import broken {}", file.display()));
        assert_eq!(scene.ok("volume ls -q"), "again\nfull");
    });
}

/// How many parts of a volume were sent, of how many.
fn parts_sent(output: &str) -> (u32, u32) {
    let line = output.lines().find(|line| line.starts_with("Sent "));
    let numbers: Vec<u32> = line
        .expect("a push tells how much it sent")
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    (numbers[0], numbers[1])
}

#[test]
fn a_volume_goes_to_another_daemon_through_a_registry() {
    Scene::play(Client::Hull, |scene| {
        let registry = Registry::start(&scene.daemon);
        let data = one_of_everything(scene, "full");
        // Enough for several parts, of bytes that are not alike.
        let noise = scene.ok("run --rm -v full:/v busybox sh -c 'dd if=/dev/urandom of=/v/noise bs=1M count=40 2>/dev/null; sha256sum /v/noise'");
        let pushed = scene.ok("volume push full localhost:5000/data:1");
        assert!(pushed.contains("1: digest: sha256:"), "{pushed}");
        let (sent, all) = parts_sent(&pushed);
        assert!(sent == all && all > 3, "{pushed}");
        let again = scene.ok("volume push full localhost:5000/data:1");
        assert_eq!(parts_sent(&again), (0, all), "{again}");
        // A small change costs a few parts, whatever else there is.
        scene.ok("run --rm -v full:/v busybox sh -c 'echo more > /v/another'");
        let changed = scene.ok("volume push full localhost:5000/data:2");
        let (sent, _) = parts_sent(&changed);
        assert!((1..=2).contains(&sent), "{changed}");

        let other = Scene {
            daemon: Daemon::prepare_in(
                scene.daemon.namespace().neighbour(),
                &["--insecure-registry", "10.99.0.0/24"],
            ),
            client: Client::Hull,
        };
        pulled_there(other, &data, &noise);
        drop(registry);
        assert!(
            scene
                .fails(1, "volume pull localhost:5000/data:1 again")
                .contains("connection refused")
        );
        assert_eq!(scene.ok("volume ls -q"), "full");
    });
}

/// The other daemon's side.
fn pulled_there(mut scene: Scene, data: &std::path::Path, noise: &str) {
    scene.daemon.launch();
    scene.daemon.load("busybox");
    let images = || {
        fs::read_dir(scene.daemon.path("data/image/blobs/sha256"))
            .unwrap()
            .count()
    };
    let before = images();
    let pulled = scene.ok("volume pull 10.99.0.1:5000/data:2");
    assert!(
        pulled.contains("Status: Volume full holds what 10.99.0.1:5000/data:2 does"),
        "{pulled}"
    );
    let copy = scene.daemon.path("data/volumes/full/_data");
    assert_eq!(described(&copy), described(data));
    assert_eq!(
        scene.ok("run --rm -v full:/v busybox sha256sum /v/noise"),
        noise
    );
    assert_eq!(images(), before, "what came has gone into the volume");
    let text = scene.fails(1, "volume pull 10.99.0.1:5000/data:2");
    assert!(text.contains("it is not empty"), "{text}");
    assert_eq!(scene.ok("volume pull -q 10.99.0.1:5000/data:1 old"), "old");
    let output = scene.run("run --rm -v old:/v busybox ls /v/another");
    assert!(output.stderr.contains("No such file"), "{output:?}");
    scene.ok("tag busybox 10.99.0.1:5000/box:1");
    scene.ok("push 10.99.0.1:5000/box:1");
    let text = scene.fails(1, "volume pull 10.99.0.1:5000/box:1");
    assert!(text.contains("is not a volume"), "{text}");
    let text = scene.fails(1, "volume pull 10.99.0.1:5000/none:1");
    assert!(text.contains("10.99.0.1:5000/none:1: not found"), "{text}");
    assert!(
        scene
            .fails(1, "volume push none 10.99.0.1:5000/x")
            .contains("no such volume")
    );
    assert_eq!(scene.ok("volume ls -q"), "full\nold");
    assert_eq!(scene.ok("system fsck --quick"), "all is sound");
    scene.daemon.finish();
}

#[test]
fn a_volume_is_cloned_while_it_is_used() {
    Scene::play(Client::Hull, |scene| {
        let data = one_of_everything(scene, "full");
        scene.ok("run -d --name user -v full:/v busybox sleep 1000");
        assert_eq!(scene.ok("volume clone --label a=b full twin"), "twin");
        assert_eq!(
            described(&scene.daemon.path("data/volumes/twin/_data")),
            described(&data)
        );
        assert_eq!(scene.ok("volume ls -q --filter label=a=b"), "twin");
        let name = scene.ok("volume snapshot full");
        assert!(name.starts_with("full-20"), "{name}");
        assert_eq!(
            scene.ok("volume ls -q --filter label=hull.snapshot.of=full"),
            name
        );
        assert_eq!(scene.inspect("user", "{{.State.Status}}"), "running");
        assert!(
            scene
                .fails(1, "volume clone full twin")
                .contains("there is a volume of that name")
        );
        assert!(
            scene
                .fails(1, "volume clone none other")
                .contains("no such volume")
        );
    });
}

#[test]
fn files_go_into_a_volume_and_out_of_it() {
    Scene::play(Client::Hull, |scene| {
        scene.ok("volume create data");
        fs::create_dir_all(scene.daemon.path("tree/below")).unwrap();
        fs::write(scene.daemon.path("tree/below/file"), "from the host").unwrap();
        let (tree, back) = (scene.daemon.path("tree"), scene.daemon.path("back"));
        scene.ok(&format!("volume cp {} data:/in", tree.display()));
        assert_eq!(
            scene.ok("run --rm -v data:/d busybox cat /d/in/below/file"),
            "from the host"
        );
        scene.ok(&format!("volume cp data:/in/below {}", back.display()));
        assert_eq!(
            fs::read_to_string(back.join("file")).unwrap(),
            "from the host"
        );
        let output = scene.run("volume cp data:/in -");
        assert!(
            output.code == 0 && output.stdout.contains("in/below/file"),
            "{}",
            output.stderr
        );
        let text = scene.fails(1, &format!("volume cp data:/nowhere {}", back.display()));
        assert!(
            text.contains("Could not find the file /nowhere in volume data"),
            "{text}"
        );
        // A link in the volume does not lead out of it.
        fs::write(scene.daemon.path("secret"), "the host's").unwrap();
        let secret = scene.daemon.path("secret");
        scene.ok(&format!(
            "run --rm -v data:/d busybox ln -s {} /d/link",
            secret.display()
        ));
        scene.run(&format!(
            "volume cp {} data:/link",
            scene.daemon.path("tree/below/file").display()
        ));
        assert_eq!(fs::read_to_string(&secret).unwrap(), "the host's");
        scene.fails(
            1,
            &format!(
                "volume cp -L data:/link {}",
                scene.daemon.path("got").display()
            ),
        );
    });
}

#[test]
fn a_check_finds_what_is_nobodys_and_what_is_gone() {
    Scene::play(Client::Hull, |scene| {
        scene.ok("create --name box -v kept:/d busybox true");
        assert_eq!(scene.ok("system fsck"), "all is sound");
        let data = scene.daemon.path("data");
        fs::create_dir_all(data.join("volumes/lost/_data")).unwrap();
        fs::write(data.join("volumes/lost/_data/f"), "found").unwrap();
        fs::create_dir_all(data.join("volumes/hollow/_data")).unwrap();
        fs::create_dir_all(data.join("containers").join("0".repeat(64)).join("upper")).unwrap();
        fs::rename(data.join("volumes/kept/_data"), scene.daemon.path("away")).unwrap();
        let report = scene.run("system fsck --quick");
        assert!(
            report.code == 1 && report.stdout.contains("4 found"),
            "{report:?}"
        );
        for text in [
            "volumes/lost: it has content",
            "volumes/hollow: it is empty",
            "no record tells of its container",
            "volume kept: its content",
        ] {
            assert!(report.stdout.contains(text), "{report:?}");
        }
        assert!(scene.fails(1, "start box").contains("its content is gone"));
        let text = scene.ok("system fsck --quick --repair");
        assert!(text.contains("4 found, all mended"), "{text}");
        assert_eq!(scene.ok("system fsck"), "all is sound");
        assert_eq!(scene.ok("volume ls -q"), "kept\nlost");
        assert_eq!(scene.ok("run --rm -v lost:/l busybox cat /l/f"), "found");
        scene.ok("start -a box");
    });
}

scenario!(a_size_is_limited_or_refused(scene) {
    // Where the file system has no project quotas, saying so is all there is.
    let output = scene.run("volume create -o size=1m small");
    if output.code != 0 {
        assert!(output.stderr.contains("has no project quotas") && output.stderr.contains("prjquota"), "{output:?}");
        assert_eq!(scene.ok("volume ls -q"), "");
        let text = scene.fails(125, "run --rm --storage-opt size=1m busybox true");
        assert!(text.contains("has no project quotas"), "{text}");
        return;
    }
    let full = scene.run("run --rm -v small:/s busybox dd if=/dev/zero of=/s/f bs=64k count=40");
    assert!(full.code != 0, "{full:?}");
});
