//! Steps that were done elsewhere: read at the beginning of a build, brought when one is wanted.

use std::collections::HashMap;
use std::sync::Arc;

use hull_image::Store;
use hull_image::store::Lease;
use hull_oci::{Descriptor, Digest, Index, Manifest};

use super::origin::{CacheOrigin, Layout, Stored};
use super::record::{Config, RecordedStep};
use super::{Cache, Hit, NewStep, Packed};
use crate::error::Result;
use crate::host::Host;
use crate::progress::{Progress, Teller};
use crate::request::{BuildRequest, CacheSource};

/// Indexes that lie in one another.
const DEPTH_MAX: usize = 4;
/// How layers of a cache are packed.
pub(crate) const PLAIN: &str = "gzip";

/// How BuildKit's caches are known: by the kind of a descriptor, and by a member of an image's
/// configuration.
const BUILDKITS_CONFIG: &str = "application/vnd.buildkit.cacheconfig.";
const BUILDKITS_MEMBER: &str = "moby.buildkit.cache.v0";

/// What other caches have.
pub(crate) struct Imports {
    steps: HashMap<String, Imported>,
    aliases: HashMap<String, String>,
    /// Keeps what was brought until the build is over.
    pub(crate) lease: Arc<Lease>,
    store: Arc<Store>,
}

struct Imported {
    origin: Arc<dyn CacheOrigin>,
    step: RecordedStep,
    /// The blob of its layer.
    blob: Option<Descriptor>,
}

/// What reading needs.
pub(crate) struct Reading<'a> {
    pub(crate) request: &'a BuildRequest,
    pub(crate) host: &'a dyn Host,
    pub(crate) store: &'a Arc<Store>,
    pub(crate) progress: &'a Arc<dyn Progress>,
    pub(crate) build: &'a str,
}

impl Imports {
    /// Reads all caches that a request names. One that cannot be read is told of, and does not
    /// stop the build: it would only have made it quicker.
    pub(crate) fn read(reading: &Reading<'_>) -> Self {
        let mut imports = Self {
            steps: HashMap::new(),
            aliases: HashMap::new(),
            lease: Arc::new(reading.store.lease()),
            store: Arc::clone(reading.store),
        };
        for source in &reading.request.cache_from {
            let name = match source {
                CacheSource::Image(name) => name.clone(),
                CacheSource::Layout(..) => "a local directory".to_owned(),
                CacheSource::Origin(origin) => origin.name(),
            };
            let shown = format!("importing cache manifest from {name}");
            let mut teller = Teller::internal(reading.progress, reading.build, &shown);
            teller.start();
            let outcome = imports.read_one(reading, source);
            if let Err(why) = &outcome {
                tracing::debug!(cache = name, %why, "no cache from there");
            }
            teller.finish(outcome.err());
        }
        imports
    }

    fn read_one(
        &mut self,
        reading: &Reading<'_>,
        source: &CacheSource,
    ) -> std::result::Result<(), String> {
        let name = match source {
            CacheSource::Origin(origin) => return self.take(origin),
            CacheSource::Layout(tree, digest) => {
                return self.take(
                    &(Arc::new(Layout {
                        tree: Arc::clone(tree),
                        digest: digest.clone(),
                    }) as Arc<dyn CacheOrigin>),
                );
            }
            CacheSource::Image(name) => name,
        };
        let here: Arc<dyn CacheOrigin> = Arc::new(Stored {
            store: Arc::clone(reading.store),
            image: name.clone(),
        });
        if self.take(&here).is_ok() {
            return Ok(());
        }
        let reference: hull_oci::Reference = name
            .parse()
            .map_err(|error| format!("{name:?} is no image's name: {error}"))?;
        let login = reading.request.logins.login(reference.domain())?;
        let there = reading.host.remote_cache(name, login.as_ref());
        self.take(&there.map_err(|error| error.to_string())?)
    }

    /// Takes what a cache has; an error if that is nothing.
    fn take(&mut self, origin: &Arc<dyn CacheOrigin>) -> std::result::Result<(), String> {
        let root = origin.root()?;
        if self.gather(origin, &root, 0)? {
            return Ok(());
        }
        let name = origin.name();
        Err(match is_buildkits(origin, &root, 0) {
            true => format!(
                "{name} holds a cache in BuildKit's form: its steps are known by other keys than Hull's, so \
                 nothing of it can be used; build once with --cache-to to put Hull's in its place"
            ),
            false => {
                format!("{name} holds no cache of Hull's of today's form: build it with --cache-to")
            }
        })
    }

