//! What a project was brought up with before: what `up --undo` returns to.
//!
//! ```text
//! $XDG_STATE_HOME/hull/compose/<project>/now.yaml      what the last `up` brought about
//!                                       /before.yaml   what the one before did, if it differed
//! ```
//! The files hold variables as services get them, so they are for their owner alone.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hull_compose::{Loaded, Options, load, render};

use super::project::load_failure;
use crate::error::{Error, Result};
use crate::format::time::local;

/// Where a project's history lies.
fn directory(project: &str) -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let state =
        state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("hull/compose").join(project))
}

/// Keeps what a project is brought up with. Where nothing can be kept, nothing can be undone; that
/// is no reason not to go on.
pub(super) fn keep(loaded: &Loaded) {
    if let Some(directory) = directory(&loaded.name) {
        _ = write(&directory, &render::project_yaml(&loaded.project));
    }
}

fn write(directory: &Path, text: &str) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let now = directory.join("now.yaml");
    if std::fs::read_to_string(&now).is_ok_and(|known| known == text) {
        return Ok(());
    }
    let new = directory.join("new.yaml");
    _ = std::fs::remove_file(&new);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    if now.exists() {
        std::fs::rename(&now, directory.join("before.yaml"))?;
    }
    std::fs::rename(&new, &now)
}

/// What the project was before the last change.
///
/// # Errors
/// When nothing is known of a time before.
pub(super) fn before(loaded: &Loaded) -> Result<Loaded> {
    let Some(mut before) = known(loaded, "before.yaml")? else {
        return Err(Error::new(format!(
            "there is nothing to undo: no earlier `up` of the project {} is known",
            loaded.name
        ))
        .with_hint(
            "an `up` that changes what the files say leaves what was before to go back to",
        ));
    };
    // It is the project of the same files, at another time.
    before.files.clone_from(&loaded.files);
    before.env_files.clone_from(&loaded.env_files);
    Ok(before)
}

/// What the last `up` brought about, as far as that is known.
pub(super) fn now(loaded: &Loaded) -> Option<Loaded> {
    known(loaded, "now.yaml").ok().flatten()
}

/// What going back means, told before it is done.
pub(super) fn told(project: &str) -> String {
    let time = |name: &str| {
        let file = directory(project)?.join(name);
        let changed = std::fs::metadata(file).ok()?.modified().ok()?;
        let since = changed.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(local(i64::try_from(since.as_secs()).ok()?))
    };
    let of = |name| time(name).map_or_else(String::new, |time| format!(" of {time}"));
    format!(
        "Undoing the `up`{}: the project {project} becomes what the `up`{} made of it.\n\
         Files, images and what is in volumes stay as they are; the next `up` without --undo goes by the files again.",
        of("now.yaml"),
        of("before.yaml"),
    )
}

fn known(loaded: &Loaded, name: &str) -> Result<Option<Loaded>> {
    let file = directory(&loaded.name).map(|directory| directory.join(name));
    let Some(file) = file.filter(|file| file.exists()) else {
        return Ok(None);
    };
    let options = Options {
        files: vec![file.to_string_lossy().into_owned()],
        current_directory: loaded.directory.clone(),
        project_directory: Some(loaded.directory.clone()),
        project_name: Some(loaded.name.clone()),
        environment: loaded.environment.clone(),
        profiles: vec!["*".to_owned()],
        ..Options::default()
    };
    load(&options).map(Some).map_err(load_failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_before_is_kept_once() {
        let directory = std::env::temp_dir().join(format!("hull-history-{}", std::process::id()));
        for text in ["one", "one", "two", "two"] {
            write(&directory, text).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
        let (now, before) = (read("now.yaml"), read("before.yaml"));
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!((now.as_str(), before.as_str()), ("two", "one"));
    }
}
