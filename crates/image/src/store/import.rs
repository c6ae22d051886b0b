//! An archive of files becomes an image.

use std::io::{self, Read};

use hull_oci::{ContainerConfig, Digest, History, Platform, Reference};
use jiff::Timestamp;

use super::Store;
use super::changes::apply_changes;
use super::commit::blank;
use super::pack::LayerCompression;
use crate::compression::decompress;
use crate::error::{Context as _, Error, Result};

/// Fewer, larger pieces for the compressor.
const COPY_BYTES: usize = 256 << 10;

/// How to import.
#[derive(Debug, Clone, Default)]
pub struct Import<'a> {
    /// The new image's name.
    pub reference: Option<&'a Reference>,
    /// Dockerfile instructions.
    pub changes: &'a [String],
    /// A remark for the history.
    pub message: String,
    /// Default: the host's.
    pub platform: Option<&'a Platform>,
}

impl Store {
    /// Makes an image with one layer of a tar archive, compressed or not. Its id.
    pub fn import(&self, source: impl Read + Send, import: &Import<'_>) -> Result<Digest> {
        let lease = self.lease();
        let mut container = ContainerConfig::default();
        apply_changes(&mut container, import.changes)?;
        let (_, plain) = decompress(source).context(|| "read the archive")?;
        let mut plain = io::BufReader::with_capacity(COPY_BYTES, plain);
        let layer = self.write_layer(&lease, LayerCompression::Gzip, |out| {
            io::copy(&mut plain, out).context(|| "read the archive")?;
            Ok(())
        })?;
        let Some(layer) = layer else {
            return Err(Error::Invalid("the archive is empty".to_owned()));
        };
        let now = Timestamp::now().to_string();
        let host = Platform::host();
        let mut config = blank(import.platform.unwrap_or(&host), &now);
        config.config = container;
        config.rootfs.diff_ids = vec![layer.diff_id];
        config.history = vec![History {
            created: Some(now),
            comment: (!import.message.is_empty()).then(|| import.message.clone()),
            ..History::default()
        }];
        let target = self.put_image(&lease, &config, vec![layer.descriptor])?;
        self.unpack_target(&lease, &target, &config)?;
        let id = target.digest.clone();
        self.publish(import.reference, target, None)?;
        Ok(id)
    }
}
