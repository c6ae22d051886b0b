//! Binds, volumes and tmpfs.

use std::fs;

use hull_testkit::scenario;

scenario!(a_directory_of_the_host(scene) {
    let host = scene.daemon.path("shared");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("in"), "hello").unwrap();
    let host = host.display();
    assert_eq!(scene.ok(&format!("run --rm -v {host}:/data busybox sh -c 'cat /data/in; echo back > /data/out'")), "hello");
    assert_eq!(fs::read_to_string(scene.daemon.path("shared/out")).unwrap(), "back\n");
    let output = scene.run(&format!("run --rm -v {host}:/data:ro busybox touch /data/x"));
    assert!(output.code == 1 && output.stderr.contains("Read-only file system"), "{output:?}");
    let line = format!("run --rm --mount type=bind,source={host},target=/d,readonly busybox cat /d/in");
    assert_eq!(scene.ok(&line), "hello");
});

scenario!(a_missing_directory_is_made_for_v_and_refused_for_mount(scene) {
    let missing = scene.daemon.path("missing");
    scene.ok(&format!("run --rm -v {}:/data busybox true", missing.display()));
    assert!(missing.is_dir());
    let other = scene.daemon.path("other");
    let text = scene.fails(125, &format!("run --rm --mount type=bind,source={},target=/d busybox true", other.display()));
    assert!(text.contains("bind source path does not exist"), "{text}");
});

scenario!(a_named_volume_outlives_its_containers(scene) {
    scene.ok("run --rm -v data:/data busybox sh -c 'echo kept > /data/file'");
    assert_eq!(scene.ok("run --rm -v data:/data:ro busybox cat /data/file"), "kept");
    assert_eq!(scene.ok("run --rm --mount source=data,target=/x busybox cat /x/file"), "kept");
});

scenario!(a_new_volume_starts_with_what_the_image_has_there(scene) {
    assert!(scene.ok("run --rm -v fresh:/etc busybox cat /etc/passwd").contains("nobody"));
    assert_eq!(scene.ok("run --rm -v fresh:/e busybox ls /e").lines().next(), Some("group"));
});

scenario!(volumes_from_another_container(scene) {
    scene.ok("run --name keeper -v data:/data busybox sh -c 'echo x > /data/f'");
    assert_eq!(scene.ok("run --rm --volumes-from keeper busybox cat /data/f"), "x");
});

scenario!(a_tmpfs_is_empty_and_limited(scene) {
    let line = "run --rm --tmpfs /t:size=1m,mode=700 busybox sh -c 'ls -ld /t | cut -c1-10; dd if=/dev/zero of=/t/x bs=64k count=40'";
    let output = scene.run(line);
    assert_eq!((output.code, output.stdout.as_str()), (1, "drwx------\n"), "{}", output.stderr);
    assert!(output.stderr.contains("No space left"), "{}", output.stderr);
});

scenario!(the_daemons_three_files_can_be_written(scene) {
    assert_eq!(scene.ok("run --rm --add-host db:10.0.0.9 busybox sh -c 'grep db /etc/hosts'").split_whitespace().next(), Some("10.0.0.9"));
    assert_eq!(scene.ok("run --rm -h box busybox sh -c 'cat /etc/hostname; echo x >> /etc/hosts'"), "box");
    let resolver = scene.ok("run --rm --dns 9.9.9.9 --dns-search example.org busybox cat /etc/resolv.conf");
    assert!(resolver.contains("nameserver 9.9.9.9") && resolver.contains("search example.org"), "{resolver}");
});

scenario!(a_prune_takes_nameless_volumes_and_never_what_lies_elsewhere(scene) {
    let nameless = scene.ok("volume create");
    scene.ok("volume create kept");
    scene.ok("volume create --opt type=tmpfs --opt device=tmpfs elsewhere");
    let listed = scene.ok("volume ls -q --filter label=com.docker.volume.anonymous");
    assert_eq!(listed, nameless);
    let text = scene.ok("volume prune -f");
    assert!(text.contains(&nameless), "{text}");
    assert_eq!(scene.ok("volume ls -q --filter name=^k"), "kept");
    let text = scene.ok("volume prune -af");
    assert!(text.contains("kept") && !text.contains("elsewhere"), "{text}");
    assert_eq!(scene.ok("volume ls -q"), "elsewhere");
    let events = scene.ok(&format!("events --since 1h --until {} --filter type=volume", scene.now()));
    assert!(events.contains("volume destroy kept"), "{events}");
});

scenario!(an_export_leaves_a_running_container_its_layers(scene) {
    scene.ok("run -d --name box busybox sleep 1000");
    let tar = scene.daemon.path("box.tar");
    scene.ok(&format!("export -o {} box", tar.display()));
    assert!(tar.metadata().unwrap().len() > 1 << 20);
    // Each needs the work directory that overlayfs has.
    scene.ok("exec box sh -c 'rm /etc/passwd && mv /bin /other && /other/busybox mkdir /bin'");
});

scenario!(copies_into_a_stopped_container_wait_for_each_other(scene) {
    scene.ok("create --name box -v data:/data busybox true");
    let file = scene.daemon.path("file");
    fs::write(&file, vec![1; 8 << 20]).unwrap();
    let copies: Vec<_> = (0..4)
        .map(|number| scene.begin(&format!("cp {} box:/etc/file{number}", file.display())))
        .collect();
    for mut copy in copies {
        let (code, _, complaint) = copy.wait();
        assert_eq!(code, 0, "{complaint}");
    }
    for number in 0..4 {
        scene.ok(&format!("cp box:/etc/file{number} {}", scene.daemon.path("back").display()));
        assert_eq!(fs::read(scene.daemon.path("back")).unwrap().len(), 8 << 20);
    }
    scene.ok("start -a box");
});

scenario!(a_volumes_use_is_told(scene) {
    scene.ok("run --rm -v data:/data busybox true");
    let shown = "--filter type=volume --format '{{.Action}} {{.Actor.ID}}'";
    let events = scene.ok(&format!("events --since 1h --until {} {shown}", scene.now()));
    assert_eq!(events, "create data\nmount data\nunmount data");
});
