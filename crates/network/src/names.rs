//! Has containers' names answered, and ports relayed that rules cannot lead to a container: keeps
//! the resolver running and tells it what there is.
//!
//! The resolver is a process of its own ([`hull_resolver`]) that outlives the daemon. It is started
//! when the first container needs it and leaves by itself when none does. The state is the truth:
//! a resolver that died is replaced by one that is told everything again.

mod relays;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CString,
    fs::File,
    io,
    net::{TcpListener, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Duration,
};

use hull_resolver::protocol::{ADDRESS, Connection, Order, Reply, Sandbox, Upstream, VERSION};
use hull_sys::{
    netlink::namespace,
    nftables::{
        Chain, Family, Firewall, Hook, HookPoint, Match, Rule, Table, TableName, Transaction,
        Verdict,
    },
    spawn,
};
use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};

pub(crate) use self::relays::Relayed;
use self::relays::{hand_over, open_again};
use crate::{Endpoint, Error, Network, state::State};

/// How long the resolver may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pause before a resolver that died is replaced: one that cannot live takes no processor.
const REVIVAL: Duration = Duration::from_millis(50);

/// The pause between attempts to replace it.
const RETRY: Duration = Duration::from_secs(1);

/// What a thread needs that starts and tells a resolver.
const STACK: usize = 256 * 1024;

/// How often a port is looked for that is free for both protocols.
const PORT_ATTEMPTS: u32 = 16;

const DNS_PORT: u16 = 53;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The resolver's program and where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolverProgram {
    /// The executable.
    pub program: PathBuf,
    /// The socket by which a later daemon finds it.
    pub socket: PathBuf,
}

/// What a container's questions are answered by, besides the names of its networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameService {
    /// Whose questions.
    pub container_id: String,
    /// Names for other containers' names, for it alone.
    pub links: BTreeMap<String, String>,
    /// Whom to ask next. Nobody is asked from a container on internal networks only.
    pub servers: Vec<Upstream>,
    /// It looks for names without a dot in its search domains: they are not asked for bare.
    pub keeps_single_labels: bool,
}

/// The way to the resolver.
#[derive(Debug)]
pub(crate) struct Names(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    resolver: ResolverProgram,
    state: Arc<Mutex<State>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By container.
    served: BTreeMap<String, Served>,
    /// By their ids.
    relays: BTreeMap<String, Relayed>,
    /// Those whose port could not be had again yet.
    closed: BTreeSet<String>,
    /// Somebody tries to begin.
    is_retrying: bool,
    connection: Option<Arc<Connection>>,
}

#[derive(Debug)]
struct Served {
    service: NameService,
    namespace: OwnedFd,
}

impl Inner {
    /// Nobody needs a resolver.
    fn is_empty(&self) -> bool {
        self.served.is_empty() && self.relays.is_empty()
    }
}

impl Names {
    pub(crate) fn new(resolver: Option<ResolverProgram>, state: &Arc<Mutex<State>>) -> Self {
        Self(resolver.map(|resolver| {
            Arc::new(Shared {
                resolver,
                state: Arc::clone(state),
                inner: Mutex::default(),
            })
        }))
    }

    /// Has the questions of new sandboxes answered, and those of an earlier daemon's that are still
    /// there. What nobody asks from any more is forgotten.
    pub(crate) fn take_up(&self, all: Vec<(NameService, OwnedFd)>) -> Result<(), Error> {
        let Some(shared) = &self.0 else {
            return Ok(());
        };
        let mut inner = shared.inner();
        for (service, namespace) in all {
            let id = service.container_id.clone();
            inner.served.insert(id, Served { service, namespace });
        }
        // A resolver that serves nobody and is not there need not be.
        if inner.is_empty() && Connection::connect(&shared.resolver.socket).is_err() {
            return Ok(());
        }
        shared.begin(&mut inner).map_err(failed("serve names"))
    }

    /// Has a sandbox's questions answered.
    pub(crate) fn serve(&self, service: NameService, namespace: OwnedFd) -> Result<(), Error> {
        let Some(shared) = &self.0 else {
            return Ok(());
        };
        let id = service.container_id.clone();
        let mut inner = shared.inner();
        inner
            .served
            .insert(id.clone(), Served { service, namespace });
        let served = match inner.connection.clone() {
            None => shared.begin(&mut inner),
            Some(connection) => match shared.introduce(&connection, &inner, &id) {
                // It left because there was nobody, or died.
                Err(_) => shared.begin(&mut inner),
                done => done,
            },
        };
        if served.is_err() {
            inner.served.remove(&id);
            shared.try_again(&mut inner);
        }
        served.map_err(failed("serve names"))
    }

