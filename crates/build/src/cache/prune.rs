//! What the cache takes, and taking it away.

use std::collections::{HashMap, HashSet};

use rusqlite::{OptionalExtension as _, params};

use super::{Cache, Condition};
use crate::error::{Error, Result};
use crate::tree::Trees;

/// The longest chain of steps that is followed.
const CHAIN_MAX: usize = 1000;

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
#[derive(Debug, Clone, Default)]
pub struct CacheFilter {
    /// Also what was used before by images, and cache mounts.
    pub all: bool,
    /// Last used before this (seconds since 1970).
    pub unused_since: Option<i64>,
    /// How much may stay.
    pub budget: Budget,
    /// All conditions of one of these lists must be met; empty: there are none.
    pub any: Vec<Vec<Condition>>,
}

/// How much of the cache may stay. All of it 0: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// So many bytes at most; 0: no matter.
    pub used_max: u64,
    /// So many bytes shall be free on the disk; 0: no matter.
    pub free_min: u64,
    /// So many bytes stay in any case.
    pub reserved: u64,
}

impl Budget {
    /// Bytes that may stay of those that are used, with so many free on the disk.
    fn bytes(self, used: u64, free: u64) -> u64 {
        let most = match (self.used_max, self.free_min) {
            (0, 0) => 0,
            (0, _) => used,
            (most, _) => most,
        };
        let missing = self.free_min.saturating_sub(free);
        most.min(used.saturating_sub(missing)).max(self.reserved)
    }
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
        let mut usage = self.usage(trees)?;
        from_above(&mut usage.records);
        let mut needed: HashSet<String> = HashSet::new();
        let mut left = usage.bytes();
        let may_stay = match filter.budget {
            budget if budget == Budget::default() => None,
            budget => Some(budget.bytes(left, self.free()?)),
        };
        let mut pruned = CachePruned::default();
        for record in usage.records {
            if may_stay.is_some_and(|bytes| left <= bytes) {
                break;
            }
            // What lies below something that stays is needed to find that.
            if needed.contains(&record.id)
                || record.in_use
                || !filter.picks(&record)
                || !self.remove(&record, trees)?
            {
                needed.extend(record.parents);
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

    /// Bytes that are free on the disk.
    fn free(&self) -> Result<u64> {
        let disk = self.look_at_disk()?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Bytes of the disk that the cache is on.
    pub(crate) fn disk(&self) -> Result<u64> {
        let disk = self.look_at_disk()?;
        Ok(disk.f_blocks.saturating_mul(disk.f_frsize))
    }

    fn look_at_disk(&self) -> Result<rustix::fs::StatVfs> {
        let what = || format!("look how full the disk of {} is", self.directory.display());
        let disk = rustix::fs::statvfs(&self.directory);
        disk.map_err(|error| Error::host(what(), error))
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
        let layer: Option<Option<i64>> = db
            .query_row(
                "SELECT layer FROM steps WHERE key = ?1",
                [&record.id],
                |row| row.get(0),
            )
            .optional()?;
        // Somebody else removed it meanwhile, or a build has begun to use it.
        let Some(layer) = layer else {
            return Ok(false);
        };
        let number = layer.and_then(|number| u64::try_from(number).ok());
        if number.is_some_and(|number| self.in_use().contains_key(&number)) {
            return Ok(false);
        }
        db.execute("DELETE FROM steps WHERE key = ?1", params![record.id])?;
        if let Some(number) = number {
            self.release_unused(&db, number)?;
        }
        Ok(true)
    }
}

impl CacheFilter {
    /// Whether a record is as the conditions say.
    pub fn means(&self, record: &CacheRecord) -> bool {
        let all = |list: &Vec<Condition>| list.iter().all(|one| one.is_met(record));
        self.any.is_empty() || self.any.iter().any(all)
    }

    fn picks(&self, record: &CacheRecord) -> bool {
        let by_age = self.unused_since.is_none_or(|since| record.used < since);
        // What images share frees nothing, and is wanted for the next build.
        self.means(record) && by_age && (self.all || !record.shared)
    }
}

/// The longest unused first, but a step only after those that lie on it.
fn from_above(records: &mut Vec<CacheRecord>) {
    let ids = records.iter().enumerate();
    let places: HashMap<&str, usize> = ids.map(|(at, one)| (one.id.as_str(), at)).collect();
    let mut last: Vec<(i64, usize)> = records.iter().map(|one| (one.used, 0)).collect();
    for start in 0..records.len() {
        let (mut at, mut above) = (start, 0);
        // What a cache from elsewhere says may go round in circles.
        while above < CHAIN_MAX
            && let Some(below) = records[at]
                .parents
                .first()
                .and_then(|id| places.get(id.as_str()))
        {
            (at, above) = (*below, above + 1);
            last[at] = (last[at].0.max(records[start].used), last[at].1.max(above));
        }
    }
    drop(places);
    let mut all: Vec<_> = last.into_iter().zip(std::mem::take(records)).collect();
    all.sort_by_key(|(key, _)| *key);
    records.extend(all.into_iter().map(|(_, one)| one));
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn a_budget_says_how_much_may_stay() {
        let stays = |used_max, free_min, reserved| {
            let budget = Budget {
                used_max,
                free_min,
                reserved,
            };
            budget.bytes(100, 50)
        };
        assert_eq!(stays(30, 0, 0), 30);
        assert_eq!(stays(0, 0, 20), 20);
        // There is enough room: nothing goes.
        assert_eq!(stays(0, 40, 0), 100);
        assert_eq!(stays(0, 70, 0), 80);
        assert_eq!(stays(0, 1000, 0), 0);
        assert_eq!(stays(90, 70, 0), 80);
        assert_eq!(stays(90, 1000, 25), 25);
    }
}
