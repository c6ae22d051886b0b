//! Writable layers, on the real overlayfs. Every mount here is detached: the host's mount table
//! never shows one.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use hull_image::archive::{self, UnpackOptions};
use hull_image::diff::layer_tar;
use hull_image::{Change, ChangeKind, Overlay, Snapshot, Snapshotter, Store};
use hull_sys::beneath::Root;
use support::{Lab, Tar, busybox_layer, docker_archive, tree};

struct Container {
    lab: Lab,
    overlay: Overlay,
    snapshot: Snapshot,
}

impl Container {
    fn new(layers: &[Vec<u8>]) -> Self {
        let lab = Lab::new();
        lab.load(&docker_archive(layers, &["x"], "{}"));
        let overlay = Overlay::new(lab.dir.path()).unwrap();
        let dir = lab.path("containers/c1");
        std::fs::create_dir_all(&dir).unwrap();
        let image = lab.store.resolve("x", None).unwrap();
        let snapshot = overlay.prepare(&dir, &image).unwrap();
        Self {
            lab,
            overlay,
            snapshot,
        }
    }

    /// Changes the root through the mount, as a container does: by the path of an open directory.
    fn change(&self, change: impl FnOnce(PathBuf)) {
        let root = self.overlay.mount(&self.snapshot).unwrap();
        change(path_of(&root));
    }

    fn changes(&self) -> Vec<(u8, String)> {
        let changes = self.overlay.changes(&self.snapshot).unwrap();
        let text = |change: Change| (change.kind as u8, change.path.display().to_string());
        changes.into_iter().map(text).collect()
    }
}

fn path_of(root: &Root) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("/proc/self/fd/{}/.", root.as_fd().as_raw_fd()))
}

fn changed(list: &[(u8, &str)]) -> Vec<(u8, String)> {
    list.iter()
        .map(|(kind, path)| (*kind, (*path).to_owned()))
        .collect()
}

#[test]
fn a_new_writable_layer_looks_like_the_images_root() {
    let mut root = Tar::header(tar::EntryType::Directory, 0o711, 0);
    root.set_uid(5);
    let container = Container::new(&[Tar::new().raw(root, b"./", b"").file("x", b"1").end()]);
    let upper = std::fs::metadata(&container.snapshot.upper).unwrap();
    assert_eq!(
        (upper.permissions().mode() & 0o7777, upper.uid()),
        (0o711, 5)
    );
    assert_eq!(
        container.overlay.usage(&container.snapshot).unwrap(),
        Default::default()
    );
    assert!(container.changes().is_empty());
}

#[test]
fn changes_are_told_as_docker_tells_them() {
    let second = Tar::new()
        .dir("opt/")
        .file("opt/a", b"1")
        .file("opt/b", b"2")
        .dir("opt/d/")
        .file("opt/d/x", b"")
        .end();
    let container = Container::new(&[busybox_layer(), second]);
    assert_eq!(ChangeKind::Deleted as u8, 2);
    container.change(|root| {
        std::fs::write(root.join("etc/passwd"), "changed").unwrap();
        std::fs::write(root.join("etc/new"), "new").unwrap();
        std::fs::create_dir_all(root.join("srv/deep")).unwrap();
        std::fs::remove_file(root.join("opt/a")).unwrap();
        std::fs::remove_dir_all(root.join("opt/d")).unwrap();
        std::fs::remove_file(root.join("bin/sh")).unwrap();
    });
    assert_eq!(
        container.changes(),
        changed(&[
            (0, "/bin"),
            (2, "/bin/sh"),
            (0, "/etc"),
            (1, "/etc/new"),
            (0, "/etc/passwd"),
            (0, "/opt"),
            (2, "/opt/a"),
            (2, "/opt/d"),
            (1, "/srv"),
            (1, "/srv/deep"),
        ])
    );
    let usage = container.overlay.usage(&container.snapshot).unwrap();
    assert_eq!(usage.bytes, 10);
}

