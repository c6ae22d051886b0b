//! Daemons elsewhere: over TLS, through ssh, by a descriptor, by a context.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use hull_testkit::{Client, Daemon, places};
use tempfile::TempDir;

/// A port nobody else in the daemon's own namespace has.
const PORT: &str = "2376";

/// An authority, a server it vouches for at 127.0.0.1, and a client.
fn keys(directory: &Path) {
    let script = "set -e
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -days 2 -subj /CN=authority \\
            -addext basicConstraints=critical,CA:TRUE
        sign() {
            openssl req -newkey rsa:2048 -nodes -keyout $1-key.pem -out $1.csr -subj /CN=$1
            printf \"$2\" > ext
            openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -out $1-cert.pem -days 2 -extfile ext
        }
        sign server 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth'
        sign client 'extendedKeyUsage=clientAuth'
        cp client-cert.pem cert.pem; cp client-key.pem key.pem";
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(directory)
        .output();
    let made = made.expect("cannot run a shell");
    assert!(made.status.success(), "{}", text(&made.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

/// `hull`, run where the daemon's ports are.
fn beside(daemon: &Daemon, words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = daemon.namespace().command(places::program("hull"));
    command
        .args(words)
        .env_remove("DOCKER_HOST")
        .env("DOCKER_CONFIG", daemon.path("config"))
        .envs(variables.iter().copied());
    command.output().expect("cannot run hull")
}

#[test]
fn tls_asks_both_sides_who_they_are() {
    let directory = TempDir::new().expect("cannot make a directory");
    keys(directory.path());
    let at = |name: &str| directory.path().join(name).display().to_string();
    let address = format!("tcp://127.0.0.1:{PORT}");
    let (ca, cert, key) = (at("ca.pem"), at("server-cert.pem"), at("server-key.pem"));
    let daemon = Daemon::start_with(&[
        "--host",
        &address,
        "--tlsverify",
        "--tlscacert",
        &ca,
        "--tlscert",
        &cert,
        "--tlskey",
        &key,
    ]);
    let here = directory.path().display().to_string();
    let with_keys = [
        ("DOCKER_HOST", address.as_str()),
        ("DOCKER_CERT_PATH", here.as_str()),
        ("DOCKER_TLS_VERIFY", "1"),
    ];
    let listed = beside(&daemon, &["network", "ls", "-q"], &with_keys);
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    assert_eq!(text(&listed.stdout).lines().count(), 3);
    // Without a key of its own the client is turned away, and a plain connection is not understood.
    let alone = beside(
        &daemon,
        &["--tlsverify", "--tlscacert", &ca, "-H", &address, "ps"],
        &[],
    );
    assert_eq!(alone.status.code(), Some(1), "{}", text(&alone.stderr));
    let plain = beside(&daemon, &["-H", &address, "ps"], &[]);
    assert_eq!(plain.status.code(), Some(1), "{}", text(&plain.stderr));
    // The keys can live in a context.
    let place = format!(
        "host={address},ca={ca},cert={},key={}",
        at("cert.pem"),
        at("key.pem")
    );
    let made = beside(
        &daemon,
        &["context", "create", "far", "--docker", &place],
        &[],
    );
    assert!(made.status.success(), "{}", text(&made.stderr));
    let listed = beside(&daemon, &["-c", "far", "network", "ls", "-q"], &[]);
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    daemon.finish();
}

/// A program named `ssh` that logs what it is asked, and runs the far end's words here.
fn pretend_ssh(daemon: &Daemon) {
    let directory = daemon.path("bin");
    fs::create_dir(&directory).expect("cannot make a directory");
    let script = format!(
        "#!/bin/sh\necho \"$*\" >> {log}\nwhile [ \"$1\" != -- ]; do shift; done; shift 2\nexport DOCKER_HOST={host}\nexec sh -c \"$*\"\n",
        log = daemon.path("ssh.log").display(),
        host = daemon.host(),
    );
    let ssh = directory.join("ssh");
    fs::write(&ssh, script).expect("cannot write the script");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("cannot make it a program");
    std::os::unix::fs::symlink(places::program("hull"), directory.join("hull"))
        .expect("cannot link");
}

#[test]
fn ssh_serves_a_whole_command_by_one_connection() {
    let daemon = Daemon::start();
    daemon.load("busybox");
    pretend_ssh(&daemon);
    let path = format!(
        "{}:{}",
        daemon.path("bin").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let far = |words: &[&str]| {
        let mut command = Client::Hull.command(&daemon, words);
        command
            .env("DOCKER_HOST", "ssh://me@far:2222")
            .env("PATH", &path);
        command.output().expect("cannot run hull")
    };
    let log = || fs::read_to_string(daemon.path("ssh.log")).unwrap_or_default();
    let listed = far(&["images", "-q"]);
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    assert_eq!(log().lines().count(), 1, "{}", log());
    assert!(log().contains("-p 2222 -- me@far"), "{}", log());
    let ran = far(&[
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "echo far away; exit 5",
    ]);
    assert_eq!(
        (ran.status.code(), text(&ran.stdout).as_str()),
        (Some(5), "far away"),
        "{}",
        text(&ran.stderr)
    );
    let refused = {
        let mut command = Client::Hull.command(&daemon, &["ps"]);
        command
            .env("DOCKER_HOST", "ssh://-oProxyCommand=x")
            .env("PATH", &path);
        command.output().expect("cannot run hull")
    };
    assert_eq!(refused.status.code(), Some(1));
    daemon.finish();
}

#[test]
fn a_connection_that_was_handed_over_is_used() {
    let daemon = Daemon::start();
    let script = format!(
        "import os, socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect({:?})\nos.dup2(s.fileno(), 9)\nos.environ['DOCKER_HOST'] = 'fd://9'\nos.execv(sys.argv[1], sys.argv[1:])",
        daemon.socket().display().to_string()
    );
    let hull = places::program("hull");
    let listed = Command::new("python3")
        .args(["-c", &script])
        .arg(hull)
        .args(["network", "ls", "-q"])
        .env("DOCKER_CONFIG", daemon.path("config"))
        .output()
        .expect("cannot run python3");
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    assert_eq!(text(&listed.stdout).lines().count(), 3);
    daemon.finish();
}
