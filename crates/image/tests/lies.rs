//! Archives whose documents lie: refused with a word about what is wrong, and nothing stays.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use hull_image::Kind;
use hull_oci::{Descriptor, Digest, Index, Manifest, Platform, media_type};
use serde_json::{Value, json};
use support::{Lab, Tar, gzip, small};
use tar::EntryType;

/// An OCI layout under construction.
#[derive(Default)]
struct Layout {
    blobs: Vec<(String, Vec<u8>)>,
}

impl Layout {
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        let name = format!("blobs/sha256/{}", descriptor.digest.hex());
        self.blobs.push((name, bytes.to_vec()));
        descriptor
    }

    fn json(&mut self, media_type: &str, document: &Value) -> Descriptor {
        self.blob(media_type, document.to_string().as_bytes())
    }

    /// A sound image: its manifest.
    fn image(&mut self) -> Descriptor {
        let plain = Tar::new().file("file", b"content").end();
        let layer = self.blob(media_type::LAYER_GZIP, &gzip(&plain));
        let config = self.config(&[Digest::of(&plain)]);
        self.manifest(config, vec![layer])
    }

    fn config(&mut self, diff_ids: &[Digest]) -> Descriptor {
        let ids: Vec<&str> = diff_ids.iter().map(Digest::as_str).collect();
        let config = json!({
            "architecture": Platform::host().architecture, "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        self.json(media_type::CONFIG, &config)
    }

    fn manifest(&mut self, config: Descriptor, layers: Vec<Descriptor>) -> Descriptor {
        let manifest = serde_json::to_vec(&Manifest::new(config, layers)).unwrap();
        self.blob(media_type::MANIFEST, &manifest)
    }

    fn archive(self, targets: Vec<Descriptor>) -> Vec<u8> {
        let mut tar = Tar::new();
        for (name, bytes) in &self.blobs {
            tar = tar.file(name, bytes);
        }
        let index = serde_json::to_vec(&Index::new(targets)).unwrap();
        tar.file("index.json", &index).end()
    }
}

fn lies() -> Vec<(&'static str, Vec<u8>)> {
    let mut cases: Vec<(&'static str, Vec<u8>)> = Vec::new();
    let mut case = |text, build: &dyn Fn(&mut Layout) -> Descriptor| {
        let mut layout = Layout::default();
        let target = build(&mut layout);
        cases.push((text, layout.archive(vec![target])));
    };
    case("instead of 7", &|layout| Descriptor {
        size: 7,
        ..layout.image()
    });
    case("lacks the blob", &|layout| {
        Descriptor::of(media_type::MANIFEST, &[layout.blobs.len() as u8])
    });
    case("digest mismatch", &|layout| {
        let layer = layout.blob(
            media_type::LAYER_GZIP,
            &gzip(&Tar::new().file("f", b"").end()),
        );
        let config = layout.config(&[Digest::of(b"another layer")]);
        layout.manifest(config, vec![layer])
    });
    case("its configuration 2", &|layout| {
        let layer = layout.blob(
            media_type::LAYER_GZIP,
            &gzip(&Tar::new().file("f", b"").end()),
        );
        let config = layout.config(&[Digest::of(b"one"), Digest::of(b"two")]);
        layout.manifest(config, vec![layer])
    });
    case("invalid gzip header", &|layout| {
        let layer = layout.blob(media_type::LAYER_GZIP, b"\x1f\x8bno gzip at all");
        let config = layout.config(&[Digest::of(b"one")]);
        layout.manifest(config, vec![layer])
    });
    case("nested too deeply", &|layout| {
        let mut target = layout.image();
        for _ in 0..9 {
            let index = serde_json::to_vec(&Index::new(vec![target])).unwrap();
            target = layout.blob(media_type::INDEX, &index);
        }
        target
    });
    case("is two things at once", &|layout| {
        let sound = layout.image();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST,
            "config": sound, "layers": [], "manifests": [],
        });
        layout.json(media_type::MANIFEST, &manifest)
    });
    case("says it is", &|layout| {
        let sound = layout.image();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::INDEX, "config": sound, "layers": [],
        });
        layout.json(media_type::MANIFEST, &manifest)
    });
    case("cannot read manifest", &|layout| {
        layout.blob(media_type::MANIFEST, b"{\"config\":1}")
    });
    case("is too large", &|layout| {
        layout.blob(media_type::MANIFEST, &vec![b' '; 9 << 20])
    });
    cases.extend(older_lies());
    cases
}

