//! Ports of the host: reserved by a bound socket, so that no other program takes one and other
//! programs' ports are noticed; and who holds a port that cannot be had.
//!
//! A reserving socket is bound but does not listen: what reaches it in spite of the rules is
//! refused at once, instead of waiting in a queue that nobody reads. One whose port is relayed
//! ([`crate::names`]) listens.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt};

use crate::Protocol;

/// How many connections may wait to be accepted: the kernel takes its own limit if that is lower.
const QUEUE: i32 = 4096;

/// The kernel's range when it cannot be read.
const USUAL_RANGE: (u16, u16) = (32768, 60999);

/// Reserves a port. `None`: the protocol needs no reservation.
pub(crate) fn reserve(protocol: Protocol, address: SocketAddr) -> io::Result<Option<OwnedFd>> {
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        // Kernels mostly have SCTP as a module that nobody loads: the rule needs no socket.
        Protocol::Sctp => return Ok(None),
    };
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    match bind(&socket, &address) {
        // Connections that a server on this port closed may linger for a minute. They are no
        // obstacle, but only a reusing socket may join them; afterwards nobody may join ours.
        Err(rustix::io::Errno::ADDRINUSE) if protocol == Protocol::Tcp => {
            if listener(protocol, address).is_some() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &address)?;
            sockopt::set_socket_reuseaddr(&socket, false)?;
        }
        result => result?,
    }
    Ok(Some(socket))
}

/// The same, for one that clients connect to at the socket itself.
pub(crate) fn reserve_to_relay(protocol: Protocol, address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = reserve(protocol, address)?.ok_or(io::ErrorKind::Unsupported)?;
    if protocol == Protocol::Tcp {
        // What is accepted inherits it: its remains keep nobody from the port. Nobody joins a socket
        // that listens.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::listen(&socket, QUEUE)?;
    }
    Ok(socket)
}

/// Whether this host has IPv6 at all, if only on its loopback.
pub(crate) fn host_has_ipv6() -> bool {
    fs::read("/proc/thread-self/net/if_inet6").is_ok_and(|text| !text.is_empty())
}

/// The range from which free ports are chosen.
pub(crate) fn ephemeral_range() -> (u16, u16) {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) if 0 < first && first <= last => (first, last),
        _ => USUAL_RANGE,
    }
}

/// The process that holds a port, for people: `process nginx (pid 123)`.
pub(crate) fn holder(protocol: Protocol, address: SocketAddr) -> Option<String> {
    let inode = listener(protocol, address)?;
    let wanted = format!("socket:[{inode}]");
    let pids = fs::read_dir("/proc").ok()?.flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| has_open(*pid, &wanted))
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("process {} (pid {pid})", name.trim())
        })
}

fn has_open(pid: u32, wanted: &str) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    open.flatten()
        .any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == wanted))
}

/// The inode of the socket that keeps `address` from being bound.
fn listener(protocol: Protocol, address: SocketAddr) -> Option<u64> {
    ["", "6"].iter().find_map(|version| {
        let path = format!("/proc/thread-self/net/{protocol}{version}");
        let text = fs::read_to_string(path).ok()?;
        find_listener(&text, protocol, address)
    })
}

/// Finds it in a table of the kernel's.
fn find_listener(table: &str, protocol: Protocol, wanted: SocketAddr) -> Option<u64> {
    // TCP_LISTEN, and what the kernel shows for an unconnected UDP socket; a bound TCP socket that
    // does not listen is in no table.
    let state = if protocol == Protocol::Tcp {
        "0A"
    } else {
        "07"
    };
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let local = parse_address(fields.get(1)?)?;
        let any = local.ip().is_unspecified() || wanted.ip().is_unspecified();
        let same = local.port() == wanted.port() && (any || local.ip() == wanted.ip());
        (same && *fields.get(3)? == state).then(|| fields.get(9)?.parse().ok())?
    })
}

/// `0100007F:0050` is `127.0.0.1:80`: words in the machine's order.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words: Option<Vec<u8>> = address
        .as_bytes()
        .chunks(8)
        .map(|chunk| u32::from_str_radix(std::str::from_utf8(chunk).ok()?, 16).ok())
        .try_fold(Vec::new(), |mut bytes, word| {
            bytes.extend(word?.to_ne_bytes());
            Some(bytes)
        });
    let bytes = words?;
    let ip: IpAddr = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 x\n\
        1: 00000000:0051 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 x\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_table_names_the_socket_in_the_way() {
        let find = |text: &str| find_listener(TABLE, Protocol::Tcp, text.parse().unwrap());
        assert_eq!(find("127.0.0.1:80"), Some(4711));
        assert_eq!(find("0.0.0.0:80"), Some(4711));
        assert_eq!(find("192.0.2.1:80"), None);
        assert_eq!(find("0.0.0.0:81"), None);
    }

    #[test]
    fn a_reserved_port_is_taken_and_refuses_connections() {
        let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let port = TcpListener::bind(any).unwrap().local_addr().unwrap();
        let held = reserve(Protocol::Tcp, port).unwrap();
        assert_eq!(
            TcpListener::bind(port).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        let refused = std::net::TcpStream::connect(port).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        drop(held);
        TcpListener::bind(port).unwrap();
    }

    #[test]
    fn a_listener_is_in_the_way_and_named_but_its_old_connections_are_not() {
        let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let server = TcpListener::bind(any).unwrap();
        let address = server.local_addr().unwrap();
        let error = reserve(Protocol::Tcp, address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let holder = holder(Protocol::Tcp, address).unwrap();
        assert!(
            holder.contains(&format!("(pid {})", std::process::id())),
            "{holder}"
        );
        let client = std::net::TcpStream::connect(address).unwrap();
        let (accepted, _) = server.accept().unwrap();
        drop(accepted);
        drop(server);
        drop(client);
        reserve(Protocol::Tcp, address).unwrap();
    }
}
