//! A bridge of the host: made, adopted after a restart, set up again when somebody broke it.

use std::{fs, io, net::IpAddr};

use hull_sys::netlink::route::{self, Link, Route};
use ipnet::IpNet;

use crate::Error;

/// What a bridge has to be.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) name: String,
    /// The host's addresses on it.
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) mtu: u32,
    pub(crate) ip_forward: bool,
    /// Rules keep containers from the host's loopback.
    pub(crate) guarded: bool,
    /// What a bridge that we make says of itself.
    pub(crate) mark: String,
}

/// Whose a bridge is: a daemon's, by its table of rules, for a network.
pub(crate) fn mark(table: &str, network_id: &str) -> String {
    format!("{}{network_id}", mark_of_all(table))
}

/// What the marks of all bridges of a daemon begin with.
pub(crate) fn mark_of_all(table: &str) -> String {
    format!("{table} network ")
}

/// Makes what is missing. Gives the bridge's number, and whether anything had to be done.
pub(crate) fn ensure(route: &mut Route, plan: &Plan) -> Result<(u32, bool), Error> {
    let failed = || Error::kernel(format!("set up bridge {}", plan.name));
    let found = route.link(&plan.name).map_err(failed())?;
    let (link, mut changed) = match found {
        Some(link) if link.kind == "bridge" => {
            // One of ours whose network is no more is this network's now.
            if is_ours(&link, plan) && link.alias != plan.mark {
                route
                    .apply(&[route::set_alias(&plan.name, &plan.mark)])
                    .map_err(failed())?;
            }
            (link, false)
        }
        Some(_) => {
            return Err(Error::Invalid {
                what: "bridge name: the host has an interface of that name that is no bridge",
                value: plan.name.clone(),
            });
        }
        None => (create(route, plan)?, true),
    };
    if !link.is_up {
        route
            .apply(&[route::set_up(link.index, None)])
            .map_err(failed())?;
        changed = true;
    }
    let present: Vec<_> = route
        .addresses()
        .map_err(failed())?
        .into_iter()
        .filter(|(index, _)| *index == link.index)
        .map(|(_, prefix)| prefix)
        .collect();
    let wanted = plan
        .addresses
        .iter()
        .map(|net| (net.addr(), net.prefix_len()));
    let wanted: Vec<_> = wanted.collect();
    if link.alias == plan.mark {
        // What the daemon's options said before. Others' bridges keep what they have.
        let is_own = |address: &IpAddr| match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        };
        let old = present.iter().filter(|prefix| !wanted.contains(prefix));
        let old = old.filter(|(address, _)| is_own(address));
        let gone: Vec<_> = old
            .map(|prefix| route::delete_address(link.index, *prefix))
            .collect();
        if !gone.is_empty() {
            route.apply(&gone).map_err(failed())?;
        }
    }
    let missing: Vec<_> = wanted
        .into_iter()
        .filter(|prefix| !present.contains(prefix))
        .collect();
    if !missing.is_empty() {
        let has_ipv6 = missing.iter().any(|(address, _)| address.is_ipv6());
        write_link_sysctl("ipv6", &plan.name, "disable_ipv6", flag(!has_ipv6))?;
        let add = missing
            .iter()
            .map(|prefix| route::add_address(link.index, *prefix));
        route.apply(&add.collect::<Vec<_>>()).map_err(failed())?;
        changed = true;
    }
    // What the host says to its own published ports goes this way, and what a container says to the
    // host's loopback would come.
    write_link_sysctl("ipv4", &plan.name, "route_localnet", flag(plan.guarded))?;
    if plan.ip_forward {
        forward(plan.addresses.iter().any(|net| net.addr().is_ipv6()))?;
    }
    Ok((link.index, changed))
}

/// Whether the bridge was made by this daemon, for whichever network.
fn is_ours(link: &Link, plan: &Plan) -> bool {
    let all = plan.mark.rsplit_once(' ').map_or("", |(all, _)| all);
    let id = link.alias.strip_prefix(all);
    !all.is_empty() && id.is_some_and(|id| id.starts_with(' '))
}

/// The IPv4 address that an existing bridge already has: it is kept.
pub(crate) fn address_of(route: &mut Route, name: &str) -> Result<Option<IpNet>, Error> {
    let failed = || Error::kernel(format!("look at bridge {name}"));
    let Some(link) = route.link(name).map_err(failed())? else {
        return Ok(None);
    };
    let addresses = route.addresses().map_err(failed())?;
    Ok(addresses
        .into_iter()
        .filter(|(index, (address, _))| *index == link.index && address.is_ipv4())
        .find_map(|(_, (address, length))| IpNet::new(address, length).ok()))
}

