//! Docker's plugins: programs of others that provide volumes and networks or allow requests, found by
//! name in a few directories and asked over HTTP.
//!
//! A plugin may hang, die, or talk nonsense: every question has a deadline, every answer a limit,
//! and every failure names what was asked and the plugin (but for a refusal, which is told in the
//! plugin's own words, as Docker does). What volumes and networks mean is left to others.

mod activate;
mod find;
mod plugin;
mod talk;
mod tls;
mod volume;

pub use find::{Address, Directories, find};
pub use plugin::Plugin;
pub use talk::Error;
pub use tls::Certificates;
pub use volume::{VolumeDriver, VolumeFacts};
