//! What a client wants of a result: exporters and their attributes, understood. Pure.

use std::collections::HashMap;

use hull_oci::Reference;

use crate::{attributes::is_true, attributes::list, proto::control::Exporter};

/// An exporter that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutputError {
    #[error("exporter {0:?} could not be found: there are image, docker, oci, tar and local")]
    Unknown(String),
    #[error("invalid reference format: {name:?}: {why}")]
    Name { name: String, why: String },
    #[error("unsupported compression type: {0}")]
    Compression(String),
    #[error("tag is needed when pushing to registry")]
    PushWithoutName,
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    /// Its place among the solve's exporters, by which the client knows it.
    pub(crate) id: usize,
    pub(crate) kind: Kind,
    pub(crate) compression: Compression,
    /// Files of each platform in a directory of its own; none: if there are several platforms.
    pub(crate) split: Option<bool>,
}

/// What becomes of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An image in the daemon's store, and from there in registries.
    Image { names: Vec<Reference>, push: bool },
    /// An archive that `docker load` takes.
    DockerArchive { names: Vec<Reference> },
    /// An OCI layout: as an archive, or blob by blob into a store of the client's.
    Oci { names: Vec<Reference>, is_tar: bool },
    /// The files, as an archive.
    Tar,
    /// The files, as files.
    Local,
}

/// How layers are compressed, if the client cares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Compression {
    #[default]
    Any,
    None,
    Gzip,
    Zstd,
}

/// All outputs of a solve.
pub(crate) fn parse(exporters: &[Exporter]) -> Result<Vec<Output>, OutputError> {
    exporters
        .iter()
        .enumerate()
        .map(|(id, exporter)| {
            Ok(Output {
                id,
                kind: kind(&exporter.r#type, &exporter.attrs)?,
                compression: compression(&exporter.attrs)?,
                split: exporter
                    .attrs
                    .get("platform-split")
                    .map(|text| is_true(text)),
            })
        })
        .collect()
}

fn kind(name: &str, attributes: &HashMap<String, String>) -> Result<Kind, OutputError> {
    let switch = |name: &str, default: bool| match attributes.get(name).map(String::as_str) {
        None | Some("") => default,
        Some(text) => is_true(text),
    };
    Ok(match name {
        "moby" | "image" => {
            let (names, push) = (names(attributes)?, switch("push", false));
            if push && names.is_empty() {
                return Err(OutputError::PushWithoutName);
            }
            Kind::Image { names, push }
        }
        "docker" => Kind::DockerArchive {
            names: names(attributes)?,
        },
        "oci" => Kind::Oci {
            names: names(attributes)?,
            is_tar: switch("tar", true),
        },
        "tar" => Kind::Tar,
        "local" => Kind::Local,
        other => return Err(OutputError::Unknown(other.to_owned())),
    })
}

fn names(attributes: &HashMap<String, String>) -> Result<Vec<Reference>, OutputError> {
    let text = attributes.get("name").map_or("", String::as_str);
    let parse = |name: String| {
        name.parse::<Reference>()
            .map(Reference::or_latest)
            .map_err(|error| OutputError::Name {
                name,
                why: error.to_string(),
            })
    };
    list(text).into_iter().map(parse).collect()
}

fn compression(attributes: &HashMap<String, String>) -> Result<Compression, OutputError> {
    match attributes.get("compression").map_or("", String::as_str) {
        "" => Ok(Compression::Any),
        "uncompressed" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        other => Err(OutputError::Compression(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(kind: &str, attributes: &[(&str, &str)]) -> Result<Output, OutputError> {
        let attrs = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let exporter = Exporter {
            r#type: kind.to_owned(),
            attrs: attrs.collect(),
        };
        parse(&[exporter]).map(|mut outputs| outputs.remove(0))
    }

    #[test]
    fn outputs_are_understood() {
        let image = one("moby", &[("name", "a,example.com/b:2"), ("push", "true")]).unwrap();
        match image.kind {
            Kind::Image { names, push } => {
                let names: Vec<_> = names.iter().map(ToString::to_string).collect();
                assert_eq!(names.len(), 2);
                assert!(names[1].ends_with("example.com/b:2"), "{names:?}");
                assert!(push);
            }
            other => panic!("{other:?}"),
        }
        let layout = one("oci", &[("tar", "false"), ("compression", "zstd")]).unwrap();
        assert_eq!(layout.compression, Compression::Zstd);
        assert!(matches!(layout.kind, Kind::Oci { is_tar: false, .. }));
        assert_eq!(one("local", &[]).unwrap().kind, Kind::Local);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let text = |kind, attributes| one(kind, attributes).unwrap_err().to_string();
        assert!(text("gha", &[]).contains("\"gha\""));
        assert!(text("moby", &[("name", "UPPER")]).contains("UPPER"));
        assert!(text("moby", &[("push", "1")]).contains("tag is needed"));
        assert!(text("oci", &[("compression", "lz4")]).contains("lz4"));
    }
}
