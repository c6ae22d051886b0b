//! The program as people run it: pages, errors and exit codes without a daemon, and whole commands
//! against a daemon that answers as told and remembers what it was asked.
//!
//! Pages are compared with `tests/golden`; `UPDATE_GOLDEN=1` rewrites them.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod mock;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mock::{Answer, Daemon};

const HULL: &str = env!("CARGO_BIN_EXE_hull");

fn hull(arguments: &[&str]) -> Command {
    let mut command = Command::new(HULL);
    command
        .args(arguments)
        .env_clear()
        .env("DOCKER_CONFIG", "/nonexistent/config")
        .env("DOCKER_HOST", "unix:///nonexistent/daemon.sock")
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command
}

/// Exit code, standard output and standard error as one text.
fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("the program ended by itself");
    format!(
        "exit {code}\n--- out\n{}--- err\n{}",
        text(&output.stdout),
        text(&output.stderr)
    )
}

#[track_caller]
fn golden(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        actual,
        expected,
        "{} differs; UPDATE_GOLDEN=1 rewrites it",
        path.display()
    );
}

#[test]
fn pages_are_as_recorded() {
    for (name, arguments) in [
        ("help.txt", &["--help"][..]),
        ("help-container.txt", &["container", "--help"]),
        ("help-run.txt", &["run", "--help"]),
        ("help-cp.txt", &["cp", "--help"]),
        ("help-ps.txt", &["container", "ls", "--help"]),
    ] {
        golden(name, &shown(&hull(arguments).output().unwrap()));
    }
}

#[test]
fn mistakes_are_told_as_recorded() {
    let mut text = String::new();
    for arguments in [
        &["strat"][..],
        &["container", "strat"],
        &["run"],
        &["run", "--foo", "busybox"],
        &["run", "-p", "abc:def", "busybox"],
        &["run", "-m", "5q", "busybox"],
        &["run", "--rm", "--restart", "always", "busybox"],
        &["run", "-it", "busybox"],
        &["ps", "a"],
        &["ps"],
        &["run", "busybox"],
        &["rename", "a"],
        &["cp", "a", "b"],
        &["service", "ls"],
        &["ps", "--format", "{{.Foo"],
    ] {
        let output = hull(arguments).output().unwrap();
        text.push_str(&format!(
            "$ hull {}\n{}\n",
            arguments.join(" "),
            shown(&output)
        ));
    }
    golden("mistakes.txt", &text);
}

