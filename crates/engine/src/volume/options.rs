//! What the options of the local driver mean: `type`, `o`, `device`, as of mount(8), and `size`.
//!
//! Pure. A volume without the first three is a plain directory.

use std::{collections::BTreeMap, net::IpAddr};

use hull_sys::mount::{Propagation, attr};

use crate::error::{Error, Result};

/// How many bytes a volume may hold.
pub(super) const SIZE: &str = "size";

/// What is mounted when a volume is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocalMount {
    pub(super) source: Source,
    /// Bits of [`attr`] for the mount.
    pub(super) set: u64,
    pub(super) clear: u64,
    pub(super) propagation: Option<(Propagation, bool)>,
}

/// Where the content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Another path of the host.
    Bind { device: String, recursive: bool },
    /// A file system.
    FileSystem {
        kind: String,
        device: String,
        data: Vec<String>,
    },
}

/// What the options of a new volume mean together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LocalOptions {
    /// `None`: a plain directory.
    pub(super) mount: Option<LocalMount>,
    /// Bytes that it may take at the most.
    pub(super) size: Option<u64>,
}

/// Understands the options, or says which one makes no sense.
pub(super) fn parse(options: &BTreeMap<String, String>) -> Result<LocalOptions> {
    let of = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    for key in options.keys() {
        if !["type", "o", "device", SIZE].contains(&key.as_str()) {
            return Err(Error::Invalid(format!("invalid option: {key:?}")));
        }
    }
    for (given, needed) in [
        ("type", "device"),
        ("device", "type"),
        ("o", "device"),
        ("o", "type"),
    ] {
        if options.contains_key(given) && of(needed).is_empty() {
            return Err(Error::Invalid(format!(
                "missing required option: {needed:?}"
            )));
        }
    }
    let size = options.get(SIZE).map(|text| bytes(text)).transpose()?;
    if !options.contains_key("type") {
        return Ok(LocalOptions { mount: None, size });
    }
    if size.is_some() {
        return Err(Error::Invalid(
            "option \"size\" is for plain volumes: give the limit in \"o\" to what is mounted, if \
             it knows one (tmpfs: o=size=…)"
                .to_owned(),
        ));
    }
    let mount = Some(mount(of("type"), of("o"), of("device"))?);
    Ok(LocalOptions { mount, size })
}

/// `10G`, `512m`, `1048576`: Docker's sizes, powers of 1024.
pub(crate) fn bytes(text: &str) -> Result<u64> {
    let invalid = || Error::Invalid(format!("invalid size: '{text}'"));
    let lower = text.trim().to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match lower[number.len()..]
        .trim_end_matches("ib")
        .trim_end_matches('b')
    {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(invalid()),
    };
    let number: u64 = number.trim().parse().map_err(|_| invalid())?;
    match number.checked_shl(shift) {
        Some(bytes) if bytes > 0 && bytes >> shift == number => Ok(bytes),
        _ => Err(invalid()),
    }
}

fn mount(kind: &str, text: &str, device: &str) -> Result<LocalMount> {
    let mut plan = LocalMount {
        source: Source::FileSystem {
            kind: kind.to_owned(),
            device: device.to_owned(),
            data: Vec::new(),
        },
        set: 0,
        clear: 0,
        propagation: None,
    };
    let (mut bind, mut data) = (None, Vec::new());
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option {
            "bind" => bind = Some(false),
            "rbind" => bind = Some(true),
            _ if apply(&mut plan, option) => {}
            _ => data.push(option.to_owned()),
        }
    }
    if let Some(recursive) = bind {
        if let Some(option) = data.first() {
            return Err(Error::Invalid(format!(
                "invalid option {option:?}: a bind has no options of a file system"
            )));
        }
        plan.source = Source::Bind {
            device: device.to_owned(),
            recursive,
        };
        return Ok(plan);
    }
    plan.source = Source::FileSystem {
        kind: kind.to_owned(),
        device: device.to_owned(),
        data,
    };
    Ok(plan)
}

/// Whether the option was one of the mount itself.
fn apply(plan: &mut LocalMount, option: &str) -> bool {
    let (set, clear) = match option {
        "ro" => (attr::RDONLY, 0),
        "rw" => (0, attr::RDONLY),
        "nosuid" => (attr::NOSUID, 0),
        "suid" => (0, attr::NOSUID),
        "nodev" => (attr::NODEV, 0),
        "dev" => (0, attr::NODEV),
        "noexec" => (attr::NOEXEC, 0),
        "exec" => (0, attr::NOEXEC),
        "nodiratime" => (attr::NODIRATIME, 0),
        "diratime" => (0, attr::NODIRATIME),
        "noatime" => (attr::NOATIME, attr::ATIME_MASK),
        "relatime" | "atime" => (attr::RELATIME, attr::ATIME_MASK),
        "strictatime" => (attr::STRICTATIME, attr::ATIME_MASK),
        "defaults" | "async" | "auto" | "noauto" | "nofail" | "_netdev" => (0, 0),
        _ => match propagation(option) {
            Some(propagation) => {
                plan.propagation = Some(propagation);
                (0, 0)
            }
            None => return false,
        },
    };
    plan.set = plan.set & !clear | set;
    plan.clear = plan.clear & !set | clear;
    true
}

