//! The files by which a container finds names: `resolv.conf`, `hosts`, `hostname`. Pure: callers
//! read the host's files and write the container's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hull_resolver::protocol::Upstream;

/// What a container's user asks of its resolver; empty lists leave the host's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolverOptions {
    /// `--dns`.
    pub servers: Vec<IpAddr>,
    /// `--dns-search`; a single `.` means none.
    pub search: Vec<String>,
    /// `--dns-option`.
    pub options: Vec<String>,
}

/// Where the host's resolver settings really are, given the text of its `/etc/resolv.conf`.
///
/// The resolver of systemd listens on the host's loopback alone and keeps its own servers in
/// another file.
pub fn host_resolv_conf_path(text: &str) -> &'static str {
    let servers = ResolvConf::parse(text).servers;
    let stubs = ["127.0.0.53", "127.0.0.54"];
    let only_stub = servers
        .iter()
        .all(|server| stubs.contains(&server.as_str()));
    if only_stub && !servers.is_empty() {
        "/run/systemd/resolve/resolv.conf"
    } else {
        "/etc/resolv.conf"
    }
}

/// A container's `/etc/resolv.conf`, from the host's.
///
/// Servers on the host's loopback cannot be reached from a container with a namespace of its own
/// (`own_namespace`) and are left out; if none is left, public ones stand in, as Docker does.
pub fn resolv_conf(
    host: &str,
    options: &ResolverOptions,
    own_namespace: bool,
    ipv6: bool,
) -> String {
    let mut settings = ResolvConf::parse(host);
    if !options.servers.is_empty() {
        settings.servers = options.servers.iter().map(IpAddr::to_string).collect();
    } else if own_namespace {
        settings.servers.retain(|server| is_reachable(server, ipv6));
        if settings.servers.is_empty() {
            settings.servers = public_servers(ipv6);
        }
    }
    settings.ask(options);
    settings.to_text()
}

/// A container's `/etc/resolv.conf` where the resolver answers at 127.0.0.11, from the host's.
///
/// Names without dots are container names first: they are asked for as they are, unless the user
/// says otherwise.
pub fn internal_resolv_conf(host: &str, options: &ResolverOptions) -> String {
    let mut settings = ResolvConf::parse(host);
    settings.servers = vec![hull_resolver::protocol::ADDRESS.to_string()];
    settings.ask(options);
    if !settings
        .options
        .iter()
        .any(|option| option.starts_with("ndots:"))
    {
        settings.options.push("ndots:0".to_owned());
    }
    settings.to_text()
}

/// Whom the resolver asks for what it does not know: the user's servers, or the host's. Those on
/// the host's loopback are asked from the host, and so are those that a container without IPv6, or
/// without IPv4, cannot reach.
pub fn upstreams(
    host: &str,
    options: &ResolverOptions,
    has_ipv4: bool,
    has_ipv6: bool,
) -> Vec<Upstream> {
    if !options.servers.is_empty() {
        let own = options.servers.iter();
        return own
            .map(|address| Upstream {
                address: *address,
                from_host: false,
            })
            .collect();
    }
    let servers = ResolvConf::parse(host).servers;
    let mut servers: Vec<IpAddr> = servers
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    if servers.is_empty() {
        servers = public_servers(false)
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
    }
    let upstream = |address: IpAddr| Upstream {
        address,
        from_host: address.is_loopback()
            || !(if address.is_ipv4() {
                has_ipv4
            } else {
                has_ipv6
            }),
    };
    servers.into_iter().map(upstream).collect()
}

/// Whether names without a dot are first looked for in search domains: the user said so.
pub fn searches_single_labels(options: &ResolverOptions) -> bool {
    let dots = options
        .options
        .iter()
        .filter_map(|option| option.strip_prefix("ndots:"));
    dots.filter_map(|number| number.parse::<u32>().ok())
        .any(|number| number > 0)
}

/// The names a container knows without asking.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// The container's own name.
    pub hostname: String,
    /// Its domain; may be empty.
    pub domain_name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// `--add-host`, resolved by [`extra_hosts`].
    pub extra: Vec<(String, IpAddr)>,
    /// Linked containers: an address and the names it answers to.
    pub links: Vec<(IpAddr, Vec<String>)>,
    /// The container has IPv6.
    pub ipv6: bool,
}

