//! The store as the engine uses it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use hull_image::store::{Commit, Import, ListFilter, PruneFilter, Removal, Removed, User};
use hull_image::{Error, Kind, Store};
use hull_oci::{Platform, Reference};
use support::{Lab, Tar, busybox, busybox_layer, docker_archive, gzip, small};

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn unused(force: bool) -> Removal<'static> {
    Removal {
        force,
        users: &|_| Vec::new(),
    }
}

#[test]
fn a_docker_archive_is_loaded_and_unpacked() {
    let mut lab = Lab::new();
    let archive = busybox(&["busybox:1", "busybox:latest"]);
    assert_eq!(
        lab.load(&archive),
        ["Loaded image: busybox:1", "Loaded image: busybox:latest"]
    );
    for _ in 0..2 {
        let image = lab.store.resolve("busybox", None).unwrap();
        assert_eq!(image.repo_tags, ["busybox:1", "busybox:latest"]);
        assert_eq!(image.repo_digests, [format!("busybox@{}", image.id)]);
        assert_eq!(image.config.config.cmd.as_deref().unwrap(), ["sh"]);
        assert_eq!(image.created.unwrap().to_string(), "2020-01-02T03:04:05Z");
        assert_eq!(image.layers, [lab.path("layers/1/fs")]);
        let busybox = std::fs::metadata(image.layers[0].join("bin/busybox")).unwrap();
        assert_eq!(busybox.permissions().mode() & 0o7777, 0o4755);
        assert_eq!((busybox.nlink(), busybox.mtime()), (2, 1_000_000_000));
        assert_eq!(
            std::fs::read_link(image.layers[0].join("bin/sh"))
                .unwrap()
                .to_str(),
            Some("busybox")
        );
        lab.reopen();
    }
    // Only what the image needs is kept: manifest, configuration, layer.
    assert_eq!(lab.blob_count(), 3);
}

#[test]
fn compressed_archives_and_layers_are_loaded() {
    let archive = busybox(&["plain:1"]);
    for (name, tool) in [
        ("gzip", "gzip"),
        ("bzip2", "bzip2"),
        ("xz", "xz"),
        ("zstd", "zstd"),
    ] {
        let lab = Lab::new();
        let path = lab.path("archive");
        std::fs::write(&path, &archive).unwrap();
        let packed = std::process::Command::new(tool)
            .arg("-c")
            .arg(&path)
            .output();
        let Ok(packed) = packed else {
            panic!("{tool} is not installed")
        };
        assert_eq!(
            lab.load(&packed.stdout),
            ["Loaded image: plain:1"],
            "{name}"
        );
    }
    let lab = Lab::new();
    let layers = [
        gzip(&busybox_layer()),
        gzip(&Tar::new().file("x", b"y").end()),
    ];
    assert_eq!(
        lab.load(&docker_archive(&layers, &["gz:1"], "{}")),
        ["Loaded image: gz:1"]
    );
    assert_eq!(lab.store.resolve("gz:1", None).unwrap().layers.len(), 2);
}

#[test]
fn an_image_without_a_name_is_kept_and_found_by_its_id() {
    let lab = Lab::new();
    let message = lab.load(&busybox(&[])).remove(0);
    let id = message.strip_prefix("Loaded image ID: ").unwrap();
    for name in [id, &id[7..], &id[7..19], &id[..15]] {
        let image = lab.store.resolve(name, None).unwrap();
        assert_eq!(image.id.as_str(), id);
        assert!(image.repo_tags.is_empty() && image.repo_digests.is_empty());
    }
    let list = lab.store.list(&ListFilter {
        dangling: Some(true),
        ..ListFilter::default()
    });
    assert_eq!(list.unwrap().len(), 1);
}

#[test]
fn a_name_with_a_digest_is_never_given_to_another_image() {
    let mut lab = Lab::new();
    lab.load(&small(&["good:1"], "good", "{}"));
    lab.load(&small(&["bad:1"], "bad", "{}"));
    let good = lab.store.id("good:1").unwrap();
    let pinned = format!("good@{good}");
    let error = lab.store.tag("bad:1", &reference(&pinned)).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("digest reference"), "{error}");
    let bad = lab.store.descriptor("bad:1").unwrap();
    assert!(lab.store.set_name(&reference(&pinned), bad).is_err());
    let users = |_: &hull_oci::Digest| Vec::new();
    let list = lab
        .store
        .create_list(&reference(&pinned), &[], false, &users);
    assert!(list.is_err(), "{list:?}");
    assert_eq!(lab.store.id(&pinned).unwrap(), good);
    // Nor is it believed where it stands all the same.
    let path = lab.path("image/index.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let lie = text.replace(
        "docker.io/library/bad:1",
        &format!("docker.io/library/bad@{good}"),
    );
    assert_ne!(lie, text);
    std::fs::write(&path, lie).unwrap();
    lab.reopen();
    let name = format!("bad@{good}");
    let error = lab.store.resolve(&name, None).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    assert_eq!(lab.store.named(&reference(&name)), None);
}

