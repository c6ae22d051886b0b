//! Where else finished steps may be found, and where they are to be taken.
//!
//! A kind that there is not is refused by its name: whoever asks for a cache relies on it.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

use hull_build::{
    cache::{self, CacheOrigin},
    request::CacheSource,
};
use hull_image::{Store, store::Lease};
use hull_oci::{Descriptor, Digest};
use serde::Deserialize;
use tokio::runtime::Handle;

use crate::{
    attributes::{is_true, list},
    grpc::Status,
    proto::{control::CacheOptionsEntry, gateway},
    session::{Session, content::Reading},
};

/// How attributes name caches to import: the old way (names of images), and the one of today.
const CACHE_FROM: &str = "cache-from";
const CACHE_IMPORTS: &str = "cache-imports";

/// A cache to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Import {
    /// What a registry has under a name.
    Registry(String),
    /// What the client has in a directory: this document of it.
    Local { store: String, digest: String },
}

/// Where a cache is to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Export {
    pub(crate) to: To,
    /// All steps, not only those the result is made of.
    pub(crate) all: bool,
    /// The build is good without it.
    pub(crate) ignore_error: bool,
}

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum To {
    /// Into the image.
    Inline,
    /// Under a name at a registry.
    Registry(String),
    /// Into a store of the client's.
    Local(String),
}

type Attributes = HashMap<String, String>;

/// Where a solve wants its cache.
pub(crate) fn exports(entries: &[CacheOptionsEntry]) -> Result<Vec<Export>, Status> {
    entries.iter().map(export).collect()
}

fn export(entry: &CacheOptionsEntry) -> Result<Export, Status> {
    let needs = |name: &str| {
        let found = entry.attrs.get(name).filter(|text| !text.is_empty());
        found.cloned().ok_or_else(|| {
            let kind = &entry.r#type;
            Status::invalid(format!("{kind} cache exporter requires {name}"))
        })
    };
    let to = match entry.r#type.as_str() {
        "inline" => To::Inline,
        "registry" => To::Registry(needs("ref")?),
        "local" => To::Local(format!("local:{}", needs("dest")?)),
        other => return Err(unknown("exporter", other)),
    };
    let text = |name: &str| entry.attrs.get(name).map_or("", String::as_str);
    Ok(Export {
        to,
        all: text("mode") == "max",
        ignore_error: is_true(text("ignore-error")),
    })
}

