//! What commands print: Go templates, tables, and sizes and times for people.

pub(crate) mod duration;
mod fit;
pub(crate) mod json;
pub(crate) mod output;
pub(crate) mod ports;
pub(crate) mod size;
pub(crate) mod tabwriter;
pub(crate) mod template;
pub(crate) mod time;
