//! What a network's options say, under Docker's names. Pure.

use std::net::IpAddr;

use hull_sys::netlink::route::ChildKind;

use crate::{Driver, Error, Network};

const BRIDGE: &str = "com.docker.network.bridge.";

/// Hull's own word for where ports are published that name no address.
const PUBLISH_DEFAULT: &str = "publish-default";

/// Hull's own word for networks whose containers send under their own addresses only.
const ANTISPOOF: &str = "hull.antispoof";

/// The smallest MTU that IPv4, and that IPv6, can do with; the largest there is.
const MTU_MIN: u32 = 68;
const MTU_MIN_V6: u32 = 1280;
const MTU_MAX: u32 = 65535;

/// Interface names have at most 15 bytes.
const NAME_MAX: usize = 15;

/// How much of a name that cannot be is shown.
pub(crate) const NAME_SHOWN: usize = 64;

/// How a bridge's containers and the world reach each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GatewayMode {
    /// By the host's address, and by published ports.
    #[default]
    Nat,
    /// The same, and all ports by the containers' own addresses.
    NatUnprotected,
    /// By the containers' own addresses; published ports only.
    Routed,
    /// Not at all, not even the host.
    Isolated,
}

impl Network {
    /// The mode of a family.
    pub(crate) fn gateway_mode(&self, ipv6: bool) -> GatewayMode {
        let option = format!("{BRIDGE}gateway_mode_ipv{}", if ipv6 { 6 } else { 4 });
        let text = self.options.get(&option);
        text.and_then(|text| GatewayMode::parse(text))
            .unwrap_or_default()
    }

    /// Interfaces of the host from which containers are reached by their own addresses.
    pub(crate) fn trusted_interfaces(&self) -> Vec<String> {
        let text = self
            .options
            .get(&format!("{BRIDGE}trusted_host_interfaces"));
        let names = text.map_or("", String::as_str).split(':');
        names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The address that containers leave with, instead of whichever the host chooses.
    pub(crate) fn outgoing_address(&self, ipv6: bool) -> Option<IpAddr> {
        let option = format!("com.docker.network.host_ipv{}", if ipv6 { 6 } else { 4 });
        self.options.get(&option)?.parse().ok()
    }

    /// Where ports are published that name no address.
    pub(crate) fn default_binding(&self) -> Option<IpAddr> {
        let own = self.options.get(PUBLISH_DEFAULT);
        let own = own.or_else(|| self.options.get(&format!("{BRIDGE}host_binding_ipv4")));
        own?.parse().ok()
    }

    /// Containers send under their own addresses only.
    pub(crate) fn guards_senders(&self) -> bool {
        self.driver == Driver::Bridge && self.flag(ANTISPOOF, false)
    }

    /// Whether the bridge has the gateway's address.
    pub(crate) fn has_gateway(&self, ipv6: bool) -> bool {
        let inhibited = !ipv6 && self.flag(&format!("{BRIDGE}inhibit_ipv4"), false);
        !inhibited && self.gateway_mode(ipv6) != GatewayMode::Isolated
    }

    /// The host's interface that a macvlan's or ipvlan's share.
    pub(crate) fn parent(&self) -> Option<&str> {
        self.options.get("parent").map(String::as_str)
    }

    /// How they share it; `None`: its driver shares none.
    pub(crate) fn child_kind(&self) -> Option<ChildKind> {
        match self.driver {
            Driver::Macvlan => {
                macvlan_mode(self.option("macvlan_mode", "bridge")).map(ChildKind::Macvlan)
            }
            Driver::Ipvlan => {
                let mode = ipvlan_mode(self.option("ipvlan_mode", "l2"))?;
                let flag = ipvlan_flag(self.option("ipvlan_flag", "bridge"))?;
                Some(ChildKind::Ipvlan(mode, flag))
            }
            Driver::Bridge | Driver::Host | Driver::Null | Driver::Remote => None,
        }
    }

    fn option<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.options.get(name).map_or(default, String::as_str)
    }
}

impl GatewayMode {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "nat" => Self::Nat,
            "nat-unprotected" => Self::NatUnprotected,
            "routed" => Self::Routed,
            "isolated" => Self::Isolated,
            _ => return None,
        })
    }
}

/// Whether all options of a new network make sense.
pub(crate) fn check(network: &Network) -> Result<(), Error> {
    for (name, value) in &network.options {
        let invalid = |what| {
            Err(Error::Invalid {
                what,
                value: format!("{value} ({name})"),
            })
        };
        let short = name.strip_prefix(BRIDGE).unwrap_or(name);
        match short {
            "enable_icc"
            | "enable_ip_masquerade"
            | "inhibit_ipv4"
            | "default_bridge"
            | ANTISPOOF
                if !is_flag(value) =>
            {
                return invalid("value: true or false is wanted");
            }
            "gateway_mode_ipv4" | "gateway_mode_ipv6" => match GatewayMode::parse(value) {
                None => {
                    return invalid(
                        "gateway mode: nat, nat-unprotected, routed or isolated is wanted",
                    );
                }
                Some(GatewayMode::Isolated) if !network.internal => {
                    return invalid("gateway mode: only an internal network can be isolated");
                }
                Some(_) => {}
            },
            "host_binding_ipv4"
            | PUBLISH_DEFAULT
            | "com.docker.network.host_ipv4"
            | "com.docker.network.host_ipv6"
                if value.parse::<IpAddr>().is_err() =>
            {
                return invalid("address");
            }
            "name" | "com.docker.network.container_iface_prefix" if !is_interface(value) => {
                return invalid(
                    "interface name: at most 15 bytes, without blanks, slashes, colons and percent signs",
                );
            }
            "com.docker.network.driver.mtu" => check_mtu(network, value)?,
            "publish_default" | "publishdefault" => {
                return invalid("option: Hull's own is publish-default");
            }
            // Others' options mean something to others.
            own if own.starts_with("hull.") && own != ANTISPOOF => {
                return invalid("option: of Hull's own there is hull.antispoof");
            }
            _ => {}
        }
    }
    if !network.enable_ipv4 && !network.enable_ipv6 {
        return Err(Error::Invalid {
            what: "network: IPv4 or IPv6 must be enabled",
            value: network.name.clone(),
        });
    }
    check_parent(network)
}

