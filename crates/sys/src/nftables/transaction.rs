//! Carries tables and elements into the kernel in one netlink batch: all of it or nothing.

use super::{Chain, Element, Family, Set, Table, TableName, Type, encode};
use crate::netlink::{Attributes, Error, Message, Packet, Protocol, Socket};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;

const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const FIXED: usize = 4;
const CHANGES_GROUP: u32 = 7;

/// Every object names its table by attribute 1; a table itself too.
const TABLE_NAME: u16 = 1;
const TABLE_USE: u16 = 3;
const SET_MAP: u32 = 8;
/// An attribute holds at most 64 KiB; an element of two IPv6 addresses takes about 80 bytes.
const ELEMENTS_PER_MESSAGE: usize = 400;
/// A note of `nft`'s to itself, without which it cannot print names: key byte order (0), 4 bytes
/// long, machine order (1).
const NAMES_ARE_IN_MACHINE_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1_u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};

/// Changes to be made together.
#[derive(Debug, Default)]
pub struct Transaction {
    messages: Vec<Message>,
}

impl Transaction {
    /// Makes `table` as it is given, whatever was under its name.
    pub fn replace(&mut self, table: &Table) {
        self.delete_table(&table.name);
        self.push(
            NEW_TABLE,
            CREATE,
            "create nftables table",
            &table.name,
            |_| {},
        );
        for set in &table.sets {
            self.set(&table.name, set);
            self.add_elements(&table.name, &set.name, &set.elements);
        }
        for chain in &table.chains {
            self.chain(&table.name, chain);
        }
        for chain in &table.chains {
            for rule in &chain.rules {
                let action = format!("create nftables rule `{rule}`");
                self.push(NEW_RULE, CREATE | APPEND, &action, &table.name, |message| {
                    message.text(2, &chain.name);
                    message.nested(4, |list| encode::rule(list, table.name.family, rule));
                });
            }
        }
    }

    /// Removes a table if it is there.
    pub fn delete_table(&mut self, name: &TableName) {
        // There is no "delete if it exists" in old kernels: an empty one is made first.
        self.push(NEW_TABLE, CREATE, "create nftables table", name, |_| {});
        self.push(DELETE_TABLE, 0, "delete nftables table", name, |_| {});
    }

    /// Adds elements to a set or map. An element that is there already is no error.
    pub fn add_elements(&mut self, table: &TableName, set: &str, elements: &[Element]) {
        self.elements(NEW_ELEMENTS, CREATE, table, set, elements);
    }

    /// Removes elements from a set or map. An element that is not there is an error.
    pub fn remove_elements(&mut self, table: &TableName, set: &str, elements: &[Element]) {
        self.elements(DELETE_ELEMENTS, 0, table, set, elements);
    }

    fn elements(
        &mut self,
        kind: u16,
        flags: u16,
        table: &TableName,
        set: &str,
        elements: &[Element],
    ) {
        for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
            let action = format!("change elements of nftables set {set}");
            self.push(kind, flags, &action, table, |message| {
                message.text(2, set).nested(3, |list| {
                    for element in chunk {
                        encode::element(list, element, kind == NEW_ELEMENTS);
                    }
                });
            });
        }
    }

    fn set(&mut self, table: &TableName, set: &Set) {
        let number = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        let action = format!("create nftables set {}", set.name);
        self.push(NEW_SET, CREATE, &action, table, |message| {
            message.text(2, &set.name);
            message.big(3, if set.data.is_empty() { 0 } else { SET_MAP });
            message
                .big(4, encode::compound(&set.key))
                .big(5, encode::size(&set.key));
            if !set.data.is_empty() {
                message
                    .big(6, encode::compound(&set.data))
                    .big(7, encode::size(&set.data));
            }
            message.big(10, number);
            if set.key == [Type::InterfaceName] {
                message.attribute(13, &NAMES_ARE_IN_MACHINE_ORDER);
            }
        });
    }

    fn chain(&mut self, table: &TableName, chain: &Chain) {
        let action = format!("create nftables chain {}", chain.name);
        self.push(NEW_CHAIN, CREATE, &action, table, |message| {
            message.text(3, &chain.name);
            if let Some(hook) = chain.hook {
                message.nested(4, |nest| {
                    nest.big(1, hook.point as u32)
                        .big(2, hook.priority.cast_unsigned());
                });
                message
                    .big(5, 1)
                    .text(7, if hook.is_nat { "nat" } else { "filter" });
            }
        });
    }

    fn push(
        &mut self,
        kind: u16,
        flags: u16,
        action: &str,
        table: &TableName,
        fill: impl FnOnce(&mut Message),
    ) {
        let kind = SUBSYSTEM << 8 | kind;
        let fixed = [number(table.family), 0, 0, 0];
        let mut message = Message::new(action.to_owned(), kind, flags, &fixed);
        message.text(TABLE_NAME, &table.name);
        fill(&mut message);
        self.messages.push(message);
    }
}

