//! What the engine remembers of an application: its order and its gates, when all containers are dead
//! and only restart policies bring them up.

use std::fs;
use std::process::Command;

use hull_testkit::until;

use crate::{Application, Driver, application};

/// The supervisors of this daemon's containers.
fn supervisors(app: &Application) -> Vec<String> {
    let place = app.daemon.directory().to_string_lossy().into_owned();
    let is_supervisor = |pid: &String| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.starts_with("hull-shim ") && line.contains(&place)
    };
    let processes = fs::read_dir("/proc").unwrap();
    processes
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(is_supervisor)
        .collect()
}

fn end(pid: &str) {
    Command::new("kill").args(["-KILL", pid]).status().unwrap();
}

/// Kills the daemon and all supervisors, as a power cut would, and starts the daemon again.
pub(crate) fn reboot(app: &mut Application) {
    app.daemon.kill();
    let all = supervisors(app);
    assert!(!all.is_empty());
    all.iter().for_each(|pid| end(pid));
    until("all supervisors are gone", || supervisors(app).is_empty());
    app.daemon.launch();
}

/// Waits until a container runs again, and returns when it was started.
fn started(app: &Application, name: &str, before: &str) -> String {
    until("it runs again", || {
        app.field(name, "/State/Running") == true && app.field(name, "/State/StartedAt") != before
    });
    time(app, name, "/State/StartedAt")
}

