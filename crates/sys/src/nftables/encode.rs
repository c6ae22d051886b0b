//! Rules as the kernel's expressions: small programs over registers.
//!
//! Registers 1 to 4 have 16 bytes; the same memory is also the 4-byte registers 8 to 23.

use std::net::IpAddr;

use super::{Element, Family, Match, Rule, Sender, Type, Value, Verdict};
use crate::netlink::Message;

const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;

const REGISTER_VERDICT: u32 = 0;
const REGISTER_1: u32 = 1;
const REGISTER_2: u32 = 2;
/// The first 4-byte register: the same memory as register 1.
const REGISTER_WORD: u32 = 8;

const META_FRAME_HOLDS: u32 = 1;
const META_IN_NAME: u32 = 6;
const META_OUT_NAME: u32 = 7;
const META_FAMILY: u32 = 15;
const META_PROTOCOL: u32 = 16;
const BASE_LINK: u32 = 0;
const BASE_NETWORK: u32 = 1;
const BASE_TRANSPORT: u32 = 2;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
/// New (8).
const STATE_NEW: u32 = 8;
/// Established (2) and related (4).
const STATE_KNOWN: u32 = 2 | 4;
/// `IPS_DST_NAT`.
const STATUS_TRANSLATED: u32 = 1 << 5;
const FIB_RESULT_TYPE: u32 = 3;
const FIB_DESTINATION: u32 = 2;
/// `RTN_LOCAL`.
const ROUTE_LOCAL: u32 = 2;
const NAME_SIZE: usize = 16;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
const CHECKSUM_INTERNET: u32 = 1;

impl Type {
    /// The number `nft` keeps with a set to print it by.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::V4 => 7,
            Self::V6 => 8,
            Self::Mac => 9,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::InterfaceName => 41,
        }
    }

    /// Bytes in a key; each part fills whole 4-byte registers.
    pub(super) fn size(self) -> u32 {
        match self {
            Self::V4 | Self::Protocol | Self::Port => 4,
            Self::Mac => 8,
            Self::V6 | Self::InterfaceName => 16,
        }
    }
}

/// The number of a compound type: six bits a part.
pub(super) fn compound(types: &[Type]) -> u32 {
    types
        .iter()
        .fold(0, |number, part| number << 6 | part.number())
}

/// The bytes of a key with only one part are not padded.
pub(super) fn size(types: &[Type]) -> u32 {
    match types {
        [Type::Protocol] => 1,
        [Type::Port] => 2,
        parts => parts.iter().map(|part| part.size()).sum(),
    }
}

pub(super) fn element(message: &mut Message, element: &Element, with_data: bool) {
    const KEY: u16 = 1;
    const DATA: u16 = 2;
    message.nested(LIST_ELEMENT, |entry| {
        entry.nested(KEY, |key| key.value(&bytes(&element.key)));
        if with_data && !element.data.is_empty() {
            entry.nested(DATA, |data| data.value(&bytes(&element.data)));
        }
    });
}

fn bytes(values: &[Value]) -> Vec<u8> {
    let mut all = Vec::new();
    for value in values {
        match value {
            Value::InterfaceName(name) => all.extend(padded_name(name)),
            Value::Protocol(number) => all.push(*number),
            Value::V4(address) => all.extend(address.octets()),
            Value::V6(address) => all.extend(address.octets()),
            Value::Port(number) => all.extend(number.to_be_bytes()),
            Value::Mac(octets) => all.extend(octets),
        }
        if values.len() > 1 {
            all.resize(all.len().next_multiple_of(4), 0);
        }
    }
    all
}

fn padded_name(name: &str) -> [u8; NAME_SIZE] {
    let mut padded = [0; NAME_SIZE];
    let length = name.len().min(NAME_SIZE - 1);
    padded[..length].copy_from_slice(&name.as_bytes()[..length]);
    padded
}

impl Message {
    fn value(&mut self, bytes: &[u8]) {
        self.attribute(DATA_VALUE, bytes);
    }
}

