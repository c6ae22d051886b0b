//! Links, addresses and routes. Functions that change something give a [`Message`], so that
//! several go out in one send; [`Route`] sends them and asks questions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Attributes, Error, Message, Protocol, Socket,
    message::{CREATE, DUMP, EXCLUSIVE, u16_at, u32_at},
};

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const FAMILY_IPV6: u16 = 10;
const NO_ADDRESS: u8 = 1;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_HAIRPIN: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 2;
const IFA_F_PERMANENT: u8 = 0x80;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

const IFF_UP: u32 = 1;
const IFF_NOARP: u32 = 0x80;
const OPERSTATE_UP: u8 = 6;
const LINK_FIXED: usize = 16;
const ADDRESS_FIXED: usize = 8;
const ROUTE_FIXED: usize = 12;
const TABLE_MAIN: u8 = 254;
const MADE_AT_RUN_TIME: u8 = 3;
const UNICAST: u8 = 1;
const EVERYWHERE: u8 = 0;

/// Notification groups: links, IPv4 addresses, IPv6 addresses.
pub const LINK_GROUP: u32 = 1;
/// See [`LINK_GROUP`].
pub const IPV4_ADDRESS_GROUP: u32 = 5;
/// See [`LINK_GROUP`].
pub const IPV6_ADDRESS_GROUP: u32 = 9;
/// The notification that a link has lost an address.
pub const ADDRESS_GONE: u16 = 21;
/// The notification that a link has gone.
pub const LINK_GONE: u16 = DELETE_LINK;
/// The notification that a link is new or changed.
pub const LINK_CHANGED: u16 = NEW_LINK;

/// A link-layer address.
pub type Mac = [u8; 6];

/// An address with the length of its network.
pub type Prefix = (IpAddr, u8);

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name in its namespace.
    pub name: String,
    /// `bridge`, `veth`, …; empty for a device without a kind.
    pub kind: String,
    /// The bridge it is a port of.
    pub master: Option<u32>,
    /// The number of a veth's other end, in the other end's namespace.
    pub peer: Option<u32>,
    /// Its link-layer address.
    pub mac: Option<Mac>,
    /// Administratively up.
    pub is_up: bool,
    /// Packets pass: it is up and so is its other end. The kernel works this out in the
    /// background; since 6.8 it does so at the latest when the link is asked for.
    pub is_running: bool,
    /// The largest packet.
    pub mtu: u32,
    /// What somebody wrote down of it; may be empty.
    pub alias: String,
}

/// A pair of linked interfaces to make: one end here, a port of a bridge, one in a sandbox.
#[derive(Debug, Clone)]
pub struct Veth<'a> {
    /// The end that stays.
    pub name: &'a str,
    /// The bridge it joins.
    pub master: u32,
    /// The other end; `eth%d` picks the first free number.
    pub peer_name: &'a str,
    /// The other end's address.
    pub peer_mac: Option<Mac>,
    /// The other end's namespace.
    pub peer_namespace: std::os::fd::BorrowedFd<'a>,
    /// The largest packet, on both ends; 0: the kernel's choice.
    pub mtu: u32,
}

/// Makes a bridge that is up.
pub fn create_bridge(name: &str, mac: Mac, mtu: u32) -> Message {
    let action = format!("create bridge {name}");
    let fixed = link_fixed(0, IFF_UP);
    let mut message = Message::new(action, NEW_LINK, CREATE | EXCLUSIVE, &fixed);
    message
        .text(IFLA_IFNAME, name)
        .attribute(IFLA_ADDRESS, &mac);
    if mtu != 0 {
        message.number(IFLA_MTU, mtu);
    }
    message.nested(IFLA_LINKINFO, |info| {
        info.attribute(IFLA_INFO_KIND, b"bridge");
    });
    message
}

/// Makes a pair whose near end is up. The far end must not be up at its creation: its partner
/// does not exist yet then.
pub fn create_veth(veth: &Veth<'_>) -> Message {
    use std::os::fd::AsRawFd;
    let action = format!("create link {}", veth.name);
    let fixed = link_fixed(0, IFF_UP);
    let mut message = Message::new(action, NEW_LINK, CREATE | EXCLUSIVE, &fixed);
    message
        .text(IFLA_IFNAME, veth.name)
        .number(IFLA_MASTER, veth.master);
    if veth.mtu != 0 {
        message.number(IFLA_MTU, veth.mtu);
    }
    message.nested(IFLA_LINKINFO, |info| {
        info.attribute(IFLA_INFO_KIND, b"veth")
            .nested(IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |peer| {
                    peer.raw(&link_fixed(0, 0))
                        .text(IFLA_IFNAME, veth.peer_name);
                    peer.number(
                        IFLA_NET_NS_FD,
                        veth.peer_namespace.as_raw_fd().cast_unsigned(),
                    );
                    if let Some(mac) = veth.peer_mac {
                        peer.attribute(IFLA_ADDRESS, &mac);
                    }
                    if veth.mtu != 0 {
                        peer.number(IFLA_MTU, veth.mtu);
                    }
                });
            });
    });
    message
}

