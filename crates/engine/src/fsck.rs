//! Compares what is recorded with what is on the disk, both ways, and mends what can be mended.
//!
//! The image store compares itself; here stands what concerns containers, too. Each kind of thing
//! is one function that returns its findings.

mod own;

use std::{path::Path, sync::Arc};

use hull_image::store::{Finding, Fsck, Outcome, Trouble};

use crate::{Engine, actor::Order, error::Result, record::Record, services::Services};

/// How to look.
#[derive(Debug, Clone, Copy, Default)]
pub struct FsckOptions {
    /// Mend what is found.
    pub repair: bool,
    /// Compare every byte of images, not only what there is and how large it is.
    pub contents: bool,
}

impl Engine {
    /// Looks for what is damaged, missing or nobody's.
    pub async fn fsck(&self, options: FsckOptions) -> Result<Vec<Finding>> {
        let services = Arc::clone(self.services());
        let mut found = self
            .services()
            .block(move || images(&services, options))
            .await??;
        let services = Arc::clone(self.services());
        let own = move || own::own(&services, options.repair);
        found.extend(self.services().block(own).await??);
        found.extend(self.layers_of_containers(options).await?);
        self.services().sweep();
        Ok(found)
    }

    /// Layers that containers stand on and that are gone: the image's, wherever they lie now, take
    /// their place.
    async fn layers_of_containers(&self, options: FsckOptions) -> Result<Vec<Finding>> {
        let mut found = Vec::new();
        for handle in self.services().registry.all() {
            let record = handle.record();
            let Some(gone) = record.snapshot.lower.iter().find(|path| !path.is_dir()) else {
                continue;
            };
            let object = format!("container {}", record.name);
            let problem = format!("its layer {} is gone", gone.display());
            let mut finding = Finding::new(Trouble::Missing, object, problem);
            if options.repair {
                finding.outcome = match self.stand_on_image(&record).await {
                    Ok(()) => Outcome::Mended("stands on the image's layers again"),
                    Err(error) => Outcome::Unmended(error.to_string()),
                };
            }
            found.push(finding);
        }
        Ok(found)
    }

    async fn stand_on_image(&self, record: &Arc<Record>) -> Result<()> {
        let (services, owner) = (Arc::clone(self.services()), Arc::clone(record));
        let lower = self
            .services()
            .block(move || -> Result<_> {
                let image = services.resolve_image(&owner.image_id, Some(&owner.platform))?;
                let mut lower = image.layers;
                lower.push(services.paths.base());
                Ok(lower)
            })
            .await??;
        self.find(record.id.as_str())?
            .order(|reply| Order::StandOn { lower, reply })
            .await
    }
}

fn images(services: &Services, options: FsckOptions) -> Result<Vec<Finding>> {
    let records: Vec<Arc<Record>> = services
        .registry
        .all()
        .into_iter()
        .map(|handle| handle.record())
        .filter(|record| record.state.is_running())
        .collect();
    let busy = |path: &Path| {
        let user = records
            .iter()
            .find(|record| record.snapshot.lower.iter().any(|layer| layer == path));
        user.map(|record| record.name.to_string())
    };
    // Containers that are being made count on layers no record tells of yet.
    let _nobody_makes = options.repair.then(|| services.makings.nobody_makes());
    Ok(services.images.fsck(&Fsck {
        repair: options.repair,
        contents: options.contents,
        busy: &busy,
    })?)
}
