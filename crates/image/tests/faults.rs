//! A killed process, a full disk, an archive without end: what the store is afterwards.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::{self, Read};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hull_image::Store;
use hull_image::store::{Finding, Fsck, ListFilter, Removal, Trouble};
use hull_sys::mount::FileSystem;
use support::{Lab, Tar, busybox, docker_archive, gzip, small};

/// Set in a child: the data root it works on.
const ROOT: &str = "HULL_TEST_ROOT";
/// Set in a child: the archive it loads.
const ARCHIVE: &str = "HULL_TEST_ARCHIVE";
/// System calls that change the disk.
const CHANGES: &str = "rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,linkat,symlink,symlinkat,syncfs,fsync,fdatasync,fchown";

fn look(store: &Store, repair: bool) -> Vec<Finding> {
    let order = Fsck {
        repair,
        contents: true,
        busy: &|_| None,
    };
    store.fsck(&order).unwrap()
}

fn archive() -> Vec<u8> {
    let base = Tar::new().dir("etc/").file("etc/one", b"1").end();
    let upper = Tar::new()
        .file("etc/two", b"2")
        .hard_link("etc/three", "etc/one")
        .end();
    docker_archive(&[gzip(&base), gzip(&upper)], &["app:1", "app:2"], "{}")
}

/// What the child of the next test does, when it is one.
#[test]
fn child_loads_and_removes() {
    let (Some(root), Some(archive)) = (std::env::var_os(ROOT), std::env::var_os(ARCHIVE)) else {
        return;
    };
    let root = PathBuf::from(root);
    let store = Store::open(&root.join("image")).unwrap();
    let bytes = fs::read(archive).unwrap();
    store.load(&bytes[..], &[], &mut |_| {}).unwrap();
    fs::write(root.join("loaded"), "").unwrap();
    let removal = Removal {
        force: false,
        users: &|_| Vec::new(),
    };
    store.remove("old:1", &removal).unwrap();
    fs::write(root.join("removed"), "").unwrap();
}

/// Runs that child, killed at the n-th change of the disk. Whether it came to its end.
fn killed_at(number: u32, root: &Path, archive: &Path) -> bool {
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("trace={CHANGES}"))
        .arg("-e")
        .arg(format!("inject={CHANGES}:signal=KILL:when={number}"))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_loads_and_removes"])
        .env(ROOT, root)
        .env(ARCHIVE, archive)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    status.success()
}

#[test]
fn killed_at_any_change_nothing_half_made_is_visible() {
    let lab = Lab::new();
    lab.load(&small(&["old:1"], "old", "{}"));
    lab.load(&small(&["stays:1"], "stays", "{}"));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), archive()).unwrap();
    for number in 1.. {
        let copy = tempfile::tempdir().unwrap();
        support::run(
            "cp",
            &[
                "-a",
                &format!("{}/.", lab.dir.path().display()),
                copy.path().to_str().unwrap(),
            ],
        );
        let has_ended = killed_at(number, copy.path(), file.path());
        let (loaded, removed) = (copy.path().join("loaded"), copy.path().join("removed"));
        assert!(!has_ended || removed.exists());
        let store = Store::open(&copy.path().join("image")).unwrap();
        let damage = look(&store, false);
        assert!(
            damage
                .iter()
                .all(|finding| finding.trouble == Trouble::Orphan),
            "killed at change {number}: {damage:?}"
        );
        let names = names(&store);
        let has = |name: &str| names.iter().any(|known| known == name);
        assert!(has("stays:1"), "killed at change {number}: {names:?}");
        assert!(!loaded.exists() || has("app:1") && has("app:2"));
        assert!(!removed.exists() || !has("old:1"));
        for name in &names {
            let image = store.resolve(name, None).unwrap();
            assert!(image.layers.iter().all(|layer| layer.is_dir()));
        }
        store.collect_garbage().unwrap();
        assert_eq!(look(&store, false), [], "killed at change {number}");
        // Whatever was interrupted can be done again.
        let bytes = fs::read(file.path()).unwrap();
        store.load(&bytes[..], &[], &mut |_| {}).unwrap();
        assert_eq!(look(&store, false), []);
        if has_ended {
            assert!(number > 10, "the child was killed {number} times only");
            return;
        }
    }
}