/// A container's `/etc/hosts`.
pub fn hosts(hosts: &Hosts) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n");
    if hosts.ipv6 {
        text.push_str("::1\tlocalhost ip6-localhost ip6-loopback\n");
        text.push_str("fe00::\tip6-localnet\n");
        text.push_str("ff00::\tip6-mcastprefix\n");
        text.push_str("ff02::1\tip6-allnodes\n");
        text.push_str("ff02::2\tip6-allrouters\n");
    }
    for (name, address) in &hosts.extra {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    for (address, names) in &hosts.links {
        text.push_str(&format!("{address}\t{}\n", names.join(" ")));
    }
    if hosts.hostname.is_empty() {
        return text;
    }
    let name = if hosts.domain_name.is_empty() {
        hosts.hostname.clone()
    } else {
        format!("{0}.{1} {0}", hosts.hostname, hosts.domain_name)
    };
    for address in &hosts.addresses {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text
}

/// Reads `--add-host` entries: `name:address`, where `host-gateway` stands for `gateways`. Gives
/// the entry that cannot be read as the error.
pub fn extra_hosts(
    entries: &[String],
    gateways: &[IpAddr],
) -> Result<Vec<(String, IpAddr)>, String> {
    let mut all = Vec::new();
    for entry in entries {
        let (name, address) = entry.split_once([':', '=']).ok_or_else(|| entry.clone())?;
        if address == "host-gateway" {
            all.extend(gateways.iter().map(|gateway| (name.to_owned(), *gateway)));
            continue;
        }
        let plain = address.trim_start_matches('[').trim_end_matches(']');
        all.push((name.to_owned(), plain.parse().map_err(|_| entry.clone())?));
    }
    Ok(all)
}

/// A container's `/etc/hostname`.
pub fn hostname(name: &str) -> String {
    format!("{name}\n")
}

/// What a file is to become at a container's next start: `None` if its user has changed it since
/// it was `generated`, and keeps it.
pub fn regenerated(current: Option<&str>, generated: Option<&str>, next: String) -> Option<String> {
    match (current, generated) {
        (Some(current), Some(generated)) if current != generated => None,
        _ => Some(next),
    }
}

/// The same for `hosts`, whose lines stand for themselves: those of the user's stay, those that were
/// taken away stay away, and ours follow the container's addresses.
pub fn followed(current: Option<&str>, generated: Option<&str>, next: String) -> String {
    let (Some(current), Some(generated)) = (current, generated) else {
        return next;
    };
    if current == generated {
        return next;
    }
    let is_ours = |line: &&str| generated.lines().any(|own| own == *line);
    let is_there = |line: &&str| current.lines().any(|own| own == *line);
    let ours = next.lines().filter(|line| is_there(line) || !is_ours(line));
    let users = current.lines().filter(|line| !is_ours(line));
    let mut text = String::new();
    for line in ours.chain(users) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[derive(Debug, Default)]
struct ResolvConf {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
    /// Lines of other words.
    others: Vec<String>,
}

impl ResolvConf {
    fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => parsed.servers.extend(words.next()),
                // The last one counts.
                Some("search" | "domain") => parsed.search = words.collect(),
                Some("options") => parsed.options.extend(words),
                Some(_) => parsed.others.push(line.trim().to_owned()),
                None => {}
            }
        }
        parsed
    }

    /// Takes the user's search domains and options in place of the host's.
    fn ask(&mut self, options: &ResolverOptions) {
        if !options.search.is_empty() {
            let named = options.search.iter().filter(|name| *name != ".");
            self.search = named.cloned().collect();
        }
        if !options.options.is_empty() {
            self.options.clone_from(&options.options);
        }
    }

    fn to_text(&self) -> String {
        let mut text = String::from("# Made by Hull. Changes to this file are kept.\n");
        for server in &self.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !self.search.is_empty() {
            text.push_str(&format!("search {}\n", self.search.join(" ")));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        for line in &self.others {
            text.push_str(&format!("{line}\n"));
        }
        text
    }
}

/// A zone (`fe80::1%eth0`) names an interface of the host's.
fn is_reachable(server: &str, ipv6: bool) -> bool {
    match server.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() || address.is_unspecified() => false,
        Ok(IpAddr::V4(_)) => true,
        Ok(IpAddr::V6(_)) => ipv6,
        Err(_) => false,
    }
}

