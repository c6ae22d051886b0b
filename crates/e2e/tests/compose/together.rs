//! Several clients at one project at a time.

use hull_testkit::{Running, until};

use crate::{Application, Driver};

/// `web` waits until `db` is healthy, and `db` is not before the file `/go` is there.
const GATED: &str = "
    name: both
    services:
      web: {image: busybox, command: sleep 1000, init: true, scale: 2, depends_on: {db: {condition: service_healthy}}}
      db:
        image: busybox
        command: sleep 1000
        init: true
        healthcheck: {test: test -e /go, interval: 100ms, retries: 1000}
";

const NAMES: [&str; 3] = ["both-db-1", "both-web-1", "both-web-2"];

/// An `up` that waits for `db`.
fn begun(app: &Application) -> Running {
    let running = Running::spawn(&mut app.command("up -d"));
    until("it waits for the database", || {
        app.containers() == NAMES && app.field("both-db-1", "/State/Running") == true
    });
    running
}

/// Another command, once it waits for the one with that process.
fn behind(app: &Application, line: &str, first: u32) -> Running {
    let second = Running::spawn(&mut app.command(line));
    let words =
        format!("The project both is being worked on by `hull compose up` (pid {first} on ");
    until("it says whom it waits for", || {
        second.stderr().contains(&words)
    });
    second
}

fn go(app: &Application) {
    app.ok("exec -T db touch /go");
}

#[test]
fn a_second_up_waits_for_the_first_and_finds_all_done() {
    Application::play(Driver::Hull, GATED, |app| {
        let mut first = begun(app);
        let mut second = behind(app, "up -d", first.pid());
        let mut third = behind(app, "up -d --force-recreate web", first.pid());
        go(app);
        for up in [&mut first, &mut second, &mut third] {
            let (code, _, complaint) = up.wait();
            assert_eq!(code, 0, "{complaint}");
            assert!(
                complaint.matches("is being worked on").count() < 2,
                "{complaint}"
            );
        }
        assert_eq!(app.containers(), NAMES);
        assert_eq!(app.run("diff").code, 0);
        app.ok("down -t 0");
    });
}

#[test]
fn a_killed_or_interrupted_client_holds_nothing() {
    Application::play(Driver::Hull, GATED, |app| {
        let mut first = begun(app);
        let mut waiting = behind(app, "up -d", first.pid());
        let mut down = behind(app, "down -t 0", first.pid());
        // Who waits may leave, and what is held stays so.
        waiting.signal("INT");
        assert_eq!(waiting.wait().0, 130);
        assert_eq!(app.containers(), NAMES);
        first.kill();
        let (code, _, complaint) = down.wait();
        assert_eq!(code, 0, "{complaint}");
        assert_eq!(app.containers(), [""; 0]);
    });
}

#[test]
fn one_that_looks_on_and_one_that_ends_all_keep_nobody() {
    Application::play(Driver::Hull, GATED, |app| {
        let mut first = begun(app);
        // What makes an end of it is not kept waiting.
        app.ok("stop -t 0 db");
        let (code, _, complaint) = first.wait();
        assert_eq!(code, 1, "{complaint}");
        let mut attached = Running::spawn(&mut app.command("up"));
        until("the database runs", || {
            app.field("both-db-1", "/State/Running") == true
        });
        go(app);
        until("all run", || {
            NAMES
                .iter()
                .all(|name| app.field(name, "/State/Running") == true)
        });
        app.ok("up -d");
        attached.signal("INT");
        assert_eq!(attached.wait().0, 130);
        app.ok("down -t 0");
    });
}

#[test]
fn what_is_interrupted_says_so_by_its_code_and_does_not_end_by_the_signal() {
    let file = "
        name: broken-off
        services:
          web: {image: busybox, command: sleep 1000, init: true, healthcheck: {test: 'false', interval: 1s, retries: 1000}}
    ";
    Application::play(Driver::Hull, file, |app| {
        for line in ["up -d --wait", "logs -f", "wait web"] {
            let mut child = app
                .command(line)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            until("it runs and listens to signals", || {
                let catches = catches_interrupts(child.id());
                catches
                    && !app.containers().is_empty()
                    && app.field("broken-off-web-1", "/State/Running") == true
            });
            hull_testkit::process::signal(child.id(), "INT");
            assert_eq!(child.wait().unwrap().code(), Some(130), "{line}");
        }
        app.ok("down -t 0");
    });
}

fn catches_interrupts(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines();
    let caught = lines.find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 0b10 != 0
}
