//! A pull: from a name at a registry to an image in the store, unpacked while it arrives.
//!
//! Everything is taken from the store that is there, so a pull that was broken off goes on where it
//! was, and one of what is here asks the registry a single question.

mod arrivals;
mod choose;

use std::sync::Arc;

use hull_image::Store;
use hull_image::store::{Lease, UnpackEvent};
use hull_oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, Reference, media_type};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::{Client, Credentials, Session};
use crate::progress::{Amount, Counter, Event, Progress, Stage};
use crate::{Error, Result};
use arrivals::Arrivals;

/// Configurations are small; the store takes no larger document either.
const CONFIG_BYTES_MAX: u64 = 8 << 20;
/// Layers are a list in memory.
const LAYERS_MAX: usize = 4096;

/// What to pull.
#[derive(Debug, Clone)]
pub struct Pull {
    /// With a tag or a digest.
    pub reference: Reference,
    /// `None`: the best for this host.
    pub platform: Option<Platform>,
    /// For whom.
    pub credentials: Option<Credentials>,
}

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image's id.
    pub digest: Digest,
    /// Whether all of it was here, under this name.
    pub was_here: bool,
}

/// A pull under way.
struct Work {
    session: Session,
    store: Arc<Store>,
    lease: Arc<Lease>,
    progress: Progress,
    downloads: usize,
}

/// Pulls an image.
pub async fn pull(
    client: &Client,
    store: &Arc<Store>,
    order: &Pull,
    progress: &Progress,
) -> Result<Pulled> {
    let reference = order.reference.clone().or_latest().exact();
    let work = Work {
        session: client.session(&reference, order.credentials.as_ref())?,
        store: Arc::clone(store),
        lease: Arc::new(store.lease()),
        progress: progress.clone(),
        downloads: client.settings().downloads.max(1),
    };
    let (target, bytes) = work.target(&reference).await?;
    progress.say(Event::Pulling(reference.clone()));
    let named = work.store.named(&reference);
    let was_here = work.image(&target, &bytes, order.platform.as_ref()).await?
        && named.is_some_and(|named| named.digest == target.digest);
    let digest = target.digest.clone();
    if !was_here {
        let (store, name) = (Arc::clone(store), reference.clone());
        let lease = Arc::clone(&work.lease);
        let named = move || {
            // This goes on when the client has left and the work is dropped.
            let _kept_until_named = lease;
            store.set_name(&name, target)
        };
        tokio::task::spawn_blocking(named).await??;
    }
    drop(work);
    progress.say(Event::Pulled {
        reference,
        digest: digest.clone(),
        was_here,
    });
    Ok(Pulled { digest, was_here })
}

/// The tags of a repository.
pub async fn tags(
    client: &Client,
    repository: &Reference,
    credentials: Option<&Credentials>,
) -> Result<Vec<String>> {
    client.session(repository, credentials)?.tags().await
}

/// What a registry says about an image, without pulling it.
pub async fn look(
    client: &Client,
    reference: &Reference,
    credentials: Option<&Credentials>,
) -> Result<(Descriptor, Vec<Platform>)> {
    let (target, members) = target_and_members(client, reference, credentials).await?;
    let platforms = members.into_iter().filter_map(|member| member.platform);
    Ok((target, platforms.collect()))
}

/// The manifests an image at a registry consists of, with their platforms and what is stated about
/// them.
pub async fn members(
    client: &Client,
    reference: &Reference,
    credentials: Option<&Credentials>,
) -> Result<Vec<Descriptor>> {
    let (target, members) = target_and_members(client, reference, credentials).await?;
    if members.is_empty() {
        let why = choose::unsupported(&target.media_type);
        return Err(Error::Invalid(format!("{}: {why}", reference.familiar())));
    }
    Ok(members)
}

/// The index or manifest at a registry, as it is.
pub async fn document(
    client: &Client,
    reference: &Reference,
    credentials: Option<&Credentials>,
) -> Result<(Descriptor, Vec<u8>)> {
    let reference = reference.clone().or_latest();
    let session = client.session(&reference, credentials)?;
    let fetched = session.manifest(&which(&reference)).await?;
    let size = fetched.bytes.len() as u64;
    let target = Descriptor::new(&fetched.media_type, fetched.digest, size);
    Ok((target, fetched.bytes.to_vec()))
}

