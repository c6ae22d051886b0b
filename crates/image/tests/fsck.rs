//! What the store takes, and what is found and mended when the disk was not kind to it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;

use hull_image::store::{Finding, Fsck, Outcome, Removal, Trouble};
use support::{Lab, Tar, busybox, docker_archive, gzip, run, small};

fn look(lab: &Lab, repair: bool) -> Vec<Finding> {
    let order = Fsck {
        repair,
        contents: true,
        busy: &|_| None,
    };
    lab.store.fsck(&order).unwrap()
}

/// Kind, and what came of it, of each finding.
fn kinds(found: &[Finding]) -> Vec<(Trouble, bool)> {
    let mended = |finding: &Finding| matches!(finding.outcome, Outcome::Mended(_));
    found
        .iter()
        .map(|finding| (finding.trouble, mended(finding)))
        .collect()
}

/// What `du` says of all the store's directories.
fn du(lab: &Lab) -> u64 {
    let (image, layers) = (lab.path("image"), lab.path("layers"));
    let paths = [image.to_str().unwrap(), layers.to_str().unwrap()];
    let text = run(
        "du",
        &[
            "--summarize",
            "--block-size=1",
            "--total",
            paths[0],
            paths[1],
        ],
    );
    let total = text.lines().last().unwrap();
    total.split_whitespace().next().unwrap().parse().unwrap()
}

/// Two layers, the upper one with everything a layer may have.
fn layered(name: &str) -> Vec<u8> {
    let base = Tar::new()
        .dir("etc/")
        .file("etc/keep", b"kept")
        .file("etc/gone", b"hidden")
        .dir("old/")
        .file("old/file", b"old")
        .end();
    let upper = Tar::new()
        .mode("etc/tool", &vec![7; 300_000], 0o4755)
        .symlink("etc/link", "keep")
        .hard_link("etc/same", "etc/keep")
        .file("etc/.wh.gone", b"")
        .dir("old/")
        .file("old/.wh..wh..opq", b"")
        .file("old/new", b"new")
        .end();
    docker_archive(&[gzip(&base), gzip(&upper)], &[name], "{}")
}

