//! What goes over the wire, byte by byte: heads, hijacked connections, flushes, refusals.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
};

use hull_testkit::{Daemon, until};
use serde_json::{Value, json};

/// A daemon with an image and a container named `box` of this configuration.
fn daemon_with(config: &Value) -> Daemon {
    let daemon = Daemon::start();
    daemon.load("busybox");
    let made = daemon.api("POST", "/containers/create?name=box", config);
    assert_eq!(made.status, 201, "{}", made.text());
    daemon
}

fn start(daemon: &Daemon) {
    let started = daemon.api("POST", "/containers/box/start", &Value::Null);
    assert_eq!(started.status, 204, "{}", started.text());
}

/// Sends a request as it stands and reads the answer's head.
fn head(daemon: &Daemon, request: &str) -> (String, UnixStream) {
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream
        .set_read_timeout(Some(hull_testkit::wait::PATIENCE))
        .unwrap();
    stream
        .write_all(request.replace('\n', "\r\n").as_bytes())
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(
            stream.read(&mut byte).unwrap(),
            1,
            "{}",
            String::from_utf8_lossy(&head)
        );
        head.push(byte[0]);
    }
    (String::from_utf8(head).unwrap(), stream)
}

fn rest(mut stream: UnixStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest
}

/// Echoes its input, then says goodbye on the other stream.
fn echo() -> Value {
    let script = "cat; echo bye >&2";
    json!({"Image": "busybox", "Cmd": ["sh", "-c", script], "OpenStdin": true, "StdinOnce": true,
           "AttachStdin": true})
}

#[test]
fn every_answer_has_dockers_headers() {
    let daemon = Daemon::start();
    for (path, status) in [
        ("/_ping", 200),
        ("/nosuch", 404),
        ("/v9.9/info", 400),
        ("/containers/none/json", 404),
    ] {
        let answer = daemon.api("GET", path, &Value::Null);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("api-version"), Some("1.55"), "{path}");
        assert_eq!(answer.header("ostype"), Some("linux"), "{path}");
        assert_eq!(
            answer.header("docker-experimental"),
            Some("false"),
            "{path}"
        );
        assert!(
            answer.header("server").unwrap().starts_with("Docker/"),
            "{path}"
        );
        if status != 200 {
            assert_eq!(
                answer.header("content-type"),
                Some("application/json"),
                "{path}"
            );
            assert!(!answer.message().is_empty(), "{path}");
        }
    }
    let (head, _) = head(&daemon, "HEAD /_ping HTTP/1.1\nHost: x\n\n");
    assert!(head.contains("\r\nApi-Version: 1.55\r\n"), "{head}");
    daemon.finish();
}

#[test]
fn an_attach_that_asks_for_an_upgrade_gets_frames_and_may_close_its_half() {
    let daemon = daemon_with(&echo());
    let (head, mut stream) = head(
        &daemon,
        "POST /v1.44/containers/box/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\nHost: x\n\
         Connection: Upgrade\nUpgrade: tcp\n\n",
    );
    assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{head}");
    for line in [
        "Content-Type: application/vnd.docker.multiplexed-stream",
        "Connection: Upgrade",
        "Upgrade: tcp",
        "Api-Version: 1.55",
    ] {
        assert!(
            head.contains(&format!("\r\n{line}\r\n")),
            "{line} in {head}"
        );
    }
    start(&daemon);
    stream.write_all(b"hello\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(
        rest(stream),
        b"\x01\0\0\0\0\0\0\x06hello\n\x02\0\0\0\0\0\0\x04bye\n"
    );
    daemon.finish();
}

#[test]
fn an_attach_without_an_upgrade_gets_the_bare_connection() {
    let daemon = daemon_with(&echo());
    // The input comes right behind the head, as some clients send it.
    let (head, stream) = head(
        &daemon,
        "POST /v1.44/containers/box/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\nHost: x\n\nearly\n",
    );
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains("Content-Type: application/vnd.docker.raw-stream"),
        "{head}"
    );
    let lower = head.to_ascii_lowercase();
    assert!(
        !lower.contains("content-length") && !lower.contains("transfer-encoding"),
        "{head}"
    );
    start(&daemon);
    stream.shutdown(Shutdown::Write).unwrap();
    let got = rest(stream);
    assert_eq!(got[8..], *b"early\r\n", "{got:?}");
    daemon.finish();
}

