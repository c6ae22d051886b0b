//! The gate: a pair of links of the host's own, by which packets that the host's INPUT rules have
//! let pass are sent round to where published ports are translated ([`crate::firewall::admit`]).
//! It is there only in that mode.

use hull_sys::netlink::route::{self, Route};

use crate::{Config, Error, bridge};

/// The host's loopback.
pub(crate) const LOOPBACK: &str = "lo";

/// An interface without an address takes no IPv4 packets from elsewhere. RFC 7600 keeps this one for
/// such ends; it holds on the link alone and is nobody's source.
const FAR_ADDRESS: route::Prefix = (
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 0, 8)),
    32,
);
/// Makes the near end a place from which IPv6 neighbours are reached.
const NEAR_ADDRESS: route::Prefix = (
    std::net::IpAddr::V6(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 8)),
    64,
);

/// Both ends have it: without ARP, a link sends to its own address.
const MAC: route::Mac = [0x02, 0x48, 0, 0, 0, 1];

/// The two ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Where packets go in.
    pub near: String,
    /// Its number.
    pub near_index: u32,
    /// Where they come out. `ufw route allow in on …` names it.
    pub far: String,
}

/// The ends' names: those of a daemon with another table are others.
pub(crate) fn names(config: &Config) -> (String, String) {
    match config.table().strip_prefix("hull-") {
        None => ("hull-admit".to_owned(), "hull-in".to_owned()),
        Some(own) => {
            // Names have at most 15 bytes: a bridge's may have that many already.
            let short: u32 = own.bytes().fold(0x811c_9dc5, |hash, byte| {
                (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
            });
            (format!("hull-a{short:08x}"), format!("hull-i{short:08x}"))
        }
    }
}

/// Makes what is missing. Gives the gate, and whether anything had to be done.
pub(crate) fn ensure(route: &mut Route, config: &Config) -> Result<(Gate, bool), Error> {
    let (near, far) = names(config);
    let failed = || Error::kernel(format!("set up links {near} and {far}"));
    let both = [route.link(&near), route.link(&far)];
    let [found_near, found_far] = both.map(|link| link.map_err(failed()));
    let whole = match (found_near?, found_far?) {
        (Some(near), Some(far)) => (near.is_up && far.is_up).then_some(near.index),
        _ => None,
    };
    let gate = |near_index| Gate {
        near: near.clone(),
        near_index,
        far: far.clone(),
    };
    if let Some(index) = whole {
        return Ok((gate(index), false));
    }
    remove(route, config)?;
    let ends = [
        route::create_pair(&near, &far, MAC),
        route::get_link(&near),
        route::get_link(&far),
    ];
    let made = route.apply_and_get(&ends).map_err(failed())?;
    let [near_link, far_link] = made.as_slice() else {
        let gone = std::io::ErrorKind::NotFound.into();
        return Err(Error::io(format!("find links {near} and {far}"))(gone));
    };
    // Packets of everybody come out here: their sources are reached by other links.
    bridge::write_link_sysctl("ipv4", &far, "rp_filter", "2")?;
    bridge::write_link_sysctl("ipv4", &far, "forwarding", "1")?;
    bridge::write_link_sysctl("ipv6", &far, "forwarding", "1")?;
    bridge::write_link_sysctl("ipv6", &far, "accept_ra", "0")?;
    for end in [&near, &far] {
        bridge::write_link_sysctl("ipv6", end, "disable_ipv6", "0")?;
    }
    let changes = [
        route::set_up(near_link.index, None),
        route::set_up(far_link.index, None),
        route::add_link_address(far_link.index, FAR_ADDRESS),
    ];
    route.apply(&changes).map_err(failed())?;
    match route.apply(&[route::add_link_address(near_link.index, NEAR_ADDRESS)]) {
        // A kernel without IPv6 has no such packets either.
        Err(error) if error.errno() != Some(libc::EOPNOTSUPP) => return Err(failed()(error)),
        _ => {}
    }
    Ok((gate(near_link.index), true))
}

/// Removes it if it is there.
pub(crate) fn remove(route: &mut Route, config: &Config) -> Result<(), Error> {
    let (near, far) = names(config);
    for name in [near, far] {
        let failed = || Error::kernel(format!("remove link {name}"));
        // The other end goes along.
        if let Some(link) = route.link(&name).map_err(failed())?
            && link.kind == "veth"
        {
            match route.apply(&[route::delete_link(link.index)]) {
                Err(error) if !error.is_not_found() => return Err(failed()(error)),
                _ => {}
            }
        }
    }
    Ok(())
}
