//! Reads questions and writes answers. Pure; the wire's details are the `domain` crate's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use domain::{
    base::{
        Message, MessageBuilder, Name, Rtype, ToName,
        iana::{Class, Opcode, Rcode},
        message_builder::AnswerBuilder,
        wire::Composer,
    },
    rdata::{A, Aaaa, Ptr},
};

/// How long an answer about a container holds, in seconds. Short: addresses go to others.
const TTL: u32 = 5;

/// The largest answer over UDP for a client that does not say what it takes.
const UDP_PLAIN_MAX: usize = 512;

/// The largest over UDP at all: loopback carries it in one piece.
const UDP_MAX: usize = 4096;

/// The bytes of a message's header.
const HEADER: usize = 12;

/// What a client wants to know.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, in lower case, without its last dot.
    pub name: String,
    /// What of it.
    pub kind: Kind,
    /// The largest answer over UDP.
    pub size_max: usize,
}

/// What is asked of a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    V4,
    /// IPv6 addresses.
    V6,
    /// The name of this address.
    NameOf(IpAddr),
    /// Something else.
    Other,
}

/// What a question is answered with.
#[derive(Debug)]
pub enum Answer<'a> {
    /// These of the wanted family; none: the name is there without any.
    Addresses(&'a [IpAddr]),
    /// The name of an address.
    Name(&'a str),
    /// There is no such name.
    NoSuchName,
    /// It could not be found out.
    Failed,
}

/// Reads a question; `None`: not one that can be answered.
pub fn question(bytes: &[u8]) -> Option<Question> {
    let message = Message::from_slice(bytes).ok()?;
    if message.header().qr() || message.header().opcode() != Opcode::QUERY {
        return None;
    }
    let question = message.sole_question().ok()?;
    let name = question.qname().to_string().to_lowercase();
    let kind = match (question.qclass(), question.qtype()) {
        (Class::IN, Rtype::A) => Kind::V4,
        (Class::IN, Rtype::AAAA) => Kind::V6,
        (Class::IN, Rtype::PTR) => address_in(&name).map_or(Kind::Other, Kind::NameOf),
        _ => Kind::Other,
    };
    let offered = message
        .opt()
        .map_or(0, |opt| usize::from(opt.udp_payload_size()));
    Some(Question {
        name,
        kind,
        size_max: offered.clamp(UDP_PLAIN_MAX, UDP_MAX),
    })
}

/// The bytes that answer `query`; cut short, and saying so, where they exceed `size_max`.
pub fn answer(query: &[u8], answer: &Answer<'_>, size_max: usize) -> Option<Vec<u8>> {
    let message = Message::from_slice(query).ok()?;
    let full = compose(message, answer, false)?;
    if full.len() <= size_max {
        return Some(full);
    }
    compose(message, answer, true)
}

/// Whether `reply` answers `query`, whose id on the way was `id`.
pub fn is_reply_to(reply: &[u8], query: &[u8], id: u16) -> bool {
    let (Ok(reply), Ok(query)) = (Message::from_slice(reply), Message::from_slice(query)) else {
        return false;
    };
    let same_question = match (reply.sole_question(), query.sole_question()) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        _ => false,
    };
    reply.header().qr() && reply.header().id() == id && same_question
}

/// What a reply's sender makes of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// An answer, or none to be had.
    Answered,
    /// There is no such name.
    NoSuchName,
    /// The sender cannot say: another may.
    Useless,
    /// All of it fits a stream only.
    Truncated,
    /// Something that only the client can make sense of: that it asked wrongly, for one.
    Other,
}

/// Reads a reply's verdict.
pub fn verdict(reply: &[u8]) -> Verdict {
    let Ok(message) = Message::from_slice(reply) else {
        return Verdict::Useless;
    };
    let header = message.header();
    match header.rcode() {
        Rcode::NOERROR if header.tc() => Verdict::Truncated,
        Rcode::NOERROR => Verdict::Answered,
        Rcode::NXDOMAIN => Verdict::NoSuchName,
        Rcode::SERVFAIL | Rcode::REFUSED => Verdict::Useless,
        _ => Verdict::Other,
    }
}

/// Whether a reply has no record that answers.
pub fn is_empty(reply: &[u8]) -> bool {
    Message::from_slice(reply).is_ok_and(|message| message.header_counts().ancount() == 0)
}

/// Writes a message's id.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.get_mut(..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
}

/// A message's id.
pub fn id(message: &[u8]) -> u16 {
    u16_at(message, 0).unwrap_or(0)
}

