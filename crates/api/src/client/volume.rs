//! Volumes.

use bytes::Bytes;
use http::Method;

use super::{ByteStream, Call, Client, ClientError, JsonStream, RequestBody, container::filtered};
use crate::{
    filters::Filters,
    progress::ProgressMessage,
    query::{Query, encoded},
    types::{AuthConfig, Volume, VolumeCreate, VolumeList, VolumePrune},
};

impl Client {
    /// Lists volumes.
    pub async fn volumes(&self, filters: &Filters) -> Result<VolumeList, ClientError> {
        self.get("/volumes", filtered(Query::default(), filters))
            .await
    }

    /// All about one volume.
    pub async fn volume(&self, name: &str) -> Result<Volume, ClientError> {
        self.get(&of(name), Query::default()).await
    }

    /// As [`volume`](Self::volume), as the daemon wrote it.
    pub async fn volume_raw(&self, name: &str) -> Result<Bytes, ClientError> {
        self.get_raw(&of(name), Query::default()).await
    }

    /// Makes a volume, or finds the one of that name.
    pub async fn volume_create(&self, body: &VolumeCreate) -> Result<Volume, ClientError> {
        let path = "/volumes/create";
        let call = Call::json(Query::default(), body);
        let made: Volume = self.post(path, call).await?;
        ClientError::unless(!made.name.is_empty(), path, "Name")?;
        Ok(made)
    }

    /// Gives it another name.
    pub async fn volume_rename(&self, name: &str, new: &str) -> Result<Volume, ClientError> {
        let mut query = Query::default();
        query.add("name", new);
        self.post(&format!("{}/rename", of(name)), Call::with(query))
            .await
    }

    /// Copies it to a new one.
    pub async fn volume_clone(
        &self,
        name: &str,
        new: &str,
        pause: bool,
        labels: &[String],
    ) -> Result<Volume, ClientError> {
        let mut query = Query::default();
        query.add("name", new).add_flag("pause", pause);
        for label in labels {
            query.add("label", label);
        }
        self.post(&format!("{}/clone", of(name)), Call::with(query))
            .await
    }

    /// Its content as a tar.
    pub async fn volume_export(&self, name: &str) -> Result<ByteStream, ClientError> {
        self.get_stream(&format!("{}/export", of(name)), Query::default())
            .await
    }

    /// Unpacks a tar into it; makes it if there is none.
    pub async fn volume_import(
        &self,
        name: &str,
        overwrite: bool,
        tar: RequestBody,
    ) -> Result<Volume, ClientError> {
        let mut query = Query::default();
        query.add_flag("overwrite", overwrite);
        let call = Call::bytes(query, tar, "application/x-tar");
        self.post(&format!("{}/import", of(name)), call).await
    }

    /// Pushes its content to a registry.
    pub async fn volume_push(
        &self,
        name: &str,
        reference: &str,
        auth: Option<&AuthConfig>,
    ) -> Result<JsonStream<ProgressMessage>, ClientError> {
        let mut query = Query::default();
        query.add("reference", reference);
        let call = Call::with(query).auth(auth);
        let path = format!("{}/push", of(name));
        let answer = self.send(Method::POST, &path, call).await?;
        Ok(ByteStream::new(answer).json())
    }

    /// Pulls a volume from a registry; an empty name: as it was called.
    pub async fn volume_pull(
        &self,
        reference: &str,
        name: &str,
        overwrite: bool,
        auth: Option<&AuthConfig>,
    ) -> Result<JsonStream<ProgressMessage>, ClientError> {
        let mut query = Query::default();
        query
            .add("reference", reference)
            .add_some("name", name)
            .add_flag("overwrite", overwrite);
        let call = Call::with(query).auth(auth);
        let answer = self.send(Method::POST, "/volumes/pull", call).await?;
        Ok(ByteStream::new(answer).json())
    }

    /// Removes it.
    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<(), ClientError> {
        let mut query = Query::default();
        query.add_flag("force", force);
        self.delete(&of(name), query).await
    }

    /// Removes volumes nobody uses.
    pub async fn volumes_prune(&self, filters: &Filters) -> Result<VolumePrune, ClientError> {
        self.post(
            "/volumes/prune",
            Call::with(filtered(Query::default(), filters)),
        )
        .await
    }
}

fn of(name: &str) -> String {
    format!("/volumes/{}", encoded(name))
}