#[test]
fn under_dockers_name_it_is_docker() {
    let directory = std::env::temp_dir().join(format!("hull-as-docker-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let link = directory.join("docker");
    std::os::unix::fs::symlink(HULL, &link).unwrap();
    let output = Command::new(&link).arg("rename").arg("a").output().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with("docker: 'docker rename' requires 2 arguments\n"),
        "{text}"
    );
}

fn against(daemon: &Daemon, arguments: &[&str]) -> Output {
    hull(arguments)
        .env("DOCKER_HOST", daemon.host())
        .output()
        .unwrap()
}

#[test]
fn run_creates_attaches_waits_and_starts_in_this_order() {
    let daemon = Daemon::start(|request| match request {
        "POST /containers/create" => Answer::json(201, r#"{"Id":"c1","Warnings":[]}"#),
        "POST /containers/c1/attach" => Answer::frames(&[(1, "out\n"), (2, "err\n")]),
        "POST /containers/c1/wait" => Answer::json(200, r#"{"StatusCode":3}"#),
        "POST /containers/c1/start" => Answer::json(204, ""),
        _ => Answer::json(404, r#"{"message":"page not found"}"#),
    });
    let output = against(
        &daemon,
        &["run", "--name", "x", "busybox", "sh", "-c", "exit 3"],
    );
    assert_eq!(shown(&output), "exit 3\n--- out\nout\n--- err\nerr\n");
    let requests = daemon.requests();
    let lines: Vec<&str> = requests
        .iter()
        .map(|request| request.line.as_str())
        .collect();
    assert_eq!(
        lines,
        [
            "HEAD /_ping",
            "POST /containers/create?name=x",
            "POST /containers/c1/attach?stream=1&stdout=1&stderr=1",
            "POST /containers/c1/wait?condition=next-exit",
            "POST /containers/c1/start",
        ]
    );
    let body: serde_json::Value = serde_json::from_str(&requests[1].body).unwrap();
    assert_eq!(body["Image"], "busybox");
    assert_eq!(body["Cmd"], serde_json::json!(["sh", "-c", "exit 3"]));
    assert_eq!(body["HostConfig"]["NetworkMode"], "default");
}

#[test]
fn run_pulls_what_is_missing_and_tells_what_that_says() {
    let daemon = Daemon::start(|request| match request {
        "POST /containers/create" => {
            Answer::json(404, r#"{"message":"No such image: busybox:latest"}"#)
        }
        "POST /images/create" => Answer::json(404, r#"{"message":"pull access denied"}"#),
        _ => Answer::json(404, r#"{"message":"page not found"}"#),
    });
    let output = against(&daemon, &["run", "busybox"]);
    assert_eq!(
        shown(&output),
        "exit 125\n--- out\n--- err\nUnable to find image 'busybox:latest' locally\nhull: Error response from daemon: pull access denied\n\nRun 'hull run --help' for more information\n"
    );
    let lines: Vec<String> = daemon
        .requests()
        .into_iter()
        .map(|request| request.line)
        .collect();
    assert_eq!(
        lines[2],
        "POST /images/create?fromImage=docker.io%2Flibrary%2Fbusybox&tag=latest"
    );
}

#[test]
fn an_image_that_is_missing_names_the_tags_there_are() {
    let daemon = Daemon::start(|request| match request {
        "GET /images/json" => Answer::json(200, include_str!("fixtures/images.json")),
        "POST /images/create" => Answer::json(404, r#"{"message":"pull access denied"}"#),
        _ => Answer::json(404, r#"{"message":"No such image: busybox:9"}"#),
    });
    for line in [
        "run busybox:9 true",
        "create --pull never busybox:9",
        "pull busybox:9",
        "image inspect busybox:9",
        "inspect busybox:9",
        "tag busybox:9 other",
        "history busybox:9",
        "rmi busybox:9",
        "push busybox:9",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let output = against(&daemon, &words);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            text.contains("\nhint: here there is busybox"),
            "{line}: {text}"
        );
        assert_ne!(output.status.code(), Some(0), "{line}");
    }
}

#[test]
fn a_program_that_is_missing_exits_with_127() {
    let daemon = Daemon::start(|request| match request {
        "POST /containers/create" => Answer::json(201, r#"{"Id":"c1","Warnings":[]}"#),
        "POST /containers/c1/start" => Answer::json(
            400,
            r#"{"message":"exec: \"nope\": executable file not found in $PATH"}"#,
        ),
        _ => Answer::json(404, r#"{"message":"page not found"}"#),
    });
    let output = against(&daemon, &["run", "-d", "busybox", "nope"]);
    assert_eq!(output.status.code(), Some(127));
}

#[test]
fn lists_are_tables_as_recorded() {
    let daemon = Daemon::start(|request| match request {
        "GET /containers/json" => Answer::json(200, include_str!("fixtures/containers.json")),
        "GET /images/json" => Answer::json(200, include_str!("fixtures/images.json")),
        _ => Answer::json(404, r#"{"message":"page not found"}"#),
    });
    let mut text = String::new();
    for arguments in [
        &[
            "ps",
            "--format",
            "table {{.ID}}\\t{{.Image}}\\t{{.Command}}\\t{{.Status}}\\t{{.Ports}}\\t{{.Names}}",
        ][..],
        &["ps", "-q"],
        &[
            "ps",
            "--no-trunc",
            "--format",
            "{{.ID}} {{.Command}} {{.Mounts}}",
        ],
        &[
            "ps",
            "--format",
            "{{.Label \"team\"}} {{.Labels}} {{.Networks}} {{.CreatedAt}}",
        ],
        &["ps", "--format", "{{.Nope}}"],
        &[
            "images",
            "--format",
            "table {{.Repository}}\\t{{.Tag}}\\t{{.ID}}\\t{{.Size}}",
        ],
        &[
            "images",
            "--digests",
            "--format",
            "{{.Repository}} {{.Digest}}",
        ],
    ] {
        let output = against(&daemon, arguments);
        text.push_str(&format!(
            "$ hull {}\n{}\n",
            arguments.join(" "),
            shown(&output)
        ));
    }
    golden("lists.txt", &text);
}

#[test]
fn inspect_keeps_the_daemons_order_and_goes_on_after_what_is_missing() {
    let daemon = Daemon::start(|request| match request {
        "GET /containers/a/json" => Answer::json(200, r#"{"Id":"a","State":{"Pid":7},"Args":[]}"#),
        _ => Answer::json(404, r#"{"message":"No such object"}"#),
    });
    let output = against(&daemon, &["inspect", "a", "b"]);
    assert_eq!(
        shown(&output),
        "exit 1\n--- out\n[\n    {\n        \"Id\": \"a\",\n        \"State\": {\n            \"Pid\": 7\n        },\n        \"Args\": []\n    }\n]\n--- err\nError: No such object: b\n"
    );
    let output = against(&daemon, &["inspect", "-f", "{{.ID}} {{.State.Pid}}", "a"]);
    assert_eq!(shown(&output), "exit 0\n--- out\na 7\n--- err\n");
}

#[test]
fn operations_on_several_go_on_after_a_failure() {
    let daemon = Daemon::start(|request| match request {
        "POST /containers/a/stop" | "POST /containers/c/stop" => Answer::json(204, ""),
        _ => Answer::json(404, r#"{"message":"No such container: b"}"#),
    });
    let output = against(&daemon, &["stop", "-t", "1", "a", "b", "c"]);
    assert_eq!(
        shown(&output),
        "exit 1\n--- out\na\nc\n--- err\nError response from daemon: No such container: b\n"
    );
}

#[test]
fn a_saved_image_appears_whole_or_not_at_all() {
    let daemon = Daemon::start(|request| match request {
        "GET /images/get" => Answer::broken("half of a tar"),
        _ => Answer::json(404, r#"{"message":"page not found"}"#),
    });
    let path = std::env::temp_dir().join(format!("hull-save-{}.tar", std::process::id()));
    let output = against(&daemon, &["save", "-o", &path.to_string_lossy(), "x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!Path::new(&path).exists());
}

#[test]
fn a_stream_that_is_cut_is_no_end() {
    let daemon = Daemon::start(|request| match request {
        "GET /containers/box/json" => Answer::json(
            200,
            r#"{"Id":"0123","Name":"/box","State":{},"Config":{},"HostConfig":{},"NetworkSettings":{},"Mounts":[]}"#,
        ),
        "GET /containers/0123/logs" => Answer::cut("\x01\0\0\0\0\0\0\x02x\n"),
        "GET /containers/json" => Answer::json(200, "[]"),
        "GET /containers/box/stats" => Answer::cut(""),
        "GET /containers/box/export" => Answer::cut("half of a tar"),
        "GET /events" | "POST /images/create" => Answer::cut(r#"{"status":"begun"}"#),
        "POST /images/load" => Answer::cut(r#"{"stream":"begun"}"#),
        _ => Answer::json(404, r#"{"message":"page not found"}"#),
    });
    for (words, what) in [
        (&["logs", "-f", "box"][..], "/containers/0123/logs"),
        (&["logs", "--json", "-f", "box"], "/containers/0123/logs"),
        (&["events"], "/events"),
        (&["events", "--json"], "/events"),
        (&["stats"], "/events"),
        (&["stats", "box"], "/containers/box/stats"),
        (&["export", "box"], "/containers/box/export"),
        (&["pull", "busybox"], "/images/create"),
        (&["pull", "-q", "busybox"], "/images/create"),
        (&["load", "-i", "/dev/null"], "/images/load"),
    ] {
        let told = format!("the daemon broke off its answer to /v1.50{what}");
        assert_told_once(&against(&daemon, words), 1, &told);
    }
}

#[test]
fn ctrl_c_ends_it_with_a_code_of_its_own() {
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    let daemon = Daemon::start(|_| Answer::stalled("{\"Type\":\"x\"}\n"));
    for (signal, code) in [("INT", Some(130)), ("TERM", Some(143)), ("HUP", None)] {
        let mut child = hull(&["events"])
            .env("DOCKER_HOST", daemon.host())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It listens once it has something to say.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let kill = Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let status = child.wait().unwrap();
        assert_eq!(status.code(), code, "{signal}");
        assert_eq!(status.signal().is_some(), code.is_none());
    }
}

#[test]
fn a_reader_that_has_gone_ends_it_as_a_pipeline_expects() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = hull(&["help"]).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert!(output.stderr.is_empty());
}

#[test]
fn what_goes_on_behind_a_command_is_told_who_asks() {
    let daemon = Daemon::start(|_| Answer::json(200, "[]"));
    let output = against(&daemon, &["-D", "ps", "-q"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.contains(&daemon.host()) && text.contains("speaks API 1.50"),
        "{text}"
    );
    let quiet = against(&daemon, &["ps", "-q"]);
    assert!(quiet.stderr.is_empty());
}

#[test]
fn what_the_environment_asks_for_is_heeded_or_refused() {
    let daemon = Daemon::start(|_| Answer::json(200, "[]"));
    for (name, value, words, told) in [
        (
            "DOCKER_CONTENT_TRUST",
            "1",
            &["pull", "a"][..],
            "content trust is asked for",
        ),
        (
            "DOCKER_CONTENT_TRUST",
            "1",
            &["run", "a"],
            "content trust is asked for",
        ),
        (
            "DOCKER_CONTENT_TRUST",
            "1",
            &["build", "-"],
            "content trust is asked for",
        ),
        (
            "DOCKER_API_VERSION",
            "1.24",
            &["images", "--tree"],
            "\"--tree\" requires API version 1.47",
        ),
        (
            "DOCKER_API_VERSION",
            "1.24",
            &["builder", "prune"],
            "hull builder prune requires API version 1.39",
        ),
        (
            "DOCKER_CUSTOM_HEADERS",
            "bogus",
            &["ps"],
            "missing \"=\" in key=value pair: 'bogus'",
        ),
        (
            "DOCKER_TLS",
            "1",
            &["ps"],
            "open /nonexistent/config/ca.pem: no such file or directory",
        ),
        (
            "DOCKER_BUILDKIT",
            "0",
            &["build", "--secret", "id=x", "-"],
            "unknown flag: --secret",
        ),
    ] {
        let output = hull(words)
            .env("DOCKER_HOST", daemon.host())
            .env(name, value)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && text.contains(told),
            "{name}: {text}"
        );
        let plain = text.to_lowercase();
        assert!(!plain.contains("panicked"), "{text}");
    }
    let trusted = hull(&["pull", "--disable-content-trust", "a"])
        .env("DOCKER_HOST", daemon.host())
        .env("DOCKER_CONTENT_TRUST", "1")
        .output();
    let text = String::from_utf8_lossy(&trusted.unwrap().stderr).into_owned();
    assert!(!text.contains("trust"), "{text}");
}

/// One line on standard error, and nothing of a panic.
#[track_caller]
fn assert_told_once(output: &Output, code: i32, expected: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(
        text.contains(expected) && !text.contains("panicked"),
        "{text}"
    );
    let told = text
        .lines()
        .filter(|line| !line.starts_with("hint: ") && !line.is_empty());
    assert_eq!(told.count(), 1, "{text}");
}

#[test]
fn a_daemon_that_answers_nonsense_is_told_in_one_line() {
    let daemon = Daemon::start(|request| match request {
        "GET /containers/json" => Answer::json(200, "{\"not\": a list"),
        "GET /images/json" => Answer::raw(b"\x00\x01\x02 this is no HTTP\r\n\r\n"),
        "GET /volumes" => Answer::json(500, "<html>a proxy's page</html>"),
        _ => Answer::raw(b""),
    });
    assert_told_once(&against(&daemon, &["ps"]), 1, "malformed");
    assert_told_once(&against(&daemon, &["images"]), 1, "broke off");
    assert_told_once(&against(&daemon, &["volume", "ls"]), 1, "a proxy's page");
    assert_told_once(&against(&daemon, &["network", "ls"]), 1, "broke off");
}

#[test]
fn nonsense_is_not_taken_for_success() {
    let object = Daemon::start(|_| Answer::json(200, r#"{"hello":"world"}"#));
    let empty = Daemon::start(|_| Answer::json(200, ""));
    let begun = Daemon::start(|_| Answer::json(200, r#"{"status":"Pull"#));
    let page = Daemon::start(|_| Answer::json(200, "<html>a page</html>"));
    for words in [
        &["pull", "-q", "busybox"][..],
        &["info", "--format", "{{.ID}}"],
        &["inspect", "--type", "container", "x"],
    ] {
        for daemon in [&object, &empty, &begun, &page] {
            if words[0] == "inspect" && std::ptr::eq(daemon, &object) {
                continue;
            }
            let output = against(daemon, words);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{words:?}: {text}");
            assert!(
                text.contains("malformed") || text.contains("empty"),
                "{words:?}: {text}"
            );
            // What is wrong with the JSON is said once.
            let clauses: Vec<&str> = text.trim().split(": ").collect();
            assert_ne!(clauses.last(), clauses.iter().rev().nth(1), "{text}");
            assert_eq!(text.lines().count(), 1, "{words:?}: {text}");
        }
    }
    for words in [
        &["info"][..],
        &["version"],
        &["network", "create", "n"],
        &["volume", "create"],
        &["create", "busybox"],
        &["top", "x"],
    ] {
        assert_told_once(&against(&object, words), 1, "malformed: it has no ");
    }
}

#[test]
fn an_answer_that_stops_in_the_middle_is_given_up() {
    let daemon = Daemon::start(|request| match request {
        "POST /containers/x/wait" => Answer::stalled(""),
        _ => Answer::stalled("[{"),
    });
    // A wait has not begun to be answered: it may take as long as it does.
    let mut waits = hull(&["wait", "x"])
        .env("DOCKER_HOST", daemon.host())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = against(&daemon, &["ps"]);
    let still_waits = waits.try_wait().unwrap().is_none();
    waits.kill().unwrap();
    waits.wait().unwrap();
    assert_told_once(
        &output,
        1,
        "stopped in the middle of its answer to /containers/json",
    );
    assert!(still_waits);
}

#[test]
fn a_daemon_that_goes_away_in_the_middle_is_told_in_one_line() {
    let daemon = Daemon::start(|request| match request {
        "GET /containers/a/json" => Answer::json(200, r#"{"Id":"a","Config":{"Tty":true}}"#),
        "GET /containers/a/logs" | "GET /events" | "GET /containers/a/export" => {
            Answer::broken("half")
        }
        _ => Answer::json(404, r#"{"message":"page not found"}"#),
    });
    for words in [&["logs", "a"][..], &["events"], &["export", "a"]] {
        let output = against(&daemon, words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            !text.contains("panicked") && text.lines().count() <= 2,
            "{text}"
        );
    }
}

#[test]
fn words_that_are_no_text_name_no_file_and_are_passed_on_otherwise() {
    use std::os::unix::ffi::OsStrExt;
    let word = std::ffi::OsStr::from_bytes(b"a\xff");
    let mut copies = hull(&["cp", "box:/x"]);
    copies.arg(word);
    assert_told_once(&copies.output().unwrap(), 125, "not valid UTF-8");
    let daemon = Daemon::start(|_| Answer::json(404, r#"{"message":"nothing"}"#));
    let mut kills = hull(&["kill", "-s"]);
    let output = kills
        .arg(word)
        .arg("box")
        .env("DOCKER_HOST", daemon.host())
        .output();
    assert_told_once(&output.unwrap(), 1, "nothing");
    let asked = daemon.requests();
    assert!(
        asked
            .iter()
            .any(|request| request.line.contains("signal=a%EF%BF%BD")),
        "{asked:?}"
    );
}

#[test]
fn keys_that_cannot_be_read_are_told_in_one_line() {
    let directory = std::env::temp_dir().join(format!("hull-keys-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("folder")).unwrap();
    std::fs::write(directory.join("nonsense"), b"\xff\x00 no key").unwrap();
    std::fs::write(
        directory.join("locked"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let at = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let told = |flag: &str, name: &str| {
        let host = ["-H", "tcp://127.0.0.1:1", "--tlsverify"];
        let mut command = hull(&[&host[..], &[flag, &at(name), "ps"]].concat());
        command
            .env("DOCKER_CERT_PATH", &directory)
            .output()
            .unwrap()
    };
    assert_told_once(
        &told("--tlscacert", "absent"),
        1,
        "no such file or directory",
    );
    assert_told_once(&told("--tlscacert", "folder"), 1, "is a directory");
    assert_told_once(&told("--tlscacert", "nonsense"), 1, "holds no certificate");
    let certificate = include_str!("fixtures/authority.pem");
    std::fs::write(directory.join("ca.pem"), certificate).unwrap();
    std::fs::write(directory.join("cert.pem"), certificate).unwrap();
    assert_told_once(&told("--tlskey", "nonsense"), 1, "holds no private key");
    let output = told("--tlskey", "locked");
    std::fs::remove_dir_all(&directory).unwrap();
    assert_told_once(&output, 1, "holds no private key");
    assert!(String::from_utf8_lossy(&output.stderr).contains("hint: it is encrypted"));
}

#[test]
fn a_daemon_that_hangs_is_given_up() {
    let path = std::env::temp_dir().join(format!("hull-hang-{}.sock", std::process::id()));
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let output = hull(&["ps"])
        .env("DOCKER_HOST", format!("unix://{}", path.display()))
        .output();
    std::fs::remove_file(&path).unwrap();
    assert_told_once(&output.unwrap(), 1, "does not answer");
}

#[test]
fn damaged_settings_are_told_and_not_overwritten() {
    let directory = std::env::temp_dir().join(format!("hull-damaged-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("config.json");
    std::fs::write(&path, "{\"auths\": {\"x\"").unwrap();
    let mut command = hull(&["context", "use", "default"]);
    let output = command.env("DOCKER_CONFIG", &directory).output().unwrap();
    let kept = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(kept, "{\"auths\": {\"x\"");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot change"));
}

#[test]
fn a_name_that_is_empty_never_means_all_things() {
    // What lists all of a kind is what an empty name would lead to.
    let daemon = Daemon::start(|_| Answer::json(200, "[]"));
    for (line, expected) in [
        ("rm @", "container name cannot be empty"),
        ("rm /", "container name cannot be empty"),
        ("stop @", "invalid container name or ID: value is empty"),
        ("logs @", "invalid container name or ID: value is empty"),
        ("exec @ ls", "invalid container name or ID: value is empty"),
        ("inspect @", "invalid container name or ID: value is empty"),
        (
            "network inspect @",
            "invalid network name or ID: value is empty",
        ),
        ("network rm @", "invalid network name or ID: value is empty"),
        (
            "network connect bridge @",
            "invalid container name or ID: value is empty",
        ),
        (
            "network disconnect bridge @",
            "invalid container name or ID: value is empty",
        ),
        ("volume rm @", "invalid volume name or ID: value is empty"),
        ("rmi @", "invalid image name or ID: value is empty"),
    ] {
        let words: Vec<&str> = line
            .split(' ')
            .map(|word| if word == "@" { "" } else { word })
            .collect();
        assert_told_once(&against(&daemon, &words), 1, expected);
    }
    assert!(
        daemon
            .requests()
            .iter()
            .all(|request| request.line.contains("/_ping"))
    );
}

#[test]
fn flags_given_twice_and_empty_names_are_handled() {
    let daemon = Daemon::start(|request| match request {
        "POST /containers/create" => Answer::json(201, r#"{"Id":"c1","Warnings":[]}"#),
        "POST /containers/c1/start" => Answer::json(204, ""),
        _ => Answer::json(404, r#"{"message":"page not found"}"#),
    });
    let output = against(
        &daemon,
        &["run", "-d", "--name", "one", "--name", "two", "busybox"],
    );
    assert_eq!(output.status.code(), Some(0));
    assert!(
        daemon
            .requests()
            .iter()
            .any(|request| request.line.ends_with("?name=two"))
    );
    assert_told_once(&against(&daemon, &["rename", "a", ""]), 1, "may be empty");
    assert_told_once(
        &against(&daemon, &["-H", "unix:///a", "-H", "unix:///b", "ps"]),
        1,
        "only one -H",
    );
}

#[test]
fn flags_that_no_page_lists_are_understood() {
    for line in [
        "image build --disable-content-trust",
        "service create --memory-swap 1g --memory-swappiness 1",
        "service update --memory-swap 1g --memory-swappiness 1",
        "stack --orchestrator swarm ls",
        "stack ls --orchestrator=swarm",
        "compose build --compress --force-rm --no-rm --parallel --progress plain",
        "compose --no-ansi --verbose --workdir / ps",
        "compose pull --parallel --no-parallel",
        "compose run -t",
        "compose publish --insecure-registry x",
    ] {
        let words: Vec<&str> = line.split(' ').chain(["--help"]).collect();
        let output = hull(&words).output().unwrap();
        assert!(output.status.success(), "{line}: {}", shown(&output));
    }
    let output = hull(&["compose", "-v"]).output().unwrap();
    assert!(
        shown(&output).contains("Compose version"),
        "{}",
        shown(&output)
    );
}

/// Services with all that bake has a word for.
const RICH: &str = "name: rich
services:
  a.b:
    build:
      context: https://example.com/x.git
      args: {A: '1', B:}
      additional_contexts: {base: 'service:c', o: /o}
      ulimits: {nproc: {soft: 1, hard: 2}}
      ssh: [default]
      provenance: mode=max
      platforms: [linux/amd64, linux/arm64]
      privileged: true
  c:
    image: c:1
    build: {context: /src, dockerfile: D, secrets: [s], extra_hosts: ['h:1.2.3.4']}
  d: {image: d}
secrets: {s: {file: /s}}
";

#[test]
fn what_compose_would_build_is_printed_for_bake() {
    let directory = std::env::temp_dir().join(format!("hull-bake-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("compose.yaml"), RICH).unwrap();
    let line = [
        "compose",
        "build",
        "--print",
        "--no-cache",
        "--build-arg",
        "Z=2",
    ];
    let output = hull(&line).current_dir(&directory).output().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let labels = |service: &str| {
        serde_json::json!({
            "com.docker.compose.project": "rich",
            "com.docker.compose.service": service,
            "com.docker.compose.version": "2.40.3",
        })
    };
    let expected = serde_json::json!({
        "group": {"default": {"targets": ["a_b", "c"]}},
        "target": {
            "a_b": {
                "context": "https://example.com/x.git",
                "dockerfile": "Dockerfile",
                "args": {"A": "1", "Z": "2"},
                "contexts": {"base": "target:c", "o": "/o"},
                "ulimits": ["nproc=1:2"],
                "ssh": ["default="],
                "attest": ["type=provenance,mode=max"],
                "platforms": ["linux/amd64", "linux/arm64"],
                "entitlements": ["security.insecure"],
                "tags": ["rich-a.b"],
                "no-cache": true,
                "labels": labels("a.b"),
                "output": ["type=image,push=false"],
            },
            "c": {
                "context": "/src",
                "dockerfile": "/src/D",
                "args": {"Z": "2"},
                "secret": ["id=s,type=file,src=/s"],
                "extra-hosts": {"h": "1.2.3.4"},
                "tags": ["c:1"],
                "no-cache": true,
                "labels": labels("c"),
                "output": ["type=docker"],
            },
        },
    });
    assert_eq!(printed, expected);
}

#[test]
fn a_descriptor_that_is_no_socket_is_named() {
    let output = hull(&["-H", "fd://0", "ps"]).output().unwrap();
    assert_told_once(&output, 1, "file descriptor 0 is not a socket");
    let output = hull(&["-H", "fd://500", "ps"]).output().unwrap();
    assert_told_once(&output, 1, "file descriptor 500 is not open");
}

#[test]
fn a_composed_name_is_one_that_a_daemon_takes() {
    let output = hull(&["run", "--compose", "--name", "a", "busybox"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(
        shown(&output).contains("Invalid container name (a)"),
        "{}",
        shown(&output)
    );
    let output = hull(&["run", "--compose", "--name", "ab", "busybox"])
        .output()
        .unwrap();
    assert!(
        shown(&output).contains("container_name: ab"),
        "{}",
        shown(&output)
    );
}

#[test]
fn a_missing_name_among_figures_is_told_alone() {
    let daemon = Daemon::start(|request| match request {
        "GET /containers/a/stats" => Answer::json(
            200,
            r#"{"id":"a","name":"/a","read":"2024-01-01T00:00:00Z"}"#,
        ),
        _ => Answer::json(404, r#"{"message":"No such container: b"}"#),
    });
    let output = against(&daemon, &["stats", "--no-stream", "a", "b"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_told_once(&output, 1, "No such container: b");
}

#[test]
fn a_port_is_asked_under_its_own_name() {
    use std::io::{BufRead as _, BufReader, Write as _};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("localhost:{}", listener.local_addr().unwrap().port());
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let head: Vec<String> = lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        let answer = b"HTTP/1.1 500 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(answer).unwrap();
        head
    });
    let host = format!("tcp://{place}");
    let output = hull(&["-H", &host, "ps"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    let head = serving.join().unwrap();
    let expected = format!("host: {place}");
    assert!(
        head.iter().any(|line| line.eq_ignore_ascii_case(&expected)),
        "{head:?}"
    );
}

#[test]
fn a_push_names_its_platform_as_an_object() {
    let daemon = Daemon::start(|line| match line {
        line if line.ends_with("/push") => Answer::json(200, r#"{"status":"done"}"#),
        _ => Answer::json(200, "{}"),
    });
    let line = ["push", "-q", "--platform", "linux/amd64", "registry.test/a"];
    let output = hull(&line)
        .env("DOCKER_HOST", daemon.host())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let requests = daemon.requests();
    let push = requests
        .iter()
        .find(|request| request.line.contains("/push"));
    let line = &push.unwrap().line;
    // {"architecture":"amd64","os":"linux"}
    let object = "platform=%7B%22architecture%22%3A%22amd64%22%2C%22os%22%3A%22linux%22%7D";
    assert!(line.contains(object), "{line}");
}