#[test]
fn what_is_missing_is_said_in_dockers_words() {
    let lab = Lab::new();
    lab.load(&busybox(&["busybox"]));
    for (name, message) in [
        ("nothing", "No such image: nothing:latest"),
        ("busybox:2", "No such image: busybox:2"),
        ("me/app:x", "No such image: me/app:x"),
        ("localhost:5000/a", "No such image: localhost:5000/a:latest"),
        ("abcdef012345", "No such image: abcdef012345:latest"),
    ] {
        let error = lab.store.resolve(name, None).unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.kind()),
            (message, Kind::NotFound)
        );
    }
    let error = lab.store.resolve("a b", None).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.kind()),
        ("invalid reference format", Kind::Invalid)
    );
    let platform: Platform = "linux/s390x".parse().unwrap();
    let error = lab.store.resolve("busybox", Some(&platform)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "image with reference busybox was found but does not provide the specified platform (linux/s390x)"
    );
}

#[test]
fn names_with_digests_find_the_repository_only() {
    let lab = Lab::new();
    lab.load(&busybox(&["me/busybox:1"]));
    let id = lab.store.id("me/busybox:1").unwrap();
    assert_eq!(lab.store.id(&format!("me/busybox@{id}")).unwrap(), id);
    assert_eq!(lab.store.id(&format!("me/busybox:other@{id}")).unwrap(), id);
    assert!(lab.store.id(&format!("busybox@{id}")).is_err());
}

#[test]
fn layers_are_shared_and_unpacked_once() {
    let lab = Lab::new();
    let (base, top) = (busybox_layer(), Tar::new().file("extra", b"1").end());
    lab.load(&docker_archive(
        std::slice::from_ref(&base),
        &["base"],
        "{}",
    ));
    lab.load(&docker_archive(&[base, top], &["derived"], "{}"));
    let (base, derived) = (
        lab.store.resolve("base", None).unwrap(),
        lab.store.resolve("derived", None).unwrap(),
    );
    assert_eq!(derived.layers[1], base.layers[0], "uppermost first");
    assert_eq!(lab.layer_count(), 2);
    let usage = lab.store.disk_usage(&|_| false).unwrap();
    let sum: u64 = usage.images.iter().map(|image| image.size).sum();
    let shared: Vec<u64> = usage.images.iter().map(|image| image.shared_size).collect();
    assert_eq!(shared[0], shared[1]);
    let parts = usage.blobs_bytes + usage.layers_bytes;
    assert_eq!(parts, sum - shared[0], "each byte counted once");
}

#[test]
fn a_layer_that_does_not_describe_its_directories_takes_them_from_below() {
    let lab = Lab::new();
    let mut sticky = Tar::header(tar::EntryType::Directory, 0o1777, 0);
    sticky.set_uid(7);
    let base = Tar::new()
        .raw(sticky, b"tmp/", b"")
        .file("tmp/below", b"content")
        .end();
    let bare = Tar::new()
        .file("tmp/new", b"x")
        .hard_link("tmp/copy", "tmp/below")
        .end();
    lab.load(&docker_archive(&[base, bare.clone()], &["a"], "{}"));
    let other = Tar::new().dir("tmp/").end();
    let other_file = Tar::new().file("tmp/below", b"other").end();
    lab.load(&docker_archive(&[other, other_file, bare], &["b"], "{}"));

    let a = lab.store.resolve("a", None).unwrap();
    let tmp = std::fs::metadata(a.layers[0].join("tmp")).unwrap();
    assert_eq!((tmp.mode() & 0o7777, tmp.uid()), (0o1777, 7));
    assert_eq!(
        std::fs::read(a.layers[0].join("tmp/copy")).unwrap(),
        b"content"
    );
    let b = lab.store.resolve("b", None).unwrap();
    assert_ne!(
        a.layers[0], b.layers[0],
        "such a layer belongs to its place"
    );
    assert_eq!(
        std::fs::metadata(b.layers[0].join("tmp")).unwrap().mode() & 0o7777,
        0o755
    );
    assert_eq!(
        std::fs::read(b.layers[0].join("tmp/copy")).unwrap(),
        b"other"
    );
}