/// Where a message's records keep their time to live, and the shortest; `None`: it is damaged, or
/// has no records.
pub fn times_to_live(message: &[u8]) -> Option<(Vec<u16>, u32)> {
    const OPT: u16 = 41;
    let count = |at| u16_at(message, at);
    let mut at = HEADER;
    for _ in 0..count(4)? {
        at = after_name(message, at)? + 4;
    }
    let records = u32::from(count(6)?) + u32::from(count(8)?) + u32::from(count(10)?);
    let (mut places, mut shortest) = (Vec::new(), u32::MAX);
    for _ in 0..records {
        at = after_name(message, at)?;
        let length = usize::from(u16_at(message, at + 8)?);
        if u16_at(message, at)? != OPT {
            let time =
                u32::from(u16_at(message, at + 4)?) << 16 | u32::from(u16_at(message, at + 6)?);
            shortest = shortest.min(time);
            places.push(u16::try_from(at + 4).ok()?);
        }
        at += 10 + length;
    }
    (at <= message.len() && !places.is_empty()).then_some((places, shortest))
}

fn compose(query: &Message<[u8]>, answer: &Answer<'_>, is_cut: bool) -> Option<Vec<u8>> {
    let code = match answer {
        Answer::Addresses(_) | Answer::Name(_) => Rcode::NOERROR,
        Answer::NoSuchName => Rcode::NXDOMAIN,
        Answer::Failed => Rcode::SERVFAIL,
    };
    let target = domain::base::StaticCompressor::new(Vec::with_capacity(UDP_PLAIN_MAX));
    let builder = MessageBuilder::from_target(target).ok()?;
    let mut builder = builder.start_answer(query, code).ok()?;
    builder.header_mut().set_ra(true);
    builder.header_mut().set_tc(is_cut);
    if !is_cut && let Ok(question) = query.sole_question() {
        records(&mut builder, question.qname(), question.qtype(), answer)?;
    }
    let mut builder = builder.additional();
    if query.opt().is_some() {
        let size = u16::try_from(UDP_MAX).unwrap_or(u16::MAX);
        builder
            .opt(|opt| {
                opt.set_udp_payload_size(size);
                Ok(())
            })
            .ok()?;
    }
    Some(builder.finish().into_target())
}

fn records<T: Composer>(
    builder: &mut AnswerBuilder<T>,
    name: impl ToName + Copy,
    kind: Rtype,
    answer: &Answer<'_>,
) -> Option<()> {
    match answer {
        Answer::Addresses(addresses) => {
            for address in *addresses {
                match address {
                    IpAddr::V4(v4) if kind == Rtype::A => {
                        builder.push((name, Class::IN, TTL, A::new(*v4))).ok()?;
                    }
                    IpAddr::V6(v6) if kind == Rtype::AAAA => {
                        builder.push((name, Class::IN, TTL, Aaaa::new(*v6))).ok()?;
                    }
                    _ => {}
                }
            }
        }
        Answer::Name(text) => {
            let target: Name<Vec<u8>> = text.parse().ok()?;
            builder
                .push((name, Class::IN, TTL, Ptr::new(target)))
                .ok()?;
        }
        Answer::NoSuchName | Answer::Failed => {}
    }
    Some(())
}

/// The address that a name of a reverse look-up stands for.
fn address_in(name: &str) -> Option<IpAddr> {
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let mut octets: Vec<u8> = labels
            .split('.')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        octets.reverse();
        return Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into());
    }
    let labels = name.strip_suffix(".ip6.arpa")?;
    let digits = labels.split('.').rev().map(|label| {
        (label.len() == 1)
            .then(|| u128::from_str_radix(label, 16).ok())
            .flatten()
    });
    let digits: Vec<u128> = digits.collect::<Option<_>>()?;
    (digits.len() == 32).then(|| {
        let bits = digits.iter().fold(0, |all, digit| all << 4 | digit);
        IpAddr::V6(Ipv6Addr::from_bits(bits))
    })
}