#[test]
fn a_directory_made_anew_hides_what_was_in_it() {
    let container = Container::new(&[busybox_layer()]);
    container.change(|root| {
        std::fs::remove_dir_all(root.join("etc")).unwrap();
        std::fs::create_dir(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/hosts"), "").unwrap();
        std::fs::remove_file(root.join("bin/ls")).unwrap();
        std::fs::create_dir(root.join("bin/ls")).unwrap();
    });
    assert_eq!(
        container.changes(),
        changed(&[
            (0, "/bin"),
            (0, "/bin/ls"),
            (0, "/etc"),
            (1, "/etc/hosts"),
            (2, "/etc/passwd"),
        ])
    );
}

#[test]
fn what_is_undone_is_no_change() {
    let container = Container::new(&[busybox_layer()]);
    container.change(|root| {
        std::fs::write(root.join("tmp/x"), "").unwrap();
        std::fs::remove_file(root.join("tmp/x")).unwrap();
    });
    // The directory's time changed, and Docker says so.
    assert_eq!(container.changes(), changed(&[(0, "/tmp")]));
}

#[test]
fn a_layer_of_the_changes_makes_the_same_root() {
    let container = Container::new(&[busybox_layer()]);
    container.change(|root| {
        std::fs::remove_dir_all(root.join("etc")).unwrap();
        std::fs::create_dir(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/hosts"), "x").unwrap();
        std::fs::remove_file(root.join("bin/sh")).unwrap();
        std::fs::hard_link(root.join("etc/hosts"), root.join("etc/again")).unwrap();
    });
    let mut layer = Vec::new();
    layer_tar(&container.snapshot.upper, None, &mut layer).unwrap();
    let mut names = Vec::new();
    for entry in tar::Archive::new(&layer[..]).entries().unwrap() {
        names.push(entry.unwrap().path().unwrap().display().to_string());
    }
    assert_eq!(
        names,
        [
            "bin/",
            "bin/.wh.sh",
            "etc/",
            "etc/.wh..wh..opq",
            "etc/again",
            "etc/hosts"
        ]
    );
    let mut expected = Vec::new();
    container.change(|root| expected = tree(&root));
    let rebuilt = Container::new(&[busybox_layer(), layer]);
    rebuilt.change(|root| assert_eq!(tree(&root), expected));
}

#[test]
fn mounts_are_never_seen_on_the_host() {
    let container = Container::new(&[busybox_layer()]);
    let table = || {
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let tmp = container.lab.dir.path().display().to_string();
        text.lines()
            .filter(|line| line.contains(&tmp) || line.contains(" hull "))
            .count()
    };
    let root = container.overlay.mount(&container.snapshot).unwrap();
    assert_eq!(table(), 0);
    drop(root);
    // Unmounted: it can be mounted again, and the directory removed.
    drop(container.overlay.mount(&container.snapshot).unwrap());
    container
        .overlay
        .remove(&container.lab.path("containers/c1"))
        .unwrap();
    assert!(!container.lab.path("containers/c1").exists());
    let trash = hull_image::Trash::open(container.lab.dir.path()).unwrap();
    trash.empty().unwrap();
    assert!(tree(&container.lab.path("trash")).is_empty());
}

#[test]
fn an_images_root_is_mounted_read_only() {
    for layers in [
        vec![busybox_layer()],
        vec![busybox_layer(), Tar::new().file("x", b"1").end()],
    ] {
        let lab = Lab::new();
        lab.load(&docker_archive(&layers, &["x"], "{}"));
        let overlay = Overlay::new(lab.dir.path()).unwrap();
        let root = overlay
            .mount_image(&lab.store.resolve("x", None).unwrap())
            .unwrap();
        assert!(path_of(&root).join("bin/busybox").exists());
        assert!(std::fs::write(path_of(&root).join("new"), "x").is_err());
    }
}

#[test]
fn an_image_without_layers_gives_an_empty_root() {
    let container = Container::new(&[]);
    container.change(|root| std::fs::write(root.join("new"), "").unwrap());
    assert_eq!(container.changes(), changed(&[(1, "/new")]));
}

#[test]
fn many_layers_are_mounted() {
    let layers: Vec<Vec<u8>> = (0..120)
        .map(|at| Tar::new().file(&format!("f{at}"), b"x").end())
        .collect();
    let container = Container::new(&layers);
    container.change(|root| assert_eq!(tree(&root).len(), 120));
}

#[test]
fn a_failed_preparation_leaves_nothing_behind() {
    let container = Container::new(&[busybox_layer()]);
    let image = container.lab.store.resolve("x", None).unwrap();
    let dir = container.lab.path("containers/c2");
    std::fs::create_dir_all(dir.join("upper")).unwrap();
    assert!(container.overlay.prepare(&dir, &image).is_err());
    assert!(!dir.join("work").exists());
}

/// A tree with most of what can be in one, below `d/`.
fn varied() -> Vec<u8> {
    let mut archive = Tar::new();
    let attribute = [("SCHILY.xattr.user.a", &b"b\0c"[..])];
    archive.0.append_pax_extensions(attribute).unwrap();
    let mut owned = Tar::header(tar::EntryType::Regular, 0o6755, 4);
    owned.set_uid(1000);
    owned.set_gid(1001);
    let odd = Tar::header(tar::EntryType::Regular, 0o644, 1);
    let fifo = Tar::header(tar::EntryType::Fifo, 0o622, 0);
    archive
        .raw(owned, b"d/tool", b"#!\n\n")
        .symlink("d/link", "tool")
        .hard_link("d/same", "d/tool")
        .raw(fifo, b"d/fifo", b"")
        .raw(odd, b"d/\xff\xfe", b"x")
        .end()
}

#[test]
fn files_travel_into_a_stopped_container() {
    let container = Container::new(&[busybox_layer()]);
    let root = container.overlay.mount(&container.snapshot).unwrap();
    let archive = support::gzip(&varied());
    archive::unpack(&root, "/tmp", &archive[..], UnpackOptions::default()).unwrap();
    let path = path_of(&root);
    let tool = std::fs::metadata(path.join("tmp/d/tool")).unwrap();
    let looks = (tool.mode() & 0o7777, tool.uid(), tool.gid());
    assert_eq!(looks, (0o6755, 1000, 1001));
    assert_eq!((tool.nlink(), tool.mtime()), (2, 1_000_000_000));
    let fifo = std::fs::metadata(path.join("tmp/d/fifo")).unwrap();
    assert_eq!(fifo.mode() & 0o7777, 0o622);
}

fn packed_names(root: &Root, path: &str) -> Vec<String> {
    let mut packed = Vec::new();
    archive::pack(root, path, &mut packed).unwrap();
    let mut archive = tar::Archive::new(&packed[..]);
    let name = |entry: std::io::Result<tar::Entry<'_, _>>| {
        String::from_utf8_lossy(&entry.unwrap().path_bytes()).into_owned()
    };
    archive.entries().unwrap().map(name).collect()
}

#[test]
fn files_come_out_under_the_last_element_of_the_path() {
    let container = Container::new(&[busybox_layer()]);
    let root = container.overlay.mount(&container.snapshot).unwrap();
    archive::unpack(&root, "/tmp", &varied()[..], UnpackOptions::default()).unwrap();
    let below = |prefix: &str| -> Vec<String> {
        let inside = ["", "fifo", "link", "same", "tool", "\u{fffd}\u{fffd}"];
        inside
            .iter()
            .map(|name| format!("{prefix}{name}"))
            .collect()
    };
    assert_eq!(packed_names(&root, "/tmp/d"), below("d/"));
    assert_eq!(packed_names(&root, "tmp/d/"), below("d/"));
    assert_eq!(packed_names(&root, "/tmp/d/."), below("./"));
    assert_eq!(packed_names(&root, "/tmp/d/link"), ["link"]);
    assert_eq!(packed_names(&root, "/tmp/d/tool"), ["tool"]);
    assert_eq!(packed_names(&root, "/")[..2], ["/", "/bin/"]);
}

#[test]
fn an_exported_root_imports_the_same() {
    let container = Container::new(&[busybox_layer()]);
    let root = container.overlay.mount(&container.snapshot).unwrap();
    archive::unpack(&root, "/tmp", &varied()[..], UnpackOptions::default()).unwrap();
    let mut exported = Vec::new();
    archive::export(&root, &mut exported).unwrap();
    let store = Store::open(&container.lab.path("second/image")).unwrap();
    let import = hull_image::store::Import::default();
    let id = store.import(&exported[..], &import).unwrap();
    let image = store.resolve(id.as_str(), None).unwrap();
    assert_eq!(tree(&image.layers[0]), tree(&path_of(&root)));
    let again = Root::new(&image.layers[0]).unwrap();
    let directory = again.resolve("tmp/d").unwrap();
    let value = hull_sys::xattr::get(directory, "tool".as_ref(), "user.a".as_ref());
    assert_eq!(value.unwrap().unwrap(), b"b\0c");
}

#[test]
fn copies_follow_the_containers_links_and_keep_kinds_apart() {
    let container = Container::new(&[busybox_layer()]);
    let root = container.overlay.mount(&container.snapshot).unwrap();
    let path = path_of(&root);
    std::os::unix::fs::symlink("/etc", path.join("config")).unwrap();
    let one = Tar::new().file("one", b"1").end();
    archive::unpack(&root, "/config", &one[..], UnpackOptions::default()).unwrap();
    assert_eq!(std::fs::read(path.join("etc/one")).unwrap(), b"1");

    let keep = || UnpackOptions {
        no_overwrite_dir_non_dir: true,
        owner: Some((7, 8)),
        ..UnpackOptions::default()
    };
    let error =
        archive::unpack(&root, "/", &Tar::new().file("etc", b"").end()[..], keep()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot overwrite directory \"etc\" with non-directory \"etc\""
    );
    assert!(archive::unpack(&root, "/", &Tar::new().dir("bin/ls/").end()[..], keep()).is_err());
    archive::unpack(&root, "/etc", &one[..], keep()).unwrap();
    let one = std::fs::metadata(path.join("etc/one")).unwrap();
    assert_eq!((one.uid(), one.gid()), (7, 8));

    let error = archive::unpack(&root, "/none", &b""[..], keep()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Could not find the file /none in container"
    );
    let error = archive::unpack(&root, "/etc/passwd", &b""[..], keep()).unwrap_err();
    assert_eq!(error.to_string(), "extraction point is not a directory");
    let error = archive::pack(&root, "/none", Vec::new()).unwrap_err();
    assert_eq!(error.kind(), hull_image::Kind::NotFound);
}
