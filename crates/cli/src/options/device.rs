//! Devices: `--device`, and the limits and weights per device.

use hull_api::types::{DeviceMapping, ThrottleDevice, WeightDevice};

use crate::flags::Item;
use crate::format::size;

/// `host-path[:container-path][:permissions]`, or a CDI name such as `vendor.com/class=name`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Device {
    Path(DeviceMapping),
    Cdi(String),
}

impl Item for Device {
    fn parse(text: &str) -> Result<Self, String> {
        if is_cdi(text) {
            return Ok(Self::Cdi(text.to_owned()));
        }
        let parts: Vec<&str> = text.split(':').collect();
        let (host, inside, permissions) = match parts[..] {
            [host] => (host, host, "rwm"),
            [host, mode] if is_mode(mode) => (host, host, mode),
            [host, inside] => (host, inside, "rwm"),
            [host, inside, mode] => (host, inside, mode),
            _ => return Err(format!("bad format for path: {text}")),
        };
        if !is_mode(permissions) {
            return Err(format!("bad mode specified: {permissions}"));
        }
        if !inside.starts_with('/') {
            return Err(format!("{inside} is not an absolute path"));
        }
        Ok(Self::Path(DeviceMapping {
            path_on_host: host.to_owned(),
            path_in_container: inside.to_owned(),
            cgroup_permissions: permissions.to_owned(),
        }))
    }
}

/// `vendor.com/class=name`
fn is_cdi(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else {
        return false;
    };
    let Some((vendor, class)) = kind.split_once('/') else {
        return false;
    };
    !vendor.is_empty() && !class.is_empty() && !name.is_empty() && !vendor.contains(':')
}

fn is_mode(text: &str) -> bool {
    let mut seen = String::new();
    !text.is_empty()
        && text.chars().all(|letter| {
            let fresh = !seen.contains(letter);
            seen.push(letter);
            fresh && "rwm".contains(letter)
        })
}

/// `path:rate` in bytes per second.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ByteRate(pub(crate) ThrottleDevice);

/// `path:rate` in operations per second.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OperationRate(pub(crate) ThrottleDevice);

/// `path:weight`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weight(pub(crate) WeightDevice);

/// `--device-cgroup-rule 'c 1:* rwm'`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule(pub(crate) String);

impl Item for Rule {
    fn parse(text: &str) -> Result<Self, String> {
        let is_number = |text: &str| {
            text == "*" || (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let is_rule = || {
            let mut words = text.split(' ');
            let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
            let (major, minor) = numbers.split_once(':')?;
            let is_access = (1..=3).contains(&access.len())
                && access.bytes().all(|byte| b"rwm".contains(&byte));
            let fits = ["a", "b", "c"].contains(&kind) && is_number(major) && is_number(minor);
            Some(fits && is_access && words.next().is_none())
        };
        match is_rule() {
            Some(true) => Ok(Self(text.to_owned())),
            _ => Err(format!("invalid device cgroup format '{text}'")),
        }
    }
}

impl Item for ByteRate {
    fn parse(text: &str) -> Result<Self, String> {
        let (path, rate) = device_and_value(text)?;
        let rate = size::parse(rate)
            .ok()
            .and_then(|rate| u64::try_from(rate).ok());
        let rate = rate.ok_or_else(|| {
            format!("invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb")
        })?;
        Ok(Self(ThrottleDevice {
            path: path.to_owned(),
            rate,
        }))
    }
}

impl Item for OperationRate {
    fn parse(text: &str) -> Result<Self, String> {
        let (path, rate) = device_and_value(text)?;
        let rate = rate.parse().map_err(|_| {
            format!("invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer")
        })?;
        Ok(Self(ThrottleDevice {
            path: path.to_owned(),
            rate,
        }))
    }
}

impl Item for Weight {
    fn parse(text: &str) -> Result<Self, String> {
        let (path, weight) = device_and_value(text)?;
        let weight = weight
            .parse()
            .ok()
            .filter(|weight| matches!(weight, 0 | 10..=1000));
        let weight = weight.ok_or_else(|| format!("invalid weight for device: {text}"))?;
        Ok(Self(WeightDevice {
            path: path.to_owned(),
            weight,
        }))
    }
}

fn device_and_value(text: &str) -> Result<(&str, &str), String> {
    let (path, value) = text
        .split_once(':')
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(text: &str) -> Result<String, String> {
        Device::parse(text).map(|device| match device {
            Device::Path(d) => {
                format!(
                    "{}|{}|{}",
                    d.path_on_host, d.path_in_container, d.cgroup_permissions
                )
            }
            Device::Cdi(name) => name,
        })
    }

    #[test]
    fn devices() {
        assert_eq!(mapped("/dev/a"), Ok("/dev/a|/dev/a|rwm".into()));
        assert_eq!(mapped("/dev/a:r"), Ok("/dev/a|/dev/a|r".into()));
        assert_eq!(mapped("/dev/a:/dev/b"), Ok("/dev/a|/dev/b|rwm".into()));
        assert_eq!(mapped("/dev/a:/dev/b:rw"), Ok("/dev/a|/dev/b|rw".into()));
        assert_eq!(
            mapped("nvidia.com/gpu=all"),
            Ok("nvidia.com/gpu=all".into())
        );
        assert_eq!(
            mapped("/dev/a:/dev/b:q"),
            Err("bad mode specified: q".into())
        );
    }

    #[test]
    fn rates_and_weights() {
        assert_eq!(ByteRate::parse("/dev/sda:1mb").unwrap().0.rate, 1_048_576);
        assert_eq!(OperationRate::parse("/dev/sda:100").unwrap().0.rate, 100);
        assert_eq!(Weight::parse("/dev/sda:100").unwrap().0.weight, 100);
        assert_eq!(
            Weight::parse("/dev/sda:5").unwrap_err(),
            "invalid weight for device: /dev/sda:5"
        );
        assert_eq!(
            ByteRate::parse("sda:1").unwrap_err(),
            "bad format for device path: sda:1"
        );
        assert!(OperationRate::parse("/dev/sda:1mb").is_err());
    }

    #[test]
    fn rules_name_a_kind_numbers_and_an_access() {
        for text in ["c 1:3 r", "a *:* rwm", "b 8:* mr"] {
            assert!(Rule::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "x",
            "c 1 r",
            "d 1:3 r",
            "c 1:3",
            "c 1:3 x",
            "c 1:3 rwmr",
            "c :3 r",
            "c 1:3 r r",
        ] {
            assert!(Rule::parse(text).is_err(), "{text}");
        }
    }
}
