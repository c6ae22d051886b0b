//! The format: our reader against other writers, our writer against other readers.

use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::process::Command;

use hull_sys::beneath::Root;
use proptest::prelude::*;

use super::extract::{Options, clean, extract};
use super::read::Reader;
use super::write::Writer;
use super::{Entry, EntryKind};

fn read_all(archive: &[u8]) -> Vec<(Entry, Vec<u8>)> {
    let mut reader = Reader::new(archive);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        entries.push((entry, content));
    }
    entries
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![b'a'..=b'z', Just(b'/'), Just(b' '), 0x80..=0xffu8];
    proptest::collection::vec(byte, 1..300).prop_map(|mut name| {
        name[0] = b'n';
        let last = name.len() - 1;
        name[last] = b'n';
        name
    })
}

fn entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let kind = prop_oneof![
        Just(EntryKind::File),
        Just(EntryKind::Symlink),
        Just(EntryKind::HardLink),
        Just(EntryKind::Fifo),
        Just(EntryKind::CharDevice),
    ];
    let content = proptest::collection::vec(any::<u8>(), 0..2000);
    let xattrs = proptest::collection::btree_map("user\\.[a-z]{1,9}", any::<Vec<u8>>(), 0..3);
    let numbers = (0..0o10000u32, any::<u32>(), any::<u32>(), any::<i64>());
    (kind, name(), name(), content, xattrs, numbers).prop_map(
        |(kind, path, link, content, xattrs, (mode, uid, gid, seconds))| {
            let is_file = kind == EntryKind::File;
            let is_link = matches!(kind, EntryKind::Symlink | EntryKind::HardLink);
            let content = if is_file { content } else { Vec::new() };
            let entry = Entry {
                mode,
                uid,
                gid,
                mtime: (seconds, 0),
                size: content.len() as u64,
                link: if is_link { link } else { Vec::new() },
                device: if kind == EntryKind::CharDevice {
                    (5, 1)
                } else {
                    (0, 0)
                },
                xattrs: xattrs
                    .into_iter()
                    .map(|(name, value)| (name.into(), value))
                    .collect(),
                ..Entry::new(path, kind)
            };
            (entry, content)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(entries in proptest::collection::vec(entry(), 0..6)) {
        let mut writer = Writer::new(Vec::new());
        for (entry, content) in &entries {
            writer.append_file(entry, &content[..]).unwrap();
        }
        let archive = writer.finish().unwrap();
        prop_assert_eq!(read_all(&archive), entries.clone());

        // Another implementation agrees.
        let mut others = tar::Archive::new(&archive[..]);
        for (theirs, (ours, content)) in others.entries().unwrap().zip(&entries) {
            let mut theirs = theirs.unwrap();
            prop_assert_eq!(&theirs.path_bytes()[..], &ours.path[..]);
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).unwrap();
            prop_assert_eq!(&read, content);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        mut archive in proptest::collection::vec(any::<u8>(), 0..3000),
        at in proptest::collection::vec((0..3000usize, any::<u8>()), 0..4),
    ) {
        let mut writer = Writer::new(Vec::new());
        let mut long = Entry::file(vec![b'x'; 200], 0);
        long.xattrs = vec![("user.a".into(), vec![1; 30])];
        writer.append(&long).unwrap();
        let mut valid = writer.finish().unwrap();
        for (at, byte) in at {
            let length = valid.len();
            valid[at % length] = byte;
        }
        archive.splice(..0, valid);
        let mut reader = Reader::new(&archive[..]);
        while let Ok(Some(_)) = reader.next() {}
    }

    #[test]
    fn a_clean_name_stays_inside(name in proptest::collection::vec(prop_oneof![Just("."), Just(".."), Just(""), Just("a"), Just("..a")], 0..8)) {
        if let Ok(path) = clean(name.join("/").as_bytes()) {
            let normal = |component| matches!(component, std::path::Component::Normal(_));
            prop_assert!(path.components().all(normal), "{path:?}");
        }
    }
}

#[test]
fn a_long_name_is_a_file_also_if_its_beginning_ends_in_a_slash() {
    let path = [&b"d".repeat(99)[..], b"/name"].concat();
    let mut writer = Writer::new(Vec::new());
    writer
        .append_file(&Entry::file(path, 3), &b"abc"[..])
        .unwrap();
    let entries = read_all(&writer.finish().unwrap());
    assert_eq!(
        (entries[0].0.kind, &entries[0].1[..]),
        (EntryKind::File, &b"abc"[..])
    );
}

#[test]
fn global_headers_cost_no_more_memory_than_one() {
    let mut bytes = Vec::new();
    for number in 0..12 {
        let record = format!("VENDOR.k{number}={}\n", "v".repeat(150_000));
        let line = format!("{} {record}", record.len() + 7);
        let mut header = [0_u8; 512];
        header[..1].copy_from_slice(b"g");
        header[124..135].copy_from_slice(format!("{:011o}", line.len()).as_bytes());
        header[156] = b'g';
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(line.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    let error = Reader::new(&bytes[..]).next().unwrap_err();
    assert!(
        error.to_string().contains("global headers are too long"),
        "{error}"
    );
}

/// GNU tar's own archives: long names, holes in all its forms, and its other formats.
#[test]
fn archives_of_gnu_tar_are_extracted() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let long = "d".repeat(90);
    std::fs::create_dir_all(source.join(&long).join(&long)).unwrap();
    std::fs::write(source.join(&long).join(&long).join("file"), "deep").unwrap();
    let sparse = std::fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(8 << 20).unwrap();
    for at in [0u64, 1 << 20, 3 << 20, 5 << 20, 6 << 20, 7 << 20] {
        sparse.write_all_at(b"data", at).unwrap();
    }
    let expected = std::fs::read(source.join("sparse")).unwrap();
    for format in [
        vec!["--format=gnu"],
        vec!["--format=oldgnu"],
        vec!["--format=posix"],
        vec!["--format=posix", "--sparse-version=0.0"],
        vec!["--format=posix", "--sparse-version=0.1"],
        vec!["--format=posix", "--sparse-version=1.0"],
    ] {
        let made = Command::new("tar")
            .args(&format)
            .args(["--sparse", "-c", "-C"])
            .arg(&source)
            .arg(".")
            .output()
            .unwrap();
        assert!(made.status.success());
        let target = tempfile::tempdir().unwrap();
        let root = Root::new(target.path()).unwrap();
        extract(&root, Options::default(), &made.stdout[..]).unwrap();
        let deep = target.path().join(&long).join(&long).join("file");
        assert_eq!(std::fs::read(deep).unwrap(), b"deep", "{format:?}");
        let sparse = target.path().join("sparse");
        assert!(std::fs::read(&sparse).unwrap() == expected, "{format:?}");
        let blocks = std::fs::metadata(&sparse).unwrap().blocks();
        assert!(
            blocks < 1024,
            "{format:?}: the holes were filled: {blocks} blocks"
        );
    }
}
