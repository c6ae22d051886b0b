//! One account of the disk: what of the data root belongs to whom, and what could be had back.
//!
//! Figures are what `du` says. Their sum is what `du` says of the data root: what no line claims
//! is a line of its own.

use std::{collections::HashSet, fs, path::Path, sync::Arc};

use hull_image::{
    allocated,
    store::{DiskUsage, Standing},
};
use hull_oci::Digest;

use crate::{
    Engine,
    budget::Candidate,
    error::{Attempt, Result},
    record::Record,
    services::Services,
};

/// One line of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is.
    pub what: String,
    /// Bytes of disk.
    pub bytes: u64,
    /// Bytes of it that nobody needs now.
    pub reclaimable: u64,
    /// How to have them back.
    pub hint: &'static str,
}

/// The account.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Its lines.
    pub lines: Vec<Line>,
    /// The data root, in all.
    pub total: u64,
    /// Bytes that images and disposable volumes may take.
    pub budget: Option<u64>,
    /// What would be let go, in that order, and why some of it is not.
    pub standings: Vec<(Candidate, Standing)>,
}

impl Engine {
    /// What all images take on disk; those that containers use cannot be had back.
    pub async fn images_usage(&self) -> Result<DiskUsage> {
        let services = Arc::clone(self.services());
        self.services().block(move || images(&services)).await?
    }

    /// Bytes of disk that are a container's: its layer, log and records.
    pub async fn container_disk(&self, record: &Record) -> Result<u64> {
        let bundle = self.services().paths.bundle(&record.id);
        Ok(self.services().block(move || allocated(&bundle)).await??)
    }

    /// What of the data root belongs to whom.
    pub async fn account(&self) -> Result<Account> {
        let services = Arc::clone(self.services());
        self.services().block(move || account(&services)).await?
    }
}

/// What images take. Blocks.
pub(crate) fn images(services: &Services) -> Result<DiskUsage> {
    let used = used_images(services);
    let is_used = |id: &Digest| used.contains(id.as_str());
    Ok(services.images.disk_usage(&is_used)?)
}

fn used_images(services: &Services) -> HashSet<String> {
    let containers = services.registry.all().into_iter();
    let images = |record: Arc<Record>| {
        let mounted = record.mounts.iter().filter_map(|mount| mount.image.clone());
        let mut images: Vec<String> = mounted.collect();
        images.push(record.image_id.clone());
        images
    };
    containers
        .flat_map(|handle| images(handle.record()))
        .collect()
}

fn account(services: &Services) -> Result<Account> {
    let usage = images(services)?;
    let blobs_and_layers = usage.blobs_bytes + usage.layers_bytes - usage.kept_bytes;
    let line = |what: &str, bytes, reclaimable, hint| Line {
        what: what.to_owned(),
        bytes,
        reclaimable,
        hint,
    };
    let frame = usage.total_bytes - usage.blobs_bytes - usage.layers_bytes - usage.partial_bytes;
    let unused = usage.reclaimable_bytes - usage.partial_bytes;
    let mut lines = vec![
        line("Images", blobs_and_layers, unused, "image prune -a"),
        line(
            "Layers of the build cache",
            usage.kept_bytes,
            usage.kept_bytes,
            "builder prune -a",
        ),
        line(
            "Downloads that go on later",
            usage.partial_bytes,
            usage.partial_bytes,
            "image prune",
        ),
        line("Directories of the image store", frame, 0, ""),
    ];
    let standings = crate::budget::standings(services)?;
    let spare = standings.iter().map(spare_bytes).sum();
    let data = services.paths.data();
    let own = [services.paths.images(), data.join("layers")];
    let mut rest = allocated_alone(data);
    let what = || format!("list {}", data.display());
    let mut entries: Vec<_> = fs::read_dir(data)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .attempt(what)?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| !own.contains(path))
        .collect();
    entries.sort();
    for path in entries {
        let bytes = allocated(&path).unwrap_or(0);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match name.as_ref() {
            "containers" => lines.push(line(
                "Containers: layers, logs, records",
                bytes,
                0,
                "container prune",
            )),
            "volumes" => lines.push(line("Volumes", bytes, spare, "volume prune -a")),
            "trash" => lines.push(line("Being deleted", bytes, bytes, "nothing to do")),
            "build" => lines.push(line("Build cache", bytes, 0, "builder prune")),
            _ => rest += bytes,
        }
    }
    lines.push(line("The daemon's own state", rest, 0, ""));
    lines.retain(|line| line.bytes > 0);
    let total = lines.iter().map(|line| line.bytes).sum();
    let budget = services.config.storage_budget;
    Ok(Account {
        lines,
        total,
        budget,
        standings,
    })
}

/// Bytes of a disposable volume that nobody uses.
fn spare_bytes((candidate, standing): &(Candidate, Standing)) -> u64 {
    match candidate {
        Candidate::Volume(own) if *standing != Standing::InUse => own.bytes,
        _ => 0,
    }
}

/// This directory's own blocks.
fn allocated_alone(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fs::symlink_metadata(path).map_or(0, |meta| meta.blocks() * 512)
}
