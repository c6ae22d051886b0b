//! `build`: the language carried out, the cache, and what goes wrong. Docker's client plays by the
//! classic API; what that cannot say is played by `hull` alone.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use hull_testkit::{Client, Output, Running, Scene, eventually, scenario, words};

/// A directory with these files.
pub(super) fn context(scene: &Scene, files: &[(&str, &str)]) -> PathBuf {
    let directory = scene.daemon.path("context");
    let _ = fs::remove_dir_all(&directory);
    for (path, text) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

/// Runs `build LINE CONTEXT`.
pub(super) fn build(scene: &Scene, line: &str, context: &Path) -> Output {
    let line = format!("build {line} {}", context.display());
    let mut command = scene.client.command(&scene.daemon, &words::split(&line));
    let output = command
        .env("DOCKER_BUILDKIT", builder(scene.client))
        .output()
        .unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[track_caller]
pub(super) fn built(scene: &Scene, line: &str, context: &Path) -> String {
    let output = build(scene, line, context);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    output.stdout + &output.stderr
}

#[track_caller]
pub(super) fn fails(scene: &Scene, line: &str, context: &Path) -> String {
    let output = build(scene, line, context);
    assert_ne!(output.code, 0, "{}{}", output.stdout, output.stderr);
    output.stdout + &output.stderr
}

/// The content of a file of the image `it`.
pub(super) fn read(scene: &Scene, path: &str) -> String {
    scene.ok(&format!("run --rm it cat {path}"))
}

scenario!(a_dockerfile_becomes_an_image(scene) {
    let dockerfile = r#"ARG BASE=busybox
FROM $BASE AS make
ARG WHO
ENV GREETING="hello $WHO"
WORKDIR /src/sub
COPY --chmod=750 --chown=5:6 a* /src/
RUN echo "$GREETING from $(pwd), $(stat -c '%a %u %g' /src/a.txt)" > /out && ls /src > /list
FROM busybox
COPY --from=make /out /list /result/
COPY dir /result/
USER 7:8
EXPOSE 80
VOLUME /data
STOPSIGNAL SIGINT
ENTRYPOINT ["cat"]
CMD ["/result/out"]
"#;
    let context = context(scene, &[("Dockerfile", dockerfile), ("a.txt", "a"), ("ab", "b"), ("dir/x/y", "y")]);
    built(scene, "-t it --build-arg WHO=you --label k=v", &context);
    assert_eq!(scene.ok("run --rm it"), "hello you from /src/sub, 750 5 6");
    assert_eq!(scene.ok("run --rm it /result/list /result/x/y"), "a.txt\nab\nsub\ny");
    let config = scene.ok("inspect --format '{{.Config.User}} {{.Config.StopSignal}} {{.Config.Labels.k}} {{.Config.ExposedPorts}} {{.Config.Volumes}}' it");
    assert_eq!(config, "7:8 SIGINT v map[80/tcp:{}] map[/data:{}]");
});

scenario!(what_lies_below_a_linked_copy_counts_for_what_lies_on_it(scene) {
    let dockerfile = "FROM busybox AS base\nARG WORD\nRUN echo $WORD > /base\nFROM base\nCOPY --link a /a\nRUN cat /base > /seen\n\
                      FROM busybox\nCOPY --from=1 /seen /seen\n";
    let context = context(scene, &[("Dockerfile", dockerfile), ("a", "a")]);
    for word in ["one", "two"] {
        built(scene, &format!("-t it --build-arg WORD={word}"), &context);
        assert_eq!(read(scene, "/seen"), word);
    }
});

scenario!(a_prune_takes_what_it_is_asked_to_take(scene) {
    let directory = context(scene, &[("Dockerfile", "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\n")]);
    let id = |scene: &mut Scene| {
        built(scene, "-t it", &directory);
        read(scene, "/id")
    };
    let first = id(scene);
    for kept in ["inuse=true", "parent=0123", "description=nothing", "type=exec.cachemount", "private=true", "id=0123"] {
        scene.ok(&format!("builder prune -af --filter {kept}"));
        assert_eq!(id(scene), first, "{kept}");
    }
    scene.ok("builder prune -af --filter type=regular");
    assert_ne!(id(scene), first);
});

scenario!(only_what_changed_is_done_again(scene) {
    let dockerfile = "FROM busybox\nCOPY first /first\nRUN cat /proc/sys/kernel/random/uuid > /one\nCOPY second /second\nRUN cat /proc/sys/kernel/random/uuid > /two\n";
    let files = [("Dockerfile", dockerfile), ("first", "1"), ("second", "2"), ("other", "3")];
    let directory = context(scene, &files);
    let ids = |scene: &Scene| (read(scene, "/one"), read(scene, "/two"));
    built(scene, "-t it", &directory);
    let first = ids(scene);
    // The same content, written anew, and a file that no step reads.
    context(scene, &files);
    fs::write(directory.join("other"), "changed").unwrap();
    built(scene, "-t it", &directory);
    assert_eq!(ids(scene), first);
    fs::write(directory.join("second"), "changed").unwrap();
    built(scene, "-t it", &directory);
    let second = ids(scene);
    assert_eq!(second.0, first.0);
    assert_ne!(second.1, first.1);
    built(scene, "-t it --no-cache", &directory);
    assert_ne!(ids(scene).0, first.0);
    let used = scene.ok("system df --format '{{.Type}} {{.TotalCount}}'");
    assert!(!used.contains("Build Cache 0"), "{used}");
    scene.ok("builder prune -af");
    built(scene, "-t it", &directory);
    assert_ne!(ids(scene).0, first.0);
});

scenario!(what_is_ignored_is_not_seen(scene) {
    let dockerfile = "FROM busybox\nCOPY . /all\nRUN cd /all && find . -type f | sort > /list\n";
    let files = [
        ("Dockerfile", dockerfile), (".dockerignore", "*.log\n**/tmp\n!keep.log\n"), ("a", ""), ("x.log", ""),
        ("keep.log", ""), ("d/tmp/z", ""), ("d/y", ""),
    ];
    let directory = context(scene, &files);
    symlink("/etc/hostname", directory.join("d/link")).unwrap();
    built(scene, "-t it", &directory);
    assert_eq!(read(scene, "/list"), "./.dockerignore\n./Dockerfile\n./a\n./d/y\n./keep.log");
    fs::write(directory.join("Dockerfile"), "FROM busybox\nCOPY x.log /\n").unwrap();
    let text = fails(scene, "-t not", &directory);
    assert!(text.contains("\"/x.log\": not found"), "{text}");
});

scenario!(a_failing_step_says_which_and_nothing_is_tagged(scene) {
    let directory = context(scene, &[("Dockerfile", "FROM busybox\nRUN true\nRUN echo last words; exit 3\n")]);
    let text = fails(scene, "-t not", &directory);
    assert!(text.contains("last words"), "{text}");
    assert!(text.contains("   3 | >>> RUN echo last words; exit 3"), "{text}");
    assert!(text.contains("code: 3"), "{text}");
    assert_eq!(scene.ok("images -q not"), "");
    fs::write(directory.join("Dockerfile"), "FROM busybox\nRNU true\n").unwrap();
    let text = fails(scene, "-t not", &directory);
    assert!(text.contains("line 2: unknown instruction: RNU (did you mean RUN?)"), "{text}");
    fs::write(directory.join("Dockerfile"), "FROM nothing-of-that-name\n").unwrap();
    let text = fails(scene, "-t not", &directory);
    assert!(text.contains("nothing-of-that-name"), "{text}");
    assert_eq!(scene.ok("ps -aq"), "");
});

scenario!(a_quiet_build_that_fails_says_what_the_step_said(scene) {
    let directory = context(scene, &[("Dockerfile", "FROM busybox\nRUN echo last words; no-such-program\n")]);
    let text = fails(scene, "-q -t not", &directory);
    assert!(text.contains("last words"), "{text}");
    assert!(text.contains("hint: 127 says that a command was not found"), "{text}");
    assert!(text.contains("   2 | >>> RUN echo last words"), "{text}");
    assert!(text.contains("127"), "{text}");
    fs::write(directory.join("Dockerfile"), "FROM busybox\nRUN echo unsaid\n").unwrap();
    let output = build(scene, "-q -t it", &directory);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(!output.stderr.contains("unsaid"), "{}", output.stderr);
    assert_eq!(output.stdout.trim().len(), "sha256:".len() + 64, "{}", output.stdout);
    fs::write(directory.join("Dockerfile"), "FROM scratch\nRUN x\n").unwrap();
    let text = fails(scene, "-t not", &directory);
    assert!(text.contains("hint: there is no shell in this image"), "{text}");
});

scenario!(what_is_copied_from_a_stage_keeps_its_owner(scene) {
    let dockerfile = |owner: &str| format!(
        "FROM busybox AS make\nRUN mkdir -p /d/e && echo x > /d/e/f && ln -s f /d/e/l && mkfifo /d/e/p && \
         chown -R {owner} /d && chown -h {owner} /d/e/l && chmod 4755 /d/e/f\n\
         FROM busybox\nCOPY --from=make /d /kept\nCOPY --from=make /d/e/f /one\nCOPY --link --from=make /d /linked\n\
         COPY --from=make --chown=5:6 /d /given\nCOPY --parents --from=make /d/e/f /whole/\nCOPY sub /sub\n\
         COPY <<EOF /made\nx\nEOF\n\
         RUN cd / && stat -c '%n %u:%g %a' kept kept/e kept/e/f one linked/e/f given/e/f whole/d/e/f sub sub/a made > /list && \
         stat -c '%n %u:%g' kept/e/l kept/e/p linked/e/l given/e/l >> /list\n"
    );
    let directory = context(scene, &[("Dockerfile", &dockerfile("12:34")), ("sub/a", "a")]);
    std::os::unix::fs::chown(directory.join("sub/a"), Some(77), Some(78)).unwrap();
    built(scene, "-t it", &directory);
    let expected = |owner: &str| format!(
        "kept 0:0 755\nkept/e {owner} 755\nkept/e/f {owner} 4755\none {owner} 4755\nlinked/e/f {owner} 4755\n\
         given/e/f 5:6 4755\nwhole/d/e/f {owner} 4755\nsub 0:0 755\nsub/a 0:0 644\nmade 0:0 644\n\
         kept/e/l {owner}\nkept/e/p {owner}\nlinked/e/l {owner}\ngiven/e/l 5:6"
    );
    assert_eq!(read(scene, "/list"), expected("12:34"));
    // The same bytes are not the same files.
    fs::write(directory.join("Dockerfile"), dockerfile("13:34")).unwrap();
    built(scene, "-t it", &directory);
    assert_eq!(read(scene, "/list"), expected("13:34"));
});

scenario!(a_hostile_dockerfile_reaches_nothing_outside(scene) {
    let secret = scene.daemon.path("secret");
    fs::write(&secret, "of the host").unwrap();
    let target = secret.display().to_string();
    let files = [("Dockerfile", "FROM busybox\nCOPY ../secret /\n"), ("sub/a", "a")];
    let directory = context(scene, &files);
    let text = fails(scene, "-t not", &directory);
    assert!(text.contains("not found"), "{text}");
    // A link of the context, and one of the image that the destination leads through.
    symlink(&target, directory.join("link")).unwrap();
    let up = "../".repeat(12);
    let dockerfile = format!(
        "FROM busybox\nRUN ln -s {up}{target} /away && ln -s {up} /up\nWORKDIR /up/proc/self/fd\nWORKDIR /\n\
         COPY sub/a /up/made\nCOPY sub/a /away\nRUN cat {target} /made\nVOLUME /../../etc\n"
    );
    fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    let output = build(scene, "-t it", &directory);
    assert_eq!(fs::read_to_string(&secret).unwrap(), "of the host", "{}", output.stderr);
    fs::write(directory.join("Dockerfile"), "FROM busybox\nCOPY link /\n").unwrap();
    let text = fails(scene, "-t not", &directory);
    assert!(text.contains("not found"), "{text}");
    // An archive that leads out of the context.
    let made = std::process::Command::new("tar").args(["-cPf"]).arg(scene.daemon.path("evil.tar"))
        .args(["--transform", "s,^,../../../../,", "-C"]).arg(&directory).arg("sub/a").status().unwrap();
    assert!(made.success());
    fs::copy(scene.daemon.path("evil.tar"), directory.join("evil.tar")).unwrap();
    fs::write(directory.join("Dockerfile"), "FROM busybox\nADD evil.tar /x/\n").unwrap();
    fails(scene, "-t not", &directory);
    assert!(!scene.daemon.path("sub").exists());
});

scenario!(steps_are_confined_as_containers_are(scene) {
    let dockerfile = "FROM busybox\nRUN grep -E 'Cap|Seccomp:' /proc/self/status > /caps; ls /proc/self/fd | wc -l > /fds; ! mount -t tmpfs x /mnt\n";
    let directory = context(scene, &[("Dockerfile", dockerfile)]);
    built(scene, "-t it", &directory);
    let own = scene.ok("run --rm busybox grep -E Cap|Seccomp: /proc/self/status");
    assert_eq!(read(scene, "/caps"), own);
});

/// What only `hull`, or a client with BuildKit, can ask for.
pub(super) fn hull(play: impl FnOnce(&mut Scene)) {
    Scene::play(Client::Hull, play);
}

#[test]
fn secrets_are_there_for_the_step_and_nowhere_else() {
    hull(|scene| {
        let secret = scene.daemon.path("key");
        fs::write(&secret, "s3cr3t-value").unwrap();
        let dockerfile = "FROM busybox\n\
            RUN --mount=type=secret,id=key,mode=0440,uid=3 stat -c '%a %u' /run/secrets/key > /looks; wc -c < /run/secrets/key > /size\n\
            RUN --mount=type=secret,id=key,env=KEY [ \"${KEY#s3cr3t}\" = -value ]\n\
            RUN --mount=type=secret,id=absent ! ls /run/secrets/absent\n\
            RUN find / -xdev -path /proc -prune -o -name '*secret*' -print > /found\n";
        let directory = context(scene, &[("Dockerfile", dockerfile)]);
        built(
            scene,
            &format!("-t it --secret id=key,src={}", secret.display()),
            &directory,
        );
        assert_eq!(read(scene, "/looks"), "440 3");
        assert_eq!(read(scene, "/size"), "12");
        assert_eq!(read(scene, "/found"), "");
        let saved = scene.daemon.path("saved.tar");
        scene.ok(&format!("save -o {} it", saved.display()));
        let grep = std::process::Command::new("grep")
            .arg("-rlF")
            .arg("s3cr3t-value")
            .arg(&saved)
            .args(["--", "."])
            .current_dir(scene.daemon.path("data"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&grep.stdout), "");
        let required = "FROM busybox\nRUN --mount=type=secret,id=absent,required true\n";
        fs::write(directory.join("Dockerfile"), required).unwrap();
        let text = fails(scene, "", &directory);
        assert!(text.contains("secret absent: not found"), "{text}");
    });
}

/// Files below these directories, on their own file systems, that hold the text.
fn holding(directories: &[PathBuf], text: &str) -> String {
    let output = std::process::Command::new("find")
        .args(directories)
        .args([
            "-xdev", "-type", "f", "-exec", "grep", "-laF", text, "{}", "+",
        ])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn secrets_are_on_no_disk_while_a_step_has_them() {
    hull(|scene| {
        let (key, value) = (scene.daemon.path("key"), "s3cr3t-in-memory");
        fs::write(&key, value).unwrap();
        let duration = format!("{}.3", 30_000 + std::process::id());
        let dockerfile = format!(
            "FROM busybox\nRUN --mount=type=secret,id=key,env=KEY --mount=type=secret,id=key \
             [ \"$KEY\" = \"$(cat /run/secrets/key)\" ] || exit 1; sleep {duration} || true\n"
        );
        let directory = context(scene, &[("Dockerfile", &dockerfile)]);
        let mut running = scene.begin(&format!(
            "build -t it --secret id=key,src={} {}",
            key.display(),
            directory.display()
        ));
        let sleeper = eventually("the step runs", || sleeper(&duration));
        let places = [scene.daemon.path("data"), scene.daemon.path("run")];
        assert_eq!(holding(&places, value), "");
        hull_testkit::process::signal(sleeper, "TERM");
        assert_eq!(running.wait().0, 0);
        assert_eq!(holding(&places, value), "");
    });
}

/// The process that sleeps so long.
fn sleeper(duration: &str) -> Option<u32> {
    let wanted = format!("sleep\0{duration}\0");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| {
            fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == wanted.as_bytes())
        })
        .find_map(|entry| entry.file_name().to_string_lossy().parse().ok())
}

#[test]
fn mounts_of_every_kind_leave_nothing_in_the_image() {
    hull(|scene| {
        let dockerfile = r#"FROM busybox AS from
RUN mkdir /d && echo deep > /d/f
FROM busybox
RUN --mount=type=bind,target=/ctx cat /ctx/a > /a; ! touch /ctx/x
RUN --mount=type=bind,target=/ctx,rw touch /ctx/x
RUN --mount=type=bind,from=from,source=/d,target=/var/spool/d cat /var/spool/d/f > /f
RUN --mount=type=tmpfs,target=/t/m,size=1m df -k /t/m | tail -1 | awk '{print $2}' > /tmpfs
RUN --mount=type=cache,target=/cache,id=../../../evil echo kept > /cache/k
RUN --mount=type=cache,target=/other,id=../../../evil,sharing=locked cat /other/k > /k
RUN --network=none ip -o link | grep -v ' lo:' | wc -l > /links
RUN ls -d /ctx /cache /other /t /t/m /var/spool/d 2>/dev/null > /left; true
"#;
        let directory = context(scene, &[("Dockerfile", dockerfile), ("a", "text")]);
        built(scene, "-t it", &directory);
        for (path, expected) in [
            ("/a", "text"),
            ("/f", "deep"),
            ("/tmpfs", "1024"),
            ("/k", "kept"),
            ("/links", "0"),
            ("/left", ""),
        ] {
            assert_eq!(read(scene, path), expected, "{path}");
        }
        assert!(!directory.join("x").exists());
        // A cache outlives the build, and pruning takes it away.
        let again =
            "FROM busybox\nRUN --mount=type=cache,target=/c,id=../../../evil cat /c/k > /k\n";
        fs::write(directory.join("Dockerfile"), again).unwrap();
        built(scene, "-t it", &directory);
        assert_eq!(read(scene, "/k"), "kept");
        scene.ok("builder prune -af");
        fails(scene, "--no-cache", &directory);
    });
}

#[test]
fn heredocs_archives_and_named_contexts() {
    hull(|scene| {
        let dockerfile = r#"FROM busybox
ARG X=sub
RUN <<EOF
echo one > /run1
echo two >> /run1
EOF
RUN <<EOF
#!/bin/sh
echo "script $0" > /run2
EOF
COPY <<a <<"b" /h/
$X
a
$X
b
ADD files.tar /tar/
COPY files.tar /raw/
COPY --from=more /m /more
COPY --parents d/./e/*.t /p/
COPY --exclude=*.no ex /ex/
COPY --link a /linked/
SHELL ["/bin/sh", "-ec"]
RUN cd / && cat run1 run2 h/a h/b tar/in more p/e/1.t linked/a > /all; ls raw ex >> /all
"#;
        let files = [
            ("Dockerfile", dockerfile),
            ("in", "archived\n"),
            ("d/e/1.t", "parent\n"),
            ("ex/x.no", ""),
            ("ex/y", ""),
            ("a", "link\n"),
            ("named/m", "named\n"),
        ];
        let directory = context(scene, &files);
        let tar = std::process::Command::new("tar")
            .args(["-czf", "files.tar", "in"])
            .current_dir(&directory)
            .status();
        assert!(tar.unwrap().success());
        built(
            scene,
            &format!(
                "-t it --build-context more={}",
                directory.join("named").display()
            ),
            &directory,
        );
        let expected = "one\ntwo\nscript /dev/pipes/EOF\nsub\n$X\narchived\nnamed\nparent\nlink\nex:\ny\n\nraw:\nfiles.tar";
        assert_eq!(read(scene, "/all"), expected);
    });
}

#[test]
fn the_same_inputs_give_the_same_image_bit_for_bit() {
    hull(|scene| {
        let dockerfile = "FROM busybox\nWORKDIR /w\nCOPY a b/\nRUN date +%N > /dev/null; mkdir /d; echo x > /d/x; ln /d/x /d/y; rm /bin/awk\nENV A=1\n";
        let directory = context(scene, &[("Dockerfile", dockerfile), ("a", "text")]);
        let line = "-q --build-arg SOURCE_DATE_EPOCH=1700000000";
        let first = built(scene, line, &directory);
        scene.ok(&format!("rmi {first}"));
        scene.ok("builder prune -af");
        context(scene, &[("Dockerfile", dockerfile), ("a", "text")]);
        assert_eq!(built(scene, line, &directory), first);
        let created = scene.ok(&format!("inspect --format '{{{{.Created}}}}' {first}"));
        assert_eq!(created, "2023-11-14T22:13:20Z");
    });
}

#[test]
fn results_are_written_where_they_are_wanted() {
    hull(|scene| {
        let dockerfile = "FROM busybox AS make\nRUN mkdir /o && echo out > /o/f\nFROM scratch\nCOPY --from=make /o /\n";
        let directory = context(scene, &[("Dockerfile", dockerfile)]);
        let out = scene.daemon.path("out");
        built(scene, &format!("-o {}", out.display()), &directory);
        assert_eq!(fs::read_to_string(out.join("f")).unwrap(), "out\n");
        let archive = scene.daemon.path("image.tar");
        built(
            scene,
            &format!(
                "--target make -t made:1 -o type=docker,dest={}",
                archive.display()
            ),
            &directory,
        );
        assert_eq!(scene.ok("images -q made"), "");
        scene.ok(&format!("load -i {}", archive.display()));
        assert_eq!(scene.ok("run --rm made:1 cat /o/f"), "out");
        let squash = "FROM busybox\nRUN echo 1 > /x; echo 2 > /y\nRUN rm /x; echo 3 >> /y\n";
        fs::write(directory.join("Dockerfile"), squash).unwrap();
        built(scene, "-t it --squash", &directory);
        assert_eq!(read(scene, "/y"), "2\n3");
        let layers = |name| {
            scene.ok(&format!(
                "inspect --format '{{{{len .RootFS.Layers}}}}' {name}"
            ))
        };
        assert_eq!(
            layers("it").parse::<u32>().unwrap(),
            layers("busybox").parse::<u32>().unwrap() + 1
        );
        scene.fails(1, "run --rm it ls /x");
    });
}

#[test]
fn a_check_builds_nothing_and_says_what_it_thinks() {
    hull(|scene| {
        let directory = context(
            scene,
            &[("Dockerfile", "FROM busybox\nMAINTAINER me\nRUN exit 1\n")],
        );
        let output = build(scene, "--check", &directory);
        assert_eq!(output.code, 1);
        assert!(
            output.stdout.contains("WARNING: MaintainerDeprecated"),
            "{}",
            output.stdout
        );
        assert!(
            output.stdout.contains("   2 | >>> MAINTAINER me"),
            "{}",
            output.stdout
        );
        fs::write(directory.join("Dockerfile"), "FROM busybox\n").unwrap();
        assert!(built(scene, "--check", &directory).contains("no warnings found"));
    });
}

#[test]
fn included_files_are_reported_where_they_stand() {
    hull(|scene| {
        let dockerfile =
            "FROM busybox\nINCLUDE parts/base\nCOPY <<Makefile /\ninclude other.mk\nMakefile\n";
        let files = [
            ("Dockerfile", dockerfile),
            ("parts/base", "ENV BASE=yes\ninclude parts/more\n"),
            ("parts/more", "RUN echo $BASE > /more\n"),
        ];
        let directory = context(scene, &files);
        let text = fails(scene, "", &directory);
        assert!(text.contains("unknown instruction: INCLUDE"), "{text}");
        built(scene, "-t it --include", &directory);
        assert_eq!(read(scene, "/more"), "yes");
        assert_eq!(read(scene, "/Makefile"), "include other.mk");
        fs::write(directory.join("parts/more"), "\n  RNU x\n").unwrap();
        let text = fails(scene, "--include", &directory);
        assert!(text.contains("parts/more:2"), "{text}");
        assert!(
            text.contains("   2 | >>>   RNU x\n     |       ^^^"),
            "{text}"
        );
        fs::write(directory.join("parts/more"), "RUN exit 7\n").unwrap();
        let text = fails(scene, "--include", &directory);
        assert!(text.contains("parts/more:1"), "{text}");
        fs::remove_file(directory.join("parts/more")).unwrap();
        let text = fails(scene, "--include", &directory);
        assert!(
            text.contains("parts/base:2") && text.contains("not found"),
            "{text}"
        );
    });
}

#[test]
fn caches_are_filled_and_kept_apart_as_they_are_asked_to_be() {
    hull(|scene| {
        let private = "--mount=type=cache,id=p,sharing=private,target=/p";
        let meeting = "--mount=type=cache,id=meeting,target=/meeting";
        let step = |own: &str, other: &str| {
            format!(
                "RUN {private} {meeting} echo {own} >> /p/f; touch /meeting/{own}; \
                 until [ -e /meeting/{other} ]; do sleep 0.1; done; cat /p/f > /n"
            )
        };
        let dockerfile = format!(
            "FROM busybox AS seed\nRUN mkdir /seed && echo seeded > /seed/f\n\
             FROM busybox AS one\n{}\nFROM busybox AS two\n{}\n\
             FROM busybox\nCOPY --from=one /n /one\nCOPY --from=two /n /two\n\
             RUN --mount=type=cache,target=/c,from=seed,source=/seed cat /c/f > /f; echo more >> /c/f\n\
             RUN --mount=type=cache,target=/c,from=seed,source=/seed wc -l < /c/f > /again\n\
             RUN {private} wc -l < /p/f > /later\n",
            step("one", "two"),
            step("two", "one")
        );
        let directory = context(scene, &[("Dockerfile", &dockerfile)]);
        built(scene, "-t it", &directory);
        // Two at a time have one each; one that nobody has is used again.
        assert_eq!(read(scene, "/one /two /later"), "one\ntwo\n1");
        assert_eq!(read(scene, "/f /again"), "seeded\n2");
    });
}

#[test]
fn addresses_are_fetched_checked_and_unpacked() {
    hull(|scene| {
        let served = scene.daemon.path("served");
        fs::create_dir_all(served.join("in")).unwrap();
        fs::write(served.join("in/f"), "packed").unwrap();
        let script =
            "tar -czf a.tar.gz in && printf word > word && sha256sum < word | cut -d' ' -f1 > sum";
        let made = std::process::Command::new("sh")
            .args(["-c", script])
            .current_dir(&served)
            .status();
        assert!(made.unwrap().success());
        let sum = fs::read_to_string(served.join("sum")).unwrap();
        let mut server = scene
            .daemon
            .namespace()
            .command(hull_testkit::places::busybox());
        server
            .args(["httpd", "-f", "-p", "127.0.0.1:8000", "-h"])
            .arg(&served);
        let _server = hull_testkit::process::Ends(server.spawn().unwrap());
        let url = "http://127.0.0.1:8000";
        eventually("it serves", || {
            scene.daemon.namespace().fetch(&format!("{url}/word"))
        });
        let dockerfile = format!(
            "FROM busybox\nADD {url}/word /one/\nADD --chmod=644 --chown=3:4 --checksum=sha256:{} {url}/word /two\n\
             ADD {url}/a.tar.gz /raw/\nADD --unpack=true {url}/a.tar.gz /open/\n\
             RUN cat /one/word /two /open/in/f > /all; stat -c %a:%u:%g /one/word /two >> /all; ls /raw >> /all\n",
            sum.trim()
        );
        let directory = context(scene, &[("Dockerfile", &dockerfile)]);
        built(scene, "-t it", &directory);
        assert_eq!(
            read(scene, "/all"),
            "wordwordpacked600:0:0\n644:3:4\na.tar.gz"
        );
        let odd = format!(
            "FROM busybox\nADD --checksum=sha256:{} {url}/word /x\n",
            "0".repeat(64)
        );
        fs::write(directory.join("Dockerfile"), odd).unwrap();
        let text = fails(scene, "", &directory);
        assert!(
            text.contains("digest mismatch") && text.contains("   2 | >>> ADD"),
            "{text}"
        );
    });
}

#[test]
fn arguments_of_buildkit_s_own_change_the_build() {
    hull(|scene| {
        let directory = context(
            scene,
            &[(
                "Dockerfile",
                "# syntax=evil/frontend\nFROM busybox\nMAINTAINER me\n",
            )],
        );
        let text = fails(scene, "", &directory);
        assert!(text.contains("evil/frontend"), "{text}");
        let own = "--build-arg BUILDKIT_SYNTAX=dockerfile.v0";
        let check = "--build-arg BUILDKIT_DOCKERFILE_CHECK=error=true";
        let text = fails(scene, &format!("{own} {check}"), &directory);
        assert!(text.contains("MaintainerDeprecated"), "{text}");
        let check = "--build-arg BUILDKIT_DOCKERFILE_CHECK='skip=all;error=true'";
        let many = "--build-arg BUILDKIT_MULTI_PLATFORM=1";
        built(scene, &format!("-t it {own} {check} {many}"), &directory);
        let out = scene.daemon.path("out.tar");
        built(
            scene,
            &format!("{own} {many} -o type=oci,dest={}", out.display()),
            &directory,
        );
        let index = std::process::Command::new("tar")
            .arg("-xOf")
            .arg(&out)
            .arg("index.json")
            .output()
            .unwrap();
        let index = String::from_utf8_lossy(&index.stdout).into_owned();
        assert!(
            index.contains("application/vnd.oci.image.index.v1+json"),
            "{index}"
        );
        let words = "--annotation org.x=one --annotation 'index,manifest-descriptor:org.y=two'";
        built(
            scene,
            &format!("{own} {many} {words} -o type=oci,dest={}", out.display()),
            &directory,
        );
        let script = "mkdir oci && tar -xf out.tar -C oci && cat oci/blobs/sha256/*";
        let all = std::process::Command::new("sh")
            .args(["-c", script])
            .current_dir(scene.daemon.path(""))
            .output();
        let all = String::from_utf8_lossy(&all.unwrap().stdout).into_owned();
        assert_eq!(all.matches(r#""org.x":"one""#).count(), 1, "{all}");
        assert_eq!(all.matches(r#""org.y":"two""#).count(), 2, "{all}");
        let text = fails(scene, &format!("{own} --annotation index:k=v"), &directory);
        assert!(text.contains("index annotations need an index"), "{text}");
        let text = fails(scene, "--annotation nothing", &directory);
        assert!(text.contains("expected key=value"), "{text}");
    });
}

#[test]
fn a_client_that_goes_away_stops_its_build() {
    hull(|scene| {
        let dockerfile = "FROM busybox\nRUN echo it runs; sleep 36217\n";
        let directory = context(scene, &[("Dockerfile", dockerfile)]);
        let runs = || {
            let all = fs::read_dir("/proc").unwrap().flatten();
            let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
            lines
                .into_iter()
                .any(|line| line.starts_with(b"sleep\x0036217\0"))
        };
        let mut running = scene.begin(&format!("build -t not {}", directory.display()));
        eventually("the step runs", || runs().then_some(()));
        running.kill();
        eventually("the step is gone", || (!runs()).then_some(()));
        assert_eq!(scene.ok("images -q not"), "");
    });
}

/// It says nothing until it has ended.
#[test]
fn a_client_that_goes_away_stops_its_quiet_build() {
    Scene::play(Client::Docker, |scene| {
        let dockerfile = "FROM busybox\nRUN sleep 36218\n";
        let directory = context(scene, &[("Dockerfile", dockerfile)]);
        let runs = || {
            let all = fs::read_dir("/proc").unwrap().flatten();
            let mut lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
            lines.any(|line| line.starts_with(b"sleep\x0036218\0"))
        };
        let line = format!("build -q -t not {}", directory.display());
        let mut command = scene.client.command(&scene.daemon, &words::split(&line));
        let mut running = Running::spawn(command.env("DOCKER_BUILDKIT", builder(scene.client)));
        eventually("the step runs", || runs().then_some(()));
        running.kill();
        eventually("the step is gone", || (!runs()).then_some(()));
        assert_eq!(scene.ok("images -q not"), "");
    });
}

#[test]
fn what_is_copied_from_a_stage_that_is_done_again_is_copied_again() {
    hull(|scene| {
        let dockerfile = "FROM busybox AS make\nRUN cat /proc/sys/kernel/random/uuid > /id\nFROM busybox\n\
                          COPY --from=make /id /id\nRUN cp /id /copy\n";
        let directory = context(scene, &[("Dockerfile", dockerfile)]);
        built(scene, "-t it", &directory);
        let first = read(scene, "/copy");
        built(scene, "-t it --no-cache-filter make", &directory);
        let second = read(scene, "/copy");
        assert_ne!(first, second);
        built(scene, "-t it", &directory);
        assert_eq!(read(scene, "/copy"), second);
    });
}

#[test]
fn a_step_that_sees_what_it_saw_is_not_done_again() {
    hull(|scene| {
        let dockerfile = |text: &str| {
            format!(
                "FROM busybox AS make\nRUN mkdir /d && echo {text} > /d/out && cat /proc/uptime > /other\n\
                 FROM busybox\nRUN --mount=type=bind,from=make,source=/d,target=/m cat /m/out > /seen; \
                 cat /proc/sys/kernel/random/uuid > /id\n"
            )
        };
        let directory = context(scene, &[("Dockerfile", &dockerfile("one"))]);
        built(scene, "-t it", &directory);
        let first = read(scene, "/id");
        // The stage is done again, and what is mounted of it is as it was.
        built(scene, "-t it --no-cache-filter make", &directory);
        assert_eq!(read(scene, "/id"), first);
        built(scene, "-t it", &directory);
        assert_eq!(read(scene, "/id"), first);
        fs::write(directory.join("Dockerfile"), dockerfile("two")).unwrap();
        built(scene, "-t it", &directory);
        assert_eq!(read(scene, "/seen"), "two");
        assert_ne!(read(scene, "/id"), first);
    });
}

#[test]
fn caches_that_steps_want_for_themselves_are_never_waited_for_in_a_circle() {
    hull(|scene| {
        let mount =
            |id: &str, at: &str| format!("--mount=type=cache,sharing=locked,id={id},target={at}");
        let (x, y) = (mount("x", "/x"), mount("y", "/y"));
        let dockerfile = format!(
            "FROM busybox AS one\nRUN {x} {y} sleep 1 && echo 1 >> /x/f && echo 1 > /done\n\
             FROM busybox AS two\nRUN {y} {x} sleep 1 && echo 1 >> /y/f && echo 1 > /done\n\
             FROM busybox\nCOPY --from=one /done /one\nCOPY --from=two /done /two\n\
             RUN {x} {} cat /again/f > /seen\n",
            mount("x", "/again")
        );
        let directory = context(scene, &[("Dockerfile", &dockerfile)]);
        built(scene, "-t it", &directory);
        assert_eq!(read(scene, "/seen"), "1");
    });
}

#[test]
fn what_a_step_sees_of_the_context_looks_as_it_does_there() {
    hull(|scene| {
        let dockerfile = "FROM busybox\nRUN --mount=target=/there /there/tool && stat -c %Y /there/old > /time\n";
        let files = [
            ("Dockerfile", dockerfile),
            ("tool", "#!/bin/sh\necho ran > /out\n"),
            ("old", ""),
        ];
        let directory = context(scene, &files);
        let tool = directory.join("tool");
        fs::set_permissions(tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let old = fs::File::options()
            .write(true)
            .open(directory.join("old"))
            .unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        old.set_modified(time).unwrap();
        built(scene, "-t it", &directory);
        assert_eq!(read(scene, "/out"), "ran");
        assert_eq!(read(scene, "/time"), "1000000000");
    });
}

#[test]
fn a_killed_daemon_keeps_what_was_built() {
    hull(|scene| {
        let dockerfile = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\nRUN [ -e /ready ] || sleep 3600\n";
        let directory = context(scene, &[("Dockerfile", dockerfile)]);
        let mut running = scene.begin(&format!(
            "build -t not --progress=plain {}",
            directory.display()
        ));
        let cached = || {
            let usage = scene
                .daemon
                .api("GET", "/system/df", &serde_json::Value::Null)
                .json();
            usage["BuildCache"].as_array().is_some_and(|all| {
                all.iter().any(|one| {
                    one["Description"]
                        .as_str()
                        .unwrap_or_default()
                        .contains("uuid")
                })
            })
        };
        eventually("the first step is done", || cached().then_some(()));
        scene.daemon.kill();
        running.kill();
        scene.daemon.launch();
        assert_eq!(scene.ok("ps -aq"), "");
        fs::write(
            directory.join("Dockerfile"),
            dockerfile.replace("sleep 3600", "true"),
        )
        .unwrap();
        let text = built(scene, "-t it --progress=plain", &directory);
        assert!(text.contains("CACHED"), "{text}");
        assert_eq!(read(scene, "/id").len(), 36);
    });
}

/// What chooses the builder: of Docker's, the one that needs no plugin.
fn builder(client: Client) -> &'static str {
    match client {
        Client::Docker => "0",
        Client::Hull => "",
    }
}
