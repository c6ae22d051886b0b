//! `logs`.

use std::{os::unix::net::UnixDatagram, time::Duration};

use hull_testkit::{scenario, until};

scenario!(they_keep_both_streams(scene) {
    scene.ok("run --name box busybox sh -c 'echo out; echo err >&2; printf unfinished'");
    let output = scene.run("logs box");
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\nunfinished", "err\n"));
});

scenario!(tail_since_until_and_times(scene) {
    scene.ok("run --name box busybox sh -c 'for n in 1 2 3 4 5; do echo $n; sleep 0.02; done'");
    assert_eq!(scene.ok("logs --tail 2 box"), "4\n5");
    assert_eq!(scene.ok("logs -n 0 box"), "");
    let stamped = scene.ok("logs -t box");
    let times: Vec<_> = stamped.lines().map(|line| line.split_once(' ').unwrap()).collect();
    assert!(times.iter().all(|(time, _)| time.len() == 30 && time.ends_with('Z')), "{stamped}");
    assert_eq!(scene.ok(&format!("logs --since {} box", times[3].0)), "4\n5");
    assert_eq!(scene.ok(&format!("logs --until {} box", times[1].0)).lines().next(), Some("1"));
    assert_eq!(scene.ok("logs --since 1h box").lines().count(), 5);
});

scenario!(following_ends_with_the_container(scene) {
    scene.ok("run -d -i --name box busybox sh -c 'echo first; while read line; do echo $line; done; exit 1'");
    let mut attach = scene.begin("attach box");
    let mut follow = scene.begin("logs -f box");
    follow.expect("first");
    attach.send("second\n");
    follow.expect("second");
    scene.ok("restart -t 0 box");
    scene.ok("stop -t 0 box");
    let (code, stdout, stderr) = follow.wait();
    assert_eq!((code, stdout.starts_with("first\nsecond\n")), (0, true), "{stdout}{stderr}");
});

scenario!(a_terminals_log_is_raw(scene) {
    scene.ok("run -t --name box busybox echo hello");
    assert_eq!(scene.run("logs box").stdout, "hello\r\n");
});

scenario!(long_lines_come_back_whole(scene) {
    scene.ok("run -d --name box busybox sh -c 'head -c 100000 /dev/zero | tr \"\\0\" x; echo; echo end'");
    scene.until_status("box", "exited");
    let text = scene.ok("logs box");
    assert_eq!(text.lines().map(str::len).collect::<Vec<_>>(), [100_000, 3]);
});

scenario!(they_are_rotated(scene) {
    scene.ok("run --name box --log-opt max-size=64k --log-opt max-file=2 busybox seq -w 1 20000");
    let text = scene.ok("logs box");
    assert!(text.ends_with("20000"), "the newest is there");
    until("the oldest is gone", || scene.ok("logs box").lines().count() < 20_000);
    assert_eq!(scene.inspect("box", "{{.HostConfig.LogConfig.Type}}"), "json-file");
});

scenario!(none_keeps_none(scene) {
    assert_eq!(scene.ok("run --name box --log-driver none busybox echo hello"), "hello");
    let text = scene.fails(1, "logs box");
    assert!(text.contains("configured logging driver does not support reading"), "{text}");
});

scenario!(a_collector_gets_each_line_and_they_can_still_be_read(scene) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("collector");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let next = || {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).expect("a message arrives");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let driver = format!("--log-driver syslog --log-opt syslog-address=unixgram://{}", path.display());
    // Removed at once: the last line is delivered all the same.
    scene.ok(&format!("run --rm --name one {driver} --log-opt tag={{{{.Name}}}} busybox sh -c 'echo out; echo err >&2; sleep 0.1; echo end'"));
    let mut lines: Vec<_> = (0..3).map(|_| next()).collect();
    assert!(lines[2].starts_with("<30>") && lines[2].ends_with("]: end\n"), "{lines:?}");
    lines[..2].sort();
    assert!(lines[0].starts_with("<27>") && lines[0].ends_with("]: err\n"), "{lines:?}");
    assert!(lines[1].contains(" one["), "{lines:?}");
    scene.ok(&format!("run --name two {driver} --log-opt syslog-format=rfc5424 busybox echo kept"));
    assert!(next().ends_with(" - kept\n"));
    assert_eq!(scene.ok("logs two"), "kept");
    let text = scene.fails(125, "run --log-driver syslog --log-opt syslog-address=ftp://x busybox true");
    assert!(text.contains("unsupported scheme \"ftp\""), "{text}");
});
