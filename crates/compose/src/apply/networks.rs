//! Networks and volumes: made where they are missing, removed at the end.

use std::collections::BTreeMap;

use hull_api::types::{Ipam, IpamConfig, NetworkCreate, NetworkDisconnect, VolumeCreate};

use super::first::{missing_network, missing_volume};
use super::graph::each;
use super::{Engine, Named, Result};
use crate::labels;
use crate::model::{Network, Texts, Volume};
use crate::plan::state::State;
use crate::plan::{Change, Plan};

impl Engine<'_> {
    /// Makes what is missing.
    pub(super) async fn ensure_networks(&self, plan: &Plan, state: &State) -> Result<()> {
        each(&plan.networks, self.parallel, |(key, change)| async move {
            let Some(network) = self.project.networks.get(key) else {
                return Ok(());
            };
            match change {
                Change::Keep => Ok(()),
                Change::Missing => Err(missing_network(key, network)),
                Change::Create => self.create_network(key, network).await,
                Change::Replace(_) => {
                    self.leave_network(network, state).await?;
                    self.client
                        .network_remove(&network.name)
                        .await
                        .named("remove the network", &network.name)?;
                    self.create_network(key, network).await
                }
            }
        })
        .await
    }

    async fn create_network(&self, key: &str, network: &Network) -> Result<()> {
        let what = format!("Network {}", network.name);
        self.working(&what, "Creating");
        let body = NetworkCreate {
            name: network.name.clone(),
            check_duplicate: true,
            driver: network.driver.clone(),
            enable_ipv4: network.enable_ipv4,
            enable_ipv6: network.enable_ipv6,
            ipam: ipam(network),
            internal: network.internal,
            attachable: network.attachable,
            options: Some(network.driver_opts.clone()),
            labels: Some(self.own_labels(&network.labels, labels::NETWORK, key, &network.hash)),
            ..NetworkCreate::default()
        };
        let result = self.client.network_create(&body).await;
        let result = match result {
            Err(error) if error.is_withheld() => Ok(()),
            // Another run of ours was quicker.
            Err(error) if error.status().is_some_and(|status| status.as_u16() == 409) => {
                match self.client.network(&network.name).await {
                    Ok(found)
                        if found
                            .labels
                            .as_ref()
                            .and_then(|labels| labels.get(labels::PROJECT))
                            == Some(&self.project.name) =>
                    {
                        Ok(())
                    }
                    _ => Err(error),
                }
            }
            other => other.map(drop),
        };
        self.told(
            &what,
            "Created",
            result.named("create the network", &network.name),
        )
    }

    /// Takes the project's containers off a network that is made anew.
    async fn leave_network(&self, network: &Network, state: &State) -> Result<()> {
        for container in &state.containers {
            if container
                .summary
                .network_settings
                .networks
                .contains_key(&network.name)
            {
                let body = NetworkDisconnect {
                    container: container.id().to_owned(),
                    force: true,
                };
                self.client
                    .network_disconnect(&network.name, &body)
                    .await
                    .named("disconnect", container.name())?;
            }
        }
        Ok(())
    }

    /// Makes what is missing; data is never thrown away unasked.
    pub(super) async fn ensure_volumes(&self, plan: &Plan) -> Result<()> {
        each(&plan.volumes, self.parallel, |(key, change)| async move {
            let Some(volume) = self.project.volumes.get(key) else {
                return Ok(());
            };
            match change {
                Change::Keep => Ok(()),
                Change::Missing => Err(missing_volume(key, volume)),
                Change::Create => self.create_volume(key, volume).await,
                Change::Replace(_) => {
                    self.report.warn(&format!(
                        "the volume {} differs from the file and is left as it is; remove it with `volume rm` to have it made anew, without its data",
                        volume.name
                    ));
                    Ok(())
                }
            }
        })
        .await
    }

    async fn create_volume(&self, key: &str, volume: &Volume) -> Result<()> {
        let what = format!("Volume {}", volume.name);
        self.working(&what, "Creating");
        let body = VolumeCreate {
            name: volume.name.clone(),
            driver: volume.driver.clone(),
            driver_opts: volume.driver_opts.clone(),
            labels: self.own_labels(&volume.labels, labels::VOLUME, key, &volume.hash),
        };
        let result = match self.client.volume_create(&body).await {
            Err(error) if error.is_withheld() => Ok(()),
            other => other.map(drop),
        };
        self.told(
            &what,
            "Created",
            result.named("create the volume", &volume.name),
        )
    }

    fn own_labels(
        &self,
        given: &Texts,
        kind: &str,
        key: &str,
        hash: &str,
    ) -> BTreeMap<String, String> {
        let mut all = given.clone();
        all.insert(labels::PROJECT.into(), self.project.name.clone());
        all.insert(kind.into(), key.to_owned());
        all.insert(labels::VERSION.into(), labels::COMPOSE_VERSION.into());
        all.insert(labels::HASH.into(), hash.to_owned());
        all
    }

    /// Removes a network; one that is gone or still in use by others is left.
    pub(super) async fn remove_network(&self, name: &str) -> Result<()> {
        let what = format!("Network {name}");
        self.working(&what, "Removing");
        match self.client.network_remove(name).await {
            Ok(()) => {
                self.done(&what, "Removed");
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                self.done(&what, "No resource found to remove");
                Ok(())
            }
            Err(error)
                if error
                    .status()
                    .is_some_and(|status| status.as_u16() == 403 || status.as_u16() == 409) =>
            {
                self.done(&what, "Resource is still in use");
                Ok(())
            }
            Err(error) => self.told(&what, "", Err(error).named("remove the network", name)),
        }
    }

    /// Removes a volume; one that is gone or in use is left.
    pub(super) async fn remove_volume(&self, name: &str) -> Result<()> {
        let what = format!("Volume {name}");
        self.working(&what, "Removing");
        match self.client.volume_remove(name, true).await {
            Ok(()) => {
                self.done(&what, "Removed");
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                self.done(&what, "Removed");
                Ok(())
            }
            Err(error) if error.status().is_some_and(|status| status.as_u16() == 409) => {
                self.done(&what, "Resource is still in use");
                Ok(())
            }
            Err(error) => self.told(&what, "", Err(error).named("remove the volume", name)),
        }
    }
}

fn ipam(network: &Network) -> Option<Ipam> {
    let ipam = &network.ipam;
    if ipam.driver.is_empty() && ipam.config.is_empty() {
        return None;
    }
    let pools = ipam.config.iter().map(|pool| IpamConfig {
        subnet: pool.subnet.clone(),
        ip_range: pool.ip_range.clone(),
        gateway: pool.gateway.clone(),
        auxiliary_addresses: pool.aux_addresses.clone(),
    });
    Some(Ipam {
        driver: ipam.driver.clone(),
        options: (!ipam.options.is_empty()).then(|| ipam.options.clone()),
        config: Some(pools.collect()),
    })
}
