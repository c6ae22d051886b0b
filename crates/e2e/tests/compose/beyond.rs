//! What `hull compose` has beyond Docker's: going back, and files for what runs.

use crate::{Application, Driver, application};
use hull_testkit::{Running, until};

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
        app.ok("up -d --undo --remove-orphans");
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
        app.ok("up -d --undo --remove-orphans");
        assert_eq!(word(), "two");
        assert_eq!(app.containers(), ["back-new-1", "back-web-1"]);
        app.ok("down -v -t 0");
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
