//! What `hull compose` has beyond Docker's: going back, and files for what runs.

use crate::{Application, Driver, application};
use hull_testkit::{Running, until};
use serde_json::{Value, json};

const BEFORE: &str = "
    name: back
    services:
      web:
        image: busybox
        command: sleep 1000
        init: true
        environment: {WORD: one}
        labels: {team: first}
        volumes: ['data:/data']
      old: {image: busybox, command: sleep 1000, init: true}
    volumes: {data: {}}
";

const AFTER: &str = "
    name: back
    services:
      web:
        image: busybox
        command: sleep 2000
        init: true
        environment: {WORD: two}
        volumes: ['data:/data']
      new: {image: busybox, command: sleep 1000, init: true}
    volumes: {data: {}}
";

#[test]
fn up_can_be_undone() {
    Application::play(Driver::Hull, BEFORE, |app| {
        let complaint = app.fails(1, "up -d --undo");
        assert!(complaint.contains("nothing to undo"), "{complaint}");
        app.ok("up -d");
        let word = || app.ok("exec -T web sh -c 'echo $WORD'");
        app.ok("exec -T web sh -c 'echo kept > /data/x'");
        let hash = app.field(
            "back-web-1",
            "/Config/Labels/com.docker.compose.config-hash",
        );
        let untouched = app.field("back-old-1", "/Id");
        app.write("compose.yaml", AFTER);
        app.ok("up -d --remove-orphans");
        assert_eq!((word().as_str(), app.containers().len()), ("two", 2));
        let undoing = app.run("up -d --undo");
        assert_eq!(undoing.code, 0, "{undoing:?}");
        for told in [
            "Undoing the `up` of 2",
            "the project back becomes what the `up` of 2",
            "Files, images and what is in volumes stay as they are",
            "+ container back-old-1\n",
            "~ container back-web-1: its configuration changed\n    command: ",
            "environment.WORD: another value",
            "- container back-new-1: the `up` that is undone added its service",
            "Undone; `up --undo` once more does it again.",
        ] {
            assert!(undoing.stderr.contains(told), "{told}: {}", undoing.stderr);
        }
        assert_eq!(word(), "one");
        assert_eq!(app.containers(), ["back-old-1", "back-web-1"]);
        assert_eq!(
            app.field(
                "back-web-1",
                "/Config/Labels/com.docker.compose.config-hash"
            ),
            hash
        );
        assert_eq!(app.field("back-web-1", "/Config/Labels/team"), "first");
        assert_eq!(app.ok("exec -T web cat /data/x"), "kept");
        assert_ne!(
            app.field("back-old-1", "/Id"),
            untouched,
            "it was taken away in between"
        );
        // Undone twice is done again.
        app.ok("up -d --undo");
        assert_eq!(word(), "two");
        assert_eq!(app.containers(), ["back-new-1", "back-web-1"]);
        app.ok("down -v -t 0");
    });
}

#[test]
fn undoing_takes_away_what_a_profile_added() {
    let file = BEFORE.replace(
        "      old: {image",
        "      side: {image: busybox, command: sleep 1000, init: true, profiles: [side]}\n      old: {image",
    );
    Application::play(Driver::Hull, &file, |app| {
        app.ok("up -d");
        app.ok("--profile side up -d --scale old=2");
        app.ok("run -d --rm --name one-off web sleep 1000");
        app.ok("up -d --undo");
        assert_eq!(app.containers(), ["back-old-1", "back-web-1", "one-off"]);
        app.ok("up -d --undo -t 0");
        assert_eq!(
            app.containers(),
            [
                "back-old-1",
                "back-old-2",
                "back-side-1",
                "back-web-1",
                "one-off"
            ]
        );
        app.ok("--profile side down -v -t 0 --remove-orphans");
    });
}

#[test]
fn undoing_counts_flags_and_says_what_it_cannot_bring_back() {
    let file = BEFORE.replace(
        "    volumes: {data: {}}",
        "      side: {image: busybox, command: sleep 1000, init: true, profiles: [side], secrets: [token]}\n    secrets: {token: {environment: TOKEN}}\n    volumes: {data: {}}",
    );
    Application::play(Driver::Hull, &file, |app| {
        app.ok("--profile side up -d --scale web=2");
        let before = app.containers();
        assert_eq!(
            before,
            ["back-old-1", "back-side-1", "back-web-1", "back-web-2"]
        );
        app.ok("up -d");
        assert_eq!(
            app.containers(),
            ["back-old-1", "back-side-1", "back-web-1"]
        );
        let undoing = app.run("up -d --undo --remove-orphans");
        assert_eq!(undoing.code, 0, "{undoing:?}");
        for told in [
            "+ container back-web-2\n",
            "What token held is kept nowhere: it becomes what the variables hold now.",
        ] {
            assert!(undoing.stderr.contains(told), "{told}: {}", undoing.stderr);
        }
        assert!(
            !undoing.stderr.contains("something else"),
            "{}",
            undoing.stderr
        );
        assert_eq!(app.containers(), before);
        // And forth again: what has a profile that is off is no stranger.
        app.ok("up -d --undo --remove-orphans");
        assert_eq!(
            app.containers(),
            ["back-old-1", "back-side-1", "back-web-1"]
        );

        app.write("compose.yaml", &file.replace("WORD: one", "WORD: two"));
        app.driver = Driver::Docker;
        app.ok("up -d");
        app.driver = Driver::Hull;
        let undoing = app.run("up -d --undo");
        assert_eq!(undoing.code, 0, "{undoing:?}");
        assert!(
            undoing.stderr.contains("Made by something else since (Docker's Compose, perhaps, or from another account): back-web-1."),
            "{}",
            undoing.stderr
        );
        app.ok("--profile side down -v -t 0");
    });
}

