//! Reading a client's wishes without carrying them out: what fuzzing drives.

use prost::Message as _;

use crate::{
    attributes::Attributes,
    cache, output,
    proto::{control, gateway},
};

/// Understands bytes as the messages that clients open builds with, as far as that goes before
/// anything is built. Whatever they are, they are understood or refused.
pub fn chew(bytes: &[u8]) {
    if let Ok(request) = control::SolveRequest::decode(bytes) {
        let _ = output::parse(&request.exporters);
        let _ = Attributes::parse(&request.frontend, &request.frontend_attrs);
        let options = request.cache.unwrap_or_default();
        let _ = cache::exports(&options.exports);
        let _ = cache::imports(&[], &request.frontend_attrs, &options.imports);
    }
    if let Ok(request) = gateway::SolveRequest::decode(bytes) {
        let _ = Attributes::parse(&request.frontend, &request.frontend_opt);
        let _ = cache::imports(&request.cache_imports, &request.frontend_opt, &[]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_understood_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            chew(&bytes);
        }

        #[test]
        fn any_wishes_are_understood_or_refused(
            kind in "[a-z]{0,8}|moby|oci|local|registry|inline",
            attrs in proptest::collection::hash_map(
                "name|ref|dest|src|mode|push|cache-imports|cache-from|attest:[a-z]{0,8}", ".{0,30}", 0..6)
        ) {
            let entry = control::CacheOptionsEntry { r#type: kind.clone(), attrs: attrs.clone() };
            let request = control::SolveRequest {
                frontend: "dockerfile.v0".to_owned(),
                frontend_attrs: attrs.clone(),
                exporters: vec![control::Exporter { r#type: kind, attrs: HashMap::new() }],
                cache: Some(control::CacheOptions {
                    exports: vec![entry.clone()],
                    imports: vec![entry],
                    ..control::CacheOptions::default()
                }),
                ..control::SolveRequest::default()
            };
            chew(&request.encode_to_vec());
        }
    }
}
