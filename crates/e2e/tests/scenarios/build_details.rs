//! `build`: where files land, which files count, and where results go.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::time::UNIX_EPOCH;

use hull_testkit::scenario;

use super::build::{build, built, context, fails, hull, read};

// Docker's client without BuildKit adds it to the context, and leaves the archive unfinished.
scenario!(a_dockerfile_may_lie_outside_of_its_context(scene) {
    let directory = context(scene, &[("a", "text")]);
    let outside = scene.daemon.path("outside.df");
    fs::write(&outside, "FROM busybox\nCOPY a /a\n").unwrap();
    built(scene, &format!("-t it -f {}", outside.display()), &directory);
    assert_eq!(read(scene, "/a"), "text");
});

scenario!(a_file_is_copied_to_where_a_link_leads(scene) {
    let dockerfile = "FROM busybox\n\
        RUN mkdir /r && echo old > /r/real && ln -s /r/real /link && ln -s r/new /dangling && ln -s ../../../up /out\n\
        COPY f /link\nCOPY f /dangling\nCOPY f /out\n\
        RUN cat /r/real /r/new /up && for link in /link /dangling /out; do readlink $link; done > /links\n";
    let directory = context(scene, &[("Dockerfile", dockerfile), ("f", "text")]);
    built(scene, "-t it", &directory);
    assert_eq!(read(scene, "/links"), "/r/real\nr/new\n../../../up");
    assert_eq!(read(scene, "/r/real"), "text");
});

#[test]
fn a_command_behind_a_heredoc_gets_it() {
    hull(|scene| {
        let fails_in_it = "FROM busybox\nRUN <<EOT sh -eux\necho hi\nfalse\necho no\nEOT\n";
        let directory = context(scene, &[("Dockerfile", fails_in_it)]);
        fails(scene, "", &directory);
        let dockerfile = "FROM busybox\nRUN <<EOT cat > /q\n$text\nEOT\n";
        fs::write(
            directory.join("Dockerfile"),
            dockerfile.replace("<<EOT", "<<'EOT'"),
        )
        .unwrap();
        built(scene, "-t it", &directory);
        assert_eq!(read(scene, "/q"), "$text");
    });
}

#[test]
fn files_are_known_by_what_is_in_them() {
    hull(|scene| {
        let directory = context(scene, &[("Dockerfile", "FROM busybox\nCOPY f /f\n")]);
        for text in ["AA", "BB", "CC"] {
            fs::write(directory.join("f"), text).unwrap();
            let file = fs::File::options().write(true).open(directory.join("f"));
            file.unwrap().set_modified(UNIX_EPOCH).unwrap();
            built(scene, "-t it", &directory);
            assert_eq!(read(scene, "/f"), text);
        }
    });
}

#[test]
fn stages_contexts_and_what_is_ignored_are_found_wherever_they_stand() {
    hull(|scene| {
        let dockerfile = "FROM docker.io/library/busybox:latest AS first\n\
            COPY --from=later /made /made\nCOPY . /all/\nCOPY --from=own /x /x\n\
            FROM busybox AS later\nRUN echo made > /made\n";
        let files = [("keep", "k"), ("drop", "d"), ("also", "a"), ("own/x", "x")];
        let directory = context(scene, &files);
        fs::write(directory.join(".dockerignore"), "also\n").unwrap();
        let outside = scene.daemon.path("df");
        fs::create_dir_all(&outside).unwrap();
        let file = outside.join("my.df");
        fs::write(&file, dockerfile).unwrap();
        let line = format!(
            "-t it --target first -f {} --build-context OWN={}",
            file.display(),
            directory.join("own").display()
        );
        built(scene, &line, &directory);
        assert_eq!(read(scene, "/made"), "made");
        assert_eq!(scene.ok("run --rm it ls /all"), "drop\nkeep\nown");
        fs::write(outside.join("my.df.dockerignore"), "drop\nown\n").unwrap();
        built(scene, &line, &directory);
        assert_eq!(scene.ok("run --rm it ls /all"), "also\nkeep");
        scene.ok("tag busybox other:1");
        let line = format!("{line} --build-context busybox=docker-image://other:1");
        assert!(built(scene, &line, &directory).contains("FROM docker.io/library/other:1"));
        fs::write(&file, "FROM busybox AS one\nCOPY --from=one /x /x\n").unwrap();
        let text = fails(scene, &format!("-f {}", file.display()), &directory);
        assert!(
            text.contains("circular dependency detected on stage: one"),
            "{text}"
        );
    });
}

