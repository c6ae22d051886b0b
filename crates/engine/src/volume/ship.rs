//! Volumes that travel through registries: their archive, cut into parts, as an artifact.

use std::{collections::BTreeMap, sync::Arc};

use hull_image::{
    archive,
    parts::{Cuts, Cutter},
};
use hull_registry::{
    Credentials, Progress,
    artifact::{self, ArtifactKind, PushArtifact},
    progress::Event,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{CreateVolume, Volume, files};
use crate::{
    Engine,
    container::files::{carried, carry},
    error::{Error, Result},
    image::parse_reference,
};

/// Volumes among a registry's artifacts.
const KIND: ArtifactKind = ArtifactKind {
    what: "a volume",
    artifact: hull_registry::VOLUME,
    config: "application/vnd.hull.volume.config.v1+json",
    part: "application/vnd.hull.volume.part.v1.tar+zstd",
};

/// Parts that wait to be sent: each takes disk.
const WAITING: usize = 1;

/// What is said about a volume besides its content.
#[derive(Debug, Default, Serialize, Deserialize)]
struct About {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// The order to pull a volume.
#[derive(Debug, Clone, Default)]
pub struct PullVolume {
    /// Where from, with a tag or a digest.
    pub reference: String,
    /// What it is called here; empty: as it was called.
    pub name: String,
    /// Also into a volume that is not empty.
    pub overwrite: bool,
    /// For whom.
    pub credentials: Option<Credentials>,
}

impl Engine {
    /// Pushes a volume's content. Only what the registry lacks travels.
    pub async fn volume_push(
        &self,
        name: &str,
        reference: &str,
        credentials: Option<Credentials>,
        progress: &Progress,
    ) -> Result<()> {
        let (volume, reference) = (self.volume(name)?, parse_reference(reference)?);
        let services = Arc::clone(self.services());
        let about = About {
            name: volume.name.clone(),
            labels: volume.labels.clone(),
        };
        let (view, bytes) = self
            .services()
            .block(move || -> Result<_> {
                let (view, data) = files::view_at(&services, &volume)?;
                Ok((view, hull_image::snapshot::usage(&data)?.bytes))
            })
            .await??;
        let order = PushArtifact {
            reference,
            credentials,
            kind: KIND,
            config: serde_json::to_vec(&about)
                .map_err(|error| Error::Internal(error.to_string()))?,
            title: about.name,
            bytes,
        };
        let (sender, parts) = mpsc::channel(WAITING);
        let directory = self.services().paths.data().to_owned();
        carry(move || {
            let give = |part| {
                // Whoever stopped sending knows why.
                let gone = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
                sender.blocking_send(Ok(part)).map_err(gone)
            };
            let mut cutter = Cutter::new(&directory, Cuts::for_bytes(bytes), give);
            let packed = archive::pack_with(&view, "/.", &mut cutter, files::EXACT);
            let ended = packed.and_then(|()| {
                cutter.finish().map_err(|source| hull_image::Error::Io {
                    what: "cut the archive".to_owned(),
                    source,
                })
            });
            if let Err(error) = ended {
                let _ = sender.blocking_send(Err(error.into()));
            }
        })?;
        let sent = artifact::push(&self.registries(), &order, parts, progress).await?;
        progress.say(Event::Note(format!(
            "Sent {} of {} parts ({} bytes)",
            sent.sent_parts, sent.parts, sent.sent_bytes
        )));
        Ok(())
    }

    /// Pulls a volume: a new one, an empty one, or with `overwrite` any.
    pub async fn volume_pull(&self, order: PullVolume, progress: &Progress) -> Result<Arc<Volume>> {
        let reference = parse_reference(&order.reference)?;
        let (client, credentials) = (self.registries(), order.credentials.as_ref());
        let found = artifact::find(&client, self.images(), &reference, credentials, KIND).await?;
        let about: About = serde_json::from_slice(&found.config).map_err(|error| {
            Error::Invalid(format!(
                "what {} says of its volume cannot be read: {error}",
                reference.familiar()
            ))
        })?;
        let new = CreateVolume {
            name: match order.name.as_str() {
                "" => about.name,
                name => name.to_owned(),
            },
            labels: about.labels,
            ..CreateVolume::default()
        };
        progress.say(Event::Pulling(reference.clone().or_latest()));
        let digest = found.target.digest.clone();
        let (incoming, bringing) = found.bring(progress.clone());
        let services = Arc::clone(self.services());
        let filling = carried(move || files::import(&services, new, order.overwrite, incoming));
        let (brought, filled) = tokio::join!(bringing, filling);
        brought?;
        let volume = filled?;
        progress.say(Event::Filled {
            reference,
            digest,
            volume: volume.name.clone(),
        });
        // What came has gone into the volume.
        let images = Arc::clone(self.images());
        self.services()
            .block(move || images.collect_garbage())
            .await??;
        self.services().sweep();
        Ok(volume)
    }
}
