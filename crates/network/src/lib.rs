//! Networks of containers: bridges, addresses, published ports, names.
//!
//! A *network* has a driver and subnets; a *sandbox* is the network namespace of a container; an
//! *endpoint* is a sandbox's place in a network; a *published port* leads from the host to an
//! endpoint. [`Networks`] is the door: it blocks, may be shared between threads, and keeps nothing
//! on disk: callers store the records it gives and hand them back after a restart.
//!
//! Decisions are pure ([`pool`], [`firewall`], [`dns`]); the kernel is changed by
//! [`Networks`] alone, over netlink. Rules live in one nftables table of our own; foreign rules,
//! links and addresses are never touched.

mod networks;

mod bridge;
mod gate;
mod monitor;
mod names;
mod options;
mod plugins;
mod ports;
mod reaper;
mod sandbox;
mod state;

pub mod dns;
pub mod firewall;
pub mod pool;

mod config;
mod error;
mod record;

pub use config::{AddressPool, Config, FirewallMode};
pub use error::{Error, ErrorKind};
pub use hull_resolver::protocol::Upstream;
pub use names::{NameService, ResolverProgram};
pub use networks::{Healed, Networks, Stray};
pub use plugins::{PluginError, PluginKind, Plugins};
pub use record::{
    Driver, Endpoint, EndpointRequest, Network, PortRequest, Protocol, Published, Subnet, SubnetUse,
};
pub use sandbox::{Sandbox, SandboxOwner};
