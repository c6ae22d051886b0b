//! Replacing what runs as `deploy.update_config` and `x-hull` say, and going back.

use hull_testkit::{Running, until};

use crate::{Application, Driver, application};

/// Three containers that tell when they begin and end. `MANNER` stands for how they are replaced.
const THREE: &str = "
    name: three
    services:
      web:
        image: busybox
        command: sh -c 'echo begin one >> /log/all; trap \"echo end one >> /log/all; exit 0\" TERM; sleep 1000 & wait'
        volumes: ['log:/log']
        deploy: {replicas: 3, update_config: {monitor: 300ms, MANNER}}
    volumes: {log: {}}
";

/// The same with a command of which only the first container goes on.
fn with_one_that_goes_on(file: &str) -> String {
    let (before, rest) = file.split_once("command: ").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    format!(
        "{before}command: sh -c 'mkdir /log/first || exit 3; trap exit TERM; sleep 1000 & wait'\n{after}"
    )
}

fn three(manner: &str) -> String {
    THREE.replace("MANNER", manner)
}

const NAMES: [&str; 3] = ["three-web-1", "three-web-2", "three-web-3"];

fn ids(app: &Application) -> Vec<String> {
    NAMES
        .iter()
        .map(|name| app.field(name, "/Id").to_string())
        .collect()
}

