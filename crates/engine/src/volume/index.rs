//! Which volumes there are, by id and by name.
//!
//! A volume's id never changes and names its directory; its name may. The table is in memory, every
//! change is in the state file before it shows, and a copy of each record lies beside the data, for
//! the day the state file is lost:
//!
//! ```text
//! <data-root>/volumes/<id>/volume.json    the record's copy
//! <data-root>/volumes/<id>/_data          the content, of the local driver's
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{LOCAL, Volume, usage::Usage};
use crate::{
    error::{Attempt, Error, Result},
    model::ContainerId,
    store::{Kind, Store},
};

/// The name of a record's copy.
const RECORD_COPY: &str = "volume.json";

/// The name of the content's directory.
pub(super) const DATA: &str = "_data";

/// Which volumes there are.
#[derive(Debug)]
pub(crate) struct Volumes {
    store: Arc<Store>,
    directory: PathBuf,
    table: RwLock<BTreeMap<String, Arc<Volume>>>,
    /// Held while a volume is made or renamed: a name is given once.
    changing: Mutex<()>,
    /// Who uses what must be mounted first, by id.
    usage: Mutex<HashMap<String, Arc<Mutex<Usage>>>>,
}

/// How the directory of a volume begins that is being put together.
const ASIDE: &str = ".new-";

/// What opening found beside the records.
#[derive(Debug, Default)]
pub(crate) struct Unowned {
    /// Directories without a record, and without content: half made.
    pub(crate) empty: Vec<PathBuf>,
    /// Directories without a record that hold something.
    pub(crate) filled: Vec<PathBuf>,
}

