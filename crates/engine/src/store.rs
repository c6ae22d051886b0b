//! The state file: what was acknowledged is in here.
//!
//! One SQLite file in WAL mode. A record is JSON under a kind and a key, with the version of its
//! shape; a record that cannot be read is moved to the `quarantine` table and never a reason not to
//! start, and so is a whole file that SQLite does not recognise (it is renamed and a new one made).

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};

/// The version of the records' shapes that this build writes.
const RECORD_VERSION: i64 = 1;

/// How many events are kept.
const EVENTS_MAX: i64 = 20_000;

/// What kind of object a record describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By id.
    Container,
    /// By id.
    Network,
    /// By name.
    Volume,
    /// By setting.
    Setting,
}

/// The state file.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Mutex<Connection>,
    reserve: Reserve,
}

/// What opening found.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The file, ready.
    pub(crate) store: Store,
    /// An unreadable file that was put aside, if there was one.
    pub(crate) damaged: Option<PathBuf>,
    /// Whether the file is new: nothing was acknowledged in it yet.
    pub(crate) is_new: bool,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Setting => "setting",
        }
    }
}

impl Store {
    /// Opens or makes the file.
    pub(crate) fn open(path: &Path) -> Result<Opened> {
        let existed = std::fs::metadata(path).is_ok_and(|found| found.len() > 0);
        match Self::connect(path) {
            Ok(store) => Ok(Opened {
                store,
                damaged: None,
                is_new: !existed,
            }),
            Err(error) if existed && is_damage(&error) => {
                let aside = put_aside(path);
                let store = Self::connect(path).map_err(database("make the state file anew"))?;
                Ok(Opened {
                    store,
                    damaged: Some(aside),
                    is_new: true,
                })
            }
            Err(source) => Err(Error::Database {
                attempt: "open the state file",
                source,
            }),
        }
    }

