//! Members of an index that are not here: the registry has them, in this repository or in another.
//!
//! From another repository, a registry mounts the blobs; only the manifest goes there and back.

use std::collections::HashSet;

use hull_oci::{Descriptor, Digest, Manifest, Reference};

use super::{Plan, Push, read_document, session};
use crate::client::{Client, Session};
use crate::{Error, Result};

/// Sees to it that the repository has the members that are not here. The first one that is not to
/// be had, if there is such.
pub(super) async fn bring(
    client: &Client,
    order: &Push,
    plan: &Plan,
) -> Result<Option<Descriptor>> {
    if plan.elsewhere.is_empty() {
        return Ok(None);
    }
    let session = session(client, order, plan)?;
    for member in &plan.elsewhere {
        let digest = member.digest.to_string();
        if !session.has_manifest(&digest, &member.digest).await?
            && !copy(client, order, plan, &session, member).await?
        {
            return Ok(Some(member.clone()));
        }
    }
    Ok(None)
}

/// Copies a member from a repository that has it; false: none does.
async fn copy(
    client: &Client,
    order: &Push,
    plan: &Plan,
    session: &Session,
    member: &Descriptor,
) -> Result<bool> {
    let has_it = |(_, held): &&(String, HashSet<Digest>)| held.contains(&member.digest);
    for (path, _) in plan.sources.iter().filter(has_it) {
        let Ok(source) = format!("{}/{path}", order.reference.domain()).parse::<Reference>() else {
            continue;
        };
        let from = client.session(&source, order.credentials.as_ref())?;
        match copy_from(&from, path, session, member).await {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(path, digest = %member.digest, %error, "no copy from this repository");
            }
        }
    }
    Ok(false)
}

async fn copy_from(
    from: &Session,
    path: &str,
    session: &Session,
    member: &Descriptor,
) -> Result<bool> {
    let fetched = from.manifest(&member.digest.to_string()).await?;
    let manifest: Manifest = read_document(&fetched.digest, "manifest", &fetched.bytes)?;
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        if !super::may_stay(blob) && !session.mount(blob, path).await? {
            return Ok(false);
        }
    }
    let which = member.digest.to_string();
    let keeps_referrers = session
        .put_manifest(&which, &fetched.media_type, fetched.bytes.clone())
        .await?;
    if !keeps_referrers {
        let copied = Descriptor {
            media_type: fetched.media_type,
            ..member.clone()
        };
        session.list_as_referrer(&copied, &fetched.bytes).await?;
    }
    Ok(true)
}

/// What to say, and what to do about it.
pub(super) fn nowhere(reference: &Reference, lost: &Descriptor) -> Error {
    let platform = lost.platform.as_ref();
    let which = platform.map_or_else(String::new, |platform| format!(" ({platform})"));
    Error::Incomplete(format!(
        "{} cannot be pushed: its member {}{which} is neither here nor in a repository of {} that \
         is known: pull it first",
        reference.familiar(),
        lost.digest,
        reference.domain(),
    ))
}
