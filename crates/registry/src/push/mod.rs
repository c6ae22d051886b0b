//! A push: what a registry lacks of an image goes there, then its name.

mod elsewhere;

use std::collections::HashSet;
use std::sync::Arc;

use hull_image::Store;
use hull_image::store::Lease;
use hull_oci::{Descriptor, Digest, Index, Manifest, Platform, Reference, media_type};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::{Client, Credentials, Session, Uploaded, is_about_something};
use crate::progress::{Counter, Event, Progress, Stage};
use crate::{Error, Result};

/// Repositories a push asks to mount from: each makes the token's scope longer.
const SOURCES_MAX: usize = 8;

/// What to push.
#[derive(Debug, Clone)]
pub struct Push {
    /// With a tag, or the digest of what is pushed.
    pub reference: Reference,
    /// Only this platform's image.
    pub platform: Option<Platform>,
    /// Whether an index may not be replaced by the one of its images that is here.
    pub whole: bool,
    /// For whom.
    pub credentials: Option<Credentials>,
}

/// What a push consists of.
struct Plan {
    /// What the name will point at.
    target: Descriptor,
    /// Set when `target` stands for an index whose other images are not here.
    index: Option<Descriptor>,
    /// All documents with their bytes, children before parents.
    documents: Vec<(Descriptor, Vec<u8>)>,
    /// All blobs, each once, in the order layers lie upon one another.
    blobs: Vec<Descriptor>,
    /// Members of the index that are not all here: the registry must have them already.
    elsewhere: Vec<Descriptor>,
    /// Repositories of the same registry, and what each has of all this.
    sources: Vec<(String, HashSet<Digest>)>,
}

/// What may be pushed of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    /// One image that is here.
    One,
}

/// Pushes an image; gives what its name points at there.
pub async fn push(
    client: &Client,
    store: &Arc<Store>,
    order: &Push,
    progress: &Progress,
) -> Result<Descriptor> {
    push_target(client, store, None, order, progress).await
}

/// As [`push`], for a document of the store that has no name here. Whoever made it keeps it.
pub async fn push_target(
    client: &Client,
    store: &Arc<Store>,
    target: Option<Descriptor>,
    order: &Push,
    progress: &Progress,
) -> Result<Descriptor> {
    let reference = order.reference.clone().or_latest();
    let which = match (reference.digest(), reference.tag(), &target) {
        (None, Some(tag), _) => tag.to_owned(),
        // Under its digest alone: no name there leads elsewhere afterwards.
        (Some(digest), _, Some(target)) if *digest == target.digest => digest.to_string(),
        _ => return Err(Error::Invalid("cannot push a digest reference".to_owned())),
    };
    progress.say(Event::Pushing(reference.clone()));
    let lease = Arc::new(store.lease());
    let mut plan = prepare(store, &lease, target.clone(), order, Extent::Whole).await?;
    if let Some(lost) = elsewhere::bring(client, order, &plan).await? {
        if order.whole {
            return Err(elsewhere::nowhere(&reference, &lost));
        }
        plan = prepare(store, &lease, target, order, Extent::One).await?;
    }
    let mut session = self::session(client, order, &plan)?;
    let at_once = client.settings().uploads.max(1);
    let mut sent = upload(&session, store, &plan, at_once, progress).await;
    if matches!(sent, Err(Error::PushDenied { .. })) && !plan.sources.is_empty() {
        // Who may push here need not be allowed to read where blobs could be mounted from.
        plan.sources.clear();
        session = self::session(client, order, &plan)?;
        sent = upload(&session, store, &plan, at_once, progress).await;
    }
    sent?;
    put_documents(&session, &plan, &which).await?;
    drop(lease);
    progress.say(Event::Pushed {
        reference,
        target: Box::new(plan.target.clone()),
    });
    if let Some(index) = plan.index {
        progress.say(Event::PushedOne {
            index: Box::new(index),
            manifest: Box::new(plan.target.clone()),
        });
    }
    Ok(plan.target)
}