    fn gather(
        &mut self,
        origin: &Arc<dyn CacheOrigin>,
        bytes: &[u8],
        depth: usize,
    ) -> std::result::Result<bool, String> {
        if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) {
            let config = document(origin, &manifest.config)?;
            // Another's configuration tells of no steps, however it is made.
            let config: Config = serde_json::from_slice(&config).unwrap_or_default();
            return Ok(self.add(origin, &manifest, config));
        }
        let index: Index =
            serde_json::from_slice(bytes).map_err(|error| format!("it is no index: {error}"))?;
        if depth == DEPTH_MAX {
            return Err("its indexes lie too deep in one another".to_owned());
        }
        let mut found = false;
        for child in index.manifests.iter().filter(|child| is_document(child)) {
            let bytes = document(origin, child)?;
            found |= self.gather(origin, &bytes, depth + 1)?;
        }
        Ok(found)
    }

    fn add(&mut self, origin: &Arc<dyn CacheOrigin>, manifest: &Manifest, config: Config) -> bool {
        let Some(recorded) = config.recorded else {
            return false;
        };
        let pairs = config.rootfs.diff_ids.into_iter().zip(&manifest.layers);
        let blobs: HashMap<Digest, &Descriptor> = pairs.collect();
        for step in recorded.steps {
            let blob = step.layer.as_ref().and_then(|id| blobs.get(id));
            if step.layer.is_some() && blob.is_none() {
                continue;
            }
            let imported = Imported {
                origin: Arc::clone(origin),
                blob: blob.map(|blob| (*blob).clone()),
                step,
            };
            self.steps
                .entry(imported.step.key.clone())
                .or_insert(imported);
        }
        self.aliases.extend(recorded.aliases);
        true
    }

    /// What a definition came out as elsewhere.
    pub(crate) fn alias(&self, definition: &str) -> Option<&str> {
        self.aliases.get(definition).map(String::as_str)
    }

    /// Whether the step was done elsewhere.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.steps.contains_key(key)
    }

    /// Brings a step that was done elsewhere into the cache; its layer is held as if it had been
    /// found there. `None`: nobody has it, or it cannot be had (then it is done again).
    pub(crate) fn bring(&self, cache: &Cache, key: &str) -> Result<Option<Hit>> {
        let Some(imported) = self.steps.get(key) else {
            return Ok(None);
        };
        let layer = match self.unpack(imported) {
            Ok(layer) => layer,
            Err(why) => {
                let step = &imported.step.description;
                tracing::warn!(step, %why, "cannot use a step of another cache");
                return Ok(None);
            }
        };
        let hit = cache.add(&NewStep {
            key,
            outcome: &imported.step.outcome,
            below: imported.step.below.as_deref(),
            layer,
            description: &imported.step.description,
            bytes: imported.step.bytes,
            created: Some(imported.step.created),
        })?;
        if let (Some(number), Some(blob), Some(diff_id)) =
            (layer, &imported.blob, &imported.step.layer)
        {
            let packed = Packed {
                descriptor: blob.clone(),
                diff_id: diff_id.clone(),
            };
            let form = match blob.media_type.as_str() {
                kind if kind.ends_with("zstd") => "zstd",
                kind if kind.ends_with("gzip") => PLAIN,
                _ => "none",
            };
            cache.add_packed(number, form, &packed)?;
        }
        Ok(Some(hit))
    }

    fn unpack(&self, imported: &Imported) -> std::result::Result<Option<u64>, String> {
        let (Some(blob), Some(diff_id)) = (&imported.blob, &imported.step.layer) else {
            return Ok(None);
        };
        self.lease.protect(&blob.digest);
        self.lease.protect(diff_id);
        if !self.store.has_whole(blob) {
            imported.origin.bring(&self.store, &self.lease, blob)?;
        }
        let unpacked = self.store.unpack_built(&self.lease, blob, diff_id);
        unpacked.map(Some).map_err(|error| error.to_string())
    }
}

/// Whether a child is a manifest or an index itself: in BuildKit's caches, layers are children too.
fn is_document(child: &Descriptor) -> bool {
    let kind = &child.media_type;
    !child.is_attestation()
        && (kind.is_empty() || kind.contains("manifest") || kind.contains("index"))
}

/// Whether a cache, or what an image says of its steps, is BuildKit's own.
fn is_buildkits(origin: &Arc<dyn CacheOrigin>, root: &[u8], depth: usize) -> bool {
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(root) {
        return is_buildkits_config(&manifest.config)
            || document(origin, &manifest.config).is_ok_and(|config| tells_as_buildkit(&config));
    }
    let Ok(index) = serde_json::from_slice::<Index>(root) else {
        return false;
    };
    let mut children = index.manifests.iter().filter(|child| is_document(child));
    let deeper = |child: &Descriptor| {
        document(origin, child).is_ok_and(|bytes| is_buildkits(origin, &bytes, depth + 1))
    };
    index.manifests.iter().any(is_buildkits_config) || depth < DEPTH_MAX && children.any(deeper)
}