/// In the words of Docker's older archives.
fn older_lies() -> Vec<(&'static str, Vec<u8>)> {
    let manifest = |text: &str| Tar::new().file("manifest.json", text.as_bytes());
    let endless = Tar::new()
        .symlink("a", "b")
        .symlink("b", "a")
        .file("manifest.json", br#"[{"Config":"a","Layers":[]}]"#);
    let large = Tar::header(EntryType::Regular, 0o644, 9 << 20);
    vec![
        ("holds no image", Tar::new().file("readme", b"hello").end()),
        ("cannot read manifest.json", manifest("[{").end()),
        (
            "outside of the archive",
            manifest(r#"[{"Config":"../../etc/passwd"}]"#).end(),
        ),
        (
            "lacks the file",
            manifest(r#"[{"Config":"none.json"}]"#).end(),
        ),
        ("lacks the file", endless.end()),
        (
            "is too large",
            Tar::new()
                .raw(large, b"index.json", &vec![b' '; 9 << 20])
                .end(),
        ),
        (
            "cannot read configuration",
            manifest(r#"[{"Config":"c"}]"#).file("c", b"[]").end(),
        ),
        ("unexpected EOF", manifest("[]").end()[..700].to_vec()),
        ("invalid tag", {
            let name = format!("nginx@{}", Digest::of(b"the good one"));
            small(&[&name], "the bad one", "{}")
        }),
        ("too long", {
            let long = "x".repeat(1 << 20);
            let mut builder = tar::Builder::new(Vec::new());
            for at in 0..20 {
                let mut header = Tar::header(EntryType::Symlink, 0o777, 0);
                builder
                    .append_link(&mut header, at.to_string(), &long)
                    .unwrap();
            }
            builder.into_inner().unwrap()
        }),
    ]
}

#[test]
fn lies_are_told_and_leave_nothing() {
    for (text, archive) in lies() {
        let lab = Lab::new();
        let error = lab.store.load(&archive[..], &[], &mut |_| {}).unwrap_err();
        let mut told = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            told = format!("{told}: {cause}");
            source = cause.source();
        }
        assert!(told.contains(text), "{told:?} instead of {text:?}");
        assert_ne!((error.kind(), text), (Kind::NotFound, ""));
        assert_eq!((lab.blob_count(), lab.layer_count()), (0, 0), "{text}");
        assert!(
            lab.store
                .list(&hull_image::store::ListFilter::default())
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn the_truth_is_loaded() {
    let lab = Lab::new();
    let mut layout = Layout::default();
    let target = layout.image();
    let archive = layout.archive(vec![target.clone()]);
    assert_eq!(
        lab.load(&archive),
        [format!("Loaded image ID: {}", target.digest)]
    );
}

#[test]
fn an_image_is_not_called_by_the_digest_of_another_one() {
    let lab = Lab::new();
    let mut layout = Layout::default();
    let mut target = layout.image();
    let pinned = format!("docker.io/library/nginx@{}", Digest::of(b"the good one"));
    let key = "io.containerd.image.name".to_owned();
    target.annotations.insert(key, pinned.clone());
    let archive = layout.archive(vec![target.clone()]);
    let loaded = format!("Loaded image ID: {}", target.digest);
    assert_eq!(lab.load(&archive), [loaded]);
    assert!(lab.store.resolve(&pinned, None).is_err());
}