#[test]
fn the_account_agrees_with_du_and_sums_up() {
    let mut lab = Lab::new();
    lab.load(&busybox(&["busybox:1", "again:1"]));
    lab.load(&layered("layered:1"));
    lab.load(&small(&["one:1"], "same", r#"{"Cmd":["one"]}"#));
    lab.load(&small(&["two:1"], "same", r#"{"Cmd":["two"]}"#));
    let two = lab.store.id("two:1").unwrap();
    for _ in 0..2 {
        let usage = lab.store.disk_usage(&|id| *id == two).unwrap();
        assert_eq!(usage.total_bytes, du(&lab));
        assert_eq!(usage.total_bytes, lab.store.total_bytes().unwrap());
        let unique: u64 = usage.images.iter().map(|i| i.size - i.shared_size).sum();
        let shared = usage.images.iter().map(|i| i.shared_size).max().unwrap();
        assert_eq!(unique + shared, usage.blobs_bytes + usage.layers_bytes);
        let used = usage.images.iter().find(|image| image.id == two).unwrap();
        assert_eq!(
            usage.reclaimable_bytes,
            usage.blobs_bytes + usage.layers_bytes - used.size
        );
        lab.reopen();
    }
}

#[test]
fn a_sound_store_has_nothing_to_find() {
    let mut lab = Lab::new();
    lab.load(&busybox(&["busybox:1"]));
    lab.load(&layered("layered:1"));
    assert_eq!(look(&lab, false), []);
    lab.reopen();
    assert_eq!(look(&lab, true), []);
}

#[test]
fn what_nobody_needs_is_found_and_removed() {
    let lab = Lab::new();
    lab.load(&busybox(&["busybox:1"]));
    fs::write(lab.path("image/blobs/sha256/readme"), "no blob").unwrap();
    fs::create_dir(lab.path("image/blobs/md5")).unwrap();
    fs::create_dir_all(lab.path("layers/.new-77/fs")).unwrap();
    fs::create_dir_all(lab.path("layers/1000/fs")).unwrap();
    let lost = hull_oci::Digest::of(b"lost");
    fs::write(
        lab.path(&format!("image/blobs/sha256/{}", lost.hex())),
        "lost",
    )
    .unwrap();
    let found = look(&lab, false);
    assert_eq!(kinds(&found), [(Trouble::Orphan, false); 5]);
    assert!(found.iter().all(|finding| finding.bytes > 0), "{found:?}");
    assert_eq!(kinds(&look(&lab, true)), [(Trouble::Orphan, true); 5]);
    assert_eq!(look(&lab, false), []);
    assert!(lab.store.resolve("busybox:1", None).is_ok());
}

#[test]
fn a_changed_byte_of_a_plain_layers_blob_is_one_finding() {
    let lab = Lab::new();
    lab.load(&small(&["one:1"], "content", "{}"));
    let blobs = fs::read_dir(lab.path("image/blobs/sha256")).unwrap();
    let is_layer = |path: &std::path::PathBuf| fs::read(path).unwrap().starts_with(b"text");
    let mut paths = blobs.map(|entry| entry.unwrap().path());
    let path = paths.find(is_layer).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(7).position(|seven| seven == b"content");
    bytes[at.unwrap()] ^= 1;
    fs::write(&path, bytes).unwrap();
    let found = look(&lab, false);
    assert_eq!(kinds(&found), [(Trouble::Damaged, false)], "{found:?}");
    assert!(found[0].object.starts_with("blob "), "{found:?}");
}

#[test]
fn a_damaged_blob_is_taken_away_and_comes_again() {
    let lab = Lab::new();
    let archive = layered("layered:1");
    lab.load(&archive);
    let blobs = lab.path("image/blobs/sha256");
    let largest = fs::read_dir(&blobs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&largest, bytes).unwrap();
    let found = look(&lab, false);
    assert_eq!(kinds(&found), [(Trouble::Damaged, false)]);
    assert!(
        found[0].problem.contains("has the content of sha256:"),
        "{found:?}"
    );
    let found = look(&lab, true);
    assert_eq!(
        kinds(&found),
        [(Trouble::Damaged, true), (Trouble::Missing, false)]
    );
    assert_eq!(found[1].object, "image layered:1");
    // Containers need the layers alone.
    assert!(lab.store.resolve("layered:1", None).is_ok());
    lab.load(&archive);
    assert_eq!(look(&lab, false), []);
}

#[test]
fn a_damaged_or_missing_layer_is_unpacked_again_in_its_place() {
    type Harm = (&'static str, &'static str, fn(&Path));
    let harms: [Harm; 7] = [
        ("2", "/etc/tool: has other content", |layer| {
            let path = layer.join("etc/tool");
            let mut bytes = fs::read(&path).unwrap();
            bytes[299_999] = 0;
            fs::write(&path, bytes).unwrap();
        }),
        ("2", "/etc/tool: is missing", |layer| {
            fs::remove_file(layer.join("etc/tool")).unwrap()
        }),
        ("2", "/etc/link: points elsewhere", |layer| {
            fs::remove_file(layer.join("etc/link")).unwrap();
            std::os::unix::fs::symlink("tool", layer.join("etc/link")).unwrap();
        }),
        ("2", "/etc/extra: was not in it", |layer| {
            fs::write(layer.join("etc/extra"), "").unwrap();
        }),
        (
            "2",
            "/etc/gone: the mark of its removal is missing",
            |layer| {
                fs::remove_file(layer.join("etc/gone")).unwrap();
            },
        ),
        ("1", "/etc/keep: has 0 bytes instead of 4", |layer| {
            fs::write(layer.join("etc/keep"), "").unwrap();
        }),
        ("1", "its directory is gone", |layer| {
            fs::remove_dir_all(layer).unwrap()
        }),
    ];
    for (number, problem, harm) in harms {
        let mut lab = Lab::new();
        lab.load(&layered("layered:1"));
        let layer = lab.path(&format!("layers/{number}/fs"));
        let sound = support::tree(&layer);
        harm(&layer);
        let found = look(&lab, false);
        assert_eq!((found.len(), found[0].problem.as_str()), (1, problem));
        let order = Fsck {
            repair: true,
            contents: true,
            busy: &|path| (path == layer).then(|| "box".to_owned()),
        };
        let refused = lab.store.fsck(&order).unwrap();
        let text = format!("{:?}", refused[0].outcome);
        assert!(text.contains("the running container box uses it"), "{text}");
        assert_eq!(kinds(&look(&lab, true)).len(), 1);
        assert_eq!(look(&lab, false), [], "after {problem}");
        assert_eq!(support::tree(&layer), sound);
        lab.reopen();
        assert_eq!(look(&lab, false), []);
    }
}

#[test]
fn a_missing_manifest_is_told_and_the_image_can_be_removed() {
    let lab = Lab::new();
    lab.load(&busybox(&["busybox:1"]));
    let id = lab.store.id("busybox:1").unwrap();
    fs::remove_file(lab.path(&format!("image/blobs/sha256/{}", id.hex()))).unwrap();
    let found = look(&lab, true);
    assert!(
        found
            .iter()
            .any(|finding| finding.object == "image busybox:1"
                && finding.problem == format!("lacks the blob {id}")),
        "{found:?}"
    );
    let removal = Removal {
        force: false,
        users: &|_| Vec::new(),
    };
    lab.store.remove("busybox:1", &removal).unwrap();
    assert_eq!(look(&lab, false), []);
    assert_eq!((lab.blob_count(), lab.layer_count()), (0, 0));
}

#[test]
fn a_budget_lets_the_least_useful_images_go() {
    use hull_image::store::{Removed, Standing, User};
    let lab = Lab::new();
    for name in ["used:1", "old:1", "new:1"] {
        lab.load(&small(&[name], name, "{}"));
    }
    lab.load(&small(&[], "unnamed", "{}"));
    let used = lab.store.id("used:1").unwrap();
    let users = |id: &hull_oci::Digest| {
        let user = User {
            container: "0123456789abcdef".to_owned(),
            is_running: false,
            platform: String::new(),
        };
        if *id == used { vec![user] } else { Vec::new() }
    };
    // All came a moment ago, and are spared.
    assert!(lab.store.keep_within(1, &users).unwrap().is_empty());
    // As if it had been long ago.
    let path = lab.path("image/index.json");
    let list = fs::read_to_string(&path).unwrap();
    let year = &jiff::Timestamp::now().to_string()[..4];
    fs::write(&path, list.replace(&format!("\"{year}-"), "\"2001-")).unwrap();
    let lab = Lab {
        store: hull_image::Store::open(&lab.path("image")).unwrap(),
        dir: lab.dir,
    };
    lab.store.resolve("new:1", None).unwrap();
    let order = lab.store.standings(&|id| *id == used).unwrap();
    let order: Vec<(&str, Standing)> = order
        .iter()
        .map(|(image, standing)| (image.repo_tags.first().map_or("", |name| name), *standing))
        .collect();
    assert_eq!(
        order,
        [
            ("", Standing::Turn(1)),
            ("used:1", Standing::InUse),
            ("old:1", Standing::Turn(2)),
            ("new:1", Standing::Recent),
        ]
    );
    // A byte too much: one image has to go.
    let budget = lab.store.total_bytes().unwrap() - 1;
    let gone = lab.store.keep_within(budget, &users).unwrap();
    assert!(matches!(&gone[..], [Removed::Deleted(_)]), "{gone:?}");
    let gone = lab.store.keep_within(1, &users).unwrap();
    assert_eq!(gone[0], Removed::Untagged("old:1".to_owned()));
    let left = lab
        .store
        .list(&hull_image::store::ListFilter::default())
        .unwrap();
    assert_eq!(left.len(), 2);
}

/// The mark of a layer that the disk may not have yet.
fn mark(lab: &Lab, layer: &str) -> std::path::PathBuf {
    lab.path("layers").join(layer).join("unsettled")
}

/// Waits until the disk has all layers.
fn settle(lab: &Lab) {
    let marks = [mark(lab, "1"), mark(lab, "2")];
    for _ in 0..1200 {
        if !marks.iter().any(|mark| mark.is_symlink()) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the marks stay");
}

#[test]
fn a_layer_that_a_power_cut_has_damaged_is_unpacked_again_in_its_place() {
    let mut lab = Lab::new();
    lab.load(&layered("layered:1"));
    settle(&lab);
    let tool = lab.path("layers").join("2/fs/etc/tool");
    fs::write(&tool, "damaged").unwrap();
    // Nobody knows what of a layer of another boot reached the disk.
    std::os::unix::fs::symlink("another-boot", mark(&lab, "2")).unwrap();
    lab.reopen();
    assert_eq!(fs::read(&tool).unwrap(), vec![7; 300_000]);
    assert!(!mark(&lab, "2").is_symlink());
    assert!(look(&lab, false).is_empty());
}

#[test]
fn a_layer_that_is_on_its_way_to_the_disk_is_whole_for_the_next_daemon() {
    let mut lab = Lab::new();
    lab.load(&layered("layered:1"));
    settle(&lab);
    let tool = lab.path("layers").join("2/fs/etc/tool");
    fs::write(&tool, "as it is").unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::os::unix::fs::symlink(boot.trim_end(), mark(&lab, "2")).unwrap();
    lab.reopen();
    assert_eq!(fs::read(&tool).unwrap(), b"as it is");
    settle(&lab);
}