async fn target_and_members(
    client: &Client,
    reference: &Reference,
    credentials: Option<&Credentials>,
) -> Result<(Descriptor, Vec<Descriptor>)> {
    let (target, bytes) = document(client, reference, credentials).await?;
    if media_type::is_index(&target.media_type) {
        let index: Index = parse(&target.digest, "index", &bytes)?;
        return Ok((target, index.manifests));
    }
    if !media_type::is_manifest(&target.media_type) {
        return Ok((target, Vec::new()));
    }
    let manifest: Manifest = parse(&target.digest, "manifest", &bytes)?;
    let mut member = target.clone();
    if media_type::is_config(&manifest.config.media_type) {
        let session = client.session(&reference.clone().or_latest(), credentials)?;
        let bytes = session
            .small_blob(&manifest.config, CONFIG_BYTES_MAX)
            .await?;
        let config: ImageConfig = parse(&manifest.config.digest, "configuration", &bytes)?;
        member.platform = Some(config.platform());
    }
    Ok((target, vec![member]))
}

/// A digest, or a tag.
fn which(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    }
}

impl Work {
    /// The index or manifest a name points at, from the registry or from here.
    async fn target(&self, reference: &Reference) -> Result<(Descriptor, Vec<u8>)> {
        let known = match reference.digest() {
            Some(digest) => Some(digest.clone()),
            None => self
                .session
                .resolve(&which(reference))
                .await?
                .map(|resolved| resolved.digest),
        };
        if let Some(digest) = known {
            self.lease.protect(&digest);
            if let Some((bytes, media_type)) = self.here(&digest).await {
                return Ok((
                    Descriptor::new(&media_type, digest, bytes.len() as u64),
                    bytes,
                ));
            }
            return self.fetch_document(&digest.to_string()).await;
        }
        self.fetch_document(&which(reference)).await
    }

    /// A document of this store that says what it is.
    async fn here(&self, digest: &Digest) -> Option<(Vec<u8>, String)> {
        let (store, digest) = (Arc::clone(&self.store), digest.clone());
        let read = tokio::task::spawn_blocking(move || {
            store
                .has_blob(&digest)
                .then(|| store.read_blob(&digest).ok())
                .flatten()
        });
        let bytes = read.await.ok().flatten()?;
        let media_type = choose::media_type_of(&bytes)?;
        Some((bytes, media_type))
    }

    async fn fetch_document(&self, which: &str) -> Result<(Descriptor, Vec<u8>)> {
        let fetched = self.session.manifest(which).await?;
        let descriptor = Descriptor::new(
            &fetched.media_type,
            fetched.digest,
            fetched.bytes.len() as u64,
        );
        self.keep(&descriptor, &fetched.bytes).await?;
        Ok((descriptor, fetched.bytes.to_vec()))
    }

    async fn keep(&self, descriptor: &Descriptor, bytes: &bytes::Bytes) -> Result<()> {
        let (store, lease) = (Arc::clone(&self.store), Arc::clone(&self.lease));
        let (digest, bytes) = (descriptor.digest.clone(), bytes.clone());
        let kept = tokio::task::spawn_blocking(move || -> hull_image::Result<()> {
            use std::io::Write as _;
            let mut writer = store.write_blob(&lease, &digest)?;
            writer
                .write_all(&bytes)
                .map_err(|source| hull_image::Error::Io {
                    what: format!("store {digest}"),
                    source,
                })?;
            writer.commit().map(drop)
        });
        Ok(kept.await??)
    }

    /// Brings in what is missing of an image for a platform; true: nothing was.
    async fn image(
        &self,
        target: &Descriptor,
        bytes: &[u8],
        platform: Option<&Platform>,
    ) -> Result<bool> {
        if media_type::is_manifest(&target.media_type) {
            return self.manifest(target, bytes, platform).await;
        }
        if !media_type::is_index(&target.media_type) {
            return Err(Error::Invalid(choose::unsupported(&target.media_type)));
        }
        let index: Index = parse(&target.digest, "index", bytes)?;
        let chosen = choose::choose(&index, platform)?;
        let (descriptor, bytes) = self.document(&chosen).await?;
        // Where the index does not say for which platform it is, the configuration does.
        let unsaid = platform.filter(|_| chosen.platform.is_none());
        let mut was_here = self.manifest(&descriptor, &bytes, unsaid).await?;
        for attestation in choose::about(&index, &chosen.digest) {
            let (_, bytes) = match self.document(&attestation).await {
                // Copies of images are often made without what was said about them.
                Err(Error::NotFound { .. }) => continue,
                found => found?,
            };
            let manifest: Manifest = parse(&attestation.digest, "manifest", &bytes)?;
            was_here &= self.artifact(&manifest).await?;
        }
        Ok(was_here)
    }

