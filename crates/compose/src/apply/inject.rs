//! Secrets and configs that are no files on this machine: written into a container before it starts.

use hull_api::client::{FilesOf, from_bytes};

use super::{ApplyError, Engine, Named, Result};
use crate::model::{FileObject, FileReference, Service};
use crate::plan::mounts::{SECRETS, target};

/// The mode of a file that says none.
const MODE: u32 = 0o444;

impl Engine<'_> {
    /// Writes them.
    pub(super) async fn inject(&self, service: &Service, id: &str) -> Result<()> {
        let mut archive = ::tar::Builder::new(Vec::new());
        let mut count = 0;
        let secrets = service.secrets.iter().filter_map(|reference| {
            Some((
                reference,
                self.project.secrets.get(&reference.source)?,
                SECRETS,
            ))
        });
        let configs = service.configs.iter().filter_map(|reference| {
            Some((reference, self.project.configs.get(&reference.source)?, "/"))
        });
        for (reference, object, directory) in secrets.chain(configs) {
            if let Some(content) = self.content(service, object)? {
                append(&mut archive, reference, directory, &content).map_err(|error| {
                    ApplyError::Other(format!("cannot pack {}: {error}", reference.source))
                })?;
                count += 1;
            }
        }
        if count == 0 {
            return Ok(());
        }
        let bytes = archive
            .into_inner()
            .map_err(|error| ApplyError::Other(error.to_string()))?;
        self.client
            .copy_in(FilesOf::Container(id), "/", from_bytes(bytes), true)
            .await
            .named("copy secrets and configs into", id.get(..12).unwrap_or(id))
    }

    /// What it holds, if that is known here.
    fn content(&self, service: &Service, object: &FileObject) -> Result<Option<String>> {
        if !object.content.is_empty() {
            return Ok(Some(object.content.clone()));
        }
        if object.environment.is_empty() {
            return Ok(None);
        }
        match self.project.environment.get(&object.environment) {
            Some(value) => Ok(Some(value.clone())),
            None => Err(ApplyError::Service {
                service: service.name.clone(),
                message: format!(
                    "environment variable \"{}\" required by file \"{}\" is not set",
                    object.environment, object.name
                ),
            }),
        }
    }
}

fn append(
    archive: &mut ::tar::Builder<Vec<u8>>,
    reference: &FileReference,
    directory: &str,
    content: &str,
) -> std::io::Result<()> {
    let number = |text: &str| text.parse::<u64>().unwrap_or_default();
    let mode = reference
        .mode
        .as_deref()
        .and_then(|mode| u32::from_str_radix(mode, 8).ok());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode.unwrap_or(MODE));
    header.set_uid(number(&reference.uid));
    header.set_gid(number(&reference.gid));
    header.set_mtime(0);
    let path = target(reference, directory);
    archive.append_data(
        &mut header,
        path.trim_start_matches('/'),
        content.as_bytes(),
    )
}