#[test]
fn a_wait_confirms_itself_before_anything_ends() {
    let daemon = daemon_with(&json!({"Image": "busybox", "Cmd": ["sh", "-c", "exit 7"]}));
    let request =
        "POST /containers/box/wait?condition=next-exit HTTP/1.1\nHost: x\nConnection: close\n\n";
    let (head, stream) = head(&daemon, request);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    start(&daemon);
    let body = String::from_utf8(rest(stream)).unwrap();
    assert!(body.contains("{\"StatusCode\":7}"), "{body}");
    daemon.finish();
}

#[test]
fn an_exec_that_cannot_run_says_so_in_its_stream() {
    let daemon = daemon_with(&json!({"Image": "busybox", "Cmd": ["sleep", "1000"]}));
    start(&daemon);
    let body = json!({"AttachStdout": true, "Cmd": ["nosuch"]});
    let made = daemon.api("POST", "/containers/box/exec", &body);
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["Id"].as_str().unwrap().to_owned();
    let (head, stream) = head(
        &daemon,
        &format!(
            "POST /exec/{id}/start HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: tcp\n\
             Content-Type: application/json\nContent-Length: 2\n\n{{}}"
        ),
    );
    assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{head}");
    let got = String::from_utf8_lossy(&rest(stream)).into_owned();
    assert!(got.contains("executable file not found"), "{got}");
    let after = daemon
        .api("GET", &format!("/exec/{id}/json"), &Value::Null)
        .json();
    assert_eq!(
        (&after["ExitCode"], &after["Running"]),
        (&json!(127), &json!(false))
    );
    daemon.finish();
}

#[test]
fn no_output_comes_along_with_a_head() {
    let daemon = daemon_with(&json!({"Image": "busybox", "Cmd": ["sleep", "1000"]}));
    start(&daemon);
    for _ in 0..20 {
        let body = json!({"AttachStdout": true, "Cmd": ["echo", "quick"]});
        let made = daemon.api("POST", "/containers/box/exec", &body).json();
        let id = made["Id"].as_str().unwrap();
        let request = format!(
            "POST /exec/{id}/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        // One read as large as a client's buffer, which it may throw away.
        let mut buffer = [0; 8192];
        let read = stream.read(&mut buffer).unwrap();
        assert!(
            buffer[..read].ends_with(b"\r\n\r\n"),
            "output beside the head"
        );
        assert_eq!(rest(stream), b"\x01\0\0\0\0\0\0\x06quick\n");
    }
    daemon.finish();
}

#[test]
fn a_client_gets_the_frames_that_it_says_it_reads() {
    let daemon = daemon_with(&json!({"Image": "busybox", "Cmd": ["sleep", "1000"]}));
    start(&daemon);
    for (has_terminal, expects_one, output) in [
        (true, false, &b"\x01\0\0\0\0\0\0\x04hi\r\n"[..]),
        (false, true, b"hi\n"),
        (true, true, b"hi\r\n"),
    ] {
        let body = json!({"AttachStdout": true, "Tty": has_terminal, "Cmd": ["echo", "hi"]});
        let made = daemon.api("POST", "/containers/box/exec", &body).json();
        let id = made["Id"].as_str().unwrap();
        let body = json!({"Tty": expects_one}).to_string();
        let (_, stream) = head(
            &daemon,
            &format!(
                "POST /exec/{id}/start HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: tcp\n\
                 Content-Type: application/json\nContent-Length: {}\n\n{body}",
                body.len()
            ),
        );
        assert_eq!(rest(stream), output);
    }
    daemon.finish();
}

#[test]
fn a_browser_attaches_through_a_websocket() {
    let daemon = daemon_with(&echo());
    let (head, mut stream) = head(
        &daemon,
        "GET /containers/box/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\nHost: x\n\
         Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n",
    );
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{head}"
    );
    assert!(
        head.contains("Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "{head}"
    );
    start(&daemon);
    // "Hi\n" in a masked text frame whose mask is zero.
    stream.write_all(b"\x81\x83\0\0\0\0Hi\n").unwrap();
    // It comes back in frames of the websocket's alone.
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"\x82\x03Hi\n");
    // A close frame ends the container's input, and with it the container.
    stream.write_all(b"\x88\x80\0\0\0\0").unwrap();
    let end = rest(stream);
    assert!(end.ends_with(b"\x88\x02\x03\xe8"), "{end:?}");
    daemon.finish();
}