/// The kernel's firewall, for one network namespace.
#[derive(Debug)]
pub struct Firewall(Socket);

impl Firewall {
    /// Opens it for the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        Socket::open(Protocol::Netfilter).map(Self)
    }

    /// The number by which notifications name this handle's own changes.
    pub fn port(&self) -> u32 {
        self.0.port()
    }

    /// Makes all changes, or none.
    pub fn commit(&mut self, transaction: Transaction) -> Result<(), Error> {
        let mut messages = transaction.messages;
        let Some(last) = messages.last_mut() else {
            return Ok(());
        };
        last.flag(ACKNOWLEDGE);
        let [high, low] = SUBSYSTEM.to_be_bytes();
        let mark = |kind| Message::new("change the firewall", kind, 0, &[0, 0, high, low]);
        messages.insert(0, mark(BATCH_BEGIN));
        messages.push(mark(BATCH_END));
        self.0.transact(&messages)
    }

    /// Chains, anybody's, that drop forwarded packets unless a rule of theirs accepts them. An
    /// acceptance in another table does not help there.
    pub fn chains_that_drop_forwarded(&mut self) -> Result<Vec<String>, Error> {
        let kind = SUBSYSTEM << 8 | GET_CHAIN;
        let ask = Message::new("list nftables chains", kind, DUMP, &[0; FIXED]);
        let answers = self.0.exchange(&[ask])?;
        Ok(answers
            .iter()
            .filter_map(|answer| dropping_chain(&answer.payload))
            .collect())
    }

    /// How many chains, sets and maps a table has; `None`: there is no such table.
    pub fn table_size(&mut self, table: &TableName) -> Result<Option<usize>, Error> {
        let kind = SUBSYSTEM << 8 | GET_TABLE;
        let fixed = [number(table.family), 0, 0, 0];
        let mut ask = Message::new("look up nftables table", kind, 0, &fixed);
        ask.text(TABLE_NAME, &table.name);
        let answers = match self.0.exchange(&[ask]) {
            Ok(answers) => answers,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let size = answers
            .first()
            .and_then(|answer| Attributes::after(&answer.payload, FIXED).big(TABLE_USE));
        Ok(size.map(|size| size as usize))
    }
}

/// `NFPROTO_INET`, `…_IPV4`, `…_IPV6`, `…_BRIDGE`.
fn number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::V4 => 2,
        Family::V6 => 10,
        Family::Bridge => 7,
    }
}

/// Reads a chain that the kernel calls for forwarded packets and whose policy is to drop.
fn dropping_chain(payload: &[u8]) -> Option<String> {
    const FORWARD: u32 = 2;
    const POLICY_DROP: u32 = 0;
    let family = match payload.first()? {
        1 => "inet",
        2 => "ip",
        10 => "ip6",
        _ => return None,
    };
    let attributes = Attributes::after(payload, FIXED);
    let is_forward = attributes.nest(4).big(1) == Some(FORWARD);
    let drops = attributes.big(5) == Some(POLICY_DROP);
    let (table, chain) = (attributes.text(TABLE_NAME)?, attributes.text(3)?);
    (is_forward && drops).then(|| format!("chain {chain} of table {family} {table}"))
}

/// A socket that is told of every change to the firewall.
pub fn monitor_table_changes() -> Result<Socket, Error> {
    Socket::subscribe(Protocol::Netfilter, &[CHANGES_GROUP])
}

