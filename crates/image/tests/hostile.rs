//! Archives and containers that mean harm.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use hull_image::archive::{self, UnpackOptions};
use hull_sys::beneath::Root;
use support::{Lab, Tar, docker_archive, tree};
use tar::EntryType;

/// A root with a secret beside it, which must stay as it is.
struct Victim {
    dir: tempfile::TempDir,
}

impl Victim {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("root/dir")).unwrap();
        std::fs::create_dir_all(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/secret"), "host content").unwrap();
        Self { dir }
    }

    fn root(&self) -> Root {
        Root::new(self.dir.path().join("root")).unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn unpack(&self, archive: &[u8]) -> hull_image::Result<()> {
        archive::unpack(&self.root(), "/", archive, UnpackOptions::default())
    }

    fn assert_untouched(&self) {
        assert_eq!(tree(&self.path("outside")), ["secret"]);
        assert_eq!(
            std::fs::read(self.path("outside/secret")).unwrap(),
            b"host content"
        );
        let secret = std::fs::metadata(self.path("outside/secret")).unwrap();
        assert_eq!((secret.mode() & 0o7777, secret.uid()), (0o644, 0));
        let mut top = tree(self.dir.path());
        top.retain(|path| !path.contains('/'));
        assert_eq!(top, ["outside", "root"]);
    }
}

#[test]
fn names_cannot_climb_out() {
    for name in [
        "../evil",
        "../../evil",
        "a/../../evil",
        "/../evil",
        "dir/../../outside/evil",
    ] {
        let victim = Victim::new();
        let header = Tar::header(EntryType::Regular, 0o644, 1);
        let archive = Tar::new().raw(header, name.as_bytes(), b"x").end();
        assert!(victim.unpack(&archive).is_err(), "{name}");
        victim.assert_untouched();
    }
}

#[test]
fn absolute_names_and_inner_dots_stay_inside() {
    let victim = Victim::new();
    let header = || Tar::header(EntryType::Regular, 0o644, 1);
    let archive = Tar::new()
        .raw(header(), b"/etc/one", b"x")
        .raw(header(), b"./dir/./../two", b"y")
        .raw(header(), b"//three", b"z")
        .end();
    victim.unpack(&archive).unwrap();
    for name in ["etc/one", "two", "three"] {
        assert!(victim.path("root").join(name).exists(), "{name}");
    }
    victim.assert_untouched();
}

/// Archives whose links lead out, each in its own way.
fn links_out(outside: &str) -> Vec<(&'static str, Tar)> {
    let secret = format!("{outside}/secret");
    let link = |target: &str| Tar::new().symlink("l", target);
    let deep = Tar::new().dir("a/").symlink("a/l", "../../outside");
    let chained = Tar::new().symlink("m", "..").symlink("l", "m/outside");
    vec![
        ("absolute", link(outside).file("l/evil", b"x")),
        ("relative", link("../outside").file("l/evil", b"x")),
        ("deep", deep.file("a/l/evil", b"x")),
        ("chained", chained.file("l/evil", b"x")),
        (
            "directory",
            link("../outside").dir("l/sub/").file("l/sub/x", b""),
        ),
        ("self", link("l").file("l/x", b"")),
        ("over", link(&secret).file("l", b"evil")),
        ("mode", link(&secret).mode("l", b"", 0o6777)),
        ("magic", link("/proc/self/root").file("l/evil", b"x")),
    ]
}

#[test]
fn links_in_the_archive_lead_nowhere_else() {
    let victim = Victim::new();
    let outside = victim.path("outside").display().to_string();
    for (name, archive) in links_out(&outside) {
        let archive = archive.end();
        // Refused or put inside: both will do.
        let _ = victim.unpack(&archive);
        let image = docker_archive(&[archive], &["evil"], "{}");
        let _ = Lab::new().store.load(&image[..], &[], &mut |_| {});
        victim.assert_untouched();
        std::fs::remove_dir_all(victim.path("root")).unwrap();
        std::fs::create_dir_all(victim.path("root/dir")).unwrap();
        assert!(!Path::new("/evil").exists(), "{name}");
    }
}

#[test]
fn hard_links_cannot_take_files_in() {
    for target in ["../outside/secret", "/../outside/secret", "l/secret"] {
        let victim = Victim::new();
        symlink("../outside", victim.path("root/l")).unwrap();
        let archive = Tar::new()
            .hard_link("stolen", target)
            .mode("stolen", b"evil", 0o777)
            .end();
        let _ = victim.unpack(&archive);
        assert_eq!(
            std::fs::metadata(victim.path("outside/secret"))
                .unwrap()
                .nlink(),
            1
        );
        victim.assert_untouched();
    }
}

