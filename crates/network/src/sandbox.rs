//! Network namespaces of containers: loopback up, IPv6 off until a network has it. A sandbox lives
//! as long as somebody holds it open or runs in it; no name on the host keeps it.

use std::{
    fs, io,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use hull_sys::{
    idmap::{self, Mappings},
    netlink::{
        namespace,
        route::{self, Link, Mac, Prefix, Route},
    },
};

use ipnet::IpNet;

use crate::Error;

/// The loopback of every new namespace.
const LOOPBACK: u32 = 1;

/// A container's network namespace.
#[derive(Debug)]
pub struct Sandbox {
    network: OwnedFd,
    /// The user namespace that was made with it and owns it.
    user: Option<OwnedFd>,
}

/// Whose user namespace a sandbox belongs to: who is root there may do all in the sandbox.
#[derive(Debug, Clone, Copy)]
pub enum SandboxOwner<'a> {
    /// The host's.
    Host,
    /// A new one, as the options say.
    New,
    /// One that is there.
    Given(BorrowedFd<'a>),
}

/// How an interface is found that has just come into a sandbox.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// By its number.
    Index(u32),
    /// By its name, in place of which it gets another.
    Name(String, String),
}

/// What an endpoint's interface is to become inside.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) link: Arrived,
    /// A new link-layer address, if it shall have one.
    pub(crate) mac: Option<Mac>,
    pub(crate) addresses: Vec<Prefix>,
    /// Default routes, which it takes over from other networks.
    pub(crate) gateways: Vec<IpAddr>,
    /// Further routes.
    pub(crate) routes: Vec<StaticRoute>,
    /// Kernel settings with `IFNAME` for the interface's name.
    pub(crate) sysctls: Vec<(String, String)>,
}

/// A way out of a sandbox to some range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StaticRoute {
    pub(crate) to: IpNet,
    /// A neighbour; `None`: whoever is meant is one himself.
    pub(crate) by: Option<IpAddr>,
}

impl Sandbox {
    /// Makes one.
    pub fn create() -> Result<Self, Error> {
        let (namespace, ()) =
            namespace::create(prepare).map_err(Error::io("create a network namespace"))?;
        Ok(Self::from_fd(namespace))
    }

    /// Makes one as the options want them.
    pub(crate) fn for_options(ids: Option<&Mappings>) -> Result<Self, Error> {
        ids.map_or_else(Self::create, Self::create_mapped)
    }

    /// Makes one with a user namespace of its own that translates ids so.
    fn create_mapped(ids: &Mappings) -> Result<Self, Error> {
        let make = || {
            let (user, network) = idmap::with_network(ids)?;
            namespace::enter(network.as_fd(), prepare)?;
            Ok(Self {
                network,
                user: Some(user),
            })
        };
        make().map_err(Error::io("create a user namespace with a network"))
    }

    /// Makes one that belongs to a user namespace there is.
    pub(crate) fn create_in(user: BorrowedFd<'_>) -> Result<Self, Error> {
        let make = || {
            let network = idmap::network_in(user)?;
            namespace::enter(network.as_fd(), prepare)?;
            Ok(Self::from_fd(network))
        };
        make().map_err(Error::io("create a network namespace in a user namespace"))
    }

    /// One that somebody else made.
    pub fn from_fd(namespace: OwnedFd) -> Self {
        Self {
            network: namespace,
            user: None,
        }
    }

    /// The open namespace.
    pub fn into_fd(self) -> OwnedFd {
        self.network
    }

    /// The open namespace, and the user namespace that was made with it.
    pub fn into_fds(self) -> (OwnedFd, Option<OwnedFd>) {
        (self.network, self.user)
    }
}

impl AsFd for Sandbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.network.as_fd()
    }
}

