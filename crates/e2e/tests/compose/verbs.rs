//! What a user does with an application, said once and played with both programs.

use std::process::{Command, Stdio};

use hull_testkit::until;
use serde_json::Value;

use crate::application;
use crate::{Application, Driver};

const TWO: &str = "
    name: two
    services:
      web: {image: busybox, command: sh -c 'echo web is here; trap exit TERM; sleep 1000 & wait', depends_on: [db], ports: ['80']}
      db: {image: busybox, command: sh -c 'echo db is here; trap exit TERM; sleep 1000 & wait'}
";

fn id(application: &Application, container: &str) -> Value {
    application.field(container, "/Id")
}

application!(a_second_up_touches_nothing_and_a_change_only_what_changed(TWO, app) {
    app.ok("up -d");
    let (web, db) = (id(app, "two-web-1"), id(app, "two-db-1"));
    app.ok("up -d");
    assert_eq!((&web, &db), (&id(app, "two-web-1"), &id(app, "two-db-1")));
    app.write("compose.yaml", &TWO.replace("web is here", "web was changed"));
    app.ok("up -d");
    assert_ne!(web, id(app, "two-web-1"));
    assert_eq!(db, id(app, "two-db-1"));
    app.ok("up -d --force-recreate --no-deps web");
    assert_eq!(db, id(app, "two-db-1"));
    app.ok("down");
    assert_eq!(app.containers(), Vec::<String>::new());
});

application!(services_are_scaled_up_and_down(TWO, app) {
    app.ok("up -d --scale web=3");
    assert_eq!(app.containers(), ["two-db-1", "two-web-1", "two-web-2", "two-web-3"]);
    app.ok("scale web=1");
    assert_eq!(app.containers(), ["two-db-1", "two-web-1"]);
    app.ok("up -d --scale web=0");
    assert_eq!(app.containers(), ["two-db-1"]);
    app.ok("down");
});

application!(what_services_say_stands_behind_their_names(TWO, app) {
    app.ok("up -d");
    until("both have spoken", || {
        let said = app.ok("logs --no-color");
        said.contains("web-1  | web is here") && said.contains("db-1   | db is here")
    });
    // The older one clears its line on no terminal, too.
    let bare = app.ok("logs --no-color --no-log-prefix db");
    assert_eq!(bare.trim_start_matches("\u{1b}[2K"), "db is here");
    let dated = app.ok("logs --no-color -t db");
    let dated = dated.trim_start_matches("\u{1b}[2K");
    assert!(dated.starts_with("db-1  | 20") && dated.ends_with("Z db is here"), "{dated}");
    app.ok("down");
});

application!(commands_run_in_services_and_beside_them(TWO, app) {
    app.ok("up -d");
    assert_eq!(app.ok("exec -T web echo inside"), "inside");
    assert_eq!(app.ok("exec -T -e A=b -w /tmp web sh -c 'echo $A $PWD'"), "b /tmp");
    app.fails(7, "exec -T web sh -c 'exit 7'");
    assert_eq!(app.ok("run --rm -T web echo beside"), "beside");
    app.fails(5, "run --rm -T -e X=5 web sh -c 'exit $X'");
    assert_eq!(app.containers(), ["two-db-1", "two-web-1"]);
    let one_off = app.ok("run -d --name single web sleep 1000");
    assert!(!one_off.is_empty());
    assert_eq!(app.field("single", "/Config/Labels/com.docker.compose.oneoff"), "True");
    app.ok("down --timeout 0");
    app.daemon.docker(&["rm", "-f", "single"]);
    app.daemon.docker(&["network", "rm", "two_default"]);
});

application!(containers_are_stopped_started_paused_killed_and_removed(TWO, app) {
    let status = |name: &str| app.field(name, "/State/Status");
    app.ok("up -d");
    app.ok("stop web");
    assert_eq!((status("two-web-1"), status("two-db-1")), ("exited".into(), "running".into()));
    app.ok("start web");
    assert_eq!(status("two-web-1"), "running");
    let began = app.field("two-web-1", "/State/StartedAt");
    app.ok("restart web");
    assert_ne!(began, app.field("two-web-1", "/State/StartedAt"));
    app.ok("pause db");
    assert_eq!(status("two-db-1"), "paused");
    app.ok("unpause db");
    app.ok("kill web");
    until("web is dead", || status("two-web-1") == "exited");
    app.ok("rm -f web");
    assert_eq!(app.containers(), ["two-db-1"]);
    app.ok("create");
    assert_eq!(status("two-web-1"), "created");
    app.ok("rm -f -s");
    assert_eq!(app.containers(), Vec::<String>::new());
    app.ok("down");
});

