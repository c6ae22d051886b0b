//! The steps of a build, for other daemons.

use std::collections::HashSet;
use std::sync::Arc;

use hull_image::store::PackOptions;
use hull_oci::{Descriptor, Manifest, media_type};

use crate::builder::{Builder, Built, BuiltPlatform};
use crate::cache::record::{CONFIG, Config, MEMBER, Recorded, RecordedStep};
use crate::error::{Error, Result};
use crate::progress::Teller;
use crate::request::Login;
use crate::solve::Solved;

impl Built {
    /// Makes a cache of the steps in the store, kept by nothing except this result: of those that
    /// the result is made of, or of `all` that were needed. An OCI manifest.
    pub fn cache(&self, builder: &Builder, all: bool) -> Result<Descriptor> {
        let name = "preparing build cache for export";
        let mut teller = Teller::internal(&self.progress, &self.build, name);
        teller.start();
        let made = self.write_cache(builder, all);
        teller.finish(made.as_ref().err().map(ToString::to_string));
        made
    }

    /// Carries a cache that was made to a registry.
    pub fn push_cache(
        &self,
        builder: &Builder,
        cache: &Descriptor,
        reference: &str,
        login: Option<&Login>,
    ) -> Result<()> {
        let name = format!("exporting cache to registry {reference}");
        let mut teller = Teller::internal(&self.progress, &self.build, &name);
        teller.start();
        let pushed = builder.host.push_cache(cache, reference, login);
        teller.finish(pushed.as_ref().err().map(ToString::to_string));
        pushed.map_err(|error| Error::host(format!("export the cache to {reference}"), error))
    }

    /// Writes a cache that was made as an OCI layout in a tar archive, under the name by which
    /// BuildKit's clients look for one.
    pub fn write_cache_layout(
        &self,
        builder: &Builder,
        cache: &Descriptor,
        out: impl std::io::Write,
    ) -> Result<()> {
        let mut cache = cache.clone();
        let name = "org.opencontainers.image.ref.name".to_owned();
        cache.annotations.insert(name, "latest".to_owned());
        Ok(builder.store.save_document(&cache, out)?)
    }

    fn write_cache(&self, builder: &Builder, all: bool) -> Result<Descriptor> {
        let steps: Vec<&Arc<Solved>> = if all {
            self.solved.iter().collect()
        } else {
            let own = self.platforms.iter().flat_map(|platform| &platform.steps);
            own.filter_map(|step| step.solved.as_ref()).collect()
        };
        let mut config = Config::default();
        let mut layers = Vec::new();
        let mut recorded = Recorded::default();
        let mut seen = HashSet::new();
        for solved in steps {
            if solved.created.is_none() || !seen.insert(solved.key.clone()) {
                continue;
            }
            let packed = match solved.layer {
                Some(number) => self.pack(builder, number, &PackOptions::default())?,
                None => None,
            };
            let diff_id = packed.as_ref().map(|packed| packed.diff_id.clone());
            record(builder, solved, diff_id, &mut recorded)?;
            if let Some(packed) = packed
                && !config.rootfs.diff_ids.contains(&packed.diff_id)
            {
                config.rootfs.diff_ids.push(packed.diff_id);
                layers.push(packed.descriptor);
            }
        }
        config.recorded = Some(recorded);
        let put = |kind: &str, bytes: serde_json::Result<Vec<u8>>| -> Result<Descriptor> {
            let bytes = bytes.map_err(|error| Error::host("write the cache", error))?;
            Ok(builder.store.put_blob(&self.lease, kind, &bytes)?)
        };
        let config = put(CONFIG, serde_json::to_vec(&config))?;
        let manifest = Manifest::new(config, layers);
        put(media_type::MANIFEST, serde_json::to_vec(&manifest))
    }

    /// What an image says of the steps that it is made of: a member of its configuration.
    pub(super) fn inline_cache(
        &self,
        builder: &Builder,
        platform: &BuiltPlatform,
        layers: &[Option<hull_oci::Digest>],
    ) -> Result<(String, serde_json::Value)> {
        let mut recorded = Recorded::default();
        for (step, layer) in platform.steps.iter().zip(layers) {
            if let Some(solved) = step.solved.as_ref().filter(|one| one.created.is_some()) {
                record(builder, solved, layer.clone(), &mut recorded)?;
            }
        }
        let value = serde_json::to_value(&recorded);
        let value = value.map_err(|error| Error::host("write the cache", error))?;
        Ok((MEMBER.to_owned(), value))
    }
}

fn record(
    builder: &Builder,
    solved: &Solved,
    layer: Option<hull_oci::Digest>,
    recorded: &mut Recorded,
) -> Result<()> {
    let Some(known) = builder.cache.step(&solved.key)? else {
        // Pruned meanwhile: it is as if it had not been done.
        return Ok(());
    };
    recorded.steps.push(RecordedStep {
        key: solved.key.clone(),
        layer,
        ..known
    });
    for definition in builder.cache.aliases_of(&solved.key)? {
        recorded.aliases.push((definition, solved.key.clone()));
    }
    Ok(())
}
