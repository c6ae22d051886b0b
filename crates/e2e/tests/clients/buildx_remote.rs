//! `docker buildx` with what is elsewhere: registries that want a login, caches, repositories, an ssh
//! agent; and what is stated about an image.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use hull_testkit::process::Ends;
use hull_testkit::registry::ADDRESS;
use hull_testkit::{ASK_AGENT, Client, Daemon, Registry, SshAgent, until, words};

use crate::buildx::{Builder, builds};

/// The user `me` with the password `secret`.
const USERS: &str = "me:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// A registry with users, where `box` is the image busybox.
fn guarded(builder: &Builder<'_>) -> Registry {
    let users = builder.scene.daemon.path("users");
    fs::write(&users, USERS).unwrap();
    let options = ["--htpasswd", &users.display().to_string()];
    let registry = Registry::start_with(&builder.scene.daemon, &options);
    builder
        .scene
        .ok(&format!("login -u me -p secret {ADDRESS}"));
    builder.scene.ok(&format!("tag busybox {ADDRESS}/box"));
    builder.scene.ok(&format!("push {ADDRESS}/box"));
    builder.scene.ok(&format!("rmi {ADDRESS}/box"));
    registry
}

builds!(bases_and_results_travel_as_the_client_who_logged_in(builder) {
    let _registry = guarded(builder);
    builder.write("Dockerfile", &format!("FROM {ADDRESS}/box\nRUN echo made > /word\n"));
    builder.ok(&format!("buildx build --push -t {ADDRESS}/made ."));
    builder.scene.ok(&format!("rmi {ADDRESS}/made"));
    assert_eq!(builder.prints(&format!("{ADDRESS}/made"), "cat /word"), "made");
    builder.scene.ok(&format!("logout {ADDRESS}"));
    let _ = builder.scene.run(&format!("rmi -f {ADDRESS}/box"));
    let failed = builder.fails("build --pull .");
    assert!(failed.contains("denied") || failed.contains("unauthorized"), "{failed}");
});

builds!(a_push_by_digest_leaves_names_alone(builder) {
    let _registry = Registry::start(&builder.scene.daemon);
    let name = format!("{ADDRESS}/app");
    builder.write("Dockerfile", "FROM busybox\nRUN echo old > /word\n");
    builder.ok(&format!("buildx build --push -t {name} ."));
    builder.write("Dockerfile", "FROM busybox\nRUN echo new > /word\n");
    // The client allows it to builders that are no Docker's.
    let socket = builder.scene.daemon.socket().display().to_string();
    builder.ok(&format!("buildx create --name there --driver remote unix://{socket} --use"));
    builder.ok(&format!(
        "buildx build --output type=image,name={name},push-by-digest=true,name-canonical=true,push=true \
         --metadata-file metadata.json ."
    ));
    let told = builder.read("metadata.json");
    let digest = &told[told.find("\"containerimage.digest\": \"").unwrap() + 26..][..71];
    assert_eq!(builder.prints(&name, "cat /word"), "old");
    let by_digest = format!("{name}@{digest}");
    builder.scene.ok(&format!("rmi {name}"));
    builder.scene.ok(&format!("rmi {by_digest}"));
    assert_eq!(builder.prints(&by_digest, "cat /word"), "new");
    assert_eq!(builder.prints(&name, "cat /word"), "old");
    let failed = builder.fails(&format!(
        "buildx build --output type=image,name={name}:1,push-by-digest=true,push=true ."
    ));
    assert!(failed.contains("by digest"), "{failed}");
});

/// A daemon with an empty cache beside the scene's.
fn neighbour(builder: &Builder<'_>) -> Daemon {
    let mut other = Daemon::prepare_in(
        builder.scene.daemon.namespace().neighbour(),
        &["--insecure-registry", "10.99.0.1:5000"],
    );
    other.launch();
    other.load("busybox");
    other
}

/// What a build there says. Nothing of it stays.
#[track_caller]
fn elsewhere(builder: &Builder<'_>, other: &Daemon, line: &str) -> String {
    let mut command = Client::Docker.command(other, &words::split(line));
    command
        .current_dir(&builder.directory)
        .env("DOCKER_CONFIG", builder.scene.daemon.path("config"))
        .env("BUILDKIT_PROGRESS", "plain");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {text}\n{}", other.log());
    Client::Docker.run(other, &["rmi", "-f", "made"]);
    Client::Docker.run(other, &["builder", "prune", "--all", "--force"]);
    text
}

const STAGES: &str = "FROM busybox AS make\nRUN cat /proc/sys/kernel/random/uuid > /id\n\
                      FROM busybox\nWORKDIR /app\nCOPY a.txt .\nCOPY --from=make /id .\nRUN echo x > y\n";

