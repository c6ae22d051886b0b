//! HTTP below the Engine API: sockets, connections, requests, answers and which operation is meant.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod hijack;
pub(crate) mod judges;
pub(crate) mod request;
pub(crate) mod router;
pub(crate) mod server;
pub(crate) mod socket;
pub(crate) mod tls;
pub(crate) mod websocket;
