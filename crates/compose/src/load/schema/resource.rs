//! The top level, and everything on it but services.

use super::super::short;
use super::service::SERVICE;
use super::{Field, Kind, Merge, ONE_OR_MANY, Object, Shown, f, object};

/// A whole file.
pub(crate) static PROJECT: Object = object(&[
    f("version", Kind::Scalar),
    f("name", Kind::Text),
    f(
        "include",
        Kind::List(&Kind::Short(short::include, &Kind::Object(&INCLUDE))),
    ),
    f(
        "services",
        Kind::Named(&Kind::Optional(&Kind::Object(&SERVICE))),
    ),
    f(
        "networks",
        Kind::Named(&Kind::Optional(&Kind::Short(
            short::external,
            &Kind::Object(&NETWORK),
        ))),
    ),
    f(
        "volumes",
        Kind::Named(&Kind::Optional(&Kind::Short(
            short::external,
            &Kind::Object(&VOLUME),
        ))),
    ),
    f(
        "secrets",
        Kind::Named(&Kind::Short(short::external, &Kind::Object(&FILE_OBJECT))),
    ),
    f(
        "configs",
        Kind::Named(&Kind::Short(short::external, &Kind::Object(&FILE_OBJECT))),
    ),
    f("models", Kind::Named(&Kind::Object(&MODEL))),
]);

static INCLUDE: Object = object(&[
    f("path", ONE_OR_MANY),
    f("project_directory", Kind::Text),
    f("env_file", ONE_OR_MANY),
]);

pub(crate) static NETWORK: Object = object(&[
    f("name", Kind::Text),
    f("driver", Kind::Text),
    f("driver_opts", Kind::Pairs),
    f("ipam", Kind::Object(&IPAM)).shown(Shown::JsonEmpty),
    f("external", Kind::Bool),
    f("internal", Kind::Bool),
    f("attachable", Kind::Bool),
    f("labels", Kind::Pairs).merged(Merge::Sequence),
    f("enable_ipv4", Kind::Bool).shown(Shown::Present),
    f("enable_ipv6", Kind::Bool).shown(Shown::Present),
]);

static IPAM: Object = object(&[
    f("driver", Kind::Text),
    f("config", Kind::List(&Kind::Object(&POOL))).merged(Merge::Pools),
    f("options", Kind::Pairs).shown(Shown::Never),
]);

static POOL: Object = object(&[
    f("subnet", Kind::Text),
    f("gateway", Kind::Text),
    f("ip_range", Kind::Text),
    f("aux_addresses", Kind::Pairs),
]);

pub(crate) static VOLUME: Object = object(&[
    f("name", Kind::Text),
    f("driver", Kind::Text),
    f("driver_opts", Kind::Pairs),
    f("external", Kind::Bool),
    f("labels", Kind::Pairs).merged(Merge::Sequence),
]);

/// A secret or a config.
pub(crate) static FILE_OBJECT: Object = object(&[
    f("name", Kind::Text),
    f("file", Kind::Text),
    f("environment", Kind::Text),
    f("content", Kind::Text),
    f("external", Kind::Bool),
    f("labels", Kind::Pairs).merged(Merge::Sequence),
    f("driver", Kind::Text),
    f("driver_opts", Kind::Pairs),
    f("template_driver", Kind::Text),
]);

const MODEL_FIELDS: &[Field] = &[
    f("name", Kind::Text),
    f("model", Kind::Text).required(),
    f("context_size", Kind::Int),
    f("runtime_flags", Kind::List(&Kind::Text)),
];

static MODEL: Object = object(MODEL_FIELDS);