fn time(app: &Application, name: &str, pointer: &str) -> String {
    app.field(name, pointer)
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// An application with an order.
const BOOT: &str = "
        name: boot
        services:
          web:
            image: busybox
            command: sleep 1000
            init: true
            restart: always
            depends_on: {db: {condition: service_healthy}, jobs: {condition: service_completed_successfully}}
          front:
            image: busybox
            command: sleep 1000
            init: true
            restart: unless-stopped
            depends_on: [web]
          side: {image: busybox, command: sleep 1000, init: true, restart: always, network_mode: 'service:front'}
          db:
            image: busybox
            command: sh -c 'rm -f /ready; sleep 0.7; touch /ready; sleep 1000'
            restart: always
            healthcheck: {test: test -e /ready, interval: 500ms, retries: 100}
          jobs: {image: busybox, command: 'true', depends_on: {db: {condition: service_healthy}}}
";

/// Plays an application whose containers all end, and looks at how they start again.
fn comes_in_its_order(all_end: fn(&mut Application)) {
    Application::play(Driver::Hull, BOOT, |app| {
        app.ok("up -d");
        let names = ["boot-db-1", "boot-web-1", "boot-front-1", "boot-side-1"];
        let before = names.map(|name| time(app, name, "/State/StartedAt"));
        all_end(app);
        let [_, web, front, side] = [0, 1, 2, 3].map(|n| started(app, names[n], &before[n]));
        // The gate opened with the first probe that went well.
        let log = app.field("boot-db-1", "/State/Health/Log");
        let well = log
            .as_array()
            .unwrap()
            .iter()
            .find(|probe| probe["ExitCode"] == 0);
        let healthy = well.map(|probe| probe["End"].as_str().unwrap_or_default().to_owned());
        assert!(
            healthy.is_some_and(|healthy| healthy < web),
            "web came before its gate: {log}"
        );
        assert!(web < front && front < side, "{web} {front} {side}");
        app.ok("down -t 0");
    });
}

#[test]
fn a_reboot_brings_the_application_up_in_its_order_and_through_its_gates() {
    comes_in_its_order(reboot);
}

#[test]
fn what_ended_while_no_daemon_was_there_starts_again_in_its_order() {
    comes_in_its_order(|app| {
        let names = ["boot-db-1", "boot-web-1", "boot-front-1", "boot-side-1"];
        let processes = names.map(|name| app.field(name, "/State/Pid").to_string());
        app.daemon.kill();
        processes.iter().for_each(|pid| end(pid));
        app.daemon.launch();
    });
}

/// The status in a list.
fn status(app: &Application, name: &str) -> String {
    let list = app
        .daemon
        .api("GET", "/containers/json?all=1", &serde_json::Value::Null);
    let list = list.json();
    let own = list.as_array().unwrap().iter();
    let mut own = own.filter(|one| one["Names"][0] == format!("/{name}"));
    own.next().unwrap()["Status"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_waited_for_is_told_and_what_is_optional_is_not_waited_for_in_vain() {
    let file = "
        name: boot
        services:
          db:
            image: busybox
            command: sleep 1000
            init: true
            restart: always
            volumes: ['state:/state']
            healthcheck: {test: test -e /state/well, interval: 100ms, retries: 3}
          needs: {image: busybox, command: sleep 1000, init: true, restart: always, depends_on: {db: {condition: service_healthy}}}
          likes:
            image: busybox
            command: sleep 1000
            init: true
            restart: always
            depends_on: {db: {condition: service_healthy, required: false}}
        volumes: {state: {}}
    ";
    Application::play(Driver::Hull, file, |app| {
        app.ok("create");
        app.ok("run --rm -T --no-deps db touch /state/well");
        app.ok("up -d");
        let before = time(app, "boot-likes-1", "/State/StartedAt");
        let needed = time(app, "boot-needs-1", "/State/StartedAt");
        app.ok("exec -T db rm /state/well");
        reboot(app);
        until("it is told", || {
            app.field("boot-needs-1", "/State/WaitsFor") == "service db to be healthy"
        });
        assert!(
            status(app, "boot-needs-1").ends_with(" ago, waits for service db to be healthy"),
            "{}",
            status(app, "boot-needs-1")
        );
        let told = app
            .daemon
            .hull(&["explain", "boot-needs-1"])
            .of_success("explain");
        assert!(
            told.contains("It is to start again, and waits for service db to be healthy."),
            "{told}"
        );
        // What only likes it goes on once the database is found unhealthy.
        started(app, "boot-likes-1", &before);
        assert_eq!(app.field("boot-db-1", "/State/Health/Status"), "unhealthy");
        assert_eq!(app.field("boot-needs-1", "/State/Pid"), 0);
        app.ok("exec -T db touch /state/well");
        started(app, "boot-needs-1", &needed);
        assert_eq!(
            app.field("boot-needs-1", "/State/WaitsFor"),
            serde_json::Value::Null
        );
        app.ok("down -v -t 0");
    });
}

#[test]
fn what_will_not_come_keeps_nothing_down() {
    let file = "
        name: lone
        services:
          web: {image: busybox, command: sleep 1000, init: true, restart: always, depends_on: {db: {condition: service_healthy}}}
          db:
            image: busybox
            command: sleep 1000
            init: true
            healthcheck: {test: 'true', interval: 100ms}
    ";
    Application::play(Driver::Hull, file, |app| {
        app.ok("up -d");
        let before = time(app, "lone-web-1", "/State/StartedAt");
        reboot(app);
        started(app, "lone-web-1", &before);
        assert_eq!(app.field("lone-db-1", "/State/Running"), false);
        app.ok("down -t 0");
    });
}

/// A step that fails twice and is tried again, one that has been done, and those that wait for them.
const STEPS: &str = "
    name: step
    services:
      tries:
        image: busybox
        command: sh -c 'test ! -e /s/hold || sleep 1000; echo x >>/s/tries; test $$(wc -l </s/tries) -ge 3 || exit 3'
        restart: on-failure
        volumes: ['state:/s']
      done: {image: busybox, command: 'true', restart: on-failure}
      web:
        image: busybox
        command: sleep 1000
        init: true
        restart: always
        depends_on: {tries: {condition: service_completed_successfully}, done: {condition: service_completed_successfully}}
      work:
        image: busybox
        command: sleep 1000
        init: true
        restart: on-failure
        volumes: ['state:/s']
        depends_on: {tries: {condition: service_completed_successfully}}
    volumes: {state: {}}
";

/// Has the step running, with two failures before it, whenever it is let go on.
fn hold(app: &Application) {
    app.ok("exec -T work sh -c 'rm -f /s/tries; touch /s/hold'");
    app.daemon
        .hull(&["start", "step-tries-1"])
        .of_success("start");
    until("it runs", || {
        app.field("step-tries-1", "/State/Running") == true
    });
}

#[test]
fn a_reboot_waits_for_a_step_that_is_tried_again() {
    Application::play(Driver::Hull, STEPS, |app| {
        app.ok("up -d");
        hold(app);
        app.ok("exec -T work rm /s/hold");
        let names = ["step-web-1", "step-work-1"];
        let before = names.map(|name| time(app, name, "/State/StartedAt"));
        reboot(app);
        let [web, work] = [0, 1].map(|n| started(app, names[n], &before[n]));
        let finished = time(app, "step-tries-1", "/State/FinishedAt");
        assert!(finished < web && finished < work, "{finished} {web} {work}");
        assert_eq!(app.field("step-tries-1", "/State/ExitCode"), 0);
        assert_eq!(app.ok("exec -T work wc -l /s/tries"), "3 /s/tries");
        // What was done before is not done again.
        assert!(time(app, "step-done-1", "/State/StartedAt") < before[0]);
        app.ok("down -v -t 0");
    });
}

#[test]
fn a_daemon_that_starts_waits_for_a_step_that_outlived_it() {
    Application::play(Driver::Hull, STEPS, |app| {
        app.ok("up -d");
        hold(app);
        let before = time(app, "step-web-1", "/State/StartedAt");
        let web = app.field("step-web-1", "/State/Pid");
        app.daemon.kill();
        end(&web.to_string());
        app.daemon.launch();
        until("it is told", || {
            app.field("step-web-1", "/State/WaitsFor") == "service tries to complete"
        });
        // It ends with a failure, and is tried again until it has none.
        app.ok("exec -T work rm /s/hold");
        let step = app.field("step-tries-1", "/State/Pid");
        end(&step.to_string());
        let web = started(app, "step-web-1", &before);
        let finished = time(app, "step-tries-1", "/State/FinishedAt");
        assert!(finished < web, "{finished} {web}");
        assert_eq!(app.ok("exec -T work wc -l /s/tries"), "3 /s/tries");
        app.ok("down -v -t 0");
    });
}

#[test]
fn waiting_ends_with_what_is_found_unhealthy_though_it_starts_again() {
    let file = "
        name: ill
        services:
          a:
            image: busybox
            command: sleep 1000
            init: true
            restart: on-unhealthy
            stop_grace_period: 0s
            healthcheck: {test: 'false', interval: 50ms, retries: 1}
    ";
    Application::play(Driver::Hull, file, |app| {
        let complaint = app.fails(1, "up -d --wait");
        assert!(
            complaint
                .trim_end()
                .ends_with("; the daemon starts it again (`restart: on-unhealthy`)")
                && complaint.contains("\ncontainer ill-a-1 "),
            "{complaint}"
        );
        app.ok("down -t 0");
    });
}

application!(what_is_found_unhealthy_starts_again_if_the_file_says_so("
    name: ill
    services:
      a:
        image: busybox
        command: sh -c 'touch /well; trap exit TERM; sleep 1000 & wait'
        restart: on-unhealthy
        healthcheck: {test: test -e /well, interval: 100ms, retries: 2}
", app) {
    app.ok("up -d --wait");
    assert_eq!(app.field("ill-a-1", "/HostConfig/RestartPolicy/Name"), "on-unhealthy");
    let before = time(app, "ill-a-1", "/State/StartedAt");
    app.ok("exec -T a rm /well");
    started(app, "ill-a-1", &before);
    until("it is well again", || app.field("ill-a-1", "/State/Health/Status") == "healthy");
    // It is counted as any other restart is, until somebody restarts it himself.
    assert_eq!(app.field("ill-a-1", "/RestartCount"), 1);
    let before = time(app, "ill-a-1", "/State/StartedAt");
    app.ok("exec -T a rm /well");
    started(app, "ill-a-1", &before);
    until("it is counted", || app.field("ill-a-1", "/RestartCount") == 2);
    app.ok("restart -t 0");
    assert_eq!(app.field("ill-a-1", "/RestartCount"), 0);
    app.ok("down -t 0");
});
