//! What becomes of a result: an image, an archive, files.

mod annotation;
mod attest;
mod cache;

use std::io::Write;

use hull_image::store::{LayerCompression, PackOptions};
use hull_oci::{Descriptor, Digest, History, ImageConfig, Index, Manifest, Reference, media_type};
use hull_sys::beneath::Root;
use jiff::Timestamp;

use crate::builder::{Builder, Built, BuiltPlatform};
use crate::cache::import::PLAIN;
use crate::cache::{Packed, now};
use crate::error::{Error, Result};
use crate::progress::Teller;

pub use annotation::{Annotation, AnnotationPlace};
pub use attest::{Attest, Provenance};
pub(crate) use attest::{Facts, Material};

/// An image to be made.
#[derive(Debug, Clone, Default)]
pub struct ImageOutput {
    /// Its names; none: it is kept without.
    pub names: Vec<Reference>,
    /// What it is called by them.
    pub naming: Naming,
    /// Words that travel with it.
    pub annotations: Vec<Annotation>,
    /// How the blobs of its own layers are compressed. Its base's stay as they are.
    pub compression: LayerCompression,
    /// All that was done becomes one layer on top of the base.
    pub squash: bool,
    /// What is stated about it.
    pub attest: Attest,
    /// The image tells of its steps, so that other daemons need not do them again.
    pub inline_cache: bool,
}

/// What an image is called by the names it is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Naming {
    /// By them.
    #[default]
    AsGiven,
    /// By their repositories and its digest, so that nothing that has such a name loses it.
    ByDigest,
    /// Both ways.
    Both,
}

impl Naming {
    /// The names of an image with that digest.
    pub fn names(self, given: &[Reference], digest: &Digest) -> Vec<Reference> {
        let by_digest = |name: &Reference| name.clone().with_digest(digest.clone());
        let canonical = given.iter().map(by_digest);
        match self {
            Self::AsGiven => given.to_vec(),
            Self::ByDigest => canonical.collect(),
            Self::Both => given.iter().cloned().chain(canonical).collect(),
        }
    }
}

/// The remark in an image's history that other tools know.
const COMMENT: &str = "buildkit.dockerfile.v0";

impl Built {
    /// Makes an image of it in the store: the descriptor of its manifest, or of the index of
    /// several. Nothing is named before everything is there.
    pub fn image(&self, builder: &Builder, output: &ImageOutput) -> Result<Descriptor> {
        let mut teller = Teller::internal(&self.progress, &self.build, "exporting to image");
        teller.start();
        let made = self.write_image(builder, output, &teller);
        let named = made.and_then(|target| {
            let names = output.naming.names(&output.names, &target.digest);
            for name in &names {
                let started = Timestamp::now();
                teller.status(&format!("naming to {name}"), 0, 0, started, true);
            }
            builder.store.name_built(&target, &names)?;
            Ok(target)
        });
        teller.finish(named.as_ref().err().map(ToString::to_string));
        named
    }

    /// As [`image`](Self::image), but kept by nothing except this result.
    pub fn unnamed_image(&self, builder: &Builder, output: &ImageOutput) -> Result<Descriptor> {
        let teller = Teller::internal(&self.progress, &self.build, "exporting to image");
        self.write_image(builder, output, &teller)
    }

    /// Writes an archive that `docker load` takes, which is an OCI layout as well.
    pub fn archive(
        &self,
        builder: &Builder,
        output: &ImageOutput,
        out: impl Write,
    ) -> Result<Descriptor> {
        let mut teller = Teller::internal(
            &self.progress,
            &self.build,
            "exporting to docker image format",
        );
        teller.start();
        let written = self
            .write_image(builder, output, &teller)
            .and_then(|target| {
                builder.store.save_built(&target, &output.names, out)?;
                Ok(target)
            });
        teller.finish(written.as_ref().err().map(ToString::to_string));
        written
    }

