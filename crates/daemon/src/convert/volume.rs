//! Volumes.

use hull_api::types;
use hull_engine::volume::{CreateVolume, Volume};

use super::{Result, mounts, time};

/// The body of a create.
pub(crate) fn order(wire: types::VolumeCreate) -> Result<CreateVolume> {
    if !wire.name.is_empty() {
        mounts::volume_name(&wire.name)?;
    }
    Ok(CreateVolume {
        name: wire.name,
        driver: wire.driver,
        labels: wire.labels,
        options: wire.driver_opts,
    })
}

/// To the wire.
pub(crate) fn to_wire(volume: &Volume, mountpoint: &std::path::Path) -> types::Volume {
    let volume = volume.clone();
    types::Volume {
        created_at: time::text(volume.created_at_ns),
        driver: volume.driver,
        labels: (!volume.labels.is_empty() || !volume.anonymous).then_some(volume.labels),
        mountpoint: mountpoint.display().to_string(),
        name: volume.name,
        options: (!volume.options.is_empty()).then_some(volume.options),
        scope: match volume.scope.as_str() {
            "" => "local".to_owned(),
            scope => scope.to_owned(),
        },
        status: Default::default(),
        usage_data: None,
    }
}