/// What there is to push, kept from the collector.
async fn prepare(
    store: &Arc<Store>,
    lease: &Arc<Lease>,
    target: Option<Descriptor>,
    order: &Push,
    extent: Extent,
) -> Result<Plan> {
    let (store, lease, order) = (Arc::clone(store), Arc::clone(lease), order.clone());
    let planned = tokio::task::spawn_blocking(move || {
        let reference = order.reference.or_latest();
        loop {
            let named = store.named(&reference);
            let wanted = target.clone();
            let mut plan = plan(&store, &reference, wanted, order.platform.as_ref(), extent)?;
            let documents = plan.documents.iter().map(|(descriptor, _)| descriptor);
            for descriptor in plan.blobs.iter().chain(documents) {
                lease.protect(&descriptor.digest);
            }
            // One that lost its name between the look and the lease may have lost more.
            if target.is_some() || store.named(&reference) == named {
                plan.sources = sources(&store, &reference, &plan);
                return Ok(plan);
            }
        }
    });
    planned.await?
}

fn session(client: &Client, order: &Push, plan: &Plan) -> Result<Session> {
    let paths: Vec<String> = plan.sources.iter().map(|(path, _)| path.clone()).collect();
    let session = client.session(&order.reference, order.credentials.as_ref())?;
    Ok(session.mounting_from(paths))
}

/// The name comes last: until then, nobody sees anything of the push.
async fn put_documents(session: &Session, plan: &Plan, name: &str) -> Result<()> {
    let last = plan.documents.len() - 1;
    for (at, (descriptor, bytes)) in plan.documents.iter().enumerate() {
        let which = if at == last {
            name.to_owned()
        } else {
            descriptor.digest.to_string()
        };
        // What is about something else is put again: a push that broke off may have put it, and not listed it.
        // And the name by a stranger: where everybody reads, nothing else would show that he may not push.
        let may_stay = !is_about_something(bytes) && (at < last || !session.is_anonymous());
        if may_stay && session.has_manifest(&which, &descriptor.digest).await? {
            continue;
        }
        let keeps_referrers = session
            .put_manifest(&which, &descriptor.media_type, bytes.clone().into())
            .await?;
        if !keeps_referrers {
            session.list_as_referrer(descriptor, bytes).await?;
        }
    }
    Ok(())
}

/// What there is to push.
fn plan(
    store: &Store,
    reference: &Reference,
    target: Option<Descriptor>,
    platform: Option<&Platform>,
    extent: Extent,
) -> Result<Plan> {
    let Some(root) = target.or_else(|| store.named(reference)) else {
        return Err(Error::Invalid(format!(
            "An image does not exist locally with the tag: {}",
            reference.familiar_repository()
        )));
    };
    if media_type::is_index(&root.media_type) && platform.is_none() && extent == Extent::Whole {
        let mut whole = Plan::of(root.clone());
        if whole.gather_index(store, &root)? {
            return Ok(whole);
        }
    }
    let chosen = choose(store, &root, reference, platform)?;
    let mut one = Plan::of(chosen.clone());
    if !one.gather(store, &chosen)? {
        return Err(Error::Incomplete(format!(
            "{} cannot be pushed: not all of its layers are here: pull it first",
            reference.familiar()
        )));
    }
    one.index = (media_type::is_index(&root.media_type) && platform.is_none()).then_some(root);
    Ok(one)
}