    /// Writes the files as a tar archive; see [`roots`](Self::roots).
    pub fn tar(&self, builder: &Builder, split: Option<bool>, out: impl Write) -> Result<()> {
        let mut teller =
            Teller::internal(&self.progress, &self.build, "exporting to client tarball");
        teller.start();
        let written = self
            .roots(builder, split)
            .and_then(|roots| Ok(hull_image::archive::export_all(&roots, out)?));
        teller.finish(written.as_ref().err().map(ToString::to_string));
        written
    }

    /// The files of all platforms, each with the directory it is to lie in: `linux_arm64`. With one
    /// platform (unless `split` or the build says so) it is nameless: the result itself.
    pub fn roots(&self, builder: &Builder, split: Option<bool>) -> Result<Vec<(String, Root)>> {
        let is_split = split.unwrap_or(self.is_many);
        if !is_split && self.platforms.len() > 1 {
            let message = "the files of several platforms cannot lie in one directory: leave \
                           platform-split out, or build for one platform";
            return Err(Error::invalid(message, None));
        }
        let one = |platform: &BuiltPlatform| {
            let directory = match is_split {
                true => platform.platform.to_string().replace('/', "_"),
                false => String::new(),
            };
            Ok((directory, self.root(builder, platform)?))
        };
        let mut roots: Vec<_> = self.platforms.iter().map(one).collect::<Result<_>>()?;
        roots.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(roots)
    }

    /// The files of one platform, read-only, as long as the root lives.
    pub fn root(&self, builder: &Builder, platform: &BuiltPlatform) -> Result<Root> {
        if platform.layers.is_empty() {
            let nothing = Error::invalid("the result is empty: there is nothing to export", None);
            return Err(nothing);
        }
        Ok(builder.overlay.mount_layers(&platform.layers)?)
    }

    fn write_image(
        &self,
        builder: &Builder,
        output: &ImageOutput,
        teller: &Teller,
    ) -> Result<Descriptor> {
        let mut manifests = Vec::new();
        for platform in &self.platforms {
            let mut manifest = self.write_platform(builder, platform, output, teller)?;
            let place = AnnotationPlace::Descriptor;
            let words = annotation::at(&output.annotations, place, Some(&platform.platform));
            manifest.annotations.extend(words);
            manifests.push(manifest);
        }
        if output.attest.is_any() {
            let started = Timestamp::now();
            let images = manifests.clone();
            for (platform, image) in self.platforms.iter().zip(&images) {
                manifests.push(self.attest(builder, platform, image, output)?);
            }
            teller.status("exporting attestations", 0, 0, started, true);
        }
        let words = annotation::at(&output.annotations, AnnotationPlace::Index, None);
        if let ([sole], false) = (&manifests[..], self.is_many) {
            if words.is_empty() {
                return Ok(sole.clone());
            }
            let message = "index annotations need an index: build for several platforms, or with \
                           --attest";
            return Err(Error::invalid(message, None));
        }
        let mut index = Index::new(manifests);
        index.annotations = words;
        let text =
            serde_json::to_vec(&index).map_err(|error| Error::host("write the index", error))?;
        Ok(builder
            .store
            .put_blob(&self.lease, media_type::INDEX, &text)?)
    }