builds!(a_daemon_with_an_empty_cache_does_nothing_again(builder) {
    let _registry = Registry::start(&builder.scene.daemon);
    builder.write("Dockerfile", STAGES);
    builder.write("a.txt", "one");
    builder.write(".dockerignore", "cache\n");
    builder.ok(&format!(
        "buildx build -t made --cache-to type=local,dest=cache,mode=max \
         --cache-to type=registry,ref={ADDRESS}/cache,mode=max ."
    ));
    let other = neighbour(builder);
    for from in ["type=local,src=cache", "type=registry,ref=10.99.0.1:5000/cache"] {
        let said = elsewhere(builder, &other, &format!("buildx build -t made --cache-from {from} ."));
        assert_eq!(said.matches("CACHED").count(), 6, "{from}: {said}\n{}", other.log());
    }
    // An image that tells of its own steps.
    builder.write("Dockerfile", "FROM busybox\nCOPY a.txt /\nRUN cat /proc/sys/kernel/random/uuid > /id\n");
    builder.ok(&format!("buildx build --push -t {ADDRESS}/inline --cache-to type=inline ."));
    let from = "type=registry,ref=10.99.0.1:5000/inline";
    let said = elsewhere(builder, &other, &format!("buildx build -t made --cache-from {from} ."));
    assert_eq!(said.matches("CACHED").count(), 3, "{said}");
    other.finish();
});

builds!(a_cache_of_a_kind_that_there_is_not_is_refused_by_name(builder) {
    builder.write("Dockerfile", "FROM busybox\nRUN true\n");
    let failed = builder.fails("buildx build --cache-to type=azblob,name=x .");
    assert!(failed.contains("azblob"), "{failed}");
    let failed = builder.fails("buildx build --cache-from type=azblob,name=x .");
    assert!(failed.contains("azblob"), "{failed}");
});

builds!(an_ssh_agent_is_forwarded(builder) {
    builder.scene.daemon.load("debian");
    let agent = SshAgent::start(&builder.scene.daemon);
    let key = builder.scene.daemon.path("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    let added = Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", agent.socket()).status();
    assert!(added.unwrap().success());
    builder.write("Dockerfile", &format!("FROM debian\nRUN --mount=type=ssh {ASK_AGENT}\n"));
    builder.ok(&format!("buildx build -t made --ssh default={} .", agent.socket().display()));
    assert_eq!(builder.prints("made", "cat /answer"), "12 1");
});