    fn connect(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        // Small pages in memory: the file is small and read once.
        connection.pragma_update(None, "cache_size", -256)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS records (
                kind TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL,
                body TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS quarantine (
                kind TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL,
                body TEXT NOT NULL, reason TEXT NOT NULL);
             CREATE TABLE IF NOT EXISTS events (
                seq INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, body TEXT NOT NULL);",
        )?;
        let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if check != "ok" {
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
                Some(check),
            ));
        }
        let reserve = Reserve(path.with_file_name(RESERVE));
        reserve.fill();
        Ok(Self {
            connection: Mutex::new(connection),
            reserve,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a record, replacing the one under the same key. Durable when it returns.
    pub(crate) fn put<T: Serialize>(&self, kind: Kind, key: &str, record: &T) -> Result<()> {
        let body = encode(key, record)?;
        put(&self.lock(), kind, key, &body)
            .map(drop)
            .map_err(database("store a record"))
    }

    /// As [`put`](Self::put), also on a full disk: for what happened and cannot be undone.
    pub(crate) fn put_always<T: Serialize>(&self, kind: Kind, key: &str, record: &T) -> Result<()> {
        let body = encode(key, record)?;
        self.with_room(|connection| put(connection, kind, key, &body))
            .map_err(database("store a record"))
    }

    /// Forgets a record.
    pub(crate) fn delete(&self, kind: Kind, key: &str) -> Result<()> {
        let delete = |connection: &Connection| {
            connection
                .prepare_cached("DELETE FROM records WHERE kind = ?1 AND key = ?2")?
                .execute(params![kind.as_str(), key])
        };
        self.with_room(delete).map_err(database("delete a record"))
    }

    /// Also on a full disk: what was set aside for that is used up then.
    fn with_room(
        &self,
        change: impl Fn(&Connection) -> rusqlite::Result<usize>,
    ) -> rusqlite::Result<()> {
        let connection = self.lock();
        match change(&connection) {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
                    && self.reserve.give() =>
            {
                tracing::warn!("the disk is full: using what was set aside for that");
                change(&connection).map(drop)
            }
            changed => changed.map(drop),
        }
    }

    /// Sets space aside again, if some was used and there is some.
    pub(crate) fn refill_reserve(&self) {
        self.reserve.fill();
    }

    /// One record.
    pub(crate) fn get<T: DeserializeOwned>(&self, kind: Kind, key: &str) -> Result<Option<T>> {
        let body: Option<String> = self
            .lock()
            .prepare_cached("SELECT body FROM records WHERE kind = ?1 AND key = ?2")
            .and_then(|mut sql| {
                sql.query_row(params![kind.as_str(), key], |row| row.get(0))
                    .optional()
            })
            .map_err(database("read a record"))?;
        Ok(body.and_then(|body| serde_json::from_str(&body).ok()))
    }

    /// All records of a kind. Unreadable ones are put into quarantine and named in the log.
    pub(crate) fn all<T: DeserializeOwned>(&self, kind: Kind) -> Result<Vec<T>> {
        let records = self.all_by_key(kind)?;
        Ok(records.into_iter().map(|(_, record)| record).collect())
    }

    /// All records of a kind with their keys. Unreadable ones as with [`all`](Self::all).
    pub(crate) fn all_by_key<T: DeserializeOwned>(&self, kind: Kind) -> Result<Vec<(String, T)>> {
        let rows = self.rows(kind).map_err(database("read the records"))?;
        let mut records = Vec::with_capacity(rows.len());
        for (key, body) in rows {
            match serde_json::from_str(&body) {
                Ok(record) => records.push((key, record)),
                Err(error) => self.quarantine(kind, &key, &error.to_string())?,
            }
        }
        Ok(records)
    }

    fn rows(&self, kind: Kind) -> rusqlite::Result<Vec<(String, String)>> {
        let connection = self.lock();
        let mut sql = connection
            .prepare_cached("SELECT key, body FROM records WHERE kind = ?1 ORDER BY key")?;
        let rows = sql.query_map([kind.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    fn quarantine(&self, kind: Kind, key: &str, reason: &str) -> Result<()> {
        tracing::error!(
            kind = kind.as_str(),
            key,
            reason,
            "unreadable record put into quarantine"
        );
        let mut connection = self.lock();
        let moved = connection.transaction().and_then(|transaction| {
            transaction.execute(
                "INSERT INTO quarantine SELECT kind, key, version, body, ?3 FROM records
                 WHERE kind = ?1 AND key = ?2",
                params![kind.as_str(), key, reason],
            )?;
            transaction.execute(
                "DELETE FROM records WHERE kind = ?1 AND key = ?2",
                params![kind.as_str(), key],
            )?;
            transaction.commit()
        });
        moved.map_err(database("put a record into quarantine"))
    }

    /// The keys of records of a kind that were put into quarantine.
    pub(crate) fn quarantined(&self, kind: Kind) -> Result<Vec<String>> {
        let connection = self.lock();
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut sql = connection.prepare("SELECT key FROM quarantine WHERE kind = ?1")?;
            sql.query_map([kind.as_str()], |row| row.get(0))?.collect()
        };
        read().map_err(database("read the quarantine"))
    }

    /// The number of the newest event; 0: there is none.
    pub(crate) fn last_event(&self) -> Result<u64> {
        let last: Option<i64> = self
            .lock()
            .query_row("SELECT max(seq) FROM events", [], |row| row.get(0))
            .map_err(database("read the events"))?;
        Ok(last.unwrap_or(0).cast_unsigned())
    }

    /// Stores events with their numbers, and forgets the oldest above the limit.
    pub(crate) fn append_events(&self, events: &[(u64, i64, String)]) -> Result<()> {
        let mut connection = self.lock();
        let stored = connection.transaction().and_then(|transaction| {
            for (seq, time_ns, body) in events {
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO events VALUES (?1, ?2, ?3)")?
                    .execute(params![seq.cast_signed(), time_ns, body])?;
            }
            if let Some((last, ..)) = events.last() {
                transaction
                    .prepare_cached("DELETE FROM events WHERE seq <= ?1")?
                    .execute([last.cast_signed() - EVENTS_MAX])?;
            }
            transaction.commit()
        });
        stored.map_err(database("store events"))
    }

    /// At most `count` events after number `seq`, oldest first.
    pub(crate) fn events_after(&self, seq: u64, count: usize) -> Result<Vec<(u64, String)>> {
        let connection = self.lock();
        let read = || -> rusqlite::Result<Vec<(u64, String)>> {
            let mut sql = connection.prepare_cached(
                "SELECT seq, body FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            let rows = sql.query_map(params![seq.cast_signed(), count], |row| {
                Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
            })?;
            rows.collect()
        };
        read().map_err(database("read the events"))
    }

    /// The number of the last event before `time_ns`; 0: there is none.
    pub(crate) fn last_event_before(&self, time_ns: i64) -> Result<u64> {
        let seq: Option<i64> = self
            .lock()
            .query_row(
                "SELECT max(seq) FROM events WHERE time_ns < ?1",
                [time_ns],
                |row| row.get(0),
            )
            .map_err(database("read the events"))?;
        Ok(seq.unwrap_or(0).cast_unsigned())
    }
}

fn encode<T: Serialize>(key: &str, record: &T) -> Result<String> {
    serde_json::to_string(record)
        .map_err(|error| Error::Internal(format!("encode record `{key}`: {error}")))
}

fn put(connection: &Connection, kind: Kind, key: &str, body: &str) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO records VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![kind.as_str(), key, RECORD_VERSION, body])
}

