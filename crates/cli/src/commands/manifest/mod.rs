//! Lists of manifests: one name for several platforms. They are made of images the daemon has and of
//! such as are in a registry alone, and are images themselves: what lists images lists them.

pub(super) mod annotate;
pub(super) mod create;
pub(super) mod inspect;
pub(super) mod push;
pub(super) mod rm;
