//! Where downloads and the unpacking of one pull meet.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use hull_image::store::{ArrivingBlob, PartialBlob};
use hull_oci::{Descriptor, Digest};

/// The layers of one pull that are on their way. Cheap to clone.
#[derive(Clone)]
pub(super) struct Arrivals(Arc<Shared>);

struct Shared {
    layers: Mutex<HashMap<Digest, Layer>>,
    changed: Condvar,
}

enum Layer {
    /// Its turn has not come.
    Awaited,
    Arriving(ArrivingBlob),
    Here,
    Failed(String),
}

impl Arrivals {
    pub(super) fn of(missing: &[Descriptor]) -> Self {
        let layers = missing
            .iter()
            .map(|layer| (layer.digest.clone(), Layer::Awaited))
            .collect();
        Self(Arc::new(Shared {
            layers: Mutex::new(layers),
            changed: Condvar::new(),
        }))
    }

    /// A layer begins to come in (perhaps once more).
    pub(super) fn begin(&self, writer: &PartialBlob) {
        let layer = match writer.reader() {
            Ok(reader) => Layer::Arriving(reader),
            Err(error) => Layer::Failed(error.to_string()),
        };
        self.set(writer.digest(), layer);
    }

    /// A layer's blob is in the store.
    pub(super) fn complete(&self, digest: &Digest) {
        self.set(digest, Layer::Here);
    }

    /// A layer will not come.
    pub(super) fn fail(&self, digest: &Digest, why: &str) {
        self.set(digest, Layer::Failed(why.to_owned()));
    }

    pub(super) fn is_arriving(&self, digest: &Digest) -> bool {
        matches!(
            self.lock().get(digest),
            Some(Layer::Awaited | Layer::Arriving(_))
        )
    }

    /// A reader of the layer, as soon as it begins to come in; `None`: it is in the store. Blocks.
    pub(super) fn open(&self, digest: &Digest) -> hull_image::Result<Option<Box<dyn Read + Send>>> {
        let mut layers = self.lock();
        loop {
            match layers.get(digest) {
                Some(Layer::Awaited) => {}
                Some(Layer::Arriving(reader)) => return Ok(Some(Box::new(reader.again()?))),
                Some(Layer::Failed(why)) => {
                    return Err(hull_image::Error::Interrupted(why.clone()));
                }
                Some(Layer::Here) | None => return Ok(None),
            }
            layers = self
                .0
                .changed
                .wait(layers)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// When it is dropped, nobody waits any longer: the pull has ended.
    pub(super) fn closing(&self) -> Closing {
        Closing(self.clone())
    }

    fn set(&self, digest: &Digest, layer: Layer) {
        self.lock().insert(digest.clone(), layer);
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Layer>> {
        self.0.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Closing(Arrivals);

impl Drop for Closing {
    fn drop(&mut self) {
        for layer in self.0.lock().values_mut() {
            if !matches!(layer, Layer::Here) {
                *layer = Layer::Failed("the pull was given up".to_owned());
            }
        }
        self.0.0.changed.notify_all();
    }
}
