//! Texts of which only some mean something, which the schema does not say: a daemon refuses the others,
//! but later, without a place, and with half of the application made.

use std::net::IpAddr;

use hull_oci::{InvalidReference, Reference};

use super::shape::not_one_of;
use crate::error::{LoadError, Result};
use crate::model::REPLICAS_MAX;
use crate::node::{Map, Node};

const RESTARTS: [&str; 5] = [
    "no",
    "always",
    "on-failure",
    "unless-stopped",
    "on-unhealthy",
];
/// What `deploy.restart_policy.condition` has besides.
const CONDITIONS: [&str; 7] = [
    "none",
    "on-failure",
    "any",
    "no",
    "always",
    "unless-stopped",
    "on-unhealthy",
];
const PULLS: [&str; 9] = [
    "always",
    "never",
    "build",
    "if_not_present",
    "missing",
    "refresh",
    "daily",
    "weekly",
    "every_NUMBER[wdhms]",
];
/// The kernel's, without their `CAP_`.
#[rustfmt::skip]
const CAPABILITIES: [&str; 42] = [
    "ALL", "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN", "DAC_OVERRIDE",
    "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN",
    "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID",
    "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE",
    "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
];

/// Checks what a service says.
pub(super) fn service(name: &str, service: &Map) -> Result<()> {
    let path = |key: &str| format!("services.{name}.{key}");
    each(service, "restart", |node, text| {
        restart(node, text, &path("restart"))
    })?;
    let policy = service
        .map("deploy")
        .and_then(|deploy| deploy.map("restart_policy"));
    if let Some(policy) = policy {
        let path = path("deploy.restart_policy.condition");
        each(policy, "condition", |node, text| {
            one_of(node, text, &path, &CONDITIONS)
        })?;
    }
    each(service, "pull_policy", |node, text| {
        match text.strip_prefix("every_").is_some_and(is_interval) {
            true => Ok(()),
            false => one_of(node, text, &path("pull_policy"), &PULLS),
        }
    })?;
    for key in ["cap_add", "cap_drop"] {
        for item in service.list(key) {
            capability(item, &path(key))?;
        }
    }
    each(service, "container_name", |node, text| {
        container_name(node, text, &path("container_name"))
    })?;
    each(service, "image", |node, text| {
        image(node, text, &path("image"))
    })?;
    counts(service, &path)?;
    for entry in service.map("networks").into_iter().flat_map(Map::iter) {
        let Some(endpoint) = entry.node.as_map() else {
            continue;
        };
        for key in ["ipv4_address", "ipv6_address"] {
            let path = path(&format!("networks.{}.{key}", entry.key));
            each(endpoint, key, |node, text| address(node, text, &path))?;
        }
    }
    Ok(())
}

/// Numbers that count something: a negative one is a slip, and means nothing.
fn counts(service: &Map, path: &dyn Fn(&str) -> String) -> Result<()> {
    let deploy = service.map("deploy");
    let of = |key| deploy.and_then(|deploy| deploy.map(key));
    let update = &["parallelism", "max_failure_ratio", "delay", "monitor"][..];
    let policy = &["max_attempts", "delay", "window"][..];
    let health = &[
        "retries",
        "interval",
        "timeout",
        "start_period",
        "start_interval",
    ][..];
    for (section, map, keys) in [
        ("deploy", deploy, &["replicas"][..]),
        ("deploy.update_config", of("update_config"), update),
        ("deploy.rollback_config", of("rollback_config"), update),
        ("deploy.restart_policy", of("restart_policy"), policy),
        ("healthcheck", service.map("healthcheck"), health),
    ] {
        for key in keys {
            let node = map.and_then(|map| map.get(key));
            not_negative(node, &path(&format!("{section}.{key}")))?;
        }
    }
    not_negative(service.get("scale"), &path("scale"))?;
    not_too_many(service.get("scale"), &path("scale"))?;
    let replicas = deploy.and_then(|deploy| deploy.get("replicas"));
    not_too_many(replicas, &path("deploy.replicas"))?;
    not_negative(service.get("stop_grace_period"), &path("stop_grace_period"))
}

/// So many containers of a service are a slip: planning them alone would take all memory.
fn not_too_many(node: Option<&Node>, path: &str) -> Result<()> {
    let Some(node) = node else {
        return Ok(());
    };
    let text = node.scalar_text().unwrap_or_default();
    match text.parse::<i128>() {
        Ok(count) if count > i128::from(REPLICAS_MAX) => Err(LoadError::at(
            node,
            format!("{path}: `{text}` is more than {REPLICAS_MAX}"),
        )),
        _ => Ok(()),
    }
}

fn not_negative(node: Option<&Node>, path: &str) -> Result<()> {
    let text = node.and_then(Node::scalar_text).unwrap_or_default();
    match node {
        Some(node)
            if text.starts_with('-') && text.contains(|c: char| ('1'..='9').contains(&c)) =>
        {
            Err(LoadError::at(node, format!("{path}: `{text}` is negative")))
        }
        _ => Ok(()),
    }
}

