//! What is mounted: the texts of `-v`, the objects of `--mount`.

use std::collections::BTreeSet;

use hull_api::types::{self, Mount, VolumeDriverConfig};
use hull_engine::model::{
    BindOptions, IdMap, MountSource, MountSpec, Propagation, TmpfsOptions, VolumeOptions,
};

use super::{Invalid, Result};

const PROPAGATIONS: [(&str, Propagation); 6] = [
    ("private", Propagation::Private),
    ("rprivate", Propagation::Rprivate),
    ("shared", Propagation::Shared),
    ("rshared", Propagation::Rshared),
    ("slave", Propagation::Slave),
    ("rslave", Propagation::Rslave),
];

const CONSISTENCIES: [&str; 4] = ["default", "consistent", "cached", "delegated"];

/// Both kinds together; no two may end at the same path, nor at one of `tmpfs`.
pub(crate) fn all<'a>(
    binds: &[String],
    mounts: Vec<Mount>,
    tmpfs: impl Iterator<Item = &'a String>,
) -> Result<Vec<MountSpec>> {
    let binds = binds.iter().map(|text| from_text(text));
    let mounts = mounts.into_iter().map(from_object);
    let all: Vec<MountSpec> = binds.chain(mounts).collect::<Result<_>>()?;
    let tmpfs = tmpfs.map(|path| path.trim_end_matches('/'));
    let mut targets: BTreeSet<&str> = tmpfs.collect();
    match all
        .iter()
        .find(|mount| !targets.insert(mount.target.as_str()))
    {
        Some(twice) => Err(Invalid::new(format!(
            "Duplicate mount point: {}",
            twice.target
        ))),
        None => Ok(all),
    }
}

/// `/data`, `volume:/data`, `/host:/data`, each with `:ro,Z` behind it if wanted.
fn from_text(text: &str) -> Result<MountSpec> {
    let invalid = || Invalid::new(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(invalid()),
    };
    let named = parts.len() > 1;
    if named && (source.is_empty() || target.is_empty()) || parts.len() == 3 && mode.is_empty() {
        return Err(invalid());
    }
    if !target.starts_with('/') {
        return Err(Invalid::new(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"{}\": invalid \
             mount path: '{target}' mount path must be absolute",
            if source.starts_with('/') {
                "bind"
            } else {
                "volume"
            }
        )));
    }
    let target = clean(target);
    not_root(&target).map_err(|_| {
        let reason = "invalid specification: destination can't be '/'";
        Invalid::new(format!("invalid volume specification: '{text}': {reason}"))
    })?;
    let options = Mode::parse(mode)?;
    let source = if source.starts_with('/') {
        let bind = BindOptions {
            propagation: options.propagation,
            create_source: true,
            ..BindOptions::default()
        };
        MountSource::Bind {
            path: clean(source),
            options: bind,
        }
    } else {
        if !source.is_empty() {
            volume_name(source)?;
        }
        if options.propagation.is_some() {
            return Err(Invalid::new(format!("invalid mode: {mode}")));
        }
        let volume = VolumeOptions {
            no_copy: options.no_copy,
            ..VolumeOptions::default()
        };
        MountSource::Volume {
            name: (!source.is_empty()).then(|| source.to_owned()),
            options: volume,
        }
    };
    Ok(MountSpec {
        source,
        target,
        read_only: options.read_only,
        mode: mode.to_owned(),
        consistency: options.consistency,
        from_bind_text: true,
        idmap: options.idmap,
    })
}

/// What stands behind the second colon.
#[derive(Default)]
struct Mode {
    read_only: bool,
    no_copy: bool,
    propagation: Option<Propagation>,
    consistency: String,
    idmap: Option<IdMap>,
}

impl Mode {
    fn parse(text: &str) -> Result<Self> {
        let mut mode = Self::default();
        let mut kinds = BTreeSet::new();
        for word in text.split(',').filter(|_| !text.is_empty()) {
            let propagation = PROPAGATIONS.iter().find(|(name, _)| *name == word);
            let kind = match word {
                "ro" | "rw" => {
                    mode.read_only = word == "ro";
                    "access"
                }
                // Labels have a meaning with SELinux alone.
                "z" | "Z" => "label",
                "nocopy" => {
                    mode.no_copy = true;
                    "copy"
                }
                "idmap" => {
                    mode.idmap = Some(IdMap::Owner);
                    "idmap"
                }
                _ if word.starts_with("idmap=") => {
                    let map = word["idmap=".len()..].parse().map_err(Invalid::new)?;
                    mode.idmap = Some(map);
                    "idmap"
                }
                _ if propagation.is_some() => {
                    mode.propagation = propagation.map(|(_, meaning)| *meaning);
                    "propagation"
                }
                _ if CONSISTENCIES.contains(&word) => {
                    word.clone_into(&mut mode.consistency);
                    "consistency"
                }
                _ => return Err(Invalid::new(format!("invalid mode: {text}"))),
            };
            if !kinds.insert(kind) {
                return Err(Invalid::new(format!("invalid mode: {text}")));
            }
        }
        Ok(mode)
    }
}