application!(projects_are_listed_and_looked_into(TWO, app) {
    app.ok("up -d");
    assert!(app.ok("ls").contains("two"));
    assert_eq!(app.ok("ps --services").lines().count(), 2);
    let row: Value = serde_json::from_str(app.ok("ps --format json web").lines().next().unwrap()).unwrap();
    assert_eq!((&row["Service"], &row["State"], &row["Name"]), (&"web".into(), &"running".into(), &"two-web-1".into()));
    assert!(app.ok("images").contains("busybox"));
    assert!(app.ok("top web").contains("sleep 1000"));
    let port = app.ok("port web 80");
    assert!(port.starts_with("0.0.0.0:"), "{port}");
    app.fails(1, "port web 81");
    assert_eq!(app.ok("config --services").lines().count(), 2);
    assert_eq!(app.ok("config --images").lines().next(), Some("busybox"));
    app.ok("cp compose.yaml web:/copied");
    assert!(app.ok("exec -T web cat /copied").contains("name: two"));
    app.ok("cp web:/copied back.yaml");
    assert!(app.directory().join("back.yaml").exists());
    app.ok("stats --no-stream");
    app.ok("down");
});

application!(a_project_is_managed_by_its_name_alone(TWO, app) {
    app.ok("up -d");
    std::fs::remove_file(app.directory().join("compose.yaml")).unwrap();
    assert!(app.ok("-p two ps").contains("two-web-1"));
    app.ok("-p two stop");
    app.ok("-p two down");
    assert_eq!(app.containers(), Vec::<String>::new());
});

application!(what_is_no_longer_in_the_file_is_an_orphan(TWO, app) {
    app.ok("up -d");
    let file = TWO.split("      db:").next().unwrap().replace(", depends_on: [db]", "");
    app.write("compose.yaml", &file);
    let told = app.run("up -d");
    assert!(told.stderr.contains("two-db-1"), "{}", told.stderr);
    app.ok("up -d --remove-orphans");
    assert_eq!(app.containers(), ["two-web-1"]);
    app.ok("down");
});

const GATED: &str = "
    name: gated
    services:
      app: {image: busybox, command: sleep 1000, init: true, depends_on: {gate: {condition: service_completed_successfully}}}
      gate: {image: busybox, command: sh -c 'exit 3'}
      tool: {image: busybox, command: sleep 1000, init: true, profiles: [tools]}
";

application!(a_gate_that_fails_keeps_what_is_behind_it_from_starting(GATED, app) {
    let complaint = app.fails(1, "up -d");
    assert!(complaint.contains("gate") && complaint.contains("exit 3"), "{complaint}");
    assert_eq!(app.field("gated-app-1", "/State/Status"), "created");
    app.ok("--profile tools up -d tool");
    assert_eq!(app.field("gated-tool-1", "/State/Status"), "running");
    // Whose profile is off stays, and with it the network.
    app.ok("down");
    assert_eq!(app.containers(), ["gated-tool-1"]);
    app.ok("--profile tools down");
    assert!(app.containers().is_empty());
});

