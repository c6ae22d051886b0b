//! Verbs on what is made and what goes on: images that are built and travel, files that are watched,
//! events, ends that are waited for, and what is taken out of a container.

use std::process::Command;

use hull_testkit::{Registry, Running, until};
use serde_json::Value;

use crate::{Application, Driver, application};

const TWO: &str = "
    name: more
    services:
      web:
        image: busybox
        command: sh -c 'trap exit TERM; while :; do echo tick; sleep 0.2; done'
        depends_on: [db]
        volumes: ['data:/data']
      db: {image: busybox, command: sleep 1000, init: true}
    volumes: {data: {}}
";

/// Starts a line that goes on.
fn begin(app: &Application, line: &str) -> Running {
    Running::spawn(&mut app.command(line))
}

/// Ends what goes on as Ctrl-C does.
fn interrupt(running: &mut Running) {
    running.signal("INT");
    running.wait();
}

application!(events_of_a_project_are_heard(TWO, app) {
    app.ok("up -d");
    let mut events = begin(app, "events --json");
    // Nothing tells that it listens: it hears the first restart after that.
    until("it listens", || {
        app.ok("restart -t 0 db");
        events.stdout().contains("start")
    });
    let said = events.stdout();
    let line = said.lines().find(|line| line.contains("\"start\"")).unwrap();
    let event: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&event["service"], &event["type"]), (&"db".into(), &"container".into()), "{line}");
    assert_eq!(event["attributes"]["name"], "more-db-1", "{line}");
    interrupt(&mut events);
    app.ok("down -v -t 0");
});

application!(ends_are_waited_for("
    name: ends
    services:
      job: {image: busybox, command: sh -c 'sleep 0.5; exit 3'}
      other: {image: busybox, command: sleep 1000, init: true}
", app) {
    app.ok("up -d");
    app.fails(3, "wait job");
    app.ok("start job");
    let output = app.run("wait --down-project job");
    assert_eq!(output.code, 3, "{}", output.stderr);
    assert_eq!(app.containers(), Vec::<String>::new());
});

application!(one_container_is_attached_to(TWO, app) {
    app.ok("up -d");
    let mut attached = begin(app, "attach --no-stdin web");
    attached.expect("tick");
    app.ok("stop -t 1 web");
    attached.wait();
    app.ok("down -v -t 0");
});

application!(containers_become_images_and_archives(TWO, app) {
    if app.driver == Driver::Older {
        // It has neither verb.
        return;
    }
    app.ok("up -d");
    app.ok("exec -T web sh -c 'echo kept > /kept'");
    app.ok("commit -m said -a somebody -c 'ENV NEW=1' web more-kept:1");
    let image = app.daemon.api("GET", "/images/more-kept:1/json", &Value::Null).json();
    assert_eq!((&image["Comment"], &image["Author"]), (&"said".into(), &"somebody".into()));
    assert!(image["Config"]["Env"].to_string().contains("NEW=1"), "{image}");
    app.ok("export -o web.tar web");
    let listed = Command::new("tar").arg("-tf").arg(app.directory().join("web.tar")).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).lines().any(|line| line == "kept"));
    app.ok("down -v -t 0");
});

