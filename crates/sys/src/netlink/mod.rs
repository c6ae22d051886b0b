//! Netlink: asking the kernel about links, addresses, routes and connections, in process.
//!
//! A [`Message`] is one request; a [`Socket`] sends several in one system call and reads the
//! answers. [`route`] holds the requests for links, addresses and routes, [`conntrack`] those for
//! tracked connections, [`namespace`] makes and enters network namespaces. A socket belongs to the
//! namespace of the thread that opened it.

mod message;
pub mod namespace;

pub mod conntrack;
pub mod route;
mod socket;

pub use message::{Attributes, Message, Packet, packets};
pub use socket::{Error, Protocol, Socket};
