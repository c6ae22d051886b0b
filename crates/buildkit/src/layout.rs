//! Images, blob by blob, between the daemon's store and a client's.

use std::{collections::HashSet, io::Read, sync::Arc};

use bytes::Bytes;
use hull_image::{Store, store::Lease};
use hull_oci::{Descriptor, Digest, Hasher, Index, Manifest, Platform, media_type};
use serde::Deserialize;

use crate::{
    events::Step,
    grpc::{Code, Status},
    session::content,
};

/// The largest manifest or index.
const MANIFEST_BYTES_MAX: usize = 8 << 20;

/// Indexes that lie in one another.
const DEPTH_MAX: usize = 4;

/// Read from a blob at once.
const PIECE_BYTES: usize = 256 << 10;

/// A manifest, or an index of manifests.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Document {
    /// First: it has what it must have, while anything could be an index.
    Manifest(Box<Manifest>),
    Index(Box<Index>),
}

/// Sends an image of the daemon's store: its layers first, what names them last.
pub(crate) async fn send(
    store: &Arc<Store>,
    to: &content::Store<'_>,
    target: &Descriptor,
    step: &Step,
) -> Result<(), Status> {
    let blobs = {
        let (store, target) = (Arc::clone(store), target.clone());
        let listing = tokio::task::spawn_blocking(move || blobs_of(&store, &target)).await;
        listing.map_err(|_| Status::new(Code::Internal, "reading the image broke off"))??
    };
    for blob in blobs {
        let name = blob.digest.to_string();
        let mut file = store
            .open_blob(&blob.digest)
            .map_err(|error| failed(&name, &error))?;
        step.status(&format!("exporting {name}"), 0, blob.size, false);
        let pieces = move || {
            let mut buffer = vec![0; PIECE_BYTES];
            let read = file.read(&mut buffer)?;
            buffer.truncate(read);
            Ok((read > 0).then(|| Bytes::from(buffer)))
        };
        to.write(&name, blob.size, pieces).await?;
        step.status(&format!("exporting {name}"), blob.size, blob.size, true);
    }
    Ok(())
}

/// All blobs of an image, each after those that it names.
fn blobs_of(store: &Store, target: &Descriptor) -> Result<Vec<Descriptor>, Status> {
    let bytes = store
        .read_blob(&target.digest)
        .map_err(|error| failed(target.digest.as_str(), &error))?;
    let mut blobs = Vec::new();
    match document(&bytes, target)? {
        Document::Index(index) => {
            for manifest in &index.manifests {
                blobs.extend(blobs_of(store, manifest)?);
            }
        }
        Document::Manifest(manifest) => {
            blobs.extend(manifest.layers);
            blobs.push(manifest.config);
        }
    }
    blobs.push(target.clone());
    let mut seen = HashSet::new();
    blobs.retain(|blob| seen.insert(blob.digest.clone()));
    Ok(blobs)
}

/// Brings the image `digest` from a client's store into the daemon's, for as long as the lease
/// lives. Of an index, only what fits the platforms comes.
pub(crate) async fn receive(
    from: &content::Store<'_>,
    store: &Arc<Store>,
    lease: &Lease,
    digest: &str,
    platforms: &[Platform],
) -> Result<Descriptor, Status> {
    let digest: Digest = digest
        .parse()
        .map_err(|error| Status::invalid(format!("{digest:?} is no digest: {error}")))?;
    receive_document(from, store, lease, digest, (platforms, 0)).await
}

/// A document, with all that it names; it lies in `depth` others. What it says counts only once its
/// digest is right: a client could make it name itself.
async fn receive_document(
    from: &content::Store<'_>,
    store: &Arc<Store>,
    lease: &Lease,
    digest: Digest,
    (platforms, depth): (&[Platform], usize),
) -> Result<Descriptor, Status> {
    if depth > DEPTH_MAX {
        let message = format!("{digest} lies in more than {DEPTH_MAX} indexes");
        return Err(Status::invalid(message));
    }
    let bytes = from.read_all(digest.as_str(), MANIFEST_BYTES_MAX).await?;
    let mut hasher = Hasher::new(digest.algorithm());
    hasher.update(&bytes);
    if hasher.finish() != digest {
        let message = format!("the client's content of {digest} has another digest");
        return Err(Status::new(Code::DataLoss, message));
    }
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let parsed: Document = serde_json::from_slice(&bytes)
        .map_err(|error| Status::invalid(format!("{digest} is no image: {error}")))?;
    let (media, children) = match &parsed {
        Document::Index(index) => (media_type::INDEX, chosen(index, platforms)),
        Document::Manifest(manifest) => {
            let mut blobs = manifest.layers.clone();
            blobs.push(manifest.config.clone());
            (media_type::MANIFEST, blobs)
        }
    };
    for child in children {
        match &parsed {
            Document::Index(_) => {
                let inner = (platforms, depth + 1);
                Box::pin(receive_document(from, store, lease, child.digest, inner)).await?;
            }
            Document::Manifest(_) => receive_blob(from, store, lease, &child).await?,
        }
    }
    write(store, lease, &digest, &bytes)?;
    let own = match &parsed {
        Document::Index(index) => index.media_type.clone(),
        Document::Manifest(manifest) => manifest.media_type.clone(),
    };
    let media = own.unwrap_or_else(|| media.to_owned());
    Ok(Descriptor::new(&media, digest, size))
}

/// The manifests for these platforms; all, if none is wanted especially.
fn chosen(index: &Index, platforms: &[Platform]) -> Vec<Descriptor> {
    let fits = |descriptor: &&Descriptor| match &descriptor.platform {
        None => true,
        Some(has) => platforms.is_empty() || platforms.iter().any(|wanted| wanted.matches(has)),
    };
    index.manifests.iter().filter(fits).cloned().collect()
}

async fn receive_blob(
    from: &content::Store<'_>,
    store: &Arc<Store>,
    lease: &Lease,
    blob: &Descriptor,
) -> Result<(), Status> {
    let name = blob.digest.to_string();
    if store.has_whole(blob) {
        lease.protect(&blob.digest);
        return Ok(());
    }
    let mut reading = from.read(&name).await?;
    let mut writer = store
        .write_blob(lease, &blob.digest)
        .map_err(|error| failed(&name, &error))?;
    while let Some(piece) = reading.next().await? {
        std::io::Write::write_all(&mut writer, &piece)
            .map_err(|error| Status::new(Code::Unknown, format!("cannot write {name}: {error}")))?;
    }
    writer.commit().map_err(|error| failed(&name, &error))?;
    Ok(())
}

fn write(store: &Store, lease: &Lease, digest: &Digest, bytes: &[u8]) -> Result<(), Status> {
    let written = store.write_blob(lease, digest).and_then(|mut writer| {
        // The blob's own digest is checked when it is committed.
        let _ = std::io::Write::write_all(&mut writer, bytes);
        writer.commit()
    });
    written
        .map(drop)
        .map_err(|error| failed(digest.as_str(), &error))
}

fn document(bytes: &[u8], target: &Descriptor) -> Result<Document, Status> {
    serde_json::from_slice(bytes)
        .map_err(|error| Status::invalid(format!("{} is no image: {error}", target.digest)))
}

fn failed(name: &str, error: &dyn std::error::Error) -> Status {
    let cause = error
        .source()
        .map_or_else(String::new, |cause| format!(": {cause}"));
    Status::new(Code::Unknown, format!("blob {name}: {error}{cause}"))
}
