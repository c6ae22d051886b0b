//! Secrets and configs that are no files on this machine: handed to a container before it starts.
//!
//! Hull takes them sealed: they lie on no disk in the clear, and are in the container in memory. Other
//! daemons have no such thing: there they are written into the container, as Docker's Compose does.

use std::collections::BTreeSet;
use std::rc::Rc;

use futures_util::future::try_join_all;
use hull_api::client::{FilesOf, from_bytes};
use hull_api::types::{SealedFile, SealedFiles};

use super::{ApplyError, Engine, Named, Result};
use crate::model::{FileObject, FileReference, Service};
use crate::plan::mounts::{SECRETS, target};
use crate::plan::state::{Container, State};

/// The mode of a file that says none.
const MODE: u32 = 0o444;

impl Engine<'_> {
    /// Hands them over.
    pub(super) async fn inject(&self, service: &Service, id: &str) -> Result<()> {
        let files = self.known_files_of(service)?;
        if files.is_empty() {
            return Ok(());
        }
        let short = id.get(..12).unwrap_or(id);
        let order = order(&files);
        let sealed = self.client.container_seal(id, &order).await;
        if sealed.named("hand secrets and configs to", short)? {
            return Ok(());
        }
        let archive = packed(&files)
            .map_err(|error| ApplyError::Other(format!("cannot pack secrets: {error}")))?;
        self.client
            .copy_in(FilesOf::Container(id), "/", from_bytes(archive), true)
            .await
            .named("copy secrets and configs into", short)
    }

    /// Containers that were handed something else than they would be now. What was written into a container
    /// (by Docker's Compose, or at another daemon) may have been changed in it since, and is not looked at.
    pub(super) async fn outdated(&self, state: &State) -> Result<BTreeSet<String>> {
        let mut asked = Vec::new();
        for service in self.project.services.values() {
            // What cannot be had is told once a container is made with it; the rest is compared.
            let files = self.files_of(service);
            if !files.is_empty() {
                let order = Rc::new(order(&files));
                let own = state.of_service(&service.name).into_iter();
                asked.extend(own.map(|container| (container, Rc::clone(&order))));
            }
        }
        let answers = asked.into_iter().map(|(container, order)| async move {
            let same = self.client.container_sealed_with(container.id(), &order);
            let same = same.await;
            let same = same.named("compare the secrets and configs of", container.name())?;
            let is_outdated = match same {
                Some(same) => !same,
                None => self.was_handed_nothing(container, &order).await,
            };
            Result::Ok(is_outdated.then(|| container.id().to_owned()))
        });
        let answers = try_join_all(answers).await?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Whether a container lacks what it should have been handed: who made it was ended before it could.
    async fn was_handed_nothing(&self, container: &Container, order: &SealedFiles) -> bool {
        let Some(first) = order.files.first() else {
            return false;
        };
        let of = FilesOf::Container(container.id());
        let found = self.client.path_stat(of, &first.path).await;
        found.is_err_and(|error| error.is_not_found())
    }

    /// Refuses a service whose secrets and configs cannot be had here.
    ///
    /// # Errors
    /// Which one, and why not.
    pub(super) fn check_injected(&self, service: &Service) -> Result<()> {
        self.known_files_of(service).map(drop)
    }

    /// The files, if all is known that they hold.
    fn known_files_of(&self, service: &Service) -> Result<Vec<File>> {
        let files = self.files_of(service);
        match files.iter().find_map(|file| file.unset.clone()) {
            None => Ok(files),
            Some(message) => Err(ApplyError::Service {
                service: service.name.clone(),
                message,
            }),
        }
    }

    fn files_of(&self, service: &Service) -> Vec<File> {
        let secrets = service.secrets.iter().filter_map(|reference| {
            let object = self.project.secrets.get(&reference.source)?;
            Some((reference, object, SECRETS, "secret"))
        });
        let configs = service.configs.iter().filter_map(|reference| {
            let object = self.project.configs.get(&reference.source)?;
            Some((reference, object, "/", "config"))
        });
        let handed = secrets.chain(configs).filter_map(|(own, object, directory, what)| {
            Some(match self.content(object)? {
                Ok(content) => File::of(own, directory, content.to_owned()),
                Err(variable) => File {
                    unset: Some(format!(
                        "environment variable \"{variable}\" required by {what} \"{}\" is not set",
                        own.source
                    )),
                    ..File::of(own, directory, String::new())
                },
            })
        });
        handed.collect()
    }

    /// What it holds, if that is known here, or the variable that should and is not set.
    fn content<'o>(
        &'o self,
        object: &'o FileObject,
    ) -> Option<std::result::Result<&'o str, &'o str>> {
        if !object.content.is_empty() {
            return Some(Ok(&object.content));
        }
        let variable = Some(object.environment.as_str()).filter(|name| !name.is_empty())?;
        let value = self.project.environment.get(variable);
        Some(value.map(String::as_str).ok_or(variable))
    }
}

fn order(files: &[File]) -> SealedFiles {
    SealedFiles {
        files: files.iter().map(File::sealed).collect(),
        ..SealedFiles::default()
    }
}

/// A file as the container shall see it.
struct File {
    path: String,
    content: String,
    /// Why it is not known what it holds.
    unset: Option<String>,
    mode: u32,
    /// The container's user, unless it says another.
    uid: Option<u32>,
    gid: Option<u32>,
}

impl File {
    fn of(reference: &FileReference, directory: &str, content: String) -> Self {
        let mode = reference.mode.as_deref();
        Self {
            path: target(reference, directory),
            content,
            unset: None,
            mode: mode
                .and_then(|mode| u32::from_str_radix(mode, 8).ok())
                .unwrap_or(MODE),
            uid: reference.uid.parse().ok(),
            gid: reference.gid.parse().ok(),
        }
    }

    fn sealed(&self) -> SealedFile {
        SealedFile {
            path: self.path.clone(),
            unknown: self.unset.is_some(),
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            ..SealedFile::default()
        }
        .holding(self.content.as_bytes())
    }
}

fn packed(files: &[File]) -> std::io::Result<Vec<u8>> {
    let mut archive = ::tar::Builder::new(Vec::new());
    for file in files {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(file.content.len() as u64);
        header.set_mode(file.mode);
        header.set_uid(file.uid.unwrap_or_default().into());
        header.set_gid(file.gid.unwrap_or_default().into());
        header.set_mtime(0);
        let path = file.path.trim_start_matches('/');
        archive.append_data(&mut header, path, file.content.as_bytes())?;
    }
    archive.into_inner()
}
