//! `cp`, `diff`, `export`, `import`, `commit`.

use std::fs;

use hull_testkit::scenario;

scenario!(files_go_in_and_out(scene) {
    let host = scene.daemon.path("host");
    fs::create_dir_all(host.join("tree/below")).unwrap();
    fs::write(host.join("tree/below/file"), "from the host").unwrap();
    let host = host.display();
    scene.ok("run -d --name box busybox sleep 1000");
    scene.ok(&format!("cp {host}/tree box:/srv"));
    assert_eq!(scene.ok("exec box cat /srv/below/file"), "from the host");
    scene.ok("exec box sh -c 'echo from the container > /srv/answer'");
    scene.ok(&format!("cp box:/srv/answer {host}/answer"));
    assert_eq!(fs::read_to_string(scene.daemon.path("host/answer")).unwrap(), "from the container\n");
    scene.ok(&format!("cp box:/srv {host}/back"));
    assert_eq!(fs::read_to_string(scene.daemon.path("host/back/below/file")).unwrap(), "from the host");
    let text = scene.fails(1, &format!("cp box:/nowhere {host}"));
    assert!(text.contains("Could not find the file /nowhere in container box"), "{text}");
});

scenario!(a_stopped_container_is_copied_from_and_to(scene) {
    fs::write(scene.daemon.path("note"), "later").unwrap();
    scene.ok("create --name box busybox cat /note");
    scene.ok(&format!("cp {} box:/note", scene.daemon.path("note").display()));
    assert_eq!(scene.ok("start -a box"), "later");
});

scenario!(a_stream_is_an_archive(scene) {
    scene.ok("run --name box busybox sh -c 'mkdir /d; echo x > /d/f'");
    let output = scene.run("cp box:/d -");
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.contains("d/f") && output.stdout.contains("ustar"));
});

scenario!(a_link_in_the_container_does_not_reach_the_host(scene) {
    let secret = scene.daemon.path("secret");
    fs::write(&secret, "the host's").unwrap();
    scene.ok(&format!("run --name box busybox ln -s {} /link", secret.display()));
    fs::write(scene.daemon.path("new"), "written").unwrap();
    scene.run(&format!("cp {} box:/link", scene.daemon.path("new").display()));
    assert_eq!(fs::read_to_string(&secret).unwrap(), "the host's");
    scene.run(&format!("cp -L box:/link {}", scene.daemon.path("got").display()));
    assert!(!fs::read_to_string(scene.daemon.path("got")).is_ok_and(|text| text.contains("the host's")));
});

scenario!(diff_tells_what_changed(scene) {
    scene.ok("run --name box busybox sh -c 'echo x > /new; rm /bin/vi; echo y >> /etc/passwd'");
    let mut lines: Vec<_> = scene.ok("diff box").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["A /new", "C /bin", "C /etc", "C /etc/passwd", "D /bin/vi"]);
});

scenario!(an_export_becomes_an_image(scene) {
    scene.ok("run --name box busybox sh -c 'echo kept > /kept'");
    let file = scene.daemon.path("root.tar");
    let file = file.display();
    scene.ok(&format!("export -o {file} box"));
    let id = scene.ok(&format!("import -c 'CMD [\"cat\", \"/kept\"]' {file} copy:1"));
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(scene.ok("run --rm copy:1"), "kept");
});

scenario!(a_commit_keeps_the_changes(scene) {
    scene.ok("run --name box busybox sh -c 'echo kept > /kept; rm /bin/vi'");
    let id = scene.ok("commit -m 'a note' -c 'ENV A=9' box mine:v1");
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(scene.ok("run --rm mine:v1 sh -c 'cat /kept; echo $A; ls /bin/vi 2>/dev/null; true'"), "kept\n9");
    assert_eq!(scene.ok("history --format '{{.Comment}}' mine:v1").lines().next(), Some("a note"));
});