fn is_buildkits_config(descriptor: &Descriptor) -> bool {
    descriptor.media_type.starts_with(BUILDKITS_CONFIG)
}

fn tells_as_buildkit(config: &[u8]) -> bool {
    let config = serde_json::from_slice::<serde_json::Value>(config);
    config.is_ok_and(|config| !config[BUILDKITS_MEMBER].is_null())
}

/// A document, which must be what its name says.
fn document(
    origin: &Arc<dyn CacheOrigin>,
    descriptor: &Descriptor,
) -> std::result::Result<Vec<u8>, String> {
    let bytes = origin.document(descriptor)?;
    let mut hasher = hull_oci::Hasher::new(descriptor.digest.algorithm());
    hasher.update(&bytes);
    if hasher.finish() == descriptor.digest {
        return Ok(bytes);
    }
    Err(format!("the document {} is damaged", descriptor.digest))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Documents by their digests; the last one is the root.
    #[derive(Default)]
    struct Documents(HashMap<Digest, Vec<u8>>, Vec<u8>);

    impl Documents {
        /// Adds a document; its descriptor.
        fn put(&mut self, kind: &str, document: &Value) -> Value {
            let bytes = serde_json::to_vec(document).expect("a document");
            let digest = Digest::of(&bytes);
            let descriptor =
                json!({"mediaType": kind, "digest": digest.to_string(), "size": bytes.len()});
            self.1.clone_from(&bytes);
            self.0.insert(digest, bytes);
            descriptor
        }
    }

    impl CacheOrigin for Documents {
        fn name(&self) -> String {
            "documents".to_owned()
        }

        fn root(&self) -> std::result::Result<Vec<u8>, String> {
            Ok(self.1.clone())
        }

        fn document(&self, descriptor: &Descriptor) -> std::result::Result<Vec<u8>, String> {
            let found = self.0.get(&descriptor.digest).cloned();
            found.ok_or_else(|| "nobody should ask for a layer".to_owned())
        }

        fn bring(
            &self,
            _: &Arc<Store>,
            _: &Arc<Lease>,
            _: &Descriptor,
        ) -> std::result::Result<(), String> {
            Err("nothing is brought".to_owned())
        }
    }

    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const CACHE: &str = "application/vnd.buildkit.cacheconfig.v0";

    fn is_buildkits(documents: Documents) -> bool {
        let origin: Arc<dyn CacheOrigin> = Arc::new(documents);
        let root = origin.root().expect("there is one");
        super::is_buildkits(&origin, &root, 0)
    }

    fn layer() -> Value {
        let digest = Digest::of(b"a layer");
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest.to_string(), "size": 7})
    }

    #[test]
    fn buildkit_s_caches_are_recognised_in_each_of_their_forms() {
        let records = json!({"layers": [], "records": []});
        let mut index = Documents::default();
        let config = index.put(CACHE, &records);
        let list = index.put(
            INDEX,
            &json!({"schemaVersion": 2, "manifests": [layer(), config]}),
        );
        assert!(is_buildkits(index));
        let mut nested = Documents::default();
        let config = nested.put(CACHE, &records);
        let same = nested.put(
            INDEX,
            &json!({"schemaVersion": 2, "manifests": [layer(), config]}),
        );
        assert_eq!(same, list);
        nested.put(INDEX, &json!({"schemaVersion": 2, "manifests": [same]}));
        assert!(is_buildkits(nested));
        let mut manifest = Documents::default();
        let config = manifest.put(CACHE, &records);
        let whole = json!({"schemaVersion": 2, "config": config, "layers": [layer()]});
        manifest.put(MANIFEST, &whole);
        assert!(is_buildkits(manifest));
    }

    #[test]
    fn what_an_image_says_of_its_steps_is_buildkit_s_only_if_it_is() {
        for (member, expected) in [("moby.buildkit.cache.v0", true), ("other", false)] {
            let mut image = Documents::default();
            let config = json!({"architecture": "amd64", "os": "linux", member: "e30="});
            let config = image.put("application/vnd.oci.image.config.v1+json", &config);
            let whole = json!({"schemaVersion": 2, "config": config, "layers": [layer()]});
            let child = image.put(MANIFEST, &whole);
            image.put(INDEX, &json!({"schemaVersion": 2, "manifests": [child]}));
            assert_eq!(is_buildkits(image), expected, "{member}");
        }
    }
}
