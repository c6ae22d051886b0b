//! Images into one archive that both `docker load` of any age and OCI tools read.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Write;

use hull_oci::{Descriptor, Digest, Index, Platform, Reference};
use serde::Serialize;

use super::Store;
use super::commit::to_json;
use super::entries::NAME;
use super::find::Target;
use crate::error::{Context as _, Error, Result};
use crate::tar::write::Writer;
use crate::tar::{Entry, EntryKind};

/// An image in Docker's `manifest.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// What goes into an archive.
#[derive(Default)]
struct Plan {
    blobs: BTreeSet<Digest>,
    index: Vec<Descriptor>,
    docker: BTreeMap<Digest, DockerImage>,
    /// In the order of the command line.
    order: Vec<Digest>,
    repositories: BTreeMap<String, BTreeMap<String, String>>,
}

impl Store {
    /// Writes images as a tar archive: an OCI layout with Docker's `manifest.json`. A name without
    /// a tag stands for all tags of the repository. With one platform, only its manifest; with
    /// several, the whole index and only their content. The same images give the same bytes.
    pub fn save(&self, names: &[&str], platforms: &[Platform], out: impl Write) -> Result<()> {
        let lease = self.lease();
        loop {
            let mut plan = Plan::default();
            let mut images = HashSet::new();
            for name in names {
                for name in self.all_tags(name)? {
                    let target = self.find(&name)?;
                    self.plan(&name, &target, platforms, &mut plan)?;
                    images.insert(target.id().clone());
                }
            }
            plan.blobs.iter().for_each(|digest| lease.protect(digest));
            // One that was removed between the look and the lease may have lost something.
            if images.iter().all(|id| self.has_entry(id)) {
                return self.write_archive(plan, out);
            }
        }
    }

    /// Whether [`save`](Self::save) will find what it needs.
    pub fn check_save(&self, name: &str, platforms: &[Platform]) -> Result<()> {
        for name in self.all_tags(name)? {
            let target = self.find(&name)?;
            self.plan(&name, &target, platforms, &mut Plan::default())?;
        }
        Ok(())
    }

    /// As [`save`](Self::save), for an image that has no entry: it is leased by whoever made it.
    pub fn save_built(
        &self,
        descriptor: &Descriptor,
        names: &[Reference],
        out: impl Write,
    ) -> Result<()> {
        let mut plan = Plan::default();
        let names = names.iter().map(|name| Some(name.clone().or_latest()));
        let mut names: Vec<Option<Reference>> = names.collect();
        if names.is_empty() {
            names.push(None);
        }
        for name in names {
            let target = Target {
                descriptor: descriptor.clone(),
                entries: Vec::new(),
                name,
            };
            self.plan(descriptor.digest.as_str(), &target, &[], &mut plan)?;
        }
        self.write_archive(plan, out)
    }

    /// Writes a document of the store that is no image, and all that it names, as an OCI layout in
    /// a tar archive.
    pub fn save_document(&self, descriptor: &Descriptor, out: impl Write) -> Result<()> {
        let mut reached = HashSet::new();
        self.reach(descriptor, &mut reached)?;
        let plan = Plan {
            blobs: reached.into_iter().collect(),
            index: vec![descriptor.clone()],
            ..Plan::default()
        };
        self.write_archive(plan, out)
    }

    /// All tags of a repository, if the name is one; else the name itself.
    fn all_tags(&self, name: &str) -> Result<Vec<String>> {
        let own = || Ok(vec![name.to_owned()]);
        let Ok(reference) = name.parse::<Reference>() else {
            return own();
        };
        if reference.tag().is_some() || reference.digest().is_some() {
            return own();
        }
        let entries = self.entries.all();
        let tags: BTreeSet<String> = entries
            .iter()
            .filter_map(|entry| entry.name.as_ref())
            .filter(|known| known.tag().is_some() && known.repository() == reference.repository())
            .map(Reference::familiar)
            .collect();
        if tags.is_empty() {
            own()
        } else {
            Ok(tags.into_iter().collect())
        }
    }