#[test]
fn a_damaged_layer_leaves_nothing_behind() {
    let lab = Lab::new();
    let mut archive = busybox(&["bad"]);
    // Another byte in the layer: its diff id no longer fits.
    let at = archive
        .windows(4)
        .position(|bytes| bytes == b"\x7fELF")
        .unwrap();
    archive[at + 100] ^= 1;
    let error = lab.store.load(&archive[..], &[], &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    let cut = &busybox(&["cut"])[..100_000];
    assert!(lab.store.load(cut, &[], &mut |_| {}).is_err());
    assert!(
        lab.store
            .load(&b"no archive"[..], &[], &mut |_| {})
            .is_err()
    );
    assert!(lab.store.load(&b""[..], &[], &mut |_| {}).is_err());
    assert_eq!((lab.blob_count(), lab.layer_count()), (0, 0));
    assert_eq!(
        std::fs::read_dir(lab.path("image/ingest")).unwrap().count(),
        0
    );
    assert!(lab.store.list(&ListFilter::default()).unwrap().is_empty());
}

#[test]
fn leftovers_of_a_crash_are_removed_at_start() {
    let mut lab = Lab::new();
    lab.load(&busybox(&["busybox"]));
    std::fs::create_dir_all(lab.path("layers/.new-7/fs")).unwrap();
    std::fs::create_dir_all(lab.path("layers/9/fs")).unwrap();
    std::fs::write(lab.path("image/ingest/3"), "half").unwrap();
    lab.reopen();
    assert_eq!(lab.layer_count(), 1);
    assert_eq!(
        std::fs::read_dir(lab.path("image/ingest")).unwrap().count(),
        0
    );
    assert!(lab.store.resolve("busybox", None).is_ok());
}

#[test]
fn a_name_that_moves_leaves_its_old_image_dangling() {
    let lab = Lab::new();
    lab.load(&small(&["app"], "one", "{}"));
    let old = lab.store.id("app").unwrap();
    lab.load(&small(&["app"], "two", "{}"));
    assert_ne!(lab.store.id("app").unwrap(), old);
    let dangling = lab.store.list(&ListFilter {
        dangling: Some(true),
        ..ListFilter::default()
    });
    assert_eq!(dangling.unwrap()[0].id, old);
    let pruned = lab
        .store
        .prune(&PruneFilter::default(), &|_| Vec::new())
        .unwrap();
    assert_eq!(pruned.removed, [Removed::Deleted(old.to_string())]);
    assert!(pruned.reclaimed_bytes > 0);
    assert_eq!((lab.blob_count(), lab.layer_count()), (3, 1));
}

#[test]
fn an_image_that_is_named_while_images_are_pruned_stays() {
    let lab = Lab::new();
    lab.load(&small(&[], "one", "{}"));
    let list = lab.store.list(&ListFilter::default()).unwrap();
    let id = list[0].id.clone();
    // Who looks for containers gives somebody else the time to name it.
    let users = |id: &hull_oci::Digest| {
        lab.store.tag(id.as_str(), &reference("kept:1")).unwrap();
        Vec::new()
    };
    let pruned = lab.store.prune(&PruneFilter::default(), &users).unwrap();
    assert_eq!(pruned.removed, []);
    assert_eq!(lab.store.id("kept:1").unwrap(), id);
    assert!(lab.store.resolve("kept:1", None).is_ok());
}

#[test]
fn by_its_digest_an_image_loses_all_names_of_a_repository() {
    let stopped = |_: &hull_oci::Digest| {
        vec![User {
            container: "0123456789abcdef".into(),
            is_running: false,
            platform: String::new(),
        }]
    };
    let lab = Lab::new();
    lab.load(&small(&["app:1", "app:2"], "one", "{}"));
    let id = lab.store.id("app:1").unwrap();
    let name = format!("app@{id}");
    // Nothing would be left: the container counts.
    let used = Removal {
        force: false,
        users: &stopped,
    };
    let error = lab.store.remove(&name, &used).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    let removed = lab.store.remove(&name, &unused(false)).unwrap();
    let untagged = ["app:1", "app:2"].map(|name| Removed::Untagged(name.into()));
    assert_eq!(removed[..2], untagged);
    assert_eq!(removed[2..], [Removed::Deleted(id.to_string())]);
    assert_eq!((lab.blob_count(), lab.layer_count()), (0, 0));
    // Names in other repositories keep it.
    lab.load(&small(&["app:1", "app:2", "other:1"], "one", "{}"));
    assert_eq!(lab.store.remove(&name, &used).unwrap(), untagged);
    assert!(lab.store.resolve("other:1", None).is_ok());
}

#[test]
fn tags_are_given_and_taken_away() {
    let mut lab = Lab::new();
    lab.load(&busybox(&["busybox"]));
    let id = lab
        .store
        .tag("busybox", &reference("localhost:5000/me/bb:2"))
        .unwrap();
    lab.reopen();
    assert_eq!(lab.store.id("localhost:5000/me/bb:2").unwrap(), id);

    let removed = lab.store.remove("busybox", &unused(false)).unwrap();
    assert_eq!(removed, [Removed::Untagged("busybox:latest".into())]);
    let removed = lab
        .store
        .remove("localhost:5000/me/bb:2", &unused(false))
        .unwrap();
    assert_eq!(
        removed,
        [
            Removed::Untagged("localhost:5000/me/bb:2".into()),
            Removed::Deleted(id.to_string())
        ]
    );
    assert_eq!((lab.blob_count(), lab.layer_count()), (0, 0));
    assert!(lab.store.remove("busybox", &unused(true)).is_err());
}

#[test]
fn an_image_in_several_repositories_is_removed_by_id_only_with_force() {
    let lab = Lab::new();
    lab.load(&busybox(&["a", "b"]));
    let id = lab.store.id("a").unwrap();
    let error = lab.store.remove(id.short(), &unused(false)).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
            id.short()
        )
    );
    let removed = lab.store.remove(id.short(), &unused(true)).unwrap();
    let untagged = |name: &str| Removed::Untagged(name.to_owned());
    assert_eq!(
        removed,
        [
            untagged("a:latest"),
            untagged("b:latest"),
            Removed::Deleted(id.to_string())
        ]
    );
}

