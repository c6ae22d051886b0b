//! What a new network takes from elsewhere: from a network that is nothing but settings, and from
//! the daemon's options.

use super::Networks;
use crate::{Driver, Error, Network};

impl Networks {
    /// Puts into `wanted` what the network it names has for it.
    pub(super) fn take_settings(&self, wanted: &mut Network) -> Result<(), Error> {
        let Some(name) = wanted.config_from.clone() else {
            return Ok(());
        };
        let missing = || Error::NoSuchNetwork(name.clone());
        let from = self.find(&name).ok_or_else(missing)?;
        if !from.config_only {
            return Err(Error::NoConfiguration(name));
        }
        for (is_given, what) in [
            (wanted.config_only, "--config-only"),
            (!wanted.subnets.is_empty(), "the subnets"),
            (!wanted.options.is_empty(), "the driver options"),
        ] {
            if is_given {
                return Err(Error::OwnConfiguration(what));
            }
        }
        wanted.config_from = Some(from.name);
        wanted.subnets = from.subnets;
        wanted.options = from.options;
        wanted.ipam_plugin = from.ipam_plugin;
        wanted.ipam_options = from.ipam_options;
        wanted.enable_ipv4 = from.enable_ipv4;
        wanted.enable_ipv6 = from.enable_ipv6;
        wanted.internal |= from.internal;
        for (name, value) in from.labels {
            wanted.labels.entry(name).or_insert(value);
        }
        Ok(())
    }

    /// Adds the daemon's options for networks of that driver.
    pub(super) fn take_defaults(&self, wanted: &mut Network) {
        let defaults = self.config.default_options.get(wanted.driver_name());
        for (name, value) in defaults.into_iter().flatten() {
            let own = wanted.options.entry(name.clone());
            own.or_insert_with(|| value.clone());
        }
    }

    /// Remembers settings. Nothing of them is on the host.
    pub(super) fn keep_settings(&self, mut wanted: Network) -> Result<Network, Error> {
        wanted.driver = Driver::Null;
        if wanted.id.is_empty() {
            super::manage::name_it(&mut wanted)?;
        }
        let kept = crate::state::Attached::new(wanted.clone());
        self.state().networks.insert(wanted.id.clone(), kept);
        Ok(wanted)
    }

    /// Whether a network may go: settings that others have stay.
    pub(super) fn check_unused(&self, record: &Network) -> Result<(), Error> {
        let has_it = |other: &Network| other.config_from.as_ref() == Some(&record.name);
        match self.list().into_iter().find(has_it) {
            Some(user) if record.config_only => Err(Error::ConfigurationInUse {
                name: record.name.clone(),
                user: user.name,
            }),
            _ => Ok(()),
        }
    }
}
