//! Builds with what is elsewhere: registries that want a login, caches, an ssh agent; and what is
//! stated about an image.

use std::fs;
use std::path::{Path, PathBuf};

use hull_testkit::registry::ADDRESS;
use hull_testkit::{ASK_AGENT, Client, Daemon, Output, Registry, Scene, SshAgent, scenario, words};

/// The user `me` with the password `secret`.
const USERS: &str = "me:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// A directory with a Dockerfile and a file.
fn context(daemon: &Daemon, dockerfile: &str) -> PathBuf {
    let directory = daemon.path("context");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    fs::write(directory.join("a.txt"), "one").unwrap();
    directory
}

fn build(client: Client, daemon: &Daemon, line: &str, context: &Path) -> Output {
    let line = format!("build {line} {}", context.display());
    let mut command = client.command(daemon, &words::split(&line));
    let output = command
        .env("DOCKER_BUILDKIT", builder(client))
        .output()
        .unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[track_caller]
fn built(scene: &Scene, line: &str, context: &Path) -> String {
    let output = build(scene.client, &scene.daemon, line, context);
    assert_eq!(output.code, 0, "{line}: {}{}", output.stdout, output.stderr);
    output.stdout + &output.stderr
}

#[track_caller]
fn fails(scene: &Scene, line: &str, context: &Path) -> String {
    let output = build(scene.client, &scene.daemon, line, context);
    assert_ne!(output.code, 0, "{line}: {}{}", output.stdout, output.stderr);
    output.stdout + &output.stderr
}

fn guarded(scene: &Scene) -> Registry {
    let users = scene.daemon.path("users");
    fs::write(&users, USERS).unwrap();
    let registry =
        Registry::start_with(&scene.daemon, &["--htpasswd", &users.display().to_string()]);
    scene.ok(&format!("login -u me -p secret {ADDRESS}"));
    registry
}

scenario!(a_base_is_pulled_as_the_client_who_logged_in(scene) {
    let _registry = guarded(scene);
    scene.ok(&format!("tag busybox {ADDRESS}/box"));
    scene.ok(&format!("push {ADDRESS}/box"));
    scene.ok(&format!("rmi {ADDRESS}/box"));
    let directory = context(&scene.daemon, &format!("FROM {ADDRESS}/box\nCOPY a.txt /\n"));
    built(scene, "-t it", &directory);
    assert_eq!(scene.ok("run --rm it cat /a.txt"), "one");
    scene.ok(&format!("logout {ADDRESS}"));
    let text = fails(scene, "--pull", &directory);
    assert!(text.contains("denied") || text.contains("unauthorized"), "{text}");
});

#[test]
fn an_image_is_pushed_when_it_is_built() {
    Scene::play(Client::Hull, |scene| {
        let _registry = guarded(scene);
        let directory = context(&scene.daemon, "FROM busybox\nCOPY a.txt /\n");
        let text = fails(scene, "--push", &directory);
        assert!(text.contains("tag is needed when pushing"), "{text}");
        built(scene, &format!("--push -t {ADDRESS}/made"), &directory);
        let output = format!("-o type=image,name={ADDRESS}/other,push=true");
        built(scene, &output, &directory);
        for name in ["made", "other"] {
            scene.ok(&format!("rmi {ADDRESS}/{name}"));
            let text = scene.ok(&format!("run --rm {ADDRESS}/{name} cat /a.txt"));
            assert_eq!(text, "one");
        }
    });
}

/// A daemon with an empty cache beside the scene's.
fn neighbour(scene: &Scene) -> Daemon {
    let mut other = Daemon::prepare_in(
        scene.daemon.namespace().neighbour(),
        &["--insecure-registry", "10.99.0.1:5000"],
    );
    other.launch();
    other.load("busybox");
    other
}

/// What a build there says, and the id that its image has. Nothing of it stays.
#[track_caller]
fn elsewhere(other: &Daemon, line: &str, context: &Path) -> String {
    let line = format!("-t it --progress plain {line}");
    let output = build(Client::Hull, other, &line, context);
    let text = output.stdout + &output.stderr;
    assert_eq!(output.code, 0, "{line}: {text}");
    let id = Client::Hull.run(other, &["run", "--rm", "it", "cat", "/app/id"]);
    other.hull(&["rmi", "it"]);
    other.hull(&["builder", "prune", "-af"]);
    format!("{text}\nid: {}", id.stdout)
}

const STAGES: &str = "FROM busybox AS make\nRUN cat /proc/sys/kernel/random/uuid > /id\n\
                      FROM busybox\nWORKDIR /app\nCOPY a.txt .\nCOPY --from=make /id .\nRUN echo x > y\n";

#[test]
fn a_daemon_with_an_empty_cache_does_nothing_again() {
    Scene::play(Client::Hull, |scene| {
        let _registry = Registry::start(&scene.daemon);
        let directory = context(&scene.daemon, STAGES);
        let cache = scene.daemon.path("cache");
        let line = format!(
            "-t it --cache-to type=local,dest={},mode=max --cache-to type=registry,ref={ADDRESS}/cache,mode=max",
            cache.display()
        );
        built(scene, &line, &directory);
        let id = scene.ok("run --rm it cat /app/id");
        let local = format!("type=local,src={}", cache.display());
        let other = neighbour(scene);
        for from in [&*local, "type=registry,ref=10.99.0.1:5000/cache"] {
            let said = elsewhere(&other, &format!("--cache-from {from}"), &directory);
            assert_eq!(said.matches("CACHED").count(), 6, "{from}: {said}");
            assert!(said.contains(&format!("id: {id}")), "{from}: {said}");
        }
        // An image that tells of its own steps.
        let dockerfile =
            "FROM busybox\nWORKDIR /app\nCOPY a.txt .\nRUN cat /proc/sys/kernel/random/uuid > id\n";
        let directory = context(&scene.daemon, dockerfile);
        built(
            scene,
            &format!("--push -t {ADDRESS}/inline --cache-to type=inline"),
            &directory,
        );
        let said = elsewhere(&other, "--cache-from 10.99.0.1:5000/inline", &directory);
        assert_eq!(said.matches("CACHED").count(), 4, "{said}");
        other.finish();
    });
}

#[test]
fn a_cache_that_cannot_be_had_is_told_and_stops_no_build() {
    Scene::play(Client::Hull, |scene| {
        let _registry = Registry::start(&scene.daemon);
        let directory = context(&scene.daemon, "FROM busybox\nRUN true\n");
        let from = format!("-t it --progress plain --cache-from {ADDRESS}/nothing");
        let said = built(scene, &from, &directory);
        assert!(
            said.contains(&format!("importing cache manifest from {ADDRESS}/nothing")),
            "{said}"
        );
        assert!(said.contains("not found"), "{said}");
        let said = built(
            scene,
            "-t it --progress plain --cache-from busybox",
            &directory,
        );
        assert!(said.contains("busybox"), "{said}");
        for kind in ["gha", "s3"] {
            for flag in ["cache-from", "cache-to"] {
                let text = fails(scene, &format!("--{flag} type={kind}"), &directory);
                assert!(text.contains(kind), "{text}");
            }
        }
    });
}

#[test]
fn an_ssh_agent_is_forwarded() {
    Scene::play(Client::Hull, |scene| {
        scene.daemon.load("debian");
        let agent = SshAgent::start(&scene.daemon);
        let dockerfile = format!("FROM debian\nRUN --mount=type=ssh {ASK_AGENT}; {ASK_AGENT}\n");
        let directory = context(&scene.daemon, &dockerfile);
        built(
            scene,
            &format!("-t it --ssh default={}", agent.socket().display()),
            &directory,
        );
        assert_eq!(scene.ok("run --rm it cat /answer"), "12 0\n12 0");
        let required = "FROM busybox\nRUN --mount=type=ssh,required true\n";
        let directory = context(&scene.daemon, required);
        let text = fails(scene, "", &directory);
        assert!(text.contains("give it with --ssh default"), "{text}");
    });
}

#[test]
fn statements_about_an_image_lie_beside_it() {
    Scene::play(Client::Hull, |scene| {
        scene.daemon.load("debian");
        let directory = context(&scene.daemon, "FROM debian\nARG WORD\nCOPY a.txt /\n");
        built(
            scene,
            "-t it --attest type=provenance,mode=max --sbom true --build-arg WORD=told",
            &directory,
        );
        assert_eq!(scene.ok("run --rm it cat /a.txt"), "one");
        let answer = scene.daemon.api(
            "GET",
            "/images/it/attestations?statement=1",
            &serde_json::Value::Null,
        );
        let text = answer.text();
        for word in [
            "https://slsa.dev/provenance",
            "build-arg:WORD",
            "pkg:docker/debian",
            "https://spdx.dev/Document",
            "pkg:deb/debian/bash@",
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
        let text = fails(scene, "--sbom generator=some/scanner", &directory);
        assert!(text.contains("some/scanner"), "{text}");
    });
}

/// What chooses the builder: of Docker's, the one that needs no plugin.
fn builder(client: Client) -> &'static str {
    match client {
        Client::Docker => "0",
        Client::Hull => "",
    }
}
