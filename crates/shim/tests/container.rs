//! The shim on the real kernel, with a busybox container.
#![expect(clippy::unwrap_used, reason = "a test's way to fail")]

mod support;

use std::{
    net::Shutdown,
    path::Path,
    time::{Duration, Instant},
};

use hull_shim::protocol::{
    ErrorKind, Event, Exit, Health, HealthStatus, Phase, Reply, Request, Target,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use support::{Options, Shim, demultiplex, expect, say, wait_for};

fn sh(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

fn interactive() -> Options {
    Options {
        open_stdin: true,
        stdin_once: true,
        ..Options::default()
    }
}

#[test]
fn output_and_exit_code_are_kept() {
    let mut shim = Shim::with(&sh("echo out; echo err >&2; exit 7"), &Options::default());
    assert!(matches!(shim.state().phase, Phase::Created { .. }));
    let mut events = shim.events();
    assert!(matches!(shim.request(&Request::Start), Reply::Started { pid } if pid > 0));
    let Event::Exited(exit) = events.wait().unwrap() else {
        panic!()
    };
    assert_eq!(exit.code, 7);
    assert!(exit.started_at_ns > 0 && exit.started_at_ns <= exit.finished_at_ns);
    assert_eq!(shim.logged("stdout"), "out\n");
    assert_eq!(shim.logged("stderr"), "err\n");
    let record = std::fs::read(shim.path("exit.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Exit>(&record).unwrap(), exit);
    shim.request(&Request::Shutdown);
    assert_eq!(hull_sys::process::wait(&shim.pidfd).unwrap().code(), 0);
    assert!(!shim.path("run/shim.sock").exists());
}

#[test]
fn a_program_that_is_not_there_is_told_as_such() {
    let mut shim = Shim::start();
    let outcome = match shim.create(&["/nope"], &Options::default()) {
        Ok(_) => shim.refused(&Request::Start),
        Err(hull_shim::client::ClientError::Refused { kind, message }) => (kind, message),
        Err(other) => panic!("{other:?}"),
    };
    assert_eq!(outcome.0, ErrorKind::NotFound, "{}", outcome.1);
    assert!(matches!(shim.state().phase, Phase::Empty));
    assert!(!shim.path("exit.json").exists());
    shim.request(&Request::Shutdown);
}

#[test]
fn requests_that_do_not_fit_the_state_are_refused() {
    let mut shim = Shim::start();
    assert_eq!(shim.refused(&Request::Start).0, ErrorKind::State);
    shim.create(&["sleep", "100"], &Options::default()).unwrap();
    shim.request(&Request::Start);
    assert_eq!(shim.refused(&Request::Start).0, ErrorKind::State);
    assert_eq!(shim.refused(&Request::Shutdown).0, ErrorKind::State);
    assert_eq!(
        shim.refused(&Request::StartExec { id: "x".into() }).0,
        ErrorKind::NoSuchExec
    );
}

#[test]
fn a_container_is_killed_by_a_signal() {
    let mut shim = Shim::running(&["sleep", "100"], &Options::default());
    shim.request(&Request::Signal {
        target: Target::Init,
        signal: 9,
        all: false,
    });
    assert_eq!(shim.exit().code, 137);
}

#[test]
fn a_container_that_never_started_can_be_let_go() {
    let mut shim = Shim::with(&["true"], &Options::default());
    shim.request(&Request::Shutdown);
    assert_eq!(hull_sys::process::wait(&shim.pidfd).unwrap().code(), 0);
}

#[test]
fn many_clients_see_the_same() {
    let mut shim = Shim::with(&sh("seq 5000; echo err >&2"), &Options::default());
    let clients: Vec<_> = (0..8).map(|_| shim.attach(Target::Init, false)).collect();
    shim.request(&Request::Start);
    let expected: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    for client in clients {
        let [out, err, _] = demultiplex(client);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(err, b"err\n");
    }
    assert_eq!(shim.logged("stdout"), expected);
}

#[test]
fn a_client_that_does_not_read_holds_nothing_up_and_misses_nothing() {
    let mut shim = Shim::with(&["seq", "1000000"], &Options::default());
    let slow = shim.attach(Target::Init, false);
    shim.request(&Request::Start);
    assert_eq!(shim.exit().code, 0);
    let memory = std::fs::read_to_string(format!("/proc/{}/status", shim.pid)).unwrap();
    let resident = memory
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    let kilobytes: u64 = resident.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kilobytes < 12_000, "{resident}");
    // The shim may be told to leave: it delivers first.
    shim.request(&Request::Shutdown);
    let [out, _, _] = demultiplex(slow);
    assert_eq!(out.len(), 6_888_896);
    assert!(out.ends_with(b"999999\n1000000\n"));
}

#[test]
fn a_half_closed_stdin_is_an_end_for_the_container_and_output_still_comes() {
    let mut shim = Shim::with(&sh("cat; echo done"), &interactive());
    let mut client = shim.attach(Target::Init, true);
    say(&mut client, "typed before the start\n");
    shim.request(&Request::Start);
    let big = "x".repeat(300_000);
    let mut writer = client.try_clone().unwrap();
    let reader = std::thread::spawn(move || demultiplex(client));
    say(&mut writer, &big);
    writer.shutdown(Shutdown::Write).unwrap();
    let [out, _, _] = reader.join().unwrap();
    assert_eq!(
        out.len(),
        "typed before the start\n".len() + big.len() + "done\n".len()
    );
    assert_eq!(shim.exit().code, 0);
}

#[test]
fn stdin_of_a_client_that_left_arrives_whole() {
    let mut shim = Shim::with(&sh("sleep 0.2; cat | busybox wc -c"), &interactive());
    let mut client = shim.attach(Target::Init, true);
    shim.request(&Request::Start);
    let writer = std::thread::spawn(move || say(&mut client, &"y".repeat(150_000)));
    writer.join().unwrap();
    assert_eq!(shim.exit().code, 0);
    assert_eq!(shim.logged("stdout").trim(), "150000");
}

#[test]
fn stdin_stays_open_unless_it_is_for_one_client_only() {
    let options = Options {
        open_stdin: true,
        ..Options::default()
    };
    let mut shim = Shim::running(&["cat"], &options);
    for text in ["one\n", "two\n"] {
        let mut client = shim.attach(Target::Init, true);
        say(&mut client, text);
        client.shutdown(Shutdown::Write).unwrap();
        shim.wait_logged(text);
    }
    assert!(matches!(shim.state().phase, Phase::Running { .. }));
}

#[test]
fn without_open_stdin_there_is_none() {
    let shim = Shim::running(&["cat"], &Options::default());
    assert_eq!(shim.exit().code, 0);
}

#[test]
fn a_terminal_has_a_size_and_keys_that_let_go() {
    let options = Options {
        terminal: true,
        open_stdin: true,
        ..Options::default()
    };
    let mut shim = Shim::running(&["sh"], &options);
    let mut events = shim.events();
    let mut client = shim.attach_with_keys(Target::Init, true, b"\x10\x11");
    shim.request(&Request::Resize {
        target: Target::Init,
        rows: 33,
        columns: 101,
    });
    say(&mut client, "stty size; tty\n");
    expect(&mut client, "33 101");
    say(&mut client, "echo last\x10\x11");
    assert!(matches!(
        events.wait().unwrap(),
        Event::Detached(Target::Init)
    ));
    // What was typed before the keys was passed on; the container goes on for the next client.
    let mut client = shim.attach_with_keys(Target::Init, true, b"\x10\x11");
    say(&mut client, "-word; exit 4\n");
    expect(&mut client, "last-word\r\n");
    assert_eq!(shim.exit().code, 4);
}

#[test]
fn more_processes_run_in_it_with_streams_of_their_own() {
    let mut shim = Shim::running(&["sleep", "100"], &Options::default());
    let mut events = shim.events();
    shim.exec("e1", &sh("cat; echo err >&2; exit 3"), false, true);
    let mut client = shim.attach(Target::Exec("e1".into()), true);
    say(&mut client, "hello\n");
    client.shutdown(Shutdown::Write).unwrap();
    assert!(matches!(
        shim.request(&Request::StartExec { id: "e1".into() }),
        Reply::Started { .. }
    ));
    let [out, err, _] = demultiplex(client);
    assert_eq!((&out[..], &err[..]), (&b"hello\n"[..], &b"err\n"[..]));
    let Event::ExecExited { id, exit } = events.wait().unwrap() else {
        panic!()
    };
    assert_eq!((&id[..], exit.code), ("e1", 3));
    wait_for(|| shim.state().execs.is_empty().then_some(()));
    assert_eq!(
        shim.logged("stdout"),
        "",
        "what they write is none of the log's"
    );
}

#[test]
fn more_processes_may_have_terminals() {
    let mut shim = Shim::running(&["sleep", "100"], &Options::default());
    shim.exec("e1", &["sh"], true, true);
    let mut client = shim.attach(Target::Exec("e1".into()), true);
    shim.request(&Request::StartExec { id: "e1".into() });
    let target = Target::Exec("e1".into());
    shim.request(&Request::Resize {
        target,
        rows: 11,
        columns: 22,
    });
    say(&mut client, "stty size\n");
    expect(&mut client, "11 22");
    say(&mut client, "exit\n");
}

#[test]
fn a_slow_client_of_an_exec_makes_it_wait_and_gets_everything() {
    let mut shim = Shim::running(&["sleep", "100"], &Options::default());
    shim.exec("e1", &["seq", "500000"], false, false);
    let client = shim.attach(Target::Exec("e1".into()), false);
    shim.request(&Request::StartExec { id: "e1".into() });
    std::thread::sleep(Duration::from_millis(300));
    let is_waiting = shim.state().execs.iter().any(|exec| exec.exit.is_none());
    assert!(is_waiting, "it has written more than anybody took");
    let [out, _, _] = demultiplex(client);
    assert!(out.ends_with(b"499999\n500000\n"));
    assert_eq!(out.len(), 3_388_895);
}

#[test]
fn an_exec_that_cannot_run_says_why_and_leaves_nothing() {
    let mut shim = Shim::running(&["sleep", "100"], &Options::default());
    shim.exec("e1", &["/nope"], false, false);
    let client = shim.attach(Target::Exec("e1".into()), false);
    let (kind, message) = shim.refused(&Request::StartExec { id: "e1".into() });
    assert_eq!(kind, ErrorKind::NotFound, "{message}");
    assert!(demultiplex(client).iter().all(Vec::is_empty));
    assert!(shim.state().execs.is_empty());
}

#[test]
fn a_daemon_that_was_away_learns_what_happened() {
    let mut shim = Shim::running(&sh("sleep 0.3; exit 5"), &Options::default());
    shim.exec("e1", &sh("exit 6"), false, false);
    shim.request(&Request::StartExec { id: "e1".into() });
    let (gone, _) = std::os::unix::net::UnixStream::pair().unwrap();
    shim.client = hull_shim::client::Client::new(gone);
    wait_for(|| shim.path("exit.json").exists().then_some(()));
    shim.client = shim.connect();
    assert!(matches!(shim.state().phase, Phase::Exited(exit) if exit.code == 5));
    let mut events = shim.events();
    assert!(matches!(events.wait().unwrap(), Event::ExecExited { exit, .. } if exit.code == 6));
    assert!(matches!(events.wait().unwrap(), Event::Exited(exit) if exit.code == 5));
}

#[test]
fn a_shim_that_no_daemon_can_reach_any_more_leaves_when_its_container_has_ended() {
    let mut shim = Shim::running(&sh("exit 5"), &Options::default());
    wait_for(|| shim.path("exit.json").exists().then_some(()));
    std::fs::remove_file(shim.path("run/shim.sock")).unwrap();
    let (gone, _) = std::os::unix::net::UnixStream::pair().unwrap();
    shim.client = hull_shim::client::Client::new(gone);
    assert_eq!(hull_sys::process::wait(&shim.pidfd).unwrap().code(), 0);
}

#[test]
fn a_killed_shim_takes_its_container_along() {
    if std::env::var_os("HULL_TEST_RUNTIME").is_some() {
        return; // Other runtimes do not tie a container to us; the daemon kills what is left.
    }
    for shared_processes in [false, true] {
        let options = Options {
            shared_processes,
            ..Options::default()
        };
        let mut shim = Shim::with(&["sleep", "100"], &options);
        let Reply::Started { pid } = shim.request(&Request::Start) else {
            panic!()
        };
        let process = hull_sys::process::open(pid).unwrap();
        hull_sys::process::signal(&shim.pidfd, libc::SIGKILL).unwrap();
        let mut polled = [PollFd::new(&process, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        assert_eq!(rustix::event::poll(&mut polled, Some(&timeout)).unwrap(), 1);
    }
}

#[test]
fn descendants_do_not_outlive_the_container_nor_hold_its_end_up() {
    for (with_init, shared_processes) in [(true, false), (false, false), (false, true)] {
        if with_init && std::env::var_os("HULL_TEST_RUNTIME").is_some() {
            continue;
        }
        let script = "trap '' TERM; (trap '' TERM; sleep 123 & true) & (true &); sleep 0.2; exit 9";
        let options = Options {
            with_init,
            shared_processes,
            ..Options::default()
        };
        let mut shim = Shim::with(&sh(script), &options);
        shim.request(&Request::Start);
        let start = Instant::now();
        assert_eq!(shim.exit().code, 9);
        assert!(start.elapsed() < Duration::from_secs(6));
        shim.request(&Request::Shutdown);
        assert_eq!(hull_sys::process::wait(&shim.pidfd).unwrap().code(), 0);
        let cgroup = format!("/sys/fs/cgroup/pids/hull-test/{}", shim.id);
        assert!(!Path::new(&cgroup).exists());
    }
}

#[test]
fn an_init_of_ours_reaps_and_passes_signals_on() {
    if std::env::var_os("HULL_TEST_RUNTIME").is_some() {
        return;
    }
    let script = "trap 'exit 42' TERM; (sleep 0.05 & true) & echo up; while :; do sleep 0.05; done";
    let options = Options {
        with_init: true,
        ..Options::default()
    };
    let mut shim = Shim::running(&sh(script), &options);
    shim.wait_logged("up");
    std::thread::sleep(Duration::from_millis(200));
    shim.exec("e1", &["ps", "-o", "stat"], false, false);
    let client = shim.attach(Target::Exec("e1".into()), false);
    shim.request(&Request::StartExec { id: "e1".into() });
    let [out, _, _] = demultiplex(client);
    assert!(!String::from_utf8(out).unwrap().contains('Z'));
    shim.request(&Request::Signal {
        target: Target::Init,
        signal: 15,
        all: false,
    });
    assert_eq!(shim.exit().code, 42);
}

#[test]
fn quick_ends_are_never_lost() {
    let count = if std::env::var_os("HULL_TEST_RUNTIME").is_some() {
        10
    } else {
        200
    };
    for n in 0..count {
        let mut shim = Shim::with(&sh("echo quick; exit 3"), &Options::default());
        let client = shim.attach(Target::Init, false);
        shim.request(&Request::Start);
        assert_eq!(shim.exit().code, 3, "run {n}");
        assert_eq!(demultiplex(client)[0], b"quick\n", "run {n}");
        assert_eq!(shim.logged("stdout"), "quick\n", "run {n}");
    }
}

#[test]
fn a_log_is_rotated_and_compressed_and_the_newest_lines_are_there() {
    let options = Options {
        log_size_max: 1 << 20,
        compress: true,
        ..Options::default()
    };
    let mut shim = Shim::running(&["seq", "100000"], &options);
    assert_eq!(shim.exit().code, 0);
    assert!(shim.logged("stdout").ends_with("99999\n100000\n"));
    assert!(shim.path("log").metadata().unwrap().len() <= (1 << 20) + 200);
    wait_for(|| shim.path("log.1.gz").exists().then_some(()));
    wait_for(|| (!shim.path("log.1").exists()).then_some(()));
    assert!(!shim.path("log.3").exists() && !shim.path("log.3.gz").exists());
    shim.request(&Request::Shutdown);
}

fn health(script: &str) -> Option<Health> {
    Some(Health {
        process: serde_json::from_value(support::process(&sh(script), false)).unwrap(),
        interval_ns: 50_000_000,
        timeout_ns: 400_000_000,
        start_period_ns: 0,
        start_interval_ns: 50_000_000,
        retries: 2,
    })
}

fn wait_health(shim: &mut Shim, status: HealthStatus) -> hull_shim::protocol::HealthState {
    wait_for(|| shim.state().health.filter(|health| health.status == status))
}

#[test]
fn health_is_what_the_probes_say() {
    let script = "echo checked; test ! -e /tmp/ill";
    let options = Options {
        health: health(script),
        ..Options::default()
    };
    let mut shim = Shim::running(&["sleep", "100"], &options);
    let state = wait_health(&mut shim, HealthStatus::Healthy);
    assert_eq!(state.log[0].output, "checked\n");
    shim.exec("e1", &["touch", "/tmp/ill"], false, false);
    shim.request(&Request::StartExec { id: "e1".into() });
    let state = wait_health(&mut shim, HealthStatus::Unhealthy);
    assert!(state.failing_streak >= 2);
    shim.request(&Request::PauseHealth(true));
    shim.request(&Request::PauseHealth(false));
    shim.exec("e2", &["rm", "/tmp/ill"], false, false);
    shim.request(&Request::StartExec { id: "e2".into() });
    let state = wait_health(&mut shim, HealthStatus::Healthy);
    assert!(state.log.len() <= 5);
}

#[test]
fn a_probe_that_hangs_is_ended_and_counts_as_a_failure() {
    let options = Options {
        health: health("echo begun; sleep 60"),
        ..Options::default()
    };
    let mut shim = Shim::running(&["sleep", "100"], &options);
    let state = wait_health(&mut shim, HealthStatus::Unhealthy);
    assert_eq!(state.log[0].exit_code, -1);
    assert_eq!(
        state.log[0].output,
        "Health check exceeded timeout (400ms): begun\n"
    );
}

#[test]
fn a_shim_costs_little_memory() {
    let shims: Vec<_> = (0..8)
        .map(|_| Shim::running(&["sleep", "100"], &Options::default()))
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    for shim in &shims {
        let path = format!("/proc/{}/smaps_rollup", shim.pid);
        let text = std::fs::read_to_string(path).unwrap();
        let kilobytes = |name: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let (rss, pss) = (kilobytes("Rss:"), kilobytes("Pss:"));
        let dirty = kilobytes("Private_Dirty:");
        println!("rss {rss} KiB, pss {pss} KiB, private dirty {dirty} KiB");
        // A debug build has relocations of its own; a released, static one stays below 300.
        assert!(dirty < 1024, "{text}");
    }
}
