//! The flags that say what container to make: defined once, for `run` and `create`, in groups.
//!
//! Each group binds its own flags and fills its own part of the request.

mod health;
mod identity;
pub(crate) mod network;
mod process;
mod resources;
mod security;
mod storage;

use hull_api::types::{ContainerCreate, HostConfig};

use crate::flags::FlagSet;
use crate::options::restart;

/// All groups.
#[derive(Default)]
pub(crate) struct ContainerFlags {
    identity: identity::IdentityFlags,
    pub(crate) process: process::ProcessFlags,
    health: health::HealthFlags,
    resources: resources::ResourceFlags,
    network: network::NetworkFlags,
    storage: storage::StorageFlags,
    security: security::SecurityFlags,
}

impl ContainerFlags {
    /// Binds them.
    pub(crate) fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        self.identity.flags(set);
        self.process.flags(set);
        self.health.flags(set);
        self.resources.flags(set);
        self.network.flags(set);
        self.storage.flags(set);
        self.security.flags(set);
    }

    /// Where the container's id is written.
    pub(crate) fn id_file(&self) -> &str {
        &self.identity.cidfile
    }

    /// Whether the container is removed when it ends.
    pub(crate) fn is_removed(&self) -> bool {
        self.identity.rm
    }

    /// The request for an image and the words after it.
    ///
    /// # Errors
    /// Flags that contradict each other, or files that cannot be read.
    pub(crate) fn body(
        &self,
        image: &str,
        command: &[String],
        changed: &[&'static str],
    ) -> Result<ContainerCreate, String> {
        let mut body = ContainerCreate::default();
        let mut host = HostConfig::default();
        let config = &mut body.config;
        image.clone_into(&mut config.image);
        config.cmd = (!command.is_empty()).then(|| command.to_vec());
        self.identity.apply(config, &mut host)?;
        self.process.apply(config, &mut host, changed)?;
        self.health.apply(config)?;
        self.resources.apply(&mut host)?;
        self.storage.apply(config, &mut host)?;
        self.security.apply(&mut host)?;
        body.networking_config = self.network.apply(config, &mut host)?;
        host.restart_policy = restart::parse(&self.identity.restart)?;
        let restarts = !matches!(host.restart_policy.name.as_str(), "" | "no");
        if self.identity.rm && restarts {
            return Err("conflicting options: cannot specify both --restart and --rm".to_owned());
        }
        body.host_config = Some(host);
        Ok(body)
    }
}

/// `Some` if there is anything.
fn some<T>(values: Vec<T>) -> Option<Vec<T>> {
    (!values.is_empty()).then_some(values)
}
