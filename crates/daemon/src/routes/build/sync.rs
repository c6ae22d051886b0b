//! Contexts that come before their build: the client tells what it has, and sends what is missing.
//!
//! `POST /hull/build/context` takes a listing and names the files that are missing;
//! `PUT /hull/build/context/{id}` takes those, in an archive (all of it, if the client has nothing else). Then a build may use the transfer,
//! once. One that nobody uses is given up after a while.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hull_api::types::{ContextListing, ContextNeeds};
use hull_build::{
    Builder, Error,
    tree::{Meta, Tree, TreeWriter},
};

use super::{blocking, builder};
use crate::http::{
    answer::{Failure, Outcome, done, json},
    body,
    request::Request,
};

/// Transfers that wait for their build at the same time.
const WAITING_MAX: usize = 64;
/// A client sends what is missing, and then builds, at once.
const WAIT: Duration = Duration::from_secs(300);

/// Transfers by their id.
#[derive(Default)]
pub(super) struct Contexts(Mutex<HashMap<String, (Instant, Transfer)>>);

enum Transfer {
    /// Files are missing.
    Open(Box<Pending>),
    Whole(Arc<Tree>),
}

struct Pending {
    writer: TreeWriter,
    missing: HashMap<PathBuf, Meta>,
    /// The client has an archive: all of it is wanted.
    is_archive: bool,
}

impl Contexts {
    /// The directory of a transfer, for a build.
    pub(super) fn take(&self, id: &str) -> Result<Arc<Tree>, Failure> {
        match self.remove(id) {
            Some(Transfer::Whole(tree)) => Ok(tree),
            Some(Transfer::Open(_)) | None => {
                Err(Failure::invalid(format!("no such build context: {id}")))
            }
        }
    }

    fn put(&self, transfer: Transfer) -> Result<String, Failure> {
        let id = hull_engine::model::ContainerId::random().to_string();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (since, _)| since.elapsed() < WAIT);
        if all.len() >= WAITING_MAX {
            return Err(Failure::invalid(
                "too many build contexts wait for their build",
            ));
        }
        all.insert(id.clone(), (Instant::now(), transfer));
        Ok(id)
    }

    fn remove(&self, id: &str) -> Option<Transfer> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(id).map(|(_, transfer)| transfer)
    }
}

/// `POST /hull/build/context`
pub(super) async fn begin(mut request: Request) -> Outcome {
    let listing: ContextListing = request.large_json().await?;
    let builder = builder(&request)?;
    let (transfer, files) = blocking(move || look(&builder, &listing)).await??;
    let id = request.app.builds.contexts.put(transfer)?;
    Ok(json(&ContextNeeds { id, files }))
}

fn look(builder: &Builder, listing: &ContextListing) -> Result<(Transfer, Vec<usize>), Error> {
    if listing.entries.iter().any(|entry| entry.kind == "a") {
        let pending = Pending {
            writer: builder.trees().temporary()?,
            missing: HashMap::new(),
            is_archive: true,
        };
        return Ok((Transfer::Open(Box::new(pending)), vec![0]));
    }
    let mut writer = builder.trees().writer(&listing.key)?;
    let mut files = Vec::new();
    let mut missing = HashMap::new();
    for (position, entry) in listing.entries.iter().enumerate() {
        let path = Path::new(&entry.path);
        let meta = Meta {
            mode: entry.mode & 0o7777,
            uid: 0,
            gid: 0,
            mtime_ns: entry.mtime_ns,
            change: (entry.ctime_ns, entry.inode),
        };
        match entry.kind.as_str() {
            "d" => writer.directory(path, meta)?,
            "l" => writer.symlink(path, entry.link.as_bytes(), meta)?,
            _ if entry.ctime_ns != 0 && writer.keep(path, entry.size, meta) => {}
            _ => {
                files.push(position);
                missing.insert(path.to_owned(), meta);
            }
        }
    }
    let transfer = if files.is_empty() {
        Transfer::Whole(writer.finish()?)
    } else {
        Transfer::Open(Box::new(Pending {
            writer,
            missing,
            is_archive: false,
        }))
    };
    Ok((transfer, files))
}

/// `PUT /hull/build/context/{id}`
pub(super) async fn fill(request: Request) -> Outcome {
    let id = request.name().to_owned();
    let Some(Transfer::Open(pending)) = request.app.builds.contexts.remove(&id) else {
        return Err(Failure::invalid(format!("no such build context: {id}")));
    };
    let (pipe, filling) =
        body::into_pipe(request.body).map_err(crate::routes::archive::internal)?;
    let filled = blocking(move || take_over(*pending, File::from(pipe))).await;
    crate::routes::archive::whole(filling).await?;
    let tree = filled??;
    let mut all = request
        .app
        .builds
        .contexts
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    all.insert(id, (Instant::now(), Transfer::Whole(tree)));
    Ok(done())
}

/// Takes the missing files; their looks are what the listing said.
fn take_over(pending: Pending, archive: File) -> Result<Arc<Tree>, Error> {
    let Pending {
        mut writer,
        mut missing,
        is_archive,
    } = pending;
    if is_archive {
        writer.unpack(archive)?;
        return writer.finish();
    }
    writer.files_from(archive, &mut |path| missing.remove(path))?;
    if let Some(path) = missing.keys().next() {
        return Err(Error::Invalid {
            message: format!(
                "the build context is not whole: {} is missing",
                path.display()
            ),
            place: None,
        });
    }
    writer.finish()
}
