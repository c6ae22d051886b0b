//! Forgetting tracked connections. An old entry of a connectionless protocol would go on sending
//! a client's packets to where a published port used to lead.

use std::net::IpAddr;

use super::{Error, Message, Protocol, Socket};

const SUBSYSTEM: u16 = 1;
const DELETE: u16 = 2;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const V4_SOURCE: u16 = 1;
const V6_SOURCE: u16 = 3;
const PROTOCOL_NUMBER: u16 = 1;
const DESTINATION_PORT: u16 = 3;
const FILTER: u16 = 25;
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
const BY_IP_SOURCE: u32 = 1;
const BY_PROTOCOL: u32 = 1 << 3;
const BY_DESTINATION_PORT: u32 = 1 << 5;

/// Forgets connections of an IP protocol that were opened towards `port`.
///
/// Kernels before 6.12 cannot filter and do nothing.
pub fn forget_port(ipv6: bool, protocol: u8, port: u16) -> Result<(), Error> {
    let mut message = Message::new(
        "forget connections",
        SUBSYSTEM << 8 | DELETE,
        0,
        &fixed(ipv6),
    );
    opened_towards(&mut message, protocol, port);
    message.nested(FILTER, |filter| {
        filter.number(FILTER_ORIGINAL, BY_PROTOCOL | BY_DESTINATION_PORT);
        filter.number(FILTER_REPLY, 0);
    });
    delete(message)
}

/// Forgets connections of an IP protocol that were opened towards `port` and led to `target`: they
/// do not go on.
pub fn forget_port_of(target: IpAddr, protocol: u8, port: u16) -> Result<(), Error> {
    let mut message = Message::new(
        "forget connections",
        SUBSYSTEM << 8 | DELETE,
        0,
        &fixed(target.is_ipv6()),
    );
    opened_towards(&mut message, protocol, port);
    answered_by(&mut message, target);
    message.nested(FILTER, |filter| {
        filter
            .number(FILTER_ORIGINAL, BY_PROTOCOL | BY_DESTINATION_PORT)
            .number(FILTER_REPLY, BY_IP_SOURCE);
    });
    delete(message)
}

/// Forgets connections that `address` answered: those once led to it.
pub fn forget_answers_of(address: IpAddr) -> Result<(), Error> {
    let fixed = fixed(address.is_ipv6());
    let mut message = Message::new("forget connections", SUBSYSTEM << 8 | DELETE, 0, &fixed);
    answered_by(&mut message, address);
    message.nested(FILTER, |filter| {
        filter
            .number(FILTER_ORIGINAL, 0)
            .number(FILTER_REPLY, BY_IP_SOURCE);
    });
    delete(message)
}

fn opened_towards(message: &mut Message, protocol: u8, port: u16) {
    message.nested(TUPLE_ORIGINAL, |tuple| {
        tuple.nested(TUPLE_PROTOCOL, |part| {
            part.attribute(PROTOCOL_NUMBER, &[protocol]);
            part.attribute(DESTINATION_PORT, &port.to_be_bytes());
        });
    });
}

fn answered_by(message: &mut Message, address: IpAddr) {
    message.nested(TUPLE_REPLY, |tuple| {
        tuple.nested(TUPLE_IP, |part| {
            match address {
                IpAddr::V4(v4) => part.attribute(V4_SOURCE, &v4.octets()),
                IpAddr::V6(v6) => part.attribute(V6_SOURCE, &v6.octets()),
            };
        });
    });
}

fn fixed(ipv6: bool) -> [u8; 4] {
    let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET };
    [
        u8::try_from(family).expect("address families are small"),
        0,
        0,
        0,
    ]
}

fn delete(message: Message) -> Result<(), Error> {
    match Socket::open(Protocol::Netfilter)?.exchange(&[message]) {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