const CONTAINER: &str = "0123456789abcdef";

fn user(is_running: bool) -> Vec<User> {
    vec![User {
        container: CONTAINER.to_owned(),
        is_running,
        platform: String::new(),
    }]
}

#[test]
fn an_image_in_use_is_not_removed() {
    let lab = Lab::new();
    lab.load(&busybox(&["busybox"]));
    let id = lab.store.id("busybox").unwrap();
    let remove = |name: &str, force: bool, is_running: bool| {
        let removal = Removal {
            force,
            users: &|_| user(is_running),
        };
        lab.store.remove(name, &removal).unwrap_err().to_string()
    };
    let short = id.short();
    assert_eq!(
        remove("busybox", false, false),
        format!(
            "conflict: unable to remove repository reference \"busybox\" (must force) - \
             container 0123456789ab is using its referenced image {short}"
        )
    );
    assert_eq!(
        remove(id.as_str(), true, true),
        format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by \
             running container 0123456789ab"
        )
    );
    assert_eq!(
        remove(id.as_str(), false, false),
        format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by \
             stopped container 0123456789ab"
        )
    );
}

#[test]
fn a_forced_removal_takes_the_name_and_leaves_the_container_whole() {
    let lab = Lab::new();
    lab.load(&busybox(&["busybox"]));
    let id = lab.store.id("busybox").unwrap();
    let stopped = |_: &_| user(false);
    let removed = lab
        .store
        .remove(
            "busybox",
            &Removal {
                force: true,
                users: &stopped,
            },
        )
        .unwrap();
    assert_eq!(removed, [Removed::Untagged("busybox:latest".into())]);
    assert!(lab.store.resolve(id.as_str(), None).is_ok());
    let pruned = lab.store.prune(
        &PruneFilter {
            all: true,
            ..PruneFilter::default()
        },
        &stopped,
    );
    assert!(pruned.unwrap().removed.is_empty());
    let pruned = lab
        .store
        .prune(&PruneFilter::default(), &|_| Vec::new())
        .unwrap();
    assert_eq!(pruned.removed, [Removed::Deleted(id.to_string())]);
}