    fn write_platform(
        &self,
        builder: &Builder,
        platform: &BuiltPlatform,
        output: &ImageOutput,
        teller: &Teller,
    ) -> Result<Descriptor> {
        let started = Timestamp::now();
        let (mut layers, mut config) = self.beginning(builder, platform)?;
        let mut last = config.created.clone();
        let packing = self.packing(output.compression);
        let squashed = if output.squash {
            Some(self.squash(builder, platform, &packing)?)
        } else {
            None
        };
        let mut own = Vec::new();
        for step in &platform.steps {
            let created = step.solved.as_ref().and_then(|solved| solved.created);
            let created = created.or_else(|| last.is_none().then(now));
            if let Some(seconds) = created {
                last = Some(self.moment(seconds));
            }
            let packed = match step.solved.as_ref().and_then(|solved| solved.layer) {
                Some(number) if squashed.is_none() => self.pack(builder, number, &packing)?,
                _ => None,
            };
            config.history.push(History {
                created: self.epoch.map(text_of).or_else(|| last.clone()),
                created_by: Some(step.created_by.clone()),
                author: None,
                comment: Some(COMMENT.to_owned()),
                empty_layer: packed.is_none(),
            });
            own.push(packed.as_ref().map(|packed| packed.diff_id.clone()));
            if let Some(packed) = packed {
                layers.push(packed.descriptor);
                config.rootfs.diff_ids.push(packed.diff_id);
            }
        }
        if output.inline_cache && !output.squash {
            let (name, value) = self.inline_cache(builder, platform, &own)?;
            config.other.insert(name, value);
        }
        if let Some(Some(packed)) = squashed {
            layers.push(packed.descriptor);
            config.rootfs.diff_ids.push(packed.diff_id);
            config.history.push(History {
                created: last.clone(),
                comment: Some("merge of all steps (squash)".to_owned()),
                ..History::default()
            });
        }
        config.created = self
            .epoch
            .map(text_of)
            .or(last)
            .or_else(|| Some(text_of(now())));
        teller.status("exporting layers", 0, 0, started, true);
        let started = Timestamp::now();
        let place = AnnotationPlace::Manifest;
        let words = annotation::at(&output.annotations, place, Some(&platform.platform));
        let target = builder
            .store
            .put_built(&self.lease, &config, layers, &words)?;
        teller.status(
            &format!("writing image {}", target.digest),
            0,
            0,
            started,
            true,
        );
        Ok(target)
    }

    /// The base's layers and configuration, the latter with what the stage changed.
    fn beginning(
        &self,
        builder: &Builder,
        platform: &BuiltPlatform,
    ) -> Result<(Vec<Descriptor>, ImageConfig)> {
        let mut config = platform.config.clone();
        let Some(base) = &platform.base else {
            config.created = None;
            return Ok((Vec::new(), config));
        };
        let bytes = builder.store.read_blob(&base.manifest)?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|error| Error::host(format!("read the manifest {}", base.manifest), error))?;
        for layer in &manifest.layers {
            self.lease.protect(&layer.digest);
        }
        Ok((manifest.layers, config))
    }

    /// A step's layer as images hold it; `None`: there is nothing in it.
    fn pack(
        &self,
        builder: &Builder,
        number: u64,
        packing: &PackOptions,
    ) -> Result<Option<Packed>> {
        let form = form(packing);
        if let Some(packed) = builder.cache.packed(number, &form)? {
            self.lease.protect(&packed.descriptor.digest);
            self.lease.protect(&packed.diff_id);
            if builder.store.has_whole(&packed.descriptor) {
                return Ok(Some(packed));
            }
        }
        let packed = builder.store.pack_built(&self.lease, number, packing)?;
        let packed = packed.map(Packed::from);
        if let Some(packed) = &packed {
            builder.cache.add_packed(number, &form, packed)?;
        }
        Ok(packed)
    }

    /// One layer of everything that was done on top of the base.
    fn squash(
        &self,
        builder: &Builder,
        platform: &BuiltPlatform,
        packing: &PackOptions,
    ) -> Result<Option<Packed>> {
        let steps = platform
            .steps
            .iter()
            .filter_map(|step| step.solved.as_ref()?.layer);
        let numbers: Vec<u64> = steps.collect();
        let below = platform
            .base
            .as_ref()
            .map_or(&[][..], |base| &base.layers[..]);
        let packed = builder
            .store
            .pack_squashed(&self.lease, below, &numbers, packing)?;
        Ok(packed.map(Packed::from))
    }

    fn packing(&self, compression: LayerCompression) -> PackOptions {
        PackOptions {
            compression,
            mtime_max: self.epoch,
        }
    }

    /// The moment that a step is said to have been done.
    fn moment(&self, seconds: i64) -> String {
        text_of(self.epoch.map_or(seconds, |epoch| seconds.min(epoch)))
    }
}

/// What the cache calls a layer that is packed so.
fn form(packing: &PackOptions) -> String {
    let compression = match packing.compression {
        LayerCompression::Gzip => PLAIN,
        LayerCompression::Zstd => "zstd",
        LayerCompression::None => "none",
    };
    match packing.mtime_max {
        None => compression.to_owned(),
        Some(epoch) => format!("{compression} {epoch}"),
    }
}

fn text_of(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}
