//! What containers that are being made will use, though no record tells of it yet.
//!
//! Making takes its time: a volume is filled, a plugin is asked. Nothing waits for that. What a
//! container will use is reserved the moment it is chosen; whoever takes images and volumes away
//! looks at reservations as at records, at a moment when nobody chooses.

use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    },
};

use hull_image::Image;

use crate::{error::Result, model::ContainerId, services::Services, volume::Volume};

/// All containers that are being made.
#[derive(Debug, Default)]
pub(crate) struct Makings {
    /// Held for reading from the look at something to its reservation, for writing by what takes
    /// things away.
    choosing: RwLock<()>,
    reserved: Mutex<HashMap<ContainerId, Reserved>>,
    ended: Condvar,
}

/// What one of them will use.
#[derive(Debug, Default)]
struct Reserved {
    /// Ids of images, each with the platform of the one that is meant.
    images: HashMap<String, String>,
    /// Ids of volumes.
    volumes: Vec<String>,
}

/// A container that is being made. Dropped, it reserves nothing any more.
pub(crate) struct Reservation {
    services: Arc<Services>,
    id: ContainerId,
}

impl Makings {
    /// Keeps everybody from choosing, for as long as the guard lives.
    pub(crate) fn nobody_chooses(&self) -> RwLockWriteGuard<'_, ()> {
        self.choosing
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no container is being made, and keeps all from being begun while the guard
    /// lives.
    pub(crate) fn nobody_makes(&self) -> RwLockWriteGuard<'_, ()> {
        loop {
            let guard = self.nobody_chooses();
            if self.reserved().is_empty() {
                return guard;
            }
            drop(guard);
            // Whoever makes a container must be able to choose meanwhile.
            let reserved = self.reserved();
            let waited = self.ended.wait_while(reserved, |all| !all.is_empty());
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The containers that will use a volume.
    pub(crate) fn users_of_volume(&self, id: &str) -> Vec<ContainerId> {
        let reserved = self.reserved();
        let uses = |own: &Reserved| own.volumes.iter().any(|known| known == id);
        let users = reserved.iter().filter(|(_, own)| uses(own));
        users.map(|(container, _)| container.clone()).collect()
    }

    /// The containers that will use an image, each with the platform it uses it for.
    pub(crate) fn users_of_image(&self, id: &str) -> Vec<(ContainerId, String)> {
        let reserved = self.reserved();
        let platform = |own: &Reserved| own.images.get(id).cloned();
        let users = reserved
            .iter()
            .filter_map(|(container, own)| Some((container.clone(), platform(own)?)));
        users.collect()
    }

    fn choose(&self) -> RwLockReadGuard<'_, ()> {
        self.choosing.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserved(&self) -> MutexGuard<'_, HashMap<ContainerId, Reserved>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Begins to make a container.
    pub(crate) fn begin(services: &Arc<Services>, id: &ContainerId) -> Self {
        let _choosing = services.makings.choose();
        services
            .makings
            .reserved()
            .insert(id.clone(), Reserved::default());
        Self {
            services: Arc::clone(services),
            id: id.clone(),
        }
    }

    /// Looks an image up and reserves it.
    pub(crate) fn image(&self, name: &str, platform: Option<&str>) -> Result<Image> {
        let _choosing = self.services.makings.choose();
        let image = self.services.resolve_image(name, platform)?;
        let key = (image.id.to_string(), image.platform.to_string());
        self.reserve(|own| {
            own.images.insert(key.0, key.1);
        });
        Ok(image)
    }

    /// Looks a volume up, or makes it, without asking anybody else, and reserves it.
    pub(crate) fn volume(&self, look: impl FnOnce() -> Result<Arc<Volume>>) -> Result<Arc<Volume>> {
        let _choosing = self.services.makings.choose();
        let volume = look()?;
        self.reserve(|own| own.volumes.push(volume.id.clone()));
        Ok(volume)
    }

    fn reserve(&self, with: impl FnOnce(&mut Reserved)) {
        if let Some(own) = self.services.makings.reserved().get_mut(&self.id) {
            with(own);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.services.makings.reserved().remove(&self.id);
        self.services.makings.ended.notify_all();
    }
}
