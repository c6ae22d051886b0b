//! `--dry-run`: whatever the verb, the daemon has afterwards what it had before.

use std::path::Path;

use serde_json::{Value, json};

use crate::{Application, Driver};

const FILE: &str = "
    name: dry
    services:
      web:
        image: busybox
        command: sh -c 'trap exit TERM; sleep 1000 & wait'
        depends_on: {db: {condition: service_healthy}}
        pre_stop: [{command: [touch, /hooked]}]
        volumes: ['data:/data']
      db:
        image: busybox
        command: sleep 1000
        init: true
        healthcheck: {test: 'true', interval: 1h, start_interval: 100ms, start_period: 10s}
      own: {build: {context: .}, image: dry-own, profiles: [built]}
    volumes: {data: {}}
";

/// Verbs that tell what they would do.
const TOLD: [&str; 23] = [
    "up -d",
    "up",
    "up --wait",
    "up -d --build",
    "up -d --force-recreate --scale web=2",
    "up -d --remove-orphans --renew-anon-volumes",
    "up -d --rolling --force-recreate",
    "up --no-start --force-recreate",
    "create --force-recreate",
    "start",
    "start --wait",
    "stop -t 0",
    "restart -t 0",
    "kill --remove-orphans",
    "pause",
    "unpause",
    "rm -f -s -v",
    "scale web=3",
    "pull",
    "push",
    "build",
    "down -t 0",
    "down -v --rmi all --remove-orphans -t 0",
];

/// Verbs that cannot be told without being done.
const REFUSED: [&str; 9] = [
    "exec -T web touch /touched",
    "run -d web sleep 1000",
    "run --rm -T web true",
    "attach --no-stdin web",
    "commit web dry-commit",
    "cp compose.yaml web:/copied",
    "cp web:/etc/passwd copied",
    "export -o exported.tar web",
    "watch",
];

/// All that the daemon has, and the files on this side.
fn everything(app: &Application) -> Value {
    let get = |path: &str| app.daemon.api("GET", path, &Value::Null).json();
    let containers: Vec<Value> = app
        .containers()
        .iter()
        .map(|name| {
            let mut document = app.document(name);
            // Probes go on while it is looked at.
            document["State"]["Health"]["Log"] = Value::Null;
            document
        })
        .collect();
    let changes: Vec<Value> = app
        .containers()
        .iter()
        .map(|name| get(&format!("/containers/{name}/changes")))
        .collect();
    json!({
        "containers": containers,
        "changes": changes,
        "networks": get("/networks"),
        "volumes": get("/volumes"),
        "images": get("/images/json?all=1"),
        "files": files(app.daemon.directory().join("app").as_path()),
        "history": app.daemon.path(".local").exists(),
    })
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[track_caller]
fn nothing_changes(app: &Application, line: &str, code: i32) {
    unchanged(app, &format!("--dry-run {line}"), code);
}

#[track_caller]
fn unchanged(app: &Application, line: &str, code: i32) {
    let before = everything(app);
    let output = app.run(line);
    assert_eq!(
        output.code, code,
        "{line}: {}{}",
        output.stdout, output.stderr
    );
    assert!(
        before == everything(app),
        "`{line}` changed something: {}",
        output.stderr
    );
    if code != 0 {
        assert!(
            output.stderr.contains("--dry-run"),
            "{line}: {}",
            output.stderr
        );
    }
}

#[test]
fn no_verb_changes_anything_when_there_is_nothing_yet() {
    Application::play(Driver::Hull, FILE, |app| {
        app.write("Dockerfile", "FROM busybox\n");
        for line in ["up -d", "create", "down -v", "build own", "scale web=2"] {
            nothing_changes(app, line, 0);
        }
        let told = app.run("--dry-run up -d").stderr;
        for line in [
            "DRY-RUN MODE -  Network dry_default",
            "DRY-RUN MODE -  Volume dry_data",
            "DRY-RUN MODE -  Container dry-web-1  Started",
        ] {
            assert!(told.contains(line), "{line} is not in {told}");
        }
    });
}

#[test]
fn no_verb_changes_anything_of_what_runs() {
    Application::play(Driver::Hull, FILE, |app| {
        app.write("Dockerfile", "FROM busybox\n");
        app.ok("up -d");
        app.write(
            "compose.yaml",
            &FILE.replace("sleep 1000\n", "sleep 1001\n"),
        );
        // What `up` itself remembered must not come back.
        _ = std::fs::remove_dir_all(app.daemon.path(".local"));
        for line in TOLD {
            nothing_changes(app, line, 0);
        }
        for line in REFUSED {
            nothing_changes(app, line, 1);
        }
        app.ok("pause web");
        nothing_changes(app, "unpause", 0);
        app.ok("unpause web");
        app.ok("stop -t 0");
        for line in TOLD {
            nothing_changes(app, line, 0);
        }
        app.ok("down -v");
    });
}

#[test]
fn the_flag_may_follow_the_verb_and_others_may_not() {
    Application::play(Driver::Hull, FILE, |app| {
        for line in ["up --dry-run -d", "up -d --dry-run", "create --dry-run web"] {
            unchanged(app, line, 0);
        }
        let told = app.run("up -d --dry-run").stderr;
        assert!(
            told.contains("DRY-RUN MODE -  Container dry-web-1  Started"),
            "{told}"
        );
        app.ok("up -d");
        for line in [
            "down --dry-run",
            "stop --dry-run web",
            "rm -fs --dry-run",
            "ps --dry-run",
        ] {
            unchanged(app, line, 0);
        }
        unchanged(app, "exec --dry-run -T web touch /touched", 1);
        for line in ["ps --project-name x", "ps --profile x", "ps -f x"] {
            let complaint = app.fails(125, line);
            assert!(complaint.contains("unknown"), "{complaint}");
        }
        app.ok("down -v");
    });
}
