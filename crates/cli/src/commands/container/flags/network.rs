//! How the container is reached and what it reaches.

use hull_api::types::{
    Config, Empty, EndpointIpamConfig, EndpointSettings, HostConfig, NetworkingConfig,
};

use super::some;
use crate::flags::{FlagSet, List};
use crate::options::host::{Address, ExtraHost, Link};
use crate::options::network::Attachment;
use crate::options::port;

#[derive(Default)]
pub(super) struct NetworkFlags {
    hosts: List<ExtraHost>,
    dns: List<Address>,
    dns_options: Vec<String>,
    dns_search: Vec<String>,
    expose: Vec<String>,
    ip: String,
    ip6: String,
    links: List<Link>,
    link_local: Vec<String>,
    mac: String,
    networks: List<Attachment>,
    aliases: Vec<String>,
    publish: Vec<String>,
    publish_all: bool,
    old: OldNames,
}

/// Names from before the flags above had theirs; they still work, unlisted.
#[derive(Default)]
struct OldNames {
    networks: List<Attachment>,
    aliases: Vec<String>,
    dns_options: Vec<String>,
}

impl NetworkFlags {
    #[rustfmt::skip]
    pub(super) fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("add-host", "list", "Add a custom host-to-IP mapping (host:ip)", &mut self.hosts);
        set.add("dns", "list", "Set custom DNS servers", &mut self.dns);
        set.add("dns-option", "list", "Set DNS options", &mut self.dns_options);
        set.add("dns-search", "list", "Set custom DNS search domains", &mut self.dns_search);
        set.add("expose", "list", "Expose a port or a range of ports", &mut self.expose);
        set.add("ip", "string", "IPv4 address (e.g., 172.30.100.104)", &mut self.ip);
        set.add("ip6", "string", "IPv6 address (e.g., 2001:db8::33)", &mut self.ip6);
        set.add("link", "list", "Add link to another container", &mut self.links);
        set.add("link-local-ip", "list", "Container IPv4/IPv6 link-local addresses", &mut self.link_local);
        set.add("mac-address", "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)", &mut self.mac);
        set.add("network", "network", "Connect a container to a network", &mut self.networks);
        set.add("network-alias", "list", "Add network-scoped alias for the container", &mut self.aliases);
        set.add("p,publish", "list", "Publish a container's port(s) to the host", &mut self.publish);
        set.add("P,publish-all", "", "Publish all exposed ports to random ports", &mut self.publish_all);
        set.hidden("net", "network", &mut self.old.networks);
        set.hidden("net-alias", "list", &mut self.old.aliases);
        set.hidden("dns-opt", "list", &mut self.old.dns_options);
    }

    pub(super) fn apply(
        &self,
        config: &mut Config,
        host: &mut HostConfig,
    ) -> Result<Option<NetworkingConfig>, String> {
        let ports = port::read(&self.publish, &self.expose)?;
        config.exposed_ports = ports
            .exposed
            .into_iter()
            .map(|port| (port, Empty {}))
            .collect();
        let bindings = ports
            .bindings
            .into_iter()
            .map(|(port, list)| (port, Some(list)));
        host.port_bindings = Some(bindings.collect());
        host.publish_all_ports = self.publish_all;
        host.dns = some(self.dns.0.iter().map(|address| address.0.clone()).collect());
        host.dns_options = some([&self.dns_options[..], &self.old.dns_options].concat());
        host.dns_search = some(self.dns_search.clone());
        host.extra_hosts = some(self.hosts.0.iter().map(|extra| extra.0.clone()).collect());
        let mut attachments = [&self.networks.0[..], &self.old.networks.0].concat();
        if attachments.iter().any(|one| one.target.is_empty()) {
            return Err("no name set for network".to_owned());
        }
        if attachments.is_empty() {
            attachments.push(Attachment {
                target: "default".to_owned(),
                ..Attachment::default()
            });
        }
        let first = &mut attachments[0];
        self.complete(first)?;
        first.target.clone_into(&mut host.network_mode);
        first.mac.clone_into(&mut config.mac_address);
        host.links = some(first.links.clone());
        endpoints(&attachments)
    }

    /// The flags about one network are about the first.
    fn complete(&self, first: &mut Attachment) -> Result<(), String> {
        let conflict = |flag: &str, what: &str| {
            Err(format!(
                "conflicting options: cannot specify both --{flag} and per-network {what}"
            ))
        };
        let aliases = [&self.aliases[..], &self.old.aliases].concat();
        if !aliases.is_empty() {
            if !first.aliases.is_empty() {
                return conflict("network-alias", "alias");
            }
            first.aliases = aliases;
        }
        if !self.ip.is_empty() {
            if !first.ipv4.is_empty() {
                return conflict("ip", "IPv4 address");
            }
            self.ip.clone_into(&mut first.ipv4);
        }
        if !self.ip6.is_empty() {
            if !first.ipv6.is_empty() {
                return conflict("ip6", "IPv6 address");
            }
            self.ip6.clone_into(&mut first.ipv6);
        }
        if !self.mac.is_empty() {
            if !first.mac.is_empty() {
                return conflict("mac-address", "MAC address");
            }
            if !is_mac_address(&self.mac) {
                return Err(format!("{} is not a valid mac address", self.mac));
            }
            self.mac.clone_into(&mut first.mac);
        }
        if !self.link_local.is_empty() {
            if !first.link_local.is_empty() {
                return conflict("link-local-ip", "link-local IP addresses");
            }
            first.link_local.clone_from(&self.link_local);
        }
        first.links = self.links.0.iter().map(|link| link.0.clone()).collect();
        Ok(())
    }
}