fn check_mtu(network: &Network, value: &str) -> Result<(), Error> {
    let least = if network.enable_ipv6 {
        MTU_MIN_V6
    } else {
        MTU_MIN
    };
    match value.parse::<u32>() {
        Ok(0) => Ok(()),
        Ok(mtu) if (least..=MTU_MAX).contains(&mtu) => Ok(()),
        _ => Err(Error::Invalid {
            what: "MTU",
            value: format!("{value}: choose {least} to {MTU_MAX}"),
        }),
    }
}

fn check_parent(network: &Network) -> Result<(), Error> {
    if !matches!(network.driver, Driver::Macvlan | Driver::Ipvlan) {
        return Ok(());
    }
    let invalid = |what, value: &str| Error::Invalid {
        what,
        value: value.to_owned(),
    };
    // Without one, the network gets an interface of its own.
    let parent = network.parent().filter(|name| !name.is_empty());
    if let Some(parent) = parent.filter(|name| !is_interface(name)) {
        let shown: String = parent.chars().take(NAME_SHOWN).collect();
        return Err(invalid("parent: no interface can have that name", &shown));
    }
    if network.child_kind().is_none() {
        let names = ["macvlan_mode", "ipvlan_mode", "ipvlan_flag"];
        let given = names.iter().find_map(|name| network.options.get(*name));
        return Err(invalid("driver mode", given.map_or("", String::as_str)));
    }
    Ok(())
}

fn macvlan_mode(text: &str) -> Option<u32> {
    Some(match text {
        "private" => 1,
        "vepa" => 2,
        "bridge" => 4,
        "passthru" => 8,
        _ => return None,
    })
}

fn ipvlan_mode(text: &str) -> Option<u16> {
    ["l2", "l3", "l3s"]
        .iter()
        .zip(0..)
        .find(|(name, _)| **name == text)
        .map(|(_, number)| number)
}

fn ipvlan_flag(text: &str) -> Option<u16> {
    ["bridge", "private", "vepa"]
        .iter()
        .zip(0..)
        .find(|(name, _)| **name == text)
        .map(|(_, number)| number)
}

fn is_flag(text: &str) -> bool {
    matches!(
        text,
        "0" | "1" | "t" | "f" | "T" | "F" | "true" | "false" | "TRUE" | "FALSE" | "True" | "False"
    )
}

/// As the kernel has it.
pub(crate) fn is_interface(name: &str) -> bool {
    // The kernel puts numbers in place of a percent sign.
    let bad = |c: char| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control();
    !name.is_empty() && name.len() <= NAME_MAX && !name.contains(bad) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(driver: Driver, options: &[(&str, &str)]) -> Network {
        Network {
            id: "a".to_owned(),
            name: "front".to_owned(),
            driver,
            enable_ipv4: true,
            options: options
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Network::default()
        }
    }

    fn complaint(driver: Driver, options: &[(&str, &str)]) -> String {
        check(&network(driver, options)).unwrap_err().to_string()
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        let mtu = "com.docker.network.driver.mtu";
        for (name, value, word) in [
            (mtu, "67", "68 to 65535"),
            (mtu, "big", "MTU"),
            (
                "com.docker.network.bridge.enable_icc",
                "maybe",
                "enable_icc",
            ),
            (
                "com.docker.network.bridge.gateway_mode_ipv4",
                "x",
                "nat-unprotected",
            ),
            (
                "com.docker.network.bridge.gateway_mode_ipv4",
                "isolated",
                "internal",
            ),
            (
                "com.docker.network.bridge.name",
                "a-name-that-is-too-long",
                "15 bytes",
            ),
            ("publish-default", "here", "address"),
            ("hull.antispoofing", "true", "hull.antispoof"),
        ] {
            let text = complaint(Driver::Bridge, &[(name, value)]);
            assert!(text.contains(word), "{text}");
        }
        check(&network(
            Driver::Bridge,
            &[(mtu, "1400"), ("anything", "else")],
        ))
        .unwrap();
    }

    #[test]
    fn a_shared_link_needs_a_mode_that_exists() {
        check(&network(Driver::Macvlan, &[])).unwrap();
        assert!(
            complaint(Driver::Ipvlan, &[("parent", "eth0"), ("ipvlan_mode", "l9")]).contains("l9")
        );
        let l3 = network(Driver::Ipvlan, &[("parent", "eth0"), ("ipvlan_mode", "l3")]);
        assert_eq!(l3.child_kind(), Some(ChildKind::Ipvlan(1, 0)));
        let plain = network(Driver::Macvlan, &[("parent", "eth0")]);
        assert_eq!(plain.child_kind(), Some(ChildKind::Macvlan(4)));
    }
}
