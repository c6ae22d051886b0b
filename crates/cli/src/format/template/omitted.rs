//! Fields that the API leaves out when there is nothing in them. Docker's client knows them by its
//! types, where they are empty: `{{if .State.Health}}` is how scripts ask.

use super::value::{Kind, Object, Value};

/// What a field is that was left out.
#[derive(Clone, Copy)]
enum Empty {
    Pointer,
    Text,
    List,
    Map,
    Number,
    Flag,
}

const FIELDS: [(&str, Empty); 52] = [
    ("Annotations", Empty::Map),
    ("ArgsEscaped", Empty::Flag),
    ("AuxiliaryAddresses", Empty::Map),
    ("Binds", Empty::List),
    ("BuildTime", Empty::Text),
    ("CDISpecDirs", Empty::List),
    ("ClusterVolume", Empty::Pointer),
    ("Cmd", Empty::List),
    ("Comment", Empty::Text),
    ("ConfigFrom", Empty::Map),
    ("Containerd", Empty::Pointer),
    ("DefaultAddressPools", Empty::List),
    ("DiscoveredDevices", Empty::List),
    ("Domainname", Empty::Text),
    ("Entrypoint", Empty::List),
    ("Env", Empty::List),
    ("Err", Empty::Text),
    ("ExecIDs", Empty::List),
    ("Experimental", Empty::Flag),
    ("ExposedPorts", Empty::Map),
    ("FirewallBackend", Empty::Pointer),
    ("Gateway", Empty::Text),
    ("Health", Empty::Pointer),
    ("Healthcheck", Empty::Pointer),
    ("Hostname", Empty::Text),
    ("IPRange", Empty::Text),
    ("ImageManifestDescriptor", Empty::Pointer),
    ("Init", Empty::Pointer),
    ("Isolation", Empty::Text),
    ("Labels", Empty::Map),
    ("MacAddress", Empty::Text),
    ("Mounts", Empty::List),
    ("NetworkDisabled", Empty::Flag),
    ("OnBuild", Empty::List),
    ("OsVersion", Empty::Text),
    ("Parent", Empty::Text),
    ("Peers", Empty::List),
    ("ProductLicense", Empty::Text),
    ("ServerErrors", Empty::List),
    ("Shell", Empty::List),
    ("SizeRootFs", Empty::Pointer),
    ("SizeRw", Empty::Pointer),
    ("Status", Empty::Map),
    ("StopSignal", Empty::Text),
    ("StopTimeout", Empty::Pointer),
    ("StorageOpt", Empty::Map),
    ("Sysctls", Empty::Map),
    ("Tmpfs", Empty::Map),
    ("UsageData", Empty::Pointer),
    ("Variant", Empty::Text),
    ("VirtualSize", Empty::Number),
    ("Volumes", Empty::Map),
];

/// Fields that belong to a part of what is described, and never to the whole.
const OF_PARTS: [&str; 18] = [
    "Binds",
    "Cmd",
    "Domainname",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Gateway",
    "Health",
    "Healthcheck",
    "Hostname",
    "IPRange",
    "Init",
    "Labels",
    "OnBuild",
    "Shell",
    "StopSignal",
    "Tmpfs",
    "Volumes",
];

/// The value of a field that was left out, if it is one of these.
pub(super) fn omitted(name: &str, is_root: bool) -> Option<Value> {
    if is_root && OF_PARTS.contains(&name) {
        return None;
    }
    let place = FIELDS
        .binary_search_by_key(&name, |(known, _)| known)
        .ok()?;
    Some(match FIELDS[place].1 {
        Empty::Pointer => Value::Nil,
        Empty::Text => Value::text(""),
        Empty::List => Value::List(None),
        Empty::Map => Value::Object(
            Object {
                kind: Kind::NilMap,
                fields: Vec::new(),
                labels: Vec::new(),
            }
            .into(),
        ),
        Empty::Number => Value::Int(0),
        Empty::Flag => Value::Bool(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_be_searched() {
        assert!(FIELDS.is_sorted_by(|(one, _), (next, _)| one < next));
        assert_eq!(omitted("Health", false), Some(Value::Nil));
        assert_eq!(omitted("Health", true), None);
        assert_eq!(omitted("Nope", false), None);
    }
}
