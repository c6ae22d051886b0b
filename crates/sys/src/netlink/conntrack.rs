//! Forgetting tracked connections. An old entry of a connectionless protocol would go on sending
//! a client's packets to where a published port used to lead.

use std::net::IpAddr;

use super::{
    Attributes, Error, Message, Protocol, Socket,
    message::{DUMP, NESTED},
};

const SUBSYSTEM: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;
/// What stands before the attributes.
const FIXED_BYTES: usize = 4;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const V4_SOURCE: u16 = 1;
const V6_SOURCE: u16 = 3;
const PROTOCOL_NUMBER: u16 = 1;
const DESTINATION_PORT: u16 = 3;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
const BY_IP_SOURCE: u32 = 1;
const BY_PROTOCOL: u32 = 1 << 3;
const BY_DESTINATION_PORT: u32 = 1 << 5;

/// Forgets connections of an IP protocol that were opened towards `port`.
pub fn forget_port(ipv6: bool, protocol: u8, port: u16) -> Result<(), Error> {
    let towards = Some((protocol, port));
    forget(&Forgotten {
        ipv6,
        towards,
        answered_by: None,
    })
}

/// Forgets connections of an IP protocol that were opened towards `port` and led to `target`: they
/// do not go on.
pub fn forget_port_of(target: IpAddr, protocol: u8, port: u16) -> Result<(), Error> {
    forget(&Forgotten {
        ipv6: target.is_ipv6(),
        towards: Some((protocol, port)),
        answered_by: Some(target),
    })
}

/// Forgets connections that `address` answered: those once led to it.
pub fn forget_answers_of(address: IpAddr) -> Result<(), Error> {
    forget(&Forgotten {
        ipv6: address.is_ipv6(),
        towards: None,
        answered_by: Some(address),
    })
}

/// Which connections; one of the two is always said.
struct Forgotten {
    ipv6: bool,
    towards: Option<(u8, u16)>,
    answered_by: Option<IpAddr>,
}

fn forget(which: &Forgotten) -> Result<(), Error> {
    // The kernel's filter takes an IPv6 address the wrong way round (seen with 6.18): all others
    // would be forgotten.
    if which.answered_by.is_some_and(|address| address.is_ipv6()) {
        return which.one_by_one();
    }
    match delete(&mut Socket::open(Protocol::Netfilter)?, which.filtered()) {
        // Before Linux 6.12 only whole tuples can be named.
        Err(error) if error.errno() == Some(libc::EINVAL) => which.one_by_one(),
        done => done,
    }
}

impl Forgotten {
    /// One request for all of them.
    fn filtered(&self) -> Message {
        let mut message = deletion(self.ipv6);
        let (mut original, mut reply) = (0, 0);
        if let Some((protocol, port)) = self.towards {
            opened_towards(&mut message, protocol, port);
            original = BY_PROTOCOL | BY_DESTINATION_PORT;
        }
        if let Some(address) = self.answered_by {
            answered_by(&mut message, address);
            reply = BY_IP_SOURCE;
        }
        message.nested(FILTER, |filter| {
            filter
                .number(FILTER_ORIGINAL, original)
                .number(FILTER_REPLY, reply);
        });
        message
    }

    fn one_by_one(&self) -> Result<(), Error> {
        let mut socket = Socket::open(Protocol::Netfilter)?;
        for connection in list(&mut socket, self.ipv6)? {
            let parts = Attributes::after(&connection, FIXED_BYTES);
            let Some(tuple) = parts.get(TUPLE_ORIGINAL).filter(|_| self.covers(parts)) else {
                continue;
            };
            let mut message = deletion(self.ipv6);
            message.attribute(TUPLE_ORIGINAL | NESTED, tuple);
            // The number tells it from one that came in its place.
            for kind in [ZONE, ID] {
                if let Some(value) = parts.get(kind) {
                    message.attribute(kind, value);
                }
            }
            delete(&mut socket, message)?;
        }
        Ok(())
    }

    fn covers(&self, connection: Attributes<'_>) -> bool {
        let opened = connection.nest(TUPLE_ORIGINAL).nest(TUPLE_PROTOCOL);
        let is_towards = self.towards.is_none_or(|(protocol, port)| {
            opened.get(PROTOCOL_NUMBER) == Some(&[protocol])
                && opened.get(DESTINATION_PORT) == Some(&port.to_be_bytes())
        });
        let answered = connection.nest(TUPLE_REPLY).nest(TUPLE_IP);
        let is_answered = self.answered_by.is_none_or(|address| match address {
            IpAddr::V4(v4) => answered.get(V4_SOURCE) == Some(&v4.octets()),
            IpAddr::V6(v6) => answered.get(V6_SOURCE) == Some(&v6.octets()),
        });
        is_towards && is_answered
    }
}

/// All connections of a family, as the kernel writes them.
fn list(socket: &mut Socket, ipv6: bool) -> Result<Vec<Vec<u8>>, Error> {
    let kind = SUBSYSTEM << 8 | GET;
    let message = Message::new("list connections", kind, DUMP, &fixed(ipv6));
    let answers = socket.exchange(&[message])?;
    Ok(answers.into_iter().map(|answer| answer.payload).collect())
}