/// The one image of an index that is here, or the one for a platform.
fn choose(
    store: &Store,
    root: &Descriptor,
    reference: &Reference,
    platform: Option<&Platform>,
) -> Result<Descriptor> {
    if !media_type::is_index(&root.media_type) {
        return Ok(root.clone());
    }
    let index: Index = read(store, root, "index")?;
    let is_wanted = |child: &&Descriptor| match (platform, &child.platform) {
        (Some(wanted), Some(has)) => wanted.matches(has),
        (Some(_), None) => false,
        (None, _) => true,
    };
    let mut found = Vec::new();
    for child in index
        .manifests
        .iter()
        .filter(|child| !child.is_attestation())
        .filter(is_wanted)
    {
        if media_type::is_manifest(&child.media_type)
            && Plan::of(child.clone()).gather(store, child)?
        {
            found.push(child.clone());
        }
    }
    match (found.len(), platform) {
        (0, Some(wanted)) => Err(Error::NoPlatform {
            platform: wanted.to_string(),
        }),
        (0, None) => Err(Error::Incomplete(format!(
            "{} cannot be pushed: none of its images is all here: pull it first",
            reference.familiar()
        ))),
        // Several, of an index that is not all here: the best for this host, as it runs here.
        _ => {
            let host = Platform::host();
            let rank = |child: &Descriptor| {
                child
                    .platform
                    .as_ref()
                    .and_then(|has| host.rank(has))
                    .unwrap_or(usize::MAX)
            };
            found
                .into_iter()
                .min_by_key(rank)
                .ok_or_else(|| Error::Internal("a list that has members is empty".to_owned()))
        }
    }
}

impl Plan {
    fn of(target: Descriptor) -> Self {
        Self {
            target,
            index: None,
            documents: Vec::new(),
            blobs: Vec::new(),
            elsewhere: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// Adds an index: of its members, those that are not all here are for the registry to have.
    /// False: it is not here itself.
    fn gather_index(&mut self, store: &Store, descriptor: &Descriptor) -> Result<bool> {
        if !store.has_blob(&descriptor.digest) {
            return Ok(false);
        }
        let index: Index = read(store, descriptor, "index")?;
        for child in &index.manifests {
            let mut below = Plan::of(child.clone());
            if below.gather(store, child)? {
                self.add(below);
            } else {
                self.elsewhere.push(child.clone());
            }
        }
        self.documents
            .push((descriptor.clone(), store.read_blob(&descriptor.digest)?));
        Ok(true)
    }

    fn add(&mut self, other: Self) {
        for (descriptor, bytes) in other.documents {
            let is_same = |(known, _): &(Descriptor, _)| known.digest == descriptor.digest;
            if !self.documents.iter().any(is_same) {
                self.documents.push((descriptor, bytes));
            }
        }
        for blob in other.blobs {
            if !self.blobs.iter().any(|known| known.digest == blob.digest) {
                self.blobs.push(blob);
            }
        }
    }

    /// Adds a document and all below it; false: something is not here.
    fn gather(&mut self, store: &Store, descriptor: &Descriptor) -> Result<bool> {
        if !store.has_blob(&descriptor.digest) {
            return Ok(false);
        }
        if self
            .documents
            .iter()
            .any(|(known, _)| known.digest == descriptor.digest)
        {
            return Ok(true);
        }
        if media_type::is_index(&descriptor.media_type) {
            let index: Index = read(store, descriptor, "index")?;
            for child in &index.manifests {
                if !self.gather(store, child)? {
                    return Ok(false);
                }
            }
        } else {
            let manifest: Manifest = read(store, descriptor, "manifest")?;
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                if !store.has_blob(&blob.digest) && !may_stay(blob) {
                    return Ok(false);
                }
                if !self.blobs.iter().any(|known| known.digest == blob.digest) {
                    self.blobs.push(blob.clone());
                }
            }
        }
        self.documents
            .push((descriptor.clone(), store.read_blob(&descriptor.digest)?));
        Ok(true)
    }
}

/// Layers that are fetched from their owner only.
fn may_stay(blob: &Descriptor) -> bool {
    let is_restricted =
        blob.media_type.contains("nondistributable") || blob.media_type.contains("rootfs.foreign");
    is_restricted && blob.urls.as_ref().is_some_and(|urls| !urls.is_empty())
}

fn read<T: serde::de::DeserializeOwned>(
    store: &Store,
    descriptor: &Descriptor,
    what: &'static str,
) -> Result<T> {
    let bytes = store.read_blob(&descriptor.digest)?;
    read_document(&descriptor.digest, what, &bytes)
}

fn read_document<T: serde::de::DeserializeOwned>(
    digest: &Digest,
    what: &'static str,
    bytes: &[u8],
) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|source| {
        Error::Image(hull_image::Error::Document {
            what,
            digest: digest.clone(),
            source,
        })
    })
}

