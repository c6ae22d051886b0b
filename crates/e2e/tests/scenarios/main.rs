//! What a user does, said once and played twice: with `docker` and with `hull`.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its files fails right there"
)]

mod attach;
mod attachment;
mod authorization;
mod beyond;
mod build;
mod build_details;
mod build_hostile;
mod build_remote;
mod cdi;
mod disk;
mod exec;
mod files;
mod health;
mod images;
mod isolation;
mod layers;
mod lifecycle;
mod limits;
mod listing;
mod logs;
mod many;
mod mounts;
mod names;
mod network;
mod network_plugins;
mod plugins;
mod refusals;
mod registry;
mod run;
mod shells;
mod storage;
mod terminal;
mod userns;
mod volumes;