    /// Tells of an endpoint, new or renamed.
    pub(crate) fn announce(&self, endpoint: &Endpoint) {
        self.tell(|shared, _| {
            let state = shared.state();
            let network = state.networks.get(&endpoint.network_id);
            let network = network.filter(|network| knows_names(&network.record));
            network.map_or_else(Vec::new, |network| {
                vec![network_order(&network.record), endpoint_order(endpoint)]
            })
        });
    }

    /// An endpoint has gone, and its container with it if that was its last.
    pub(crate) fn withdraw(&self, endpoint: &Endpoint) {
        let Some(shared) = &self.0 else {
            return;
        };
        let networks = shared.networks_of(&endpoint.container_id);
        if networks.is_empty() {
            shared.inner().served.remove(&endpoint.container_id);
        }
        self.tell(|_, _| {
            let gone = Order::EndpointGone {
                id: endpoint.id.clone(),
            };
            let id = endpoint.container_id.clone();
            match networks.is_empty() {
                true => vec![gone, Order::SandboxGone { id }],
                false => vec![gone],
            }
        });
        self.refresh(&endpoint.container_id);
    }

    /// A container's networks have changed.
    pub(crate) fn refresh(&self, container_id: &str) {
        self.tell(|shared, inner| {
            let served = inner.served.get(container_id);
            let sandbox = served.map(|served| Order::Sandbox(shared.sandbox(&served.service)));
            let sandbox = sandbox.into_iter();
            sandbox.flat_map(|order| [order, Order::Ping]).collect()
        });
    }

    pub(crate) fn forget_network(&self, id: &str) {
        self.tell(|_, _| vec![Order::NetworkGone { id: id.to_owned() }]);
    }

    /// Tells the resolver, if there is one. One that cannot be told is replaced.
    fn tell(&self, orders: impl FnOnce(&Shared, &Inner) -> Vec<Order>) {
        let Some(shared) = &self.0 else {
            return;
        };
        let mut inner = shared.inner();
        // What is told last is what was so last.
        let orders = orders(shared, &inner);
        let Some(connection) = inner.connection.clone() else {
            return;
        };
        let told: io::Result<()> = orders.iter().try_for_each(|order| {
            say(&connection, order)?;
            if *order == Order::Ping {
                expect_done(&connection)?;
            }
            Ok(())
        });
        if let Err(error) = told {
            tracing::debug!(%error, "the resolver cannot be told: another is started");
            shared.revive(&mut inner, &connection);
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        if let Some(shared) = &self.0
            && let Some(connection) = shared.inner().connection.take()
        {
            connection.close();
        }
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a resolver or starts one, and tells it everything.
    fn begin(self: &Arc<Self>, inner: &mut Inner) -> io::Result<()> {
        self.begin_with(inner, None)
    }

    /// The same, with the socket of a relay that has one already.
    fn begin_with(
        self: &Arc<Self>,
        inner: &mut Inner,
        open: Option<(&String, &OwnedFd)>,
    ) -> io::Result<()> {
        if let Some(old) = inner.connection.take() {
            old.close();
        }
        let connection = Arc::new(self.resolver()?);
        for order in self.everything() {
            say(&connection, &order)?;
        }
        for served in inner.served.values() {
            say(&connection, &Order::Sandbox(self.sandbox(&served.service)))?;
        }
        for relayed in inner.relays.values() {
            connection.send(&Order::Relay(relayed.order()), &[])?;
        }
        connection.send(&Order::Complete, &[])?;
        inner.closed.clear();
        let mut missing = Vec::new();
        loop {
            match connection.receive::<Reply>()? {
                Some((Reply::Missing(some), _)) => missing.extend(some),
                Some((Reply::Done, _)) => break,
                Some((Reply::Hello { .. }, _)) => {}
                None => return Err(io::ErrorKind::ConnectionReset.into()),
            }
        }
        for id in missing {
            if let Some(relayed) = inner.relays.get(&id).cloned() {
                let relayed = &relayed;
                if let Some((_, socket)) = open.filter(|(open, _)| **open == id) {
                    hand_over(&connection, relayed, socket)?;
                } else if let Err(error) =
                    open_again(relayed).and_then(|socket| hand_over(&connection, relayed, &socket))
                {
                    tracing::error!(port = id, %error, "cannot relay a port: it is tried again");
                    inner.closed.insert(id);
                }
                continue;
            }
            // One whose namespace cannot be entered is no reason to leave the others without names.
            if let Err(error) = self.introduce(&connection, inner, &id) {
                tracing::error!(container = id, %error, "cannot serve names");
            }
        }
        inner.connection = Some(Arc::clone(&connection));
        watch(Arc::downgrade(self), connection);
        if !inner.closed.is_empty() {
            later(Arc::downgrade(self), "relay ports", Self::open_closed);
        }
        Ok(())
    }

    /// Whether there is a resolver, or nobody needs one.
    fn begin_again(self: &Arc<Self>) -> bool {
        let mut inner = self.inner();
        let needs_none = inner.connection.is_some() || inner.is_empty();
        let is_done = needs_none || self.begin(&mut inner).is_ok();
        inner.is_retrying = !is_done;
        is_done
    }

    /// The resolver that is there, or a new one.
    fn resolver(&self) -> io::Result<Connection> {
        if let Ok(connection) = Connection::connect(&self.resolver.socket) {
            connection.set_patience(Some(PATIENCE))?;
            match greet(&connection) {
                Ok(VERSION) => return Ok(connection),
                _ => drop(connection.send(&Order::Leave, &[])),
            }
        }
        let connection = self.start()?;
        match greet(&connection)? {
            VERSION => Ok(connection),
            other => Err(io::Error::other(format!(
                "{} speaks version {other} of the protocol, this daemon {VERSION}",
                self.resolver.program.display()
            ))),
        }
    }

    fn start(&self) -> io::Result<Connection> {
        let path = &self.resolver.program;
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("cannot start {}: {error}", path.display()),
            )
        };
        let (ours, theirs) = Connection::pair()?;
        let program = File::open(path).map_err(named)?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let socket = CString::new(self.resolver.socket.as_os_str().as_encoded_bytes())?;
        let args = [c"hull-resolver".to_owned(), c"--socket".to_owned(), socket];
        spawn::spawn(&spawn::Program {
            file: program.as_fd(),
            args: &args,
            env: &[],
            fds: &[null.as_fd(), null.as_fd(), null.as_fd(), theirs.as_fd()],
        })
        .map_err(named)?;
        ours.set_patience(Some(PATIENCE))?;
        Ok(ours)
    }

