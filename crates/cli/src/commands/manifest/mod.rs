//! Lists of manifests: one name for several platforms. They are made of images the daemon has, and
//! are images themselves: what lists and pushes images lists and pushes them.

pub(super) mod annotate;
pub(super) mod create;
pub(super) mod inspect;
pub(super) mod push;
pub(super) mod rm;