/// Makes a pair of linked interfaces that both stay here, are down, and need no ARP: what one sends,
/// to whomever, the other takes.
pub fn create_pair(name: &str, peer: &str, mac: Mac) -> Message {
    let fixed = flags_fixed(IFF_NOARP);
    let action = format!("create links {name} and {peer}");
    let mut message = Message::new(action, NEW_LINK, CREATE | EXCLUSIVE, &fixed);
    message
        .text(IFLA_IFNAME, name)
        .attribute(IFLA_ADDRESS, &mac);
    message.nested(IFLA_LINKINFO, |info| {
        info.attribute(IFLA_INFO_KIND, b"veth")
            .nested(IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |end| {
                    end.raw(&fixed)
                        .text(IFLA_IFNAME, peer)
                        .attribute(IFLA_ADDRESS, &mac);
                });
            });
    });
    message
}

/// Makes a pair of linked interfaces that both stay here.
pub fn create_wire(name: &str, peer: &str) -> Message {
    let action = format!("create links {name} and {peer}");
    let fixed = link_fixed(0, 0);
    let mut message = Message::new(action, NEW_LINK, CREATE | EXCLUSIVE, &fixed);
    message.text(IFLA_IFNAME, name);
    message.nested(IFLA_LINKINFO, |info| {
        info.attribute(IFLA_INFO_KIND, b"veth")
            .nested(IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |end| {
                    end.raw(&fixed).text(IFLA_IFNAME, peer);
                });
            });
    });
    message
}

/// An interface in a sandbox that shares the link of one of the host's.
#[derive(Debug, Clone)]
pub struct Child<'a> {
    /// Its name in the sandbox.
    pub name: &'a str,
    /// Whose link it shares.
    pub parent: u32,
    /// How.
    pub kind: ChildKind,
    /// The sandbox.
    pub namespace: std::os::fd::BorrowedFd<'a>,
    /// Its link-layer address; an ipvlan has its parent's.
    pub mac: Option<Mac>,
    /// The largest packet; 0: the kernel's choice.
    pub mtu: u32,
}

/// How an interface shares another's link. The numbers are the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildKind {
    /// With a link-layer address of its own: private (1), vepa (2), bridge (4), passthru (8).
    Macvlan(u32),
    /// With the parent's: l2 (0), l3 (1), l3s (2); bridge (0), private (1), vepa (2).
    Ipvlan(u16, u16),
}

/// Makes an interface in a sandbox that shares the link of one of the host's.
pub fn create_child(child: &Child<'_>) -> Message {
    use std::os::fd::AsRawFd;
    let action = format!("create link {}", child.name);
    let mut message = Message::new(action, NEW_LINK, CREATE | EXCLUSIVE, &link_fixed(0, 0));
    message
        .text(IFLA_IFNAME, child.name)
        .number(IFLA_LINK, child.parent)
        .number(IFLA_NET_NS_FD, child.namespace.as_raw_fd().cast_unsigned());
    if child.mtu != 0 {
        message.number(IFLA_MTU, child.mtu);
    }
    if let Some(mac) = child.mac {
        message.attribute(IFLA_ADDRESS, &mac);
    }
    message.nested(IFLA_LINKINFO, |info| match child.kind {
        ChildKind::Macvlan(mode) => {
            info.attribute(IFLA_INFO_KIND, b"macvlan")
                .nested(IFLA_INFO_DATA, |data| {
                    data.number(1, mode);
                });
        }
        ChildKind::Ipvlan(mode, flags) => {
            info.attribute(IFLA_INFO_KIND, b"ipvlan")
                .nested(IFLA_INFO_DATA, |data| {
                    data.attribute(1, &mode.to_ne_bytes())
                        .attribute(2, &flags.to_ne_bytes());
                });
        }
    });
    message
}