application!(the_end_of_one_can_be_the_end_of_all(GATED, app) {
    app.write("compose.yaml", "
        name: ending
        services:
          test: {image: busybox, command: sh -c 'echo tested; exit 4'}
          server: {image: busybox, command: sleep 1000, init: true}
    ");
    let output = app.run("up --no-color --exit-code-from test");
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert!(output.stdout.contains("| tested"), "{}", output.stdout);
    assert_eq!(app.field("ending-server-1", "/State/Status"), "exited");
    app.ok("down");
});

application!(an_interrupt_stops_all_that_is_attached(TWO, app) {
    let mut running = app
        .command("up --no-color")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("both run", || {
        app.containers().len() == 2 && app.field("two-web-1", "/State/Status") == "running"
    });
    until("web has spoken", || app.ok("logs web").contains("web is here"));
    let pid = running.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().unwrap();
    running.wait().unwrap();
    for name in ["two-web-1", "two-db-1"] {
        assert_eq!(app.field(name, "/State/Status"), "exited");
    }
    app.ok("down");
});

#[test]
fn what_up_would_do_is_told_with_its_reasons() {
    Application::play(Driver::Hull, TWO, |app| {
        let told = app.run("diff");
        assert_eq!(told.code, 2);
        assert!(
            told.stdout
                .contains("+ network two_default\n+ container two-db-1"),
            "{}",
            told.stdout
        );
        app.ok("up -d");
        assert_eq!(app.ok("diff"), "");
        app.write(
            "compose.yaml",
            &TWO.replace("web is here", "web was changed"),
        );
        let told = app.run("diff").stdout;
        assert!(
            told.starts_with("~ container two-web-1: its configuration changed\n    command: ["),
            "{told}"
        );
        app.ok("down");
    });
}

#[test]
fn what_does_not_run_is_told_and_done() {
    let file = "
        name: rest
        services:
          job: {image: busybox, command: 'true'}
          web:
            image: busybox
            command: sleep 1000
            init: true
            depends_on: {job: {condition: service_completed_successfully}}
          db: {image: busybox, command: sh -c 'trap \"exit 7\" TERM; sleep 1000 & wait'}
    ";
    Application::play(Driver::Hull, file, |app| {
        let again = "> container rest-job-1: it ended with 0, and is run again\n";
        app.ok("up -d");
        // A step that has been done is told, and is no reason to do anything.
        let told = app.run("diff");
        assert_eq!((told.stdout.as_str(), told.code), (again, 0));
        app.ok("stop db");
        let told = app.run("diff");
        let stopped = format!("> container rest-db-1: it ended with 7, and is started\n{again}");
        assert_eq!((told.stdout.as_str(), told.code), (stopped.as_str(), 2));
        app.ok("start db");
        app.ok("pause db");
        let told = app.run("diff").stdout;
        assert!(
            told.starts_with(
                "! container rest-db-1: it is paused, and `up` fails until it is unpaused\n"
            ),
            "{told}"
        );
        app.fails(1, "up -d");
        app.ok("unpause db");
        app.ok("stop db");
        app.ok("rm -f db");
        app.ok("create db");
        let told = app.run("diff");
        let made = format!(
            "> container rest-db-1: it was made and never started, and is started\n{again}"
        );
        assert_eq!((told.stdout.as_str(), told.code), (made.as_str(), 2));
        app.ok("up -d");
        assert_eq!(app.field("rest-db-1", "/State/Running"), true);
        assert_eq!(app.run("diff").code, 0);
        app.ok("down -t 0");
        app.write(
            "compose.yaml",
            &file.replace("busybox, command: 'true'", "not-there:1"),
        );
        let told = app.run("diff").stdout;
        assert!(
            told.starts_with("+ image not-there:1: it is not there, and is pulled\n"),
            "{told}"
        );
    });
}

#[test]
fn what_is_not_on_this_machine_is_told_before_anything_is_made() {
    let file = "
        name: gone
        services:
          web: {image: busybox, command: sleep 1000, init: true, secrets: [key]}
        secrets: {key: {file: ./kye}}
    ";
    Application::play(Driver::Hull, file, |app| {
        app.write("key", "k");
        let complaint = app.fails(1, "up -d");
        for told in [
            "compose.yaml:5:31: secrets.key.file: ",
            "/app/kye is not there\nhint: did you mean `key`?",
        ] {
            assert!(complaint.contains(told), "{complaint}");
        }
        app.write(
            "compose.yaml",
            "name: gone\nservices:\n  web: {build: {context: ./site}}\n",
        );
        app.write("sites/Dockerfile", "FROM busybox\n");
        for line in ["build", "up -d", "up -d --dry-run"] {
            let complaint = app.fails(1, line);
            for told in [
                "compose.yaml:3:26: services.web.build.context: ",
                "/app/site is not there\nhint: did you mean `sites`?",
            ] {
                assert!(complaint.contains(told), "{line}: {complaint}");
            }
        }
        let networks = app
            .daemon
            .api("GET", "/networks", &serde_json::Value::Null)
            .json();
        assert!(!networks.to_string().contains("gone_default"), "{networks}");
        assert_eq!(app.containers(), Vec::<String>::new());
    });
}

#[test]
fn a_word_that_is_mistyped_gets_the_nearest_one() {
    let file = "
        name: near
        services:
          web: {image: busybox, command: sleep 1000, init: true}
          worker: {image: busybox, command: sleep 1000, init: true}
    ";
    Application::play(Driver::Hull, file, |app| {
        for line in [
            "exec wrker true",
            "logs wrker",
            "ps wrker",
            "stop wrker",
            "port wrker 80",
            "up -d --scale wrker=2",
            "run wrker",
            "config wrker",
        ] {
            let complaint = app.fails(1, line);
            assert!(
                complaint.contains("no such service: wrker\nhint: did you mean `worker`?"),
                "{line}: {complaint}"
            );
        }
        let complaint = app.fails(1, "logs else");
        assert!(
            complaint.contains("hint: there is `web`, `worker`"),
            "{complaint}"
        );
        for (word, verb) in [("dwn", "down"), ("lgos", "logs"), ("upp", "up")] {
            let complaint = app.fails(1, word);
            let near = format!("Did you mean 'hull compose {verb}'?");
            assert!(complaint.contains(&near), "{word}: {complaint}");
        }
        let complaint = app.fails(1, "bridge convert");
        assert!(
            complaint.contains("'hull compose bridge' is not available in Hull"),
            "{complaint}"
        );
        for line in ["create --pull build", "up -d --menu", "up -d --menu=false"] {
            app.ok(line);
        }
        app.ok("down -t 0");
    });
}

#[test]
fn a_rolling_update_keeps_the_old_until_the_new_is_healthy() {
    let file = |word: &str| {
        format!(
            "
            name: roll
            services:
              web:
                image: busybox
                command: sh -c 'sleep 0.3; touch /{word}; trap exit TERM; sleep 1000 & wait'
                healthcheck: {{test: test -e /{word}, interval: 100ms, retries: 100}}
        "
        )
    };
    Application::play(Driver::Hull, &file("one"), |app| {
        app.ok("up -d --wait");
        let first = id(app, "roll-web-1");
        app.write("compose.yaml", &file("two"));
        app.ok("up -d --rolling");
        assert_ne!(first, id(app, "roll-web-1"));
        assert_eq!(app.field("roll-web-1", "/State/Health/Status"), "healthy");

        // One that never becomes healthy changes nothing.
        let second = id(app, "roll-web-1");
        app.write(
            "compose.yaml",
            &file("three")
                .replace("touch /three", "false")
                .replace("retries: 100", "retries: 1"),
        );
        let complaint = app.fails(1, "up -d --rolling");
        assert!(complaint.contains("unhealthy"), "{complaint}");
        assert_eq!(second, id(app, "roll-web-1"));
        assert_eq!(app.containers(), ["roll-web-1"]);
        app.ok("down");
    });
}

#[test]
fn a_difference_is_told_with_its_keys_and_without_secrets() {
    let file = "
        name: keys
        services:
          web: {image: busybox, command: sleep 1000, init: true, environment: {TOKEN: first-secret}}
    ";
    Application::play(Driver::Hull, file, |app| {
        app.ok("up -d");
        let changed = file
            .replace("1000", "2000")
            .replace("first-secret", "second-secret");
        app.write("compose.yaml", &changed);
        let difference = app.run("diff");
        assert_eq!(difference.code, 2, "{difference:?}");
        assert_eq!(
            difference.stdout,
            "~ container keys-web-1: its configuration changed\n    \
             command: [\"sleep\",\"1000\"] → [\"sleep\",\"2000\"]\n    \
             environment.TOKEN: another value\n"
        );
        app.ok("up -d");
        assert_eq!(app.run("diff").code, 0);
        app.ok("down -t 0");
    });
}