#[test]
fn overlayfs_marks_come_from_whiteouts_only() {
    let mut archive = Tar::new();
    let extensions: [(&str, &[u8]); 4] = [
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.trusted.overlay.metacopy", b""),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.kept", b"value"),
    ];
    archive.0.append_pax_extensions(extensions).unwrap();
    let layer = archive
        .dir("d/")
        .file("d/.wh.gone", b"")
        .file("d/.wh...", b"")
        .end();
    let lab = Lab::new();
    lab.load(&docker_archive(&[layer], &["x"], "{}"));
    let fs = lab.store.resolve("x", None).unwrap().layers[0].clone();
    let root = Root::new(&fs).unwrap();
    let names = hull_sys::xattr::list(&root, "d".as_ref()).unwrap();
    assert_eq!(names, ["user.kept"]);
    let gone = std::fs::symlink_metadata(fs.join("d/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert_eq!(tree(&fs), ["d", "d/gone"]);
}

#[test]
fn whiteouts_hide_what_lies_below_and_not_their_own_layer() {
    let layer = Tar::new()
        .dir("a/")
        .file("a/own", b"kept")
        .file("a/.wh..wh..opq", b"")
        .file("a/.wh.own", b"")
        .file(".wh.replaced", b"")
        .dir("replaced/")
        .file(".wh..wh.plnk", b"")
        .end();
    let lab = Lab::new();
    lab.load(&docker_archive(&[layer], &["x"], "{}"));
    let fs = lab.store.resolve("x", None).unwrap().layers[0].clone();
    assert_eq!(tree(&fs), ["a", "a/own", "replaced"]);
    assert_eq!(std::fs::read(fs.join("a/own")).unwrap(), b"kept");
    let root = Root::new(&fs).unwrap();
    for name in ["a", "replaced"] {
        let value = hull_sys::xattr::get(&root, name.as_ref(), "trusted.overlay.opaque".as_ref());
        assert_eq!(value.unwrap().as_deref(), Some(&b"y"[..]), "{name}");
    }
}

#[test]
fn damaged_archives_are_refused() {
    let mut huge = Tar::header(EntryType::Regular, 0o644, 0);
    huge.set_size(u64::MAX >> 2);
    let mut long_name = Tar::header(EntryType::GNULongName, 0o644, 0);
    long_name.set_size(1 << 40);
    let mut pax = Tar::header(EntryType::XHeader, 0o644, 0);
    pax.set_size(1 << 40);
    let bad_record = |text: &[u8]| {
        let header = Tar::header(EntryType::XHeader, 0o644, text.len() as u64);
        Tar::new().raw(header, b"x", text).file("f", b"").end()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("size", Tar::new().raw(huge, b"f", b"").end()),
        ("long name", Tar::new().raw(long_name, b"f", b"").end()),
        ("pax", Tar::new().raw(pax, b"f", b"").end()),
        ("record length", bad_record(b"99999999999999999999 a=b\n")),
        ("record end", bad_record(b"5 a=b")),
        ("record nul", bad_record(b"12 path=a\0b\n")),
        ("record number", bad_record(b"9 uid=xy\n")),
        ("record negative", bad_record(b"11 size=-1\n")),
        ("garbage", vec![b'x'; 2048]),
        ("cut", Tar::new().file("f", &[1; 600]).end()[..900].to_vec()),
        (
            "zstd bomb's start",
            b"\x28\xb5\x2f\xfd\xff\xff\xff\xff".to_vec(),
        ),
        ("xz start", b"\xfd7zXZ\0\xff\xff".to_vec()),
    ];
    for (name, archive) in cases {
        let victim = Victim::new();
        assert!(victim.unpack(&archive).is_err(), "{name}");
        victim.assert_untouched();
    }
}

#[test]
fn a_last_block_that_is_not_filled_is_no_damage() {
    let archive = Tar::new().file("f", &[1; 600]).end();
    let victim = Victim::new();
    victim
        .unpack(&archive[..512 + 600])
        .expect("all that the file holds is there");
    assert!(victim.unpack(&archive[..512 + 599]).is_err());
}

#[test]
fn a_container_that_renames_cannot_lead_copies_out() {
    let victim = Victim::new();
    let root_path = victim.path("root");
    std::fs::create_dir_all(root_path.join("real")).unwrap();
    std::fs::write(root_path.join("real/file"), "inside").unwrap();
    symlink(victim.path("outside"), root_path.join("link")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (dir, link) = (root_path.join("dir"), root_path.join("link"));
            let (spare, real) = (root_path.join("spare"), root_path.join("real"));
            while !stop.load(Ordering::Relaxed) {
                for (from, to) in [(&dir, &spare), (&link, &dir), (&dir, &link), (&spare, &dir)] {
                    let _ = std::fs::rename(from, to);
                }
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let cwd = rustix::fs::CWD;
                let _ = rustix::fs::renameat_with(cwd, &real, cwd, &link, flags);
            }
        });
        let root = victim.root();
        let archive = Tar::new()
            .dir("dir/")
            .mode("dir/evil", b"evil", 0o6777)
            .dir("real/")
            .mode("real/secret", b"evil", 0o6777)
            .hard_link("real/stolen", "dir/secret")
            .end();
        for _ in 0..400 {
            let _ = archive::unpack(&root, "/", &archive[..], UnpackOptions::default());
            for path in ["/real/", "/dir", "/link/", "/"] {
                let mut packed = Vec::new();
                let _ = archive::pack(&root, path, &mut packed);
                let leaked = packed.windows(12).any(|bytes| bytes == b"host content");
                assert!(!leaked, "{path}");
                let _ = archive::stat(&root, "/real/secret");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    victim.assert_untouched();
    assert_eq!(
        std::fs::metadata(victim.path("outside/secret"))
            .unwrap()
            .nlink(),
        1
    );
}