    /// Opens a sandbox's sockets and hands them over.
    fn introduce(&self, connection: &Connection, inner: &Inner, id: &str) -> io::Result<()> {
        let Some(served) = inner.served.get(id) else {
            return Ok(());
        };
        let namespace = served.namespace.as_fd();
        let (udp, tcp) = open_inside(namespace)?;
        let order = Order::Sandbox(self.sandbox(&served.service));
        connection.send(&order, &[namespace, udp.as_fd(), tcp.as_fd()])?;
        connection.send(&Order::Ping, &[])?;
        expect_done(connection)
    }

    fn revive(self: &Arc<Self>, inner: &mut Inner, dead: &Arc<Connection>) {
        let is_current = inner
            .connection
            .as_ref()
            .is_some_and(|now| Arc::ptr_eq(now, dead));
        if !is_current {
            return;
        }
        inner.connection = None;
        if inner.is_empty() {
            return;
        }
        if let Err(error) = self.begin(inner) {
            tracing::error!(%error, "cannot start the resolver again: names are not answered until that succeeds");
            self.try_again(inner);
        }
    }

    /// After a failure: others still need a resolver.
    fn try_again(self: &Arc<Self>, inner: &mut Inner) {
        if inner.connection.is_none() && !inner.is_empty() && !inner.is_retrying {
            inner.is_retrying = true;
            later(
                Arc::downgrade(self),
                "start the resolver",
                Self::begin_again,
            );
        }
    }

    fn everything(&self) -> Vec<Order> {
        let state = self.state();
        let networks = state.networks.values().map(|network| &network.record);
        let mut orders: Vec<_> = networks
            .filter(|n| knows_names(n))
            .map(network_order)
            .collect();
        let named = state.endpoints().filter(|endpoint| {
            let network = state.networks.get(&endpoint.network_id);
            network.is_some_and(|network| knows_names(&network.record))
        });
        orders.extend(named.map(endpoint_order));
        orders
    }

    fn sandbox(&self, service: &NameService) -> Sandbox {
        let leads_out = {
            let state = self.state();
            let own = state.endpoints_of(&service.container_id);
            own.into_iter().any(|endpoint| {
                let network = state.networks.get(&endpoint.network_id);
                network.is_some_and(|network| !network.record.internal)
            })
        };
        Sandbox {
            id: service.container_id.clone(),
            networks: self.networks_of(&service.container_id),
            links: service.links.clone(),
            servers: if leads_out {
                service.servers.clone()
            } else {
                Vec::new()
            },
            keeps_single_labels: service.keeps_single_labels,
        }
    }

    /// The networks whose names a container knows, the one of its default route first.
    fn networks_of(&self, container_id: &str) -> Vec<String> {
        let state = self.state();
        let own = state.endpoints_of(container_id).into_iter();
        own.filter_map(|endpoint| state.networks.get(&endpoint.network_id))
            .filter(|network| knows_names(&network.record))
            .map(|network| network.record.id.clone())
            .collect()
    }
}

/// Whether names are answered on a network: on all but the default one, as Docker has it.
pub(crate) fn knows_names(network: &Network) -> bool {
    !network.is_predefined()
}

