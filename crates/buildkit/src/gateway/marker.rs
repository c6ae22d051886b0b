//! A build's result, as something another build can begin with.
//!
//! Clients hand results on as definitions of BuildKit's language, which they take apart and put
//! together again. A result here is a definition of one source, whose name says which result it is.

use hull_oci::Digest;
use prost::Message;

use crate::proto::llb::{Definition, Input, Op, OpMetadata, SourceOp, op};

/// How such a source's name begins.
const SCHEME: &str = "hull-result://";

/// The definition that stands for a result.
pub(crate) fn definition(result: &str) -> Definition {
    let source = Op {
        op: Some(op::Op::Source(SourceOp {
            identifier: format!("{SCHEME}{result}"),
            ..SourceOp::default()
        })),
        ..Op::default()
    };
    let source = source.encode_to_vec();
    // The last operation names the one whose output is meant.
    let end = Op {
        inputs: vec![Input {
            digest: Digest::of(&source).to_string(),
            index: 0,
        }],
        ..Op::default()
    };
    let def = vec![source, end.encode_to_vec()];
    // Clients take a definition without metadata for none at all.
    let metadata = def
        .iter()
        .map(|op| (Digest::of(op).to_string(), OpMetadata::default()));
    Definition {
        metadata: metadata.collect(),
        def,
        ..Definition::default()
    }
}

/// The result that a definition stands for. `None`: it is another's.
pub(crate) fn result(definition: &Definition) -> Option<String> {
    let ops = definition
        .def
        .iter()
        .filter_map(|bytes| Op::decode(bytes.as_slice()).ok());
    ops.filter_map(|op| match op.op {
        Some(op::Op::Source(source)) => Some(source.identifier),
        _ => None,
    })
    .find_map(|name| name.strip_prefix(SCHEME).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_found_in_its_definition() {
        assert_eq!(result(&definition("abc-0")).as_deref(), Some("abc-0"));
        assert_eq!(result(&Definition::default()), None);
        let garbage = Definition {
            def: vec![vec![0xff; 9]],
            ..Definition::default()
        };
        assert_eq!(result(&garbage), None);
    }
}