#[test]
fn lists_are_filtered() {
    let lab = Lab::new();
    lab.load(&small(
        &["me/one:1"],
        "one",
        r#"{"Labels":{"a":"b","c":""}}"#,
    ));
    lab.load(&small(&["two:latest"], "two", "{}"));
    let list = |text: &str| vec![text.to_owned()];
    let labels = |text: &str| ListFilter {
        labels: list(text),
        ..ListFilter::default()
    };
    let references = |text: &str| ListFilter {
        references: list(text),
        ..ListFilter::default()
    };
    let dangling = |flag: bool| ListFilter {
        dangling: Some(flag),
        ..ListFilter::default()
    };
    let absent = ListFilter {
        labels_absent: list("a"),
        ..ListFilter::default()
    };
    let before = ListFilter {
        before: list("two"),
        ..ListFilter::default()
    };
    let until = Some("2020-01-01T00:00:00Z".parse().unwrap());
    let (one, two) = ("me/one:1", "two:latest");
    for (filter, expected) in [
        (ListFilter::default(), vec![one, two]),
        (labels("a=b"), vec![one]),
        (labels("c"), vec![one]),
        (labels("a=c"), vec![]),
        (absent, vec![two]),
        (references("t*"), vec![two]),
        (references("*/one"), vec![one]),
        (references("*:latest"), vec![two]),
        (dangling(true), vec![]),
        (dangling(false), vec![one, two]),
        // Made at the same time.
        (before, vec![]),
        (
            ListFilter {
                until,
                ..ListFilter::default()
            },
            vec![],
        ),
    ] {
        let images = lab.store.list(&filter).unwrap();
        let mut names: Vec<String> = images
            .into_iter()
            .flat_map(|image| image.repo_tags)
            .collect();
        names.sort();
        assert_eq!(names, expected, "{filter:?}");
    }
    let unknown = ListFilter {
        since: list("none"),
        ..ListFilter::default()
    };
    assert!(lab.store.list(&unknown).is_err());
    assert!(lab.store.list(&references("[")).is_err());
}

#[test]
fn the_history_tells_steps_and_sizes() {
    let lab = Lab::new();
    let layers = [busybox_layer(), Tar::new().file("x", b"12345").end()];
    lab.load(&docker_archive(&layers, &["app:1"], "{}"));
    let history = lab.store.history("app:1", None).unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(
        (history[0].created_by.as_str(), history[0].size),
        ("step 1", 5)
    );
    assert_eq!(history[0].tags, ["app:1"]);
    assert_eq!(
        history[0].id.as_ref(),
        Some(&lab.store.id("app:1").unwrap())
    );
    assert_eq!(
        (history[1].created, history[1].id.is_none()),
        (1_577_836_800, true)
    );
}

#[test]
fn saved_images_load_again_and_are_the_same_bytes() {
    let lab = Lab::new();
    lab.load(&busybox(&["busybox:1", "busybox:2"]));
    lab.load(&small(&[], "nameless", "{}"));
    let nameless = lab.store.list(&ListFilter {
        dangling: Some(true),
        ..ListFilter::default()
    });
    let nameless = nameless.unwrap()[0].id.clone();
    let save = || {
        let mut archive = Vec::new();
        lab.store
            .save(&["busybox", nameless.short()], &[], &mut archive)
            .unwrap();
        archive
    };
    let archive = save();
    assert_eq!(archive, save());

    let other = Lab::new();
    let mut messages = other.load(&archive);
    messages.sort();
    assert_eq!(
        messages,
        [
            format!("Loaded image ID: {nameless}"),
            "Loaded image: busybox:1".into(),
            "Loaded image: busybox:2".into()
        ]
    );
    assert_eq!(
        other.store.id("busybox:1").unwrap(),
        lab.store.id("busybox:1").unwrap()
    );
    let mut names: Vec<String> = Vec::new();
    for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
        names.push(
            entry
                .unwrap()
                .path()
                .unwrap()
                .to_string_lossy()
                .into_owned(),
        );
    }
    for wanted in [
        "index.json",
        "manifest.json",
        "oci-layout",
        "repositories",
        "blobs/sha256/",
    ] {
        assert!(names.iter().any(|name| name == wanted), "{wanted}");
    }
    assert!(lab.store.save(&["nothing"], &[], &mut Vec::new()).is_err());
}