/// Everything that addresses of a new network must not overlap: routes and addresses of the host.
pub(crate) fn ranges_in_use(route: &mut Route) -> Result<Vec<IpNet>, Error> {
    let failed = || Error::kernel("list the host's routes");
    let mut all = route.destinations().map_err(failed())?;
    all.extend(
        route
            .addresses()
            .map_err(failed())?
            .into_iter()
            .map(|(_, prefix)| prefix),
    );
    Ok(all
        .into_iter()
        .filter_map(|(address, length)| IpNet::new(address, length).ok())
        .collect())
}

/// Takes a network's bridge down, if we made it; gives its number: all that is left to do is to
/// delete it, which takes the kernel tens of milliseconds. A bridge that was there before its network
/// stays as it is.
pub(crate) fn retire(
    route: &mut Route,
    name: &str,
    table: &str,
    network_id: &str,
) -> Result<Option<u32>, Error> {
    let failed = || Error::kernel(format!("remove bridge {name}"));
    let Some(link) = route.link(name).map_err(failed())? else {
        return Ok(None);
    };
    // Those of earlier versions bear no mark.
    let is_named_by_us = network_id.get(..12) == name.strip_prefix("br-");
    if link.alias != mark(table, network_id) && !is_named_by_us {
        return Ok(None);
    }
    match route.apply(&[route::set_down(link.index)]) {
        Err(error) if error.is_not_found() => Ok(None),
        result => result.map(|()| Some(link.index)).map_err(failed()),
    }
}

/// Removes a bridge if it is there.
pub(crate) fn remove(route: &mut Route, name: &str) -> Result<(), Error> {
    let failed = || Error::kernel(format!("remove bridge {name}"));
    let Some(link) = route.link(name).map_err(failed())? else {
        return Ok(());
    };
    match route.apply(&[route::delete_link(link.index)]) {
        Err(error) if !error.is_not_found() => Err(failed()(error)),
        _ => Ok(()),
    }
}

fn create(route: &mut Route, plan: &Plan) -> Result<Link, Error> {
    let failed = || Error::kernel(format!("create bridge {}", plan.name));
    // With an address of its own the bridge does not take over that of whichever port is lowest.
    let mut mac = random_bytes::<6>()?;
    mac[0] = 0x02;
    let messages = [
        route::create_bridge(&plan.name, mac, plan.mtu),
        route::set_alias(&plan.name, &plan.mark),
    ];
    match route.apply(&messages) {
        Err(error) if !error.is_already_there() => return Err(failed()(error)),
        _ => {}
    }
    if !plan.addresses.iter().any(|net| net.addr().is_ipv6()) {
        write_link_sysctl("ipv6", &plan.name, "disable_ipv6", "1")?;
    }
    let gone = || Error::Io {
        action: format!("create bridge {}", plan.name),
        source: io::ErrorKind::NotFound.into(),
    };
    route.link(&plan.name).map_err(failed())?.ok_or_else(gone)
}

fn forward(ipv6: bool) -> Result<(), Error> {
    write_if_different("/proc/sys/net/ipv4/ip_forward", "1")?;
    if ipv6 {
        write_if_different("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

fn flag(value: bool) -> &'static str {
    if value { "1" } else { "0" }
}

pub(crate) fn write_link_sysctl(
    family: &str,
    link: &str,
    name: &str,
    value: &str,
) -> Result<(), Error> {
    let path = format!("/proc/sys/net/{family}/conf/{link}/{name}");
    match write_if_different(&path, value) {
        // A kernel without IPv6 has nothing to switch off.
        Err(Error::Io { source, .. })
            if family == "ipv6" && source.kind() == io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        result => result,
    }
}

fn write_if_different(path: &str, value: &str) -> Result<(), Error> {
    let failed = || Error::io(format!("set {path}"));
    let current = fs::read_to_string(path).map_err(failed())?;
    if current.trim() == value {
        Ok(())
    } else {
        fs::write(path, value).map_err(failed())
    }
}

/// Bytes nobody can foresee.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let flags = rustix::rand::GetRandomFlags::empty();
        let count = rustix::rand::getrandom(&mut bytes[filled..], flags)
            .map_err(|errno| Error::io("draw random bytes")(errno.into()))?;
        filled += count;
    }
    Ok(bytes)
}

/// 64 hex digits nobody can foresee.
pub(crate) fn random_id() -> Result<String, Error> {
    Ok(hex(&random_bytes::<32>()?))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// `02:42` and the IPv4 address: a reused address keeps its neighbours' caches right. Without one,
/// digits of the endpoint's random id.
pub(crate) fn mac_for(id: &str, address: Option<IpAddr>) -> route::Mac {
    let number = match address {
        Some(IpAddr::V4(v4)) => v4.to_bits(),
        _ => id
            .get(..8)
            .and_then(|text| u32::from_str_radix(text, 16).ok())
            .unwrap_or(1),
    };
    let [a, b, c, d] = number.to_be_bytes();
    [0x02, 0x42, a, b, c, d]
}
