//! Secrets and configs that are no files: what a container sees of them, and where they do not lie.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use hull_testkit::until;
use serde_json::{Value, json};

use crate::{Application, Driver, application, reboot};

/// `TOKEN` is `from-outside`.
const FILE: &str = "
    name: sealed
    services:
      web:
        image: busybox
        user: '1234:1235'
        command: sleep 1000
        init: true
        restart: always
        secrets: [token, {source: token, target: short, mode: 0400}, {source: token, target: /etc/deep/er}]
        configs: [text, {source: text, target: /etc/app.conf, mode: 0640}]
    secrets: {token: {environment: TOKEN}}
    configs: {text: {content: 'word = ${TOKEN}'}}
";

/// Where they are in the container.
const PLACES: [&str; 5] = [
    "/run/secrets/token",
    "/run/secrets/short",
    "/etc/deep/er",
    "/text",
    "/etc/app.conf",
];

fn seen(app: &Application) -> Vec<String> {
    let places = PLACES.join(" ");
    let line = format!(
        "exec -T web sh -c 'cd /; for i in {places}; do cat $i; stat -c \" %a %u %g\" $i; done'"
    );
    app.ok(&line).lines().map(str::to_owned).collect()
}

application!(a_container_sees_the_same_whoever_handed_them(&FILE.replace("user: '1234:1235'", ""), app) {
    if app.driver == Driver::Older {
        // It makes files of secrets alone, and for their owner.
        return;
    }
    app.ok("up -d");
    let expected = [
        "from-outside 444 0 0",
        "from-outside 400 0 0",
        "from-outside 444 0 0",
        "word = from-outside 444 0 0",
        "word = from-outside 640 0 0",
    ];
    assert_eq!(seen(app), expected);
    assert_eq!(app.ok("run --rm -T web cat /run/secrets/token"), "from-outside");
    app.ok("down -t 0");
});