#[test]
fn an_archive_of_files_is_imported() {
    let lab = Lab::new();
    let import = Import {
        reference: Some(&reference("imported:1")),
        changes: &["CMD [\"/bin/ls\"]".to_owned(), "ENV A=b".to_owned()],
        message: "Imported from -".to_owned(),
        platform: None,
    };
    let id = lab
        .store
        .import(&gzip(&busybox_layer())[..], &import)
        .unwrap();
    let image = lab.store.resolve("imported:1", None).unwrap();
    assert_eq!(image.id, id);
    assert_eq!(image.config.config.cmd.as_deref().unwrap(), ["/bin/ls"]);
    assert!(image.layers[0].join("bin/busybox").exists());
    let history = lab.store.history("imported:1", None).unwrap();
    assert_eq!(history[0].comment, "Imported from -");
    assert!(lab.store.import(&b""[..], &Import::default()).is_err());
    assert!(
        lab.store
            .import(
                &b"no archive at all, but long enough"[..],
                &Import::default()
            )
            .is_err()
    );
}

#[test]
fn a_containers_changes_become_an_image() {
    let lab = Lab::new();
    lab.load(&busybox(&["busybox"]));
    let parent = lab.store.resolve("busybox", None).unwrap();
    let upper = lab.path("upper");
    std::fs::create_dir_all(upper.join("etc")).unwrap();
    std::fs::write(upper.join("etc/new"), "new").unwrap();
    let name = reference("me/app:1");
    let commit = |upper: &std::path::Path, reference| {
        let config = parent.config.config.clone();
        lab.store.commit(Commit {
            parent: &parent,
            upper,
            config,
            author: "me".into(),
            comment: "a remark".into(),
            created_by: "sh".into(),
            reference,
        })
    };
    let id = commit(&upper, Some(&name)).unwrap();
    let image = lab.store.resolve("me/app:1", None).unwrap();
    assert_eq!((image.id.clone(), image.layers.len()), (id, 2));
    assert_eq!(
        std::fs::read(image.layers[0].join("etc/new")).unwrap(),
        b"new"
    );
    let details = lab.store.inspect("me/app:1", None).unwrap();
    assert_eq!(details.parent, Some(parent.id.clone()));
    assert_eq!(details.config.author, "me");
    let history = lab.store.history("me/app:1", None).unwrap();
    assert_eq!(
        (history.len(), history[0].comment.as_str()),
        (2, "a remark")
    );

    // Nothing changed: no layer.
    std::fs::create_dir(lab.path("empty")).unwrap();
    let id = commit(&lab.path("empty"), None).unwrap();
    let same = lab.store.resolve(id.as_str(), None).unwrap();
    assert_eq!(same.layers, parent.layers);
    assert!(same.config.history.last().unwrap().empty_layer);
}

#[test]
fn the_store_may_be_used_from_many_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Store>();
    let lab = Lab::new();
    let archive = busybox(&["busybox"]);
    std::thread::scope(|scope| {
        for at in 0..4 {
            let (lab, archive) = (&lab, &archive);
            scope.spawn(move || {
                for round in 0..4 {
                    lab.load(archive);
                    let name = format!("t{at}:{round}");
                    lab.load(&small(&[&name], &name, "{}"));
                    lab.store.resolve("busybox", None).unwrap();
                    lab.store.remove(&name, &unused(false)).unwrap();
                }
            });
        }
    });
    assert_eq!((lab.blob_count(), lab.layer_count()), (3, 1));
}

#[test]
fn a_damaged_list_loses_names_and_no_images() {
    let mut lab = Lab::new();
    lab.load(&busybox(&["busybox"]));
    let id = lab.store.id("busybox").unwrap();
    std::fs::write(lab.path("image/index.json"), "{ torn").unwrap();
    lab.reopen();
    assert!(lab.path("image/index.damaged").exists());
    assert!(lab.store.resolve(id.as_str(), None).is_ok());
    lab.store.tag(id.as_str(), &reference("busybox")).unwrap();
    assert!(lab.store.resolve("busybox", None).is_ok());
}

#[test]
fn a_damaged_image_does_not_damage_the_others() {
    let mut lab = Lab::new();
    lab.load(&busybox(&["good"]));
    lab.load(&small(&["bad"], "bad", "{}"));
    let bad = lab.store.id("bad").unwrap();
    std::fs::write(lab.path("image/blobs/sha256").join(bad.hex()), "{ torn").unwrap();
    lab.reopen();
    assert!(matches!(
        lab.store.resolve("bad", None),
        Err(Error::Mismatch { .. })
    ));
    assert!(lab.store.resolve("good", None).is_ok());
    assert_eq!(lab.store.list(&ListFilter::default()).unwrap().len(), 2);
    lab.load(&small(&["new"], "new", "{}"));
    lab.store.remove("new", &unused(false)).unwrap();
    lab.store.remove("bad", &unused(false)).unwrap();
    assert_eq!((lab.blob_count(), lab.layer_count()), (3, 1));
}