/// Makes an interface for one VLAN of another interface.
pub fn create_vlan(name: &str, parent: u32, vlan: u16) -> Message {
    const VLAN_ID: u16 = 1;
    let action = format!("create interface {name}");
    let mut message = Message::new(action, NEW_LINK, CREATE | EXCLUSIVE, &link_fixed(0, 0));
    message
        .text(IFLA_IFNAME, name)
        .number(IFLA_LINK, parent)
        .nested(IFLA_LINKINFO, |info| {
            info.attribute(IFLA_INFO_KIND, b"vlan")
                .nested(IFLA_INFO_DATA, |data| {
                    data.attribute(VLAN_ID, &vlan.to_ne_bytes());
                });
        });
    message
}

/// Links whose packets are smaller have no IPv6.
const MTU_OF_IPV6: u32 = 1280;

/// Sets a bridge port's behaviour: `hairpin` sends packets back where they came from (a container
/// that reaches itself through the host's port), `isolated` keeps ports from talking.
pub fn set_bridge_port(name: &str, hairpin: bool, isolated: bool, mtu: u32) -> Message {
    let action = format!("set up bridge port {name}");
    let mut message = Message::new(action, NEW_LINK, 0, &link_fixed(0, 0));
    message
        .text(IFLA_IFNAME, name)
        .nested(IFLA_LINKINFO, |info| {
            info.attribute(IFLA_INFO_SLAVE_KIND, b"bridge")
                .nested(IFLA_INFO_SLAVE_DATA, |data| {
                    data.attribute(IFLA_BRPORT_HAIRPIN, &[u8::from(hairpin)]);
                    data.attribute(IFLA_BRPORT_ISOLATED, &[u8::from(isolated)]);
                });
        });
    // A port needs no address of its own. A kernel, or a link, without IPv6 refuses to hear of it.
    let fits = mtu == 0 || mtu >= MTU_OF_IPV6;
    if fits && std::path::Path::new("/proc/sys/net/ipv6/conf").exists() {
        message.nested(IFLA_AF_SPEC, |families| {
            families.nested(FAMILY_IPV6, |ipv6| {
                ipv6.attribute(IFLA_INET6_ADDR_GEN_MODE, &[NO_ADDRESS]);
            });
        });
    }
    message
}

/// Puts a link under a bridge and up.
pub fn set_master(index: u32, master: u32) -> Message {
    let action = format!("attach link {index} to its bridge");
    let mut message = Message::new(action, NEW_LINK, 0, &link_fixed(index, IFF_UP));
    message.number(IFLA_MASTER, master);
    message
}

/// Brings a link up, with a new link-layer address if one is given.
pub fn set_up(index: u32, mac: Option<Mac>) -> Message {
    let action = format!("bring link {index} up");
    let mut message = Message::new(action, NEW_LINK, 0, &link_fixed(index, IFF_UP));
    if let Some(mac) = mac {
        message.attribute(IFLA_ADDRESS, &mac);
    }
    message
}

/// Takes a link down: nothing passes any more.
pub fn set_down(index: u32) -> Message {
    let action = format!("take link {index} down");
    Message::new(action, NEW_LINK, 0, &down_fixed(index))
}

/// Writes down of a link what it is for.
pub fn set_alias(name: &str, alias: &str) -> Message {
    let action = format!("describe link {name}");
    let mut message = Message::new(action, NEW_LINK, 0, &link_fixed(0, 0));
    message.text(IFLA_IFNAME, name).text(IFLA_IFALIAS, alias);
    message
}

/// Renames a link that is down; `eth%d` picks the first free number.
pub fn rename(index: u32, name: &str) -> Message {
    let action = format!("name link {index} {name}");
    let mut message = Message::new(action, NEW_LINK, 0, &link_fixed(index, 0));
    message.text(IFLA_IFNAME, name);
    message
}

/// Sends a link into another namespace, down, under a name of its own there.
pub fn move_link(index: u32, namespace: std::os::fd::BorrowedFd<'_>, name: &str) -> Message {
    use std::os::fd::AsRawFd;
    let action = format!("move link {index}");
    let mut message = Message::new(action, NEW_LINK, 0, &down_fixed(index));
    message
        .number(IFLA_NET_NS_FD, namespace.as_raw_fd().cast_unsigned())
        .text(IFLA_IFNAME, name);
    message
}