/// Files of the daemon that hold what `TOKEN` is.
fn in_the_clear(app: &Application) -> String {
    let output = Command::new("find")
        .args([app.daemon.path("data"), app.daemon.path("run")])
        .args([
            "-xdev",
            "-type",
            "f",
            "-exec",
            "grep",
            "-laF",
            "from-outside",
            "{}",
            "+",
        ])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn secrets_are_on_no_disk_and_there_again_after_each_restart() {
    Application::play(Driver::Hull, FILE, |app| {
        app.ok("up -d");
        let expected = [
            "from-outside 444 1234 1235",
            "from-outside 400 1234 1235",
            "from-outside 444 1234 1235",
            "word = from-outside 444 1234 1235",
            "word = from-outside 640 1234 1235",
        ];
        assert_eq!(seen(app), expected);
        assert_eq!(in_the_clear(app), "");
        // Whoever has the container's files, its layer or an image of it has nothing.
        app.ok("commit web sealed-kept:1");
        app.ok("export -o web.tar web");
        let archive = fs::read(app.directory().join("web.tar")).unwrap();
        assert!(!String::from_utf8_lossy(&archive).contains("from-outside"));
        assert_eq!(in_the_clear(app), "");
        let key = fs::metadata(app.daemon.path("data/seal.key")).unwrap();
        assert_eq!((key.permissions().mode() & 0o777, key.len()), (0o600, 32));
        assert_ne!(
            app.run("exec -T -u 0 web sh -c 'echo x > /run/secrets/token'")
                .code,
            0
        );

        app.ok("restart -t 0");
        assert_eq!(seen(app), expected);
        app.daemon.crash();
        assert_eq!(seen(app), expected);
        app.ok("restart -t 0");
        assert_eq!(seen(app), expected);
        let began = app.field("sealed-web-1", "/State/StartedAt");
        reboot::reboot(app);
        until("it runs again", || {
            app.field("sealed-web-1", "/State/Running") == true
                && app.field("sealed-web-1", "/State/StartedAt") != began
        });
        assert_eq!(seen(app), expected);
        assert_eq!(in_the_clear(app), "");
        app.ok("down -t 0 --rmi all");
    });
}

#[test]
fn a_lost_key_is_told_and_a_new_container_gets_its_secrets_again() {
    Application::play(Driver::Hull, &FILE.replace("always", "'no'"), |app| {
        app.ok("up -d");
        let expected = seen(app);
        app.ok("stop -t 0");
        fs::remove_file(app.daemon.path("data/seal.key")).unwrap();
        let complaint = app.fails(1, "start");
        assert!(
            complaint.contains("secrets of container sealed-web-1")
                && complaint.contains("make the container again"),
            "{complaint}"
        );
        app.ok("up -d --force-recreate");
        assert_eq!(seen(app), expected);
        app.ok("down -t 0");
    });
}

#[test]
fn a_read_only_container_has_its_secrets_too() {
    let file = "
        name: ro
        services:
          web: {image: busybox, command: cat /run/secrets/token, read_only: true, secrets: [token], tmpfs: [/run]}
        secrets: {token: {environment: TOKEN}}
    ";
    Application::play(Driver::Hull, file, |app| {
        assert!(app.run("up").stdout.contains("from-outside"));
        app.ok("down -t 0");
    });
}

#[test]
fn what_cannot_be_handed_is_refused_and_nothing_is_lost() {
    Application::play(Driver::Hull, FILE, |app| {
        app.ok("up -d");
        let expected = seen(app);
        let put = |name: &str, files: Value| {
            let path = format!("/hull/containers/{name}/sealed");
            let answer = app.daemon.api("PUT", &path, &json!({"Files": files}));
            (answer.status, answer.json()["message"].to_string())
        };
        let (status, message) = put("sealed-web-1", json!([{"Path": "etc", "Content": ""}]));
        assert!(
            status == 400 && message.contains("absolute path"),
            "{status} {message}"
        );
        let (status, message) = put("sealed-web-1", json!([{"Path": "/a", "Content": "?"}]));
        assert!(
            status == 400 && message.contains("base64"),
            "{status} {message}"
        );
        let (status, message) = put("nobody", json!([]));
        assert!(
            status == 404 && message.contains("No such container"),
            "{status} {message}"
        );
        app.ok("restart -t 0");
        assert_eq!(seen(app), expected);
        app.ok("down -t 0");
    });
}

/// Each file, with what is complained: the key at its line, and the way out.
#[test]
fn what_only_others_keep_is_refused_at_its_line_with_the_way_out() {
    let table = [
        (
            "{use_api_socket: true}\n",
            "compose.yaml:4:",
            "services.web.use_api_socket: Hull hands no container the daemon's socket",
            "where the socket is meant, mount it",
        ),
        (
            "{models: [llm]}\nmodels: {llm: {model: a/b}}\n",
            "compose.yaml:4:",
            "services.web.models: Hull runs no model",
            "run one as a service",
        ),
        (
            "{secrets: [key]}\nsecrets:\n  key: {external: true}\n",
            "compose.yaml:6:",
            "secrets.key.external: only a Swarm keeps `key`",
            "`file:` or `environment:` in place of `external:`",
        ),
        (
            "{configs: [own]}\nconfigs:\n  own: {external: true, name: theirs}\n",
            "compose.yaml:6:",
            "configs.own.external: only a Swarm keeps `theirs`",
            "`content:` in place of `external:`",
        ),
    ];
    for (rest, line, what, way_out) in table {
        let rest = rest.replacen('{', "{image: busybox, ", 1);
        let file = format!("\nname: refused\nservices:\n  web: {rest}");
        Application::play(Driver::Hull, &file, |app| {
            for verb in ["up -d", "create", "run --rm web", "run --no-deps web"] {
                let complaint = app.fails(1, verb);
                for part in [line, what, way_out] {
                    assert!(complaint.contains(part), "{verb}: {part}: {complaint}");
                }
            }
            assert_eq!(app.containers(), Vec::<String>::new());
            // It can be looked at all the same.
            app.ok("config");
        });
    }
}

#[test]
fn what_is_not_on_this_machine_is_refused_at_its_line_with_the_way_out() {
    for (file, line, key) in [
        (
            "include: [oci://registry.example.com/app:1]\nservices: {}\n",
            "compose.yaml:1:",
            "`include` names `oci://registry.example.com/app:1`",
        ),
        (
            "services:\n  web:\n    extends:\n      file: https://github.com/a/b.git\n      service: web\n",
            "compose.yaml:4:",
            "`extends` names `https://github.com/a/b.git`",
        ),
    ] {
        Application::play(Driver::Hull, file, |app| {
            let complaint = app.fails(1, "config");
            for part in [line, key, "fetch it"] {
                assert!(complaint.contains(part), "{part}: {complaint}");
            }
        });
    }
}

#[test]
fn a_copy_of_a_container_is_handed_the_same_secrets() {
    Application::play(Driver::Hull, FILE, |app| {
        app.ok("up -d");
        let hull = |line: &str| {
            let words = hull_testkit::words::split(line);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let output = app.daemon.hull(&words);
            assert_eq!(output.code, 0, "{line}: {output:?}");
            output.stdout
        };
        let told = app
            .daemon
            .api("GET", "/hull/containers/sealed-web-1/sealed", &Value::Null);
        let told = told.json();
        let files = told["Files"].as_array().unwrap();
        assert!(
            files
                .iter()
                .any(|file| file["Path"] == "/run/secrets/token"),
            "{told}"
        );
        assert!(files.iter().all(|file| file["Content"] == ""), "{told}");
        hull("container clone --start sealed-web-1 copy");
        hull("run -d --like sealed-web-1 --name like");
        for name in ["copy", "like"] {
            assert_eq!(
                hull(&format!("exec {name} cat /run/secrets/token")),
                "from-outside"
            );
            hull(&format!("rm -f {name}"));
        }
        app.ok("down -t 0");
    });
}

#[test]
fn what_a_secret_holds_now_is_what_its_container_is_made_anew_for() {
    Application::play(Driver::Hull, FILE, |app| {
        app.ok("up -d");
        let id = app.field("sealed-web-1", "/Id");
        assert_eq!(app.run("diff").code, 0);
        app.ok("up -d");
        assert_eq!(app.field("sealed-web-1", "/Id"), id);

        let changed = FILE.replace("word =", "words =");
        app.write("compose.yaml", &changed);
        assert_eq!(
            app.run("diff").stdout,
            "~ container sealed-web-1: its secrets or configs are not what it was handed\n"
        );
        // Whatever the daemon is asked for that, nothing changes.
        app.ok("--dry-run up -d");
        assert_eq!(app.field("sealed-web-1", "/Id"), id);
        app.ok("up -d");
        assert_ne!(app.field("sealed-web-1", "/Id"), id);
        assert_eq!(seen(app)[3], "words = from-outside 444 1234 1235");
        assert_eq!(app.run("diff").code, 0);

        let id = app.field("sealed-web-1", "/Id");
        let mut other = app.command("up -d");
        other.env("TOKEN", "from-elsewhere");
        hull_testkit::Output::of(&other).of_success("up -d");
        assert_ne!(app.field("sealed-web-1", "/Id"), id);
        assert_eq!(seen(app)[0], "from-elsewhere 444 1234 1235");
        // As one is left whose maker was killed before it had handed them.
        app.ok("rm -sf");
        app.ok("create");
        let line = "/hull/containers/sealed-web-1/sealed";
        app.daemon.api("PUT", line, &json!({"Files": []}));
        app.ok("up -d");
        assert_eq!(seen(app)[0], "from-outside 444 1234 1235");
        app.ok("down -t 0");
    });
}

#[test]
fn a_secret_whose_variable_is_not_set_hides_nothing_that_changed() {
    let file = FILE.replace("${TOKEN}", "${WORD:-one}");
    Application::play(Driver::Hull, &file, |app| {
        app.ok("up -d");
        let id = app.field("sealed-web-1", "/Id");
        let unset = |line: &str, word: &str| {
            let mut command = app.command(line);
            command.env_remove("TOKEN").env("WORD", word);
            hull_testkit::Output::of(&command)
        };
        assert_eq!(unset("diff", "one").code, 0);
        unset("up -d", "one").of_success("up -d");
        let differs = unset("diff", "two");
        assert_eq!(
            differs.stdout,
            "~ container sealed-web-1: its secrets or configs are not what it was handed\n\
             ! service web: environment variable \"TOKEN\" required by secret \"token\" is not set\n"
        );
        assert_eq!(differs.code, 2);
        let refused = unset("up -d", "two");
        let why = "environment variable \"TOKEN\" required by secret \"token\" is not set";
        assert!(refused.stderr.contains(why), "{refused:?}");
        assert_eq!(app.field("sealed-web-1", "/Id"), id);
        app.ok("down -t 0");
    });
}

#[test]
fn what_stands_in_the_way_is_told_before_anything_is_pulled_or_built() {
    let file = "
name: way
services:
  web:
    build: {dockerfile_inline: \"FROM busybox\"}
    command: sleep 1000
    init: true
    secrets: [pw]
    networks: [default, lan]
    volumes: ['data:/data']
secrets: {pw: {file: ./pw.txt}}
networks: {lan: {external: true, name: office}}
volumes: {data: {external: true, name: kept}}
";
    Application::play(Driver::Hull, file, |app| {
        app.ok("config -q");
        let refused = |place: &str, told: &str| {
            let complaint = app.fails(1, "up -d --build");
            assert!(
                complaint.contains(&format!("compose.yaml:{place}: {told}")),
                "{complaint}"
            );
            assert!(!complaint.contains("FROM"), "{complaint}");
        };
        refused(
            "12:28",
            "networks.lan: network office declared as external, but could not be found\nhint: make it: `network create office`",
        );
        app.daemon
            .hull(&["network", "create", "office"])
            .of_success("network");
        refused(
            "13:28",
            "volumes.data: external volume \"kept\" not found\nhint: make it: `volume create kept`",
        );
        app.daemon
            .hull(&["volume", "create", "kept"])
            .of_success("volume");
        refused("11:22", "secrets.pw.file: ");
        // Seen beforehand, too.
        let seen = app.run("diff");
        assert_eq!(seen.code, 2, "{seen:?}");
        assert!(
            seen.stdout.contains("! ") && seen.stdout.contains("secrets.pw.file: "),
            "{seen:?}"
        );
        let images = app
            .daemon
            .hull(&["images", "-q", "way-web"])
            .of_success("images");
        assert_eq!((images.as_str(), app.containers().len()), ("", 0));
        // What was refused is nothing that could be undone.
        let complaint = app.fails(1, "up -d --undo");
        assert!(
            complaint.contains("there is nothing to undo"),
            "{complaint}"
        );
        app.write("pw.txt", "secret");
        app.ok("up -d");
        // A container that stays needs its file no more.
        std::fs::remove_file(app.directory().join("pw.txt")).unwrap();
        app.ok("up -d");
        app.ok("down -t 0 --rmi all");
        app.daemon
            .hull(&["network", "rm", "office"])
            .of_success("network");
        app.daemon
            .hull(&["volume", "rm", "kept"])
            .of_success("volume");
    });
}
