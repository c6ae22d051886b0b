//! A container's first process, and not whoever has its number by now.
//!
//! Between the moment in which a shim reaps the process and the one in which its container's owner
//! hears of it, the record says that it runs, and its number is free. So what was opened by the
//! number is used only if the shim says afterwards that it had not reaped the process.

use std::{fs::File, os::fd::OwnedFd, time::Duration};

use crate::{
    error::{Attempt, Error, Result},
    model::ContainerId,
    record::Record,
    remap::donors,
    services::Services,
    shim::ANSWER_TIMEOUT,
};

/// Containers whose namespaces another one joins, each with the process that stands for it.
pub(crate) struct Donors(Vec<(ContainerId, i32)>);

impl Services {
    /// A file below `/proc/PID` of a running container. Blocks.
    pub(crate) fn open_of(&self, record: &Record, name: &str) -> Result<OwnedFd> {
        let (file, pid) = open(record, name)?;
        self.check_held(&record.id, pid)?;
        Ok(file)
    }

    /// The same of one that a starting daemon finds. A shim that does not answer `within` the time
    /// was stopped, and reaps nobody.
    pub(crate) fn open_of_found(
        &self,
        record: &Record,
        name: &str,
        within: Duration,
    ) -> Result<OwnedFd> {
        let (file, pid) = open(record, name)?;
        match self.shim_of(&record.id).holds(pid, within) {
            Ok(false) => Err(not_running(&record.id)),
            Ok(true) | Err(_) => Ok(file),
        }
    }

    /// Fails unless `pid`, by which something was opened just now, was the container's. Blocks.
    pub(crate) fn check_held(&self, id: &ContainerId, pid: i32) -> Result<()> {
        match self.shim_of(id).holds(pid, ANSWER_TIMEOUT)? {
            true => Ok(()),
            false => Err(not_running(id)),
        }
    }

    /// The containers that one will join, to be checked when it has.
    pub(crate) fn donors_of(&self, record: &Record) -> Result<Donors> {
        let mut found = Vec::new();
        for (kind, reference) in donors(&record.host) {
            let donor = self.registry.find(reference)?.record();
            let Some(run) = donor.state.run() else {
                return Err(Error::State(format!(
                    "cannot join {kind} namespace of a non running container: {}",
                    donor.id
                )));
            };
            found.push((donor.id.clone(), run.pid));
        }
        Ok(Donors(found))
    }

    /// Fails unless what was joined was these containers'. Blocks.
    pub(crate) fn check_donors(&self, donors: &Donors) -> Result<()> {
        let mut all = donors.0.iter();
        all.try_for_each(|(id, pid)| self.check_held(id, *pid))
    }
}

fn open(record: &Record, name: &str) -> Result<(OwnedFd, i32)> {
    let run = record.state.run();
    let run = run.ok_or_else(|| not_running(&record.id))?;
    let path = format!("/proc/{}/{name}", run.pid);
    let file = File::open(&path).attempt(|| format!("open {path}"))?;
    Ok((file.into(), run.pid))
}

fn not_running(id: &ContainerId) -> Error {
    Error::State(format!("container {id} is not running"))
}