    fn plan(
        &self,
        typed: &str,
        target: &Target,
        platforms: &[Platform],
        plan: &mut Plan,
    ) -> Result<()> {
        let chosen = match self.choose_to_show(typed, target, platforms.first()) {
            Ok(member) => Some(member),
            // No image at all: Docker's older form does without it.
            Err(Error::NoSuchPlatform { .. }) if platforms.is_empty() => None,
            Err(error) => return Err(error),
        };
        let mut descriptor = match (&chosen, platforms) {
            (Some(member), [_]) => member.descriptor.clone(),
            _ => target.descriptor.clone(),
        };
        let mut reached = HashSet::new();
        match platforms {
            [] | [_] => self.reach(&descriptor, &mut reached)?,
            several => {
                reached.insert(descriptor.digest.clone());
                for member in self.members_for(typed, &target.descriptor, several)? {
                    self.reach(&member, &mut reached)?;
                }
            }
        }
        plan.blobs
            .extend(reached.into_iter().filter(|digest| self.blobs.has(digest)));
        // A digest names the whole: of one member of it, it would be a lie.
        let is_true = |name: &&Reference| name.digest().is_none_or(|own| *own == descriptor.digest);
        if let Some(name) = target.name.as_ref().filter(is_true) {
            descriptor
                .annotations
                .insert(NAME.to_owned(), name.to_string());
            if let Some(tag) = name.tag() {
                let key = "org.opencontainers.image.ref.name".to_owned();
                descriptor.annotations.insert(key, tag.to_owned());
            }
        }
        if let Some(manifest) = chosen.as_ref().and_then(|member| member.manifest.as_ref()) {
            let mut parts = manifest.layers.iter().chain([&manifest.config]);
            let lost = parts.find(|part| part.urls.is_none() && !self.blobs.has(&part.digest));
            if let Some(lost) = lost {
                return Err(Error::Conflict(format!(
                    "{typed} lacks the blob {}: pull or load it again",
                    lost.digest
                )));
            }
            plan.add_docker_image(manifest, target.name.as_ref());
        }
        if !plan.index.contains(&descriptor) {
            plan.index.push(descriptor);
        }
        Ok(())
    }

    fn write_archive(&self, plan: Plan, out: impl Write) -> Result<()> {
        let mut writer = Writer::new(out);
        let algorithms: BTreeSet<&str> = plan
            .blobs
            .iter()
            .map(|digest| digest.algorithm().name())
            .collect();
        writer.append(&Entry::new("blobs/", EntryKind::Directory))?;
        for algorithm in algorithms {
            writer.append(&Entry::new(
                format!("blobs/{algorithm}/"),
                EntryKind::Directory,
            ))?;
        }
        for digest in &plan.blobs {
            let file = self.blobs.open_file(digest)?;
            let size = file
                .metadata()
                .context(|| format!("look at the blob {digest}"))?
                .len();
            writer.append_file(&Entry::file(blob_path(digest), size), file)?;
        }
        writer.append_bytes("index.json", &to_json(&Index::new(plan.index))?)?;
        let images: Vec<&DockerImage> = plan
            .order
            .iter()
            .filter_map(|digest| plan.docker.get(digest))
            .collect();
        writer.append_bytes("manifest.json", &to_json(&images)?)?;
        writer.append_bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        if !plan.repositories.is_empty() {
            writer.append_bytes("repositories", &to_json(&plan.repositories)?)?;
        }
        writer.finish()?;
        Ok(())
    }
}

impl Plan {
    fn add_docker_image(&mut self, manifest: &hull_oci::Manifest, name: Option<&Reference>) {
        let config = &manifest.config.digest;
        if !self.docker.contains_key(config) {
            self.order.push(config.clone());
        }
        let image = self
            .docker
            .entry(config.clone())
            .or_insert_with(|| DockerImage {
                config: blob_path(config),
                repo_tags: None,
                layers: manifest
                    .layers
                    .iter()
                    .map(|layer| blob_path(&layer.digest))
                    .collect(),
            });
        if let Some((name, tag)) = name.and_then(|name| Some((name, name.tag()?))) {
            let tags = image.repo_tags.get_or_insert_default();
            if !tags.contains(&name.familiar()) {
                tags.push(name.familiar());
            }
            let tags = self
                .repositories
                .entry(name.familiar_repository())
                .or_default();
            tags.insert(tag.to_owned(), config.hex().to_owned());
        }
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}