fn public_servers(ipv6: bool) -> Vec<String> {
    let v4 = [Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(8, 8, 4, 4)];
    let v6 = [
        Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888),
        Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8844),
    ];
    let mut servers: Vec<_> = v4.iter().map(Ipv4Addr::to_string).collect();
    servers.extend(v6.iter().filter(|_| ipv6).map(Ipv6Addr::to_string));
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "# Made by Hull. Changes to this file are kept.\n";

    fn text(host: &str, options: &ResolverOptions) -> String {
        let text = resolv_conf(host, options, true, false);
        text.strip_prefix(HEADER).unwrap().to_owned()
    }

    #[test]
    fn servers_of_the_host_are_kept_unless_they_are_its_loopback() {
        let host = "# x\nnameserver 127.0.0.1\nnameserver 192.0.2.1 # dns\nnameserver fe80::1%eth0\n\
                    nameserver 2001:db8::1\ndomain old\nsearch example.com lan\noptions ndots:2\nsortlist 1\n";
        let kept = "nameserver 192.0.2.1\nsearch example.com lan\noptions ndots:2\nsortlist 1\n";
        assert_eq!(text(host, &ResolverOptions::default()), kept);
        let with_ipv6 = resolv_conf(host, &ResolverOptions::default(), true, true);
        assert!(with_ipv6.contains("nameserver 2001:db8::1\n"));
        let in_host = resolv_conf(host, &ResolverOptions::default(), false, true);
        assert!(in_host.contains("nameserver 127.0.0.1\n"));
    }

    #[test]
    fn without_a_reachable_server_public_ones_stand_in() {
        let none = ResolverOptions::default();
        assert_eq!(
            text("nameserver ::1\n", &none),
            "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
        );
        assert_eq!(text("", &none), "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
    }

    #[test]
    fn what_the_user_asks_for_wins() {
        let options = ResolverOptions {
            servers: vec!["127.0.0.9".parse().unwrap()],
            search: vec![".".into()],
            options: vec!["rotate".into(), "ndots:0".into()],
        };
        let made = text(
            "nameserver 192.0.2.1\nsearch lan\noptions ndots:5\n",
            &options,
        );
        assert_eq!(made, "nameserver 127.0.0.9\noptions rotate ndots:0\n");
    }

    #[test]
    fn systemds_stub_is_looked_behind() {
        let stub = "nameserver 127.0.0.53\noptions edns0\n";
        assert_eq!(
            host_resolv_conf_path(stub),
            "/run/systemd/resolve/resolv.conf"
        );
        assert_eq!(
            host_resolv_conf_path("nameserver 127.0.0.1\n"),
            "/etc/resolv.conf"
        );
        assert_eq!(host_resolv_conf_path(""), "/etc/resolv.conf");
    }

    #[test]
    fn hosts_names_the_container_last() {
        let gateway = ["172.17.0.1".parse().unwrap()];
        let entries = [
            "db:10.0.0.9",
            "host.docker.internal:host-gateway",
            "six:[fd00::1]",
        ];
        let entries = entries.map(str::to_owned);
        let made = hosts(&Hosts {
            hostname: "web".into(),
            domain_name: "example.com".into(),
            addresses: vec!["172.17.0.2".parse().unwrap()],
            extra: extra_hosts(&entries, &gateway).unwrap(),
            links: vec![(
                "172.17.0.3".parse().unwrap(),
                vec!["cache".into(), "c1".into()],
            )],
            ipv6: false,
        });
        let wanted = "127.0.0.1\tlocalhost\n10.0.0.9\tdb\n172.17.0.1\thost.docker.internal\n\
                      fd00::1\tsix\n172.17.0.3\tcache c1\n172.17.0.2\tweb.example.com web\n";
        assert_eq!(made, wanted);
        assert_eq!(extra_hosts(&["x:y".to_owned()], &[]), Err("x:y".to_owned()));
    }

    #[test]
    fn hosts_follow_the_addresses_and_keep_what_its_user_wrote() {
        let made = "127.0.0.1\tlocalhost\n172.17.0.2\tme\n";
        let next = || "127.0.0.1\tlocalhost\n172.17.0.5\tme\n".to_owned();
        assert_eq!(followed(None, None, next()), next());
        assert_eq!(followed(Some(made), Some(made), next()), next());
        let edited = "10.0.0.1 db\n172.17.0.2\tme\n";
        let merged = followed(Some(edited), Some(made), next());
        assert_eq!(merged, "172.17.0.5\tme\n10.0.0.1 db\n");
        // And again.
        let back = followed(Some(&merged), Some(&next()), made.to_owned());
        assert_eq!(back, "172.17.0.2\tme\n10.0.0.1 db\n");
    }

    #[test]
    fn a_file_its_user_changed_is_kept() {
        let next = || "new".to_owned();
        assert_eq!(regenerated(None, None, next()), Some(next()));
        assert_eq!(regenerated(Some("a"), Some("a"), next()), Some(next()));
        assert_eq!(regenerated(Some("b"), Some("a"), next()), None);
    }
}
