//! Which devices a container sees, and which it may open or make.

use std::{fs, io, os::unix::fs::FileTypeExt, os::unix::fs::MetadataExt, path::Path};

use hull_oci::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType as Kind};

use super::SpecError;
use crate::model::{DeviceMapping, HostConfig};

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNode {
    /// On the host.
    pub path: String,
    /// Block or character.
    pub kind: Kind,
    /// The driver.
    pub major: i64,
    /// The device.
    pub minor: i64,
    /// Permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// Where numbers of devices come from.
pub trait DeviceLookup {
    /// The device at a path, or those below it if it is a directory.
    fn devices_at(&self, path: &str) -> io::Result<Vec<DeviceNode>>;
}

/// Looks at this host.
#[derive(Debug, Clone, Copy)]
pub struct HostDevices;

/// What a container's devices come to.
pub(super) struct Devices {
    pub(super) nodes: Vec<LinuxDevice>,
    pub(super) rules: Vec<LinuxDeviceCgroup>,
}

/// Names below `/dev` that are not for containers: their own terminals, shared memory and so on.
const NOT_SHOWN: [&str; 7] = ["pts", "shm", "fd", "mqueue", "console", "ptmx", ".udev"];

/// Directories deeper than this below a given one hold no devices.
const DEPTH_MAX: usize = 8;

pub(super) fn plan(host: &HostConfig, lookup: &dyn DeviceLookup) -> Result<Devices, SpecError> {
    let mut devices = match host.privileged {
        true => all(lookup)?,
        false => Devices {
            nodes: Vec::new(),
            rules: usual_rules(),
        },
    };
    for mapping in &host.resources.devices {
        add(&mut devices, mapping, lookup)?;
    }
    for text in &host.resources.device_cgroup_rules {
        devices.rules.push(parse_rule(text)?);
    }
    Ok(devices)
}

fn all(lookup: &dyn DeviceLookup) -> Result<Devices, SpecError> {
    let found = lookup
        .devices_at("/dev")
        .map_err(|error| failed("/dev", &error))?;
    let hidden = |path: &str| {
        let below = path.strip_prefix("/dev/").unwrap_or(path);
        NOT_SHOWN.contains(&below.split('/').next().unwrap_or_default())
    };
    let nodes = found.iter().filter(|node| !hidden(&node.path));
    Ok(Devices {
        nodes: nodes.map(|node| shown(node, node.path.clone())).collect(),
        rules: vec![rule(true, Kind::A, None, None, "rwm")],
    })
}

fn add(
    devices: &mut Devices,
    mapping: &DeviceMapping,
    lookup: &dyn DeviceLookup,
) -> Result<(), SpecError> {
    let access = if mapping.permissions.is_empty() {
        "rwm"
    } else {
        &mapping.permissions
    };
    if !access.chars().all(|letter| "rwm".contains(letter)) {
        return Err(SpecError::DevicePermissions(access.to_owned()));
    }
    let on_host = &mapping.path_on_host;
    let inside = match mapping.path_in_container.as_str() {
        "" => on_host,
        inside => inside,
    };
    let found = lookup
        .devices_at(on_host)
        .map_err(|error| failed(on_host, &error))?;
    if found.is_empty() {
        return Err(SpecError::Device {
            path: on_host.clone(),
            reason: "not a device node".into(),
        });
    }
    for node in &found {
        let below = node.path.strip_prefix(on_host.as_str()).unwrap_or_default();
        let path = format!("{}{below}", inside.trim_end_matches('/'));
        devices
            .nodes
            .retain(|other| other.path() != Path::new(&path));
        devices.nodes.push(shown(node, path));
        let (major, minor) = (Some(node.major), Some(node.minor));
        devices
            .rules
            .push(rule(true, node.kind, major, minor, access));
    }
    Ok(())
}

pub(super) fn failed(path: &str, error: &io::Error) -> SpecError {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::InvalidInput => "not a device node".to_owned(),
        _ => error.to_string(),
    };
    SpecError::Device {
        path: path.to_owned(),
        reason,
    }
}