/// Where a name ends.
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = *message.get(at)?;
        match length {
            0 => return Some(at + 1),
            // A pointer ends a name.
            192.. => return Some(at + 2),
            _ => at += usize::from(length) + 1,
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question as clients send it.
    pub(crate) fn ask(name: &str, kind: Rtype, edns: Option<u16>) -> Vec<u8> {
        let mut builder = MessageBuilder::new_vec().question();
        builder.header_mut().set_id(7);
        builder.header_mut().set_rd(true);
        builder
            .push((name.parse::<Name<Vec<u8>>>().unwrap(), kind))
            .unwrap();
        let mut builder = builder.additional();
        if let Some(size) = edns {
            builder
                .opt(|opt| {
                    opt.set_udp_payload_size(size);
                    Ok(())
                })
                .unwrap();
        }
        builder.finish()
    }

    #[test]
    fn questions_are_read() {
        let read = |name: &str, kind| question(&ask(name, kind, None)).unwrap();
        assert_eq!(read("Web.", Rtype::A).name, "web");
        assert_eq!(read("web", Rtype::A).kind, Kind::V4);
        assert_eq!(read("web", Rtype::AAAA).kind, Kind::V6);
        assert_eq!(read("web", Rtype::SRV).kind, Kind::Other);
        let reverse = read("2.0.18.172.in-addr.arpa", Rtype::PTR);
        assert_eq!(reverse.kind, Kind::NameOf([172, 18, 0, 2].into()));
        let v6 = format!("2.{}d.f.ip6.arpa", "0.".repeat(29));
        let expected: IpAddr = "fd00::2".parse().unwrap();
        assert_eq!(read(&v6, Rtype::PTR).kind, Kind::NameOf(expected));
        assert_eq!(read("x.in-addr.arpa", Rtype::PTR).kind, Kind::Other);
        assert_eq!(read("web", Rtype::A).size_max, 512);
        assert_eq!(
            question(&ask("web", Rtype::A, Some(1232)))
                .unwrap()
                .size_max,
            1232
        );
    }

    #[test]
    fn what_is_no_question_is_refused() {
        let mut reply = ask("web", Rtype::A, None);
        reply[2] |= 0x80;
        for bytes in [&[][..], &[0; 5], &[255; 40], &[0; 12], &reply] {
            assert_eq!(question(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn an_answer_repeats_the_question_and_gives_the_wanted_family() {
        let query = ask("wEb", Rtype::A, Some(1232));
        let both = ["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let bytes = answer(&query, &Answer::Addresses(&both), 512).unwrap();
        assert!(is_reply_to(&bytes, &query, 7));
        assert!(!is_reply_to(&bytes, &query, 8));
        let message = Message::from_slice(&bytes).unwrap();
        assert_eq!(message.header_counts().ancount(), 1);
        assert_eq!(message.sole_question().unwrap().qname().to_string(), "wEb");
        assert_eq!(message.opt().unwrap().udp_payload_size(), 4096);
        assert_eq!(verdict(&bytes), Verdict::Answered);
        assert!(bytes.ends_with(&[0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]));
        let none = answer(&ask("web", Rtype::MX, None), &Answer::Addresses(&both), 512).unwrap();
        assert_eq!(
            Message::from_slice(&none)
                .unwrap()
                .header_counts()
                .ancount(),
            0
        );
        let gone = answer(&query, &Answer::NoSuchName, 512).unwrap();
        assert_eq!(verdict(&gone), Verdict::NoSuchName);
        let failed = answer(&query, &Answer::Failed, 512).unwrap();
        assert_eq!(verdict(&failed), Verdict::Useless);
    }

    #[test]
    fn an_answer_that_is_too_long_says_so() {
        let query = ask("web", Rtype::A, None);
        let many: Vec<IpAddr> = (0..100).map(|n| [10, 0, 0, n].into()).collect();
        let cut = answer(&query, &Answer::Addresses(&many), 512).unwrap();
        assert_eq!(verdict(&cut), Verdict::Truncated);
        let whole = answer(&query, &Answer::Addresses(&many), 65535).unwrap();
        assert_eq!(
            Message::from_slice(&whole)
                .unwrap()
                .header_counts()
                .ancount(),
            100
        );
    }

    #[test]
    fn times_to_live_are_found() {
        let query = ask("web", Rtype::A, Some(1232));
        let addresses = [[10, 0, 0, 2].into(), [10, 0, 0, 3].into()];
        let bytes = answer(&query, &Answer::Addresses(&addresses), 512).unwrap();
        let (places, shortest) = times_to_live(&bytes).unwrap();
        assert_eq!((places.len(), shortest), (2, TTL));
        for place in places {
            let place = usize::from(place);
            assert_eq!(bytes[place..place + 4], TTL.to_be_bytes());
        }
        assert_eq!(times_to_live(&query), None);
        assert_eq!(times_to_live(&[255; 30]), None);
        assert_eq!(times_to_live(&[1]), None);
    }
}
