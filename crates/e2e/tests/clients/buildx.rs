//! `docker build` and `docker buildx` with the unchanged builder client: the one of a stable release, and a recent one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use hull_testkit::{Client, Output, Running, Scene, places, until, words};

/// A daemon, and the builder client that talks to it.
pub(crate) struct Builder<'a> {
    pub(crate) scene: &'a mut Scene,
    pub(crate) directory: PathBuf,
}

impl Builder<'_> {
    /// Plays on a fresh daemon with the builder client `name`.
    #[track_caller]
    pub(crate) fn play(name: &str, play: impl FnOnce(&mut Builder<'_>)) {
        Scene::play(Client::Docker, |scene| {
            let config = scene.daemon.directory().join("config");
            fs::create_dir_all(config.join("cli-plugins")).unwrap();
            symlink(
                places::buildx(name),
                config.join("cli-plugins/docker-buildx"),
            )
            .unwrap();
            let directory = scene.daemon.directory().join("context");
            fs::create_dir(&directory).unwrap();
            play(&mut Builder { scene, directory });
            scene.run("builder prune --all --force");
        });
    }

    /// Writes a file of the context, with its directories.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Client::Docker.command(&self.scene.daemon, &words::split(line));
        command
            .current_dir(&self.directory)
            .env("BUILDKIT_PROGRESS", "plain");
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, line: &str) -> Output {
        let (code, stdout, stderr) = Running::spawn(&mut self.command(line)).wait();
        Output {
            code,
            stdout,
            stderr,
        }
    }

    /// A command line that must succeed; what it wrote, all of it.
    #[track_caller]
    pub(crate) fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        let all = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(output.code, 0, "`{line}`: {all}");
        all
    }

    /// A command line that must fail; what it complained.
    #[track_caller]
    pub(crate) fn fails(&self, line: &str) -> String {
        let output = self.run(line);
        assert_ne!(
            output.code, 0,
            "`{line}`: {}{}",
            output.stdout, output.stderr
        );
        output.stderr
    }

    /// What a container of the image prints.
    #[track_caller]
    pub(crate) fn prints(&self, image: &str, command: &str) -> String {
        self.scene.ok(&format!("run --rm {image} {command}"))
    }

    pub(crate) fn read(&self, path: impl AsRef<Path>) -> String {
        fs::read_to_string(self.directory.join(path)).unwrap()
    }
}

