//! `fsck` of what is the engine's own: directories of containers and volumes, and their records.

use std::{collections::HashSet, fs, path::Path, sync::Arc};

use hull_image::store::{Finding, Outcome, Trouble};

use crate::{
    error::{Attempt, Result},
    model::ContainerId,
    services::Services,
};

/// Compares records and directories, both ways.
pub(crate) fn own(services: &Arc<Services>, repair: bool) -> Result<Vec<Finding>> {
    // What is being made has a directory before it has a record.
    let _nobody_makes = services.makings.nobody_makes();
    let mut found = containers(services, repair)?;
    found.extend(volumes(services, repair)?);
    Ok(found)
}

fn containers(services: &Services, repair: bool) -> Result<Vec<Finding>> {
    let handles = services.registry.all();
    let known: HashSet<String> = handles.iter().map(|handle| handle.id.to_string()).collect();
    let unread = services.store.quarantined(crate::store::Kind::Container)?;
    let mut found = Vec::new();
    for parent in [services.paths.containers(), services.paths.runs()] {
        let what = || format!("list {}", parent.display());
        for entry in fs::read_dir(&parent).attempt(what)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if known.contains(&name) || unread.contains(&name) {
                continue;
            }
            let problem = match ContainerId::parse(&name) {
                Some(_) => "no record tells of its container",
                None => "it is no container's",
            };
            let remove = || services.discard_directory(&entry.path());
            found.push(orphan(&entry.path(), problem, repair, "removed", remove));
        }
    }
    for handle in handles {
        let record = handle.record();
        let bundle = services.paths.bundle(&record.id);
        if !bundle.is_dir() {
            let mut finding = Finding::new(
                Trouble::Missing,
                format!("container {}", record.name),
                format!("its directory {} is gone", bundle.display()),
            );
            if repair {
                let text = "what it wrote is lost: remove the container and make it again";
                finding.outcome = Outcome::Unmended(text.to_owned());
            }
            found.push(finding);
        }
    }
    Ok(found)
}

fn volumes(services: &Services, repair: bool) -> Result<Vec<Finding>> {
    let volumes = &services.volumes;
    let mut found = Vec::new();
    let unowned = {
        let _changing = volumes.change();
        volumes.unowned()?
    };
    for path in unowned.filled {
        let problem = "it has content, and no record tells of its volume";
        let adopt = || volumes.adopt(&path);
        found.push(orphan(&path, problem, repair, "taken as a volume", adopt));
    }
    // Those of an earlier life went away when this one began.
    let empty = unowned.empty.into_iter();
    for path in empty.filter(|path| !crate::volume::Volumes::is_aside(path)) {
        let problem = "it is empty, and no record tells of its volume";
        let remove = || services.discard_directory(&path);
        found.push(orphan(&path, problem, repair, "removed", remove));
    }
    for volume in volumes.all().iter().filter(|volume| volume.is_local()) {
        let data = volumes.data_of(volume);
        if data.is_dir() {
            continue;
        }
        let object = format!("volume {}", volume.name);
        let problem = format!("its content {} is gone", data.display());
        let mut finding = Finding::new(Trouble::Missing, object, problem);
        if repair {
            let made = fs::create_dir_all(&data).attempt(|| format!("create {}", data.display()));
            finding.outcome = outcome(made, "made again, empty");
        }
        found.push(finding);
    }
    Ok(found)
}

fn orphan(
    path: &Path,
    problem: &str,
    repair: bool,
    how: &'static str,
    mend: impl FnOnce() -> Result<()>,
) -> Finding {
    let object = format!("directory {}", path.display());
    let mut finding = Finding::new(Trouble::Orphan, object, problem);
    finding.bytes = hull_image::snapshot::usage(path).map_or(0, |usage| usage.bytes);
    if repair {
        finding.outcome = outcome(mend(), how);
    }
    finding
}

fn outcome(done: Result<()>, how: &'static str) -> Outcome {
    match done {
        Ok(()) => Outcome::Mended(how),
        Err(error) => Outcome::Unmended(error.to_string()),
    }
}
