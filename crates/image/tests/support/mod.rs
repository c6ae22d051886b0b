//! Small images and a store to put them in.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses a part of it"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use hull_image::Store;
use hull_oci::Digest;

/// A data root with a store, removed when dropped.
pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("image")).unwrap();
        Self { dir, store }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As after a crash: what is on the disk, read again.
    pub(crate) fn reopen(&mut self) {
        self.store = Store::open(&self.path("image")).unwrap();
    }

    pub(crate) fn load(&self, archive: &[u8]) -> Vec<String> {
        let loaded = self.store.load(archive, &[], &mut |_| {}).unwrap();
        loaded.iter().map(ToString::to_string).collect()
    }

    pub(crate) fn blob_count(&self) -> usize {
        std::fs::read_dir(self.path("image/blobs/sha256"))
            .unwrap()
            .count()
    }

    pub(crate) fn layer_count(&self) -> usize {
        std::fs::read_dir(self.path("layers")).unwrap().count()
    }
}

/// A tar archive under construction, by the `tar` crate: an oracle for our own reader.
pub(crate) struct Tar(pub(crate) tar::Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub(crate) fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header
    }

    /// Sets the name as it is: the crate refuses hostile ones.
    pub(crate) fn raw(mut self, mut header: tar::Header, name: &[u8], content: &[u8]) -> Self {
        let field = &mut header.as_mut_bytes()[..100];
        field.fill(0);
        field[..name.len()].copy_from_slice(name);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.mode(name, content, 0o644)
    }

    pub(crate) fn mode(self, name: &str, content: &[u8], mode: u32) -> Self {
        let header = Self::header(tar::EntryType::Regular, mode, content.len() as u64);
        self.raw(header, name.as_bytes(), content)
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.raw(
            Self::header(tar::EntryType::Directory, 0o755, 0),
            name.as_bytes(),
            b"",
        )
    }

    pub(crate) fn link(self, kind: tar::EntryType, name: &str, target: &str) -> Self {
        let mut header = Self::header(kind, 0o777, 0);
        let field = &mut header.as_mut_bytes()[157..257];
        field[..target.len()].copy_from_slice(target.as_bytes());
        self.raw(header, name.as_bytes(), b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(tar::EntryType::Symlink, name, target)
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(tar::EntryType::Link, name, target)
    }

    pub(crate) fn end(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// The layer of a small root: busybox and a few links to it.
pub(crate) fn busybox_layer() -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox").unwrap();
    Tar::new()
        .dir("bin/")
        .mode("bin/busybox", &busybox, 0o4755)
        .symlink("bin/sh", "busybox")
        .hard_link("bin/ls", "bin/busybox")
        .dir("etc/")
        .file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        .dir("tmp/")
        .end()
}

/// A docker-archive of layers (lowest first), as `docker save` wrote it before version 25.
pub(crate) fn docker_archive(layers: &[Vec<u8>], tags: &[&str], config: &str) -> Vec<u8> {
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer| format!("{:?}", plain_digest(layer)))
        .collect();
    let quoted: Vec<String> = diff_ids.iter().map(|id| format!("\"{id}\"")).collect();
    let steps: Vec<String> = (0..layers.len())
        .map(|at| {
            format!(
                r#"{{"created":"2020-01-0{}T00:00:00Z","created_by":"step {at}"}}"#,
                at + 1
            )
        })
        .collect();
    let config = format!(
        r#"{{"architecture":"{}","os":"linux","created":"2020-01-02T03:04:05Z","config":{config},"rootfs":{{"type":"layers","diff_ids":[{}]}},"history":[{}]}}"#,
        hull_oci::Platform::host().architecture,
        quoted.join(","),
        steps.join(",")
    );
    let config_name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let mut archive = Tar::new();
    let mut names = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        archive = archive
            .dir(&format!("{at}/"))
            .file(&format!("{at}/layer.tar"), layer);
        archive = archive.file(&format!("{at}/VERSION"), b"1.0");
        names.push(format!("\"{at}/layer.tar\""));
    }
    let tags: Vec<String> = tags.iter().map(|tag| format!("\"{tag}\"")).collect();
    let tags = if tags.is_empty() {
        "null".to_owned()
    } else {
        format!("[{}]", tags.join(","))
    };
    let manifest = format!(
        r#"[{{"Config":"{config_name}","RepoTags":{tags},"Layers":[{}]}}]"#,
        names.join(",")
    );
    archive
        .file(&config_name, config.as_bytes())
        .file("manifest.json", manifest.as_bytes())
        .end()
}

/// The busybox image.
pub(crate) fn busybox(tags: &[&str]) -> Vec<u8> {
    docker_archive(
        &[busybox_layer()],
        tags,
        r#"{"Cmd":["sh"],"Env":["PATH=/bin"]}"#,
    )
}

/// An image with one small file, different for each text.
pub(crate) fn small(tags: &[&str], text: &str, config: &str) -> Vec<u8> {
    docker_archive(
        &[Tar::new().file("text", text.as_bytes()).end()],
        tags,
        config,
    )
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The digest of a layer, unpacked if it is gzip.
fn plain_digest(layer: &[u8]) -> Digest {
    if !layer.starts_with(&[0x1f, 0x8b]) {
        return Digest::of(layer);
    }
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(layer), &mut plain).unwrap();
    Digest::of(&plain)
}

/// Runs a tool and returns what it prints.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// All paths below a directory, sorted, relative.
pub(crate) fn tree(root: &Path) -> Vec<String> {
    fn walk(root: &Path, at: &Path, found: &mut Vec<String>) {
        let mut names: Vec<_> = std::fs::read_dir(at)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        names.sort();
        for path in names {
            found.push(
                path.strip_prefix(root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
            );
            if std::fs::symlink_metadata(&path).unwrap().is_dir() {
                walk(root, &path, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found
}
