//! Devices of the host for a `RUN`: found, and granted by the client or by the device's own file.

use super::Solver;
use crate::error::{Error, Result};
use crate::plan::RunOp;

/// What a step's `--device` flags come to.
#[derive(Default)]
pub(super) struct Devices {
    /// Each by its full name.
    pub(super) names: Vec<String>,
    /// What they mount, where: a directory, or something else.
    pub(super) places: Vec<(String, bool)>,
    /// What the step does without.
    pub(super) missing: Vec<String>,
}

impl Solver<'_> {
    /// Looks for a step's devices.
    pub(super) fn devices(&self, at: usize, op: &RunOp) -> Result<Devices> {
        let place = || self.plan.vertices[at].place.clone();
        let mut devices = Devices::default();
        for wish in &op.devices {
            let found = self.host.devices(&wish.name);
            let found = found.map_err(|error| Error::invalid(error.to_string(), place()))?;
            if found.is_empty() && wish.required {
                let message = format!("required device {:?} is not registered", wish.name);
                return Err(Error::invalid(message, place()));
            }
            if found.is_empty() {
                devices.missing.push(wish.name.clone());
            }
            for device in found {
                let name = device.name;
                if device.needs_leave && !is_granted(&self.request.entitlements, &name) {
                    let message = format!(
                        "device {name} is not allowed: grant it with --allow device={name}"
                    );
                    return Err(Error::invalid(message, place()));
                }
                if !devices.names.contains(&name) {
                    devices.names.push(name);
                    devices.places.extend(device.places);
                }
            }
        }
        Ok(devices)
    }
}

/// `device` grants all, `device=…` one by its name, or a kind.
fn is_granted(entitlements: &[String], name: &str) -> bool {
    let kind = name.split('=').next().unwrap_or_default();
    entitlements.iter().any(|granted| {
        let Some(rest) = granted.strip_prefix("device") else {
            return false;
        };
        let Some(own) = rest.strip_prefix('=') else {
            return rest.is_empty();
        };
        let own = own.strip_prefix("name=").unwrap_or(own);
        own == name || own.strip_suffix("=*").unwrap_or(own) == kind
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_granted_all_or_by_name_or_by_kind() {
        let granted = |text: &str| is_granted(&[text.to_owned()], "v.com/d=x");
        for text in [
            "device",
            "device=v.com/d=x",
            "device=v.com/d",
            "device=v.com/d=*",
            "device=name=v.com/d=x",
        ] {
            assert!(granted(text), "{text}");
        }
        for text in [
            "devices",
            "device=v.com/d=y",
            "device=v.com",
            "network.host",
        ] {
            assert!(!granted(text), "{text}");
        }
    }
}
