//! Large layers of an archive are unpacked while the archive is read.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use support::{Lab, Tar, docker_archive, gzip};

/// Bytes that gzip cannot make much of.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..400_000).flat_map(|_| next()).collect()
}

fn large(name: &str, seed: u64) -> Vec<u8> {
    Tar::new().file(name, &noise(seed)).end()
}

/// What lies in the directory of layers: complete ones have a number for a name.
fn layers(lab: &Lab) -> Vec<String> {
    let names = fs::read_dir(lab.path("layers")).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn files(lab: &Lab) -> Vec<Vec<u8>> {
    let read = |name: &String| {
        let directory = fs::read_dir(lab.path("layers").join(name).join("fs")).unwrap();
        directory
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect::<Vec<_>>()
    };
    let mut found: Vec<_> = layers(lab).iter().flat_map(read).collect();
    found.sort();
    found
}

#[test]
fn plain_and_packed_layers_become_what_they_are() {
    let lab = Lab::new();
    // More of them than are unpacked at the same time.
    let all: Vec<_> = (1..=5)
        .map(|seed| large(&format!("file{seed}"), seed))
        .collect();
    let packed: Vec<_> = all
        .iter()
        .enumerate()
        .map(|(at, layer)| {
            if at % 2 == 0 {
                gzip(layer)
            } else {
                layer.clone()
            }
        })
        .collect();
    lab.load(&docker_archive(&packed, &["app:1"], "{}"));
    let mut expected: Vec<_> = (1..=5).map(noise).collect();
    expected.sort();
    assert_eq!(files(&lab), expected);
    // Once more, as another image: nothing is unpacked twice.
    lab.load(&docker_archive(&packed[..3], &["app:2"], "{}"));
    assert_eq!(layers(&lab).len(), 5);
}

#[test]
fn what_no_image_needs_leaves_nothing() {
    let lab = Lab::new();
    let needed = docker_archive(&[large("a", 1)], &["app:1"], "{}");
    let mut archive = tar::Archive::new(&needed[..]);
    let mut more = Tar::new().file("stray.tar", &large("stray", 2));
    more = more.file("broken.tar", &large("broken", 3)[..1_500_000]);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            more = more.file(&name, &content);
        }
    }
    lab.load(&more.end());
    assert_eq!(files(&lab), [noise(1)]);
    assert!(
        lab.store
            .load(&b"no archive at all"[..], &[], &mut |_| {})
            .is_err()
    );
    assert_eq!(layers(&lab).len(), 1);
}

#[test]
fn a_large_layer_that_lies_is_refused_as_ever() {
    let lab = Lab::new();
    let layer = Tar::new().file("../outside", &noise(1)).end();
    let archive = docker_archive(&[layer], &["app:1"], "{}");
    assert!(lab.store.load(&archive[..], &[], &mut |_| {}).is_err());
    assert!(layers(&lab).is_empty());
    assert!(!lab.path("layers/outside").exists());
}

#[test]
fn each_layer_tells_how_far_it_is_and_ends_whole() {
    use hull_image::store::UnpackEvent;
    use hull_oci::Digest;
    let lab = Lab::new();
    let layers = [large("a", 1), large("b", 2)];
    let archive = docker_archive(&layers, &["app:1"], "{}");
    let mut told: Vec<(Digest, u64, u64)> = Vec::new();
    let mut tell = |event| {
        if let UnpackEvent::Read {
            layer,
            current,
            total,
        } = event
        {
            told.push((layer, current, total));
        }
    };
    lab.store.load(&archive[..], &[], &mut tell).unwrap();
    let mut names: Vec<_> = told.iter().map(|(layer, ..)| layer).collect();
    names.dedup();
    assert_eq!(names.len(), layers.len(), "configuration and such are none");
    for (name, layer) in names.iter().zip(&layers) {
        let own = told.iter().filter(|(told, ..)| told == *name);
        let own: Vec<_> = own.map(|(_, current, total)| (*current, *total)).collect();
        let size = layer.len() as u64;
        assert_eq!(own.first(), Some(&(0, size)));
        assert_eq!(own.last(), Some(&(size, size)));
        assert!(own.is_sorted());
    }
    // What is here already is looked at, and not told of.
    let known = lab.path("again");
    let mut file = fs::File::create(&known).unwrap();
    lab.store.save(&["app:1"], &[], &mut file).unwrap();
    let mut count = 0;
    let mut tell = |event| count += usize::from(matches!(event, UnpackEvent::Read { .. }));
    let saved = fs::read(&known).unwrap();
    lab.store.load(&saved[..], &[], &mut tell).unwrap();
    assert_eq!(count, 0);
}
