//! How a container finds names: the files in its `/etc`, and what its resolver is told.

use std::{
    fs, io,
    net::IpAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use hull_network::{Endpoint, NameService, dns};
use serde::{Deserialize, Serialize};

use crate::{
    container::start::Connected,
    error::{Attempt, Error, Result},
    model::NetworkMode,
    network::BRIDGE,
    record::Record,
    restore::ANSWER_WITHIN,
    services::Services,
    spec::Files,
};

impl crate::Engine {
    /// What a container is linked with, as Docker shows it: `/TARGET:/ITSELF/ALIAS`.
    pub fn links_of(&self, record: &Record) -> Vec<String> {
        // Elsewhere links are to names, as they were given.
        let is_default = record.host.network_mode == NetworkMode::Bridge;
        let shown = |link: &String| {
            if !is_default {
                return Some(link.clone());
            }
            let (reference, alias) = link.split_once(':').unwrap_or((link, link));
            let alias = alias.rsplit('/').next().unwrap_or(alias);
            // A link goes with what it leads to.
            let target = self.find(reference.trim_start_matches('/')).ok()?.record();
            Some(format!("/{}:/{}/{alias}", target.name, record.name))
        };
        record.host.links.iter().filter_map(shown).collect()
    }
}

impl Services {
    /// Writes `hosts`, `hostname` and `resolv.conf` into the bundle; files that the user changed
    /// since they were made are kept.
    pub(crate) fn write_network_files(
        &self,
        record: &Record,
        connected: &Connected,
    ) -> Result<Files> {
        if let NetworkMode::Container(reference) = &record.host.network_mode {
            // One network, one set of names.
            let owner = self.registry.find(reference)?.record();
            let bundle = self.paths.bundle(&owner.id);
            return Ok(files_in(&bundle));
        }
        let own_namespace = connected.namespace.is_some();
        self.write_files(record, &connected.endpoints, own_namespace)
    }

    /// The same for a running container whose networks have changed.
    pub(crate) fn rewrite_network_files(&self, record: &Record) -> Result<()> {
        self.write_files(record, &record.endpoints, true).map(drop)
    }

    fn write_files(
        &self,
        record: &Record,
        endpoints: &[Endpoint],
        own_namespace: bool,
    ) -> Result<Files> {
        let bundle = self.paths.bundle(&record.id);
        let texts = self.texts(record, endpoints, own_namespace)?;
        let before = Texts::load(&bundle.join(MADE));
        for (name, text, made) in [
            ("hosts", &texts.hosts, &before.hosts),
            ("hostname", &texts.hostname, &before.hostname),
            ("resolv.conf", &texts.resolv_conf, &before.resolv_conf),
        ] {
            let path = bundle.join(name);
            // A container may make it as large as it likes.
            let is_small = || fs::metadata(&path).is_ok_and(|found| found.len() <= FILE_BYTES_MAX);
            let current = match made.is_empty() {
                true => None,
                false if is_small() => fs::read_to_string(&path).ok(),
                false => continue,
            };
            let made = (!made.is_empty()).then_some(made.as_str());
            let next = match name {
                "hosts" => Some(dns::followed(current.as_deref(), made, text.clone())),
                _ => dns::regenerated(current.as_deref(), made, text.clone()),
            };
            if let Some(next) = next
                && current.as_deref() != Some(&next)
            {
                fs::write(&path, next).attempt(|| format!("write {}", path.display()))?;
            }
        }
        if before != texts {
            texts.save(&bundle.join(MADE))?;
        }
        Ok(files_in(&bundle))
    }

    fn texts(&self, record: &Record, endpoints: &[Endpoint], own_namespace: bool) -> Result<Texts> {
        let hostname = &record.config.hostname;
        let ipv6 = endpoints.iter().any(|endpoint| endpoint.ipv6.is_some());
        let hosts = if own_namespace {
            dns::hosts(&dns::Hosts {
                hostname: hostname.clone(),
                domain_name: record.config.domainname.clone(),
                addresses: endpoints.iter().flat_map(Endpoint::addresses).collect(),
                extra: self.extra_hosts(record, own_namespace)?,
                links: self.links(record)?,
                ipv6,
            })
        } else {
            let mut text = host_file("/etc/hosts")?;
            for (name, address) in self.extra_hosts(record, own_namespace)? {
                text.push_str(&format!("{address}\t{name}\n"));
            }
            text
        };
        Ok(Texts {
            hosts,
            hostname: dns::hostname(hostname),
            resolv_conf: self.resolv_conf(record, endpoints, own_namespace, ipv6)?,
        })
    }

    fn resolv_conf(
        &self,
        record: &Record,
        endpoints: &[Endpoint],
        own_namespace: bool,
        ipv6: bool,
    ) -> Result<String> {
        let resolver = self.resolver(record);
        let host = host_file("/etc/resolv.conf")?;
        if endpoints.iter().any(|e| self.networks.knows_names(e)) {
            return Ok(dns::internal_resolv_conf(&host, &resolver));
        }
        let host = match dns::host_resolv_conf_path(&host) {
            "/etc/resolv.conf" => host,
            other => host_file(other)?,
        };
        Ok(dns::resolv_conf(&host, &resolver, own_namespace, ipv6))
    }

    /// What a container's resolver is told.
    pub(crate) fn name_service(
        &self,
        record: &Record,
        endpoints: &[Endpoint],
    ) -> Result<NameService> {
        let resolver = self.resolver(record);
        let host = host_file("/etc/resolv.conf")?;
        let asked = record
            .endpoint_configs
            .values()
            .flat_map(|c| c.links.iter());
        let links = asked.chain(&record.host.links).filter_map(|link| {
            let (reference, alias) = link.split_once(':').unwrap_or((link, link));
            let target = self.registry.find(reference.trim_start_matches('/')).ok()?;
            let alias = alias.rsplit('/').next().unwrap_or(alias);
            Some((alias.to_owned(), target.record().name.to_string()))
        });
        Ok(NameService {
            container_id: record.id.to_string(),
            links: links.collect(),
            servers: dns::upstreams(
                &host,
                &resolver,
                endpoints.iter().any(|e| e.ipv4.is_some()),
                endpoints.iter().any(|e| e.ipv6.is_some()),
            ),
            keeps_single_labels: dns::searches_single_labels(&resolver),
        })
    }

    /// Has names answered again in containers that an earlier daemon left running.
    pub(crate) fn restore_names(&self, running: &[&Record]) {
        let mut all: Vec<(NameService, OwnedFd)> = Vec::new();
        for record in running {
            if !record
                .endpoints
                .iter()
                .any(|e| self.networks.knows_names(e))
            {
                continue;
            }
            match self
                .name_service(record, &record.endpoints)
                .and_then(|service| {
                    let namespace = self.open_of_found(record, "ns/net", ANSWER_WITHIN)?;
                    Ok((service, namespace))
                }) {
                Ok(one) => all.push(one),
                Err(error) => {
                    tracing::error!(container = record.id.short(), %error, "cannot serve names");
                }
            }
        }
        if let Err(error) = self.networks.kernel.restore_names(all) {
            tracing::error!(error = crate::shim::chain(&error), "cannot serve names");
        }
    }

    fn resolver(&self, record: &Record) -> dns::ResolverOptions {
        let (host, daemon) = (&record.host, &self.config);
        let or = |own: &Vec<String>, default: &Vec<String>| {
            if own.is_empty() {
                default.clone()
            } else {
                own.clone()
            }
        };
        dns::ResolverOptions {
            servers: if host.dns.is_empty() {
                daemon.dns.clone()
            } else {
                host.dns.clone()
            },
            search: or(&host.dns_search, &daemon.dns_search),
            options: or(&host.dns_options, &daemon.dns_options),
        }
    }

    fn extra_hosts(&self, record: &Record, own_namespace: bool) -> Result<Vec<(String, IpAddr)>> {
        let mut gateways = self.config.host_gateway.clone();
        if gateways.is_empty() {
            let bridge = self.networks.find(BRIDGE);
            let subnet = bridge.and_then(|network| network.subnets.first().map(|s| s.gateway));
            gateways.extend(subnet);
        }
        if !own_namespace {
            gateways = vec![IpAddr::from([127, 0, 0, 1])];
        }
        dns::extra_hosts(&record.host.extra_hosts, &gateways)
            .map_err(|entry| Error::Invalid(format!("bad format for add-host: \"{entry}\"")))
    }

    /// Linked containers on the default bridge.
    fn links(&self, record: &Record) -> Result<Vec<(IpAddr, Vec<String>)>> {
        let mut links = Vec::new();
        // Elsewhere the resolver knows them, also after their addresses have changed.
        let is_default = record.host.network_mode == NetworkMode::Bridge;
        for link in record.host.links.iter().filter(|_| is_default) {
            let (reference, alias) = link.split_once(':').unwrap_or((link, link));
            let alias = alias.rsplit('/').next().unwrap_or(alias);
            let target = self.registry.find(reference.trim_start_matches('/'));
            let target = target.map_err(|error| {
                Error::State(format!("Cannot link /{} AS {alias}: {error}", record.name))
            })?;
            let target = target.record();
            let address = target.endpoints.iter().flat_map(Endpoint::addresses).next();
            let Some(address) = address else {
                return Err(Error::State(format!(
                    "Cannot link to a non running container: /{} AS /{}/{alias}",
                    target.name, record.name
                )));
            };
            let names = [alias, &target.config.hostname, target.name.as_str()];
            let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            names.dedup();
            links.push((address, names));
        }
        Ok(links)
    }
}

/// The name of the file that remembers what was made, to tell it from what the user changed.
const MADE: &str = "names.json";

/// The largest file of a container's that is looked into.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Texts {
    hosts: String,
    hostname: String,
    resolv_conf: String,
}

impl Texts {
    fn load(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::Internal(format!("encode {}: {error}", path.display())))?;
        fs::write(path, text).attempt(|| format!("write {}", path.display()))
    }
}

fn files_in(bundle: &Path) -> Files {
    let file = |name: &str| -> Option<PathBuf> { Some(bundle.join(name)) };
    Files {
        hosts: file("hosts"),
        hostname: file("hostname"),
        resolv_conf: file("resolv.conf"),
    }
}

/// A file of the host; one that is not there is empty.
fn host_file(path: &str) -> Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(Error::Host {
            attempt: format!("read {path}"),
            source,
        }),
    }
}