pub(super) fn shown(node: &DeviceNode, path: String) -> LinuxDevice {
    let mut device = LinuxDevice::default();
    device.set_path(path.into());
    device.set_typ(node.kind);
    device.set_major(node.major);
    device.set_minor(node.minor);
    device.set_file_mode(Some(node.mode));
    device.set_uid(Some(node.uid));
    device.set_gid(Some(node.gid));
    device
}

/// Nothing but: making any node (opening it is another matter), and the harmless ones.
fn usual_rules() -> Vec<LinuxDeviceCgroup> {
    let mut rules = vec![
        rule(false, Kind::A, None, None, "rwm"),
        rule(true, Kind::C, None, None, "m"),
        rule(true, Kind::B, None, None, "m"),
    ];
    // null, zero, full, random, urandom, tty, console, ptmx
    let harmless = [
        (1, 3),
        (1, 5),
        (1, 7),
        (1, 8),
        (1, 9),
        (5, 0),
        (5, 1),
        (5, 2),
    ];
    rules.extend(
        harmless.map(|(major, minor)| rule(true, Kind::C, Some(major), Some(minor), "rwm")),
    );
    // The container's own terminals.
    rules.push(rule(true, Kind::C, Some(136), None, "rwm"));
    rules
}

pub(super) fn rule(
    allow: bool,
    kind: Kind,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow);
    rule.set_typ(Some(kind));
    rule.set_major(major);
    rule.set_minor(minor);
    rule.set_access(Some(access.to_owned()));
    rule
}

/// Takes `c 1:3 rwm`, with `*` for any number.
pub(super) fn parse_rule(text: &str) -> Result<LinuxDeviceCgroup, SpecError> {
    parsed_rule(text).ok_or_else(|| SpecError::DeviceRule(text.to_owned()))
}

fn parsed_rule(text: &str) -> Option<LinuxDeviceCgroup> {
    let mut words = text.split(' ');
    let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
    let kind = match kind {
        "a" => Kind::A,
        "b" => Kind::B,
        "c" => Kind::C,
        _ => return None,
    };
    let (major, minor) = numbers.split_once(':')?;
    let number = |text: &str| match text {
        "*" => Some(None),
        _ if text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse::<u32>().ok().map(|n| Some(n.into()))
        }
        _ => None,
    };
    let (major, minor) = (number(major)?, number(minor)?);
    let known = (1..=3).contains(&access.len()) && access.chars().all(|c| "rwm".contains(c));
    (known && words.next().is_none()).then(|| rule(true, kind, major, minor, access))
}

impl DeviceLookup for HostDevices {
    fn devices_at(&self, path: &str) -> io::Result<Vec<DeviceNode>> {
        // A link is followed: `/dev/cdrom` is shown as what it stands for.
        let found = fs::metadata(path)?;
        if found.is_dir() {
            let mut nodes = Vec::new();
            collect(Path::new(path), DEPTH_MAX, &mut nodes);
            return Ok(nodes);
        }
        node(path, &found)
            .map(|node| vec![node])
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
    }
}

/// What cannot be read, or goes away meanwhile, is left out.
fn collect(directory: &Path, depth: usize, nodes: &mut Vec<DeviceNode>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Ok(found) = entry.metadata() else {
            continue;
        };
        if found.is_dir() {
            let hidden = NOT_SHOWN.iter().any(|hidden| name == *hidden);
            if depth > 0 && !hidden {
                collect(&entry.path(), depth - 1, nodes);
            }
        } else if let Some(node) = entry.path().to_str().and_then(|path| node(path, &found)) {
            nodes.push(node);
        }
    }
}

fn node(path: &str, found: &fs::Metadata) -> Option<DeviceNode> {
    let file_type = found.file_type();
    let kind = match (file_type.is_block_device(), file_type.is_char_device()) {
        (true, _) => Kind::B,
        (_, true) => Kind::C,
        _ => return None,
    };
    Some(DeviceNode {
        path: path.to_owned(),
        kind,
        major: rustix::fs::major(found.rdev()).into(),
        minor: rustix::fs::minor(found.rdev()).into(),
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
    })
}
