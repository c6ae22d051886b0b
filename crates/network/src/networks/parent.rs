//! The host's interface that a macvlan's or ipvlan's endpoints share: looked for, and made where it
//! is one of a VLAN (`eth0.10`) that is not there yet, or where nobody named one: the endpoints of
//! such a network reach each other and nothing else.

use hull_sys::netlink::route;

use super::{Networks, manage::name_it};
use crate::{Driver, Error, Network};

/// 802.1Q has 12 bits, of which two values mean something else.
const VLANS: std::ops::RangeInclusive<u16> = 1..=4094;

/// What of a network's id is in the names of its interfaces.
const SHORT_ID: usize = 12;

impl Networks {
    /// Whether the host's interface is there, or can be made, and is shared with no other network.
    pub(super) fn check_parent(&self, wanted: &mut Network) -> Result<(), Error> {
        // Settings, and what a plugin calls a parent, are no concern of ours.
        let is_ours = |driver| matches!(driver, Driver::Macvlan | Driver::Ipvlan);
        if !is_ours(wanted.driver) {
            return Ok(());
        }
        let given = wanted.parent().filter(|name| !name.is_empty());
        let Some(parent) = given.map(str::to_owned) else {
            if wanted.id.is_empty() {
                name_it(wanted)?;
            }
            let [own, _] = own_pair(&wanted.id);
            wanted.options.insert("parent".to_owned(), own);
            wanted.owns_parent = true;
            return Ok(());
        };
        let same = |other: &Network| is_ours(other.driver) && other.parent() == Some(&parent);
        if let Some(other) = self.list().into_iter().find(same) {
            let network = other.name;
            return Err(Error::ParentTaken { parent, network });
        }
        let look = Error::kernel(format!("look for interface {parent}"));
        if self.route().link(&parent).map_err(look)?.is_none() {
            wanted.owns_parent = true;
        }
        Ok(())
    }

    /// Makes the interface of a network that owns it, if it is not there.
    pub(super) fn ensure_parent(&self, record: &Network) -> Result<(), Error> {
        let Some(parent) = record.parent().filter(|_| record.owns_parent) else {
            return Ok(());
        };
        let failed = || Error::kernel(format!("set up interface {parent}"));
        let mut route = self.route();
        let pair = own_pair(&record.id);
        if route.link(parent).map_err(failed())?.is_some() {
            // Whoever made it may have died before it was up.
            let ends = if parent == pair[0] {
                &pair[..]
            } else {
                &[][..]
            };
            for name in ends.iter().map(String::as_str).chain([parent]) {
                let link = route.link(name).map_err(failed())?;
                let up = link.map(|link| route::set_up(link.index, None));
                route.apply(up.as_slice()).map_err(failed())?;
            }
            return Ok(());
        }
        let mark = crate::bridge::mark(&self.config.table(), &record.id);
        if parent == pair[0] {
            let [near, far] = &pair;
            let made = [route::create_wire(near, far), route::set_alias(near, &mark)];
            route.apply(&made).map_err(failed())?;
            for name in &pair {
                let link = route.link(name).map_err(failed())?;
                let up = link.map(|link| route::set_up(link.index, None));
                route.apply(up.as_slice()).map_err(failed())?;
            }
            return Ok(());
        }
        let missing = |what| Error::Invalid {
            what,
            value: parent.to_owned(),
        };
        let (base, vlan) = vlan(parent).ok_or_else(|| {
            missing("parent: the host has no such interface, and NAME.VLAN (1 to 4094) it is not")
        })?;
        let base = route.link(base).map_err(failed())?;
        let base =
            base.ok_or_else(|| missing("parent: the host has no interface for that VLAN"))?;
        let made = route.apply(&[
            route::create_vlan(parent, base.index, vlan),
            route::set_alias(parent, &mark),
        ]);
        match made {
            Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {
                let what = "a VLAN of its own: this kernel has none (module 8021q)";
                let network = record.name.clone();
                return Err(Error::Unsupported { network, what });
            }
            made => made.map_err(failed())?,
        }
        let link = route.link(parent).map_err(failed())?;
        let up = link.map(|link| route::set_up(link.index, None));
        route.apply(up.as_slice()).map_err(failed())
    }

    /// Removes the interface of a network that owns it.
    pub(super) fn remove_parent(&self, record: &Network) -> Result<(), Error> {
        let Some(parent) = record.parent().filter(|_| record.owns_parent) else {
            return Ok(());
        };
        let failed = || Error::kernel(format!("remove interface {parent}"));
        let mut route = self.route();
        let Some(link) = route.link(parent).map_err(failed())? else {
            return Ok(());
        };
        match route.apply(&[route::delete_link(link.index)]) {
            Err(error) if !error.is_not_found() => Err(failed()(error)),
            _ => Ok(()),
        }
    }
}

/// The two ends of a wire that leads nowhere, of which one is shared: Docker's name, and the other.
fn own_pair(id: &str) -> [String; 2] {
    let short = id.get(..SHORT_ID).unwrap_or(id);
    ["dm-", "dp-"].map(|prefix| format!("{prefix}{short}"))
}

/// `eth0.10`: the interface and the VLAN's number.
fn vlan(name: &str) -> Option<(&str, u16)> {
    let (base, number) = name.rsplit_once('.')?;
    let number = number
        .parse()
        .ok()
        .filter(|number| VLANS.contains(number))?;
    (!base.is_empty()).then_some((base, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_is_named_after_its_interface() {
        assert_eq!(vlan("eth0.10"), Some(("eth0", 10)));
        assert_eq!(vlan("bond0.5.4094"), Some(("bond0.5", 4094)));
        for bad in ["eth0", "eth0.0", "eth0.4095", "eth0.x", ".10", "eth0."] {
            assert_eq!(vlan(bad), None, "{bad}");
        }
    }
}