fn network_order(network: &Network) -> Order {
    Order::Network {
        id: network.id.clone(),
        name: network.name.clone(),
        subnets: network.subnets.iter().map(|part| part.subnet).collect(),
    }
}

fn endpoint_order(endpoint: &Endpoint) -> Order {
    Order::Endpoint {
        id: endpoint.id.clone(),
        network: endpoint.network_id.clone(),
        names: endpoint.names.clone(),
        addresses: endpoint.addresses().collect(),
    }
}

/// The version a resolver speaks.
fn greet(connection: &Connection) -> io::Result<u32> {
    connection.send(&Order::Hello { version: VERSION }, &[])?;
    match connection.receive::<Reply>()? {
        Some((Reply::Hello { version }, _)) => Ok(version),
        _ => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

/// Tells the resolver something. What is too long to be told is left out: the others keep their
/// names.
fn say(connection: &Connection, order: &Order) -> io::Result<()> {
    match connection.send(order, &[]) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            tracing::error!(%error, "the names of an endpoint or a sandbox are not answered");
            Ok(())
        }
        told => told,
    }
}

fn expect_done(connection: &Connection) -> io::Result<()> {
    loop {
        match connection.receive::<Reply>()? {
            Some((Reply::Done, _)) => return Ok(()),
            Some(_) => {}
            None => return Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

/// Waits on a thread of its own for a resolver's end, and has another take its place.
fn watch(shared: Weak<Shared>, connection: Arc<Connection>) {
    let watched = thread::Builder::new()
        .name("resolver".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            // No events are asked for: an end is always told.
            let mut fds = [PollFd::new(&*connection, PollFlags::RDHUP)];
            while poll(&mut fds, None) == Err(rustix::io::Errno::INTR) {}
            thread::sleep(REVIVAL);
            if let Some(shared) = shared.upgrade() {
                shared.revive(&mut shared.inner(), &connection);
            }
        });
    if let Err(error) = watched {
        tracing::error!(%error, "cannot watch the resolver: its end will not be noticed");
    }
}

/// Tries something now and then, on a thread of its own, until it is done or the daemon ends.
fn later(shared: Weak<Shared>, what: &'static str, is_done: fn(&Arc<Shared>) -> bool) {
    let tried = thread::Builder::new()
        .name("resolver".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            loop {
                thread::sleep(RETRY);
                if shared.upgrade().is_none_or(|shared| is_done(&shared)) {
                    return;
                }
            }
        });
    if let Err(error) = tried {
        tracing::error!(%error, what, "cannot be tried again");
    }
}

/// Opens the sockets that questions inside a sandbox reach at 127.0.0.11:53. They are bound to
/// another port, so that the container may use port 53 itself; rules change the port on the way.
fn open_inside(sandbox: BorrowedFd<'_>) -> io::Result<(UdpSocket, TcpListener)> {
    namespace::enter(sandbox, || {
        for _ in 0..PORT_ATTEMPTS {
            let udp = UdpSocket::bind((ADDRESS, 0))?;
            let port = udp.local_addr()?.port();
            let Ok(tcp) = TcpListener::bind((ADDRESS, port)) else {
                continue;
            };
            let redirected = Firewall::open().and_then(|mut firewall| {
                let mut transaction = Transaction::default();
                transaction.replace(&redirection(port));
                firewall.commit(transaction)
            });
            return match redirected {
                Ok(()) => Ok((udp, tcp)),
                // A kernel without nftables: the port itself will do for most.
                Err(_) => Ok((
                    UdpSocket::bind((ADDRESS, DNS_PORT))?,
                    TcpListener::bind((ADDRESS, DNS_PORT))?,
                )),
            };
        }
        Err(io::ErrorKind::AddrInUse.into())
    })
}

/// Ports are changed packet by packet: the container's connections need no tracking for it.
fn redirection(port: u16) -> Table {
    let address = (ADDRESS.into(), 32);
    let there = |protocol| Rule {
        matches: vec![
            Match::Destination(address.0, address.1),
            Match::DestinationPort(protocol, DNS_PORT),
        ],
        verdict: Verdict::SetDestinationPort(protocol, port),
    };
    let back = |protocol| Rule {
        matches: vec![
            Match::Source(address.0, address.1),
            Match::SourcePort(protocol, port),
        ],
        verdict: Verdict::SetSourcePort(protocol, DNS_PORT),
    };
    Table {
        name: TableName::new(Family::Inet, "hull-names"),
        sets: Vec::new(),
        chains: vec![Chain {
            name: "output".to_owned(),
            hook: Some(Hook {
                is_nat: false,
                point: HookPoint::Output,
                priority: -300,
            }),
            rules: vec![there(UDP), there(TCP), back(UDP), back(TCP)],
        }],
    }
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    Error::io(action)
}