/// Sends packets for a range by a link: to a gateway there, or to the link itself.
pub fn add_route(index: u32, (to, length): Prefix, gateway: Option<IpAddr>) -> Message {
    const ON_LINK: u8 = 253;
    let scope = if gateway.is_some() {
        EVERYWHERE
    } else {
        ON_LINK
    };
    let fixed = [
        family(to),
        length,
        0,
        0,
        TABLE_MAIN,
        MADE_AT_RUN_TIME,
        scope,
        UNICAST,
        0,
        0,
        0,
        0,
    ];
    let action = format!("add route to {to}/{length}");
    let mut message = Message::new(action, NEW_ROUTE, CREATE | EXCLUSIVE, &fixed);
    let address = |message: &mut Message, kind, address: IpAddr| {
        match address {
            IpAddr::V4(v4) => message.attribute(kind, &v4.octets()),
            IpAddr::V6(v6) => message.attribute(kind, &v6.octets()),
        };
    };
    address(&mut message, RTA_DST, to);
    if let Some(gateway) = gateway {
        address(&mut message, RTA_GATEWAY, gateway);
    }
    message.number(RTA_OIF, index);
    message
}

/// Deletes a link.
pub fn delete_link(index: u32) -> Message {
    Message::new(
        format!("delete link {index}"),
        DELETE_LINK,
        0,
        &link_fixed(index, 0),
    )
}

/// Gives a link an address. No duplicate detection: the pool is the only giver.
pub fn add_address(index: u32, prefix: Prefix) -> Message {
    address_in_scope(index, prefix, EVERYWHERE)
}

/// Gives a link an address that is nobody's source beyond it.
pub fn add_link_address(index: u32, prefix: Prefix) -> Message {
    const ON_LINK: u8 = 253;
    address_in_scope(index, prefix, ON_LINK)
}

/// Takes an address from a link.
pub fn delete_address(index: u32, (address, length): Prefix) -> Message {
    let mut fixed = vec![family(address), length, 0, 0];
    fixed.extend_from_slice(&index.to_ne_bytes());
    let action = format!("remove address {address}/{length}");
    let mut message = Message::new(action, ADDRESS_GONE, 0, &fixed);
    match address {
        IpAddr::V4(v4) => message.attribute(IFA_LOCAL, &v4.octets()),
        IpAddr::V6(v6) => message.attribute(IFA_LOCAL, &v6.octets()),
    };
    message
}

fn address_in_scope(index: u32, (address, length): Prefix, scope: u8) -> Message {
    let mut fixed = vec![family(address), length, 0, scope];
    fixed.extend_from_slice(&index.to_ne_bytes());
    let action = format!("add address {address}/{length}");
    let mut message = Message::new(action, NEW_ADDRESS, CREATE | EXCLUSIVE, &fixed);
    match address {
        IpAddr::V4(v4) => {
            message
                .attribute(IFA_LOCAL, &v4.octets())
                .attribute(IFA_ADDRESS, &v4.octets());
            if length < 31 {
                let broadcast = v4.to_bits() | u32::MAX.checked_shr(length.into()).unwrap_or(0);
                message.attribute(IFA_BROADCAST, &broadcast.to_be_bytes());
            }
        }
        IpAddr::V6(v6) => {
            message
                .attribute(IFA_LOCAL, &v6.octets())
                .attribute(IFA_ADDRESS, &v6.octets());
            message.number(IFA_FLAGS, IFA_F_NODAD);
        }
    }
    message
}

/// Sends everything without a nearer route to `gateway` over a link. Fails if there is such a
/// route already.
pub fn add_default_route(index: u32, gateway: IpAddr) -> Message {
    default_route(index, gateway, CREATE | EXCLUSIVE)
}

/// As [`add_default_route`], in place of another.
pub fn replace_default_route(index: u32, gateway: IpAddr) -> Message {
    const REPLACE: u16 = 0x100;
    default_route(index, gateway, CREATE | REPLACE)
}

fn default_route(index: u32, gateway: IpAddr, flags: u16) -> Message {
    let fixed = [
        family(gateway),
        0,
        0,
        0,
        TABLE_MAIN,
        MADE_AT_RUN_TIME,
        0,
        UNICAST,
        0,
        0,
        0,
        0,
    ];
    let action = format!("add default route through {gateway}");
    let mut message = Message::new(action, NEW_ROUTE, flags, &fixed);
    match gateway {
        IpAddr::V4(v4) => message.attribute(RTA_GATEWAY, &v4.octets()),
        IpAddr::V6(v6) => message.attribute(RTA_GATEWAY, &v6.octets()),
    };
    message.number(RTA_OIF, index);
    message
}