fn from_object(mount: Mount) -> Result<MountSpec> {
    let kind = mount.kind.clone();
    let refused = |reason: String| {
        Invalid::new(format!(
            "invalid mount config for type \"{kind}\": {reason}"
        ))
    };
    if mount.target.is_empty() {
        return Err(refused("field Target must not be empty".to_owned()));
    }
    if !mount.target.starts_with('/') {
        let reason = format!(
            "invalid mount path: '{}' mount path must be absolute",
            mount.target
        );
        return Err(refused(reason));
    }
    let target = clean(&mount.target);
    not_root(&target).map_err(&refused)?;
    foreign_options(&mount).map_err(&refused)?;
    let source = source_of(&mount).map_err(&refused)?;
    let idmap = idmap_of(&mount).map_err(&refused)?;
    Ok(MountSpec {
        source,
        target,
        read_only: mount.read_only,
        mode: String::new(),
        consistency: mount.consistency,
        from_bind_text: false,
        idmap,
    })
}

/// Hull's own member: owners of files are translated.
fn idmap_of(mount: &Mount) -> std::result::Result<Option<IdMap>, String> {
    if mount.idmap.is_empty() {
        return Ok(None);
    }
    if !["bind", "volume"].contains(&mount.kind.as_str()) {
        return Err("owners are translated on binds and volumes only".to_owned());
    }
    mount.idmap.parse().map(Some)
}

fn not_root(target: &str) -> std::result::Result<(), String> {
    if target == "/" {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    Ok(())
}

/// Options of another type than the mount's own.
fn foreign_options(mount: &Mount) -> std::result::Result<(), String> {
    for (kind, name, given) in [
        ("bind", "BindOptions", mount.bind_options.is_some()),
        ("volume", "VolumeOptions", mount.volume_options.is_some()),
        ("image", "ImageOptions", mount.image_options.is_some()),
        ("tmpfs", "TmpfsOptions", mount.tmpfs_options.is_some()),
    ] {
        if given && mount.kind != kind {
            return Err(format!("field {name} must not be specified"));
        }
    }
    Ok(())
}

fn source_of(mount: &Mount) -> std::result::Result<MountSource, String> {
    let needs_source = || "field Source must not be empty".to_owned();
    match mount.kind.as_str() {
        "bind" => {
            if mount.source.is_empty() {
                return Err(needs_source());
            }
            if !mount.source.starts_with('/') {
                return Err(format!(
                    "invalid mount path: '{}' mount path must be absolute",
                    mount.source
                ));
            }
            let options = bind_options(
                mount.bind_options.clone().unwrap_or_default(),
                mount.read_only,
            )?;
            Ok(MountSource::Bind {
                path: clean(&mount.source),
                options,
            })
        }
        "volume" => {
            if !mount.source.is_empty() {
                volume_name(&mount.source).map_err(|error| error.0)?;
            }
            let options = volume_options(mount.volume_options.clone().unwrap_or_default());
            let name = (!mount.source.is_empty()).then(|| mount.source.clone());
            if name.is_none() && !options.subpath.is_empty() {
                return Err("must not set Subpath when using anonymous volumes".to_owned());
            }
            Ok(MountSource::Volume { name, options })
        }
        "tmpfs" if !mount.source.is_empty() => Err("field Source must not be specified".to_owned()),
        "tmpfs" => {
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            Ok(MountSource::Tmpfs(TmpfsOptions {
                size_bytes: options.size_bytes,
                mode: options.mode,
                options: options.options,
            }))
        }
        "image" if mount.source.is_empty() => Err(needs_source()),
        "image" => Ok(MountSource::Image {
            reference: mount.source.clone(),
            subpath: mount.image_options.clone().unwrap_or_default().subpath,
        }),
        _ => Err("mount type unknown".to_owned()),
    }
}

fn bind_options(
    options: types::BindOptions,
    read_only: bool,
) -> std::result::Result<BindOptions, String> {
    let propagation = match options.propagation.as_str() {
        "" => None,
        text => {
            let known = PROPAGATIONS.iter().find(|(name, _)| *name == text);
            Some(
                known
                    .ok_or_else(|| format!("invalid propagation mode: {text}"))?
                    .1,
            )
        }
    };
    if options.read_only_non_recursive && !read_only {
        return Err("mount is not read-only, but ReadOnlyNonRecursive is set".to_owned());
    }
    if options.read_only_force_recursive {
        if !read_only {
            return Err("mount is not read-only, but ReadOnlyForceRecursive is set".to_owned());
        }
        if options.non_recursive || options.read_only_non_recursive {
            return Err("ReadOnlyForceRecursive contradicts NonRecursive".to_owned());
        }
        if propagation != Some(Propagation::Rprivate) {
            return Err("ReadOnlyForceRecursive requires Propagation: \"rprivate\"".to_owned());
        }
    }
    Ok(BindOptions {
        propagation,
        non_recursive: options.non_recursive,
        create_source: options.create_mountpoint,
        read_only_non_recursive: options.read_only_non_recursive,
        read_only_force_recursive: options.read_only_force_recursive,
    })
}

fn volume_options(options: types::VolumeOptions) -> VolumeOptions {
    let driver = options.driver_config.unwrap_or_default();
    VolumeOptions {
        no_copy: options.no_copy,
        subpath: options.subpath,
        labels: options.labels,
        driver: driver.name,
        driver_options: driver.options,
    }
}

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub(crate) fn volume_name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let good = bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && name.len() > 1
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if good {
        return Ok(());
    }
    Err(Invalid::new(format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use \
         absolute path"
    )))
}

