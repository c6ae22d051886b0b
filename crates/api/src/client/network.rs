//! Networks.

use bytes::Bytes;

use super::{Call, Client, ClientError, container::filtered};
use crate::{
    filters::Filters,
    query::{Query, encoded},
    types::{
        Network, NetworkConnect, NetworkCreate, NetworkCreated, NetworkDisconnect, NetworkPrune,
    },
};

impl Client {
    /// Lists networks.
    pub async fn networks(&self, filters: &Filters) -> Result<Vec<Network>, ClientError> {
        self.get("/networks", filtered(Query::default(), filters))
            .await
    }

    /// All about one network.
    pub async fn network(&self, id: &str) -> Result<Network, ClientError> {
        self.get(&of(id), Query::default()).await
    }

    /// As [`network`](Self::network), as the daemon wrote it.
    pub async fn network_raw(
        &self,
        id: &str,
        verbose: bool,
        scope: &str,
    ) -> Result<Bytes, ClientError> {
        let mut query = Query::default();
        query.add_flag("verbose", verbose).add_some("scope", scope);
        self.get_raw(&of(id), query).await
    }

    /// Makes a network.
    pub async fn network_create(
        &self,
        body: &NetworkCreate,
    ) -> Result<NetworkCreated, ClientError> {
        let path = "/networks/create";
        let call = Call::json(Query::default(), body);
        let made: NetworkCreated = self.post(path, call).await?;
        ClientError::unless(!made.id.is_empty(), path, "Id")?;
        Ok(made)
    }

    /// Removes it.
    pub async fn network_remove(&self, id: &str) -> Result<(), ClientError> {
        self.delete(&of(id), Query::default()).await
    }

    /// Puts a container on it.
    pub async fn network_connect(
        &self,
        id: &str,
        body: &NetworkConnect,
    ) -> Result<(), ClientError> {
        self.order(
            &format!("{}/connect", of(id)),
            Call::json(Query::default(), body),
        )
        .await
    }

    /// Takes a container off it.
    pub async fn network_disconnect(
        &self,
        id: &str,
        body: &NetworkDisconnect,
    ) -> Result<(), ClientError> {
        self.order(
            &format!("{}/disconnect", of(id)),
            Call::json(Query::default(), body),
        )
        .await
    }

    /// Removes networks nobody uses.
    pub async fn networks_prune(&self, filters: &Filters) -> Result<NetworkPrune, ClientError> {
        self.post(
            "/networks/prune",
            Call::with(filtered(Query::default(), filters)),
        )
        .await
    }
}

fn of(id: &str) -> String {
    format!("/networks/{}", encoded(id))
}