    /// A manifest of an index, from here or from the registry.
    async fn document(&self, descriptor: &Descriptor) -> Result<(Descriptor, Vec<u8>)> {
        self.lease.protect(&descriptor.digest);
        let (mut found, bytes) = match self.here(&descriptor.digest).await {
            Some((bytes, _)) => (descriptor.clone(), bytes),
            None => self.fetch_document(&descriptor.digest.to_string()).await?,
        };
        if bytes.len() as u64 != descriptor.size {
            let (digest, size) = (&descriptor.digest, descriptor.size);
            return Err(Error::Invalid(format!(
                "the index says that {digest} has {size} bytes, but it has {}",
                bytes.len()
            )));
        }
        found.media_type.clone_from(&descriptor.media_type);
        Ok((found, bytes))
    }

    async fn manifest(
        &self,
        descriptor: &Descriptor,
        bytes: &[u8],
        platform: Option<&Platform>,
    ) -> Result<bool> {
        let manifest: Manifest = parse(&descriptor.digest, "manifest", bytes)?;
        if manifest.layers.len() > LAYERS_MAX {
            return Err(Error::Invalid(format!(
                "{} has more than {LAYERS_MAX} layers",
                descriptor.digest
            )));
        }
        if manifest.artifact_type.as_deref() == Some(crate::VOLUME) {
            return Err(Error::Invalid(
                "that is a volume, not an image: `hull volume pull` brings it".to_owned(),
            ));
        }
        if !media_type::is_config(&manifest.config.media_type) {
            return self.artifact(&manifest).await;
        }
        let (config, was_here) = self.config(&manifest.config).await?;
        if let Some(wanted) = platform
            && !wanted.matches(&config.platform())
        {
            return Err(Error::NoPlatform {
                platform: wanted.to_string(),
            });
        }
        Ok(self.layers(manifest, config).await? && was_here)
    }

    async fn config(&self, descriptor: &Descriptor) -> Result<(ImageConfig, bool)> {
        self.lease.protect(&descriptor.digest);
        let (store, digest) = (Arc::clone(&self.store), descriptor.digest.clone());
        let read = tokio::task::spawn_blocking(move || {
            store
                .has_blob(&digest)
                .then(|| store.read_blob(&digest).ok())
                .flatten()
        });
        if let Some(bytes) = read.await? {
            return Ok((parse(&descriptor.digest, "configuration", &bytes)?, true));
        }
        let bytes = self
            .session
            .small_blob(descriptor, CONFIG_BYTES_MAX)
            .await?;
        self.keep(descriptor, &bytes).await?;
        Ok((parse(&descriptor.digest, "configuration", &bytes)?, false))
    }

    /// Blobs that are only kept: attestations, charts, anything.
    async fn artifact(&self, manifest: &Manifest) -> Result<bool> {
        let mut was_here = true;
        for descriptor in manifest.layers.iter().chain([&manifest.config]) {
            self.lease.protect(&descriptor.digest);
            if self.store.has_whole(descriptor) {
                continue;
            }
            was_here = false;
            self.session
                .fetch(&self.store, &self.lease, descriptor, &|_| {}, &|_| {})
                .await?;
        }
        Ok(was_here)
    }

    /// Fetches and unpacks what is missing of the layers; true: nothing was.
    async fn layers(&self, manifest: Manifest, config: ImageConfig) -> Result<bool> {
        let mut wanted: Vec<&Descriptor> = Vec::new();
        for layer in &manifest.layers {
            self.lease.protect(&layer.digest);
            if !wanted.iter().any(|known| known.digest == layer.digest) {
                wanted.push(layer);
            }
        }
        let missing: Vec<Descriptor> = wanted
            .iter()
            .filter(|layer| !self.store.has_whole(layer))
            .map(|layer| (*layer).clone())
            .collect();
        for layer in &wanted {
            let is_missing = missing.iter().any(|other| other.digest == layer.digest);
            self.progress.layer(
                &layer.digest,
                if is_missing {
                    Stage::Known
                } else {
                    Stage::Exists
                },
            );
        }
        let arrivals = Arrivals::of(&missing);
        let _closed_with_us = arrivals.closing();
        let (manifest, config) = (Arc::new(manifest), Arc::new(config));
        let mut unpacking = self.unpack(&manifest, &config, Some(&arrivals));
        let mut downloads = self.download(&missing, &arrivals);
        let mut unpacked = None;
        loop {
            tokio::select! {
                outcome = &mut unpacking, if unpacked.is_none() => match outcome? {
                    // A blob that had to be begun anew: once it is here, its layer is, too.
                    Err(Error::Image(hull_image::Error::Interrupted(_))) => unpacked = Some(false),
                    outcome => { outcome?; unpacked = Some(true); }
                },
                outcome = downloads.join_next(), if !downloads.is_empty() => {
                    if let Some(outcome) = outcome {
                        outcome??;
                    }
                }
                else => break,
            }
        }
        if unpacked == Some(false) {
            self.unpack(&manifest, &config, None).await??;
        }
        Ok(missing.is_empty())
    }

