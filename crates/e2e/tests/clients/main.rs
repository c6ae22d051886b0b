//! Programs and libraries that others wrote, and the lists of what they may ask for.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its files fails right there"
)]

mod builders;
mod buildx;
mod buildx_remote;
mod bundles;
mod checklists;
mod hosts;
mod podman;
mod python;
mod registries;
mod rust;