/// A test with each of the clients.
macro_rules! builds {
    ($name:ident($builder:ident) $body:block) => {
        mod $name {
            use super::*;

            fn play($builder: &mut Builder<'_>) $body

            #[test]
            fn stable() {
                Builder::play("stable", play);
            }

            #[test]
            fn recent() {
                Builder::play("recent", play);
            }
        }
    };
}

pub(crate) use builds;

builds!(an_image_is_built_from_a_directory_and_runs(builder) {
    builder.write(
        "Dockerfile",
        "FROM busybox\nARG WORD=none\nCOPY . /app/\nRUN echo $WORD > /word\nCMD [\"cat\", \"/word\"]\n",
    );
    builder.write("a.txt", "hello");
    builder.write("skipped.log", "no");
    builder.write(".dockerignore", "*.log\n");
    builder.ok("build -t made --build-arg WORD=given --label who=me .");
    assert_eq!(builder.prints("made", ""), "given");
    assert_eq!(builder.prints("made", "cat /app/a.txt"), "hello");
    assert!(!builder.prints("made", "ls /app").contains("skipped.log"));
    let label = builder.scene.ok("image inspect --format '{{.Config.Labels.who}}' made");
    assert_eq!(label, "me");
});

builds!(ignored_paths_may_begin_with_a_slash(builder) {
    builder.write("Dockerfile", "FROM busybox\nCOPY . /app/\n");
    builder.write("src/kept", "kept");
    builder.write("src/target/large", &"x".repeat(3_000_000));
    builder.write("other", "no");
    builder.write(".dockerignore", "*\n!/src\n/src/target/\n../src/kept\n");
    let said = builder.ok("build -t made .");
    assert!(!said.contains("MB"), "{said}");
    assert_eq!(builder.prints("made", "find /app -type f"), "/app/src/kept");
});

builds!(only_what_changed_travels_and_is_done_again(builder) {
    builder.write("Dockerfile", "FROM busybox\nCOPY large /large\nCOPY small /small\n");
    builder.write("large", &"x".repeat(3_000_000));
    builder.write("small", "one");
    let first = builder.ok("build -t made .");
    assert!(first.contains("transferring context: 3.00MB"), "{first}");
    let second = builder.ok("build -t made .");
    assert!(second.matches("CACHED").count() >= 2, "{second}");
    assert!(!second.contains("MB"), "{second}");
    builder.write("small", "two, changed");
    let third = builder.ok("build -t made .");
    assert!(!third.contains("MB"), "{third}");
    assert_eq!(builder.prints("made", "cat /small"), "two, changed");
});

builds!(mistakes_are_shown_in_the_dockerfile(builder) {
    builder.write("Dockerfile", "FROM busybox\nRUN echo before; exit 7\n");
    let failed = builder.fails("build -t broken .");
    assert!(failed.contains("before"), "{failed}");
    assert!(failed.contains("did not complete successfully: exit code: 7"), "{failed}");
    assert!(failed.contains("Dockerfile:2"), "{failed}");
    assert!(failed.contains("   2 | >>> RUN echo before; exit 7"), "{failed}");
    builder.write("Dockerfile", "FROM busybox\n\nRUNN true\n");
    let failed = builder.fails("build .");
    assert!(failed.contains("unknown instruction: RUNN"), "{failed}");
    assert!(failed.contains("   3 | >>> RUNN true"), "{failed}");
    builder.write("Dockerfile", "FROM busybox\nCOPY missing /\n");
    let failed = builder.fails("build .");
    assert!(failed.contains("missing"), "{failed}");
    assert!(failed.contains("   2 | >>> COPY missing /"), "{failed}");
    let failed = builder.fails("build -f Nowhere .");
    assert!(failed.contains("Nowhere"), "{failed}");
    assert_eq!(builder.scene.ok("images -q broken"), "");
});

builds!(secrets_are_seen_by_the_step_alone(builder) {
    builder.write(
        "Dockerfile",
        "FROM busybox\nRUN --mount=type=secret,id=word wc -c < /run/secrets/word > /length\n\
         RUN test ! -e /run/secrets/word\n",
    );
    builder.write("word.txt", "sesame");
    builder.write(".dockerignore", "word.txt\n");
    let said = builder.ok("build -t made --secret id=word,src=word.txt .");
    assert!(!said.contains("sesame"), "{said}");
    assert_eq!(builder.prints("made", "cat /length").trim(), "6");
    builder.write("Dockerfile", "FROM busybox\nRUN --mount=type=secret,id=none,required true\n");
    let failed = builder.fails("build .");
    assert!(failed.contains("none"), "{failed}");
});

builds!(results_come_as_files_and_archives(builder) {
    builder.write(
        "Dockerfile",
        "FROM scratch\nCOPY --chmod=750 a.txt /dir/a.txt\nCOPY a.txt /b.txt\n",
    );
    builder.write("a.txt", "content");
    builder.ok("buildx build --output type=local,dest=out .");
    assert_eq!(builder.read("out/dir/a.txt"), "content");
    assert_eq!(builder.read("out/b.txt"), "content");
    builder.ok("buildx build --output type=tar,dest=out.tar .");
    let listed = Command::new("tar").arg("-tf").arg(builder.directory.join("out.tar")).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    assert!(listed.contains("dir/a.txt"), "{listed}");
    builder.ok("buildx build --output type=oci,dest=oci.tar -t named .");
    builder.ok("buildx build --output type=docker,dest=docker.tar -t archived .");
    builder.ok("load -i docker.tar");
    assert_ne!(builder.scene.ok("images -q archived"), "");
    builder.ok("buildx build --output type=oci,tar=false,dest=layout .");
    assert!(builder.read("layout/index.json").contains("sha256:"));
    // A name that cannot travel ends it.
    builder.write("Dockerfile", "FROM busybox\nRUN touch \"/$(printf 'bad\\377')\"\n");
    let failed = builder.fails("buildx build --output type=local,dest=bad .");
    assert!(failed.contains("UTF-8"), "{failed}");
});

builds!(contexts_have_names(builder) {
    builder.write(
        "Dockerfile",
        "FROM base AS made\nCOPY --from=files /one.txt /one.txt\nCMD [\"cat\", \"/one.txt\"]\n",
    );
    builder.write("elsewhere/one.txt", "one");
    builder.ok(
        "buildx build -t made --build-context base=docker-image://busybox --build-context files=elsewhere .",
    );
    assert_eq!(builder.prints("made", ""), "one");
    // An image in a layout on the client's disk.
    builder.write("Layout.dockerfile", "FROM busybox\nRUN echo layout > /origin\n");
    builder.ok("buildx build -f Layout.dockerfile --output type=oci,tar=false,dest=layout .");
    builder.write("Dockerfile", "FROM base\nCMD [\"cat\", \"/origin\"]\n");
    let digest = builder.read("layout/index.json");
    let digest = &digest[digest.find("sha256:").unwrap()..][..71];
    builder.ok(&format!("buildx build -t from-layout --build-context base=oci-layout://layout@{digest} ."));
    assert_eq!(builder.prints("from-layout", ""), "layout");
});

builds!(an_image_s_words_and_compression_are_chosen(builder) {
    builder.write("Dockerfile", "FROM scratch\nCOPY a.txt /\n");
    builder.write("a.txt", "content");
    builder.ok(
        "buildx build --annotation manifest:who=me --annotation manifest-descriptor:who=me \
         --output type=oci,tar=false,dest=layout,compression=zstd .",
    );
    let index = builder.read("layout/index.json");
    let digest = &index[index.find("sha256:").unwrap() + 7..][..64];
    let manifest = builder.read(format!("layout/blobs/sha256/{digest}"));
    assert!(manifest.contains("\"who\":\"me\"") && manifest.contains("tar+zstd"), "{manifest}");
    let failed = builder.fails("buildx build --annotation index:who=me --output type=oci,dest=x.tar .");
    assert!(failed.contains("index"), "{failed}");
    let failed = builder.fails("buildx build --output type=image,force-compression=true .");
    assert!(failed.contains("force-compression"), "{failed}");
});

builds!(a_layout_that_names_itself_is_refused(builder) {
    let digest = "0".repeat(64);
    let index = format!(
        "{{\"schemaVersion\":2,\"manifests\":[{{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\
         \"digest\":\"sha256:{digest}\",\"size\":1}}]}}"
    );
    builder.write("layout/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
    builder.write("layout/index.json", &index);
    builder.write(&format!("layout/blobs/sha256/{digest}"), &index);
    builder.write("Dockerfile", "FROM base\n");
    let failed = builder.fails(&format!("buildx build --build-context base=oci-layout://layout@sha256:{digest} ."));
    assert!(failed.contains("another digest"), "{failed}");
    builder.scene.ok("version");
});

builds!(the_host_s_network_is_granted(builder) {
    builder.write("Dockerfile", "FROM busybox\nRUN hostname > /name\n");
    builder.ok("build -t made --network host .");
    builder.ok("build -t made --network none .");
});

builds!(a_context_comes_from_the_standard_input(builder) {
    builder.write("Dockerfile", "FROM busybox\nCOPY a.txt /\n");
    builder.write("a.txt", "from a tar");
    let tar = builder.directory.join("../context.tar");
    let packed = Command::new("tar").arg("-cf").arg(&tar).args(["Dockerfile", "a.txt"]).current_dir(&builder.directory).status();
    assert!(packed.unwrap().success());
    let mut command = builder.command("build -t made -");
    command.stdin(fs::File::open(&tar).unwrap());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(builder.prints("made", "cat /a.txt"), "from a tar");

    let mut command = builder.command("build -t alone -");
    builder.write("../Alone", "FROM busybox\nRUN echo alone > /word\n");
    command.stdin(fs::File::open(builder.directory.join("../Alone")).unwrap());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(builder.prints("alone", "cat /word"), "alone");
});

builds!(targets_of_a_bake_file_build_on_each_other(builder) {
    builder.write(
        "docker-bake.hcl",
        "group \"default\" { targets = [\"upper\"] }\n\
         target \"lower\" { dockerfile = \"Lower\" }\n\
         target \"upper\" {\n  dockerfile = \"Upper\"\n  tags = [\"made\"]\n\
         \x20 contexts = { below = \"target:lower\" }\n}\n",
    );
    builder.write("Lower", "FROM busybox\nRUN echo lower > /word\n");
    builder.write("Upper", "FROM below\nRUN echo upper >> /word\nCMD [\"cat\", \"/word\"]\n");
    builder.ok("buildx bake");
    assert_eq!(builder.prints("made", ""), "lower\nupper");
});

builds!(two_targets_begin_with_the_same_one(builder) {
    builder.write(
        "docker-bake.hcl",
        "group \"default\" { targets = [\"quick\", \"slow\"] }\n\
         target \"lower\" { dockerfile = \"Lower\" }\n\
         target \"quick\" {\n  dockerfile = \"Quick\"\n  tags = [\"quick\"]\n  contexts = { below = \"target:lower\" }\n}\n\
         target \"slow\" {\n  dockerfile = \"Slow\"\n  tags = [\"slow\"]\n  contexts = { below = \"target:lower\" }\n}\n",
    );
    builder.write("Lower", "FROM busybox\nRUN echo lower > /word\n");
    builder.write("Quick", "FROM below\n");
    builder.write("Slow", "FROM below\nRUN sleep 2\nCMD [\"cat\", \"/word\"]\n");
    builder.ok("buildx bake");
    assert_eq!(builder.prints("slow", ""), "lower");
    assert_eq!(builder.prints("quick", "cat /word"), "lower");
});

builds!(a_client_that_vanishes_stops_the_build(builder) {
    // A duration that nobody else sleeps.
    let duration = format!("{}.{}", std::process::id(), builder.scene.daemon.pid());
    builder.write(
        "Dockerfile",
        &format!("FROM busybox\nRUN echo has 'begun'; sleep {duration}\n"),
    );
    let mut build = Running::spawn(&mut builder.command("build -t never ."));
    until("the step runs", || sleeps(&duration));
    build.kill();
    until("the step has ended", || !sleeps(&duration));
    assert_eq!(builder.scene.ok("images -q never"), "");
});

/// Whether anybody sleeps so long.
fn sleeps(duration: &str) -> bool {
    let wanted = format!("sleep\0{duration}\0");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| line == wanted.as_bytes())
}

builds!(the_builder_tells_of_itself(builder) {
    let listed = builder.ok("buildx ls");
    assert!(listed.contains("running"), "{listed}");
    let shown = builder.ok("buildx inspect");
    assert!(shown.contains("Platforms:") && shown.contains("linux/"), "{shown}");
    builder.write("Dockerfile", "FROM busybox\nRUN dd if=/dev/zero of=/file bs=1M count=3\n");
    builder.ok("build -t made --iidfile id --metadata-file metadata.json .");
    let id = builder.read("id");
    assert_eq!(builder.scene.ok("image inspect --format '{{.Id}}' made"), id.trim());
    assert!(builder.read("metadata.json").contains("containerimage.digest"));
    let used = builder.ok("buildx du");
    assert!(used.contains("Total:"), "{used}");
    builder.scene.ok("rmi made");
    builder.ok("buildx prune --all --force");
    let used = builder.ok("buildx du --verbose");
    assert!(!used.contains("dd if="), "{used}");
});

/// What only a recent client can ask.
#[test]
fn a_recent_client_checks_and_asks_about_a_dockerfile() {
    Builder::play("recent", |builder| {
        builder.write(
            "Dockerfile",
            "# what to build with\nARG WORD=none\nFROM busybox as one\nFROM one AS two\n",
        );
        let output = builder.run("build --check .");
        assert_ne!(output.code, 0, "{output:?}");
        let all = format!("{}{}", output.stdout, output.stderr);
        assert!(all.contains("FromAsCasing"), "{all}");
        assert!(all.contains("   3 | >>> FROM busybox as one"), "{all}");
        let targets = builder.ok("build --call targets .");
        assert!(
            targets.contains("one") && targets.contains("two (default)"),
            "{targets}"
        );
        let outline = builder.ok("build --call outline .");
        assert!(outline.contains("WORD"), "{outline}");
        builder.ok("build -t made .");
        let history = builder.ok("buildx history ls");
        assert!(history.contains("Completed"), "{history}");
        let history = builder.ok("buildx history ls --filter status=error");
        assert!(!history.contains("Completed"), "{history}");
        let history =
            builder.ok("buildx history ls --filter status=completed --filter duration<1h");
        assert!(history.contains("Completed"), "{history}");
        // There is room enough: nothing goes.
        builder.ok("buildx prune --all --force --min-free-space 1");
        builder.write("Dockerfile", "FROM busybox\nRUN echo kept\n");
        builder.ok("build .");
        builder.ok("buildx prune --all --force --min-free-space 1");
        assert!(builder.ok("build .").contains("CACHED"));
    });
}