/// The path without `.`, `..` and doubled slashes.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The word for a propagation.
pub(crate) fn propagation_word(propagation: Option<Propagation>) -> &'static str {
    let known = |wanted| PROPAGATIONS.iter().find(|(_, known)| *known == wanted);
    propagation.and_then(known).map_or("", |(name, _)| name)
}

/// Those of `--mount`, back to the wire.
pub(crate) fn objects(mounts: &[MountSpec]) -> Vec<Mount> {
    mounts
        .iter()
        .filter(|mount| !mount.from_bind_text)
        .map(object)
        .collect()
}

fn object(mount: &MountSpec) -> Mount {
    let mut wire = Mount {
        target: mount.target.clone(),
        read_only: mount.read_only,
        consistency: mount.consistency.clone(),
        idmap: mount
            .idmap
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        ..Mount::default()
    };
    match &mount.source {
        MountSource::Bind { path, options } => {
            wire.kind = "bind".to_owned();
            wire.source.clone_from(path);
            let options = types::BindOptions {
                propagation: propagation_word(options.propagation).to_owned(),
                non_recursive: options.non_recursive,
                create_mountpoint: options.create_source,
                read_only_non_recursive: options.read_only_non_recursive,
                read_only_force_recursive: options.read_only_force_recursive,
            };
            wire.bind_options = (options != types::BindOptions::default()).then_some(options);
        }
        MountSource::Volume { name, options } => {
            wire.kind = "volume".to_owned();
            wire.source = name.clone().unwrap_or_default();
            wire.volume_options = volume_object(options);
        }
        MountSource::Tmpfs(options) => {
            wire.kind = "tmpfs".to_owned();
            let options = types::TmpfsOptions {
                size_bytes: options.size_bytes,
                mode: options.mode,
                options: options.options.clone(),
            };
            wire.tmpfs_options = (options != types::TmpfsOptions::default()).then_some(options);
        }
        MountSource::Image { reference, subpath } => {
            wire.kind = "image".to_owned();
            wire.source.clone_from(reference);
            let options = types::ImageOptions {
                subpath: subpath.clone(),
            };
            wire.image_options = (!subpath.is_empty()).then_some(options);
        }
    }
    wire
}