/// Repositories of the same registry that have some of the blobs.
fn sources(store: &Store, reference: &Reference, plan: &Plan) -> Vec<(String, HashSet<Digest>)> {
    let mut sources = store.held_for(reference.domain());
    let wanted = || plan.blobs.iter().chain(&plan.elsewhere);
    sources.retain(|(path, held)| {
        path != reference.path() && wanted().any(|wanted| held.contains(&wanted.digest))
    });
    sources.truncate(SOURCES_MAX);
    sources
}

/// Sends the blobs, several at a time.
async fn upload(
    session: &Session,
    store: &Arc<Store>,
    plan: &Plan,
    at_once: usize,
    progress: &Progress,
) -> Result<()> {
    let layers: HashSet<&Digest> = plan
        .blobs
        .iter()
        .filter(|blob| !media_type::is_config(&blob.media_type))
        .map(|blob| &blob.digest)
        .collect();
    let turns = Arc::new(Semaphore::new(at_once));
    let mut uploads = JoinSet::new();
    for digest in &layers {
        progress.layer(digest, Stage::Preparing);
    }
    for blob in &plan.blobs {
        let is_shown = layers.contains(&blob.digest);
        if may_stay(blob) {
            progress.layer(&blob.digest, Stage::Skipped);
            continue;
        }
        let source = plan
            .sources
            .iter()
            .find(|(_, held)| held.contains(&blob.digest))
            .map(|(path, _)| path.clone());
        let upload = Upload {
            session: session.clone(),
            store: Arc::clone(store),
            blob: blob.clone(),
            source,
            progress: if is_shown {
                progress.clone()
            } else {
                Progress::default()
            },
        };
        let turns = Arc::clone(&turns);
        uploads.spawn(async move {
            if turns.available_permits() == 0 {
                upload.progress.layer(&upload.blob.digest, Stage::Waiting);
            }
            let _turn = turns
                .acquire()
                .await
                .map_err(|error| Error::Internal(error.to_string()))?;
            upload.run().await
        });
    }
    while let Some(outcome) = uploads.join_next().await {
        outcome??;
    }
    Ok(())
}

/// One blob on its way.
struct Upload {
    session: Session,
    store: Arc<Store>,
    blob: Descriptor,
    source: Option<String>,
    progress: Progress,
}

impl Upload {
    async fn run(self) -> Result<()> {
        let (store, digest) = (self.store, self.blob.digest.clone());
        let file = tokio::task::spawn_blocking(move || store.open_blob(&digest)).await??;
        let size = file
            .metadata()
            .map(|meta| meta.len())
            .unwrap_or(self.blob.size);
        if size != self.blob.size {
            return Err(Error::Incomplete(format!(
                "the blob {} is damaged: pull the image again",
                self.blob.digest
            )));
        }
        let counter = Counter::new(&self.progress, &self.blob, Stage::Uploading);
        let sent = Arc::new(move |bytes| counter.add(bytes));
        let stage = match self
            .session
            .upload(&self.blob, file, self.source.as_deref(), sent)
            .await?
        {
            Uploaded::Exists => Stage::AlreadyThere,
            Uploaded::Mounted(from) => Stage::Mounted(from),
            Uploaded::Sent => Stage::Uploaded,
        };
        self.progress.layer(&self.blob.digest, stage);
        Ok(())
    }
}