/// Asks for one link by name; answered with a link to give to [`parse_link`].
pub fn get_link(name: &str) -> Message {
    let mut message = Message::new(format!("find link {name}"), GET_LINK, 0, &link_fixed(0, 0));
    message.text(IFLA_IFNAME, name);
    message
}

fn get_link_by_index(index: u32) -> Message {
    Message::new(
        format!("find link {index}"),
        GET_LINK,
        0,
        &link_fixed(index, 0),
    )
}

/// Reads a link from an answer or a notification.
pub fn parse_link(payload: &[u8]) -> Option<Link> {
    let attributes = Attributes::after(payload, LINK_FIXED);
    let info = attributes.nest(IFLA_LINKINFO);
    Some(Link {
        index: u32_at(payload, 4)?,
        name: attributes.text(IFLA_IFNAME)?,
        kind: info.text(IFLA_INFO_KIND).unwrap_or_default(),
        master: attributes.number(IFLA_MASTER),
        peer: attributes.number(IFLA_LINK),
        mac: attributes
            .get(IFLA_ADDRESS)
            .and_then(|data| data.try_into().ok()),
        is_up: u32_at(payload, 8)? & IFF_UP != 0,
        is_running: attributes.get(IFLA_OPERSTATE) == Some(&[OPERSTATE_UP]),
        mtu: attributes.number(IFLA_MTU).unwrap_or(0),
        alias: attributes.text(IFLA_IFALIAS).unwrap_or_default(),
    })
}

/// The number of the link that a notification of an address is about.
pub fn link_of_address(payload: &[u8]) -> Option<u32> {
    u32_at(payload, 4)
}

/// A socket for links, addresses and routes.
#[derive(Debug)]
pub struct Route(Socket);

impl Route {
    /// Opens one in the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        Socket::open(Protocol::Route).map(Self)
    }

    /// Does all of `messages`, in one send.
    pub fn apply(&mut self, messages: &[Message]) -> Result<(), Error> {
        self.0.exchange(messages).map(drop)
    }

    /// Does all of `messages`, in one send; gives the links that were asked for.
    pub fn apply_and_get(&mut self, messages: &[Message]) -> Result<Vec<Link>, Error> {
        let answers = self.0.exchange(messages)?;
        Ok(answers
            .iter()
            .filter_map(|answer| parse_link(&answer.payload))
            .collect())
    }

    /// The link of a name.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        self.find(get_link(name))
    }

    /// The link of a number.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, Error> {
        self.find(get_link_by_index(index))
    }

    fn find(&mut self, message: Message) -> Result<Option<Link>, Error> {
        match self.apply_and_get(&[message]) {
            Ok(links) => Ok(links.into_iter().next()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All links.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        self.apply_and_get(&[Message::new(
            "list links",
            GET_LINK,
            DUMP,
            &link_fixed(0, 0),
        )])
    }

    /// All addresses, each with its link's number.
    pub fn addresses(&mut self) -> Result<Vec<(u32, Prefix)>, Error> {
        let ask = Message::new("list addresses", GET_ADDRESS, DUMP, &[0; ADDRESS_FIXED]);
        let answers = self.0.exchange(&[ask])?;
        Ok(answers
            .iter()
            .filter_map(|answer| parse_address(&answer.payload))
            .collect())
    }

    /// The addresses of one link that are valid everywhere and do not run out.
    pub fn lasting_addresses(&mut self, index: u32) -> Result<Vec<Prefix>, Error> {
        let ask = Message::new("list addresses", GET_ADDRESS, DUMP, &[0; ADDRESS_FIXED]);
        let answers = self.0.exchange(&[ask])?;
        let lasting = answers.iter().filter(|answer| is_lasting(&answer.payload));
        Ok(lasting
            .filter_map(|answer| parse_address(&answer.payload))
            .filter_map(|(of, prefix)| (of == index).then_some(prefix))
            .collect())
    }

    /// The destinations of all routes of the main table, but for default routes.
    pub fn destinations(&mut self) -> Result<Vec<Prefix>, Error> {
        let ask = Message::new("list routes", GET_ROUTE, DUMP, &[0; ROUTE_FIXED]);
        let answers = self.0.exchange(&[ask])?;
        Ok(answers
            .iter()
            .filter_map(|answer| parse_destination(&answer.payload))
            .collect())
    }
}

/// Of all flags, the one for being up changes: to down.
fn down_fixed(index: u32) -> [u8; LINK_FIXED] {
    let mut fixed = link_fixed(index, 0);
    fixed[12..].copy_from_slice(&IFF_UP.to_ne_bytes());
    fixed
}

fn link_fixed(index: u32, up: u32) -> [u8; LINK_FIXED] {
    let mut fixed = [0; LINK_FIXED];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&up.to_ne_bytes());
    fixed[12..].copy_from_slice(&up.to_ne_bytes());
    fixed
}

