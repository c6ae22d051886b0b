//! What the cache takes, and taking it away.

use rusqlite::params;

use super::Cache;
use crate::error::Result;
use crate::tree::Trees;

/// One thing the cache holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRecord {
    /// Its name.
    pub id: String,
    /// `regular`, `source.local`, `exec.cachemount`.
    pub kind: &'static str,
    /// The step.
    pub description: String,
    /// What it lies on.
    pub parents: Vec<String>,
    /// Bytes.
    pub bytes: u64,
    /// Seconds since 1970.
    pub created: i64,
    /// Seconds since 1970.
    pub used: i64,
    /// How often it was used again.
    pub uses: u64,
    /// A build uses it now.
    pub in_use: bool,
    /// An image has it too: pruning frees nothing.
    pub shared: bool,
}

/// What the cache takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheUsage {
    /// Everything in it, the longest unused first.
    pub records: Vec<CacheRecord>,
}

/// What to take away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheFilter {
    /// Also what was used before by images, and cache mounts.
    pub all: bool,
    /// Last used before this (seconds since 1970).
    pub unused_since: Option<i64>,
    /// Keep at most so many bytes; 0: none.
    pub keep_bytes: u64,
    /// Ids that begin with one of these; empty: all.
    pub ids: Vec<String>,
    /// Kinds; empty: all.
    pub kinds: Vec<String>,
}

/// What was taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachePruned {
    /// What.
    pub records: Vec<CacheRecord>,
    /// Bytes.
    pub bytes: u64,
}

impl CacheUsage {
    /// Bytes of everything.
    pub fn bytes(&self) -> u64 {
        self.records.iter().map(|record| record.bytes).sum()
    }
}

/// The prefixes of ids, by kind.
const MOUNT: &str = "mount-";
const TREE: &str = "context-";

impl Cache {
    /// What the cache holds.
    pub(crate) fn usage(&self, trees: &Trees) -> Result<CacheUsage> {
        let mut records = self.step_records()?;
        for mount in self.mounts.stored() {
            records.push(CacheRecord {
                id: format!("{MOUNT}{}", mount.name),
                kind: "exec.cachemount",
                description: format!("cached mount {}", mount.id),
                parents: Vec::new(),
                bytes: mount.bytes,
                created: mount.created,
                used: mount.used,
                uses: 0,
                in_use: mount.in_use,
                shared: false,
            });
        }
        for tree in trees.idle() {
            records.push(CacheRecord {
                id: format!("{TREE}{}", tree.id()),
                kind: "source.local",
                description: "local source for context".to_owned(),
                parents: Vec::new(),
                bytes: tree.bytes,
                created: tree.used,
                used: tree.used,
                uses: 0,
                in_use: false,
                shared: false,
            });
        }
        records.sort_by_key(|record| record.used);
        Ok(CacheUsage { records })
    }

    /// Bytes of all layers.
    pub(crate) fn step_bytes(&self) -> Result<u64> {
        let bytes: i64 =
            self.db()
                .query_row("SELECT COALESCE(SUM(bytes), 0) FROM steps", [], |row| {
                    row.get(0)
                })?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    fn step_records(&self) -> Result<Vec<CacheRecord>> {
        let db = self.db();
        let mut query = db.prepare(
            "SELECT key, below, layer, description, bytes, created, used, uses,
                    EXISTS (SELECT 1 FROM packed WHERE packed.layer = steps.layer)
             FROM steps",
        )?;
        let rows = query.query_map([], |row| {
            let layer: Option<i64> = row.get(2)?;
            let below: Option<String> = row.get(1)?;
            let in_use = layer.is_some_and(|layer| {
                let number = u64::try_from(layer).unwrap_or(0);
                self.in_use().contains_key(&number)
            });
            let number = |value: i64| u64::try_from(value).unwrap_or(0);
            Ok(CacheRecord {
                id: row.get(0)?,
                kind: "regular",
                description: row.get(3)?,
                parents: below.into_iter().collect(),
                bytes: number(row.get(4)?),
                created: row.get(5)?,
                used: row.get(6)?,
                uses: number(row.get(7)?),
                in_use,
                shared: row.get(8)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Takes away what the filter picks, the longest unused first.
    pub(crate) fn prune(&self, filter: &CacheFilter, trees: &Trees) -> Result<CachePruned> {
        let usage = self.usage(trees)?;
        let mut left = usage.bytes();
        let mut pruned = CachePruned::default();
        for record in usage.records {
            if filter.keep_bytes > 0 && left <= filter.keep_bytes {
                break;
            }
            if record.in_use || !filter.picks(&record) || !self.remove(&record, trees)? {
                continue;
            }
            left = left.saturating_sub(record.bytes);
            if !record.shared {
                pruned.bytes += record.bytes;
            }
            pruned.records.push(record);
        }
        self.db().execute(
            "DELETE FROM aliases WHERE key NOT IN (SELECT key FROM steps)",
            [],
        )?;
        Ok(pruned)
    }

    fn remove(&self, record: &CacheRecord, trees: &Trees) -> Result<bool> {
        if let Some(name) = record.id.strip_prefix(MOUNT) {
            return Ok(self.mounts.remove(name));
        }
        if let Some(name) = record.id.strip_prefix(TREE) {
            let idle = trees.idle();
            let tree = idle.iter().find(|tree| tree.id() == name);
            return Ok(tree.is_some_and(|tree| trees.remove(tree)));
        }
        let db = self.db();
        let layer: Option<i64> = db.query_row(
            "SELECT layer FROM steps WHERE key = ?1",
            [&record.id],
            |row| row.get(0),
        )?;
        db.execute("DELETE FROM steps WHERE key = ?1", params![record.id])?;
        if let Some(layer) = layer {
            self.release_unused(&db, u64::try_from(layer).unwrap_or(0))?;
        }
        Ok(true)
    }
}

impl CacheFilter {
    fn picks(&self, record: &CacheRecord) -> bool {
        let by_id = self.ids.is_empty() || self.ids.iter().any(|id| record.id.starts_with(id));
        let by_kind = self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == record.kind);
        let by_age = self.unused_since.is_none_or(|since| record.used < since);
        // What images share frees nothing, and is wanted for the next build.
        by_id && by_kind && by_age && (self.all || !record.shared)
    }
}