/// Appends a rule's expressions, for a table of `family`.
pub(super) fn rule(message: &mut Message, family: Family, rule: &Rule) {
    let mut program = Program(message, family);
    for condition in &rule.matches {
        program.condition(condition);
    }
    program.verdict(&rule.verdict);
}

struct Program<'a>(&'a mut Message, Family);

impl Program<'_> {
    fn condition(&mut self, condition: &Match) {
        match condition {
            Match::InterfaceIn(name, holds) => {
                self.meta(META_IN_NAME, REGISTER_1);
                self.compare(&padded_name(name), *holds);
            }
            Match::InterfaceOut(name, holds) => {
                self.meta(META_OUT_NAME, REGISTER_1);
                self.compare(&padded_name(name), *holds);
            }
            Match::InterfaceInSet(set, holds) => {
                self.meta(META_IN_NAME, REGISTER_1);
                self.lookup(set, *holds);
            }
            Match::InterfaceOutSet(set, holds) => {
                self.meta(META_OUT_NAME, REGISTER_1);
                self.lookup(set, *holds);
            }
            Match::InterfacePair(set) => {
                self.meta(META_IN_NAME, REGISTER_1);
                self.meta(META_OUT_NAME, REGISTER_2);
                self.lookup(set, true);
            }
            Match::Source(address, length) => self.network(*address, *length, Side::Source),
            Match::Destination(address, length) => {
                self.network(*address, *length, Side::Destination);
            }
            Match::DestinationIsLocal => self.destination_is_local(),
            Match::ProtocolSet(set) => {
                self.meta(META_PROTOCOL, REGISTER_1);
                self.lookup(set, true);
            }
            Match::SourcePort(protocol, port) => self.port(*protocol, *port, Side::Source),
            Match::DestinationPort(protocol, port) => {
                self.port(*protocol, *port, Side::Destination);
            }
            Match::ServiceInSet { set, ipv6 } => {
                self.service(*ipv6);
                self.lookup(set, true);
            }
            Match::PortInSet(set) => {
                self.meta(META_PROTOCOL, REGISTER_1);
                self.payload(BASE_TRANSPORT, 2, 2, REGISTER_WORD + 1);
                self.lookup(set, true);
            }
            Match::FrameHolds(number) => {
                self.meta(META_FRAME_HOLDS, REGISTER_1);
                self.compare(&number.to_be_bytes(), true);
            }
            Match::SenderInSet { set, sender, holds } => {
                self.meta(META_IN_NAME, REGISTER_1);
                let (base, offset, length) = sender_position(*sender);
                self.payload(base, offset, length, REGISTER_2);
                self.lookup(set, *holds);
            }
            Match::Icmpv6(number) => {
                self.meta(META_PROTOCOL, REGISTER_1);
                self.compare(&[ICMPV6], true);
                self.payload(BASE_TRANSPORT, 0, 1, REGISTER_1);
                self.compare(&[*number], true);
            }
            Match::New => self.tracked(CT_STATE, STATE_NEW),
            Match::Established => self.tracked(CT_STATE, STATE_KNOWN),
            Match::DestinationTranslated => self.tracked(CT_STATUS, STATUS_TRANSLATED),
        }
    }

    fn verdict(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Drop => self.immediate(0, None),
            Verdict::Accept => self.immediate(1, None),
            Verdict::Jump(chain) => self.immediate(-3, Some(chain)),
            Verdict::Return => self.immediate(-5, None),
            Verdict::Divert { gateway, index, .. } => self.divert(*gateway, *index),
            Verdict::Masquerade => self.expression("masq", |_| {}),
            Verdict::TranslateSource(address) => self.translate_source(*address),
            Verdict::SetSourcePort(protocol, port) => {
                self.set_port(*protocol, *port, Side::Source);
            }
            Verdict::SetDestinationPort(protocol, port) => {
                self.set_port(*protocol, *port, Side::Destination);
            }
            Verdict::TranslateByAddress { map, ipv6 } => {
                self.service(*ipv6);
                self.translate(map, *ipv6);
            }
            // The translation itself passes over packets of the other family.
            Verdict::TranslateByPort { map, ipv6 } => {
                self.meta(META_PROTOCOL, REGISTER_1);
                self.payload(BASE_TRANSPORT, 2, 2, REGISTER_WORD + 1);
                self.translate(map, *ipv6);
            }
        }
    }

    /// Loads protocol, destination and port.
    fn service(&mut self, ipv6: bool) {
        self.family(ipv6);
        self.meta(META_PROTOCOL, REGISTER_1);
        let (offset, length) = address_position(ipv6, Side::Destination);
        self.payload(BASE_NETWORK, offset, length, REGISTER_WORD + 1);
        self.payload(BASE_TRANSPORT, 2, 2, REGISTER_WORD + 1 + length / 4);
    }

    fn divert(&mut self, gateway: IpAddr, index: u32) {
        self.load(&octets(gateway), REGISTER_1);
        self.load(&index.to_ne_bytes(), REGISTER_2);
        self.expression("dup", |data| {
            data.big(1, REGISTER_1).big(2, REGISTER_2);
        });
        self.immediate(0, None);
    }

    fn load(&mut self, bytes: &[u8], register: u32) {
        self.expression("immediate", |data| {
            data.big(1, register).nested(2, |value| value.value(bytes));
        });
    }

    fn translate_source(&mut self, address: IpAddr) {
        self.load(&octets(address), REGISTER_1);
        self.expression("nat", |data| {
            data.big(1, 0)
                .big(2, family_number(address.is_ipv6()))
                .big(3, REGISTER_1);
        });
    }

    fn translate(&mut self, map: &str, ipv6: bool) {
        self.expression("lookup", |data| {
            data.text(1, map).big(2, REGISTER_1).big(3, REGISTER_1);
        });
        let port = if ipv6 { REGISTER_2 } else { REGISTER_WORD + 1 };
        self.expression("nat", |data| {
            data.big(1, 1).big(2, family_number(ipv6));
            data.big(3, REGISTER_1).big(5, port);
        });
    }

    fn network(&mut self, address: IpAddr, length: u8, side: Side) {
        self.family(address.is_ipv6());
        let (offset, size) = address_position(address.is_ipv6(), side);
        self.payload(BASE_NETWORK, offset, size, REGISTER_1);
        let mask = mask(size as usize, length);
        self.expression("bitwise", |data| {
            data.big(1, REGISTER_1).big(2, REGISTER_1).big(3, size);
            data.nested(4, |value| value.value(&mask));
            data.nested(5, |value| value.value(&vec![0; mask.len()]));
        });
        let octets = octets(address);
        let network = octets.iter().zip(&mask).map(|(octet, mask)| octet & mask);
        self.compare(&network.collect::<Vec<_>>(), true);
    }

    fn port(&mut self, protocol: u8, port: u16, side: Side) {
        self.meta(META_PROTOCOL, REGISTER_1);
        self.compare(&[protocol], true);
        self.payload(BASE_TRANSPORT, port_offset(side), 2, REGISTER_1);
        self.compare(&port.to_be_bytes(), true);
    }

    fn set_port(&mut self, protocol: u8, port: u16, side: Side) {
        self.load(&port.to_be_bytes(), REGISTER_1);
        // Where the transport's checksum is, which changes along.
        let checksum = if protocol == TCP { 16 } else { 6 };
        self.expression("payload", |data| {
            data.big(5, REGISTER_1)
                .big(2, BASE_TRANSPORT)
                .big(3, port_offset(side))
                .big(4, 2);
            data.big(6, CHECKSUM_INTERNET).big(7, checksum).big(8, 0);
        });
    }

    fn destination_is_local(&mut self) {
        self.expression("fib", |data| {
            data.big(1, REGISTER_1)
                .big(2, FIB_RESULT_TYPE)
                .big(3, FIB_DESTINATION);
        });
        self.compare(&ROUTE_LOCAL.to_ne_bytes(), true);
    }

    /// The connection has one of `bits`.
    fn tracked(&mut self, key: u32, bits: u32) {
        self.expression("ct", |data| {
            data.big(1, REGISTER_1).big(2, key);
        });
        self.expression("bitwise", |data| {
            data.big(1, REGISTER_1).big(2, REGISTER_1).big(3, 4);
            data.nested(4, |value| value.value(&bits.to_ne_bytes()));
            data.nested(5, |value| value.value(&[0; 4]));
        });
        self.compare(&[0; 4], false);
    }

    /// Only packets of one version of IP match. Tables that see no others do without: programs of
    /// nftables cannot read the question there, and give up.
    fn family(&mut self, ipv6: bool) {
        if matches!(self.1, Family::V4 | Family::V6) {
            return;
        }
        self.meta(META_FAMILY, REGISTER_1);
        let number = u8::try_from(family_number(ipv6)).expect("address families are small");
        self.compare(&[number], true);
    }

    fn meta(&mut self, key: u32, register: u32) {
        self.expression("meta", |data| {
            data.big(1, register).big(2, key);
        });
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32, register: u32) {
        self.expression("payload", |data| {
            data.big(1, register)
                .big(2, base)
                .big(3, offset)
                .big(4, length);
        });
    }

    fn compare(&mut self, value: &[u8], equal: bool) {
        self.expression("cmp", |data| {
            data.big(1, REGISTER_1).big(2, u32::from(!equal));
            data.nested(3, |nest| nest.value(value));
        });
    }

    fn lookup(&mut self, set: &str, holds: bool) {
        self.expression("lookup", |data| {
            data.text(1, set).big(2, REGISTER_1);
            if !holds {
                data.big(5, 1);
            }
        });
    }

    fn immediate(&mut self, code: i32, chain: Option<&str>) {
        self.expression("immediate", |data| {
            data.big(1, REGISTER_VERDICT).nested(2, |value| {
                value.nested(DATA_VERDICT, |verdict| {
                    verdict.big(VERDICT_CODE, code.cast_unsigned());
                    if let Some(chain) = chain {
                        verdict.text(VERDICT_CHAIN, chain);
                    }
                });
            });
        });
    }

    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Message)) {
        self.0.nested(LIST_ELEMENT, |expression| {
            expression
                .text(EXPRESSION_NAME, name)
                .nested(EXPRESSION_DATA, fill);
        });
    }
}

