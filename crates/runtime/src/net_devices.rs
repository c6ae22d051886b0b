//! Devices of the host's network that become the container's.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, OwnedFd},
};

use hull_oci::runtime::Spec;
use hull_sys::{
    namespace::Namespaces,
    netlink::{
        namespace,
        route::{self, Link, Prefix, Route},
    },
};
use rustix::fs::{Mode, OFlags};

use crate::{
    error::{Context, Error, invalid},
    init::Joined,
    plan::NamespacePlan,
    undo::Undo,
};

/// The longest name of a device, by the kernel.
const NAME_MAX: usize = 15;

/// Names on the host, each with the name in the container.
pub(crate) type NetDevices = BTreeMap<String, String>;

/// What the spec asks for, if it can be meant.
pub(crate) fn plan(spec: &Spec, namespaces: &NamespacePlan) -> Result<NetDevices, Error> {
    let linux = spec.linux().as_ref();
    let devices = linux.and_then(|linux| linux.net_devices().as_ref());
    let mut plan = NetDevices::new();
    for (host, device) in devices.into_iter().flatten() {
        let name = device.name().as_deref().filter(|name| !name.is_empty());
        let name = name.unwrap_or(host);
        for name in [host.as_str(), name] {
            if !is_name(name) {
                return Err(invalid(format!(
                    "netDevices: {name:?} is no name of a device"
                )));
            }
        }
        if let Some((other, _)) = plan.iter().find(|(_, known)| *known == name) {
            return Err(invalid(format!(
                "netDevices: {other} and {host} would both be called {name}"
            )));
        }
        plan.insert(host.clone(), name.to_owned());
    }
    if !plan.is_empty() && !namespaces.has(Namespaces::NETWORK) {
        return Err(invalid(
            "netDevices: the container has no network namespace of its own",
        ));
    }
    Ok(plan)
}

fn is_name(name: &str) -> bool {
    let fits = (1..=NAME_MAX).contains(&name.len()) && !matches!(name, "." | "..");
    fits && !name
        .contains(|letter: char| matches!(letter, '/' | ':' | '%') || letter.is_whitespace())
}

/// Hands the devices on to the container whose process is `pid`: up, with their addresses. They come back
/// if what follows fails.
pub(crate) fn hand_on(
    devices: &NetDevices,
    pid: i32,
    joined: &[Joined],
    undo: &mut Undo,
) -> Result<(), Error> {
    if devices.is_empty() {
        return Ok(());
    }
    let target = namespace_of(pid, joined)?;
    for (host, name) in devices {
        let step = || format!("hand the network device {host} on as {name}");
        let device = Device::find(host).step(step)?;
        let source = namespace::current().step(step)?;
        let (there, back) = (target.try_clone().step(step)?, name.clone());
        let home = device.clone();
        undo.push(move || {
            let _ = home.come(&there, &back, &source, &home.link.name, home.link.is_up);
        });
        let here = namespace::current().step(step)?;
        device.come(&here, host, &target, name, true).step(step)?;
    }
    Ok(())
}

fn namespace_of(pid: i32, joined: &[Joined]) -> Result<OwnedFd, Error> {
    let step = || "open the container's network namespace".into();
    match joined.iter().find(|(kind, _)| *kind == Namespaces::NETWORK) {
        Some((_, file)) => file.try_clone().step(step),
        None => {
            let path = format!("/proc/{pid}/ns/net");
            rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).step(step)
        }
    }
}

/// A device as it was found, with what a move takes from it.
#[derive(Clone)]
struct Device {
    link: Link,
    addresses: Vec<Prefix>,
}

impl Device {
    fn find(name: &str) -> io::Result<Self> {
        let mut route = Route::open().map_err(io::Error::other)?;
        let link = route.link(name).map_err(io::Error::other)?;
        let link = link.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let addresses = route.lasting_addresses(link.index);
        Ok(Self {
            addresses: addresses.map_err(io::Error::other)?,
            link,
        })
    }

    /// Moves it from one namespace, where it is called `name`, to another.
    fn come(
        &self,
        from: &OwnedFd,
        name: &str,
        to: &OwnedFd,
        new_name: &str,
        is_up: bool,
    ) -> io::Result<()> {
        namespace::enter(from.as_fd(), || {
            let mut route = Route::open().map_err(io::Error::other)?;
            let link = route.link(name).map_err(io::Error::other)?;
            let link = link.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            let moved = route.apply(&[route::move_link(link.index, to.as_fd(), new_name)]);
            moved.map_err(io::Error::other)
        })?;
        namespace::enter(to.as_fd(), || {
            let mut route = Route::open().map_err(io::Error::other)?;
            let link = route.link(new_name).map_err(io::Error::other)?;
            let link = link.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            let addresses = self.addresses.iter();
            let mut changes: Vec<_> = addresses
                .map(|prefix| route::add_address(link.index, *prefix))
                .collect();
            if is_up {
                changes.push(route::set_up(link.index, None));
            }
            route.apply(&changes).map_err(io::Error::other)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::plan_namespaces;

    fn planned(linux: &str) -> Result<NetDevices, String> {
        let text = format!(r#"{{"ociVersion":"1.3.0","linux":{linux}}}"#);
        let spec: Spec = serde_json::from_str(&text).unwrap();
        plan(&spec, &plan_namespaces(&spec).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_device_has_the_name_it_is_given_or_keeps_its_own() {
        let network = r#""namespaces":[{"type":"mount"},{"type":"network"}]"#;
        let found = planned(&format!(
            r#"{{{network},"netDevices":{{"ens4":{{"name":"eth1"}},"ens5":{{}}}}}}"#
        ))
        .unwrap();
        let pairs: Vec<_> = found
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(pairs, [("ens4", "eth1"), ("ens5", "ens5")]);
        for (devices, told) in [
            (r#"{"a":{"name":"x"},"b":{"name":"x"}}"#, "both be called x"),
            (r#"{"a":{"name":"a/b"}}"#, "\"a/b\" is no name"),
            (r#"{"a":{"name":"sixteen-letters-"}}"#, "is no name"),
        ] {
            let error = planned(&format!(r#"{{{network},"netDevices":{devices}}}"#)).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        let error =
            planned(r#"{"namespaces":[{"type":"mount"}],"netDevices":{"a":{}}}"#).unwrap_err();
        assert!(error.contains("no network namespace of its own"), "{error}");
    }
}
