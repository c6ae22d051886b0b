//! Builds.

use http::{Method, StatusCode};

use super::{
    ByteStream, Call, Client, ClientError, Hijacked, JsonStream, RequestBody, container::filtered,
};
use crate::{
    filters::Filters,
    progress::ProgressMessage,
    query::Query,
    types::{BuildExtras, BuildPrune, ContextListing, ContextNeeds},
};

/// What of the build cache to take away.
#[derive(Debug, Clone, Default)]
pub struct BuildPruneOptions {
    /// Everything that is not in use.
    pub all: bool,
    /// Keep so many bytes; 0: none.
    pub keep_storage: i64,
    /// Which.
    pub filters: Filters,
}

impl Client {
    /// Builds from an archive, the classic way.
    pub async fn build_archive(
        &self,
        query: Query,
        context: RequestBody,
    ) -> Result<JsonStream<ProgressMessage>, ClientError> {
        let call = Call::bytes(query, context, "application/x-tar");
        let answer = self.send(Method::POST, "/build", call).await?;
        Ok(ByteStream::new(answer).json())
    }

    /// Tells what a directory holds, and learns what of it the daemon does not have. `None`: the
    /// daemon is not Hull, and takes archives only.
    pub async fn build_context(
        &self,
        listing: &ContextListing,
    ) -> Result<Option<ContextNeeds>, ClientError> {
        let call = Call::json(Query::default(), listing);
        match self.post("/hull/build/context", call).await {
            Ok(needs) => Ok(Some(needs)),
            Err(ClientError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends the files that a transfer needs, in an archive.
    pub async fn build_context_files(
        &self,
        id: &str,
        files: RequestBody,
    ) -> Result<(), ClientError> {
        let call = Call::bytes(Query::default(), files, "application/x-tar");
        let path = format!("/hull/build/context/{id}");
        self.send(Method::PUT, &path, call).await.map(drop)
    }

    /// Builds from contexts that came before. Messages carry [events](crate::types::BuildEvent).
    pub async fn build(
        &self,
        mut query: Query,
        extras: &BuildExtras,
    ) -> Result<JsonStream<ProgressMessage>, ClientError> {
        query.add("hull", "1");
        let call = Call::json(query, extras);
        let answer = self.send(Method::POST, "/build", call).await?;
        Ok(ByteStream::new(answer).json())
    }

    /// Offers a connection to an ssh agent: the first byte that comes says that it is wanted.
    pub async fn build_agent(&self, token: &str, id: &str) -> Result<Hijacked, ClientError> {
        let mut query = Query::default();
        query.add("id", id);
        let path = format!("/hull/build/agent/{token}");
        self.hijack(&path, Call::with(query)).await
    }

    /// Takes parts of the build cache away.
    pub async fn build_prune(
        &self,
        options: &BuildPruneOptions,
    ) -> Result<BuildPrune, ClientError> {
        let mut query = Query::default();
        query.add_flag("all", options.all);
        if options.keep_storage > 0 {
            query.add("keep-storage", options.keep_storage.to_string());
            query.add("reserved-space", options.keep_storage.to_string());
        }
        let call = Call::with(filtered(query, &options.filters));
        self.post("/build/prune", call).await
    }
}
