//! A container made like another one: what the other one has, with what the command line says laid over it. Pure.
//!
//! Both are taken as the JSON the API takes. Where the flags say something other than no flags at all would, they win;
//! objects are merged, lists are joined, and what can only be one thing is replaced.

use hull_api::types::{ContainerCreate, ContainerInspect};
use serde_json::{Map, Value, json};

/// Lists that are one thing together, and maps of them.
const REPLACED: [&str; 4] = ["Cmd", "Entrypoint", "PortBindings", "ExposedPorts"];
/// Digits of an id that are a host name unless one was chosen.
const SHORT_ID: usize = 12;

/// The body that makes another container like `model`.
///
/// # Errors
/// When the parts have no JSON form, which does not happen.
pub(super) fn of(
    model: &ContainerInspect,
    flags: &ContainerCreate,
    no_flags: &ContainerCreate,
) -> Result<ContainerCreate, serde_json::Error> {
    let mut base = base(model)?;
    lay(
        &mut base,
        &serde_json::to_value(flags)?,
        &serde_json::to_value(no_flags)?,
    );
    if let Some(environment) = base.get_mut("Env") {
        keep_last(environment);
    }
    let mut made: ContainerCreate = serde_json::from_value(base)?;
    // Who looks on is a matter of this command line alone.
    let (config, said) = (&mut made.config, &flags.config);
    config.attach_stdin = said.attach_stdin;
    config.attach_stdout = said.attach_stdout;
    config.attach_stderr = said.attach_stderr;
    config.stdin_once = said.stdin_once;
    Ok(made)
}

fn base(model: &ContainerInspect) -> Result<Value, serde_json::Error> {
    let mut config = model.config.clone();
    if model.id.get(..SHORT_ID) == Some(config.hostname.as_str()) {
        config.hostname.clear();
    }
    let mut base = serde_json::to_value(&config)?;
    base["HostConfig"] = serde_json::to_value(&model.host_config)?;
    let mut endpoints = Map::new();
    for (network, endpoint) in &model.network_settings.networks {
        // Addresses are the other one's own; names by which it is found are shared.
        let short = model.id.get(..SHORT_ID).unwrap_or_default();
        let aliases: Option<Vec<&String>> = endpoint
            .aliases
            .as_ref()
            .map(|names| names.iter().filter(|name| *name != short).collect());
        endpoints.insert(network.clone(), json!({ "Aliases": aliases }));
    }
    base["NetworkingConfig"] = json!({ "EndpointsConfig": endpoints });
    Ok(base)
}

/// Lays what differs between `flags` and `none` over `base`.
fn lay(base: &mut Value, flags: &Value, none: &Value) {
    if flags == none {
        return;
    }
    let (Value::Object(own), Value::Object(said)) = (&mut *base, flags) else {
        *base = flags.clone();
        return;
    };
    for (key, value) in said {
        let unsaid = none.get(key).unwrap_or(&Value::Null);
        if value == unsaid {
            continue;
        }
        let place = own.entry(key.clone()).or_insert(Value::Null);
        match (&mut *place, value) {
            _ if REPLACED.contains(&key.as_str()) => *place = value.clone(),
            (Value::Array(list), Value::Array(more)) => list.extend(more.iter().cloned()),
            (Value::Object(_), Value::Object(_)) => lay(place, value, unsaid),
            _ => *place = value.clone(),
        }
    }
}

/// Of variables that stand twice, the last.
fn keep_last(environment: &mut Value) {
    let Value::Array(list) = environment else {
        return;
    };
    let name = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        text.split('=').next().unwrap_or_default().to_owned()
    };
    let mut kept: Vec<Value> = Vec::new();
    for value in std::mem::take(list) {
        kept.retain(|known| name(known) != name(&value));
        kept.push(value);
    }
    *list = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ContainerInspect {
        serde_json::from_value(json!({
            "Id": "0123456789abcdef",
            "Name": "/web",
            "Config": {"Hostname": "0123456789ab", "Image": "app", "Env": ["A=1", "B=2"], "Cmd": ["serve"], "Labels": {"x": "y"}},
            "HostConfig": {"Memory": 5, "Binds": ["/a:/a"], "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}},
            "NetworkSettings": {"Networks": {"back": {"Aliases": ["0123456789ab", "db"], "IPAddress": "10.0.0.2"}}},
        }))
        .unwrap()
    }

    fn body(value: Value) -> ContainerCreate {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_said_is_laid_over_what_was() {
        let said = body(json!({
            "Image": "app", "Env": ["A=3"], "Cmd": ["sh"], "Labels": {"z": "w"},
            "HostConfig": {"Binds": ["/b:/b"], "PortBindings": {"80/tcp": [{"HostPort": "8081"}]}},
        }));
        let none = body(json!({"Image": "app", "HostConfig": {}}));
        let made = of(&model(), &said, &none).unwrap();
        assert_eq!(
            made.config.env,
            Some(vec!["B=2".to_owned(), "A=3".to_owned()])
        );
        assert_eq!(made.config.cmd, Some(vec!["sh".to_owned()]));
        assert_eq!(made.config.hostname, "");
        assert_eq!(made.config.labels.unwrap().len(), 2);
        let host = made.host_config.unwrap();
        assert_eq!(
            (host.memory, host.binds),
            (5, Some(vec!["/a:/a".to_owned(), "/b:/b".to_owned()]))
        );
        let ports = serde_json::to_value(&host.port_bindings).unwrap();
        assert_eq!(ports["80/tcp"].as_array().unwrap().len(), 1);
        let network = &made.networking_config.unwrap().endpoints_config["back"];
        assert_eq!(
            network.as_ref().unwrap().aliases,
            Some(vec!["db".to_owned()])
        );
    }

    #[test]
    fn nothing_said_is_an_exact_copy() {
        let none = body(json!({"Image": "app", "HostConfig": {}}));
        let made = of(&model(), &none, &none).unwrap();
        assert_eq!(made.host_config.unwrap().memory, 5);
        assert_eq!(made.config.cmd, Some(vec!["serve".to_owned()]));
    }
}