#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

/// Offset of a port in its transport header.
fn port_offset(side: Side) -> u32 {
    match side {
        Side::Source => 0,
        Side::Destination => 2,
    }
}

/// Header, offset and length of what names a frame's sender.
fn sender_position(sender: Sender) -> (u32, u32, u32) {
    match sender {
        Sender::Frame => (BASE_LINK, 6, 6),
        Sender::V4 => (BASE_NETWORK, 12, 4),
        Sender::V6 => (BASE_NETWORK, 8, 16),
        Sender::ArpMac => (BASE_NETWORK, 8, 6),
        Sender::ArpV4 => (BASE_NETWORK, 14, 4),
        Sender::Advertised => (BASE_TRANSPORT, 8, 16),
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Offset and length of an address in its IP header.
fn address_position(ipv6: bool, side: Side) -> (u32, u32) {
    match (ipv6, side) {
        (false, Side::Source) => (12, 4),
        (false, Side::Destination) => (16, 4),
        (true, Side::Source) => (8, 16),
        (true, Side::Destination) => (24, 16),
    }
}

/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
fn family_number(ipv6: bool) -> u32 {
    if ipv6 { 10 } else { 2 }
}

fn mask(size: usize, length: u8) -> Vec<u8> {
    let bit = |index: usize| u8::from(index < usize::from(length));
    (0..size)
        .map(|byte| (0..8).fold(0, |all, at| all << 1 | bit(byte * 8 + at)))
        .collect()
}