fn states(app: &Application) -> Vec<String> {
    NAMES
        .iter()
        .map(|name| {
            app.field(name, "/State/Status")
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[test]
fn a_failed_update_brings_the_previous_containers_back() {
    for order in ["order: stop-first", "order: start-first"] {
        let file = three(&format!("{order}, failure_action: rollback"));
        Application::play(Driver::Hull, &file, |app| {
            app.ok("up -d");
            let before = ids(app);
            app.write("compose.yaml", &with_one_that_goes_on(&file));
            let complaint = app.fails(1, "up -d");
            assert!(
                complaint.contains(
                    "service web: its update failed, and what was before is back: container three-web-2 exited (3)"
                ),
                "{complaint}"
            );
            assert_eq!(ids(app), before, "{complaint}");
            assert_eq!(states(app), ["running"; 3]);
            assert_eq!(app.containers(), NAMES);
            app.ok("down -v -t 0");
        });
    }
}

#[test]
fn a_failed_update_stops_where_it_is() {
    let file = three("parallelism: 2");
    Application::play(Driver::Hull, &file, |app| {
        app.ok("up -d");
        let before = ids(app);
        app.write("compose.yaml", &with_one_that_goes_on(&file));
        let complaint = app.fails(1, "up -d");
        assert!(
            complaint.contains("service web: its update stopped with 2 of 3 replaced: container"),
            "{complaint}"
        );
        let now = ids(app);
        assert!(now[0] != before[0] && now[1] != before[1] && now[2] == before[2]);
        let mut states = states(app);
        assert_eq!(states.pop().as_deref(), Some("running"));
        states.sort();
        assert_eq!(states, ["exited", "running"]);
        assert_eq!(app.containers(), NAMES);
        // However often it fails: what is gone back to is what was well.
        app.write(
            "compose.yaml",
            &with_one_that_goes_on(&file).replace("exit 3", "exit 4"),
        );
        app.fails(1, "up -d");
        app.ok("up -d --undo");
        app.write("compose.yaml", &file);
        assert_eq!(app.run("diff").code, 0, "{}", app.run("diff").stdout);
        assert_eq!(self::states(app), ["running"; 3]);
        app.ok("down -v -t 0");
    });
}

#[test]
fn an_update_goes_on_if_so_many_may_fail() {
    for manner in [
        "parallelism: 1, failure_action: continue",
        "parallelism: 1, max_failure_ratio: 0.7",
    ] {
        let file = three(manner);
        Application::play(Driver::Hull, &file, |app| {
            app.ok("up -d");
            let before = ids(app);
            app.write("compose.yaml", &with_one_that_goes_on(&file));
            let output = app.run("create");
            assert_eq!(output.code, 0, "{output:?}");
            // What is only made does not look at how it goes.
            assert!(
                !output.stderr.contains("updated all the same"),
                "{output:?}"
            );
            app.ok("down -v -t 0");
            app.write("compose.yaml", &file);
            app.ok("up -d");
            app.write("compose.yaml", &with_one_that_goes_on(&file));
            let output = app.run("up -d");
            let (code, told) = match manner.contains("continue") {
                true => (
                    1,
                    "service web: 2 of 3 were not updated well, and the others were all the same; all are replaced: container three-web-2 exited (3); container three-web-3 exited (3)",
                ),
                false => (
                    0,
                    "service web is updated all the same: container three-web-2 exited (3)",
                ),
            };
            assert_eq!(output.code, code, "{output:?}");
            assert!(output.stderr.contains(told), "{output:?}");
            assert!(ids(app).iter().all(|id| !before.contains(id)));
            assert_eq!(app.containers(), NAMES);
            app.ok("down -v -t 0");
        });
    }
}

#[test]
fn an_update_that_goes_on_says_which_containers_are_still_the_old_ones() {
    let file = three("order: start-first, failure_action: continue");
    Application::play(Driver::Hull, &file, |app| {
        app.ok("up -d");
        let before = ids(app);
        let worse = with_one_that_goes_on(&file).replace("exit 3", "{ echo no place; exit 3; }");
        app.write("compose.yaml", &worse);
        let complaint = app.fails(1, "up -d");
        for told in [
            "service web: 2 of 3 were not updated well, and the others were all the same; what was before stays in three-web-2, three-web-3: container three-web-2 exited (3); container three-web-3 exited (3)",
            // Its log goes with it.
            "what three-web-2 said last:\n    mkdir: can't create directory '/log/first': File exists\n    no place\n",
        ] {
            assert!(complaint.contains(told), "{complaint}");
        }
        let now = ids(app);
        assert!(
            now[0] != before[0] && now[1..] == before[1..],
            "{complaint}"
        );
        assert_eq!(states(app), ["running"; 3]);
        app.ok("down -v -t 0");
    });
}

#[test]
fn who_is_restarted_with_another_is_so_when_that_is_replaced_in_turn() {
    let file = "
        name: follow
        services:
          web: {image: busybox, command: sleep 1000, init: true, scale: 2, depends_on: {db: {condition: service_started, restart: true}}}
          db: {image: busybox, command: sleep 1000, init: true, x-hull: {update: rolling}}
          other: {image: busybox, command: sleep 1000, init: true, depends_on: [db]}
    ";
    Application::play(Driver::Hull, file, |app| {
        app.ok("up -d");
        let started = |name: &str| app.field(name, "/State/StartedAt").to_string();
        let (web, other) = (started("follow-web-1"), started("follow-other-1"));
        app.write(
            "compose.yaml",
            &file.replace(
                "db: {image: busybox, command: sleep 1000",
                "db: {image: busybox, command: sleep 2000",
            ),
        );
        let mut up = Running::spawn(&mut app.command("up -d"));
        // While the database is watched, those that follow it answer as before.
        until("the new database is watched", || {
            let beside = |name: &&String| name.ends_with("-db-1.new");
            let names = app.containers();
            names
                .iter()
                .find(beside)
                .is_some_and(|name| app.field(name, "/State/Running") == true)
        });
        assert_eq!(started("follow-web-1"), web);
        assert_eq!(app.field("follow-web-1", "/State/Running"), true);
        let (code, _, complaint) = up.wait();
        assert_eq!(code, 0, "{complaint}");
        for name in ["follow-web-1", "follow-web-2"] {
            assert_ne!(started(name), web, "{complaint}");
            assert_eq!(app.field(name, "/State/Running"), true);
        }
        assert_eq!(started("follow-other-1"), other);
        assert_eq!(app.run("diff").code, 0);
        app.ok("down -t 0");
    });
}

#[test]
fn a_container_that_another_program_left_under_a_passing_name_has_its_own_again() {
    let file = three("parallelism: 1").replace("replicas: 3", "replicas: 1");
    Application::play(Driver::Hull, &file, |app| {
        app.ok("up -d");
        let id = app.field("three-web-1", "/Id");
        let id = id.as_str().unwrap();
        for name in [
            format!("{}_three-web-1", &id[..12]),
            "three-web-1.new".to_owned(),
            "three-web-1.before".to_owned(),
        ] {
            let line = format!("/containers/{id}/rename?name={name}");
            app.daemon.api("POST", &line, &serde_json::Value::Null);
            assert_eq!(
                app.run("diff").stdout,
                format!(
                    "~ container {name}: it is left from an update that was broken off, and is renamed to three-web-1\n"
                )
            );
            app.ok("up -d");
            assert_eq!(app.field("three-web-1", "/Id"), id);
            assert_eq!(app.containers(), ["three-web-1"]);
        }
        app.ok("down -v -t 0");
    });
}

#[test]
fn a_step_made_anew_for_what_is_updated_runs_once() {
    let file = "
        name: once
        services:
          job: {image: busybox, command: [sh, -c, 'echo run >> /log/runs; true one'], volumes: ['log:/log']}
          web:
            image: busybox
            command: sleep 1000
            init: true
            volumes: ['log:/log']
            depends_on: {job: {condition: service_completed_successfully}}
            x-hull: {update: rolling}
        volumes: {log: {}}
    ";
    Application::play(Driver::Hull, file, |app| {
        app.ok("up -d");
        app.write(
            "compose.yaml",
            &file.replace("1000", "2000").replace("true one", "true two"),
        );
        app.ok("up -d");
        assert_eq!(app.ok("exec -T web cat /log/runs"), "run\nrun");
        // Each `up` runs it again, and so does the one after.
        app.ok("up -d");
        assert_eq!(app.ok("exec -T web cat /log/runs"), "run\nrun\nrun");
        app.ok("down -v -t 0");
    });
}

/// One container that is replaced, and what the two say in their order.
fn replaced(manner: &str, line: &str) -> (String, String) {
    let file = three(manner).replace("replicas: 3", "replicas: 1");
    let mut said = (String::new(), String::new());
    Application::play(Driver::Hull, &file, |app| {
        app.ok("up -d");
        app.write("compose.yaml", &file.replace(" one ", " two "));
        let output = app.run(line);
        assert_eq!(output.code, 0, "{output:?}");
        assert_eq!(app.containers(), ["three-web-1"]);
        let log = || app.ok("exec -T web cat /log/all").replace('\n', ", ");
        until("the new one has begun", || log().contains("begin two"));
        said = (log(), output.stderr);
        app.ok("down -v -t 0");
    });
    said
}

#[test]
fn the_order_of_an_update_is_the_files() {
    let (log, _) = replaced("order: start-first", "up -d");
    assert_eq!(log, "begin one, begin two, end one");
    let (log, _) = replaced("order: stop-first", "up -d");
    assert_eq!(log, "begin one, end one, begin two");
    let (log, _) = replaced("order: stop-first", "up -d --rolling");
    assert_eq!(log, "begin one, begin two, end one");
}

#[test]
fn x_hull_asks_for_a_rolling_update_or_refuses_one() {
    // The braces that are open are those of `deploy`.
    let own = |word: &str| format!("delay: 0s}}}}\n        x-hull: {{update: {word}, x-a: {{b: 1");
    assert_eq!(
        replaced(&own("rolling"), "up -d").0,
        "begin one, begin two, end one"
    );
    assert_eq!(
        replaced(&own("recreate"), "up -d --rolling").0,
        "begin one, end one, begin two"
    );
}

#[test]
fn a_port_of_the_host_has_one_container_at_a_time() {
    let file = "
        name: port
        services:
          web:
            image: busybox
            command: sleep 1000
            init: true
            ports: ['18097:80']
            deploy: {update_config: {order: start-first, monitor: 0s}}
    ";
    Application::play(Driver::Hull, file, |app| {
        app.ok("up -d");
        app.write("compose.yaml", &file.replace("1000", "2000"));
        let output = app.run("up -d");
        assert_eq!(output.code, 0, "{output:?}");
        assert!(
            output.stderr.contains(
                "services.web: only one container can have the port 18097 of the host, so the old one stops before the new one starts"
            ),
            "{output:?}"
        );
        assert_eq!(app.containers(), ["port-web-1"]);
        assert_eq!(app.field("port-web-1", "/Config/Cmd/1"), "2000");
        assert_eq!(app.field("port-web-1", "/State/Running"), true);
        app.ok("down -t 0");
    });
}

#[test]
fn an_update_that_is_broken_off_is_tidied_up_by_the_next_one() {
    let file = three("monitor: 60s").replace("monitor: 300ms, ", "");
    Application::play(Driver::Hull, &file, |app| {
        app.ok("up -d");
        app.write("compose.yaml", &file.replace(" one ", " two "));
        let mut updating = Running::spawn(&mut app.command("up -d"));
        until("the old one is kept", || {
            app.containers().contains(&"three-web-1.before".to_owned())
                && app.field("three-web-1", "/State/Running") == true
        });
        updating.signal("KILL");
        updating.wait();
        let told = app.run("diff").stdout;
        assert!(
            told.starts_with("- container three-web-1.before: it is left over from an update that was broken off\n~ container three-web-2"),
            "{told}"
        );
        // Also if the file has changed once more.
        let last = file.replace(" one ", " last ").replace("60s", "100ms");
        app.write("compose.yaml", &last);
        app.ok("up -d");
        assert_eq!(app.containers(), NAMES);
        assert_eq!(states(app), ["running"; 3]);
        assert_eq!(app.run("diff").code, 0);
        app.ok("down -v -t 0");
    });
}

#[test]
fn dockers_compose_goes_on_where_an_update_was_broken_off() {
    let file = three("order: start-first, monitor: 60s").replace("monitor: 300ms, ", "");
    Application::play(Driver::Hull, &file, |app| {
        app.ok("up -d");
        app.write("compose.yaml", &file.replace(" one ", " two "));
        let mut updating = Running::spawn(&mut app.command("up -d"));
        until("the new one runs beside the old one", || {
            app.containers().contains(&"three-web-1.new".to_owned())
                && app.field("three-web-1.new", "/State/Running") == true
        });
        updating.kill();
        app.driver = Driver::Docker;
        app.ok("up -d");
        app.driver = Driver::Hull;
        app.ok("up -d");
        assert_eq!(app.containers(), NAMES);
        assert_eq!(states(app), ["running"; 3]);
        assert_eq!(app.run("diff").code, 0);
        app.ok("down -v -t 0");
    });
}

#[test]
fn what_ends_at_once_does_not_replace_what_goes_on() {
    let file = "
        name: ends
        services:
          web: {image: busybox, command: sleep 1000, init: true, restart: always, x-hull: {update: rolling}}
    ";
    Application::play(Driver::Hull, file, |app| {
        app.ok("up -d");
        let before = app.field("ends-web-1", "/Id");
        app.write("compose.yaml", &file.replace("sleep 1000", "'false'"));
        let complaint = app.fails(1, "up -d");
        assert!(
            complaint.contains("service web: its update stopped with 0 of 1 replaced: container ends-web-1 exited (1)"),
            "{complaint}"
        );
        assert_eq!(app.field("ends-web-1", "/Id"), before);
        assert_eq!(app.field("ends-web-1", "/State/Running"), true);
        assert_eq!(app.containers(), ["ends-web-1"]);
        app.ok("down -t 0");
    });
}

#[test]
fn what_an_updated_service_stands_on_is_up_before() {
    let file = "
        name: stand
        services:
          web:
            image: busybox
            command: sh -c 'nslookup db >/dev/null || exit 1; sleep 1000'
            init: true
            depends_on: {db: {condition: service_healthy}}
            deploy: {update_config: {order: start-first, monitor: 200ms}}
          db:
            image: busybox
            command: sleep 1000
            init: true
            healthcheck: {test: 'true', interval: 100ms}
    ";
    Application::play(Driver::Hull, file, |app| {
        app.ok("up -d");
        app.write("compose.yaml", &file.replace("1000", "2000"));
        app.ok("up -d");
        for name in ["stand-web-1", "stand-db-1"] {
            assert_eq!(app.field(name, "/State/Running"), true, "{name}");
        }
        assert_eq!(app.ok("diff"), "");
        app.ok("down -t 0");
    });
}

application!(a_step_that_fails_fails_every_up("
    name: steps
    services:
      job: {image: busybox, command: sh -c 'exit 0'}
      web:
        image: busybox
        command: sleep 1000
        init: true
        depends_on: {job: {condition: service_completed_successfully}}
", app) {
    app.ok("up -d");
    let file = std::fs::read_to_string(app.directory().join("compose.yaml")).unwrap();
    app.write("compose.yaml", &file.replace("exit 0", "exit 3"));
    for _ in 0..2 {
        let complaint = app.fails(1, "up -d");
        assert!(
            complaint.trim_end().ends_with("service \"job\" didn't complete successfully: exit 3"),
            "{complaint}"
        );
    }
    // The older one has stopped it for the sake of what it depends on.
    assert_eq!(app.field("steps-web-1", "/State/Running"), app.driver != Driver::Older);
    app.ok("down -t 0");
});

application!(a_step_that_is_tried_again_is_waited_for("
    name: tries
    services:
      job:
        image: busybox
        command: sh -c 'echo >> /d/n; test $$(wc -l < /d/n) -ge 3 || exit 3'
        restart: on-failure
        volumes: ['dat:/d']
      gone: {image: busybox, command: sh -c 'exit 4', restart: 'on-failure:1'}
      web:
        image: busybox
        command: sleep 1000
        init: true
        depends_on: {job: {condition: service_completed_successfully}}
      never:
        image: busybox
        command: sleep 1000
        depends_on: {gone: {condition: service_completed_successfully}}
    volumes: {dat: {}}
", app) {
    app.ok("up -d web");
    assert_eq!(app.field("tries-job-1", "/RestartCount"), 2);
    assert_eq!(app.field("tries-web-1", "/State/Running"), true);
    let complaint = app.fails(1, "up -d never");
    assert!(
        complaint.trim_end().ends_with("service \"gone\" didn't complete successfully: exit 4"),
        "{complaint}"
    );
    assert_eq!(app.field("tries-gone-1", "/RestartCount"), 1);
    app.ok("down -v -t 0");
});