    fn download(&self, missing: &[Descriptor], arrivals: &Arrivals) -> JoinSet<Result<()>> {
        let turns = Arc::new(Semaphore::new(self.downloads));
        let mut downloads = JoinSet::new();
        for layer in missing {
            let (session, store, lease) = (
                self.session.clone(),
                Arc::clone(&self.store),
                Arc::clone(&self.lease),
            );
            let (turns, layer, arrivals, progress) = (
                Arc::clone(&turns),
                layer.clone(),
                arrivals.clone(),
                self.progress.clone(),
            );
            downloads.spawn(async move {
                if turns.available_permits() == 0 {
                    progress.layer(&layer.digest, Stage::Waiting);
                }
                let _turn = turns
                    .acquire()
                    .await
                    .map_err(|error| Error::Internal(error.to_string()))?;
                let counter = Counter::new(&progress, &layer, Stage::Downloading);
                let begun = |writer: &hull_image::store::PartialBlob| arrivals.begin(writer);
                let fetched = session
                    .fetch(&store, &lease, &layer, &begun, &|bytes| counter.add(bytes))
                    .await;
                match &fetched {
                    Ok(()) => {
                        progress.layer(&layer.digest, Stage::Downloaded);
                        arrivals.complete(&layer.digest);
                    }
                    Err(error) => arrivals.fail(&layer.digest, &error.to_string()),
                }
                fetched
            });
        }
        downloads
    }

    fn unpack(
        &self,
        manifest: &Arc<Manifest>,
        config: &Arc<ImageConfig>,
        arrivals: Option<&Arrivals>,
    ) -> tokio::task::JoinHandle<Result<()>> {
        let (store, lease, progress) = (
            Arc::clone(&self.store),
            Arc::clone(&self.lease),
            self.progress.clone(),
        );
        let (manifest, config, arrivals) =
            (Arc::clone(manifest), Arc::clone(config), arrivals.cloned());
        tokio::task::spawn_blocking(move || {
            let open = |layer: &Descriptor| match &arrivals {
                Some(arrivals) => arrivals.open(&layer.digest),
                None => Ok(None),
            };
            let told = arrivals.clone();
            let mut tell =
                |event: UnpackEvent| tell(&progress, &manifest, &config, told.as_ref(), event);
            store.unpack(&lease, &manifest, &config, &open, &mut tell)?;
            Ok(())
        })
    }
}

/// Layers are unpacked by their diff ids, and shown by their blobs.
fn tell(
    progress: &Progress,
    manifest: &Manifest,
    config: &ImageConfig,
    arrivals: Option<&Arrivals>,
    event: UnpackEvent,
) {
    let (diff_id, stage) = match event {
        UnpackEvent::Progress {
            layer,
            current,
            total,
        } => (layer, Stage::Extracting(Amount { current, total })),
        UnpackEvent::Done { layer } => (layer, Stage::Complete),
        // Of archives alone.
        UnpackEvent::Read { .. } => return,
    };
    let position = config
        .rootfs
        .diff_ids
        .iter()
        .position(|own| *own == diff_id);
    let Some(layer) = position.and_then(|at| manifest.layers.get(at)) else {
        return;
    };
    // While bytes come, that is what is shown.
    let is_arriving = arrivals.is_some_and(|arrivals| arrivals.is_arriving(&layer.digest));
    if stage == Stage::Complete || !is_arriving {
        progress.layer(&layer.digest, stage);
    }
}

fn parse<T: DeserializeOwned>(digest: &Digest, what: &'static str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|source| {
        Error::Image(hull_image::Error::Document {
            what,
            digest: digest.clone(),
            source,
        })
    })
}
