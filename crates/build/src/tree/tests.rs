use std::path::Path;

use super::*;

fn meta(mode: u32, mtime_ns: i64) -> Meta {
    Meta {
        mode,
        mtime_ns,
        ..Meta::default()
    }
}

fn trees() -> (tempfile::TempDir, Trees) {
    let dir = tempfile::tempdir().unwrap();
    let trees = Trees::open(&dir.path().join("trees")).unwrap();
    (dir, trees)
}

fn put(writer: &mut TreeWriter, path: &str, text: &str, mtime_ns: i64) {
    writer
        .file(Path::new(path), &mut text.as_bytes(), meta(0o644, mtime_ns))
        .unwrap();
}

/// As an archive may have it that names a path twice.
#[test]
fn what_took_an_entry_s_place_does_not_pass_for_it() {
    let (_dir, trees) = trees();
    let mut writer = trees.writer("client").unwrap();
    writer.directory(Path::new("d"), meta(0o755, 1)).unwrap();
    writer
        .symlink(Path::new("l"), b"d", meta(0o777, 1))
        .unwrap();
    drop(writer.finish().unwrap());
    let mut writer = trees.writer("client").unwrap();
    put(&mut writer, "d", "a file", 1);
    put(&mut writer, "l", "a file", 1);
    writer.directory(Path::new("d"), meta(0o755, 1)).unwrap();
    writer
        .symlink(Path::new("l"), b"d", meta(0o777, 1))
        .unwrap();
    put(&mut writer, "d/f", "inside", 1);
    writer
        .directory(Path::new("d/sub"), meta(0o755, 1))
        .unwrap();
    let tree = writer.finish().unwrap();
    assert_eq!(tree.read("l/f", 10).unwrap().unwrap(), b"inside");
    drop(tree);
    let mut writer = trees.writer("client").unwrap();
    put(&mut writer, "d", "a file", 1);
    for path in ["d", "d/sub"] {
        writer.directory(Path::new(path), meta(0o755, 1)).unwrap();
    }
    put(&mut writer, "d/sub/f", "below", 1);
    let tree = writer.finish().unwrap();
    assert_eq!(tree.read("d/sub/f", 10).unwrap().unwrap(), b"below");
}

#[test]
fn only_what_changed_must_be_brought_again() {
    let (_dir, trees) = trees();
    let mut writer = trees.writer("client").unwrap();
    put(&mut writer, "a", "one", 1);
    put(&mut writer, "b/c", "two", 1);
    put(&mut writer, "gone", "three", 1);
    drop(writer.finish().unwrap());

    let mut writer = trees.writer("client").unwrap();
    assert!(writer.keep(Path::new("a"), 3, meta(0o644, 1)));
    assert!(
        !writer.keep(Path::new("b/c"), 3, meta(0o644, 2)),
        "its time"
    );
    assert!(
        !writer.keep(Path::new("b/c"), 4, meta(0o644, 1)),
        "its size"
    );
    assert!(
        !writer.keep(Path::new("b/c"), 3, meta(0o755, 1)),
        "its mode"
    );
    let changed = Meta {
        change: (5, 7),
        ..meta(0o644, 1)
    };
    assert!(
        !writer.keep(Path::new("a"), 3, changed),
        "written with its time put back"
    );
    assert!(!writer.keep(Path::new("new"), 3, meta(0o644, 1)));
    put(&mut writer, "b/c", "TWO", 2);
    let tree = writer.finish().unwrap();
    let paths: Vec<_> = tree
        .entries()
        .keys()
        .map(|path| path.to_str().unwrap())
        .collect();
    assert_eq!(paths, ["a", "b", "b/c"]);
    assert_eq!(tree.read("b/c", 10).unwrap().unwrap(), b"TWO");
    assert_eq!(tree.read("gone", 10), Ok(None));
    assert!(tree.read("b/c", 2).unwrap_err().contains("larger than 2"));
    assert_eq!(tree.received(), 3);
}

#[test]
fn a_tree_in_use_is_not_changed_by_another_build() {
    let (_dir, trees) = trees();
    let mut writer = trees.writer("client").unwrap();
    put(&mut writer, "a", "one", 1);
    let first = writer.finish().unwrap();
    let mut writer = trees.writer("client").unwrap();
    put(&mut writer, "a", "two", 2);
    let second = writer.finish().unwrap();
    assert_eq!(first.read("a", 10).unwrap().unwrap(), b"one");
    assert_eq!(second.read("a", 10).unwrap().unwrap(), b"two");
}

