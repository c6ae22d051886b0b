//! Notices when somebody else changes our rules or bridges.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, PoisonError},
};

use hull_sys::{
    netlink::{
        Protocol, Socket,
        route::{LINK_CHANGED, LINK_GONE, LINK_GROUP, parse_link},
    },
    nftables::{monitor_table_changes, touched_by_others},
};
use rustix::event::epoll;

use crate::Error;

/// Sockets that are told of changes, behind one descriptor to wait on.
#[derive(Debug)]
pub(crate) struct Monitor {
    epoll: OwnedFd,
    sockets: Mutex<(Socket, Socket)>,
}

/// What has changed since the last look.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Changes {
    pub(crate) rules: bool,
    pub(crate) bridges: bool,
}

impl Monitor {
    pub(crate) fn open() -> Result<Self, Error> {
        let failed = || Error::kernel("watch the firewall and links");
        let rules = monitor_table_changes().map_err(failed())?;
        let links = Socket::subscribe(Protocol::Route, &[LINK_GROUP]).map_err(failed())?;
        let epoll = wait_on([rules.as_fd(), links.as_fd()])
            .map_err(|errno| Error::io("watch the firewall and links")(errno.into()))?;
        Ok(Self {
            epoll,
            sockets: Mutex::new((rules, links)),
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Reads what waits. Changes by `own_port`, and to other tables and links, do not count.
    pub(crate) fn changes(
        &self,
        table: &str,
        own_port: u32,
        bridges: &[String],
    ) -> Result<Changes, Error> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let (rules, links) = &mut *sockets;
        let mut changes = Changes::default();
        let failed = || Error::kernel("watch the firewall and links");
        let complete = rules
            .notifications(|packet| changes.rules |= touched_by_others(packet, table, own_port))
            .map_err(failed())?;
        changes.rules |= !complete;
        let complete = links
            .notifications(|packet| {
                let link = parse_link(packet.payload);
                let ours = link.is_some_and(|link| {
                    bridges.contains(&link.name) && (packet.kind == LINK_GONE || !link.is_up)
                });
                changes.bridges |= ours && [LINK_GONE, LINK_CHANGED].contains(&packet.kind);
            })
            .map_err(failed())?;
        changes.bridges |= !complete;
        Ok(changes)
    }
}

fn wait_on(sockets: [BorrowedFd<'_>; 2]) -> rustix::io::Result<OwnedFd> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, socket) in (0..).zip(sockets) {
        epoll::add(
            &epoll,
            socket,
            epoll::EventData::new_u64(number),
            epoll::EventFlags::IN,
        )?;
    }
    Ok(epoll)
}