#[test]
fn one_build_has_as_many_outputs_as_are_asked_for() {
    hull(|scene| {
        let dockerfile = "FROM busybox AS make\nRUN mkdir /o && echo out > /o/f && mkfifo -m 640 /o/fifo\n\
             FROM scratch\nCOPY --from=make /o /\n";
        let directory = context(scene, &[("Dockerfile", dockerfile)]);
        let (files, layout) = (scene.daemon.path("files"), scene.daemon.path("layout"));
        let line = format!(
            "-o type=local,dest={} -o type=oci,dest={},tar=false -o 'type=image,\"name=aa:1,bb:2\",compression=zstd'",
            files.display(),
            layout.display()
        );
        built(scene, &line, &directory);
        assert_eq!(fs::read_to_string(files.join("f")).unwrap(), "out\n");
        let fifo = fs::symlink_metadata(files.join("fifo")).unwrap();
        assert!(fifo.file_type().is_fifo() && fifo.mode() & 0o777 == 0o640);
        assert!(layout.join("oci-layout").is_file() && layout.join("index.json").is_file());
        let id = |name| scene.ok(&format!("images -q {name}"));
        assert!(!id("aa:1").is_empty());
        assert_eq!(id("aa:1"), id("bb:2"));
        for (option, said) in [
            ("type=image,bogus=1", "no option \"bogus\""),
            (
                "type=image,name=x,push-by-digest=true",
                "push-by-digest=true",
            ),
        ] {
            let text = fails(scene, &format!("-o {option}"), &directory);
            assert!(text.contains(said), "{text}");
        }
    });
}

#[test]
fn a_cache_that_cannot_be_written_may_be_done_without() {
    hull(|scene| {
        let directory = context(scene, &[("Dockerfile", "FROM busybox\nRUN echo 1 > /1\n")]);
        let there = scene.daemon.path("cache");
        built(
            scene,
            &format!("--cache-to type=local,dest={}", there.display()),
            &directory,
        );
        let index = fs::read_to_string(there.join("index.json")).unwrap();
        assert!(
            index.contains("\"org.opencontainers.image.ref.name\":\"latest\""),
            "{index}"
        );
        let bad = format!(
            "--cache-to type=local,dest={}/index.json/x",
            there.display()
        );
        fails(scene, &bad, &directory);
        let text = built(scene, &format!("{bad},ignore-error=true"), &directory);
        assert!(text.contains("the cache is not exported"), "{text}");
        scene.ok("builder prune -af");
        assert!(!scene.ok("system fsck").contains("orphan"));
    });
}

#[test]
fn what_cannot_be_in_an_image_is_refused_at_its_line() {
    hull(|scene| {
        let directory = context(scene, &[("in/.wh.passwd", ""), ("b", "")]);
        let tar = std::process::Command::new("tar")
            .args(["-cf", "../marks.tar", ".wh.passwd"])
            .current_dir(directory.join("in"))
            .status();
        assert!(tar.unwrap().success());
        let refused = |dockerfile: &str, said: &str| {
            fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
            let text = fails(scene, "", Path::new(&directory));
            assert!(text.contains(said), "{text}");
        };
        refused("FROM busybox\nADD marks.tar /etc/\n", ".wh.passwd");
        refused(
            "FROM busybox\nADD marks.tar /etc/\n",
            "2 | >>> ADD marks.tar /etc/",
        );
        refused("FROM busybox\nRUN touch /etc/.wh.passwd\n", ".wh.passwd");
        refused("FROM busybox\nCOPY in /in\n", ".wh.passwd");
    });
}

#[test]
fn questions_about_a_file_are_answered_for_programs_too() {
    hull(|scene| {
        let dockerfile = "FROM busybox AS unused\nLABEL l=$nothing\nFROM busybox AS last\nRUN x\n";
        let directory = context(scene, &[("Dockerfile", dockerfile)]);
        let answer = built(scene, "--call targets,format=json", &directory);
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["targets"][1]["name"], "last");
        let checked = build(scene, "--check", &directory);
        assert_eq!(checked.code, 1);
        assert!(
            checked.stdout.contains("UndefinedVar"),
            "{}",
            checked.stdout
        );
        built(scene, "--call check,ignorestatus=true", &directory);
        fs::write(directory.join("Dockerfile"), "ARG B\nFROM $B\n").unwrap();
        let text = fails(scene, "--check", &directory);
        assert!(text.contains("2 | >>> FROM $B"), "{text}");
    });
}
