//! How much a directory may take: project quotas, where the file system has them.

use std::{
    fs::File,
    os::fd::AsFd,
    path::Path,
    sync::{Mutex, PoisonError},
};

use hull_sys::{
    capability::{self, Capability},
    quota,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Attempt, Error, Result},
    services::Services,
    store::Kind,
};

/// Runs a job that fills directories on a user's behalf. Who has this privilege is above all limits
/// on some file systems (ext4): what is copied in counts as what a container writes.
pub(crate) fn within_limits<T>(job: impl FnOnce() -> Result<T>) -> Result<T> {
    let resource = Capability::from_name("SYS_RESOURCE").expect("it is among the known ones");
    capability::without(resource, job).attempt(|| "put a privilege aside".to_owned())?
}

/// The setting that holds the project number given last.
const LAST_PROJECT: &str = "last-project";

/// Projects of this daemon's begin here: people number theirs from 1.
const FIRST_PROJECT: u32 = 0x4855_0000;

#[derive(Serialize, Deserialize)]
struct LastProject(u32);

impl Services {
    /// Limits what the directories, which must be empty, take together.
    pub(crate) fn limit(&self, directories: &[&Path], bytes: u64) -> Result<()> {
        let project = self.next_project()?;
        for path in directories {
            let directory = File::open(path).attempt(|| format!("open {}", path.display()))?;
            let limited = quota::set_project(directory.as_fd(), project)
                .and_then(|()| quota::limit_project(directory.as_fd(), project, bytes))
                .and_then(|()| quota::enforces_projects(directory.as_fd()));
            let why = match limited {
                Ok(true) => continue,
                Ok(false) => "has limits that do not hold".to_owned(),
                Err(error) => format!("has no project quotas ({error})"),
            };
            return Err(Error::Invalid(format!(
                "the size of {} cannot be limited: its file system ({}) {why}; mount ext4 (made \
                 with -O quota,project) or xfs with the option prjquota",
                path.display(),
                crate::system::file_system(path)
            )));
        }
        Ok(())
    }

    /// A number that no other directory had before.
    fn next_project(&self) -> Result<u32> {
        static GIVING: Mutex<()> = Mutex::new(());
        let _giving = GIVING.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Option<LastProject> = self.store.get(Kind::Setting, LAST_PROJECT)?;
        let next = last.map_or(FIRST_PROJECT, |LastProject(last)| last + 1);
        self.store
            .put(Kind::Setting, LAST_PROJECT, &LastProject(next))?;
        Ok(next)
    }
}
