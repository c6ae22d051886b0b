//! Images out of an archive: Docker's, of any age since 1.10, or an OCI layout.
//!
//! The archive is read once, as a stream; every file in it becomes a blob, and what no image turns
//! out to need is removed at the end.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use hull_oci::{
    Descriptor, Digest, Hasher, ImageConfig, Index, Manifest, Platform, Reference, media_type,
};
use serde::Deserialize;

use super::blobs::{DOCUMENT_BYTES_MAX, check};
use super::commit::to_json;
use super::early::{Early, Tee, looks_like_a_layer};
use super::entries::{NAME, strip};
use super::layers::{Origin, UnpackEvent};
use super::{Lease, Store};
use crate::compression::{Compression, decompress};
use crate::error::{Context as _, Error, Result};
use crate::tar::EntryKind;
use crate::tar::extract::clean;
use crate::tar::read::Reader;

/// Files that say what is in the archive, read into memory.
const DOCUMENTS: [&str; 3] = ["index.json", "manifest.json", "oci-layout"];
/// The most files an archive may have: each becomes a blob for the time being.
const FILES_MAX: usize = 100_000;
/// The most bytes of memory that the names of its files and what links point at may take.
const NAMES_BYTES_MAX: usize = 16 << 20;
const LINKS_MAX: usize = 8;
/// Advances of a layer that come faster are not told.
const EVERY: Duration = Duration::from_millis(100);
/// Fewer system calls than with the standard library's 8 KiB.
const COPY_BYTES: usize = 256 << 10;

/// An image that was loaded. Its text is Docker's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// `None`: the archive gave it no name.
    pub name: Option<Reference>,
    /// Its id.
    pub id: Digest,
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "Loaded image: {}", name.familiar()),
            None => write!(f, "Loaded image ID: {}", self.id),
        }
    }
}

/// An image in Docker's `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// An archive's files, brought in.
#[derive(Default)]
struct Archive {
    documents: BTreeMap<PathBuf, Vec<u8>>,
    blobs: BTreeMap<PathBuf, (Digest, u64)>,
    /// Blobs that were not here before.
    fresh: HashSet<Digest>,
    links: BTreeMap<PathBuf, PathBuf>,
    /// Layers of whose reading was told, and as what.
    told: BTreeMap<Digest, Digest>,
}

/// Tells how far the reading of a layer is.
struct Meter<'p> {
    /// What it is called; nothing for what is no layer.
    name: Option<Digest>,
    current: u64,
    total: u64,
    last: Option<Instant>,
    progress: &'p mut dyn FnMut(UnpackEvent),
}

/// An image to be named.
struct Found {
    target: Descriptor,
    names: Vec<Reference>,
}

impl Store {
    /// Loads all images of an archive, compressed or not, and unpacks those for this host. With
    /// platforms, only those are brought in and unpacked; each must be there. What is told of layers names them
    /// as the archive does.
    pub fn load(
        &self,
        source: impl Read + Send,
        platforms: &[Platform],
        progress: &mut dyn FnMut(UnpackEvent),
    ) -> Result<Vec<Loaded>> {
        let result = {
            let lease = self.lease();
            self.load_leased(&lease, source, platforms, progress)
        };
        // What was in the archive and in no image; everything, after a failure.
        self.collect_garbage()?;
        result
    }

