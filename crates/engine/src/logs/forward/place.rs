//! How much of a log was delivered.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

/// How much of a log was delivered.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The last record's time: nanoseconds since 1970.
    time_ns: i64,
    /// How many records of that very time.
    count: u64,
    /// How many of those were met again.
    #[serde(skip)]
    met: u64,
}

impl Place {
    /// Without a file (or with a damaged one) nothing was delivered.
    pub(super) fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Not synced: after a power cut some lines are delivered twice, none is lost.
    pub(super) fn write(&self, path: &Path) {
        let written = serde_json::to_vec(self).map(|bytes| fs::write(path, bytes));
        if let Ok(Err(error)) = written {
            tracing::debug!(path = %path.display(), %error, "cannot note what was forwarded");
        }
    }

    /// From where the log is to be read again.
    pub(super) fn since_ns(&self) -> Option<i64> {
        (self.count > 0).then_some(self.time_ns)
    }

    /// Whether a record of that time is still to be delivered; then it counts as delivered.
    pub(super) fn passes(&mut self, time_ns: i64) -> bool {
        if time_ns == self.time_ns && self.met < self.count {
            self.met += 1;
            return false;
        }
        if time_ns != self.time_ns {
            (self.time_ns, self.count) = (time_ns, 0);
        }
        self.count += 1;
        self.met = self.count;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_delivered_is_not_delivered_again() {
        let mut place = Place::default();
        assert_eq!(place.since_ns(), None);
        for time in [5, 7, 7] {
            assert!(place.passes(time));
        }
        let text = serde_json::to_string(&place).unwrap();
        let mut again: Place = serde_json::from_str(&text).unwrap();
        assert_eq!(again.since_ns(), Some(7));
        // Three of that time are in the log by now.
        let passed: Vec<_> = [7, 7, 7, 9].map(|time| again.passes(time)).into();
        assert_eq!(passed, [false, false, true, true]);
    }
}
