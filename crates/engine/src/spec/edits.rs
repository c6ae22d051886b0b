//! What CDI devices change in a spec.

use std::path::{Path, PathBuf};

use hull_oci::runtime::{Hook, HookBuilder, Hooks, LinuxDeviceType as Kind, Mount, Spec};

use super::{
    SpecError,
    devices::{DeviceLookup, rule, shown},
};
use crate::cdi::{self, ContainerEdits, Edits, HookName};

/// Carries edits out, in their order.
pub(super) fn apply(
    spec: &mut Spec,
    edits: &Edits,
    lookup: &dyn DeviceLookup,
) -> Result<(), SpecError> {
    for edit in &edits.0 {
        process(spec, edit);
        for node in &edit.device_nodes {
            device(spec, node, lookup)?;
        }
        for mount in &edit.mounts {
            mounted(spec, mount);
        }
        if !edit.hooks.is_empty() {
            hooks(spec, &edit.hooks)?;
        }
    }
    Ok(())
}

/// Variables, the last of a name wins, and groups.
fn process(spec: &mut Spec, edit: &ContainerEdits) {
    let Some(process) = spec.process_mut() else {
        return;
    };
    let mut env = process.env().clone().unwrap_or_default();
    for entry in &edit.env {
        let name = entry.split_inclusive('=').next().unwrap_or_default();
        env.retain(|other| !other.starts_with(name));
        env.push(entry.clone());
    }
    process.set_env(Some(env));
    let user = process.user_mut();
    let mut groups = user.additional_gids().clone().unwrap_or_default();
    for group in edit.additional_gids.iter().filter(|group| **group != 0) {
        if !groups.contains(group) {
            groups.push(*group);
        }
    }
    user.set_additional_gids(Some(groups));
}

fn device(
    spec: &mut Spec,
    node: &cdi::DeviceNode,
    lookup: &dyn DeviceLookup,
) -> Result<(), SpecError> {
    let found = on_host(node, lookup)?;
    let mut device = shown(&found, node.path.clone());
    if let Some(mode) = node.file_mode {
        device.set_file_mode(Some(mode));
    }
    // A process that is not root opens its devices as their owner, unless the file says whose they are.
    let user = spec
        .process()
        .as_ref()
        .map(|process| process.user().clone());
    let user = user.unwrap_or_default();
    let own = |said: Option<u32>, process: u32| said.or((process > 0).then_some(process));
    if let Some(uid) = own(node.uid, user.uid()) {
        device.set_uid(Some(uid));
    }
    if let Some(gid) = own(node.gid, user.gid()) {
        device.set_gid(Some(gid));
    }
    let Some(linux) = spec.linux_mut() else {
        return Ok(());
    };
    let mut devices = linux.devices().clone().unwrap_or_default();
    devices.retain(|other| other.path() != device.path());
    devices.push(device);
    linux.set_devices(Some(devices));
    if matches!(found.kind, Kind::B | Kind::C) {
        let access = match node.permissions.as_deref() {
            None | Some("") => "rwm",
            Some(access) => access,
        };
        let (major, minor) = (Some(found.major), Some(found.minor));
        let mut resources = linux.resources().clone().unwrap_or_default();
        let mut rules = resources.devices().clone().unwrap_or_default();
        rules.push(rule(true, found.kind, major, minor, access));
        resources.set_devices(Some(rules));
        linux.set_resources(Some(resources));
    }
    Ok(())
}

/// What the file leaves open is as on the host.
fn on_host(
    node: &cdi::DeviceNode,
    lookup: &dyn DeviceLookup,
) -> Result<super::DeviceNode, SpecError> {
    let path = node.host_path.as_ref().unwrap_or(&node.path);
    let kind = match node.r#type.as_deref() {
        Some("b") => Some(Kind::B),
        Some("c" | "u") => Some(Kind::C),
        Some("p") => Some(Kind::P),
        _ => None,
    };
    if let (Some(kind), Some(major), Some(minor)) = (kind, node.major, node.minor) {
        return Ok(super::DeviceNode {
            path: path.clone(),
            kind,
            major,
            minor,
            mode: node.file_mode.unwrap_or(0o666),
            uid: 0,
            gid: 0,
        });
    }
    let found = lookup.devices_at(path);
    let found = found.map_err(|error| super::devices::failed(path, &error))?;
    let [found] = &found[..] else {
        return Err(SpecError::Device {
            path: path.clone(),
            reason: "not a device node".to_owned(),
        });
    };
    let mut found = found.clone();
    found.kind = kind.unwrap_or(found.kind);
    found.major = node.major.unwrap_or(found.major);
    found.minor = node.minor.unwrap_or(found.minor);
    Ok(found)
}

/// It replaces what was mounted there, and comes before what lies in it.
fn mounted(spec: &mut Spec, wish: &cdi::Mount) {
    let target = PathBuf::from(&wish.container_path);
    let mut options = wish.options.clone();
    let is_bind = options
        .iter()
        .any(|option| option == "bind" || option == "rbind");
    let kind = match wish.r#type.as_deref() {
        None | Some("") => "bind",
        Some(kind) => kind,
    };
    if kind == "bind" && !is_bind {
        options.push("rbind".to_owned());
    }
    let mut mount = Mount::default();
    mount.set_destination(target.clone());
    mount.set_typ(Some(kind.to_owned()));
    mount.set_source(Some(PathBuf::from(&wish.host_path)));
    mount.set_options(Some(options));
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.retain(|other| other.destination() != &target);
    let inside = |other: &Mount| other.destination().starts_with(&target);
    let at = mounts.iter().position(inside).unwrap_or(mounts.len());
    mounts.insert(at, mount);
    spec.set_mounts(Some(mounts));
}

fn hooks(spec: &mut Spec, wishes: &[cdi::Hook]) -> Result<(), SpecError> {
    let mut hooks = spec.hooks().clone().unwrap_or_default();
    for wish in wishes {
        let hook = hook(wish)?;
        let list = list(&mut hooks, wish.hook_name);
        list.get_or_insert_default().push(hook);
    }
    spec.set_hooks(Some(hooks));
    Ok(())
}

fn hook(wish: &cdi::Hook) -> Result<Hook, SpecError> {
    let program = Path::new(&wish.path).to_string_lossy().into_owned();
    let args = match wish.args.is_empty() {
        true => vec![program],
        false => wish.args.clone(),
    };
    let hook = HookBuilder::default()
        .path(wish.path.clone())
        .args(args)
        .env(wish.env.clone());
    let hook = match wish.timeout {
        Some(seconds) => hook.timeout(seconds),
        None => hook,
    };
    hook.build()
        .map_err(|error| SpecError::Invalid(format!("hook {}: {error}", wish.path.display())))
}

fn list(hooks: &mut Hooks, name: HookName) -> &mut Option<Vec<Hook>> {
    match name {
        HookName::Prestart => hooks.prestart_mut(),
        HookName::CreateRuntime => hooks.create_runtime_mut(),
        HookName::CreateContainer => hooks.create_container_mut(),
        HookName::StartContainer => hooks.start_container_mut(),
        HookName::Poststart => hooks.poststart_mut(),
        HookName::Poststop => hooks.poststop_mut(),
    }
}