#[test]
fn a_terminal_is_never_framed() {
    let daemon = daemon_with(&json!({"Image": "busybox", "Cmd": ["echo", "hi"], "Tty": true}));
    let (head, stream) = head(
        &daemon,
        "POST /containers/box/attach?stream=1&stdout=1 HTTP/1.1\nHost: x\nConnection: Upgrade\n\
         Upgrade: tcp\n\n",
    );
    assert!(head.contains("application/vnd.docker.raw-stream"), "{head}");
    start(&daemon);
    assert_eq!(rest(stream), b"hi\r\n");
    daemon.finish();
}

#[test]
fn bodies_that_are_not_what_they_should_be_are_refused() {
    let daemon = Daemon::start();
    let posted = |kind: &str, body: &[u8]| {
        let answer = daemon
            .request("POST", "/containers/create", Some((kind, body)))
            .unwrap();
        (answer.status, answer.message())
    };
    let json = "application/json";
    for (kind, body, words) in [
        (
            "text/plain",
            "{}",
            "unsupported Content-Type header (text/plain): must be 'application/json'",
        ),
        (
            json,
            "",
            "config cannot be empty in order to create a container",
        ),
        (json, "{} {}", "unexpected content after JSON"),
        (json, "{", "invalid JSON: "),
        (json, r#"{"Tty":"yes"}"#, "invalid JSON: "),
        (
            json,
            r#"{"Image":"x","HostConfig":{"Binds":["a:b:c:d"]}}"#,
            "invalid volume specification",
        ),
    ] {
        let (status, message) = posted(kind, body.as_bytes());
        assert_eq!(status, 400, "{body}: {message}");
        assert!(message.contains(words), "{body}: {message}");
    }
    let huge = vec![b' '; (16 << 20) + 1];
    assert_eq!(posted(json, &huge).0, 413);
    assert_eq!(
        posted("application/json; charset=utf-8", br#"{"Image":"none:1"}"#).0,
        404
    );
    daemon.finish();
}

#[test]
fn a_client_that_leaves_does_not_stop_an_operation() {
    let script = "trap '' TERM; while :; do sleep 1; done";
    let daemon = daemon_with(&json!({"Image": "busybox", "Cmd": ["sh", "-c", script]}));
    start(&daemon);
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream
        .write_all(b"POST /containers/box/stop?t=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    drop(stream);
    until("the container is stopped all the same", || {
        let state = daemon
            .api("GET", "/containers/box/json", &Value::Null)
            .json();
        state["State"]["Status"] == "exited"
    });
    daemon.finish();
}

#[test]
fn a_reload_takes_what_may_change_and_is_told() {
    let daemon = Daemon::start();
    let labels = || daemon.api("GET", "/info", &Value::Null).json()["Labels"].clone();
    let file = daemon.path("daemon.json");
    std::fs::write(&file, r#"{"labels":["tier=one"],"debug":true}"#).unwrap();
    signal(daemon.pid(), "HUP");
    until("the labels are new", || labels() == json!(["tier=one"]));
    std::fs::write(&file, r#"{"colour":"red"}"#).unwrap();
    signal(daemon.pid(), "HUP");
    until("a wrong file is told of", || {
        daemon.log().contains("colour")
    });
    assert_eq!(labels(), json!(["tier=one"]));
    let filters = "%7B%22type%22%3A%5B%22daemon%22%5D%7D";
    let path = format!("/events?since=1&until=5000000000&filters={filters}");
    let (_, mut stream) = head(&daemon, &format!("GET {path} HTTP/1.1\nHost: x\n\n"));
    let mut event = [0; 600];
    let read = stream.read(&mut event).unwrap();
    let event = String::from_utf8_lossy(&event[..read]).into_owned();
    assert!(
        event.contains("\"Action\":\"reload\"") && event.contains("tier=one"),
        "{event}"
    );
    signal(daemon.pid(), "USR1");
    until("the state is written down", || {
        let names = std::fs::read_dir(daemon.path("run")).unwrap();
        names.flatten().any(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("hulld-state-")
        })
    });
    daemon.finish();
}

#[test]
fn an_open_port_without_certificates_is_refused() {
    let daemon = Daemon::prepare(&["--host", "tcp://0.0.0.0:2375"]);
    let output = daemon.command().output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        complaint.contains("refusing to listen on 0.0.0.0:2375 without TLS"),
        "{complaint}"
    );

    let daemon = Daemon::start_with(&["--host", "tcp://127.0.0.1:2375"]);
    assert!(
        daemon
            .log()
            .contains("every user of this host can control the daemon")
    );
    let reached = docker(&daemon, &["-H", "tcp://127.0.0.1:2375", "version"]);
    assert!(reached.status.success(), "{reached:?}");
    daemon.finish();
}

#[test]
fn certificates_are_asked_of_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let at = |name: &str| directory.path().join(name).display().to_string();
    let (ca, certificate, key) = (at("ca.pem"), at("cert.pem"), at("key.pem"));
    let daemon = Daemon::start_with(&[
        "--host",
        "tcp://0.0.0.0:2376",
        "--tlsverify",
        "--tlscacert",
        &ca,
        "--tlscert",
        &certificate,
        "--tlskey",
        &key,
    ]);
    let host = [
        "-H",
        "tcp://127.0.0.1:2376",
        "--tlsverify",
        "--tlscacert",
        &ca,
    ];
    let with = [
        &host[..],
        &["--tlscert", &certificate, "--tlskey", &key, "version"],
    ]
    .concat();
    let reached = docker(&daemon, &with);
    assert!(reached.status.success(), "{reached:?}");
    let without = ["-H", "tcp://127.0.0.1:2376", "--tls", "version"];
    assert!(!docker(&daemon, &without).status.success());
    daemon.finish();
}

#[test]
fn the_sockets_mode_keeps_others_out() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start();
    let mode = std::fs::metadata(daemon.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    daemon.finish();
}

#[test]
fn a_configuration_can_be_checked_without_a_start() {
    let daemon = Daemon::prepare(&["--validate"]);
    let good = daemon.command().output().unwrap();
    assert_eq!(String::from_utf8_lossy(&good.stdout), "configuration OK\n");
    std::fs::write(daemon.path("daemon.json"), r#"{"colour":"red"}"#).unwrap();
    let bad = daemon.command().output().unwrap();
    assert_eq!(bad.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(
        complaint.contains("the following directives don't match any configuration option: colour"),
        "{complaint}"
    );
    assert!(!daemon.path("data").exists());
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Docker's client inside the daemon's namespace.
fn docker(daemon: &Daemon, words: &[&str]) -> std::process::Output {
    let mut command = daemon.namespace().command("docker");
    command
        .args(words)
        .env("HOME", daemon.directory())
        .stdin(Stdio::null());
    command.output().unwrap()
}

/// An authority, and one certificate of it that serves both sides.
fn certificates(directory: &Path) {
    std::fs::write(
        directory.join("extensions"),
        "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n",
    )
    .unwrap();
    for arguments in [
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca-key.pem -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=hull -keyout key.pem -out request.pem",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 \
         -extfile extensions -out cert.pem",
    ] {
        let mut command = Command::new("openssl");
        command
            .args(arguments.split_whitespace())
            .current_dir(directory);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
