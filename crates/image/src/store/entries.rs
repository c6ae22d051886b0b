//! The names: `index.json`, held in memory and replaced whole.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use hull_oci::{Descriptor, Digest, Index, Manifest, Reference, media_type};
use jiff::Timestamp;

use super::blobs::{Blobs, DOCUMENT_BYTES_MAX, replace_file};
use crate::error::{Context as _, Error, Result};

/// The name in full, as containerd writes it.
pub(super) const NAME: &str = "io.containerd.image.name";
/// The name as people write it: what `skopeo copy oci:DIR:NAME` takes.
const SHORT_NAME: &str = "org.opencontainers.image.ref.name";
/// When this name was last given.
const TAGGED: &str = "dev.hull.tagged";
/// The image a committed one was made from.
const PARENT: &str = "dev.hull.parent";
/// A list that was made here: the repositories that have those of its members that are not.
const LIST: &str = "dev.hull.list";
/// Room for a new list on a full disk.
pub(super) const RESERVE: &str = "reserve";
/// A list of a few hundred images, with its successor.
const RESERVE_BYTES: u64 = 256 << 10;
/// How long the disk need not know that a name was given again.
const RENEW_EVERY: Duration = Duration::from_secs(3600);
const OWN: [&str; 5] = [NAME, SHORT_NAME, TAGGED, PARENT, LIST];

/// One line of the list: an image, and one of its names.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// What it points at, without this store's annotations.
    pub(super) target: Descriptor,
    /// Has a tag or a digest. `None`: dangling.
    pub(super) name: Option<Reference>,
    /// When the name was given.
    pub(super) tagged: Option<Timestamp>,
    /// The image it was committed from.
    pub(super) parent: Option<Digest>,
    /// `Some`: a list that was made here, of images in these repositories and of images that are
    /// here.
    pub(super) list: Option<Vec<Reference>>,
}

/// The list of names.
pub(super) struct Entries {
    path: PathBuf,
    current: RwLock<Arc<Vec<Entry>>>,
    writing: Mutex<()>,
}

impl Entries {
    /// Reads the list; a missing or damaged one is made from what is there.
    pub(super) fn open(root: &Path, blobs: &Blobs) -> Result<Self> {
        let path = root.join("index.json");
        let entries = match fs::read(&path) {
            Ok(bytes) => match parse(&bytes) {
                Ok(entries) => entries,
                Err(cause) => {
                    tracing::error!(path = %path.display(), %cause, "the list of images is damaged");
                    let aside = path.with_extension("damaged");
                    fs::rename(&path, &aside)
                        .context(|| format!("set {} aside", path.display()))?;
                    return Self::rebuilt(path, blobs);
                }
            },
            // Lost, or the first start: then there is nothing to be found.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Self::rebuilt(path, blobs);
            }
            Err(error) => return Err(error).context(|| format!("read {}", path.display())),
        };
        Self::with(path, entries)
    }

    /// A damaged list loses the names, not the images: each manifest and index that no other one
    /// reaches becomes a dangling image.
    fn rebuilt(path: PathBuf, blobs: &Blobs) -> Result<Self> {
        let mut found: Vec<Descriptor> = Vec::new();
        let mut children: HashSet<Digest> = HashSet::new();
        for digest in blobs.list()? {
            let is_small = blobs
                .size(&digest)
                .is_some_and(|size| size <= DOCUMENT_BYTES_MAX);
            let Some(bytes) = is_small.then(|| blobs.read(&digest).ok()).flatten() else {
                continue;
            };
            let size = bytes.len() as u64;
            let manifest = serde_json::from_slice::<Manifest>(&bytes);
            let index = serde_json::from_slice::<Index>(&bytes);
            let media_type = match (manifest, index) {
                (Ok(manifest), _) => manifest.media_type.unwrap_or(media_type::MANIFEST.into()),
                (_, Ok(index)) if !index.manifests.is_empty() => {
                    children.extend(index.manifests.into_iter().map(|child| child.digest));
                    index.media_type.unwrap_or(media_type::INDEX.into())
                }
                _ => continue,
            };
            found.push(Descriptor::new(&media_type, digest, size));
        }
        found.retain(|descriptor| !children.contains(&descriptor.digest));
        let entries = found.into_iter().map(|target| Entry::new(target, None));
        Self::with(path, entries.collect())
    }

    fn with(path: PathBuf, entries: Vec<Entry>) -> Result<Self> {
        let (current, writing) = (RwLock::default(), Mutex::default());
        let this = Self {
            path,
            current,
            writing,
        };
        this.replace(entries)?;
        Ok(this)
    }

    /// Where a damaged list is kept.
    pub(super) fn set_aside(&self) -> PathBuf {
        self.path.with_extension("damaged")
    }

    /// The list as it is now.
    pub(super) fn all(&self) -> Arc<Vec<Entry>> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the list: on disk first, then for readers. `change` may refuse.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Vec<Entry>) -> Result<T>) -> Result<T> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = self.all().as_ref().clone();
        let result = change(&mut entries)?;
        self.replace(entries)?;
        Ok(result)
    }

    fn replace(&self, entries: Vec<Entry>) -> Result<()> {
        let index = Index::new(entries.iter().map(Entry::to_descriptor).collect());
        let bytes = serde_json::to_vec(&index)
            .map_err(std::io::Error::from)
            .context(|| "write index.json")?;
        // What the disk knows may be this old.
        let written = fs::metadata(&self.path).and_then(|found| found.modified());
        let is_fresh = written.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < RENEW_EVERY));
        let may_wait = is_fresh && is_renewed(&self.all(), &entries);
        if !may_wait && fs::read(&self.path).ok().as_ref() != Some(&bytes) {
            self.write(&bytes)?;
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(entries);
        Ok(())
    }
}

