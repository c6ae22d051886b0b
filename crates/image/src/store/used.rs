//! When images were last used: `used.json`, for whoever must choose which to let go.
//!
//! A convenience, not a record: written now and then, and lost without harm.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hull_oci::Digest;
use jiff::Timestamp;

/// What is written may be older than the truth by so many seconds.
const EXACT_TO_S: i64 = 3600;

/// When each image was last used.
pub(super) struct Used {
    path: PathBuf,
    /// Unix seconds.
    times: Mutex<HashMap<Digest, Times>>,
}

#[derive(Clone, Copy)]
struct Times {
    last: i64,
    written: i64,
}

impl Used {
    /// Reads what an earlier life wrote.
    pub(super) fn open(root: &Path) -> Self {
        let path = root.join("used.json");
        let read = fs::read(&path).ok();
        let read: Option<HashMap<Digest, i64>> =
            read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let times = |(image, last)| {
            let written = last;
            (image, Times { last, written })
        };
        Self {
            path,
            times: Mutex::new(read.into_iter().flatten().map(times).collect()),
        }
    }

    /// The image is used now.
    pub(super) fn touch(&self, image: &Digest) {
        let now = Timestamp::now().as_second();
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let known = times.entry(image.clone()).or_insert(Times {
            last: now,
            written: 0,
        });
        known.last = now;
        if now - known.written >= EXACT_TO_S {
            self.write(&mut times);
        }
    }

    /// When the image was last used, if it ever was.
    pub(super) fn last(&self, image: &Digest) -> Option<Timestamp> {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        Timestamp::from_second(times.get(image)?.last).ok()
    }

    /// Forgets images that are gone.
    pub(super) fn retain(&self, is_here: impl Fn(&Digest) -> bool) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let before = times.len();
        times.retain(|image, _| is_here(image));
        if times.len() != before {
            self.write(&mut times);
        }
    }

    fn write(&self, times: &mut HashMap<Digest, Times>) {
        let new = self.path.with_extension("json.new");
        let plain: HashMap<&Digest, i64> = times.iter().map(|(key, t)| (key, t.last)).collect();
        let written = serde_json::to_vec(&plain)
            .map_err(std::io::Error::from)
            .and_then(|bytes| fs::write(&new, bytes))
            .and_then(|()| fs::rename(&new, &self.path));
        match written {
            Ok(()) => times
                .values_mut()
                .for_each(|times| times.written = times.last),
            Err(error) => {
                let path = self.path.display();
                tracing::debug!(%path, %error, "cannot note when images are used");
            }
        }
    }
}