/// The caches that a client names, whichever way it does.
pub(crate) fn imports(
    entries: &[gateway::CacheOptionsEntry],
    attributes: &Attributes,
    solve: &[CacheOptionsEntry],
) -> Result<Vec<Import>, Status> {
    /// As clients write them into an attribute.
    #[derive(Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    #[derive(Default)]
    struct Entry {
        r#type: String,
        attrs: BTreeMap<String, String>,
    }
    let mut all: Vec<(String, Attributes)> = Vec::new();
    all.extend(entries.iter().map(|e| (e.r#type.clone(), e.attrs.clone())));
    all.extend(solve.iter().map(|e| (e.r#type.clone(), e.attrs.clone())));
    if let Some(text) = attributes
        .get(CACHE_IMPORTS)
        .filter(|text| !text.is_empty())
    {
        let entries: Vec<Entry> = serde_json::from_str(text)
            .map_err(|error| Status::invalid(format!("invalid {CACHE_IMPORTS}: {error}")))?;
        let pair = |entry: Entry| (entry.r#type, entry.attrs.into_iter().collect());
        all.extend(entries.into_iter().map(pair));
    }
    for name in list(attributes.get(CACHE_FROM).map_or("", String::as_str)) {
        let attributes = HashMap::from([("ref".to_owned(), name)]);
        all.push(("registry".to_owned(), attributes));
    }
    let mut imports = Vec::new();
    for (kind, attributes) in &all {
        if let Some(import) = import(kind, attributes)?
            && !imports.contains(&import)
        {
            imports.push(import);
        }
    }
    Ok(imports)
}

/// `None`: the client knows of nothing there yet.
fn import(kind: &str, attributes: &Attributes) -> Result<Option<Import>, Status> {
    let text = |name: &str| {
        attributes
            .get(name)
            .filter(|text| !text.is_empty())
            .cloned()
    };
    match kind {
        "registry" => {
            let missing = || Status::invalid("registry cache importer requires ref");
            Ok(Some(Import::Registry(text("ref").ok_or_else(missing)?)))
        }
        "local" => Ok(match (text("src"), text("digest")) {
            (Some(source), Some(digest)) => Some(Import::Local {
                store: format!("local:{source}"),
                digest,
            }),
            _ => None,
        }),
        other => Err(unknown("importer", other)),
    }
}

fn unknown(what: &str, kind: &str) -> Status {
    Status::unimplemented(format!(
        "unknown cache {what}: {kind:?}: there are registry, local and (to export) inline"
    ))
}

/// The caches, as the builder asks for them.
pub(crate) fn sources(imports: Vec<Import>, session: &Arc<Session>) -> Vec<CacheSource> {
    let source = |import| match import {
        Import::Registry(name) => CacheSource::Image(name),
        Import::Local { store, digest } => CacheSource::Origin(Arc::new(Clients {
            session: Arc::clone(session),
            runtime: Handle::current(),
            store,
            digest,
        })),
    };
    imports.into_iter().map(source).collect()
}

/// A cache in a store of the client's.
struct Clients {
    session: Arc<Session>,
    runtime: Handle,
    store: String,
    digest: String,
}

impl Clients {
    fn read(&self, digest: &str) -> Result<Vec<u8>, String> {
        let store = self.session.store(&self.store);
        let most = usize::try_from(cache::DOCUMENT_BYTES_MAX).unwrap_or(usize::MAX);
        let reading = store.read_all(digest, most);
        let read = self.runtime.block_on(reading);
        read.map_err(|status| status.message)
    }
}

impl CacheOrigin for Clients {
    fn name(&self) -> String {
        self.store.clone()
    }

    fn root(&self) -> Result<Vec<u8>, String> {
        let bytes = self.read(&self.digest)?;
        if Digest::of(&bytes).as_str() == self.digest {
            return Ok(bytes);
        }
        Err(format!("the document {} is damaged", self.digest))
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, String> {
        self.read(descriptor.digest.as_str())
    }

    fn bring(
        &self,
        store: &Arc<Store>,
        lease: &Arc<Lease>,
        blob: &Descriptor,
    ) -> Result<(), String> {
        let from = self.session.store(&self.store);
        let reading = self.runtime.block_on(from.read(blob.digest.as_str()));
        let mut pieces = Pieces {
            reading: reading.map_err(|status| status.message)?,
            runtime: &self.runtime,
            rest: io::Cursor::default(),
        };
        cache::keep(store, lease, &blob.digest, &mut pieces)
    }
}

/// A blob under way, as the builder's threads read it.
struct Pieces<'a> {
    reading: Reading,
    runtime: &'a Handle,
    /// What has come and is not read.
    rest: io::Cursor<Vec<u8>>,
}

impl io::Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.rest.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let piece = self.runtime.block_on(self.reading.next());
            match piece.map_err(|status| io::Error::other(status.message))? {
                Some(piece) => self.rest = io::Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, attributes: &[(&str, &str)]) -> CacheOptionsEntry {
        let attrs = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        CacheOptionsEntry {
            r#type: kind.to_owned(),
            attrs: attrs.collect(),
        }
    }

    #[test]
    fn exports_are_understood() {
        let found = exports(&[
            entry("local", &[("dest", "x"), ("mode", "max")]),
            entry("registry", &[("ref", "a/b"), ("ignore-error", "true")]),
            entry("inline", &[]),
        ]);
        let found = found.unwrap();
        assert_eq!(found[0].to, To::Local("local:x".to_owned()));
        assert!(found[0].all && !found[0].ignore_error);
        assert!(found[1].ignore_error && !found[1].all);
        assert_eq!(found[2].to, To::Inline);
    }

    #[test]
    fn kinds_that_there_are_not_are_refused_by_name() {
        let error = exports(&[entry("gha", &[])]).unwrap_err();
        assert!(error.message.contains("gha"), "{error}");
        let error = imports(&[], &HashMap::new(), &[entry("s3", &[])]).unwrap_err();
        assert!(error.message.contains("s3"), "{error}");
        assert!(exports(&[entry("local", &[])]).is_err());
    }

    #[test]
    fn imports_are_found_wherever_a_client_names_them_and_each_once() {
        let attributes = HashMap::from([
            (
                CACHE_IMPORTS.to_owned(),
                r#"[{"Type":"local","Attrs":{"src":"d","digest":"sha256:aa"}},{"Type":"local","Attrs":{"src":"new"}}]"#
                    .to_owned(),
            ),
            (CACHE_FROM.to_owned(), "a/b".to_owned()),
        ]);
        let solve = [entry("registry", &[("ref", "a/b")])];
        let local = Import::Local {
            store: "local:d".to_owned(),
            digest: "sha256:aa".to_owned(),
        };
        assert_eq!(
            imports(&[], &attributes, &solve).unwrap(),
            [Import::Registry("a/b".to_owned()), local]
        );
    }
}
