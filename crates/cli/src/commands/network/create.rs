//! `network create`

use std::net::IpAddr;

use hull_api::types::{ConfigReference, Ipam, IpamConfig, NetworkCreate};

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::{FlagSet, List, Map};
use crate::options::environment::{self, Label};
use crate::ui;

#[derive(Default)]
pub(crate) struct Create {
    attachable: bool,
    aux_addresses: Map,
    config_from: String,
    config_only: bool,
    driver: Option<String>,
    gateways: Vec<String>,
    ingress: bool,
    internal: bool,
    ip_ranges: Vec<String>,
    ipam_driver: Option<String>,
    ipam_options: Map,
    ipv4: Option<bool>,
    ipv6: Option<bool>,
    labels: List<Label>,
    options: Map,
    scope: String,
    subnets: Vec<String>,
}

impl Command for Create {
    const ABOUT: About = About::new(
        &["network create"],
        "[OPTIONS] NETWORK",
        "Create a network",
        Operands::Exactly(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("attachable", "", "Enable manual container attachment", &mut self.attachable);
        set.add("aux-address", "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver (default map[])", &mut self.aux_addresses);
        set.add("config-from", "string", "The network from which to copy the configuration", &mut self.config_from);
        set.add("config-only", "", "Create a configuration only network", &mut self.config_only);
        set.add("d,driver", "string", "Driver to manage the Network (default \"bridge\")", &mut self.driver);
        set.add("gateway", "strings", "IPv4 or IPv6 Gateway for the master subnet", &mut self.gateways);
        set.add("ingress", "", "Create swarm routing-mesh network", &mut self.ingress);
        set.add("internal", "", "Restrict external access to the network", &mut self.internal);
        set.add("ip-range", "strings", "Allocate container ip from a sub-range", &mut self.ip_ranges);
        set.add("ipam-driver", "string", "IP Address Management Driver (default \"default\")", &mut self.ipam_driver);
        set.add("ipam-opt", "map", "Set IPAM driver specific options (default map[])", &mut self.ipam_options);
        set.add("ipv4", "", "Enable or disable IPv4 address assignment (default true)", &mut self.ipv4);
        set.add("ipv6", "", "Enable or disable IPv6 address assignment", &mut self.ipv6);
        set.add("label", "list", "Set metadata on a network", &mut self.labels);
        set.add("o,opt", "map", "Set driver specific options (default map[])", &mut self.options);
        set.add("scope", "string", "Control the network's scope", &mut self.scope);
        set.add("subnet", "strings", "Subnet in CIDR format that represents a network segment", &mut self.subnets);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let body = NetworkCreate {
            name: call.operand(0).to_owned(),
            driver: self.driver.clone().unwrap_or_else(|| "bridge".to_owned()),
            scope: self.scope.clone(),
            enable_ipv4: self.ipv4,
            enable_ipv6: self.ipv6,
            ipam: Some(Ipam {
                driver: self
                    .ipam_driver
                    .clone()
                    .unwrap_or_else(|| "default".to_owned()),
                options: Some(self.ipam_options.0.clone()),
                config: Some(self.pools()?),
            }),
            internal: self.internal,
            attachable: self.attachable,
            ingress: self.ingress,
            config_only: self.config_only,
            config_from: (!self.config_from.is_empty()).then(|| ConfigReference {
                network: self.config_from.clone(),
            }),
            options: Some(self.options.0.clone()),
            labels: Some(environment::labels(&[], &self.labels.0)?),
            ..NetworkCreate::default()
        };
        let client = connect(&call.globals).await?;
        let made = client.network_create(&body).await.map_err(failure)?;
        if !made.warning.is_empty() {
            ui::warn(&made.warning);
        }
        ui::line(&made.id)?;
        Ok(0)
    }
}

impl Create {
    /// Subnets with the ranges, gateways and reserved addresses that lie in them.
    fn pools(&self) -> Result<Vec<IpamConfig>> {
        let split = |values: &[String]| -> Vec<String> {
            values
                .iter()
                .flat_map(|value| value.split(','))
                .map(str::to_owned)
                .collect()
        };
        let subnets = split(&self.subnets);
        let (ranges, gateways) = (split(&self.ip_ranges), split(&self.gateways));
        if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
            return Err(Error::new(
                "every ip-range or gateway must have a corresponding subnet",
            ));
        }
        if let ([subnet], [], []) = (&subnets[..], &ranges[..], &gateways[..])
            && self.aux_addresses.0.is_empty()
        {
            // Nothing has to be found in it: what is wrong with it, the daemon says.
            return Ok(vec![IpamConfig {
                subnet: subnet.clone(),
                ..IpamConfig::default()
            }]);
        }
        let mut pools = Vec::new();
        for subnet in &subnets {
            let network = Subnet::parse(subnet).ok_or_else(|| {
                Error::new(format!(
                    "invalid subnet {subnet}: invalid CIDR block notation"
                ))
            })?;
            pools.push((
                network,
                IpamConfig {
                    subnet: subnet.clone(),
                    ..IpamConfig::default()
                },
            ));
        }
        let mut place = |address: &str, what: &str, set: &mut dyn FnMut(&mut IpamConfig)| {
            let ip: Option<IpAddr> = address.split('/').next().and_then(|text| text.parse().ok());
            let found = pools
                .iter_mut()
                .find(|(net, _)| ip.is_some_and(|ip| net.contains(ip)));
            match found {
                Some((_, pool)) => {
                    set(pool);
                    Ok(())
                }
                None => Err(Error::new(format!(
                    "no matching subnet for {what} {address}"
                ))),
            }
        };
        for range in &ranges {
            place(range, "range", &mut |pool| {
                range.clone_into(&mut pool.ip_range)
            })?;
        }
        for gateway in &gateways {
            place(gateway, "gateway", &mut |pool| {
                gateway.clone_into(&mut pool.gateway)
            })?;
        }
        for (name, address) in &self.aux_addresses.0 {
            place(address, "aux-address", &mut |pool| {
                pool.auxiliary_addresses
                    .insert(name.clone(), address.clone());
            })?;
        }
        Ok(pools.into_iter().map(|(_, pool)| pool).collect())
    }
}

/// A block of addresses.
#[derive(Clone, Copy)]
struct Subnet {
    bits: u128,
    prefix: u32,
    width: u32,
}

impl Subnet {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let (bits, width) = bits(address.parse().ok()?);
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= width)?;
        Some(Self {
            bits,
            prefix,
            width,
        })
    }

    fn contains(self, address: IpAddr) -> bool {
        let (bits, width) = bits(address);
        let host_bits = self.width - self.prefix;
        width == self.width && (host_bits == 128 || (bits >> host_bits) == (self.bits >> host_bits))
    }
}

fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_to_the_subnet_they_lie_in() {
        let create = Create {
            subnets: vec!["10.0.0.0/8,fd00::/64".into(), "192.168.0.0/16".into()],
            gateways: vec!["192.168.0.1".into(), "fd00::1".into()],
            ip_ranges: vec!["10.1.0.0/16".into()],
            ..Create::default()
        };
        let pools = create.pools().unwrap();
        assert_eq!(pools[0].ip_range, "10.1.0.0/16");
        assert_eq!(pools[1].gateway, "fd00::1");
        assert_eq!(pools[2].gateway, "192.168.0.1");
        let create = Create {
            subnets: vec!["10.0.0.0/8".into()],
            gateways: vec!["11.0.0.1".into()],
            ..Create::default()
        };
        assert_eq!(
            create.pools().unwrap_err().message(),
            "no matching subnet for gateway 11.0.0.1"
        );
    }
}
