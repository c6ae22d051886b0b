//! What was built before: which layer a step gave, by the step's key.
//!
//! ```text
//! <data-root>/build/cache.db     keys, layers, packed forms
//! <data-root>/build/mounts/<n>   directories of RUN --mount=type=cache
//! <data-root>/layers/<n>         the layers themselves, held in the image store
//! ```
//! A record counts only once its layer is sure to survive: after a power cut, records of that boot
//! that were not synced are dropped. A killed daemon loses nothing.

mod filter;
pub(crate) mod import;
mod mounts;
mod origin;
mod policy;
mod prune;
pub(crate) mod record;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hull_image::Store;
use hull_oci::{Descriptor, Digest};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::error::{Error, Result};

pub use filter::Condition;
pub(crate) use import::Imports;
pub use mounts::{CacheMount, CacheMounts};
pub use origin::{CacheOrigin, DOCUMENT_BYTES_MAX, keep};
pub use policy::{Policy, Space};
pub use prune::{Budget, CacheFilter, CachePruned, CacheRecord, CacheUsage};

/// Versions of the schema that came before are dropped: a cache may be lost.
const SCHEMA: i64 = 2;

/// What was built before.
pub struct Cache {
    db: Mutex<Connection>,
    store: Arc<Store>,
    /// Layers that running builds use, and how many do.
    in_use: Mutex<HashMap<u64, usize>>,
    boot: String,
    mounts: CacheMounts,
    directory: PathBuf,
}

/// A step that was done before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What came out is known by this: done again, a command gives something else.
    pub outcome: String,
    /// Its layer; `None`: it changed nothing.
    pub layer: Option<u64>,
    /// Seconds since 1970.
    pub created: i64,
}

/// A step to remember.
#[derive(Debug, Clone)]
pub(crate) struct NewStep<'a> {
    pub(crate) key: &'a str,
    pub(crate) outcome: &'a str,
    pub(crate) below: Option<&'a str>,
    pub(crate) layer: Option<u64>,
    pub(crate) description: &'a str,
    pub(crate) bytes: u64,
    /// Seconds since 1970; none: now.
    pub(crate) created: Option<i64>,
}

impl Cache {
    /// Opens the cache in `dir`, and drops what does not fit the store any more.
    pub(crate) fn open(dir: &Path, store: Arc<Store>) -> Result<Self> {
        let path = dir.join("cache.db");
        let db = match connect(&path) {
            Ok(db) => db,
            Err(error) => {
                tracing::warn!(%error, "the build cache's records are damaged: beginning anew");
                let _ = std::fs::remove_file(&path);
                connect(&path)?
            }
        };
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let cache = Self {
            db: Mutex::new(db),
            store,
            in_use: Mutex::default(),
            boot: boot.trim().to_owned(),
            mounts: CacheMounts::open(&dir.join("mounts"))?,
            directory: dir.to_owned(),
        };
        cache.reconcile()?;
        Ok(cache)
    }

    /// Directories of `RUN --mount=type=cache`.
    pub(crate) fn mounts(&self) -> &CacheMounts {
        &self.mounts
    }

    /// Whether the step with this key was done before. Its layer is held until
    /// [`let_go`](Self::let_go).
    pub(crate) fn find(&self, key: &str) -> Result<Option<Hit>> {
        let db = self.db();
        let found: Option<(Option<i64>, i64, String)> = db
            .prepare_cached("SELECT layer, created, outcome FROM steps WHERE key = ?1")?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((layer, created, outcome)) = found else {
            return Ok(None);
        };
        let layer = layer.and_then(|number| u64::try_from(number).ok());
        if let Some(number) = layer {
            self.hold(number);
            if self.store.built_layer(number).is_none() {
                self.let_go(number);
                db.execute("DELETE FROM steps WHERE key = ?1", [key])?;
                return Ok(None);
            }
        }
        db.prepare_cached("UPDATE steps SET used = ?2, uses = uses + 1 WHERE key = ?1")?
            .execute(params![key, now()])?;
        Ok(Some(Hit {
            outcome,
            layer,
            created,
        }))
    }