builds!(statements_about_an_image_are_found_beside_it(builder) {
    builder.scene.daemon.load("debian");
    let _registry = Registry::start(&builder.scene.daemon);
    builder.write("Dockerfile", "FROM debian\nARG WORD\nRUN echo $WORD > /word\n");
    builder.ok(&format!(
        "buildx build --push -t {ADDRESS}/made --provenance mode=max --sbom true --build-arg WORD=told ."
    ));
    let inspect = |template: &str| {
        let line = format!("buildx imagetools inspect {ADDRESS}/made --format");
        let inner = Client::Docker.command(&builder.scene.daemon, &words::split(&line));
        let mut command = builder.scene.daemon.namespace().command(inner.get_program());
        command.args(inner.get_args()).arg(template);
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let provenance = inspect("{{json .Provenance}}");
    assert!(provenance.contains("build-arg:WORD") && provenance.contains("pkg:docker/debian"), "{provenance}");
    let sbom = inspect("{{json .SBOM}}");
    assert!(sbom.contains("SPDX-2.3") && sbom.contains("pkg:deb/debian/bash@"), "{sbom}");
    assert_eq!(builder.prints(&format!("{ADDRESS}/made"), "cat /word"), "told");
    let failed = builder.fails("buildx build --sbom generator=some/scanner .");
    assert!(failed.contains("some/scanner"), "{failed}");
});

builds!(files_of_several_platforms_lie_in_directories(builder) {
    builder.write("Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH.txt /a.txt\n");
    builder.write("amd64.txt", "amd64");
    builder.write("arm64.txt", "arm64");
    let platforms = "--platform linux/amd64,linux/arm64";
    builder.ok(&format!("buildx build {platforms} --output type=local,dest=out ."));
    for name in ["amd64", "arm64"] {
        assert_eq!(builder.read(format!("out/linux_{name}/a.txt")), name);
    }
    builder.ok(&format!("buildx build {platforms} --output type=tar,dest=out.tar ."));
    let listed = Command::new("tar").arg("-tf").arg(builder.directory.join("out.tar")).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    assert!(listed.contains("linux_arm64/a.txt"), "{listed}");
    builder.ok(&format!("buildx build {platforms} --output type=oci,dest=oci.tar ."));
    let listed = Command::new("tar").arg("-xOf").arg(builder.directory.join("oci.tar")).arg("index.json").output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    assert!(listed.contains("image.index"), "{listed}");
});

/// A repository with a tag, a branch and a directory, served in the daemon's namespace.
fn repository(daemon: &Daemon, at: &Path) -> Ends {
    let script = "set -e; git init -q -b main app; cd app; git config user.email a@b; git config user.name a; \
        mkdir sub; echo one > a.txt; echo deep > sub/b.txt; printf 'FROM busybox\\nCOPY . /src/\\n' > Dockerfile; \
        cp Dockerfile sub/; git add .; git commit -qm one; git tag v1; echo two > a.txt; git commit -qam two";
    fs::create_dir_all(at).unwrap();
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(at)
        .env("HOME", at)
        .status();
    assert!(made.unwrap().success());
    // Without `git` between: what is ended is the server itself.
    let mut server = daemon.namespace().command("sh");
    server.args([
        "-c",
        "exec \"$(git --exec-path)/git-daemon\" \"$@\"",
        "git-daemon",
        "--export-all",
        "--reuseaddr",
        "--listen=127.0.0.1",
    ]);
    server.arg(format!("--base-path={}", at.display())).arg(at);
    let server = Ends(
        server
            .env("HOME", at)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    until("the repository is served", || {
        let mut look = daemon.namespace().command("git");
        look.args(["ls-remote", "git://127.0.0.1/app"])
            .stderr(Stdio::null());
        look.output().is_ok_and(|output| output.status.success())
    });
    server
}

builds!(repositories_are_added_and_built(builder) {
    let at = builder.scene.daemon.path("repositories");
    let _server = repository(&builder.scene.daemon, &at);
    builder.write("Dockerfile", "FROM busybox\nADD git://127.0.0.1/app#v1 /v1/\nADD git://127.0.0.1/app#main:sub /sub/\n\
                                 ADD --keep-git-dir=true git://127.0.0.1/app /kept/\n");
    builder.ok("build -t made .");
    assert_eq!(builder.prints("made", "cat /v1/a.txt /sub/b.txt /kept/a.txt"), "one\ndeep\ntwo");
    assert_eq!(builder.prints("made", "find /v1 /kept -maxdepth 1 -name .git"), "/kept/.git");
    assert!(builder.ok("build -t made .").matches("CACHED").count() >= 3);
    builder.ok("build -t remote git://127.0.0.1/app#v1:sub");
    assert_eq!(builder.prints("remote", "cat /src/b.txt"), "deep");
    builder.write("Dockerfile", "FROM busybox\nADD git://127.0.0.1/app#nowhere /x/\n");
    let failed = builder.fails("build .");
    assert!(failed.contains("nowhere") && failed.contains("   2 | >>> ADD"), "{failed}");
});

builds!(archives_and_simple_servers_are_contexts(builder) {
    let daemon = &builder.scene.daemon;
    let at = daemon.path("served");
    let _repositories = repository(daemon, &at);
    // A server that knows nothing of git, which cannot give a part of a history either.
    let script = "set -e; git clone -q --bare app app.git; git -C app.git update-server-info; \
                  tar -C app --exclude=.git -czf context.tar.gz .; cp app/Dockerfile Alone; echo RUN true >> Alone";
    let made = Command::new("sh").args(["-c", script]).current_dir(&at).env("HOME", &at).status();
    assert!(made.unwrap().success());
    let mut server = daemon.namespace().command(hull_testkit::places::busybox());
    server.args(["httpd", "-f", "-p", "127.0.0.1:8000", "-h"]).arg(&at);
    let _server = Ends(server.spawn().unwrap());
    until("it serves", || daemon.namespace().fetch("http://127.0.0.1:8000/Alone").is_some());
    builder.ok("build -t packed http://127.0.0.1:8000/context.tar.gz");
    assert_eq!(builder.prints("packed", "cat /src/a.txt"), "two");
    builder.ok("build -t cloned http://127.0.0.1:8000/app.git#v1");
    assert_eq!(builder.prints("cloned", "cat /src/a.txt"), "one");
    let failed = builder.fails("build http://127.0.0.1:8000/nothing.tar.gz");
    assert!(failed.contains("404"), "{failed}");
});

/// What only a recent client can ask.
#[test]
fn what_was_built_is_told_after_a_restart() {
    Builder::play("recent", |builder| {
        builder.write("Dockerfile", "FROM busybox\nRUN echo remembered-words\n");
        builder.ok("build -t made .");
        builder.scene.daemon.stop();
        builder.scene.daemon.launch();
        let history = builder.ok("buildx history ls");
        assert!(history.contains("Completed"), "{history}");
        let logs = builder.ok("buildx history logs --progress plain");
        assert!(logs.contains("remembered-words"), "{logs}");
    });
}

#[test]
fn a_connection_may_be_http_2_from_its_first_byte_on() {
    let daemon = Daemon::start();
    let mut connection = UnixStream::connect(daemon.socket()).unwrap();
    connection
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut head = [0; 9];
    connection.read_exact(&mut head).unwrap();
    assert_eq!(head[3], 4, "the first frame tells settings: {head:?}");
    // One that begins alike and is another's is an ordinary request.
    let mut connection = UnixStream::connect(daemon.socket()).unwrap();
    connection.write_all(b"P").unwrap();
    connection
        .write_all(b"UT /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    drop(connection);
    daemon.finish();
}