/// The name of the file that sets space aside.
const RESERVE: &str = "reserve";

/// Bytes set aside: the records of a few hundred containers and volumes that are removed.
const RESERVE_BYTES: u64 = 4 << 20;

/// Space that is given back when a record must be written and the disk is full: what frees space
/// needs some first.
#[derive(Debug)]
struct Reserve(PathBuf);

impl Reserve {
    /// Takes the space, where there is plenty of it.
    fn fill(&self) {
        let has = std::fs::metadata(&self.0).map_or(0, |found| found.len());
        let directory = self.0.parent().unwrap_or(&self.0);
        let free = rustix::fs::statvfs(directory).map_or(0, |fs| fs.f_bavail * fs.f_frsize);
        if has >= RESERVE_BYTES || free < 4 * RESERVE_BYTES {
            return;
        }
        let file = std::fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.0);
        let taken = file.map(|file| {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE_BYTES)
        });
        if !matches!(taken, Ok(Ok(()))) {
            tracing::debug!("no space is set aside: the file system cannot");
        }
    }

    /// Gives the space back; whether there was any.
    fn give(&self) -> bool {
        let had = std::fs::metadata(&self.0).is_ok_and(|found| found.len() > 0);
        had && std::fs::remove_file(&self.0).is_ok()
    }
}

fn database(attempt: &'static str) -> impl FnOnce(rusqlite::Error) -> Error {
    move |source| Error::Database { attempt, source }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseCorrupt | NotADatabase)
    )
}

/// Renames the unreadable file and its companions; nothing is deleted.
fn put_aside(path: &Path) -> PathBuf {
    let stamp = crate::time::now_ns();
    let aside = path.with_extension(format!("db.damaged-{stamp}"));
    for suffix in ["", "-wal", "-shm"] {
        let mut from = path.as_os_str().to_owned();
        from.push(suffix);
        let mut to = aside.as_os_str().to_owned();
        to.push(suffix);
        if let Err(error) = std::fs::rename(&from, &to)
            && suffix.is_empty()
        {
            tracing::error!(%error, path = %path.display(), "cannot put the damaged state file aside");
        }
    }
    aside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_record_is_there_after_reopening() {
        let directory = directory();
        let path = directory.path().join("hull.db");
        let opened = Store::open(&path).unwrap();
        assert!(opened.is_new);
        opened.store.put(Kind::Volume, "data", &vec![1, 2]).unwrap();
        drop(opened);
        let opened = Store::open(&path).unwrap();
        assert!(!opened.is_new);
        assert_eq!(
            opened.store.all::<Vec<i32>>(Kind::Volume).unwrap(),
            [vec![1, 2]]
        );
        opened.store.delete(Kind::Volume, "data").unwrap();
        assert_eq!(
            opened.store.get::<Vec<i32>>(Kind::Volume, "data").unwrap(),
            None
        );
    }

    #[test]
    fn an_unreadable_record_goes_into_quarantine_and_the_others_stay() {
        let directory = directory();
        let store = Store::open(&directory.path().join("hull.db"))
            .unwrap()
            .store;
        store.put(Kind::Container, "a", &"no list").unwrap();
        store.put(Kind::Container, "b", &vec![3]).unwrap();
        assert_eq!(store.all::<Vec<i32>>(Kind::Container).unwrap(), [vec![3]]);
        assert_eq!(
            store.all::<String>(Kind::Container).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_file_that_is_no_database_is_put_aside() {
        let directory = directory();
        let path = directory.path().join("hull.db");
        std::fs::write(&path, vec![0x5a; 8192]).unwrap();
        let opened = Store::open(&path).unwrap();
        assert!(opened.is_new);
        assert!(opened.damaged.unwrap().exists());
    }

    #[test]
    fn events_keep_their_numbers() {
        let directory = directory();
        let store = Store::open(&directory.path().join("hull.db"))
            .unwrap()
            .store;
        assert_eq!(store.last_event().unwrap(), 0);
        store
            .append_events(&[(1, 10, "a".into()), (2, 20, "b".into())])
            .unwrap();
        assert_eq!(store.last_event().unwrap(), 2);
        assert_eq!(store.last_event_before(20).unwrap(), 1);
        assert_eq!(store.events_after(1, 9).unwrap(), [(2, "b".to_owned())]);
    }
}
