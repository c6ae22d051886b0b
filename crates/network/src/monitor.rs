//! Notices when somebody else changes our rules, bridges or links.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, PoisonError},
};

use hull_sys::{
    netlink::{
        Protocol, Socket,
        route::{
            ADDRESS_GONE, IPV4_ADDRESS_GROUP, IPV6_ADDRESS_GROUP, LINK_CHANGED, LINK_GONE,
            LINK_GROUP, link_of_address, parse_link,
        },
    },
    nftables::{monitor_table_changes, touched_by_others},
};
use rustix::event::epoll;

use crate::{Error, networks::LINK_PREFIX};

/// Sockets that are told of changes, behind one descriptor to wait on.
#[derive(Debug)]
pub(crate) struct Monitor {
    epoll: OwnedFd,
    sockets: Mutex<(Socket, Socket)>,
}

/// What has changed since the last look.
#[derive(Debug, Default, Clone)]
pub(crate) struct Changes {
    pub(crate) rules: bool,
    /// Not all was told: rules may have changed, mostly by ourselves.
    pub(crate) is_unsure: bool,
    pub(crate) bridges: bool,
    /// Links that lost addresses, by their numbers.
    pub(crate) bare: BTreeSet<u32>,
    /// Containers' links that were down, or in no bridge. (New ones are that for a moment.)
    pub(crate) loose: BTreeSet<String>,
}

impl Monitor {
    pub(crate) fn open() -> Result<Self, Error> {
        let failed = || Error::kernel("watch the firewall and links");
        let rules = monitor_table_changes().map_err(failed())?;
        let groups = [LINK_GROUP, IPV4_ADDRESS_GROUP, IPV6_ADDRESS_GROUP];
        let links = Socket::subscribe(Protocol::Route, &groups).map_err(failed())?;
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
        changes.is_unsure |= !complete;
        let complete = links
            .notifications(|packet| {
                if packet.kind == ADDRESS_GONE {
                    changes.bare.extend(link_of_address(packet.payload));
                    return;
                }
                if ![LINK_GONE, LINK_CHANGED].contains(&packet.kind) {
                    return;
                }
                let Some(link) = parse_link(packet.payload) else {
                    return;
                };
                let is_gone = packet.kind == LINK_GONE;
                changes.bridges |= bridges.contains(&link.name) && (is_gone || !link.is_up);
                let is_loose = !link.is_up || link.master.is_none();
                if !is_gone && is_loose && link.name.starts_with(LINK_PREFIX) {
                    changes.loose.insert(link.name);
                }
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
