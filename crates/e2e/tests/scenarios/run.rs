//! `run`: output, input, exit codes, and what the options do to the process.

use hull_testkit::{scenario, until};

scenario!(output_goes_where_the_program_sent_it(scene) {
    let output = scene.run("run --rm busybox sh -c 'echo out; echo err >&2'");
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (0, "out\n", "err\n"));
});

scenario!(the_exit_code_is_the_programs(scene) {
    for code in [0, 1, 7, 125, 255] {
        let output = scene.run(&format!("run --rm busybox sh -c 'exit {code}'"));
        assert_eq!(output.code, code, "{}", output.stderr);
    }
    assert_eq!(scene.run("run --rm busybox sh -c 'sleep 100 & kill -KILL $!; wait $!'").code, 137);
});

scenario!(a_program_that_is_not_there_is_127(scene) {
    let text = scene.fails(127, "run --rm busybox no-such-program");
    assert!(text.contains("\"no-such-program\": executable file not found in $PATH"), "{text}");
    let text = scene.fails(127, "run --rm busybox /no/such/program");
    assert!(text.contains("no such file or directory"), "{text}");
});

scenario!(a_program_that_cannot_be_run_is_126(scene) {
    let text = scene.fails(126, "run --rm busybox /etc/passwd");
    assert!(text.contains("permission denied"), "{text}");
    scene.fails(126, "run --rm busybox /etc");
});

scenario!(a_failed_start_leaves_a_created_container_with_its_code(scene) {
    scene.fails(127, "run --name broken busybox no-such-program");
    assert_eq!(scene.inspect("broken", "{{.State.Status}} {{.State.ExitCode}}"), "created 127");
});

scenario!(standard_input_reaches_the_program_to_its_last_byte(scene) {
    let mut wc = scene.begin("run --rm -i busybox wc -c");
    for _ in 0..64 {
        wc.send([b'x'; 16 * 1024]);
    }
    let (code, stdout, stderr) = wc.wait();
    assert_eq!((code, stdout.trim()), (0, "1048576"), "{stderr}");
});

scenario!(output_goes_on_after_input_ends(scene) {
    let mut cat = scene.begin("run --rm -i busybox sh -c 'cat; echo end of input; sleep 0.2; echo still here'");
    cat.send("one\n");
    cat.expect("one\n");
    cat.send("two\n");
    let (code, stdout, stderr) = cat.wait();
    assert_eq!((code, stdout.as_str()), (0, "one\ntwo\nend of input\nstill here\n"), "{stderr}");
});

scenario!(much_output_arrives_whole(scene) {
    let output = scene.run("run --rm busybox sh -c 'seq 1 200000'");
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!((output.code, lines.len(), lines.last().copied()), (0, 200_000, Some("200000")));
});

scenario!(detached_it_prints_its_id_and_goes_on(scene) {
    let id = scene.ok("run -d --name sleeper busybox sleep 1000");
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(scene.inspect("sleeper", "{{.Id}} {{.State.Running}}"), format!("{id} true"));
});

scenario!(environment_directory_user_and_host_name(scene) {
    let line = "run --rm -e A=1 -e 'B=two words' -w /tmp -u 65534:29 -h box --domainname example.org busybox \
                sh -c 'echo $A; echo $B; pwd; id -u; id -g; hostname; echo $HOME; echo $HOSTNAME'";
    assert_eq!(scene.ok(line), "1\ntwo words\n/tmp\n65534\n29\nbox\n/home\nbox");
});

scenario!(a_user_by_name_brings_its_groups(scene) {
    assert_eq!(scene.ok("run --rm -u daemon busybox id"), "uid=1(daemon) gid=1(daemon) groups=1(daemon),29(audio)");
    let groups = scene.ok("run --rm -u daemon --group-add 1234 busybox id -G");
    assert_eq!(groups, "1 29 1234");
    scene.fails(125, "run --rm -u no-such-user busybox id");
});

