//! Networks on the real kernel. Each test has a host of its own: see [`host`].
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod host;

mod endpoints;
mod firewalls;
mod lasting;
mod ports;
mod senders;
mod several;
mod tools;