    fn load_leased(
        &self,
        lease: &Lease,
        source: impl Read + Send,
        platforms: &[Platform],
        progress: &mut dyn FnMut(UnpackEvent),
    ) -> Result<Vec<Loaded>> {
        let early = Early::new(&self.layers, self.blobs.sizes()?);
        let archive = thread::scope(|scope| self.ingest(lease, source, &early, scope, progress))?;
        let found = if archive.documents.contains_key(Path::new("index.json")) {
            self.oci_images(&archive)?
        } else if archive.documents.contains_key(Path::new("manifest.json")) {
            self.docker_images(lease, &archive)?
        } else {
            let message = "the archive holds no image: neither index.json nor manifest.json";
            return Err(Error::Invalid(message.to_owned()));
        };
        for image in &found {
            self.check_tree(lease, &image.target)?;
            if platforms.is_empty() {
                self.unpack_for(lease, image, None, &early, &archive.told, progress)?;
            }
            for platform in platforms {
                self.unpack_for(
                    lease,
                    image,
                    Some(platform),
                    &early,
                    &archive.told,
                    progress,
                )?;
            }
        }
        for image in found.iter().filter(|_| !platforms.is_empty()) {
            let shown = image.shown();
            self.keep_platforms(lease, &shown, &image.target, platforms, &archive.fresh)?;
        }
        let mut loaded = Vec::new();
        for Found { target, names } in found {
            let id = target.digest.clone();
            if names.is_empty() {
                self.keep_unnamed(target)?;
                loaded.push(Loaded { name: None, id });
                continue;
            }
            for name in names {
                self.set_name(&name, target.clone())?;
                loaded.push(Loaded {
                    name: Some(name),
                    id: id.clone(),
                });
            }
        }
        Ok(loaded)
    }