#[test]
fn a_file_is_written_for_what_runs_and_brings_it_up_again() {
    Application::play(Driver::Hull, "services: {}", |app| {
        let hull = |line: &str| {
            let words = hull_testkit::words::split(line);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let output = app.daemon.hull(&words);
            assert_eq!(output.code, 0, "{line}: {output:?}");
            output.stdout
        };
        hull("network create shelf");
        hull("volume create books");
        hull(
            "run -d --init --name one -e A=1 -e 'B=two words $HOME' -l team=x -v books:/books -v /etc/hostname:/host:ro \
             -p 127.0.0.1:18099:80 --network shelf --network-alias uno --restart on-failure:3 -m 64m --cap-drop CHOWN \
             --read-only --tmpfs /tmp --user 7:8 -w /books --health-cmd 'true' --health-interval 1h busybox sleep 1000",
        );
        let text = app.ok("from --name again one");
        app.write("compose.yaml", &text);
        let before = app.document("one");
        hull("rm -f one");
        app.ok("config -q");
        app.ok("up -d");
        let after = app.document("one");
        for pointer in [
            "/Config/Env",
            "/Config/Cmd",
            "/Config/User",
            "/Config/WorkingDir",
            "/Config/Healthcheck",
            "/Config/Labels/team",
            "/HostConfig/PortBindings",
            "/HostConfig/Memory",
            "/HostConfig/CapDrop",
            "/HostConfig/ReadonlyRootfs",
            "/HostConfig/RestartPolicy",
            "/HostConfig/Init",
            "/HostConfig/Tmpfs",
        ] {
            assert_eq!(
                before.pointer(pointer),
                after.pointer(pointer),
                "{pointer}\n{text}"
            );
        }
        // Whether `:z` or `:rw` was said is one.
        let mounts = |document: &serde_json::Value| -> Vec<String> {
            let one = |mount: &serde_json::Value| {
                ["Type", "Name", "Source", "Destination", "RW"]
                    .map(|key| mount[key].to_string())
                    .join(" ")
            };
            document["Mounts"]
                .as_array()
                .unwrap()
                .iter()
                .map(one)
                .collect()
        };
        assert_eq!(mounts(&before), mounts(&after), "{text}");
        let aliases = |document: &serde_json::Value| {
            document["NetworkSettings"]["Networks"]["shelf"]["DNSNames"].to_string()
        };
        assert!(
            aliases(&after).contains("uno"),
            "{}\n{text}",
            aliases(&after)
        );
        app.ok("down -t 0");
        // What was there before is not the project's to take.
        assert_eq!(hull("volume ls -q").trim(), "books");
        hull("volume rm books");
        hull("network rm shelf");
    });
}

application!(a_changed_file_can_restart_a_service("
    name: again
    services:
      web:
        image: busybox
        command: sleep 1000
        init: true
        develop: {watch: [{action: restart, path: settings}]}
", app) {
    if app.driver == Driver::Older {
        // It does not know the action.
        return;
    }
    app.write("settings/a", "one\n");
    app.ok("up -d");
    let mut watching = Running::spawn(&mut app.command("watch --no-up"));
    until("it watches", || {
        watching.stdout().contains("Watch enabled") || watching.stderr().contains("Watch enabled")
    });
    let (id, began) = (app.field("again-web-1", "/Id"), app.field("again-web-1", "/State/StartedAt"));
    app.write("settings/a", "two\n");
    until("it was restarted", || {
        app.field("again-web-1", "/State/StartedAt") != began && app.field("again-web-1", "/State/Running") == true
    });
    assert_eq!(id, app.field("again-web-1", "/Id"));
    watching.signal("INT");
    watching.wait();
    app.ok("down -t 0");
});

