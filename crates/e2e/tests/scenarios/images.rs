//! `load`, `save`, `tag`, `images`, `history`, `inspect`, `rmi`.

use std::fs;

use hull_testkit::{places, scenario};

scenario!(an_archive_is_loaded_in_every_packing(scene) {
    let plain = places::image("busybox");
    for (packer, ending) in [("gzip -c", "gz"), ("zstd -q -c", "zst")] {
        let file = scene.daemon.path(&format!("image.tar.{ending}"));
        let line = format!("{packer} {} > {}", plain.display(), file.display());
        let packed = std::process::Command::new("sh").args(["-c", &line]).status().unwrap();
        if !packed.success() {
            continue;
        }
        scene.ok("rmi busybox");
        assert_eq!(scene.ok(&format!("load -i {}", file.display())), "Loaded image: busybox:latest");
        assert_eq!(scene.ok("run --rm busybox echo works"), "works");
    }
});

scenario!(a_load_shows_who_watches_how_far_it_is(scene) {
    scene.ok("rmi busybox");
    let line = format!("load -i {}", places::image("busybox").display());
    let mut terminal = scene.terminal(&line);
    terminal.expect("Loading layer");
    terminal.expect("Loaded image: busybox:latest");
    assert_eq!(terminal.wait(), 0);
    let mut terminal = scene.terminal(&format!("{line} -q"));
    terminal.expect("Loaded image: busybox:latest");
    terminal.wait();
    assert!(!terminal.screen().contains("Loading layer"), "{}", terminal.screen());
});

scenario!(names_are_given_and_taken(scene) {
    scene.ok("tag busybox mine:v1");
    scene.ok("tag mine:v1 registry.example.org:5000/team/app:2");
    let mut names: Vec<_> = scene.ok("images --format '{{.Repository}}:{{.Tag}}'").lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["busybox:latest", "mine:v1", "registry.example.org:5000/team/app:2"]);
    assert_eq!(scene.ok("images -q").lines().count(), 3);
    assert_eq!(scene.ok("rmi mine:v1"), "Untagged: mine:v1");
    let text = scene.fails(1, "rmi mine:v1");
    assert!(text.contains("No such image: mine:v1"), "{text}");
    let text = scene.fails(1, "tag busybox UPPER");
    assert!(text.contains("must be lowercase"), "{text}");
});

scenario!(the_last_name_takes_the_image_along(scene) {
    scene.ok("create --name box busybox true");
    let text = scene.fails(1, "rmi busybox");
    assert!(text.contains("conflict: unable to"), "{text}");
    scene.ok("rm box");
    let gone = scene.ok("rmi busybox");
    assert!(gone.contains("Untagged: busybox:latest") && gone.contains("Deleted: sha256:"), "{gone}");
    assert_eq!(scene.ok("images -q"), "");
});

scenario!(what_is_saved_can_be_loaded(scene) {
    scene.ok("tag busybox other:1");
    let file = scene.daemon.path("saved.tar");
    scene.ok(&format!("save -o {} busybox other:1", file.display()));
    scene.ok("rmi busybox other:1");
    let loaded = scene.ok(&format!("load -i {}", file.display()));
    assert!(loaded.contains("Loaded image: busybox:latest") && loaded.contains("Loaded image: other:1"), "{loaded}");
    assert_eq!(scene.ok("run --rm other:1 echo works"), "works");
});

scenario!(another_program_reads_what_is_saved_and_we_read_its(scene) {
    let file = scene.daemon.path("saved.tar");
    scene.ok(&format!("save -o {} busybox", file.display()));
    let layout = scene.daemon.path("layout");
    let copy = |from: String, to: String| {
        let words = ["--insecure-policy", "--tmpdir", "/tmp", "copy", "--quiet", &from, &to];
        let output = std::process::Command::new("skopeo").args(words).output().unwrap();
        assert!(output.status.success(), "{from} to {to}: {}", String::from_utf8_lossy(&output.stderr));
    };
    copy(format!("docker-archive:{}", file.display()), format!("oci:{}:again:1", layout.display()));
    let archive = scene.daemon.path("oci.tar");
    copy(format!("oci:{}:again:1", layout.display()), format!("oci-archive:{}:again:1", archive.display()));
    let loaded = scene.ok(&format!("load -i {}", archive.display()));
    assert!(loaded.starts_with("Loaded image"), "{loaded}");
});

scenario!(inspect_and_history_describe_it(scene) {
    let it: serde_json::Value = serde_json::from_str(&scene.ok("image inspect busybox")).unwrap();
    assert_eq!(it[0]["RepoTags"][0], "busybox:latest");
    assert_eq!(it[0]["Config"]["Cmd"][0], "sh");
    assert_eq!(it[0]["RootFS"]["Layers"].as_array().unwrap().len(), 1);
    assert!(it[0]["Id"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(scene.ok("history --no-trunc --format '{{.CreatedBy}}' busybox"), "distribution packages");
    assert_eq!(scene.ok("images --filter reference=busy* --format '{{.Repository}}'"), "busybox");
    assert_eq!(scene.ok("images nosuch -q"), "");
});

scenario!(a_broken_archive_is_refused_and_leaves_nothing(scene) {
    let bytes = fs::read(places::image("busybox")).unwrap();
    let file = scene.daemon.path("torn.tar");
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    scene.fails(1, &format!("load -i {}", file.display()));
    fs::write(&file, "not an archive at all").unwrap();
    scene.fails(1, &format!("load -i {}", file.display()));
    assert_eq!(scene.ok("images -q").lines().count(), 1);
});

scenario!(prune_takes_what_has_no_name(scene) {
    scene.ok("run --name box busybox touch /x");
    scene.ok("commit box");
    assert_eq!(scene.ok("images -q --filter dangling=true").lines().count(), 1);
    scene.ok("rm box");
    scene.ok("image prune -f");
    assert_eq!(scene.ok("images -aq").lines().count(), 1);
});

#[test]
fn a_list_of_manifests_is_an_image() {
    hull_testkit::Scene::play(hull_testkit::Client::Hull, |scene| {
        scene.ok("tag busybox box:amd64");
        scene.ok("manifest create box:1 box:amd64");
        scene.fails(1, "manifest create box:1 box:amd64");
        scene.ok("manifest annotate --os-version 6.1 box:1 box:amd64");
        let list: serde_json::Value =
            serde_json::from_str(&scene.ok("manifest inspect box:1")).unwrap();
        assert_eq!(list["manifests"][0]["platform"]["os.version"], "6.1");
        assert_eq!(scene.ok("run --rm box:1 echo works"), "works");
        let tree = scene.ok("image ls --tree box:1");
        assert!(tree.contains("└─ linux/"), "{tree}");
        scene.ok("manifest rm box:1");
        scene.fails(1, "manifest inspect box:1");
        assert_eq!(scene.ok("run --rm box:amd64 echo works"), "works");
    });
}