/// The endpoints of all networks. The default network's goes without saying.
fn endpoints(attachments: &[Attachment]) -> Result<Option<NetworkingConfig>, String> {
    let mut networking = NetworkingConfig::default();
    for attachment in attachments {
        let is_plain = Attachment {
            target: attachment.target.clone(),
            ..Attachment::default()
        } == *attachment;
        if is_plain && attachments.len() == 1 {
            return Ok(None);
        }
        if is_named(attachment) != is_named(&attachments[0]) {
            return Err("conflicting options: cannot attach both user-defined and non-user-defined network-modes".into());
        }
        let previous = networking
            .endpoints_config
            .insert(attachment.target.clone(), Some(endpoint(attachment)));
        if previous.is_some() {
            return Err(format!(
                "network {:?} is specified multiple times",
                attachment.target
            ));
        }
    }
    Ok(Some(networking))
}

/// Whether somebody made the network.
fn is_named(attachment: &Attachment) -> bool {
    let target = attachment.target.as_str();
    !matches!(target, "default" | "bridge" | "host" | "none") && !target.starts_with("container:")
}

/// An attachment as the API takes it.
pub(crate) fn endpoint(attachment: &Attachment) -> EndpointSettings {
    let has_addresses = !attachment.ipv4.is_empty()
        || !attachment.ipv6.is_empty()
        || !attachment.link_local.is_empty();
    EndpointSettings {
        ipam_config: has_addresses.then(|| EndpointIpamConfig {
            ipv4_address: attachment.ipv4.clone(),
            ipv6_address: attachment.ipv6.clone(),
            link_local_ips: attachment.link_local.clone(),
        }),
        links: some(attachment.links.clone()),
        aliases: some(attachment.aliases.clone()),
        mac_address: attachment.mac.clone(),
        driver_opts: (!attachment.driver_options.is_empty())
            .then(|| attachment.driver_options.clone()),
        gw_priority: attachment.gateway_priority,
        ..EndpointSettings::default()
    }
}

/// Six or eight bytes in hex, with colons or dashes between them, or in groups of two with dots.
fn is_mac_address(text: &str) -> bool {
    let groups = |separator, digits: usize, counts: &[usize]| {
        let parts: Vec<&str> = text.split(separator).collect();
        counts.contains(&parts.len())
            && parts.iter().all(|part| {
                part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
    };
    groups(':', 2, &[6, 8]) || groups('-', 2, &[6, 8]) || groups('.', 4, &[3, 4])
}