fn volume_object(options: &VolumeOptions) -> Option<types::VolumeOptions> {
    let driver = VolumeDriverConfig {
        name: options.driver.clone(),
        options: options.driver_options.clone(),
    };
    let wire = types::VolumeOptions {
        no_copy: options.no_copy,
        labels: options.labels.clone(),
        subpath: options.subpath.clone(),
        driver_config: (driver != VolumeDriverConfig::default()).then_some(driver),
    };
    (wire != types::VolumeOptions::default()).then_some(wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> MountSpec {
        all(&[text.to_owned()], Vec::new(), std::iter::empty())
            .unwrap()
            .remove(0)
    }

    fn refused(text: &str) -> String {
        all(&[text.to_owned()], Vec::new(), std::iter::empty())
            .unwrap_err()
            .0
    }

    #[test]
    fn texts_are_binds_or_volumes() {
        let bind = one("/srv//www/:/data/../www:ro,rslave,Z");
        assert_eq!((bind.target.as_str(), bind.read_only), ("/www", true));
        assert_eq!(bind.mode, "ro,rslave,Z");
        let MountSource::Bind { path, options } = bind.source else {
            panic!()
        };
        assert_eq!(path, "/srv/www");
        assert_eq!(options.propagation, Some(Propagation::Rslave));
        assert!(options.create_source);

        let volume = one("cache:/var/cache:nocopy");
        let MountSource::Volume { name, options } = volume.source else {
            panic!()
        };
        assert_eq!((name.as_deref(), options.no_copy), (Some("cache"), true));
        let anonymous = one("/data");
        assert!(matches!(
            anonymous.source,
            MountSource::Volume { name: None, .. }
        ));
    }

    #[test]
    fn texts_that_make_no_sense_are_refused_with_dockers_words() {
        assert_eq!(
            refused("a:b:c:d"),
            "invalid volume specification: 'a:b:c:d'"
        );
        assert_eq!(refused("/a:/b:"), "invalid volume specification: '/a:/b:'");
        assert!(refused("/a:b").ends_with("invalid mount path: 'b' mount path must be absolute"));
        assert!(refused("/a:/").ends_with("destination can't be '/'"));
        assert_eq!(refused("/a:/b:rw,ro"), "invalid mode: rw,ro");
        assert_eq!(refused("/a:/b:fast"), "invalid mode: fast");
        assert!(refused("./a:/b").contains("invalid characters for a local volume name"));
        let twice = ["/a:/x".to_owned(), "/b:/x/".to_owned()];
        assert_eq!(
            all(&twice, Vec::new(), std::iter::empty()).unwrap_err().0,
            "Duplicate mount point: /x"
        );
        let tmpfs = ["/x/".to_owned()];
        assert_eq!(
            all(&twice[..1], Vec::new(), tmpfs.iter()).unwrap_err().0,
            "Duplicate mount point: /x"
        );
    }

    #[test]
    fn objects_survive_the_way_in_and_out() {
        let bind = Mount {
            kind: "bind".into(),
            source: "/a".into(),
            target: "/b".into(),
            read_only: true,
            bind_options: Some(types::BindOptions {
                propagation: "rprivate".into(),
                read_only_force_recursive: true,
                ..Default::default()
            }),
            ..Mount::default()
        };
        let volume = Mount {
            kind: "volume".into(),
            source: "data".into(),
            target: "/c".into(),
            volume_options: Some(types::VolumeOptions {
                subpath: "sub".into(),
                driver_config: Some(VolumeDriverConfig {
                    name: "local".into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Mount::default()
        };
        let tmpfs = Mount {
            kind: "tmpfs".into(),
            target: "/d".into(),
            ..Mount::default()
        };
        let image = Mount {
            kind: "image".into(),
            source: "i".into(),
            target: "/e".into(),
            ..Mount::default()
        };
        let wire = vec![bind, volume, tmpfs, image];
        assert_eq!(
            objects(&all(&[], wire.clone(), std::iter::empty()).unwrap()),
            wire
        );
    }

    #[test]
    fn objects_that_make_no_sense_are_refused_with_dockers_words() {
        let refused = |mount: Mount| all(&[], vec![mount], std::iter::empty()).unwrap_err().0;
        let mount = |kind: &str, source: &str, target: &str| Mount {
            kind: kind.into(),
            source: source.into(),
            target: target.into(),
            ..Mount::default()
        };
        let starts = "invalid mount config for type \"bind\": ";
        assert_eq!(
            refused(mount("bind", "", "/a")),
            format!("{starts}field Source must not be empty")
        );
        assert_eq!(
            refused(mount("bind", "/a", "")),
            format!("{starts}field Target must not be empty")
        );
        assert!(refused(mount("disk", "/a", "/b")).ends_with("mount type unknown"));
        let foreign = Mount {
            tmpfs_options: Some(Default::default()),
            ..mount("bind", "/a", "/b")
        };
        assert!(refused(foreign).ends_with("field TmpfsOptions must not be specified"));
    }
}