    /// Reads the archive to its end; layers are unpacked meanwhile.
    fn ingest<'scope>(
        &self,
        lease: &Lease,
        source: impl Read + Send,
        early: &'scope Early<'_>,
        scope: &'scope thread::Scope<'scope, '_>,
        progress: &mut dyn FnMut(UnpackEvent),
    ) -> Result<Archive> {
        let (_, plain) = decompress(source).context(|| "read the archive")?;
        let mut reader = Reader::new(plain);
        let mut archive = Archive::default();
        let mut names_bytes = 0;
        while let Some(entry) = reader.next()? {
            let path = clean(&entry.path)?;
            names_bytes += entry.path.len() + entry.link.len();
            if names_bytes > NAMES_BYTES_MAX {
                return Err(Error::Invalid(
                    "the names in the archive are too long".to_owned(),
                ));
            }
            match entry.kind {
                EntryKind::File if DOCUMENTS.iter().any(|name| path == Path::new(name)) => {
                    if entry.size > DOCUMENT_BYTES_MAX {
                        return Err(Error::Invalid(format!("{} is too large", path.display())));
                    }
                    let mut bytes = Vec::new();
                    reader
                        .read_to_end(&mut bytes)
                        .context(|| "read the archive")?;
                    archive.documents.insert(path, bytes);
                }
                EntryKind::File => {
                    let blob = match self.known(lease, &path, entry.size) {
                        Some(digest) => (skim(&digest, reader.by_ref())?, entry.size),
                        None => {
                            let begin = |start: &[u8]| early.begin(scope, start, entry.size);
                            let mut meter = Meter::new(&path, entry.size, progress);
                            let fresh = &mut archive.fresh;
                            let blob =
                                self.bring_in(lease, reader.by_ref(), fresh, begin, &mut meter)?;
                            if let Some(name) = meter.end() {
                                archive.told.insert(blob.0.clone(), name);
                            }
                            blob
                        }
                    };
                    archive.blobs.insert(path, blob);
                }
                EntryKind::Symlink => {
                    let parent = path.parent().unwrap_or(Path::new(""));
                    let target = parent.join(bytes_path(&entry.link));
                    archive.links.insert(path, target);
                }
                EntryKind::HardLink => {
                    archive.links.insert(path, clean(&entry.link)?);
                }
                _ => {}
            }
            if archive.blobs.len() + archive.links.len() > FILES_MAX {
                return Err(Error::Invalid(
                    "the archive holds too many files".to_owned(),
                ));
            }
        }
        Ok(archive)
    }

    /// The blob that a file of the archive is by its name, if it is here.
    fn known(&self, lease: &Lease, path: &Path, size: u64) -> Option<Digest> {
        let mut parts = path.strip_prefix("blobs").ok()?.iter();
        let (algorithm, hex) = (parts.next()?.to_str()?, parts.next()?.to_str()?);
        let digest = format!("{algorithm}:{hex}").parse::<Digest>().ok()?;
        lease.protect(&digest);
        (self.blobs.size(&digest) == Some(size)).then_some(digest)
    }

    fn bring_in(
        &self,
        lease: &Lease,
        source: impl Read,
        fresh: &mut HashSet<Digest>,
        unpack: impl FnOnce(&[u8]) -> Result<Option<Tee>>,
        meter: &mut Meter<'_>,
    ) -> Result<(Digest, u64)> {
        let mut writer = self.blobs.writer(None)?;
        let mut source = BufReader::with_capacity(COPY_BYTES, source);
        let read = || "read the archive";
        let start = source.fill_buf().context(read)?;
        meter.begin(start);
        let mut tee = unpack(start)?;
        loop {
            let piece = source.fill_buf().context(read)?;
            if piece.is_empty() {
                break;
            }
            // Who unpacks may have given up: it is no layer.
            tee = tee.filter(|tee| tee.send(piece));
            writer.write_all(piece).context(read)?;
            let length = piece.len();
            source.consume(length);
            meter.add(length as u64);
        }
        let digest = writer.digest();
        if !self.blobs.has(&digest) {
            fresh.insert(digest.clone());
        }
        let blob = writer.commit_leased(lease)?;
        if let Some(tee) = tee {
            tee.end(digest);
        }
        Ok(blob)
    }

    fn oci_images(&self, archive: &Archive) -> Result<Vec<Found>> {
        let index: Index = archive.document("index.json")?;
        let mut found: Vec<Found> = Vec::new();
        for mut target in index.manifests {
            let name = name_of(&target);
            strip(&mut target);
            if !media_type::is_index(&target.media_type)
                && !media_type::is_manifest(&target.media_type)
            {
                continue;
            }
            match found
                .iter_mut()
                .find(|image| image.target.digest == target.digest)
            {
                Some(image) => image.names.extend(name),
                None => found.push(Found {
                    target,
                    names: name.into_iter().collect(),
                }),
            }
        }
        Ok(found)
    }

    fn docker_images(&self, lease: &Lease, archive: &Archive) -> Result<Vec<Found>> {
        let images: Vec<DockerImage> = archive.document("manifest.json")?;
        images
            .iter()
            .map(|image| self.docker_image(lease, archive, image))
            .collect()
    }

    /// Makes the manifest that Docker's older archives do without, in OCI's words: tools look for
    /// those in a layout.
    fn docker_image(&self, lease: &Lease, archive: &Archive, image: &DockerImage) -> Result<Found> {
        let (config_digest, config_size) = archive.blob(&image.config)?;
        let config_bytes = self.blobs.read(&config_digest)?;
        let config: ImageConfig =
            serde_json::from_slice(&config_bytes).map_err(|source| Error::Document {
                what: "configuration",
                digest: config_digest.clone(),
                source,
            })?;
        let mut layers = Vec::new();
        for path in image.layers.iter().flatten() {
            let (digest, size) = archive.blob(path)?;
            let kind = self.layer_type(&digest)?;
            layers.push(Descriptor::new(kind, digest, size));
        }
        let config_descriptor = Descriptor::new(media_type::CONFIG, config_digest, config_size);
        let manifest = Manifest::new(config_descriptor, layers);
        let bytes = to_json(&manifest)?;
        let mut target = self.put_blob(lease, media_type::MANIFEST, &bytes)?;
        target.platform = Some(config.platform());
        let tags = image
            .repo_tags
            .iter()
            .flatten()
            .filter(|tag| !tag.is_empty());
        let names = tags.map(|tag| match tag.parse::<Reference>()?.or_latest() {
            // A digest is no tag: it would be a promise that nobody checks.
            name if name.digest().is_some() => Err(invalid_tag(tag)),
            name => Ok(name),
        });
        Ok(Found {
            target,
            names: names.collect::<Result<_>>()?,
        })
    }

    /// What a layer's first bytes say.
    fn layer_type(&self, digest: &Digest) -> Result<&'static str> {
        let mut start = Vec::new();
        let file = self.blobs.open_file(digest)?;
        file.take(8)
            .read_to_end(&mut start)
            .context(|| format!("read the blob {digest}"))?;
        match Compression::detect(&start) {
            Compression::None => Ok(media_type::LAYER),
            Compression::Gzip => Ok(media_type::LAYER_GZIP),
            Compression::Zstd => Ok(media_type::LAYER_ZSTD),
            Compression::Bzip2 | Compression::Xz => Err(Error::Invalid(format!(
                "the layer {digest} is compressed in a way no image may be"
            ))),
        }
    }

    /// Every document that is here must be sound and of the size promised; at least one image must
    /// be complete. Protects what is reached.
    fn check_tree(&self, lease: &Lease, target: &Descriptor) -> Result<()> {
        let mut reached = HashSet::new();
        self.reach(target, &mut reached)?;
        reached.iter().for_each(|digest| lease.protect(digest));
        let missing =
            |digest: &Digest| Error::Invalid(format!("the archive lacks the blob {digest}"));
        if !self.blobs.has(&target.digest) {
            return Err(missing(&target.digest));
        }
        for member in self.members(target)? {
            self.check_size(&member.descriptor)?;
            let Some(manifest) = member.manifest.filter(|_| member.config.is_some()) else {
                // A platform that was not saved.
                continue;
            };
            for part in manifest.layers.iter().chain([&manifest.config]) {
                self.check_size(part)?;
                if !self.blobs.has(&part.digest) && part.urls.is_none() {
                    return Err(missing(&part.digest));
                }
            }
        }
        Ok(())
    }

    fn check_size(&self, descriptor: &Descriptor) -> Result<()> {
        match self.blobs.size(&descriptor.digest) {
            Some(size) if size != descriptor.size => Err(Error::Invalid(format!(
                "the blob {} has {size} bytes instead of {}",
                descriptor.digest, descriptor.size
            ))),
            _ => Ok(()),
        }
    }

    fn unpack_for(
        &self,
        lease: &Lease,
        image: &Found,
        platform: Option<&Platform>,
        early: &Early<'_>,
        told: &BTreeMap<Digest, Digest>,
        progress: &mut dyn FnMut(UnpackEvent),
    ) -> Result<()> {
        let member = match self.choose_from(&image.shown(), &image.target, platform) {
            Ok(member) => member,
            // An image for other machines is loaded all the same.
            Err(Error::NoSuchPlatform { .. }) if platform.is_none() => return Ok(()),
            Err(error) => return Err(error),
        };
        if let (Some(manifest), Some(config)) = (&member.manifest, &member.config) {
            let origin = Origin {
                arriving: &|_| Ok(None),
                early: Some(early),
            };
            let diff_ids = &config.rootfs.diff_ids;
            let name = |layer: &Digest| {
                let at = diff_ids.iter().position(|own| own == layer)?;
                told.get(&manifest.layers.get(at)?.digest).cloned()
            };
            let mut shown = |event| {
                if let UnpackEvent::Progress {
                    layer,
                    current,
                    total,
                } = event
                    && let Some(layer) = name(&layer)
                {
                    progress(UnpackEvent::Progress {
                        layer,
                        current,
                        total,
                    });
                }
            };
            self.unpack_from(&origin, lease, &manifest.layers, diff_ids, &mut shown)?;
        }
        Ok(())
    }
}

