//! What goes when images and disposable volumes take more than they may, and in which order.
//!
//! The least useful goes first: images without a name, then whatever was not used for longest. A
//! volume is disposable when its maker says so, by a label; it goes only while nobody uses it.

use std::{fs, path::Path, sync::Arc, time::SystemTime};

use hull_image::{
    allocated,
    store::{Removed, SPARED_FOR, Standing, Summary},
};
use hull_oci::Digest;
use jiff::Timestamp;

use crate::{
    Engine,
    error::{Error, Result},
    image::users_of,
    services::Services,
    volume::{self, Volume},
};

/// The label of volumes that may go by themselves.
pub const DISPOSABLE: &str = "hull.disposable";

/// What may be let go.
#[derive(Debug, Clone)]
pub enum Candidate {
    /// An image.
    Image(Box<Summary>),
    /// A volume.
    Volume(Disposable),
}

/// A volume that its maker called disposable.
#[derive(Debug, Clone)]
pub struct Disposable {
    /// Which.
    pub volume: Arc<Volume>,
    /// Bytes of disk.
    pub bytes: u64,
    /// When a container was last made or started with it, or removed.
    pub last_used: Option<Timestamp>,
}

/// What went.
#[derive(Debug, Default)]
pub(crate) struct LetGo {
    pub(crate) images: Vec<Removed>,
    pub(crate) volumes: Vec<String>,
}

impl Volume {
    /// Whether it may go by itself while nobody uses it.
    pub fn is_disposable(&self) -> bool {
        let label = self.labels.get(DISPOSABLE).map(String::as_str);
        self.is_plain() && label.is_some_and(|value| !matches!(value, "false" | "0" | "no"))
    }
}

impl Candidate {
    /// By which the least useful comes first.
    fn key(&self) -> (bool, Option<Timestamp>) {
        match self {
            Self::Image(image) => (!image.repo_tags.is_empty(), image.last_used),
            Self::Volume(volume) => (true, volume.last_used),
        }
    }
}

impl Engine {
    /// Lets the least useful images and disposable volumes go until all take no more than `budget`.
    pub(crate) async fn keep_within(&self, budget: u64) -> Result<LetGo> {
        let services = Arc::clone(self.services());
        let gone = self
            .services()
            .block(move || keep_within(&services, budget))
            .await??;
        if !gone.images.is_empty() || !gone.volumes.is_empty() {
            self.services().sweep();
        }
        self.say_removed(&gone.images);
        Ok(gone)
    }
}

/// Everything that may go, in that order, and why some of it does not.
pub(crate) fn standings(services: &Services) -> Result<Vec<(Candidate, Standing)>> {
    let is_used = |id: &Digest| !users_of(services, id).is_empty();
    let images = services.images.standings(&is_used)?;
    let mut all: Vec<(Candidate, Standing)> = images
        .into_iter()
        .map(|(image, standing)| (Candidate::Image(Box::new(image)), standing))
        .collect();
    let now = Timestamp::now();
    for volume in disposable(services)? {
        let standing = if !volume::users(services, &volume.volume).is_empty() {
            Standing::InUse
        } else if is_recent(now, volume.last_used) {
            Standing::Recent
        } else {
            Standing::Turn(0)
        };
        all.push((Candidate::Volume(volume), standing));
    }
    all.sort_by_key(|(candidate, _)| candidate.key());
    let turns = all
        .iter_mut()
        .filter(|(_, standing)| matches!(standing, Standing::Turn(_)));
    for (at, (_, standing)) in turns.enumerate() {
        *standing = Standing::Turn(at + 1);
    }
    Ok(all)
}

fn disposable(services: &Services) -> Result<Vec<Disposable>> {
    let mut found = Vec::new();
    for volume in services.volumes.all() {
        if volume.is_disposable() {
            let directory = services.volumes.directory_of(&volume);
            found.push(Disposable {
                bytes: allocated(&directory).unwrap_or(0),
                last_used: last_used(&directory),
                volume,
            });
        }
    }
    Ok(found)
}

fn keep_within(services: &Services, budget: u64) -> Result<LetGo> {
    let mut gone = LetGo::default();
    let mut volumes: u64 = disposable(services)?.iter().map(|own| own.bytes).sum();
    if services.images.total_bytes()?.saturating_add(volumes) <= budget {
        return Ok(gone);
    }
    services.images.remove_leftovers()?;
    for (candidate, standing) in standings(services)? {
        let images = services.images.total_bytes()?;
        if images.saturating_add(volumes) <= budget {
            break;
        }
        match candidate {
            _ if !matches!(standing, Standing::Turn(_)) => {}
            Candidate::Image(_) => {
                // The store knows what is least useful of its own; one at a time.
                let _nobody_chooses = services.makings.nobody_chooses();
                let users = |id: &Digest| users_of(services, id);
                let wanted = budget.saturating_sub(volumes).max(images.saturating_sub(1));
                gone.images
                    .extend(services.images.keep_within(wanted, &users)?);
            }
            Candidate::Volume(own) => {
                let _nobody_chooses = services.makings.nobody_chooses();
                match volume::remove(services, &own.volume.name, false) {
                    Ok(()) => {
                        volumes = volumes.saturating_sub(own.bytes);
                        gone.volumes.push(own.volume.name.clone());
                    }
                    // A container or another call came first.
                    Err(Error::Conflict(_) | Error::NoSuchVolume(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(gone)
}

fn is_recent(now: Timestamp, used: Option<Timestamp>) -> bool {
    used.is_some_and(|time| now.duration_since(time).unsigned_abs() < SPARED_FOR)
}

/// A volume's own directory is as old as its last use.
fn last_used(directory: &Path) -> Option<Timestamp> {
    let modified = fs::metadata(directory).and_then(|meta| meta.modified());
    Timestamp::try_from(modified.ok()?).ok()
}

/// Somebody begins or ceases to use a volume.
pub(crate) fn note_use(services: &Services, volume: &Volume) {
    if !volume.is_disposable() {
        return;
    }
    let directory = services.volumes.directory_of(volume);
    let noted = fs::File::open(&directory).and_then(|own| own.set_modified(SystemTime::now()));
    if let Err(error) = noted {
        tracing::debug!(volume = volume.name, %error, "cannot note that it is used");
    }
}
