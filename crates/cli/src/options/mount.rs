//! `--mount type=bind,source=…,target=…`.

use hull_api::types::{
    BindOptions, ImageOptions, Mount, TmpfsOptions, VolumeDriverConfig, VolumeOptions,
};

use super::csv;
use super::volume::absolute;
use crate::flags::Item;
use crate::format::size;

/// One mount.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MountSpec(pub(crate) Mount);

impl Item for MountSpec {
    fn parse(text: &str) -> Result<Self, String> {
        let mut mount = Mount {
            kind: "volume".to_owned(),
            ..Mount::default()
        };
        for field in csv::fields(text)? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value)),
                None => (field.to_lowercase(), None),
            };
            match (key.as_str(), value) {
                ("readonly" | "ro", None) => mount.read_only = true,
                ("idmap", None) => mount.idmap = "owner".to_owned(),
                ("volume-nocopy", None) => volume(&mut mount).no_copy = true,
                ("bind-nonrecursive", None) => bind(&mut mount).non_recursive = true,
                (_, None) => {
                    return Err(format!("invalid field '{field}' must be a key=value pair"));
                }
                (key, Some(value)) => set(&mut mount, key, value, &field)?,
            }
        }
        check(&mount, text)?;
        Ok(Self(mount))
    }
}

fn bind(mount: &mut Mount) -> &mut BindOptions {
    mount.bind_options.get_or_insert_default()
}

fn volume(mount: &mut Mount) -> &mut VolumeOptions {
    mount.volume_options.get_or_insert_default()
}

fn set(mount: &mut Mount, key: &str, value: &str, field: &str) -> Result<(), String> {
    let text = value.to_owned();
    match key {
        "type" => mount.kind = value.to_lowercase(),
        "source" | "src" => mount.source = source(value),
        "target" | "dst" | "destination" => mount.target = text,
        "readonly" | "ro" => mount.read_only = boolean(key, value)?,
        "idmap" => mount.idmap = text,
        "consistency" => mount.consistency = value.to_lowercase(),
        "bind-propagation" => bind(mount).propagation = value.to_lowercase(),
        "bind-nonrecursive" => bind(mount).non_recursive = boolean(key, value)?,
        "bind-recursive" => recursive(bind(mount), value)?,
        "bind-create-src" => bind(mount).create_mountpoint = boolean(key, value)?,
        "volume-subpath" => volume(mount).subpath = text,
        "volume-nocopy" => volume(mount).no_copy = boolean(key, value)?,
        "volume-label" => insert(&mut volume(mount).labels, value),
        "volume-driver" => driver(mount).name = text,
        "volume-opt" => insert(&mut driver(mount).options, value),
        "image-subpath" => {
            mount
                .image_options
                .get_or_insert_with(ImageOptions::default)
                .subpath = text;
        }
        "tmpfs-size" => {
            let bytes =
                size::parse(value).map_err(|_| format!("invalid value for {key}: {value}"))?;
            mount
                .tmpfs_options
                .get_or_insert_with(TmpfsOptions::default)
                .size_bytes = bytes;
        }
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(value, 8)
                .map_err(|_| format!("invalid value for {key}: {value}"))?;
            mount
                .tmpfs_options
                .get_or_insert_with(TmpfsOptions::default)
                .mode = mode;
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

fn driver(mount: &mut Mount) -> &mut VolumeDriverConfig {
    volume(mount).driver_config.get_or_insert_default()
}

fn insert(map: &mut std::collections::BTreeMap<String, String>, pair: &str) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    map.insert(key.to_owned(), value.to_owned());
}

fn source(value: &str) -> String {
    let is_relative =
        value == "." || value == ".." || value.starts_with("./") || value.starts_with("../");
    match std::env::current_dir() {
        Ok(directory) if is_relative => absolute(value, &directory),
        _ => value.to_owned(),
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, String> {
    let mut parsed = false;
    crate::flags::Value::set(&mut parsed, value)
        .map_err(|_| format!("invalid value for {key}: {value}"))?;
    Ok(parsed)
}

fn recursive(options: &mut BindOptions, value: &str) -> Result<(), String> {
    match value {
        "enabled" => {}
        "disabled" => options.non_recursive = true,
        "writable" => options.read_only_non_recursive = true,
        "readonly" => options.read_only_force_recursive = true,
        _ => {
            return Err(format!(
                "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
            ));
        }
    }
    Ok(())
}

fn check(mount: &Mount, text: &str) -> Result<(), String> {
    if mount.kind.is_empty() {
        return Err("type is required".to_owned());
    }
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    let kind = mount.kind.as_str();
    let mixed = |options: &str| {
        Err(format!(
            "cannot mix '{options}-*' options with mount type '{kind}'"
        ))
    };
    if mount.volume_options.is_some() && kind != "volume" {
        return mixed("volume");
    }
    if mount.bind_options.is_some() && kind != "bind" {
        return mixed("bind");
    }
    if mount.image_options.is_some() && kind != "image" {
        return mixed("image");
    }
    if mount.tmpfs_options.is_some() && kind != "tmpfs" {
        return mixed("tmpfs");
    }
    let Some(options) = &mount.bind_options else {
        return Ok(());
    };
    if options.read_only_non_recursive && !mount.read_only {
        return Err(
            "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction"
                .into(),
        );
    }
    if options.read_only_force_recursive {
        if !mount.read_only {
            return Err("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction".into());
        }
        if options.propagation != "rprivate" {
            return Err(format!(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction in '{text}'"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(text: &str) -> Mount {
        MountSpec::parse(text).unwrap().0
    }

    fn error(text: &str) -> String {
        MountSpec::parse(text).unwrap_err()
    }

    #[test]
    fn kinds_and_their_options() {
        let bound = mount("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave");
        assert_eq!(
            (
                bound.kind.as_str(),
                bound.source.as_str(),
                bound.target.as_str()
            ),
            ("bind", "/a", "/b")
        );
        assert!(bound.read_only);
        assert_eq!(bound.bind_options.unwrap().propagation, "rslave");
        let named = mount(
            "source=data,target=/d,volume-nocopy,volume-label=a=b,volume-opt=type=nfs,volume-driver=local",
        );
        assert_eq!(named.kind, "volume");
        let options = named.volume_options.unwrap();
        assert!(options.no_copy);
        assert_eq!(options.labels["a"], "b");
        assert_eq!(options.driver_config.unwrap().options["type"], "nfs");
        let memory = mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770")
            .tmpfs_options
            .unwrap();
        assert_eq!((memory.size_bytes, memory.mode), (1_048_576, 0o1770));
        assert!(mount("type=bind,src=.,dst=/b").source.starts_with('/'));
    }

    #[test]
    fn errors_are_in_dockers_words() {
        assert_eq!(error("type=bind,src=/a"), "target is required");
        assert_eq!(
            error("type=bind,foo"),
            "invalid field 'foo' must be a key=value pair"
        );
        assert_eq!(
            error("type=bind,foo=1,target=/x"),
            "unexpected key 'foo' in 'foo=1'"
        );
        assert_eq!(
            error("target=/x,readonly=maybe"),
            "invalid value for readonly: maybe"
        );
        assert_eq!(
            error("type=bind,target=/x,volume-nocopy"),
            "cannot mix 'volume-*' options with mount type 'bind'"
        );
    }
}