scenario!(a_working_directory_that_is_missing_is_made(scene) {
    assert_eq!(scene.ok("run --rm -w /not/yet/there busybox pwd"), "/not/yet/there");
});

scenario!(the_entry_point_can_be_replaced(scene) {
    assert_eq!(scene.ok("run --rm --entrypoint echo busybox hello"), "hello");
});

scenario!(environment_and_labels_from_files(scene) {
    std::fs::write(scene.daemon.path("env"), "# comment\nX=from file\nY=2\n").unwrap();
    std::fs::write(scene.daemon.path("labels"), "colour=blue\n").unwrap();
    let directory = scene.daemon.directory().display();
    let line = format!("run --name box --env-file {directory}/env --label-file {directory}/labels -l size=9 busybox env");
    let environment = scene.ok(&line);
    assert!(environment.contains("X=from file\n") && environment.contains("Y=2"), "{environment}");
    assert_eq!(scene.inspect("box", "{{json .Config.Labels}}"), r#"{"colour":"blue","size":"9"}"#);
});

scenario!(rm_removes_it_and_a_cid_file_names_it(scene) {
    let file = scene.daemon.path("cid");
    scene.ok(&format!("run --rm --cidfile {} busybox true", file.display()));
    assert_eq!(std::fs::read_to_string(file).unwrap().trim().len(), 64);
    until("it is gone", || scene.ok("ps -aq").is_empty());
});

scenario!(an_init_reaps_what_others_leave(scene) {
    scene.ok("run -d --init --name box busybox sh -c '(sleep 0.05 &); exec sleep 1000'");
    assert_ne!(scene.ok("exec box cat /proc/1/comm"), "sh", "process 1 is the init");
    let shown = scene.ok("exec box cat /proc/1/cmdline");
    assert_eq!(shown.trim_end_matches('\0'), "init", "nothing of the host is told");
    until("no zombie is left", || !scene.ok("exec box ps -o stat").contains('Z'));
    scene.ok("stop -t 5 box");
    assert_eq!(scene.inspect("box", "{{.State.ExitCode}}"), "143");
});

scenario!(the_root_can_be_read_only_with_a_writable_corner(scene) {
    let output = scene.run("run --rm --read-only --tmpfs /corner busybox sh -c 'touch /corner/x && touch /x'");
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("Read-only file system"), "{}", output.stderr);
});

scenario!(resource_limits_of_the_shell(scene) {
    assert_eq!(scene.ok("run --rm --ulimit nofile=123:456 busybox sh -c 'ulimit -Sn; ulimit -Hn'"), "123\n456");
});

scenario!(kernel_settings_of_its_own(scene) {
    assert_eq!(scene.ok("run --rm --sysctl net.core.somaxconn=77 busybox cat /proc/sys/net/core/somaxconn"), "77");
});

scenario!(shared_memory_has_the_size_asked_for(scene) {
    assert_eq!(scene.ok("run --rm busybox sh -c 'df -k /dev/shm | tail -n1 | tr -s \" \" | cut -d\" \" -f2'"), "65536");
    let asked = "run --rm --shm-size 1m busybox sh -c 'df -k /dev/shm | tail -n1 | tr -s \" \" | cut -d\" \" -f2'";
    assert_eq!(scene.ok(asked), "1024");
});

scenario!(devices_can_be_given(scene) {
    let line = "run --rm --device /dev/full:/dev/brimming busybox sh -c 'echo x > /dev/brimming'";
    let output = scene.run(line);
    assert!(output.stderr.contains("No space left"), "{}", output.stderr);
});

scenario!(a_signal_to_the_client_reaches_the_program(scene) {
    let mut run = scene.begin("run --name box busybox sh -c 'trap \"echo got it; exit 5\" TERM; echo ready; while :; do sleep 0.05; done'");
    run.expect("ready");
    run.signal("TERM");
    let (code, stdout, stderr) = run.wait();
    assert_eq!((code, stdout.contains("got it")), (5, true), "{stdout}{stderr}");
});