/// Whether a notification says that somebody other than `own_port` changed or removed a part of
/// `table`, of whichever family.
pub fn touched_by_others(packet: &Packet<'_>, table: &str, own_port: u32) -> bool {
    let kinds = [
        DELETE_TABLE,
        NEW_CHAIN,
        DELETE_CHAIN,
        NEW_RULE,
        DELETE_RULE,
        DELETE_SET,
        NEW_ELEMENTS,
        DELETE_ELEMENTS,
    ];
    packet.port != own_port
        && packet.kind >> 8 == SUBSYSTEM
        && kinds.contains(&(packet.kind & 0xff))
        && Attributes::after(packet.payload, FIXED)
            .text(TABLE_NAME)
            .as_deref()
            == Some(table)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::Ipv4Addr,
        process::{Command, Stdio},
    };

    use super::{
        super::{Hook, HookPoint, Match, Rule, Sender, Value, Verdict},
        *,
    };
    use crate::netlink::namespace;

    fn nft(arguments: &[&str], input: &str) -> String {
        let mut child = Command::new("nft")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?} {input}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn in_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        namespace::create(|| Ok(work())).unwrap().1
    }

    fn rule(matches: Vec<Match>, verdict: Verdict) -> Rule {
        Rule { matches, verdict }
    }

    fn base(name: &str, is_nat: bool, point: HookPoint, priority: i32, rules: Vec<Rule>) -> Chain {
        Chain {
            name: name.into(),
            hook: Some(Hook {
                is_nat,
                point,
                priority,
            }),
            rules,
        }
    }

    fn set(name: &str, key: Vec<Type>, data: Vec<Type>, elements: Vec<Element>) -> Set {
        Set {
            name: name.into(),
            key,
            data,
            elements,
        }
    }

    fn port(number: u16) -> Element {
        Element {
            key: vec![Value::Protocol(6), Value::Port(number)],
            data: vec![Value::V4(Ipv4Addr::new(172, 17, 0, 2)), Value::Port(80)],
        }
    }

    fn hull() -> TableName {
        TableName::new(Family::Inet, "hull")
    }

    /// Every kind of match, verdict and type at least once.
    fn everything() -> Table {
        Table {
            name: TableName::new(Family::Inet, "hull"),
            sets: every_set(),
            chains: every_chain(),
        }
    }

    fn every_set() -> Vec<Set> {
        use Type::{InterfaceName, Port, Protocol, V4, V6};
        let bridge = || Value::InterfaceName("hull0".into());
        let key = |key| vec![Element { key, data: vec![] }];
        let exact = Element {
            key: vec![
                Value::Protocol(17),
                Value::V4([192, 0, 2, 2].into()),
                Value::Port(53),
            ],
            data: vec![Value::V4([172, 17, 0, 3].into()), Value::Port(5353)],
        };
        let v6 = |text: &str| Value::V6(text.parse().unwrap());
        let v6 = Element {
            key: vec![Value::Protocol(132), v6("2001:db8::1"), Value::Port(1)],
            data: vec![v6("fd00::2"), Value::Port(2)],
        };
        let pairs = vec![InterfaceName, InterfaceName];
        vec![
            set("bridges", vec![InterfaceName], vec![], key(vec![bridge()])),
            set("pairs", pairs, vec![], key(vec![bridge(), bridge()])),
            set(
                "protocols",
                vec![Protocol],
                vec![],
                key(vec![Value::Protocol(6)]),
            ),
            set("v4", vec![Protocol, V4, Port], vec![V4, Port], vec![exact]),
            set(
                "v4any",
                vec![Protocol, Port],
                vec![V4, Port],
                vec![port(8080)],
            ),
            set("v6", vec![Protocol, V6, Port], vec![V6, Port], vec![v6]),
            set("v6any", vec![Protocol, Port], vec![V6, Port], vec![]),
            set("direct", vec![Protocol, V4, Port], vec![], vec![]),
            set("ports", vec![Protocol, Port], vec![], vec![]),
        ]
    }

    fn every_chain() -> Vec<Chain> {
        use Match::{
            Destination, DestinationIsLocal, InterfaceIn, InterfaceInSet, InterfaceOut,
            ProtocolSet, Source,
        };
        let loopback = [127, 0, 0, 0].into();
        let protocols = || vec![ProtocolSet("protocols".into())];
        let by_address = |map: &str, ipv6| Verdict::TranslateByAddress {
            map: map.into(),
            ipv6,
        };
        let by_port = |map: &str, ipv6| Verdict::TranslateByPort {
            map: map.into(),
            ipv6,
        };
        let published = vec![
            rule(protocols(), by_address("v4", false)),
            rule(protocols(), by_port("v4any", false)),
            rule(protocols(), by_address("v6", true)),
            rule(protocols(), by_port("v6any", true)),
        ];
        let from_bridge = InterfaceInSet("bridges".into(), true);
        let raw = vec![
            rule(vec![from_bridge, Destination(loopback, 8)], Verdict::Drop),
            rule(vec![InterfaceIn("lo".into(), false)], Verdict::Accept),
        ];
        let out = vec![
            rule(vec![Destination(loopback, 8)], Verdict::Return),
            rule(
                vec![Destination("::1".parse().unwrap(), 128)],
                Verdict::Return,
            ),
            rule(vec![DestinationIsLocal], Verdict::Jump("published".into())),
        ];
        let outside = InterfaceOut("hull0".into(), false);
        let postrouting = vec![
            rule(
                vec![Source([172, 17, 0, 0].into(), 20), outside],
                Verdict::Masquerade,
            ),
            rule(
                vec![Source("fd00:1::".parse().unwrap(), 64)],
                Verdict::Masquerade,
            ),
            rule(
                vec![Source([172, 18, 0, 0].into(), 16)],
                Verdict::TranslateSource([192, 0, 2, 1].into()),
            ),
        ];
        vec![
            Chain {
                name: "published".into(),
                hook: None,
                rules: published,
            },
            base("raw", false, HookPoint::Prerouting, -300, raw),
            base("out", true, HookPoint::Output, -100, out),
            base(
                "postrouting",
                true,
                HookPoint::Postrouting,
                100,
                postrouting,
            ),
            base("forward", false, HookPoint::Forward, 0, forwarded()),
            base("names", false, HookPoint::Output, -300, changed_ports()),
        ]
    }

    fn forwarded() -> Vec<Rule> {
        let accept = |matched| rule(vec![matched], Verdict::Accept);
        vec![
            accept(Match::New),
            accept(Match::PortInSet("ports".into())),
            accept(Match::InterfaceOutSet("bridges".into(), false)),
            accept(Match::Established),
            accept(Match::InterfacePair("pairs".into())),
            accept(Match::DestinationTranslated),
            accept(Match::ServiceInSet {
                set: "direct".into(),
                ipv6: false,
            }),
        ]
    }

    fn changed_ports() -> Vec<Rule> {
        let there = vec![
            Match::Destination([127, 0, 0, 0].into(), 8),
            Match::DestinationPort(17, 53),
        ];
        let back = vec![Match::SourcePort(6, 4711)];
        vec![
            rule(there, Verdict::SetDestinationPort(17, 4711)),
            rule(back, Verdict::SetSourcePort(6, 53)),
        ]
    }

    #[test]
    fn the_kernel_gets_what_nft_would_give_it() {
        let table = everything();
        let text = table.to_string();
        let theirs = in_namespace(|| {
            nft(&["-f", "-"], &text);
            nft(&["list", "ruleset"], "")
        });
        let ours = in_namespace(|| {
            let mut transaction = Transaction::default();
            transaction.replace(&table);
            Firewall::open().unwrap().commit(transaction).unwrap();
            nft(&["list", "ruleset"], "")
        });
        assert_eq!(ours, theirs);
        assert_eq!(ours, text);
    }

    /// What only tables of one version of IP, and of bridges, can do.
    fn special(index: u32) -> Vec<Table> {
        let divert = |gateway: &str| Verdict::Divert {
            gateway: gateway.parse().unwrap(),
            link: "lo".into(),
            index,
        };
        let admitted = |family, gateway| Table {
            name: TableName::new(family, "hull"),
            sets: Vec::new(),
            chains: vec![base(
                "admit",
                false,
                HookPoint::Input,
                1000,
                vec![rule(vec![Match::New], divert(gateway))],
            )],
        };
        vec![
            admitted(Family::V4, "192.0.0.9"),
            admitted(Family::V6, "fe80::9"),
            guards(),
        ]
    }

    fn guards() -> Table {
        use Type::{InterfaceName, Mac, V4, V6};
        let link = || Value::InterfaceName("hv1".into());
        let key = |value| {
            vec![Element {
                key: vec![link(), value],
                data: vec![],
            }]
        };
        let mac = key(Value::Mac([2, 0x42, 172, 17, 0, 2]));
        let v4 = key(Value::V4([172, 17, 0, 2].into()));
        let six = key(Value::V6("fd00::2".parse().unwrap()));
        let unless = |protocol, set: &str, sender| {
            let set = set.into();
            let holds = false;
            let known = Match::SenderInSet { set, sender, holds };
            rule(vec![Match::FrameHolds(protocol), known], Verdict::Drop)
        };
        Table {
            name: TableName::new(Family::Bridge, "hull"),
            sets: vec![
                set("macs", vec![InterfaceName, Mac], vec![], mac),
                set("four", vec![InterfaceName, V4], vec![], v4),
                set("six", vec![InterfaceName, V6], vec![], six),
            ],
            chains: vec![base(
                "senders",
                false,
                HookPoint::Prerouting,
                -10,
                vec![
                    unless(0x0800, "macs", Sender::Frame),
                    unless(0x0800, "four", Sender::V4),
                    unless(0x86dd, "six", Sender::V6),
                    unless(0x0806, "macs", Sender::ArpMac),
                    unless(0x0806, "four", Sender::ArpV4),
                    rule(vec![Match::Icmpv6(134)], Verdict::Drop),
                ],
            )],
        }
    }

    #[test]
    fn tables_of_other_families_too() {
        let texts = |tables: &[Table]| -> String { tables.iter().map(Table::to_string).collect() };
        let theirs = in_namespace(|| {
            nft(&["-f", "-"], &texts(&special(1)));
            nft(&["list", "ruleset"], "")
        });
        let ours = in_namespace(|| {
            let mut transaction = Transaction::default();
            for table in special(1) {
                transaction.replace(&table);
            }
            Firewall::open().unwrap().commit(transaction).unwrap();
            nft(&["list", "ruleset"], "")
        });
        assert_eq!(ours, theirs);
    }

    #[test]
    fn one_wrong_change_undoes_them_all() {
        in_namespace(|| {
            let mut firewall = Firewall::open().unwrap();
            let mut transaction = Transaction::default();
            transaction.replace(&everything());
            firewall.commit(transaction).unwrap();
            assert_eq!(firewall.table_size(&hull()).unwrap(), Some(15));
            assert_eq!(
                firewall
                    .table_size(&TableName::new(Family::Inet, "other"))
                    .unwrap(),
                None
            );
            let mut transaction = Transaction::default();
            transaction.add_elements(&hull(), "v4any", &[port(1)]);
            transaction.remove_elements(&hull(), "v4any", &[port(2)]);
            let error = firewall.commit(transaction).unwrap_err();
            assert!(error.is_not_found(), "{error:?}");
            let listed = nft(&["list", "map", "inet", "hull", "v4any"], "");
            assert!(!listed.contains("tcp . 1 "), "{listed}");
        });
    }

    #[test]
    fn thousands_of_ports_fit_one_transaction_and_others_are_noticed() {
        in_namespace(|| {
            let mut monitor = monitor_table_changes().unwrap();
            let mut firewall = Firewall::open().unwrap();
            let mut table = everything();
            table.sets[4].elements = (1..20_000).map(port).collect();
            let mut transaction = Transaction::default();
            transaction.replace(&table);
            firewall.commit(transaction).unwrap();
            let own = firewall.port();
            let mut touched = 0;
            let mut see = |monitor: &mut Socket| {
                monitor.notifications(|p| touched += i32::from(touched_by_others(p, "hull", own)))
            };
            see(&mut monitor).unwrap();
            nft(
                &["delete", "element", "inet", "hull", "v4any", "{ tcp . 5 }"],
                "",
            );
            see(&mut monitor).unwrap();
            assert_eq!(touched, 1);
            let mut transaction = Transaction::default();
            transaction.delete_table(&hull());
            firewall.commit(transaction).unwrap();
            assert_eq!(nft(&["list", "ruleset"], ""), "");
        });
    }
}