/// Checks what a network says of its addresses.
pub(super) fn network(name: &str, network: &Map) -> Result<()> {
    let pools = network.map("ipam").map(|ipam| ipam.list("config"));
    for pool in pools.unwrap_or_default().iter().filter_map(Node::as_map) {
        let path = |key: &str| format!("networks.{name}.ipam.config.{key}");
        for key in ["subnet", "ip_range"] {
            each(pool, key, |node, text| subnet(node, text, &path(key)))?;
        }
        each(pool, "gateway", |node, text| {
            address(node, text, &path("gateway"))
        })?;
        for entry in pool.map("aux_addresses").into_iter().flat_map(Map::iter) {
            let path = path(&format!("aux_addresses.{}", entry.key));
            address(&entry.node, entry.node.as_text().unwrap_or_default(), &path)?;
        }
    }
    Ok(())
}

/// Checks the text at a key, if it has one; an empty one says nothing.
fn each(map: &Map, key: &str, check: impl FnOnce(&Node, &str) -> Result<()>) -> Result<()> {
    match map.get(key) {
        Some(node) => match node.as_text() {
            Some(text) if !text.is_empty() => check(node, text),
            _ => Ok(()),
        },
        None => Ok(()),
    }
}

fn one_of(node: &Node, text: &str, path: &str, known: &[&'static str]) -> Result<()> {
    match known.contains(&text) {
        true => Ok(()),
        false => Err(not_one_of(node, path, text, known)),
    }
}

/// `on-failure:3`
fn restart(node: &Node, text: &str, path: &str) -> Result<()> {
    let (policy, count) = match text.split_once(':') {
        Some((policy, count)) => (policy, Some(count)),
        None => (text, None),
    };
    // What `deploy` calls them is understood here, too.
    if !["none", "any"].contains(&policy) && !RESTARTS.contains(&policy) {
        return Err(not_one_of(node, path, text, &RESTARTS));
    }
    match count {
        None => Ok(()),
        Some(count) if policy == "on-failure" && count.parse::<u32>().is_ok() => Ok(()),
        Some(_) => Err(LoadError::at(
            node,
            format!("{path}: only `on-failure` has a number behind it, not `{text}`"),
        )
        .with_hint("write `on-failure:3` for at most three times")),
    }
}

/// `12h`, `1w2d`
fn is_interval(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit = rest[digits..].chars().next();
        match unit.filter(|unit| digits > 0 && "wdhms".contains(*unit)) {
            Some(_) => rest = &rest[digits + 1..],
            None => return false,
        }
    }
    !text.is_empty()
}

fn capability(item: &Node, path: &str) -> Result<()> {
    let text = item.as_text().unwrap_or_default();
    let upper = text.trim().to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if CAPABILITIES.contains(&bare) {
        return Ok(());
    }
    let error = LoadError::at(item, format!("{path}: there is no capability `{text}`"));
    Err(
        match crate::error::nearest(bare, CAPABILITIES.iter().copied()) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint("`man capabilities` lists them"),
        },
    )
}

fn container_name(node: &Node, text: &str, path: &str) -> Result<()> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let is_name = text.len() > 1
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(is_allowed);
    match is_name {
        true => Ok(()),
        false => Err(LoadError::at(
            node,
            format!("{path}: `{text}` cannot be the name of a container"),
        )
        .with_hint("it begins with a letter or a digit, goes on with these, `_`, `.` and `-`, and has two of them at least")),
    }
}

fn image(node: &Node, text: &str, path: &str) -> Result<()> {
    let why = match text.parse::<Reference>() {
        // An id is no reference, and names an image of this daemon all the same.
        Ok(_) | Err(InvalidReference::LooksLikeId(_)) => return Ok(()),
        Err(why) => why,
    };
    let error = LoadError::at(node, format!("{path}: `{text}` names no image: {why}"));
    let lower = text.to_lowercase();
    Err(match lower != text && lower.parse::<Reference>().is_ok() {
        true => error.with_hint(format!("did you mean `{lower}`?")),
        false => {
            error.with_hint("an image is `[registry[:port]/]name[:tag][@digest]`, in lower case")
        }
    })
}

fn address(node: &Node, text: &str, path: &str) -> Result<()> {
    match text.parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(LoadError::at(
            node,
            format!("{path}: `{text}` is no address"),
        )),
    }
}

fn subnet(node: &Node, text: &str, path: &str) -> Result<()> {
    let is_subnet = || {
        let (address, length) = text.split_once('/')?;
        let longest = match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        (length.parse::<u8>().ok()? <= longest).then_some(())
    };
    match is_subnet() {
        Some(()) => Ok(()),
        None => Err(
            LoadError::at(node, format!("{path}: `{text}` is no subnet"))
                .with_hint("a subnet is an address and a length, such as `10.5.0.0/16`"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_units() {
        for text in ["12h", "1w2d", "30s"] {
            assert!(is_interval(text), "{text}");
        }
        for text in ["", "h", "12", "1y", "1h2"] {
            assert!(!is_interval(text), "{text}");
        }
    }
}
