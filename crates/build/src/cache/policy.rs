//! What of the cache goes by itself: rules, one after the other.

use std::time::Duration;

use super::prune::{Budget, CacheFilter};
use super::{Condition, now};

/// Bytes the cache may take before the longest unused goes, unless somebody says otherwise.
const USED_BYTES_MAX: u64 = 20 << 30;

/// One rule.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Also what images use, and cache mounts.
    pub all: bool,
    /// Only what was not used for so long.
    pub unused_for: Option<Duration>,
    /// What must be so of a record; empty: any.
    pub conditions: Vec<Condition>,
    /// So much at most; 0: no matter.
    pub used_max: Space,
    /// So much shall be free on the disk; 0: no matter.
    pub free_min: Space,
    /// So much stays in any case.
    pub reserved: Space,
}

/// A part of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// So many bytes.
    Bytes(u64),
    /// Of all of it.
    Percent(u8),
}

impl Default for Space {
    fn default() -> Self {
        Self::Bytes(0)
    }
}

impl Space {
    fn bytes(self, disk: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => disk / 100 * u64::from(percent),
        }
    }
}

impl Policy {
    /// The rules where nobody gives any.
    pub fn by_default() -> Vec<Self> {
        vec![Self {
            all: true,
            used_max: Space::Bytes(USED_BYTES_MAX),
            ..Self::default()
        }]
    }

    /// Adds what must be so of a record: `type==source.local`. The error is for people.
    pub fn add_condition(&mut self, text: &str) -> Result<(), String> {
        self.conditions.push(Condition::parse(text)?);
        Ok(())
    }

    /// In bytes of a disk of that size.
    pub fn budget(&self, disk: u64) -> Budget {
        Budget {
            used_max: self.used_max.bytes(disk),
            free_min: self.free_min.bytes(disk),
            reserved: self.reserved.bytes(disk),
        }
    }

    /// What goes now.
    pub(crate) fn filter(&self, disk: u64) -> CacheFilter {
        let before = |age: Duration| {
            let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
            now().saturating_sub(seconds)
        };
        CacheFilter {
            all: self.all,
            unused_since: self.unused_for.map(before),
            budget: self.budget(disk),
            any: match self.conditions.is_empty() {
                true => Vec::new(),
                false => vec![self.conditions.clone()],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_disk_are_bytes() {
        let policy = Policy {
            used_max: Space::Percent(25),
            free_min: Space::Bytes(7),
            ..Policy::default()
        };
        let budget = policy.budget(1000);
        assert_eq!(
            (budget.used_max, budget.free_min, budget.reserved),
            (250, 7, 0)
        );
    }

    #[test]
    fn what_was_used_lately_stays() {
        let policy = Policy {
            unused_for: Some(Duration::from_secs(3600)),
            ..Policy::default()
        };
        let since = policy.filter(0).unused_since.unwrap();
        assert!((3600..3700).contains(&(now() - since)), "{since}");
    }
}
