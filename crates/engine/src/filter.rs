//! Compiled seccomp filters, each compiled once.
//!
//! A filter lies in the run directory under the digest of its profile; a shim reads it from there
//! instead of compiling the profile again, which would take longer than the rest of the start.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hull_oci::{Digest, runtime::LinuxSeccomp};

/// Compiled seccomp filters.
#[derive(Debug)]
pub(crate) struct Filters {
    directory: PathBuf,
}

impl Filters {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The file with the compiled `profile`. `None`: it cannot be kept, and the shim compiles it
    /// (and says what is wrong with it, if anything is).
    pub(crate) fn file_for(&self, profile: &LinuxSeccomp) -> Option<PathBuf> {
        let text = serde_json::to_vec(profile).ok()?;
        let file = self.directory.join(Digest::of(&text).hex());
        if file.exists() {
            return Some(file);
        }
        let program = hull_runtime::seccomp::compile(profile).ok()?;
        match write_whole(&file, &program.as_bytes()) {
            Ok(()) => Some(file),
            Err(error) => {
                tracing::warn!(path = %file.display(), %error, "cannot keep a compiled filter");
                None
            }
        }
    }
}

/// Nobody ever sees half a filter.
fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        crate::paths::make(directory, 0o700)?;
    }
    let unique = crate::model::ExecId::random();
    let new = file.with_extension(unique.short());
    fs::write(&new, bytes)?;
    fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_compiled_once() {
        let directory = tempfile::tempdir().unwrap();
        let filters = Filters::new(directory.path().join("filters"));
        let profile = LinuxSeccomp::default();
        let file = filters.file_for(&profile).unwrap();
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        assert_eq!(filters.file_for(&profile).unwrap(), file);
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written);
        assert_eq!(
            fs::read_dir(directory.path().join("filters"))
                .unwrap()
                .count(),
            1
        );
    }
}
