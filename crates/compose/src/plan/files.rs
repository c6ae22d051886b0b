//! Files and directories of this machine that services are made of. That one is not there is told with
//! the place that names it, before anything is made.

use std::path::Path;

use crate::error::{LoadError, nearest};
use crate::model::{FileObject, Project, Service};
use crate::node::Place;

/// Refuses a service whose build begins at a directory that is not there.
///
/// # Errors
/// It is not there.
pub fn check_context(service: &Service) -> Result<(), LoadError> {
    let context = service.build.as_ref().map(|build| build.context.as_str());
    match context.filter(|context| context.starts_with('/')) {
        Some(context) => there(
            context,
            &service.place_below("build", "context"),
            &format!("services.{}.build.context", service.name),
        ),
        None => Ok(()),
    }
}

/// Refuses secrets and configs of a service whose files are not there.
pub(crate) fn check_objects(project: &Project, service: &Service) -> Result<(), LoadError> {
    let check = |section: &str, key: &str, object: Option<&FileObject>| {
        let object = object.filter(|object| !object.external && object.file.starts_with('/'));
        object.map_or(Ok(()), |object| {
            there(
                &object.file,
                &object.file_at,
                &format!("{section}.{key}.file"),
            )
        })
    };
    for own in &service.secrets {
        check("secrets", &own.source, project.secrets.get(&own.source))?;
    }
    for own in &service.configs {
        check("configs", &own.source, project.configs.get(&own.source))?;
    }
    Ok(())
}

fn there(path: &str, place: &Place, key: &str) -> Result<(), LoadError> {
    // What cannot be looked at may be there: whoever opens it says why it cannot be had.
    let is_missing = matches!(std::fs::metadata(path), Err(error) if error.kind() == std::io::ErrorKind::NotFound);
    if !is_missing {
        return Ok(());
    }
    let error = LoadError::written(place, format!("{key}: {path} is not there"));
    Err(match neighbour(Path::new(path)) {
        Some(near) => error.with_hint(format!("did you mean `{near}`?")),
        None => error,
    })
}

/// What in the same directory has nearly the same name.
fn neighbour(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let entries = std::fs::read_dir(path.parent()?).ok()?;
    let names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    nearest(wanted, names.iter().map(String::as_str)).map(str::to_owned)
}
