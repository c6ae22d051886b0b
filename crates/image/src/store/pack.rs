//! New layers and images: a tree becomes a layer, layers become an image.

use std::io::{self, Write};
use std::path::Path;

use flate2::write::GzEncoder;
use hull_oci::{Algorithm, Descriptor, Digest, Hasher, ImageConfig, Index, Manifest, media_type};

use super::blobs::BlobWriter;
use super::commit::to_json;
use super::{Lease, Store};
use crate::compression::{gzip, zstd};
use crate::diff::layer_tar;
use crate::error::{Context as _, Error, Result};

/// How to make a layer.
#[derive(Debug, Clone, Copy, Default)]
pub struct PackOptions {
    /// How its blob is compressed.
    pub compression: LayerCompression,
    /// Unix seconds: no file is younger. The same tree gives the same bytes then.
    pub mtime_max: Option<i64>,
}

/// How a layer's blob is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LayerCompression {
    /// What every engine reads.
    #[default]
    Gzip,
    /// Smaller and quicker to read; Docker reads it since version 23.
    Zstd,
    /// Not at all.
    None,
}

/// A layer that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    /// The blob.
    pub descriptor: Descriptor,
    /// The digest of the plain archive.
    pub diff_id: Digest,
}

impl Store {
    /// Makes a layer of the upper directory of an overlay, whose marks become whiteouts. `None` if
    /// nothing is in it. The directory must be at rest.
    pub fn pack_layer(
        &self,
        lease: &Lease,
        upper: &Path,
        options: &PackOptions,
    ) -> Result<Option<Packed>> {
        let mtime_max = options.mtime_max;
        self.write_layer(lease, options.compression, |out| {
            layer_tar(upper, mtime_max, out)
        })
    }

    /// Makes a layer of the archive that `write` writes. `None` if nothing is in it.
    pub fn write_layer(
        &self,
        lease: &Lease,
        compression: LayerCompression,
        write: impl FnOnce(&mut LayerWriter) -> Result<()>,
    ) -> Result<Option<Packed>> {
        let mut writer = LayerWriter::new(self.blobs.writer(None)?, compression)?;
        write(&mut writer)?;
        if !writer.has_content {
            return Ok(None);
        }
        let diff_id = writer.hasher.finish();
        let blob = writer.encoder.finish().context(|| "write the layer")?;
        let (digest, size) = blob.commit_leased(lease)?;
        let media_type = match compression {
            LayerCompression::Gzip => media_type::LAYER_GZIP,
            LayerCompression::Zstd => media_type::LAYER_ZSTD,
            LayerCompression::None => media_type::LAYER,
        };
        Ok(Some(Packed {
            descriptor: Descriptor::new(media_type, digest, size),
            diff_id,
        }))
    }

    /// Stores the documents of a new image for one platform; its layers are here. What it returns
    /// can be [published](Self::publish), or be a member of an [index](Self::put_index).
    pub fn put_image(
        &self,
        lease: &Lease,
        config: &ImageConfig,
        layers: Vec<Descriptor>,
    ) -> Result<Descriptor> {
        let config_bytes = to_json(config)?;
        let config_descriptor = self.put_blob(lease, media_type::CONFIG, &config_bytes)?;
        let manifest = Manifest::new(config_descriptor, layers);
        let mut target = self.put_blob(lease, media_type::MANIFEST, &to_json(&manifest)?)?;
        target.platform = Some(config.platform());
        Ok(target)
    }

    /// Stores the index of an image for several platforms.
    pub fn put_index(&self, lease: &Lease, manifests: Vec<Descriptor>) -> Result<Descriptor> {
        self.put_blob(lease, media_type::INDEX, &to_json(&Index::new(manifests))?)
    }

    /// Unpacks an image that was just made.
    pub(super) fn unpack_target(
        &self,
        lease: &Lease,
        target: &Descriptor,
        config: &ImageConfig,
    ) -> Result<()> {
        let manifest = self
            .manifest(&target.digest)?
            .ok_or_else(|| Error::NoSuchImage(target.digest.to_string()))?;
        self.ensure_unpacked(lease, &manifest, config, &mut |_| {})?;
        Ok(())
    }
}

/// A new layer on its way into the store: takes the bytes of an archive.
pub struct LayerWriter {
    encoder: Encoder,
    hasher: Hasher,
    /// Whether there is anything but the end of an archive.
    has_content: bool,
}

enum Encoder {
    Gzip(GzEncoder<BlobWriter>),
    Zstd(::zstd::Encoder<'static, BlobWriter>),
    None(BlobWriter),
}

impl LayerWriter {
    fn new(blob: BlobWriter, compression: LayerCompression) -> Result<Self> {
        let encoder = match compression {
            LayerCompression::Gzip => Encoder::Gzip(gzip(blob)),
            LayerCompression::Zstd => Encoder::Zstd(zstd(blob).context(|| "begin a layer")?),
            LayerCompression::None => Encoder::None(blob),
        };
        Ok(Self {
            encoder,
            hasher: Hasher::new(Algorithm::Sha256),
            has_content: false,
        })
    }
}

impl Encoder {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
            Self::None(blob) => blob,
        }
    }

    fn finish(self) -> io::Result<BlobWriter> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
            Self::None(blob) => Ok(blob),
        }
    }
}

impl Write for LayerWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.encoder.writer().write_all(bytes)?;
        self.hasher.update(bytes);
        self.has_content = self.has_content || bytes.iter().any(|&byte| byte != 0);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.writer().flush()
    }
}
