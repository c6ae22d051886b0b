//! What is wrong is refused, in Docker's words.

use hull_testkit::scenario;

scenario!(an_image_that_is_not_there(scene) {
    let text = scene.fails(125, "run --pull never --rm no-such-image:9 true");
    assert!(text.contains("No such image: no-such-image:9"), "{text}");
    let text = scene.fails(1, "image inspect no-such-image");
    assert!(text.contains("No such image: no-such-image"), "{text}");
});

scenario!(a_name_that_is_taken_or_wrong(scene) {
    let id = scene.ok("create --name taken busybox true");
    let text = scene.fails(1, "create --name taken busybox true");
    let expected = format!(
        "Conflict. The container name \"/taken\" is already in use by container \"{id}\". \
         You have to remove (or rename) that container to be able to reuse that name."
    );
    assert!(text.contains(&expected), "{text}");
    let text = scene.fails(125, "run --name 'not a name' busybox true");
    assert!(text.contains("Invalid container name (not a name), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"), "{text}");
});

scenario!(what_the_command_line_does_not_know(scene) {
    let text = scene.fails(125, "run --no-such-flag busybox true");
    assert!(text.contains("unknown flag: --no-such-flag"), "{text}");
    let text = scene.fails(1, "no-such-command");
    assert!(text.contains("no-such-command"), "{text}");
    let text = scene.fails(1, "start");
    assert!(text.contains("requires at least 1 argument"), "{text}");
});

scenario!(values_that_make_no_sense(scene) {
    let text = scene.fails(125, "run --rm -p 99999:80 busybox true");
    assert!(text.contains("invalid") && text.to_lowercase().contains("port"), "{text}");
    let text = scene.fails(125, "run --rm --memory lots busybox true");
    assert!(text.contains("invalid argument \"lots\" for \"-m, --memory\" flag: invalid size: 'lots'"), "{text}");
    let text = scene.fails(125, "run --rm -v relative/path:/x busybox true");
    assert!(text.contains("includes invalid characters for a local volume name"), "{text}");
    let text = scene.fails(1, "create --restart sometimes busybox true");
    assert!(text.contains("sometimes"), "{text}");
    let text = scene.fails(125, "run --rm --restart always busybox true");
    assert!(text.to_lowercase().contains("conflicting options"), "{text}");
    let text = scene.fails(125, "run --rm --network no-such-network busybox true");
    assert!(text.contains("no-such-network"), "{text}");
});

scenario!(a_container_that_is_not_there(scene) {
    for command in ["start", "stop", "kill", "pause", "unpause", "restart", "rm", "logs", "top", "diff", "port", "wait"] {
        let text = scene.fails(1, &format!("{command} nobody"));
        assert!(text.contains("No such container: nobody"), "{command}: {text}");
    }
});

scenario!(a_failed_start_leaves_nothing_on_the_host(scene) {
    for line in ["no-such-program", "--user nosuch true", "-v /proc:/proc:nosuch true"] {
        let line = match line.split_once(' ') {
            Some((option, _)) if option.starts_with('-') => {
                let (options, program) = line.rsplit_once(' ').expect("has a program");
                format!("run --rm {options} busybox {program}")
            }
            _ => format!("run --rm busybox {line}"),
        };
        assert_ne!(scene.run(&line).code, 0, "{line}");
    }
    scene.daemon.assert_clean();
});
