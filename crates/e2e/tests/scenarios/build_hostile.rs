//! Dockerfiles, contexts and repositories of somebody who means ill: nothing of the host is read, written or
//! removed, nothing hangs, and nobody gets what another one built.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hull_testkit::process::Ends;
use hull_testkit::{Client, Output, Scene, scenario, until, words};

/// A directory of the host with a secret in it, and how a link in an image would lead there.
fn secret(scene: &Scene) -> (PathBuf, String) {
    let directory = scene.daemon.path("secrets");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("secret"), "of the host").unwrap();
    let away = format!("{}{}", "../".repeat(12), directory.display());
    (directory, away)
}

/// Whether the directory of the host is as it was.
#[track_caller]
fn is_untouched(directory: &Path) {
    let names = fs::read_dir(directory).unwrap().flatten();
    let names: Vec<_> = names.map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["secret"]);
    let text = fs::read_to_string(directory.join("secret")).unwrap();
    assert_eq!(text, "of the host");
}

fn context(scene: &Scene, dockerfile: &str) -> PathBuf {
    let directory = scene.daemon.path("context");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    fs::write(directory.join("a"), "a").unwrap();
    directory
}

fn build(scene: &Scene, line: &str) -> Output {
    let mut command = scene
        .client
        .command(&scene.daemon, &words::split(&format!("build {line}")));
    let docker = match scene.client {
        Client::Docker => "0",
        Client::Hull => "",
    };
    let output = command.env("DOCKER_BUILDKIT", docker).output().unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[track_caller]
fn built(scene: &Scene, line: &str) -> String {
    let output = build(scene, line);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    output.stdout + &output.stderr
}

#[track_caller]
fn fails(scene: &Scene, line: &str) -> String {
    let output = build(scene, line);
    assert_ne!(output.code, 0, "{}{}", output.stdout, output.stderr);
    output.stdout + &output.stderr
}

scenario!(the_source_of_a_mount_stays_in_its_stage(scene) {
    let (directory, away) = secret(scene);
    let shown = directory.display();
    let directory_of = context(scene, &format!(
        "FROM busybox AS evil\nRUN ln -s {away} /away && ln -s / /root-of-all && mkdir -p {shown} && echo own > {shown}/own\n\
         FROM busybox\n\
         RUN --mount=type=bind,from=evil,source=/away,target=/m ls /m > /one\n\
         RUN --mount=type=bind,from=evil,source=../../..{shown},target=/m ls /m > /two\n\
         RUN --mount=type=bind,from=evil,source=/root-of-all{shown},target=/m ls /m > /three\n\
         RUN --mount=type=cache,from=evil,source=/away,target=/m ls /m > /four\n"
    ));
    built(scene, &format!("-t it {}", directory_of.display()));
    assert_eq!(scene.ok("run --rm it cat /one /two /three /four"), "own\nown\nown\nown");
    // A link of the context.
    symlink(&directory, directory_of.join("link")).unwrap();
    fs::write(
        directory_of.join("Dockerfile"),
        "FROM busybox\nRUN --mount=type=bind,source=link,target=/m cat /m/secret\n",
    )
    .unwrap();
    let text = fails(scene, &directory_of.display().to_string());
    assert!(!text.contains("of the host"), "{text}");
    is_untouched(&directory);
});

scenario!(the_place_of_a_mount_is_made_and_removed_in_the_image_alone(scene) {
    let (directory, away) = secret(scene);
    let context = context(scene, &format!(
        "FROM busybox\nRUN ln -s {away} /away && ln -s {away}/secret /file\n\
         RUN --mount=type=bind,source=a,target=/away/made cat /away/made\n\
         RUN --mount=type=bind,source=a,target=/file cat /file\n\
         RUN --mount=type=cache,target=/away/secret/deep true\n\
         RUN --mount=type=cache,target=/c/d mkdir -p /c && mv /c /old; ln -s {away} /c; true\n\
         RUN --mount=type=tmpfs,target=/t/d mv /t /gone; ln -s {away} /t; true\n"
    ));
    // Whether a step makes it or not: the host's files are as they were.
    build(scene, &context.display().to_string());
    is_untouched(&directory);
    assert_eq!(scene.ok("ps -aq"), "");
});

scenario!(a_list_of_users_that_is_none_hangs_nothing(scene) {
    for instruction in ["USER someone\nRUN true", "COPY --chown=someone a /", "COPY --chown=1:some a /"] {
        for list in ["rm /etc/passwd /etc/group; mkfifo /etc/passwd /etc/group", "ln -sf /dev/zero /etc/passwd; ln -sf /dev/zero /etc/group", "rm /etc/passwd /etc/group; mkdir /etc/passwd /etc/group"] {
            let context = context(scene, &format!("FROM busybox\nRUN {list}\n{instruction}\n"));
            let text = fails(scene, &context.display().to_string());
            assert!(text.contains("some"), "{list}; {instruction}: {text}");
        }
    }
});

scenario!(what_looks_alike_is_not_taken_for_what_was_built(scene) {
    let dockerfile = |who: &str| format!("FROM scratch\nENV WHO={who}\nUSER {who}\nCOPY a /a\n");
    let context = context(scene, &dockerfile("1"));
    built(scene, &format!("-t evil {}", context.display()));
    fs::write(context.join("Dockerfile"), dockerfile("2")).unwrap();
    built(scene, &format!("-t it --cache-from evil {}", context.display()));
    assert_eq!(scene.inspect("it", "{{.Config.User}} {{.Config.Env}}").matches('2').count(), 2);
    // An image whose history claims to be the step, with other files.
    fs::write(context.join("evil"), "evil").unwrap();
    fs::write(context.join("Dockerfile"), "FROM busybox\nCOPY evil /a\n").unwrap();
    built(scene, &format!("-t evil {}", context.display()));
    fs::write(context.join("Dockerfile"), "FROM busybox\nCOPY a /a\n").unwrap();
    built(scene, &format!("-t it --cache-from evil {}", context.display()));
    assert_eq!(scene.ok("run --rm it cat /a"), "a");
});

scenario!(rights_are_the_client_s_to_grant(scene) {
    for (dockerfile, words) in [
        ("FROM busybox\nRUN --security=insecure true\n", "security.insecure is not allowed"),
        ("FROM busybox\nRUN --network=host true\n", "network.host is not allowed"),
        ("# syntax=evil.example/frontend\nFROM busybox\n", "evil.example/frontend"),
        ("# syntax=docker/dockerfile-evil:1\nFROM busybox\n", "dockerfile-evil"),
    ] {
        let context = context(scene, dockerfile);
        let text = fails(scene, &format!("-t not {}", context.display()));
        assert!(text.contains(words), "{dockerfile}: {text}");
    }
    assert_eq!(scene.ok("images -q not"), "");
});

/// A repository with links that lead out of it, and a module that is a repository of its own; its address.
fn repository(at: &Path) -> (Ends, String) {
    let script = "set -e; git init -q -b main part; cd part; git config user.email a@b; git config user.name a; \
        echo part > p; git add .; git commit -qm part; cd ..; \
        git init -q -b main app; cd app; git config user.email a@b; git config user.name a; \
        mkdir sub; echo deep > sub/f; ln -s / out; ln -s sub link; ln -s /etc/hostname sub/host; \
        printf 'FROM busybox\\nCOPY . /src/\\n' > Dockerfile; cp Dockerfile sub/; \
        git add .; git commit -qm one; git tag v1; echo two > two; git add .; git commit -qm two; \
        git checkout -q -b parts; git -c protocol.file.allow=always submodule -q add ../part part; \
        git config -f .gitmodules submodule.part.url ../part; git add .; git commit -qm parts; \
        git checkout -q --recurse-submodules main || git checkout -q -f main; git rev-parse v1 > ../commit";
    fs::create_dir_all(at).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(at)
        .env("HOME", at)
        .status();
    assert!(made.unwrap().success());
    // Without `git` between: what is ended is the server itself.
    let mut server = Command::new("sh");
    server.args([
        "-c",
        "exec \"$(git --exec-path)/git-daemon\" \"$@\"",
        "git-daemon",
        "--export-all",
        "--reuseaddr",
        "--listen=127.0.0.1",
    ]);
    let server = server
        .arg(format!("--port={port}"))
        .arg(format!("--base-path={}", at.display()))
        .arg(at)
        .env("HOME", at)
        .stderr(Stdio::null())
        .spawn();
    let address = format!("git://127.0.0.1:{port}/app");
    until("the repository is served", || {
        let look = Command::new("git").args(["ls-remote", &address]).output();
        look.is_ok_and(|output| output.status.success())
    });
    (Ends(server.unwrap()), address)
}

/// Hull's own client clones what is its context.
#[test]
fn a_repository_leads_nowhere_but_into_itself() {
    Scene::play(Client::Hull, |scene| {
        let at = scene.daemon.path("repositories");
        let (_server, address) = repository(&at);
        for rest in [
            "#main:out/etc",
            "#main:link",
            "#main:../..",
            "?ref=main&subdir=out",
        ] {
            let text = fails(scene, &format!("'{address}{rest}'"));
            assert!(text.contains("directory"), "{rest}: {text}");
        }
        built(scene, &format!("-t it '{address}?ref=main&subdir=sub'"));
        assert_eq!(scene.ok("run --rm it cat /src/f"), "deep");
        // A link is a link, wherever it leads.
        assert_eq!(scene.ok("run --rm it readlink /src/host"), "/etc/hostname");
        let commit = fs::read_to_string(at.join("commit")).unwrap();
        let commit = commit.trim();
        built(scene, &format!("-t it '{address}#{commit}'"));
        assert_eq!(
            scene.ok("run --rm it ls /src"),
            "Dockerfile\nlink\nout\nsub"
        );
        built(
            scene,
            &format!("-t it '{address}?tag=v1&checksum={}'", &commit[..12]),
        );
        let text = fails(scene, &format!("'{address}?ref=main&checksum={commit}'"));
        assert!(text.contains("expected checksum"), "{text}");
        let keeps = "--build-arg BUILDKIT_CONTEXT_KEEP_GIT_DIR=1";
        built(
            scene,
            &format!("-t it {keeps} --build-context more={address}#v1 '{address}#parts'"),
        );
        assert_eq!(scene.ok("run --rm it cat /src/part/p"), "part");
        assert_eq!(scene.ok("run --rm it ls -d /src/.git"), "/src/.git");
        let left = fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        let own = |name: &str| name.starts_with("hull-build-git-");
        let left = left.filter(|entry| entry.file_name().to_str().is_some_and(own));
        assert_eq!(left.count(), 0, "no clone stays");
    });
}
