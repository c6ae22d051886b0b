//! What a client wants of a result: exporters and their attributes, understood. Pure.

use std::collections::HashMap;

use hull_build::export::{Annotation, Naming};
use hull_image::store::LayerCompression;
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
    #[error("can't push tagged ref {0} by digest: leave the tag out")]
    TaggedByDigest(String),
    #[error("invalid annotation {name:?}: {why}")]
    Annotation { name: String, why: &'static str },
    #[error("force-compression is not supported: layers of base images stay as they are")]
    ForceCompression,
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    /// Its place among the solve's exporters, by which the client knows it.
    pub(crate) id: usize,
    pub(crate) kind: Kind,
    /// How blobs of new layers are compressed.
    pub(crate) compression: LayerCompression,
    /// Words that travel with an image.
    pub(crate) annotations: Vec<Annotation>,
    /// Files of each platform in a directory of its own; none: if there are several platforms.
    pub(crate) split: Option<bool>,
}

/// What becomes of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An image in the daemon's store, and from there in registries.
    Image {
        names: Vec<Reference>,
        naming: Naming,
        push: bool,
        /// Whether it stays in the store.
        stays: bool,
    },
    /// An archive that `docker load` takes.
    DockerArchive { names: Vec<Reference> },
    /// An OCI layout: as an archive, or blob by blob into a store of the client's.
    Oci { names: Vec<Reference>, is_tar: bool },
    /// The files, as an archive.
    Tar,
    /// The files, as files.
    Local,
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
                annotations: annotations(&exporter.attrs)?,
                split: exporter
                    .attrs
                    .get("platform-split")
                    .map(|text| is_true(text)),
            })
        })
        .collect()
}

fn kind(name: &str, attributes: &HashMap<String, String>) -> Result<Kind, OutputError> {
    let switch = |name: &str, default| switch(attributes, name, default);
    Ok(match name {
        "moby" | "image" => {
            let naming = match (
                switch("push-by-digest", false),
                switch("name-canonical", false),
            ) {
                (true, _) => Naming::ByDigest,
                (false, true) => Naming::Both,
                (false, false) => Naming::AsGiven,
            };
            let names = match naming {
                Naming::ByDigest => repositories(attributes)?,
                _ => names(attributes)?,
            };
            let push = switch("push", false);
            if push && names.is_empty() {
                return Err(OutputError::PushWithoutName);
            }
            Kind::Image {
                names,
                naming,
                push,
                stays: switch("store", true),
            }
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

fn switch(attributes: &HashMap<String, String>, name: &str, default: bool) -> bool {
    match attributes.get(name).map(String::as_str) {
        None | Some("") => default,
        Some(text) => is_true(text),
    }
}

fn names(attributes: &HashMap<String, String>) -> Result<Vec<Reference>, OutputError> {
    Ok(given_names(attributes)?
        .into_iter()
        .map(Reference::or_latest)
        .collect())
}

/// Names without tags: what they lead to there is left alone.
fn repositories(attributes: &HashMap<String, String>) -> Result<Vec<Reference>, OutputError> {
    let names = given_names(attributes)?;
    match names.iter().find(|name| name.tag().is_some()) {
        Some(tagged) => Err(OutputError::TaggedByDigest(tagged.to_string())),
        None => Ok(names),
    }
}

fn given_names(attributes: &HashMap<String, String>) -> Result<Vec<Reference>, OutputError> {
    let text = attributes.get("name").map_or("", String::as_str);
    let parse = |name: String| {
        name.parse::<Reference>()
            .map_err(|error| OutputError::Name {
                name,
                why: error.to_string(),
            })
    };
    list(text).into_iter().map(parse).collect()
}

fn compression(attributes: &HashMap<String, String>) -> Result<LayerCompression, OutputError> {
    if switch(attributes, "force-compression", false) {
        return Err(OutputError::ForceCompression);
    }
    match attributes.get("compression").map_or("", String::as_str) {
        "" | "gzip" => Ok(LayerCompression::Gzip),
        "uncompressed" => Ok(LayerCompression::None),
        "zstd" => Ok(LayerCompression::Zstd),
        other => Err(OutputError::Compression(other.to_owned())),
    }
}

/// `annotation[-PLACE][[PLATFORM]].KEY`, each.
fn annotations(attributes: &HashMap<String, String>) -> Result<Vec<Annotation>, OutputError> {
    let mut all = Vec::new();
    for (name, value) in attributes {
        let Some(rest) = name.strip_prefix("annotation") else {
            continue;
        };
        if rest.starts_with(['-', '[', '.']) {
            let wrong = |why| OutputError::Annotation {
                name: name.clone(),
                why,
            };
            all.push(Annotation::parse(rest, value).map_err(wrong)?);
        }
    }
    all.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use hull_build::export::AnnotationPlace;

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
            Kind::Image {
                names,
                naming,
                push,
                stays,
            } => {
                let names: Vec<_> = names.iter().map(ToString::to_string).collect();
                assert_eq!(names.len(), 2);
                assert!(names[1].ends_with("example.com/b:2"), "{names:?}");
                assert_eq!((naming, push, stays), (Naming::AsGiven, true, true));
            }
            other => panic!("{other:?}"),
        }
        let layout = one("oci", &[("tar", "false"), ("compression", "zstd")]).unwrap();
        assert_eq!(layout.compression, LayerCompression::Zstd);
        assert!(matches!(layout.kind, Kind::Oci { is_tar: false, .. }));
        assert_eq!(one("local", &[]).unwrap().kind, Kind::Local);
    }

    #[test]
    fn what_is_pushed_by_digest_has_no_tag() {
        let by_digest = |name| one("image", &[("name", name), ("push-by-digest", "true")]);
        match by_digest("reg.example/app").unwrap().kind {
            Kind::Image { names, naming, .. } => {
                assert_eq!(naming, Naming::ByDigest);
                assert_eq!(names[0].tag(), None);
            }
            other => panic!("{other:?}"),
        }
        let error = by_digest("reg.example/app:1").unwrap_err();
        assert!(error.to_string().contains("can't push tagged ref"));
    }

    #[test]
    fn annotations_have_their_places() {
        let output = one(
            "image",
            &[
                ("annotation.a", "1"),
                ("annotation-index.b.c", "2"),
                ("annotation-manifest-descriptor[linux/arm64].d", "3"),
            ],
        );
        let found = output.unwrap().annotations;
        let short: Vec<_> = found
            .iter()
            .map(|one| (one.place, one.key.as_str(), one.platform.is_some()))
            .collect();
        assert_eq!(
            short,
            [
                (AnnotationPlace::Manifest, "a", false),
                (AnnotationPlace::Index, "b.c", false),
                (AnnotationPlace::Descriptor, "d", true),
            ]
        );
        for wrong in [
            "annotation.",
            "annotation-index[linux/arm64].a",
            "annotation-x.a",
        ] {
            assert!(one("image", &[(wrong, "1")]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let text = |kind, attributes| one(kind, attributes).unwrap_err().to_string();
        assert!(text("gha", &[]).contains("\"gha\""));
        assert!(text("moby", &[("name", "UPPER")]).contains("UPPER"));
        assert!(text("moby", &[("push", "1")]).contains("tag is needed"));
        assert!(text("oci", &[("compression", "lz4")]).contains("lz4"));
        assert!(text("oci", &[("force-compression", "true")]).contains("force-compression"));
    }
}