fn names(store: &Store) -> Vec<String> {
    let images = store.list(&ListFilter::default()).unwrap();
    images
        .into_iter()
        .flat_map(|image| image.repo_tags)
        .collect()
}

#[test]
fn a_full_disk_is_an_error_that_leaves_nothing() {
    let archive = busybox(&["busybox:1"]);
    let little = small(&["little:1"], "little", "{}");
    let mut failed = 0;
    for size in (512 << 10..).step_by(512 << 10) {
        let disk = FileSystem::new("tmpfs").unwrap();
        disk.set("size", size.to_string()).unwrap();
        // Mounted nowhere: gone with its descriptor.
        let disk = disk.mount(0).unwrap();
        let root = PathBuf::from(format!("/proc/self/fd/{}", disk.as_raw_fd()));
        let store = Store::open(&root.join("image")).unwrap();
        let trash = hull_image::Trash::open(&root).unwrap();
        store.load(&little[..], &[], &mut |_| {}).unwrap();
        match store.load(&archive[..], &[], &mut |_| {}) {
            Ok(_) => {
                assert!(failed > 1, "the disk was never full");
                return;
            }
            Err(error) => {
                failed += 1;
                let text = format!("{error}");
                assert!(text.contains("No space left on device"), "{text}");
            }
        }
        trash.empty().unwrap();
        assert_eq!(look(&store, false), []);
        assert_eq!(names(&store), ["little:1"]);
        // A full disk keeps nobody from making room.
        fs::write(root.join("filler"), vec![0; size]).unwrap_err();
        let removal = Removal {
            force: false,
            users: &|_| Vec::new(),
        };
        store.remove("little:1", &removal).unwrap();
        trash.empty().unwrap();
        assert_eq!(look(&store, false), []);
    }
}

/// A layer of one large file of zeros, made while it is read.
struct Endless {
    head: io::Cursor<Vec<u8>>,
    zeros: u64,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.head.read(buffer)?;
        if got > 0 || self.zeros == 0 {
            return Ok(got);
        }
        let got = buffer
            .len()
            .min(usize::try_from(self.zeros).unwrap_or(usize::MAX));
        buffer[..got].fill(0);
        self.zeros -= got as u64;
        Ok(got)
    }
}

/// What the child of the next test does, when it is one.
#[test]
fn child_loads_a_large_layer() {
    let Some(root) = std::env::var_os(ROOT).filter(|_| std::env::var_os(ARCHIVE).is_none()) else {
        return;
    };
    let size: u64 = 256 << 20;
    let mut file = Tar::header(tar::EntryType::Regular, 0o644, size);
    file.set_path("zeros").unwrap();
    file.set_cksum();
    let mut outer = Tar::header(tar::EntryType::Regular, 0o644, size + 3 * 512);
    outer.set_path("blobs/layer").unwrap();
    outer.set_cksum();
    let head = [outer.as_bytes().as_slice(), file.as_bytes()].concat();
    let source = Endless {
        head: io::Cursor::new(head),
        zeros: size + 4 * 512,
    };
    let store = Store::open(&PathBuf::from(root).join("image")).unwrap();
    // It holds no image: said at its end, when all has gone through.
    let error = store.load(source, &[], &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("holds no image"), "{error}");
    let import = hull_image::store::Import::default();
    let head = file.as_bytes().to_vec();
    let source = Endless {
        head: io::Cursor::new(head),
        zeros: size + 2 * 512,
    };
    store.import(source, &import).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    let kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 64 << 10, "{kib} KiB");
}

#[test]
fn memory_does_not_grow_with_a_layer() {
    let lab = Lab::new();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_loads_a_large_layer"])
        .env(ROOT, lab.dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
}

#[test]
fn a_lost_list_loses_names_and_no_image() {
    let mut lab = Lab::new();
    lab.load(&archive());
    fs::remove_file(lab.path("image/index.json")).unwrap();
    lab.reopen();
    let found = lab.store.list(&ListFilter::default()).unwrap();
    assert_eq!(found.len(), 1);
    // Nothing of it is garbage.
    lab.store.collect_garbage().unwrap();
    assert_eq!(look(&lab.store, false), []);
    let id = found[0].id.clone();
    assert!(lab.store.resolve(&id.to_string(), None).is_ok());
}