    /// Whether the step with this key was done before; nothing is held.
    pub(crate) fn has(&self, key: &str) -> Result<bool> {
        let db = self.db();
        let mut query = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM steps WHERE key = ?1)")?;
        Ok(query.query_row([key], |row| row.get(0))?)
    }

    /// Remembers a step. Its layer is held, as if it had been found.
    pub(crate) fn add(&self, step: &NewStep<'_>) -> Result<Hit> {
        if let Some(number) = step.layer {
            self.hold(number);
        }
        let layer = step.layer.and_then(|number| i64::try_from(number).ok());
        let bytes = i64::try_from(step.bytes).unwrap_or(i64::MAX);
        let created = step.created.unwrap_or_else(now);
        let db = self.db();
        // Done again on purpose: what it gave before is nobody's any more.
        let old: Option<Option<i64>> = db
            .query_row(
                "SELECT layer FROM steps WHERE key = ?1",
                [step.key],
                |row| row.get(0),
            )
            .optional()?;
        db.prepare_cached(
            "INSERT OR REPLACE INTO steps
             (key, below, layer, description, bytes, created, used, uses, boot, outcome)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9)",
        )?
        .execute(params![
            step.key,
            step.below,
            layer,
            step.description,
            bytes,
            created,
            now(),
            self.boot,
            step.outcome
        ])?;
        if let Some(old) = old.flatten()
            && Some(old) != layer
        {
            self.release_unused(&db, u64::try_from(old).unwrap_or(0))?;
        }
        Ok(Hit {
            outcome: step.outcome.to_owned(),
            layer: step.layer,
            created,
        })
    }

    /// What is known of a step, but for its layer.
    pub(crate) fn step(&self, key: &str) -> Result<Option<record::RecordedStep>> {
        let db = self.db();
        let mut query = db.prepare_cached(
            "SELECT below, description, created, bytes, outcome FROM steps WHERE key = ?1",
        )?;
        let row = query.query_row([key], |row| {
            Ok(record::RecordedStep {
                key: key.to_owned(),
                below: row.get(0)?,
                layer: None,
                description: row.get(1)?,
                created: row.get(2)?,
                bytes: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
                outcome: row.get(4)?,
            })
        });
        Ok(row.optional()?)
    }

    /// The definitions that came out as this key.
    pub(crate) fn aliases_of(&self, key: &str) -> Result<Vec<String>> {
        let db = self.db();
        let mut query = db.prepare_cached("SELECT definition FROM aliases WHERE key = ?1")?;
        let rows = query.query_map([key], |row| row.get(0))?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }

    /// What a definition came out as before: the key by content.
    pub(crate) fn alias(&self, definition: &str) -> Result<Option<String>> {
        let db = self.db();
        let mut query = db.prepare_cached("SELECT key FROM aliases WHERE definition = ?1")?;
        Ok(query.query_row([definition], |row| row.get(0)).optional()?)
    }

    /// Remembers what a definition came out as.
    pub(crate) fn add_alias(&self, definition: &str, key: &str) -> Result<()> {
        self.db()
            .prepare_cached("INSERT OR REPLACE INTO aliases (definition, key) VALUES (?1, ?2)")?
            .execute([definition, key])?;
        Ok(())
    }

    /// The packed form of a layer, if its blob is still there.
    pub(crate) fn packed(&self, layer: u64, form: &str) -> Result<Option<Packed>> {
        let db = self.db();
        let found: Option<String> = db
            .prepare_cached("SELECT packed FROM packed WHERE layer = ?1 AND form = ?2")?
            .query_row(params![i64::try_from(layer).unwrap_or(0), form], |row| {
                row.get(0)
            })
            .optional()?;
        let packed: Option<Packed> = found.and_then(|text| serde_json::from_str(&text).ok());
        Ok(packed.filter(|packed| self.store.has_whole(&packed.descriptor)))
    }

    /// Remembers the packed form of a layer.
    pub(crate) fn add_packed(&self, layer: u64, form: &str, packed: &Packed) -> Result<()> {
        let text = serde_json::to_string(packed).unwrap_or_default();
        self.db()
            .prepare_cached(
                "INSERT OR REPLACE INTO packed (layer, form, packed) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![i64::try_from(layer).unwrap_or(0), form, text])?;
        Ok(())
    }

    /// Keeps a layer from being pruned.
    pub(crate) fn hold(&self, layer: u64) {
        *self.in_use().entry(layer).or_insert(0) += 1;
    }

    /// The opposite of [`hold`](Self::hold).
    pub(crate) fn let_go(&self, layer: u64) {
        let mut in_use = self.in_use();
        if let Some(count) = in_use.get_mut(&layer) {
            *count -= 1;
            if *count == 0 {
                in_use.remove(&layer);
            }
        }
    }

    /// Everything remembered so far survives a power cut from now on. Whether there was anything
    /// that the disk had to be waited for.
    pub(crate) fn sync(&self) -> Result<bool> {
        // What is added while the disk works is the next one's.
        let new: Vec<(String, i64)> = {
            let db = self.db();
            let mut query = db.prepare(
                "SELECT key, layer FROM steps WHERE boot IS NOT NULL AND layer IS NOT NULL",
            )?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<std::result::Result<_, _>>()?
        };
        if new.is_empty() {
            return Ok(false);
        }
        self.store.sync_layers()?;
        let db = self.db();
        for (key, layer) in new {
            db.execute(
                "UPDATE steps SET boot = NULL WHERE key = ?1 AND layer = ?2",
                params![key, layer],
            )?;
        }
        Ok(true)
    }

    /// Drops records without layers, and layers without records.
    fn reconcile(&self) -> Result<()> {
        let db = self.db();
        db.execute(
            "DELETE FROM steps WHERE boot IS NOT NULL AND boot <> ?1",
            [&self.boot],
        )?;
        let mut known: Vec<u64> = Vec::new();
        {
            let mut query = db.prepare("SELECT key, layer FROM steps WHERE layer IS NOT NULL")?;
            let rows = query.query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
            })?;
            for row in rows {
                let (key, layer) = row?;
                let number = u64::try_from(layer).unwrap_or(0);
                if self.store.built_layer(number).is_some() {
                    known.push(number);
                } else {
                    db.execute("DELETE FROM steps WHERE key = ?1", [key])?;
                }
            }
        }
        for number in self.store.built_layers() {
            if !known.contains(&number) {
                self.store.release_layer(number)?;
            }
        }
        db.execute("DELETE FROM packed WHERE layer NOT IN (SELECT layer FROM steps WHERE layer IS NOT NULL)", [])?;
        Ok(())
    }

    /// Gives a layer up that no record tells of any more, unless a build uses it.
    fn release_unused(&self, db: &Connection, layer: u64) -> Result<bool> {
        let number = i64::try_from(layer).unwrap_or(0);
        let told: bool = db.query_row(
            "SELECT EXISTS (SELECT 1 FROM steps WHERE layer = ?1)",
            [number],
            |row| row.get(0),
        )?;
        if told || self.in_use().contains_key(&layer) {
            // One in use goes at the next start: no record tells of it.
            return Ok(false);
        }
        db.execute("DELETE FROM packed WHERE layer = ?1", [number])?;
        Ok(self.store.release_layer(layer)?)
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_use(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A layer as images hold it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Packed {
    pub(crate) descriptor: Descriptor,
    pub(crate) diff_id: Digest,
}

impl From<hull_image::store::Packed> for Packed {
    fn from(packed: hull_image::store::Packed) -> Self {
        Self {
            descriptor: packed.descriptor,
            diff_id: packed.diff_id,
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_second()
}

fn connect(path: &PathBuf) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != 0 && version != SCHEMA {
        return Err(Error::host(
            "read the build cache's records",
            "another version wrote them",
        ));
    }
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS steps (
             key TEXT PRIMARY KEY, below TEXT, layer INTEGER, description TEXT NOT NULL,
             bytes INTEGER NOT NULL, created INTEGER NOT NULL, used INTEGER NOT NULL,
             uses INTEGER NOT NULL, boot TEXT, outcome TEXT NOT NULL) WITHOUT ROWID;
         CREATE INDEX IF NOT EXISTS steps_layer ON steps (layer);
         CREATE TABLE IF NOT EXISTS aliases (
             definition TEXT PRIMARY KEY, key TEXT NOT NULL) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS packed (
             layer INTEGER, form TEXT, packed TEXT NOT NULL, PRIMARY KEY (layer, form));",
    )?;
    db.pragma_update(None, "user_version", SCHEMA)?;
    Ok(db)
}
