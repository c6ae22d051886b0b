//! Daemons elsewhere: over TLS, through ssh, by a descriptor, by a context.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use hull_testkit::{Client, Daemon, Running, places, until};
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
        "#!/bin/sh\n[ \"$1\" != -G ] || exit 0\necho \"$*\" >> {log}\nwhile [ \"$1\" != -- ]; do shift; done; shift 2\nexport DOCKER_HOST={host}\nexec sh -c \"$*\"\n",
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

/// A real server for ssh in the daemon's own network, with keys, users and settings of its own.
fn serve_ssh(daemon: &Daemon) -> Running {
    let directory = daemon.path("ssh");
    let at = |name: &str| directory.join(name).display().to_string();
    fs::create_dir(&directory).expect("cannot make a directory");
    let programs = places::program("hull");
    let programs = programs.parent().expect("it lies somewhere").display();
    let server = format!(
        "Port 2222\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
         PermitRootLogin yes\nPasswordAuthentication no\nSetEnv PATH={programs}:/usr/bin:/bin DOCKER_HOST={}\n",
        at("host"),
        at("user.pub"),
        daemon.host(),
    );
    let client = format!(
        "Host far\n  HostName 127.0.0.1\n  Port 2222\n  User root\n  IdentityFile {}\n  StrictHostKeyChecking no\n  UserKnownHostsFile {}\n  LogLevel ERROR\n",
        at("user"),
        at("known"),
    );
    let script = format!(
        "set -e; cd {here}; for key in host user; do ssh-keygen -q -t ed25519 -N '' -f $key; done
        mount --make-rprivate /; mount -t tmpfs tmpfs /run; mkdir /run/sshd
        echo 'root:x:0:0::{here}:/bin/sh' > users; echo 'sshd:x:74:65534::/run/sshd:/bin/false' >> users
        mount --bind users /etc/passwd
        export LD_LIBRARY_PATH={libraries}
        exec {sshd} -D -e -f {here}/server",
        here = directory.display(),
        sshd = places::sshd().display(),
        libraries = places::sshd_libraries().display(),
    );
    fs::write(at("server"), server).expect("cannot write the server's settings");
    fs::write(at("client"), client).expect("cannot write the client's settings");
    // The system's ssh, with settings that are not the user's.
    let bin = daemon.path("bin");
    fs::create_dir(&bin).expect("cannot make a directory");
    let ssh = bin.join("ssh");
    let wrapper = format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", at("client"));
    fs::write(&ssh, wrapper).expect("cannot write the script");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("cannot make it a program");
    let mut command = daemon.namespace().command("unshare");
    let server = Running::spawn(command.args(["--mount", "sh", "-c", &script]));
    until("sshd listens", || {
        server.stderr().contains("Server listening")
    });
    server
}

#[test]
fn a_real_ssh_server_sees_one_connection_for_all_of_a_command() {
    let daemon = Daemon::start();
    daemon.load("busybox");
    let mut server = serve_ssh(&daemon);
    let path = format!(
        "{}:{}",
        daemon.path("bin").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    fs::create_dir_all(daemon.path("config")).expect("cannot make a directory");
    let far = |host: &str, words: &[&str]| {
        let variables = [
            ("DOCKER_HOST", host),
            ("PATH", path.as_str()),
            ("XDG_RUNTIME_DIR", ""),
        ];
        beside(&daemon, words, &variables)
    };
    let logins = || server.stderr().matches("Accepted publickey").count();
    // A terminal's worth of streams: requests, what the container prints, its end.
    let script = "echo far away; exit 5";
    let ran = far("ssh://far", &["run", "--rm", "busybox", "sh", "-c", script]);
    let (code, said) = (ran.status.code(), text(&ran.stdout));
    assert_eq!(
        (code, said.as_str()),
        (Some(5), "far away"),
        "{}",
        text(&ran.stderr)
    );
    let listed = far("ssh://far", &["images", "-q"]);
    assert_eq!(
        text(&listed.stdout).lines().count(),
        1,
        "{}",
        text(&listed.stderr)
    );
    assert_eq!(logins(), 1, "{}", server.stderr());
    // Who cannot be reached is told in one line after what ssh itself says.
    for (host, expected) in [
        (
            "ssh://root@127.0.0.1:2",
            "ssh ended before a daemon answered",
        ),
        ("ssh://far/nosuch.sock", "unix:///nosuch.sock"),
    ] {
        let lost = far(host, &["ps"]);
        let said = text(&lost.stderr);
        assert_eq!(lost.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{host}: {said}");
        assert!(said.matches("Connection refused").count() < 2, "{said}");
    }
    // Told to go, the shared connection leaves no process and no socket.
    let stop = ["-o", "ControlPath=CONTROL", "-O", "exit", "far"].map(|word| {
        word.replace(
            "CONTROL",
            &daemon.path("config/hull-ssh-%C").display().to_string(),
        )
    });
    let stopped = daemon
        .namespace()
        .command(daemon.path("bin/ssh"))
        .args(stop)
        .output();
    assert!(stopped.expect("cannot run ssh").status.success());
    until("the socket is gone", || {
        let mut left = fs::read_dir(daemon.path("config"))
            .expect("it is there")
            .flatten();
        !left.any(|entry| entry.file_name().to_string_lossy().starts_with("hull-ssh-"))
    });
    server.kill();
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

#[test]
fn counters_are_where_docker_has_them() {
    let daemon = Daemon::start_with(&["--metrics-addr", "127.0.0.1:9323"]);
    let page = || {
        let page = daemon.namespace().fetch("http://127.0.0.1:9323/metrics");
        page.expect("the counters are served")
    };
    let created = "engine_daemon_container_actions_seconds_count{action=\"create\"}";
    assert!(page().contains(&format!("{created} 0")), "{}", page());
    daemon.load("busybox");
    let made = beside(
        &daemon,
        &["--host", &daemon.host(), "create", "busybox", "true"],
        &[],
    );
    assert!(made.status.success(), "{}", text(&made.stderr));
    let page = page();
    for line in [
        &format!("{created} 1"),
        "engine_daemon_container_states_containers{state=\"stopped\"} 1",
        "engine_daemon_container_states_containers{state=\"running\"} 0",
        "# TYPE engine_daemon_engine_info gauge",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    daemon.finish();
}