impl Entries {
    /// Replaces the file. On a full disk the reserve makes room, so that images can be removed.
    fn write(&self, bytes: &[u8]) -> Result<()> {
        let reserve = self.path.with_file_name(RESERVE);
        match replace_file(&self.path, bytes) {
            Err(Error::Io { source, .. }) if is_full(&source) && reserve.exists() => {
                fs::remove_file(&reserve).context(|| format!("remove {}", reserve.display()))?;
                replace_file(&self.path, bytes)?;
            }
            written => written?,
        }
        // Who was told that a name is there must find it after a power cut.
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .context(|| format!("write {}", directory.display()))?;
        if !reserve.exists() && set_aside_room(&reserve).is_err() {
            // Not while the disk is full; the next change tries again.
            let _ = fs::remove_file(&reserve);
        }
        Ok(())
    }
}

/// Whether nothing but times differs: names that were given again to what they named. That goes to
/// the disk with the next change, or when an hour has passed: a restart until then loses up to an hour of
/// it. A build of which all is known already waits for no disk.
fn is_renewed(before: &[Entry], now: &[Entry]) -> bool {
    let same = |(before, now): (&Entry, &Entry)| {
        let now = Entry {
            tagged: before.tagged,
            ..now.clone()
        };
        *before == now
    };
    !before.is_empty() && before.len() == now.len() && before.iter().zip(now).all(same)
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn set_aside_room(path: &Path) -> io::Result<()> {
    let file = File::create(path)?;
    let flags = rustix::fs::FallocateFlags::empty();
    Ok(rustix::fs::fallocate(&file, flags, 0, RESERVE_BYTES)?)
}

impl Entry {
    pub(super) fn new(target: Descriptor, name: Option<Reference>) -> Self {
        Self {
            target,
            name,
            tagged: Some(Timestamp::now()),
            parent: None,
            list: None,
        }
    }

    /// Whether that is its name. One with a digest stands for the image with that digest alone, whatever
    /// the list says.
    pub(super) fn is_named(&self, name: &Reference) -> bool {
        self.name.as_ref() == Some(name)
            && name
                .digest()
                .is_none_or(|digest| *digest == self.target.digest)
    }

    fn from_descriptor(mut target: Descriptor) -> Self {
        let mut take = |key: &str| target.annotations.remove(key);
        let (name, short) = (take(NAME), take(SHORT_NAME));
        let tagged = take(TAGGED).and_then(|text| text.parse().ok());
        let parent = take(PARENT).and_then(|text| text.parse().ok());
        let list = take(LIST).map(|text| {
            text.split_whitespace()
                .filter_map(|name| name.parse().ok())
                .collect()
        });
        let name = name
            .or(short)
            .and_then(|text| text.parse::<Reference>().ok());
        Self {
            target,
            name: name.map(Reference::or_latest),
            tagged,
            parent,
            list,
        }
    }

    fn to_descriptor(&self) -> Descriptor {
        let mut descriptor = self.target.clone();
        let own: BTreeMap<&str, Option<String>> = BTreeMap::from([
            (NAME, self.name.as_ref().map(Reference::to_string)),
            (SHORT_NAME, self.name.as_ref().map(Reference::familiar)),
            (TAGGED, self.tagged.map(|time| time.to_string())),
            (PARENT, self.parent.as_ref().map(Digest::to_string)),
            (LIST, self.list.as_deref().map(joined)),
        ]);
        let present = own
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        descriptor.annotations.extend(present);
        descriptor
    }
}

fn joined(names: &[Reference]) -> String {
    let names: Vec<String> = names.iter().map(Reference::to_string).collect();
    names.join(" ")
}

/// Drops the annotations that mean something to this store: an archive must not choose names.
pub(super) fn strip(descriptor: &mut Descriptor) {
    for key in OWN {
        descriptor.annotations.remove(key);
    }
}

fn parse(bytes: &[u8]) -> serde_json::Result<Vec<Entry>> {
    let index: Index = serde_json::from_slice(bytes)?;
    Ok(index
        .manifests
        .into_iter()
        .map(Entry::from_descriptor)
        .collect())
}
