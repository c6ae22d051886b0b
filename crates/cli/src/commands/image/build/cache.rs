//! `--cache-from` and `--cache-to`: steps that were done elsewhere, or shall not be done there again.

use std::path::PathBuf;

use hull_api::types::BuildCache;

use super::output::{self, Writing};
use crate::error::{Error, Result};
use crate::flags::parse_bool;
use crate::ui;

/// Caches to import.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Imports {
    pub(super) registries: Vec<BuildCache>,
    pub(super) directories: Vec<PathBuf>,
}

/// Caches to export.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Exports {
    pub(super) caches: Vec<BuildCache>,
    /// Where a layout goes, and whether the build is good without it.
    pub(super) directory: Option<(PathBuf, bool)>,
}

/// One cache, as the command line has it.
#[derive(Default)]
struct Given {
    cache: BuildCache,
    source: String,
    destination: String,
}

impl Imports {
    pub(super) fn parse(texts: &[String]) -> Result<Self> {
        let mut imports = Self::default();
        for text in texts {
            let given = given(text, "importer")?;
            match given.cache.kind.as_str() {
                "local" if given.source.is_empty() => {
                    return Err(Error::new("local cache importer requires src"));
                }
                "local" => imports.directories.push(PathBuf::from(given.source)),
                "registry" => imports.registries.push(given.cache),
                other => return Err(unknown("importer", other)),
            }
        }
        Ok(imports)
    }
}

impl Exports {
    pub(super) fn parse(texts: &[String]) -> Result<Self> {
        let mut exports = Self::default();
        for text in texts {
            let given = given(text, "exporter")?;
            if given.cache.kind == "local" {
                if given.destination.is_empty() {
                    return Err(Error::new("local cache exporter requires dest"));
                }
                let directory = PathBuf::from(given.destination);
                let before = exports
                    .directory
                    .replace((directory, given.cache.ignore_error));
                if before.is_some() {
                    return Err(Error::new(
                        "the cache goes into one local directory at most",
                    ));
                }
            }
            exports.caches.push(given.cache);
        }
        Ok(exports)
    }

    /// Begins to write the layout; `None`: that cannot be, and the build is good without it.
    pub(super) fn begin(&self) -> Result<Option<Writing>> {
        let Some((directory, ignore_error)) = &self.directory else {
            return Err(Error::new("the daemon sent a cache unasked"));
        };
        excused(output::unpack(directory), *ignore_error)
    }

    /// Ends it.
    pub(super) fn finish(&self, writing: Writing) -> Result<()> {
        let ignore_error = self.directory.as_ref().is_some_and(|(_, ignore)| *ignore);
        excused(output::finish(writing), ignore_error).map(drop)
    }
}

/// A failure that matters to nobody is told all the same.
fn excused<T>(outcome: Result<T>, ignore_error: bool) -> Result<Option<T>> {
    match outcome {
        Err(error) if ignore_error => {
            ui::warn(&format!("the cache is not exported: {}", error.message()));
            Ok(None)
        }
        outcome => outcome.map(Some),
    }
}

fn given(text: &str, what: &str) -> Result<Given> {
    let mut given = Given::default();
    if !text.contains('=') {
        given.cache.kind = "registry".to_owned();
        text.clone_into(&mut given.cache.reference);
        return Ok(given);
    }
    for field in text.split(',') {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| Error::new(format!("invalid value {field}")))?;
        match key.to_ascii_lowercase().as_str() {
            "type" => value.clone_into(&mut given.cache.kind),
            "ref" => value.clone_into(&mut given.cache.reference),
            "src" => value.clone_into(&mut given.source),
            "dest" => value.clone_into(&mut given.destination),
            "ignore-error" => {
                given.cache.ignore_error = parse_bool(value).map_err(|_| {
                    Error::new(format!("invalid ignore-error {value:?}: true or false"))
                })?;
            }
            "mode" => {
                given.cache.all = match value {
                    "max" => true,
                    "min" | "" => false,
                    other => {
                        return Err(Error::new(format!("invalid mode {other:?}: min or max")));
                    }
                }
            }
            // What concerns forms that Hull has one of.
            _ => {}
        }
    }
    match given.cache.kind.as_str() {
        "registry" if given.cache.reference.is_empty() => {
            Err(Error::new(format!("registry cache {what} requires ref")))
        }
        "registry" | "local" => Ok(given),
        "inline" if what == "exporter" => Ok(given),
        other => Err(unknown(what, other)),
    }
}

fn unknown(what: &str, kind: &str) -> Error {
    Error::new(format!(
        "unknown cache {what}: {kind:?}: there are type=registry, type=local and (to export) \
         type=inline"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn caches_are_understood() {
        let imports = Imports::parse(&texts(&["a/b:c", "type=local,src=dir"])).unwrap();
        assert_eq!(imports.registries[0].reference, "a/b:c");
        assert_eq!(imports.directories, [PathBuf::from("dir")]);
        let exports = texts(&["type=inline", "type=registry,ref=a/b,mode=max"]);
        let exports = Exports::parse(&exports).unwrap();
        assert_eq!(exports.caches[0].kind, "inline");
        assert!(exports.caches[1].all);
    }

    #[test]
    fn a_kind_that_there_is_not_is_refused_by_name() {
        for text in ["type=gha", "type=s3,bucket=x"] {
            let kind = &text["type=".len()..][..2];
            let import = format!("{:?}", Imports::parse(&texts(&[text])).unwrap_err());
            let export = format!("{:?}", Exports::parse(&texts(&[text])).unwrap_err());
            assert!(
                import.contains(kind) && export.contains(kind),
                "{import} {export}"
            );
        }
        assert!(Imports::parse(&texts(&["type=inline"])).is_err());
        assert!(Exports::parse(&texts(&["type=local"])).is_err());
    }
}
