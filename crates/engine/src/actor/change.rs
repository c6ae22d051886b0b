//! Small changes of a container.

use std::collections::BTreeMap;

use hull_shim::protocol::{Request, Target};

use super::Actor;
use crate::{
    error::{Error, Result},
    model::{Name, Resources, RestartPolicy},
    state::{Command, Refusal, State},
    volume::Volume,
};

impl Actor {
    pub(super) async fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        self.permitted(Command::Kill)?;
        let resize = Request::Resize {
            target: Target::Init,
            rows,
            columns,
        };
        self.link().ask(resize).await.map(drop)
    }

    pub(super) fn rename(&mut self, name: Name) -> Result<()> {
        let id = self.record.id.clone();
        self.services.registry.reserve(&name, &id)?;
        let old = std::mem::replace(&mut self.record.name, name);
        self.services.registry.release(&old, &id);
        for endpoint in &mut self.record.endpoints {
            endpoint.container_name = self.record.name.to_string();
        }
        self.services.networks.rename(&self.record);
        self.save();
        self.services.keep_copy(&self.record);
        self.say(
            "rename",
            BTreeMap::from([("oldName".to_owned(), format!("/{old}"))]),
        );
        Ok(())
    }

    pub(super) fn volume_renamed(&mut self, volume: &Volume) {
        if self.record.name_volume(volume) {
            self.save();
            self.services.keep_copy(&self.record);
        }
    }

    /// Other directories hold the image's layers now.
    pub(super) fn stand_on(&mut self, lower: Vec<std::path::PathBuf>) -> Result<()> {
        if self.record.state.is_running() {
            let text = "it runs: stop it and try again";
            return Err(Error::State(text.to_owned()));
        }
        self.record.snapshot.lower = lower;
        self.save();
        self.services.keep_copy(&self.record);
        Ok(())
    }

    pub(super) async fn update(
        &mut self,
        resources: Resources,
        policy: Option<RestartPolicy>,
    ) -> Result<()> {
        if matches!(self.record.state, State::Removing { .. }) {
            return Err(self.refused(Refusal::Removing));
        }
        if policy.is_some_and(|policy| policy != RestartPolicy::No) && self.record.host.auto_remove
        {
            return Err(Error::Invalid(
                "Restart policy cannot be updated because AutoRemove is enabled for the container"
                    .to_owned(),
            ));
        }
        let merged = crate::container::update::merge(&self.record.host.resources, &resources)?;
        let mut asked = resources.clone();
        if asked.memory == 0 {
            // What is asked of the swap is judged by it.
            asked.memory = merged.memory;
        }
        crate::spec::validate_resources(&asked, &self.services.host)?;
        if self.record.state.is_running() {
            let cgroup = self.services.cgroup_of(&self.record)?;
            let mut limits = crate::spec::resources(&merged, &crate::spec::HostDevices)?;
            if resources.pids_limit.is_some_and(|limit| limit <= 0) {
                // For a new container that needs no words, for one that has a limit it does.
                let mut pids = hull_oci::runtime::LinuxPids::default();
                pids.set_limit(-1);
                limits.set_pids(Some(pids));
            }
            self.services
                .block(move || cgroup.update(&limits))
                .await??;
        }
        self.record.host.resources = merged;
        if let Some(policy) = policy {
            self.record.host.restart_policy = policy;
        }
        self.save();
        self.services.keep_copy(&self.record);
        self.say("update", BTreeMap::new());
        Ok(())
    }
}