fn deletion(ipv6: bool) -> Message {
    let kind = SUBSYSTEM << 8 | DELETE;
    Message::new("forget connections", kind, 0, &fixed(ipv6))
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

fn fixed(ipv6: bool) -> [u8; FIXED_BYTES] {
    let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET };
    [
        u8::try_from(family).expect("address families are small"),
        0,
        0,
        0,
    ]
}

fn delete(socket: &mut Socket, message: Message) -> Result<(), Error> {
    match socket.exchange(&[message]) {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::netlink::{message::CREATE, namespace};

    const UDP: u8 = 17;

    /// One UDP connection: who asks, which port is asked, and who answers.
    struct Connection {
        from: IpAddr,
        port: u16,
        answers: IpAddr,
    }

    impl Connection {
        fn make(&self, socket: &mut Socket) {
            let fixed = fixed(self.from.is_ipv6());
            let mut message = Message::new("track", SUBSYSTEM << 8, CREATE, &fixed);
            let host = match self.from {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
            };
            // Another port of the asker each time: answers must tell connections apart, too.
            let asker = (self.from, 5000 + self.port);
            tuple(&mut message, TUPLE_ORIGINAL, asker, (host, self.port));
            tuple(&mut message, TUPLE_REPLY, (self.answers, 53), asker);
            message.big(7, 60); // seconds
            socket.exchange(&[message]).unwrap();
        }
    }

    fn tuple(message: &mut Message, kind: u16, from: (IpAddr, u16), to: (IpAddr, u16)) {
        message.nested(kind, |tuple| {
            tuple.nested(TUPLE_IP, |part| {
                for (address, four, six) in [(from.0, 1, 3), (to.0, 2, 4)] {
                    match address {
                        IpAddr::V4(v4) => part.attribute(four, &v4.octets()),
                        IpAddr::V6(v6) => part.attribute(six, &v6.octets()),
                    };
                }
            });
            tuple.nested(TUPLE_PROTOCOL, |part| {
                part.attribute(PROTOCOL_NUMBER, &[UDP])
                    .attribute(2, &from.1.to_be_bytes())
                    .attribute(DESTINATION_PORT, &to.1.to_be_bytes());
            });
        });
    }

    /// The ports that connections left were opened towards, of a family.
    fn left(ipv6: bool) -> Vec<u16> {
        let mut socket = Socket::open(Protocol::Netfilter).unwrap();
        let port = |connection: Vec<u8>| {
            let parts = Attributes::after(&connection, FIXED_BYTES);
            let opened = parts.nest(TUPLE_ORIGINAL).nest(TUPLE_PROTOCOL);
            let port = opened.get(DESTINATION_PORT).unwrap();
            u16::from_be_bytes(port.try_into().unwrap())
        };
        let listed = list(&mut socket, ipv6).unwrap();
        let mut ports: Vec<_> = listed.into_iter().map(port).collect();
        ports.sort_unstable();
        ports
    }

    fn make_all() {
        let mut socket = Socket::open(Protocol::Netfilter).unwrap();
        for (from, port, answers) in [
            ("10.0.0.9", 53, "172.17.0.2"),
            ("10.0.0.9", 54, "172.17.0.2"),
            ("10.0.0.9", 55, "172.17.0.3"),
            ("fd00::9", 53, "fd00::2"),
            ("fd00::9", 54, "fd00::3"),
        ] {
            let (from, answers) = (from.parse().unwrap(), answers.parse().unwrap());
            Connection {
                from,
                port,
                answers,
            }
            .make(&mut socket);
        }
    }

    /// Both ways, for both are used.
    fn after(which: &Forgotten) -> [Vec<u16>; 2] {
        let play = |forget: fn(&Forgotten) -> Result<(), Error>| {
            let played = namespace::create(|| {
                make_all();
                forget(which).map_err(std::io::Error::other)?;
                Ok([left(false), left(true)])
            });
            played.unwrap().1
        };
        let one_by_one = play(Forgotten::one_by_one);
        // What this kernel does at once, or in the same way.
        assert_eq!(play(forget), one_by_one);
        one_by_one
    }

    #[test]
    fn only_the_connections_that_are_named_are_forgotten() {
        let which = |ipv6, towards, answered_by: Option<&str>| Forgotten {
            ipv6,
            towards,
            answered_by: answered_by.map(|address| address.parse().unwrap()),
        };
        let left = after(&which(false, Some((UDP, 53)), None));
        assert_eq!(left, [vec![54, 55], vec![53, 54]]);
        let left = after(&which(true, Some((UDP, 53)), None));
        assert_eq!(left, [vec![53, 54, 55], vec![54]]);
        let left = after(&which(false, None, Some("172.17.0.2")));
        assert_eq!(left, [vec![55], vec![53, 54]]);
        let left = after(&which(true, None, Some("fd00::3")));
        assert_eq!(left, [vec![53, 54, 55], vec![53]]);
        let left = after(&which(false, Some((UDP, 54)), Some("172.17.0.2")));
        assert_eq!(left, [vec![53, 55], vec![53, 54]]);
        let left = after(&which(false, Some((6, 53)), None));
        assert_eq!(left, [vec![53, 54, 55], vec![53, 54]]);
    }
}