impl Volumes {
    /// Whether somebody puts a volume together there.
    pub(crate) fn is_aside(path: &Path) -> bool {
        path.file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(ASIDE.as_bytes()))
    }

    /// Reads the records. `starts_anew`: the state file is new, so the copies tell.
    pub(crate) fn open(store: Arc<Store>, directory: PathBuf, starts_anew: bool) -> Result<Self> {
        let volumes = Self {
            store,
            directory,
            table: RwLock::default(),
            changing: Mutex::default(),
            usage: Mutex::default(),
        };
        for (key, mut volume) in volumes.store.all_by_key::<Volume>(Kind::Volume)? {
            if volume.id.is_empty() {
                volume.id.clone_from(&key);
            }
            volumes.write().insert(key, Arc::new(volume));
        }
        let unreadable = volumes.store.quarantined(Kind::Volume)?;
        for id in volumes.directories()? {
            let lost = starts_anew || unreadable.contains(&id);
            if lost && !id.starts_with(ASIDE) && !volumes.read().contains_key(&id) {
                volumes.take_up(&id)?;
            }
        }
        Ok(volumes)
    }

    /// Makes a record of a directory whose own is lost.
    fn take_up(&self, id: &str) -> Result<()> {
        let copy = fs::read(self.directory.join(id).join(RECORD_COPY)).ok();
        let copy = copy.and_then(|text| serde_json::from_slice::<Volume>(&text).ok());
        let mut volume = copy.unwrap_or_else(|| Volume {
            name: id.to_owned(),
            driver: LOCAL.to_owned(),
            created_at_ns: crate::time::now_ns(),
            ..Volume::default()
        });
        id.clone_into(&mut volume.id);
        if self.find(&volume.name).is_ok() {
            volume.name.clone_from(&volume.id);
        }
        tracing::warn!(volume = volume.name, "taken from what lies on the disk");
        self.put(volume).map(drop)
    }

    /// What lies on the disk and is nobody's.
    pub(crate) fn unowned(&self) -> Result<Unowned> {
        let mut unowned = Unowned::default();
        for id in self.directories()? {
            if self.read().contains_key(&id) {
                continue;
            }
            let path = self.directory.join(&id);
            match holds_something(&path) && !id.starts_with(ASIDE) {
                true => unowned.filled.push(path),
                false => unowned.empty.push(path),
            }
        }
        Ok(unowned)
    }

    /// Takes what lies in a directory that is nobody's as a volume.
    pub(crate) fn adopt(&self, directory: &Path) -> Result<()> {
        let _changing = self.change();
        match directory.file_name().and_then(|name| name.to_str()) {
            Some(id) if !self.read().contains_key(id) => self.take_up(id),
            _ => Ok(()),
        }
    }

    fn directories(&self) -> Result<Vec<String>> {
        let what = || format!("list {}", self.directory.display());
        let entries = fs::read_dir(&self.directory).attempt(what)?;
        let directories = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        Ok(directories
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Volume>>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<Volume>>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps others from making or renaming volumes, for as long as the guard lives.
    pub(crate) fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Volume>> {
        let mut all: Vec<_> = self.read().values().cloned().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// The volume of a name.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Volume>> {
        let table = self.read();
        // A volume that was never renamed is found at once.
        if let Some(volume) = table.get(name).filter(|volume| volume.name == name) {
            return Ok(Arc::clone(volume));
        }
        let found = table.values().find(|volume| volume.name == name).cloned();
        found.ok_or_else(|| Error::NoSuchVolume(name.to_owned()))
    }

    /// The volume of an id.
    pub(crate) fn by_id(&self, id: &str) -> Option<Arc<Volume>> {
        self.read().get(id).cloned()
    }

    /// An id for a new volume: its name, unless an earlier one left its directory's name behind by
    /// being renamed.
    pub(super) fn new_id(&self, name: &str) -> String {
        let taken = |id: &str| self.read().contains_key(id) || self.directory.join(id).exists();
        if !taken(name) {
            return name.to_owned();
        }
        loop {
            let id = format!("{name}.{}", ContainerId::random().short());
            if !taken(&id) {
                return id;
            }
        }
    }

    /// A place for a volume that is being put together. What a crash leaves of it is removed.
    pub(super) fn aside(&self) -> PathBuf {
        let id = ContainerId::random();
        self.directory.join(format!("{ASIDE}{}", id.short()))
    }

    /// Stores a volume, new or changed.
    pub(super) fn put(&self, volume: Volume) -> Result<Arc<Volume>> {
        self.store.put(Kind::Volume, &volume.id, &volume)?;
        let volume = Arc::new(volume);
        self.write().insert(volume.id.clone(), Arc::clone(&volume));
        if let Err(error) = self.keep_copy(&volume) {
            tracing::warn!(volume = volume.name, %error, "cannot keep a copy of the record");
        }
        Ok(volume)
    }

    fn keep_copy(&self, volume: &Volume) -> io::Result<()> {
        let path = self.directory_of(volume).join(RECORD_COPY);
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(volume)?)?;
        fs::rename(&new, &path)
    }

    /// Forgets a volume.
    pub(super) fn delete(&self, volume: &Volume) -> Result<()> {
        self.store.delete(Kind::Volume, &volume.id)?;
        self.write().remove(&volume.id);
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.remove(&volume.id);
        Ok(())
    }

    /// Everything of a volume.
    pub(crate) fn directory_of(&self, volume: &Volume) -> PathBuf {
        self.directory.join(&volume.id)
    }

    /// The content of a volume of the local driver.
    pub(crate) fn data_of(&self, volume: &Volume) -> PathBuf {
        self.directory_of(volume).join(DATA)
    }

    /// Who uses what must be mounted first.
    pub(super) fn usage_of(&self, volume: &Volume) -> Arc<Mutex<Usage>> {
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(usage.entry(volume.id.clone()).or_default())
    }
}

/// Whether a volume's directory holds more than what is made before its record. What cannot be read
/// holds something.
fn holds_something(directory: &Path) -> bool {
    match fs::read_dir(directory.join(DATA)) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let entries = fs::read_dir(directory);
            let is_more = |entry: fs::DirEntry| entry.file_name() != RECORD_COPY;
            entries.map_or(true, |entries| entries.flatten().any(is_more))
        }
        Err(_) => true,
    }
}