fn prepare() -> io::Result<()> {
    for scope in ["all", "default"] {
        set_ipv6(scope, false)?;
    }
    // A link-layer address that is set is told to the neighbours: see `announce`.
    for setting in ["ipv4/conf/all/arp_notify", "ipv6/conf/all/ndisc_notify"] {
        match fs::write(format!("/proc/sys/net/{setting}"), "1") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let mut route = Route::open().map_err(io::Error::other)?;
    route
        .apply(&[route::set_up(LOOPBACK, None)])
        .map_err(io::Error::other)
}

/// Sets an interface up in a sandbox; gives its name there.
pub(crate) fn set_up(
    sandbox: BorrowedFd<'_>,
    inside: &Inside,
) -> io::Result<(String, Option<Mac>)> {
    namespace::enter(sandbox, || {
        let mut route = Route::open().map_err(io::Error::other)?;
        let link = find(&mut route, &inside.link)?;
        if inside
            .addresses
            .iter()
            .any(|(address, _)| address.is_ipv6())
        {
            // Others may be in networks without.
            for scope in ["lo", &link.name] {
                set_ipv6(scope, true)?;
            }
        }
        let mut changes = vec![route::set_up(link.index, inside.mac)];
        changes.extend(
            inside
                .addresses
                .iter()
                .map(|prefix| route::add_address(link.index, *prefix)),
        );
        for (name, value) in &inside.sysctls {
            set_interface_sysctl(&link.name, name, value)?;
        }
        for StaticRoute { to, by } in &inside.routes {
            let to = (to.network(), to.prefix_len());
            changes.push(route::add_route(link.index, to, *by));
        }
        let gateways = inside.gateways.iter();
        changes.extend(gateways.map(|gateway| route::replace_default_route(link.index, *gateway)));
        route.apply(&changes).map_err(io::Error::other)?;
        Ok((link.name, link.mac))
    })
}

fn find(route: &mut Route, arrived: &Arrived) -> io::Result<Link> {
    let gone = || io::Error::other("the interface has gone");
    let index = match arrived {
        Arrived::Index(index) => *index,
        Arrived::Name(name, wanted) => {
            let link = route.link(name).map_err(io::Error::other)?;
            let index = link.ok_or_else(gone)?.index;
            route
                .apply(&[route::rename(index, wanted)])
                .map_err(io::Error::other)?;
            index
        }
    };
    let link = route.link_by_index(index).map_err(io::Error::other)?;
    link.ok_or_else(gone)
}

/// Tells the neighbours who has an interface's addresses now: they may remember somebody else. (The
/// kernel does when its link-layer address is set, be it to what it is.)
pub(crate) fn announce(sandbox: BorrowedFd<'_>, name: &str, mac: Mac) -> io::Result<()> {
    namespace::enter(sandbox, || {
        let mut route = Route::open().map_err(io::Error::other)?;
        let Some(link) = route.link(name).map_err(io::Error::other)? else {
            return Ok(());
        };
        route
            .apply(&[route::set_up(link.index, Some(mac))])
            .map_err(io::Error::other)
    })
}

/// Takes an interface in a sandbox down, if it is there, and gives its name free. Somebody deletes
/// it later.
pub(crate) fn retire_link(sandbox: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    namespace::enter(sandbox, || {
        let mut route = Route::open().map_err(io::Error::other)?;
        let Some(link) = route.link(name).map_err(io::Error::other)? else {
            return Ok(());
        };
        let index = link.index;
        let changes = [
            route::set_down(index),
            route::rename(index, &format!("hvgone{index}")),
        ];
        match route.apply(&changes) {
            Err(error) if !error.is_not_found() => Err(io::Error::other(error)),
            _ => Ok(()),
        }
    })
}

/// Removes an interface in a sandbox, if it is there.
pub(crate) fn remove_link(sandbox: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    namespace::enter(sandbox, || {
        let mut route = Route::open().map_err(io::Error::other)?;
        match route.link(name).map_err(io::Error::other)? {
            Some(link) => route
                .apply(&[route::delete_link(link.index)])
                .map_err(io::Error::other),
            None => Ok(()),
        }
    })
}

/// Sets default routes: an interface's name and a gateway, each.
pub(crate) fn set_default_routes(
    sandbox: BorrowedFd<'_>,
    routes: &[(String, IpAddr)],
) -> io::Result<()> {
    if routes.is_empty() {
        return Ok(());
    }
    namespace::enter(sandbox, || {
        let mut route = Route::open().map_err(io::Error::other)?;
        for (interface, gateway) in routes {
            // A container may have taken its interface away: then there is no way out.
            let Some(link) = route.link(interface).map_err(io::Error::other)? else {
                continue;
            };
            route
                .apply(&[route::replace_default_route(link.index, *gateway)])
                .map_err(io::Error::other)?;
        }
        Ok(())
    })
}

/// `net.ipv4.conf.IFNAME.forwarding`, for this namespace's interface alone.
fn set_interface_sysctl(link: &str, name: &str, value: &str) -> io::Result<()> {
    let invalid = || {
        let text = format!(
            "{name} is not an interface's setting: write net.ipv4.conf.IFNAME.… or net.ipv6.conf.IFNAME.…"
        );
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    let parts: Vec<_> = name.split('.').collect();
    let ["net", family, group, word, key] = parts[..] else {
        return Err(invalid());
    };
    let is_known = ["ipv4", "ipv6", "mpls"].contains(&family) && ["conf", "neigh"].contains(&group);
    // Docker's command line makes small letters of it.
    if !is_known || !word.eq_ignore_ascii_case("IFNAME") {
        return Err(invalid());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !key.chars().all(plain) {
        return Err(invalid());
    }
    let path = format!("/proc/sys/net/{family}/{group}/{link}/{key}");
    fs::write(&path, value)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot set {path}: {error}")))
}

fn set_ipv6(scope: &str, on: bool) -> io::Result<()> {
    let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
    match fs::write(path, if on { "0" } else { "1" }) {
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !on => Ok(()),
        result => result,
    }
}