application!(volumes_and_figures_are_shown(TWO, app) {
    app.ok("up -d");
    if app.driver != Driver::Older {
        assert!(app.ok("volumes").contains("more_data"));
        assert_eq!(app.ok("volumes -q"), "more_data");
    }
    let figures = app.ok("stats --no-stream --format json");
    let rows: Vec<Value> = figures.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut names: Vec<&str> = rows.iter().map(|row| row["Name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["more-db-1", "more-web-1"]);
    app.ok("kill -s TERM db");
    until("db has ended", || app.field("more-db-1", "/State/Status") == "exited");
    app.ok("pause web");
    assert!(app.ok("ps --format json web").contains("\"paused\""));
    app.ok("unpause");
    app.ok("down -v -t 0");
});

const BUILT: &str = "
    name: built
    services:
      own:
        image: localhost:5000/own:1
        build:
          context: .
          dockerfile_inline: |
            FROM busybox
            ARG WORD
            RUN echo $$WORD > /word
            CMD cat /word; sleep 1000
          args: {WORD: first}
        init: true
";

fn word(app: &Application) -> String {
    app.ok("exec -T own cat /word")
}

application!(services_are_built_and_built_anew(BUILT, app) {
    app.ok("build");
    app.ok("up -d");
    assert_eq!(word(app), "first");
    app.write("compose.yaml", &BUILT.replace("first", "second"));
    app.ok("up -d");
    assert_eq!(word(app), "first");
    app.ok("up -d --build");
    assert_eq!(word(app), "second");
    assert!(app.ok("images").contains("localhost:5000/own"));
    app.ok("down -t 0 --rmi all");
    assert!(app.daemon.api("GET", "/images/localhost:5000/own:1/json", &Value::Null).status == 404);
});

#[test]
fn services_are_built_by_the_classic_builder() {
    let file = "
        name: classic
        services: {own: {build: {context: ., args: {WORD: first}}, init: true}}
    ";
    Application::play(Driver::Older, file, |app| {
        app.write(
            "Dockerfile",
            "FROM busybox\nARG WORD\nRUN echo $WORD > /word\nCMD sleep 1000\n",
        );
        let output = app
            .command("build")
            .env("DOCKER_BUILDKIT", "0")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        app.ok("up -d --no-build");
        assert_eq!(word(app), "first");
        app.ok("down -t 0");
    });
}

/// The user `me` with the password `secret`.
const USERS: &str = "me:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
/// What a login leaves in the settings.
const SETTINGS: &str = r#"{"auths": {"localhost:5000": {"auth": "bWU6c2VjcmV0"}}}"#;

application!(private_images_are_pushed_pulled_and_brought_up(BUILT, app) {
    app.write("users", USERS);
    let users = app.directory().join("users");
    let _registry = Registry::start_with(&app.daemon, &["--htpasswd", &users.to_string_lossy()]);
    let settings = app.daemon.path("config").join("config.json");
    let forget = || app.daemon.api("DELETE", "/images/localhost:5000/own:1?force=1", &Value::Null);
    std::fs::create_dir_all(app.daemon.path("config")).unwrap();
    app.ok("build");
    assert_ne!(app.run("push").code, 0);
    std::fs::write(&settings, SETTINGS).unwrap();
    app.ok("push");
    forget();
    app.write("compose.yaml", "
        name: built
        services: {own: {image: 'localhost:5000/own:1', init: true}}
    ");
    std::fs::write(&settings, "{}").unwrap();
    assert_ne!(app.run("pull").code, 0);
    assert_ne!(app.run("up -d").code, 0);
    std::fs::write(&settings, SETTINGS).unwrap();
    app.ok("pull");
    if app.driver != Driver::Older {
        let locked = app.ok("config --lock-image-digests");
        let (before, digest) = locked.split_once("@sha256:").unwrap_or_default();
        assert_eq!(before, "services:\n  own:\n    image: localhost:5000/own:1", "{locked}");
        assert_eq!(digest.trim().len(), 64, "{locked}");
    }
    forget();
    app.ok("up -d");
    assert_eq!(word(app), "first");
    app.ok("down -t 0");
});

const WATCHED: &str = "
    name: watched
    services:
      web:
        build: {context: web}
        init: true
        develop:
          watch:
            - {action: sync, path: web/site, target: /site, ignore: [ignored]}
            - {action: rebuild, path: web/word}
            - {action: sync+restart, path: web/settings, target: /settings}
";

application!(what_is_watched_is_synchronised_rebuilt_and_restarted(WATCHED, app) {
    for (name, text) in [
        ("web/Dockerfile", "FROM busybox\nCOPY . /\nCMD sleep 1000\n"),
        ("web/word", "first\n"),
        ("web/site/index", "one\n"),
        ("web/settings/a", "a\n"),
    ] {
        app.write(name, text);
    }
    let inside = |path: &str| app.run(&format!("exec -T web cat {path}")).stdout.trim().to_owned();
    let mut watching = begin(app, "watch");
    until("it watches", || {
        watching.stdout().contains("Watch enabled") || watching.stderr().contains("Watch enabled")
    });
    assert_eq!(inside("/site/index"), "one");
    app.write("web/site/index", "two\n");
    app.write("web/site/ignored", "x\n");
    app.write("web/site/deep/er", "deep\n");
    until("files are synchronised", || inside("/site/index") == "two" && inside("/site/deep/er") == "deep");
    assert_eq!(inside("/site/ignored"), "");
    let began = app.field("watched-web-1", "/State/StartedAt");
    let id = app.field("watched-web-1", "/Id");
    app.write("web/settings/a", "b\n");
    until("it was restarted", || app.field("watched-web-1", "/State/StartedAt") != began);
    until("it has the new settings", || inside("/settings/a") == "b");
    assert_eq!(id, app.field("watched-web-1", "/Id"));
    app.write("web/word", "second\n");
    until("it was rebuilt", || inside("/word") == "second");
    assert_ne!(id, app.field("watched-web-1", "/Id"));
    interrupt(&mut watching);
    app.ok("down -t 0 --rmi local");
});

application!(what_is_synchronised_can_be_followed_by_a_command("
    name: followed
    services:
      web:
        image: busybox
        command: sleep 1000
        init: true
        develop:
          watch:
            - {action: sync+exec, path: site, target: /site, exec: {command: [sh, -c, 'cp /site/a /seen']}}
", app) {
    if app.driver == Driver::Older {
        // It does not know the action.
        return;
    }
    app.write("site/a", "one\n");
    app.ok("up -d");
    let mut watching = begin(app, "watch --no-up");
    until("it watches", || {
        watching.stdout().contains("Watch enabled") || watching.stderr().contains("Watch enabled")
    });
    app.write("site/a", "two\n");
    until("the command ran", || app.run("exec -T web cat /seen").stdout == "two\n");
    interrupt(&mut watching);
    app.ok("down -t 0");
});

#[test]
fn steps_before_the_start_run_in_order_and_gate_it() {
    let file = "
        name: steps
        services:
          web:
            image: busybox
            command: sleep 1000
            init: true
            entrypoint: []
            environment: {WHO: web}
            volumes: ['data:/data']
            scale: 2
            pre_start:
              - {command: [sh, -c, 'sleep 0.3; echo one $$WHO $$MORE >> /data/log'], environment: {MORE: more}}
              - {command: [sh, -c, 'echo two >> /data/log']}
              - {command: [sh, -c, 'echo each >> /data/log'], per_replica: true}
            post_start: [{command: [sh, -c, 'echo after >> /data/log']}]
            pre_stop: [{command: [sh, -c, 'echo before the end >> /data/log']}]
          next: {image: busybox, command: cat /data/log, volumes: ['data:/data'], depends_on: [web]}
        volumes: {data: {}}
    ";
    Application::play(Driver::Hull, file, |app| {
        app.ok("up -d");
        let log = || app.ok("exec -T web cat /data/log");
        let mut lines: Vec<String> = log().lines().map(str::to_owned).collect();
        assert_eq!(lines[..2], ["one web more", "two"]);
        lines.sort();
        assert_eq!(
            lines,
            ["after", "after", "each", "each", "one web more", "two"]
        );
        assert_eq!(
            app.containers(),
            ["steps-next-1", "steps-web-1", "steps-web-2"]
        );
        app.ok("stop -t 0 web");
        app.ok("start next");
        until("the log was told", || {
            app.ok("logs --no-log-prefix next")
                .contains("before the end")
        });
        app.ok("down -v -t 0");

        app.write("compose.yaml", &file.replace("echo two", "exit 6; echo"));
        let complaint = app.fails(1, "up -d");
        assert!(
            complaint.contains("pre_start") && complaint.contains("exited with 6"),
            "{complaint}"
        );
        assert_eq!(app.field("steps-web-1", "/State/Status"), "created");
        assert_eq!(
            app.containers(),
            ["steps-next-1", "steps-web-1", "steps-web-2"]
        );
        app.ok("down -v -t 0");
    });
}

application!(a_program_provides_a_service("
    name: provided
    services:
      db: {provider: {type: hulltest, options: {size: 256, zone: [a, b]}}}
      web: {image: busybox, command: sleep 1000, init: true, depends_on: [db]}
", app) {
    if app.driver == Driver::Older {
        // It does not know the key.
        return;
    }
    let log = app.directory().join("log");
    let program = format!(
        "#!/bin/sh\necho \"$@\" >> {}\ncase $2 in metadata) exit 1;; esac\necho '{{\"type\":\"info\",\"message\":\"hello\"}}'\ncase $3 in up) echo '{{\"type\":\"setenv\",\"message\":\"URL=x://y\"}}';; esac\n",
        log.display()
    );
    let plugins = app.daemon.path("config").join("cli-plugins");
    std::fs::create_dir_all(&plugins).unwrap();
    let path = plugins.join("docker-hulltest");
    std::fs::write(&path, program).unwrap();
    Command::new("chmod").arg("755").arg(&path).status().unwrap();
    let with_path = |line: &str| {
        let found = std::env::var("PATH").unwrap_or_default();
        let mut command = app.command(line);
        command.env("PATH", format!("{}:{found}", plugins.display()));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    // Without Docker's own check of plugins, it is found on the PATH by its bare name.
    std::os::unix::fs::symlink(&path, plugins.join("hulltest")).unwrap();
    with_path("up -d");
    assert_eq!(app.ok("exec -T web sh -c 'echo $DB_URL'"), "x://y");
    let id = app.field("provided-web-1", "/Id");
    with_path("up -d");
    assert_eq!(id, app.field("provided-web-1", "/Id"));
    with_path("down -t 0");
    let said = std::fs::read_to_string(&log).unwrap();
    let called = |verb: &str| said.lines().any(|line| {
        line.starts_with(&format!("compose --project-name=provided {verb} ")) && line.ends_with(" db")
    });
    assert!(called("up") && called("down"), "{said}");
    assert!(said.contains("--size=256") && said.contains("--zone=a --zone=b"), "{said}");
});

#[test]
fn a_container_that_ended_before_its_hook_is_told_with_its_code() {
    let file = "
        name: hooked
        services:
          at-once: {image: busybox, command: [sh, -c, exit 7], post_start: [{command: [sleep, '3']}]}
          soon: {image: busybox, command: [sh, -c, sleep 0.3; exit 8], post_start: [{command: [sleep, '3']}]}
    ";
    Application::play(Driver::Hull, file, |app| {
        for (service, code, when) in [
            ("at-once", 7, ""),
            ("soon", 8, " during its hook `sleep 3`"),
        ] {
            let said = app.fails(1, &format!("up -d {service}"));
            let told = format!("the container hooked-{service}-1 exited with {code}{when}");
            assert!(said.contains(&told), "{said}");
        }
        app.ok("down");
    });
}

application!(only_what_is_needed_is_made(
    "
    name: needed
    services:
      a: {image: busybox, command: 'true', networks: [one], volumes: ['own:/v']}
      b: {image: busybox, command: 'true', networks: [two], volumes: ['other:/v']}
    networks: {one: {}, two: {}}
    volumes: {own: {}, other: {}}
    ", app) {
        if app.driver == Driver::Older {
            return; // It makes all.
        }
        for line in ["run --rm a true", "up -d a"] {
            app.ok(line);
            let made = |kind: &str, key: &str| -> Vec<String> {
                let all = app.daemon.api("GET", kind, &Value::Null).json();
                let list = if key.is_empty() { &all } else { &all[key] };
                let names = list.as_array().into_iter().flatten();
                let names = names.filter_map(|one| one["Name"].as_str());
                names.filter(|name| name.starts_with("needed_")).map(str::to_owned).collect()
            };
            assert_eq!(made("/networks", ""), ["needed_one"], "{line}");
            assert_eq!(made("/volumes", "Volumes"), ["needed_own"], "{line}");
            app.ok("down -v");
        }
});

application!(images_that_are_the_project_s_own_go_with_it(
    "
    name: goes
    services:
      own: {build: {context: ., dockerfile_inline: 'FROM busybox'}, command: sleep 1000, init: true}
      named: {image: 'given/name', build: {context: ., dockerfile_inline: 'FROM busybox'}, command: 'true'}
      plain: {image: busybox, command: 'true'}
    ", app) {
        if app.driver == Driver::Older {
            return; // It cannot commit.
        }
        app.ok("up -d");
        app.ok("commit own goes-kept:1");
        let there = || -> Vec<String> {
            let images = app.daemon.api("GET", "/images/json", &Value::Null).json();
            let tags = images.as_array().into_iter().flatten().filter_map(|one| one["RepoTags"].as_array());
            let mut tags: Vec<String> = tags.flatten().filter_map(|tag| tag.as_str().map(str::to_owned)).collect();
            tags.sort();
            tags
        };
        assert_eq!(there(), ["busybox:latest", "given/name:latest", "goes-kept:1", "goes-own:latest"]);
        app.ok("down -t 0 --rmi local");
        assert_eq!(there(), ["busybox:latest"]);
});

application!(names_can_be_those_of_before("
    name: old
    services:
      web: {image: busybox, command: sleep 1000, init: true}
      made: {build: {context: ., dockerfile_inline: 'FROM busybox'}, command: 'true'}
    ", app) {
        app.ok("--compatibility up -d");
        assert_eq!(app.containers(), ["old_made_1", "old_web_1"]);
        assert_eq!(app.field("old_made_1", "/Config/Image"), "old_made");
        app.ok("--compatibility down -t 0 --rmi local");
});

#[test]
fn a_build_has_the_rights_that_its_file_grants() {
    let file = |grants: &str| {
        format!(
            "
    name: rights
    services:
      web:
        build:
          context: .
          dockerfile_inline: |
            FROM busybox
            RUN --security=insecure mkdir /m && mount -t tmpfs none /m
          {grants}
"
        )
    };
    Application::play(Driver::Hull, &file("no_cache: true"), |app| {
        let complaint = app.fails(1, "build");
        assert!(complaint.contains("security.insecure"), "{complaint}");
        for grants in ["privileged: true", "entitlements: [security.insecure]"] {
            app.write("compose.yaml", &file(grants));
            app.ok("build --no-cache");
        }
    });
}
