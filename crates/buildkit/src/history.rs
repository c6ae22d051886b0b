//! Builds that have ended, on the disk: `docker buildx history` tells of them after a restart, too.
//!
//! ```text
//! <data-root>/build/history/<digest of the reference>   a record, then what was told of the build
//! ```
//! Each a message of the protocol with its length before it. Only the daemon may read them: outputs
//! and arguments of builds are their client's.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use hull_oci::Digest;
use prost::Message;

use crate::proto::control::{BuildHistoryRecord, StatusResponse};

/// What is kept of one build.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Kept {
    pub(crate) record: BuildHistoryRecord,
    pub(crate) words: Vec<StatusResponse>,
}

/// The directory.
#[derive(Debug)]
pub(crate) struct History(PathBuf);

impl History {
    /// In `directory`, which is made when something is kept.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self(directory.join("history"))
    }

    /// All builds, oldest first. What is damaged is forgotten.
    pub(crate) fn all(&self) -> Vec<Kept> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut all: Vec<Kept> = entries
            .filter_map(|entry| {
                let path = entry.path();
                if path.extension().is_some() {
                    // It was being written when the daemon died.
                    let _ = fs::remove_file(&path);
                    return None;
                }
                let kept = fs::read(&path).ok().and_then(|bytes| decode(&bytes));
                if kept.is_none() {
                    tracing::warn!(path = %path.display(), "a build's record is damaged");
                    let _ = fs::remove_file(&path);
                }
                kept
            })
            .collect();
        let began = |kept: &Kept| {
            let time = kept.record.created_at.as_ref();
            time.map(|time| (time.seconds, time.nanos))
        };
        all.sort_by_key(began);
        all
    }

    /// Keeps a build, in place of what was kept of it.
    pub(crate) fn keep(&self, kept: &Kept) {
        let path = self.path(&kept.record.r#ref);
        if let Err(error) = self.write(&path, kept) {
            tracing::warn!(path = %path.display(), %error, "cannot keep a build's record");
        }
    }

    /// Forgets a build.
    pub(crate) fn forget(&self, reference: &str) {
        let path = self.path(reference);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot forget a build");
        }
    }

    fn write(&self, path: &Path, kept: &Kept) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)?;
        let mut bytes = kept.record.encode_length_delimited_to_vec();
        for word in &kept.words {
            bytes.extend(word.encode_length_delimited_to_vec());
        }
        let new = path.with_extension("new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&bytes)?;
        fs::rename(new, path)
    }

    /// References are the client's words: they become no file names.
    fn path(&self, reference: &str) -> PathBuf {
        self.0.join(&Digest::of(reference.as_bytes()).hex()[..32])
    }
}

fn decode(mut bytes: &[u8]) -> Option<Kept> {
    let record = BuildHistoryRecord::decode_length_delimited(&mut bytes).ok()?;
    let mut words = Vec::new();
    while !bytes.is_empty() {
        words.push(StatusResponse::decode_length_delimited(&mut bytes).ok()?);
    }
    (!record.r#ref.is_empty()).then_some(Kept { record, words })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(reference: &str, seconds: i64) -> Kept {
        Kept {
            record: BuildHistoryRecord {
                r#ref: reference.to_owned(),
                created_at: Some(crate::proto::Timestamp { seconds, nanos: 0 }),
                ..BuildHistoryRecord::default()
            },
            words: vec![StatusResponse::default(); 2],
        }
    }

    #[test]
    fn builds_are_found_again_and_damaged_ones_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::in_directory(directory.path());
        assert!(history.all().is_empty());
        history.keep(&kept("../../late", 2));
        history.keep(&kept("early", 1));
        fs::write(directory.path().join("history/damaged"), b"\xff\xff").unwrap();
        let whole = history.path("early");
        fs::copy(&whole, whole.with_extension("new")).unwrap();
        assert_eq!(history.all(), [kept("early", 1), kept("../../late", 2)]);
        history.forget("early");
        assert_eq!(history.all().len(), 1);
        assert!(!directory.path().join("history/damaged").exists());
        assert!(!whole.with_extension("new").exists());
    }
}