impl<'p> Meter<'p> {
    fn new(path: &Path, total: u64, progress: &'p mut dyn FnMut(UnpackEvent)) -> Self {
        Self {
            name: Some(digest_in(path)),
            current: 0,
            total,
            last: None,
            progress,
        }
    }

    /// Of what is no layer, nothing is told.
    fn begin(&mut self, start: &[u8]) {
        self.name = self.name.take().filter(|_| looks_like_a_layer(start));
        self.tell();
    }

    fn add(&mut self, bytes: u64) {
        self.current += bytes;
        let is_due = self.last.is_none_or(|last| last.elapsed() >= EVERY);
        if is_due || self.current == self.total {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let Some(layer) = self.name.clone() else {
            return;
        };
        self.last = Some(Instant::now());
        (self.progress)(UnpackEvent::Read {
            layer,
            current: self.current,
            total: self.total,
        });
    }

    /// As what the layer was told.
    fn end(self) -> Option<Digest> {
        self.name
    }
}

impl Found {
    /// What people call it.
    fn shown(&self) -> String {
        match self.names.first() {
            Some(name) => name.familiar(),
            None => self.target.digest.to_string(),
        }
    }
}

impl Archive {
    fn document<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let bytes = self
            .documents
            .get(Path::new(name))
            .map_or(&b""[..], Vec::as_slice);
        serde_json::from_slice(bytes)
            .map_err(|error| Error::Invalid(format!("cannot read {name}: {error}")))
    }