#[test]
fn a_temporary_tree_goes_away_with_its_user() {
    let (dir, trees) = trees();
    let mut writer = trees.temporary().unwrap();
    put(&mut writer, "a", "one", 1);
    let tree = writer.finish().unwrap();
    assert!(tree.path().join("a").exists());
    drop(tree);
    assert_eq!(
        std::fs::read_dir(dir.path().join("trees")).unwrap().count(),
        0
    );
}

#[test]
fn links_lead_nowhere_else() {
    let (dir, trees) = trees();
    std::fs::write(dir.path().join("secret"), "host").unwrap();
    let mut writer = trees.temporary().unwrap();
    let out = dir.path().to_str().unwrap().to_owned();
    writer
        .symlink(Path::new("out"), out.as_bytes(), Meta::default())
        .unwrap();
    // What is written below a link replaces the link.
    put(&mut writer, "out/secret", "mine", 1);
    for path in ["../up", "/absolute", "a/../../up"] {
        let outcome = writer.file(Path::new(path), &mut &b"x"[..], Meta::default());
        assert!(outcome.is_err(), "{path}");
    }
    let tree = writer.finish().unwrap();
    assert_eq!(std::fs::read(dir.path().join("secret")).unwrap(), b"host");
    assert_eq!(tree.entries()[Path::new("out")].kind, Kind::Directory);
}

#[test]
fn a_damaged_index_counts_as_none() {
    for bytes in [&b""[..], b"hull tree 3\nxx", b"hull tree 2\n", &[0xff; 64]] {
        assert!(super::index::parse_for_test(bytes).is_none());
    }
    assert!(super::index::parse_for_test(b"hull tree 3\n").is_some());
}

#[test]
fn what_lay_in_a_directory_that_became_a_link_is_not_kept() {
    let (_dir, trees) = trees();
    let mut writer = trees.writer("client").unwrap();
    put(&mut writer, "d/f", "one", 1);
    put(&mut writer, "e/f", "two", 1);
    drop(writer.finish().unwrap());

    let mut writer = trees.writer("client").unwrap();
    assert!(writer.keep(Path::new("e/f"), 3, meta(0o644, 1)));
    writer
        .symlink(Path::new("d"), b"e", meta(0o777, 1))
        .unwrap();
    assert!(!writer.keep(Path::new("d/f"), 3, meta(0o644, 1)));
    drop(writer.finish().unwrap());

    // The other way round: what was kept goes when its directory does.
    let mut writer = trees.writer("client").unwrap();
    assert!(writer.keep(Path::new("e/f"), 3, meta(0o644, 1)));
    writer
        .symlink(Path::new("e"), b"d", meta(0o777, 1))
        .unwrap();
    let tree = writer.finish().unwrap();
    let paths: Vec<_> = tree.entries().keys().collect();
    assert_eq!(paths, [Path::new("e")]);
}

#[test]
fn files_look_on_the_disk_as_they_do_at_the_client_s() {
    use std::os::unix::fs::MetadataExt as _;
    let (_dir, trees) = trees();
    let mut writer = trees.temporary().unwrap();
    let look = meta(0o4755, 1_700_000_000_000_000_005);
    writer.file(Path::new("run"), &mut &b"x"[..], look).unwrap();
    let tree = writer.finish().unwrap();
    let found = std::fs::metadata(tree.path().join("run")).unwrap();
    assert_eq!(found.mode() & 0o7777, 0o755);
    assert_eq!((found.mtime(), found.mtime_nsec()), (1_700_000_000, 5));
}

#[test]
fn what_a_power_cut_may_have_torn_is_not_kept() {
    let (dir, trees) = trees();
    let fill = || {
        let mut writer = trees.writer("client").unwrap();
        put(&mut writer, "a", "one", 1);
        drop(writer.finish().unwrap());
    };
    let keeps = || {
        let mut writer = trees.writer("client").unwrap();
        let kept = writer.keep(Path::new("a"), 3, meta(0o644, 1));
        drop(writer.finish().unwrap());
        kept
    };
    let (mark, _) = {
        fill();
        trees.unsettled().remove(0)
    };
    assert!(mark.starts_with(dir.path()));
    assert!(keeps());
    std::fs::write(&mark, "another boot").unwrap();
    assert!(!keeps());
    // What the disk has is trusted after any boot.
    fill();
    trees.settled(&trees.unsettled());
    assert!(trees.unsettled().is_empty());
    assert!(keeps());
    assert!(trees.unsettled().is_empty(), "nothing was written");
}