fn flags_fixed(flags: u32) -> [u8; LINK_FIXED] {
    let mut fixed = [0; LINK_FIXED];
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..].copy_from_slice(&flags.to_ne_bytes());
    fixed
}

fn family(address: IpAddr) -> u8 {
    let number = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    u8::try_from(number).expect("address families are small")
}

fn parse_address(payload: &[u8]) -> Option<(u32, Prefix)> {
    let attributes = Attributes::after(payload, ADDRESS_FIXED);
    let data = attributes
        .get(IFA_LOCAL)
        .or_else(|| attributes.get(IFA_ADDRESS))?;
    Some((u32_at(payload, 4)?, (address(data)?, *payload.get(1)?)))
}

fn is_lasting(payload: &[u8]) -> bool {
    // Family, prefix length, flags, scope.
    let (flags, scope) = (payload.get(2), payload.get(3));
    flags.is_some_and(|flags| flags & IFA_F_PERMANENT != 0) && scope == Some(&EVERYWHERE)
}

fn parse_destination(payload: &[u8]) -> Option<Prefix> {
    let attributes = Attributes::after(payload, ROUTE_FIXED);
    // Family, destination length, source length, tos, table.
    let (length, table) = (*payload.get(1)?, *payload.get(4)?);
    u16_at(payload, 0)?;
    (table == TABLE_MAIN).then(|| Some((address(attributes.get(RTA_DST)?)?, length)))?
}

fn address(data: &[u8]) -> Option<IpAddr> {
    match data.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::{super::namespace, *};

    #[test]
    fn a_pair_joins_a_bridge_and_a_sandbox_with_one_message() {
        let (sandbox, ()) = namespace::create(|| Ok(())).unwrap();
        let (_host, ()) = namespace::create(|| {
            let mut route = Route::open().unwrap();
            route
                .apply(&[create_bridge("hull0", [2, 0, 0, 0, 0, 1], 1400)])
                .unwrap();
            let bridge = route.link("hull0").unwrap().unwrap();
            assert_eq!((bridge.kind.as_str(), bridge.is_up), ("bridge", true));
            route
                .apply(&[add_address(bridge.index, ([10, 9, 0, 1].into(), 24))])
                .unwrap();
            let veth = Veth {
                name: "hv1",
                master: bridge.index,
                peer_name: "eth%d",
                peer_mac: Some([2, 0x42, 10, 9, 0, 2]),
                peer_namespace: sandbox.as_fd(),
                mtu: 1400,
            };
            let near = route
                .apply_and_get(&[
                    create_veth(&veth),
                    set_bridge_port("hv1", true, false, 1500),
                    get_link("hv1"),
                ])
                .unwrap()
                .remove(0);
            assert_eq!((near.master, near.mtu), (Some(bridge.index), 1400));
            namespace::enter(sandbox.as_fd(), || {
                let mut inside = Route::open().unwrap();
                let far = inside.link_by_index(near.peer.unwrap()).unwrap().unwrap();
                assert_eq!(far.name, "eth0");
                assert_eq!(far.mac, Some([2, 0x42, 10, 9, 0, 2]));
                inside
                    .apply(&[
                        set_up(far.index, None),
                        add_address(far.index, ([10, 9, 0, 2].into(), 24)),
                        add_default_route(far.index, [10, 9, 0, 1].into()),
                    ])
                    .unwrap();
                let addresses = inside.addresses().unwrap();
                assert!(addresses.contains(&(far.index, ([10, 9, 0, 2].into(), 24))));
                let destinations = inside.destinations().unwrap();
                assert!(
                    destinations.contains(&([10, 9, 0, 0].into(), 24)),
                    "{destinations:?}"
                );
                Ok(())
            })
            .unwrap();
            assert_eq!(route.link("nothere").unwrap(), None);
            let error = route.apply(&[delete_link(4711)]).unwrap_err();
            assert!(error.is_not_found(), "{error:?}");
            assert_eq!(error.to_string(), "cannot delete link 4711");
            Ok(())
        })
        .unwrap();
    }
}