    /// The blob under a name in the archive, through links.
    fn blob(&self, name: &str) -> Result<(Digest, u64)> {
        let mut path = clean(name.as_bytes())?;
        for _ in 0..LINKS_MAX {
            if let Some(found) = self.blobs.get(&path) {
                return Ok(found.clone());
            }
            let Some(next) = self.links.get(&path) else {
                break;
            };
            path = clean(next.as_os_str().as_encoded_bytes())?;
        }
        Err(Error::Invalid(format!("the archive lacks the file {name}")))
    }
}

/// Reads a blob that is here already; its bytes must be what its name says all the same.
fn skim(digest: &Digest, mut source: impl Read) -> Result<Digest> {
    let mut hasher = Hasher::new(digest.algorithm());
    let mut piece = vec![0; COPY_BYTES];
    loop {
        match source.read(&mut piece).context(|| "read the archive")? {
            0 => break,
            got => hasher.update(&piece[..got]),
        }
    }
    check(digest, hasher.finish())?;
    Ok(digest.clone())
}

/// The name an archive gives an image. A bare tag, which many tools write, is none; nor is one with the
/// digest of another image: of an index, say, of which the archive holds one member.
fn name_of(descriptor: &Descriptor) -> Option<Reference> {
    let full = descriptor.annotations.get(NAME);
    let short = descriptor
        .annotations
        .get("org.opencontainers.image.ref.name");
    let name = full.or_else(|| short.filter(|name| name.contains([':', '/'])))?;
    let name = name.parse::<Reference>().ok()?.or_latest().exact();
    let is_true = name
        .digest()
        .is_none_or(|digest| *digest == descriptor.digest);
    is_true.then_some(name)
}

/// In Docker's words.
fn invalid_tag(text: &str) -> Error {
    Error::Invalid(format!("invalid tag {text:?}"))
}

/// The digest in a file's name: `blobs/sha256/<hex>`, `<hex>.tar`, or `<hex>/layer.tar` in older archives. Where there
/// is none, that of the name, which tells the layer from others all the same.
fn digest_in(path: &Path) -> Digest {
    let mut parts = path.iter().filter_map(std::ffi::OsStr::to_str);
    let text = match (parts.next(), parts.next(), parts.next()) {
        (Some("blobs"), Some(algorithm), Some(hex)) => format!("{algorithm}:{hex}"),
        (Some(name), _, _) => format!("sha256:{}", name.trim_end_matches(".tar")),
        (None, ..) => String::new(),
    };
    text.parse()
        .unwrap_or_else(|_| Digest::of(path.as_os_str().as_encoded_bytes()))
}

fn bytes_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}
