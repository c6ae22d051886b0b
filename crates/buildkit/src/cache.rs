//! Where else finished steps may be found, and where they are to be taken. Pure.

use std::collections::HashMap;

use hull_build::request::CacheSource;

use crate::{
    attributes::is_true,
    grpc::Status,
    proto::{control::CacheOptionsEntry, gateway},
};

/// Refuses exports that cannot be made, unless the client does not mind.
pub(crate) fn check_exports(exports: &[CacheOptionsEntry]) -> Result<(), Status> {
    let minds = |export: &&CacheOptionsEntry| {
        !export
            .attrs
            .get("ignore-error")
            .is_some_and(|text| is_true(text))
    };
    match exports.iter().find(minds) {
        None => Ok(()),
        Some(export) => Err(Status::unimplemented(format!(
            "the build cache cannot be exported (type={}): it stays in the daemon, where the next \
             build finds it; leave --cache-to out, or add ignore-error=true",
            export.r#type
        ))),
    }
}

/// The imports that are served: images of the daemon's store that tell of their steps. Others give
/// nothing, as an empty cache does.
pub(crate) fn imports(entries: &[gateway::CacheOptionsEntry]) -> Vec<CacheSource> {
    let image = |attributes: &HashMap<String, String>| attributes.get("ref").cloned();
    let registry = entries.iter().filter(|entry| entry.r#type == "registry");
    registry
        .filter_map(|entry| image(&entry.attrs))
        .map(CacheSource::Image)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(kind: &str, attributes: &[(&str, &str)]) -> CacheOptionsEntry {
        let attrs = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        CacheOptionsEntry {
            r#type: kind.to_owned(),
            attrs: attrs.collect(),
        }
    }

    #[test]
    fn an_export_is_refused_unless_it_does_not_matter() {
        assert!(check_exports(&[]).is_ok());
        assert!(check_exports(&[export("gha", &[("ignore-error", "true")])]).is_ok());
        let error = check_exports(&[export("local", &[("dest", "x")])]).unwrap_err();
        assert!(error.message.contains("type=local"), "{error}");
    }

    #[test]
    fn images_are_looked_into() {
        let entry = |kind: &str| gateway::CacheOptionsEntry {
            r#type: kind.to_owned(),
            attrs: HashMap::from([("ref".to_owned(), "example.com/a:1".to_owned())]),
        };
        let found = imports(&[entry("registry"), entry("gha")]);
        assert_eq!(found, [CacheSource::Image("example.com/a:1".to_owned())]);
    }
}