fn propagation(option: &str) -> Option<(Propagation, bool)> {
    Some(match option {
        "shared" => (Propagation::Shared, false),
        "rshared" => (Propagation::Shared, true),
        "slave" => (Propagation::Slave, false),
        "rslave" => (Propagation::Slave, true),
        "private" => (Propagation::Private, false),
        "rprivate" => (Propagation::Private, true),
        _ => return None,
    })
}

/// The `addr=` of a network file system, if it is a name that must be looked up: the kernel takes
/// numbers only.
pub(super) fn address_to_resolve(kind: &str, data: &[String]) -> Option<String> {
    let is_network = kind.starts_with("nfs") || kind == "cifs" || kind == "smb3";
    let address = data
        .iter()
        .find_map(|option| option.strip_prefix("addr="))?;
    (is_network && address.parse::<IpAddr>().is_err()).then(|| address.to_owned())
}

/// The server that a CIFS device names, if no option tells its address.
pub(super) fn server_to_resolve(kind: &str, device: &str, data: &[String]) -> Option<String> {
    let tells_address = |option: &String| option.starts_with("addr=") || option.starts_with("ip=");
    if !matches!(kind, "cifs" | "smb3") || data.iter().any(tells_address) {
        return None;
    }
    let host = device.strip_prefix("//")?.split('/').next()?;
    (!host.is_empty() && host.parse::<IpAddr>().is_err()).then(|| host.to_owned())
}

/// Options without what nobody but the file system should see.
pub(super) fn without_password(data: &[String]) -> String {
    let hide = |option: &String| match option.split_once('=') {
        Some((key @ ("password" | "password2" | "pass"), _)) => format!("{key}=****"),
        _ => option.clone(),
    };
    data.iter().map(hide).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    fn refused(pairs: &[(&str, &str)]) -> String {
        parse(&options(pairs)).unwrap_err().to_string()
    }

    #[test]
    fn mount_flags_go_to_the_mount_and_the_rest_to_the_file_system() {
        let text = "size=1m,nosuid,noatime,rw,uid=7";
        let parsed = parse(&options(&[
            ("type", "tmpfs"),
            ("device", "tmpfs"),
            ("o", text),
        ]));
        let mount = parsed.unwrap().mount.unwrap();
        assert_eq!(mount.set, attr::NOSUID | attr::NOATIME);
        let Source::FileSystem { kind, data, .. } = mount.source else {
            panic!()
        };
        assert_eq!(
            (kind.as_str(), data.join(",")),
            ("tmpfs", "size=1m,uid=7".into())
        );
    }

    #[test]
    fn a_bind_is_known_by_its_option() {
        let own = [
            ("type", "none"),
            ("device", "/srv"),
            ("o", "rbind,ro,rslave"),
        ];
        let mount = parse(&options(&own)).unwrap().mount.unwrap();
        let bind = Source::Bind {
            device: "/srv".into(),
            recursive: true,
        };
        assert_eq!((mount.source, mount.set), (bind, attr::RDONLY));
        assert_eq!(mount.propagation, Some((Propagation::Slave, true)));
        let own = [("type", "none"), ("device", "/srv"), ("o", "bind,size=1m")];
        assert!(refused(&own).contains("size=1m"));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(refused(&[("colour", "red")]), "invalid option: \"colour\"");
        let text = "missing required option: \"device\"";
        assert_eq!(refused(&[("type", "nfs")]), text);
        assert_eq!(refused(&[("type", "nfs"), ("o", "addr=1.2.3.4")]), text);
        assert_eq!(
            refused(&[("device", ":/x")]),
            "missing required option: \"type\""
        );
        assert_eq!(refused(&[("size", "many")]), "invalid size: 'many'");
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, wanted) in [
            ("10", 10),
            ("64k", 65_536),
            ("2GB", 2 << 30),
            ("1 MiB", 1 << 20),
        ] {
            assert_eq!(bytes(text).unwrap(), wanted, "{text}");
        }
        for bad in ["", "k", "-1", "1x", "99999999999999T", "0"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_names_are_looked_up_and_passwords_are_hidden() {
        let data = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let name = address_to_resolve("nfs4", &data("vers=4,addr=files.example"));
        assert_eq!(name.as_deref(), Some("files.example"));
        assert_eq!(address_to_resolve("nfs", &data("addr=10.0.0.1")), None);
        assert_eq!(address_to_resolve("tmpfs", &data("addr=x")), None);
        assert_eq!(
            without_password(&data("user=me,password=secret")),
            "user=me,password=****"
        );
    }
}
