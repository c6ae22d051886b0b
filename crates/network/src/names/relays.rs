//! Ports that the resolver carries to their containers, since no rule can lead there.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use hull_resolver::protocol::{Connection, Order, Relay};

use super::{Names, Shared, expect_done, failed};
use crate::{Error, Protocol, Published, ports};

/// A published port that the resolver carries to its container.
#[derive(Debug, Clone)]
pub(crate) struct Relayed {
    pub(crate) published: Published,
    pub(crate) target: SocketAddr,
    /// The host's end of the container's link.
    pub(crate) link: String,
}

impl Relayed {
    fn id(&self) -> String {
        relay_id(&self.published)
    }

    pub(super) fn order(&self) -> Relay {
        Relay {
            id: self.id(),
            is_stream: self.published.protocol == Protocol::Tcp,
            target: self.target,
            link: self.link.clone(),
        }
    }
}

fn relay_id(port: &Published) -> String {
    let at = SocketAddr::new(port.host_ip, port.host_port);
    format!("{}/{at}/{}", port.endpoint_id, port.protocol)
}

impl Names {
    /// Whether there is who relays ports.
    pub(crate) fn can_relay(&self) -> bool {
        self.0.is_some()
    }

    /// Has a port relayed, at the socket that reserves it.
    pub(crate) fn relay(&self, relayed: Relayed, socket: &OwnedFd) -> Result<(), Error> {
        let Some(shared) = &self.0 else {
            return Ok(());
        };
        let mut inner = shared.inner();
        let id = relayed.id();
        inner.relays.insert(id.clone(), relayed.clone());
        let connection = inner.connection.clone();
        let told = connection.map(|connection| hand_over(&connection, &relayed, socket));
        let result = match told {
            Some(Ok(())) => Ok(()),
            // It is not there, left because there was nobody, or died.
            Some(Err(_)) | None => shared.begin_with(&mut inner, Some((&id, socket))),
        };
        if result.is_err() {
            inner.relays.remove(&id);
            shared.try_again(&mut inner);
        }
        result.map_err(failed("relay a port"))
    }

    /// Relays of an earlier daemon's go on, from when the resolver is taken up.
    pub(crate) fn keep_relaying(&self, relays: Vec<Relayed>) {
        if let Some(shared) = &self.0 {
            let by_id = relays.into_iter().map(|relayed| (relayed.id(), relayed));
            shared.inner().relays.extend(by_id);
        }
    }

    /// Ends the relays among published ports. The port is free after that.
    pub(crate) fn stop_relaying(&self, published: &[Published]) {
        let Some(shared) = &self.0 else {
            return;
        };
        let gone: Vec<_> = {
            let mut inner = shared.inner();
            let ids = published.iter().map(relay_id);
            ids.filter(|id| inner.relays.remove(id).is_some()).collect()
        };
        if gone.is_empty() {
            return;
        }
        self.tell(|_, _| {
            let gone = gone.into_iter().map(|id| Order::RelayGone { id });
            gone.chain([Order::Ping]).collect()
        });
    }
}

impl Shared {
    /// Whether nothing is left to be opened.
    pub(super) fn open_closed(self: &Arc<Self>) -> bool {
        let inner = &mut *self.inner();
        let Some(connection) = &inner.connection else {
            // Who makes one begins from the beginning.
            return true;
        };
        let relays = &inner.relays;
        inner.closed.retain(|id| {
            let Some(relayed) = relays.get(id) else {
                return false;
            };
            let opened = open_again(relayed);
            let done = opened.and_then(|socket| hand_over(connection, relayed, &socket));
            done.is_err()
        });
        inner.closed.is_empty()
    }
}

/// Gives the resolver a port's socket.
pub(super) fn hand_over(
    connection: &Connection,
    relayed: &Relayed,
    socket: &OwnedFd,
) -> io::Result<()> {
    let order = Order::Relay(relayed.order());
    connection.send(&order, &[socket.as_fd()])?;
    connection.send(&Order::Ping, &[])?;
    expect_done(connection)
}

/// The socket of a relay whose resolver died with it.
pub(super) fn open_again(relayed: &Relayed) -> io::Result<OwnedFd> {
    let port = &relayed.published;
    let address = SocketAddr::new(port.host_ip, port.host_port);
    ports::reserve_to_relay(port.protocol, address)
}
