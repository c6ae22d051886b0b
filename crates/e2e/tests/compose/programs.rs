//! What programs read: letter for letter as Docker's Compose prints it.

use crate::{Application, Driver};

const FILE: &str = "
    name: read
    services:
      web:
        image: busybox
        command: sleep 1000
        init: true
        ports: ['8080:80', '127.0.0.1:8081:81/udp']
        expose: ['7000']
        volumes: ['data:/data', '/anonymous']
        labels: {note: 'a<b'}
        healthcheck: {test: 'true', interval: 1s}
      ended:
        image: busybox
        command: sh -c 'exit 3'
    networks: {other: {}}
    volumes: {data: {labels: {of: mine}}}
";

/// What one program says to a line, times and lists without an order settled.
fn said(app: &mut Application, driver: Driver, line: &str) -> String {
    app.driver = driver;
    app.ok(line)
        .lines()
        .map(settled)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Docker's labels come in another order each time, and times go on.
fn settled(line: &str) -> String {
    let mut line = match line
        .strip_suffix(" ago")
        .and_then(|line| line.rsplit_once("  "))
    {
        Some((before, _)) => before.to_owned(),
        None => line.to_owned(),
    };
    for (key, separator) in [("Labels", ","), ("RunningFor", ""), ("Status", "")] {
        let mark = format!("\"{key}\":\"");
        let Some((before, (text, after))) = line
            .split_once(&mark)
            .and_then(|(before, rest)| Some((before, rest.split_once('"')?)))
        else {
            continue;
        };
        let text = match separator {
            "" => String::new(),
            _ => {
                let mut parts: Vec<&str> = text.split(separator).collect();
                parts.sort_unstable();
                parts.join(separator)
            }
        };
        line = format!("{before}{mark}{text}\"{after}");
    }
    line
}

#[test]
fn what_programs_read_is_what_docker_compose_prints() {
    Application::play(Driver::Docker, FILE, |app| {
        app.ok("up -d --wait web");
        app.ok("up -d ended");
        hull_testkit::until("one has ended", || {
            app.field("read-ended-1", "/State/Status") == "exited"
        });
        for line in [
            "ps -a --format json",
            "ps --format json web",
            "ps -a --no-trunc --format json",
            "ps web --format '{{.Publishers}} {{.ExitCode}}'",
            "ps ended -a --format '{{.Publishers}} {{.ExitCode}} {{json .Publishers}}'",
            "ls --format json",
            "ls -a --format json",
            "ls",
            "ls -a",
            "images --format json web",
            "images",
            "images -q",
            "config --format json",
            "config",
            "config ended",
            "config --no-path-resolution web",
            "config --no-normalize",
            "--compatibility config",
            "config --environment",
            "config --volumes",
            "config --networks",
            "config --hash '*'",
            "port web 80",
            "port --protocol udp web 81",
            "version -f json",
            "version --short",
            "volumes --format json",
            "volumes",
            "volumes -q",
        ] {
            let docker = said(app, Driver::Docker, line);
            assert_eq!(docker, said(app, Driver::Hull, line), "compose {line}");
        }
        app.driver = Driver::Docker;
        app.ok("down -v");
    });
}

#[test]
fn waiting_is_for_what_runs() {
    let file = "
        name: read
        services:
          short: {image: busybox, command: [sh, -c, exit 3]}
          long: {image: busybox, command: [sh, -c, 'while ! [ -e /end ]; do sleep 0.1; done; sleep 3; exit 4']}
    ";
    Application::play(Driver::Hull, file, |app| {
        app.ok("up -d");
        let long = app.field("read-long-1", "/Id");
        let long = long.as_str().unwrap_or_default();
        hull_testkit::until("one has ended", || {
            app.field("read-short-1", "/State/Status") == "exited"
        });
        let docker = {
            app.driver = Driver::Docker;
            app.fails(1, "wait short")
        };
        app.driver = Driver::Hull;
        let hull = app.fails(1, "wait short");
        assert_eq!(hull.lines().next(), docker.lines().next());
        assert!(hull.contains("read-short-1 is: Exited (3)"), "{hull}");
        // It ends a while after it was told to, so that somebody waits by then.
        app.ok("exec long touch /end");
        let ended = app.run("wait long");
        assert_eq!(ended.code, 4, "{ended:?}");
        assert_eq!(
            ended.stdout.trim(),
            format!("container \"{long}\" exited with status code 4")
        );
        app.ok("down");
    });
}

/// Projects of the corpus that say much, and take no variable in two ways: which of them Docker's lists is chance.
const PROJECTS: [&str; 10] = [
    "build",
    "deploy",
    "devices",
    "gpus",
    "healthchecks",
    "named-resources",
    "secrets-long",
    "volumes",
    "watch",
    "written-profiles",
];

const DOCUMENTS: [&str; 9] = [
    "",
    "--format json",
    "--variables --format json",
    "--no-interpolate",
    "--no-interpolate --format json",
    "--no-interpolate --no-normalize",
    "--no-interpolate --no-path-resolution",
    "--no-normalize",
    "--no-path-resolution",
];

/// What Docker's prints in another order each time.
const LISTS: [&str; 10] = [
    "--services",
    "--images",
    "--volumes",
    "--networks",
    "--models",
    "--profiles",
    "--environment",
    "--variables",
    "--hash '*'",
    "--no-interpolate --services",
];

#[test]
fn what_config_prints_is_what_docker_compose_prints() {
    Application::play(Driver::Docker, "services: {}", |app| {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../compose/tests/corpus");
        for project in PROJECTS {
            let config = format!("-f {corpus}/{project}/compose.yaml --profile '*' config");
            let mut said = |driver, flags| {
                app.driver = driver;
                let output = app.run(&format!("{config} {flags}"));
                (output.code, output.stdout)
            };
            for flags in DOCUMENTS {
                let docker = said(Driver::Docker, flags);
                assert_eq!(docker, said(Driver::Hull, flags), "{project} {flags}");
            }
            for flags in LISTS {
                let [docker, hull] = [Driver::Docker, Driver::Hull].map(|driver| {
                    let (code, text) = said(driver, flags);
                    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                    lines.sort_unstable();
                    (code, lines)
                });
                assert_eq!(docker, hull, "{project} {flags}");
            }
        }
    });
}