/// An application with all that its containers, networks and volumes tell of it.
const SHOP: &str = "
    name: shop
    services:
      web:
        image: busybox
        command: sleep 1000
        init: true
        depends_on:
          db: {condition: service_healthy}
          job: {condition: service_completed_successfully}
        secrets: [key, token]
        configs: [{source: text, target: /etc/shop.conf}]
        networks: [default, back, outer]
        volumes: ['data:/data', 'elsewhere:/there']
        links: ['db:store']
      db:
        image: busybox
        command: sleep 1000
        init: true
        healthcheck: {test: 'true', interval: 1s}
        scale: 2
      side: {image: busybox, command: sleep 1000, init: true, network_mode: 'service:db3'}
      db3: {image: busybox, command: sleep 1000, init: true}
      job: {image: busybox, command: 'true'}
    networks:
      back: {internal: true, labels: {of: mine}}
      outer: {external: true, name: out}
    volumes: {data: {labels: {of: mine}}, elsewhere: {external: true}}
    secrets: {key: {file: ./key}, token: {environment: TOKEN}}
    configs: {text: {content: abc}}
";

#[test]
fn the_file_of_an_application_is_its_own_again() {
    Application::play(Driver::Hull, SHOP, |app| {
        let hull = |line: &str| {
            app.daemon.hull(
                &hull_testkit::words::split(line)
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>(),
            )
        };
        app.write("key", "k");
        assert_eq!(hull("network create out").code, 0);
        assert_eq!(hull("volume create elsewhere").code, 0);
        app.ok("up -d");
        let names = app.containers().join(" ");
        let written = app.run(&format!("from {names}"));
        assert_eq!(written.code, 0, "{written:?}");
        for told in [
            "what /run/secrets/token in web holds is kept sealed: give it in the variable TOKEN",
            "what /etc/shop.conf in web holds is kept sealed: give it in the variable SHOP_CONF",
            "left out: `build`, `profiles`, `develop`, hooks",
        ] {
            assert!(written.stderr.contains(told), "{written:?}");
        }
        app.write("compose.yaml", &written.stdout);
        check_model(app, &written.stdout);
        // The same application, made by the file alone.
        let database = app.field("shop-db-1", "/Id");
        let mut up = app.command("up -d");
        assert!(up.env("SHOP_CONF", "abc").status().unwrap().success());
        assert_eq!(app.containers().join(" "), names);
        assert_eq!(app.field("shop-db-1", "/Id"), database);
        let seen = app.ok("exec web cat /run/secrets/key /run/secrets/token /etc/shop.conf");
        assert_eq!(seen, "kfrom-outsideabc");
        // What is left out is told.
        let alone = app.run("from shop-web-1");
        assert!(
            alone
                .stderr
                .contains("web depends on db, of which no container is named"),
            "{alone:?}"
        );
        app.ok("down -v -t 0");
        assert_eq!(hull("network rm out").code, 0);
        assert_eq!(hull("volume rm elsewhere").code, 0);
    });
}

/// What the file that was written means.
fn check_model(app: &Application, text: &str) {
    let again: Value = serde_json::from_str(&app.ok("config --format json")).unwrap();
    for (pointer, expected) in [
        ("/name", json!("shop")),
        ("/networks/back/internal", json!(true)),
        ("/networks/back/name", json!("shop_back")),
        ("/networks/back/labels", json!({"of": "mine"})),
        ("/networks/back/external", Value::Null),
        ("/networks/out/external", json!(true)),
        ("/networks/default/name", json!("shop_default")),
        ("/volumes/data/name", json!("shop_data")),
        ("/volumes/data/external", Value::Null),
        ("/volumes/elsewhere/external", json!(true)),
        ("/services/db/scale", json!(2)),
        ("/services/side/network_mode", json!("service:db3")),
        ("/services/web/links", json!(["db:store"])),
        (
            "/services/web/depends_on/db",
            json!({"condition": "service_healthy", "required": true}),
        ),
        (
            "/services/web/depends_on/job/condition",
            json!("service_completed_successfully"),
        ),
        ("/secrets/token/environment", json!("TOKEN")),
    ] {
        let found = again.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(found, expected, "{pointer}\n{}", text);
    }
}

#[test]
fn a_file_for_what_runs_knows_whose_volumes_are_whose() {
    Application::play(Driver::Hull, "services: {}", |app| {
        for line in [
            "run -d --name data -v kept:/d busybox sleep 1000",
            "run -d --name user --volumes-from data:ro busybox sleep 1000",
        ] {
            app.daemon
                .hull(&line.split(' ').collect::<Vec<_>>())
                .of_success(line);
        }
        let file = app.ok("from --name app data user");
        assert!(
            file.contains("volumes_from:\n      - \"data:ro\"\n"),
            "{file}"
        );
        let alone = app.ok("from --name app user");
        assert!(alone.ends_with("- \"container:data:ro\""), "{alone}");
        for name in ["data", "user"] {
            app.daemon.hull(&["rm", "-f", name]).of_success(name);
        }
        app.write("compose.yaml", &file);
        app.daemon
            .hull(&["volume", "inspect", "kept"])
            .of_success("volume inspect");
        app.ok("up -d");
        assert_eq!(app.run("exec -T user touch /d/x").code, 1);
        app.ok("exec -T data touch /d/x");
        app.ok("exec -T user ls /d/x");
        app.ok("down -v -t 0");
        app.daemon
            .hull(&["volume", "rm", "kept"])
            .of_success("volume rm");
    });
}
