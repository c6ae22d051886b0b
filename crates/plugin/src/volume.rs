//! The questions of the volume protocol.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    activate::{Nothing, QUERY_WITHIN, activate},
    find::Directories,
    talk::{Error, Peer, null_as_default},
};

/// A plugin that provides volumes.
#[derive(Debug, Clone)]
pub struct VolumeDriver {
    peer: Peer,
    /// How long what changes something may take.
    within: Duration,
}

/// What a driver knows of a volume.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeFacts {
    /// Its name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Where it is, if it is mounted.
    #[serde(deserialize_with = "null_as_default")]
    pub mountpoint: String,
    /// RFC 3339.
    #[serde(deserialize_with = "null_as_default")]
    pub created_at: String,
    /// Whatever the driver wants to be shown.
    #[serde(deserialize_with = "null_as_default")]
    pub status: BTreeMap<String, serde_json::Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Create<'a> {
    name: &'a str,
    opts: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Used<'a> {
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
}

#[derive(Deserialize)]
struct Done {}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Mounted {
    #[serde(deserialize_with = "null_as_default")]
    mountpoint: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Got {
    #[serde(deserialize_with = "null_as_default")]
    volume: VolumeFacts,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Listed {
    #[serde(deserialize_with = "null_as_default")]
    volumes: Vec<VolumeFacts>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Capable {
    #[serde(deserialize_with = "null_as_default")]
    capabilities: Capabilities,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Capabilities {
    #[serde(deserialize_with = "null_as_default")]
    scope: String,
}

impl VolumeDriver {
    /// Finds a plugin and asks whether it provides volumes. `within`: how long what changes
    /// something may take later.
    pub async fn open(
        name: &str,
        directories: &Directories,
        within: Duration,
    ) -> Result<Self, Error> {
        let peer = activate(name, "VolumeDriver", directories, within).await?;
        Ok(Self { peer, within })
    }

    fn query(&self) -> Duration {
        self.within.min(QUERY_WITHIN)
    }

    /// Makes a volume, or takes note of one that is there.
    pub async fn create(&self, name: &str, opts: &BTreeMap<String, String>) -> Result<(), Error> {
        let body = Create { name, opts };
        let asked = self.peer.ask("VolumeDriver.Create", &body, self.within);
        asked.await.map(|Done {}| ())
    }

    /// Takes a volume away.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        let body = Named { name };
        let asked = self.peer.ask("VolumeDriver.Remove", &body, self.within);
        asked.await.map(|Done {}| ())
    }

    /// Makes a volume reachable for the user `id`, and tells where.
    pub async fn mount(&self, name: &str, id: &str) -> Result<PathBuf, Error> {
        let body = Used { name, id };
        let question = "VolumeDriver.Mount";
        let mounted: Mounted = self.peer.ask(question, &body, self.within).await?;
        let path = PathBuf::from(mounted.mountpoint);
        if !path.is_absolute() {
            return Err(Error::Broken {
                plugin: self.peer.name.clone(),
                question,
                reason: format!("its mount point {:?} is no absolute path", path.display()),
            });
        }
        Ok(path)
    }

    /// The user `id` needs it no more.
    pub async fn unmount(&self, name: &str, id: &str) -> Result<(), Error> {
        let body = Used { name, id };
        let asked = self.peer.ask("VolumeDriver.Unmount", &body, self.within);
        asked.await.map(|Done {}| ())
    }

    /// What it knows of a volume.
    pub async fn get(&self, name: &str) -> Result<VolumeFacts, Error> {
        let body = Named { name };
        let got: Got = self
            .peer
            .ask("VolumeDriver.Get", &body, self.query())
            .await?;
        Ok(got.volume)
    }

    /// All its volumes.
    pub async fn list(&self) -> Result<Vec<VolumeFacts>, Error> {
        let listed: Listed = self
            .peer
            .ask("VolumeDriver.List", &Nothing {}, self.query())
            .await?;
        Ok(listed.volumes)
    }

    /// `local` or `global`. A plugin that does not know the question is local.
    pub async fn scope(&self) -> String {
        let asked = self
            .peer
            .ask("VolumeDriver.Capabilities", &Nothing {}, self.query());
        match asked.await {
            Ok(Capable { capabilities }) if capabilities.scope == "global" => capabilities.scope,
            _ => "local".to_owned(),
        }
    }
}
