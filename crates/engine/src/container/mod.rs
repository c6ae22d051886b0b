//! Verbs on containers, one file a verb.

pub mod attach;
pub mod create;
pub mod exec;
pub mod files;
pub mod list;
pub mod logs;
pub mod prune;
pub mod publish;
pub mod remove;
pub mod seal;
pub mod signal;
pub(crate) mod start;
pub mod stats;
pub mod stop;
pub mod top;
pub mod update;
pub mod wait;

pub(crate) mod view;
