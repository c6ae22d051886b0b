//! Images.

use bytes::Bytes;
use http::Method;

use super::{
    ByteStream, Call, Client, ClientError, JsonStream, RequestBody, container::filtered,
    name_in_path,
};
use crate::{
    filters::Filters,
    progress::ProgressMessage,
    query::Query,
    types::{
        AuthConfig, DistributionInspect, ImageDeleted, ImageHistoryItem, ImageInspect, ImagePrune,
        ImageSearchItem, ImageSummary,
    },
};

/// Which images to list.
#[derive(Debug, Clone, Default)]
pub struct ImageListOptions {
    /// Those without a name that others build on, too.
    pub all: bool,
    /// With what their layers share.
    pub shared_size: bool,
    /// With each platform's manifest.
    pub manifests: bool,
    /// Which.
    pub filters: Filters,
}

/// What to pull or import.
#[derive(Debug, Clone, Default)]
pub struct ImageCreateOptions {
    /// The image to pull; empty: import.
    pub from_image: String,
    /// Where to import from: `-` is the body, else an URL.
    pub from_source: String,
    /// The imported image's name.
    pub repo: String,
    /// The tag or digest.
    pub tag: String,
    /// Kept in an imported image's history.
    pub message: String,
    /// Dockerfile instructions to apply to an imported image.
    pub changes: Vec<String>,
    /// `os/arch[/variant]`; empty: the host's.
    pub platform: String,
}

impl Client {
    /// Lists images.
    pub async fn images(
        &self,
        options: &ImageListOptions,
    ) -> Result<Vec<ImageSummary>, ClientError> {
        let mut query = Query::default();
        query
            .add_flag("all", options.all)
            .add_flag("shared-size", options.shared_size)
            .add_flag("manifests", options.manifests);
        self.get("/images/json", filtered(query, &options.filters))
            .await
    }

    /// Pulls or imports an image. `body` is the tar of an import from `-`.
    pub async fn image_create(
        &self,
        options: &ImageCreateOptions,
        auth: Option<&AuthConfig>,
        body: Option<RequestBody>,
    ) -> Result<JsonStream<ProgressMessage>, ClientError> {
        let mut query = Query::default();
        query
            .add_some("fromImage", &options.from_image)
            .add_some("fromSrc", &options.from_source)
            .add_some("repo", &options.repo)
            .add_some("tag", &options.tag)
            .add_some("message", &options.message)
            .add_some("platform", &options.platform);
        for change in &options.changes {
            query.add("changes", change);
        }
        let call = match body {
            Some(body) => Call::bytes(query, body, "application/x-tar"),
            None => Call::with(query),
        };
        let answer = self
            .send(Method::POST, "/images/create", call.auth(auth))
            .await?;
        Ok(ByteStream::new(answer).json())
    }

    /// All about one image.
    pub async fn image(&self, name: &str) -> Result<ImageInspect, ClientError> {
        self.get(&of(name, "json"), Query::default()).await
    }

    /// As [`image`](Self::image), as the daemon wrote it.
    pub async fn image_raw(&self, name: &str, platform: &str) -> Result<Bytes, ClientError> {
        let mut query = Query::default();
        query.add_some("platform", platform);
        self.get_raw(&of(name, "json"), query).await
    }

    /// How it came to be.
    pub async fn image_history(
        &self,
        name: &str,
        platform: &str,
    ) -> Result<Vec<ImageHistoryItem>, ClientError> {
        let mut query = Query::default();
        query.add_some("platform", platform);
        self.get(&of(name, "history"), query).await
    }

    /// Pushes it; of an image for several platforms all, or (a JSON object) one.
    pub async fn image_push(
        &self,
        name: &str,
        tag: &str,
        platform: &str,
        auth: Option<&AuthConfig>,
    ) -> Result<JsonStream<ProgressMessage>, ClientError> {
        let mut query = Query::default();
        query.add_some("tag", tag).add_some("platform", platform);
        // The daemon insists on the header: no credentials are an empty object.
        let call = Call::with(query).auth(Some(auth.unwrap_or(&AuthConfig::default())));
        let answer = self.send(Method::POST, &of(name, "push"), call).await?;
        Ok(ByteStream::new(answer).json())
    }

    /// Gives it a further name.
    pub async fn image_tag(&self, name: &str, repo: &str, tag: &str) -> Result<(), ClientError> {
        let mut query = Query::default();
        query.add("repo", repo).add_some("tag", tag);
        self.order(&of(name, "tag"), Call::with(query)).await
    }

    /// Takes a name away, and the image with its last name.
    pub async fn image_remove(
        &self,
        name: &str,
        force: bool,
        no_prune: bool,
        platforms: &[String],
    ) -> Result<Vec<ImageDeleted>, ClientError> {
        let mut query = Query::default();
        query.add_flag("force", force).add_flag("noprune", no_prune);
        for platform in platforms {
            query.add("platforms", platform);
        }
        let path = format!("/images/{}", name_in_path(name));
        let answer = self.send(Method::DELETE, &path, Call::with(query)).await?;
        super::json(&path, answer).await
    }

    /// Images as a tar.
    pub async fn images_save(
        &self,
        names: &[String],
        platforms: &[String],
    ) -> Result<ByteStream, ClientError> {
        let mut query = Query::default();
        for name in names {
            query.add("names", name);
        }
        for platform in platforms {
            query.add("platform", platform);
        }
        self.get_stream("/images/get", query).await
    }

    /// Takes images out of a tar.
    pub async fn images_load(
        &self,
        tar: RequestBody,
        quiet: bool,
        platforms: &[String],
    ) -> Result<JsonStream<ProgressMessage>, ClientError> {
        let mut query = Query::default();
        query.add_flag("quiet", quiet);
        for platform in platforms {
            query.add("platform", platform);
        }
        let call = Call::bytes(query, tar, "application/x-tar");
        let answer = self.send(Method::POST, "/images/load", call).await?;
        Ok(ByteStream::new(answer).json())
    }

    /// Searches the registry.
    pub async fn images_search(
        &self,
        term: &str,
        limit: i64,
        filters: &Filters,
        auth: Option<&AuthConfig>,
    ) -> Result<Vec<ImageSearchItem>, ClientError> {
        let mut query = Query::default();
        query.add("term", term);
        if limit > 0 {
            query.add("limit", limit.to_string());
        }
        let call = Call::with(filtered(query, filters)).auth(auth);
        let answer = self.send(Method::GET, "/images/search", call).await?;
        super::json("/images/search", answer).await
    }

    /// Removes images nobody needs.
    pub async fn images_prune(&self, filters: &Filters) -> Result<ImagePrune, ClientError> {
        self.post(
            "/images/prune",
            Call::with(filtered(Query::default(), filters)),
        )
        .await
    }

    /// Asks the registry about an image.
    pub async fn distribution(
        &self,
        name: &str,
        auth: Option<&AuthConfig>,
    ) -> Result<DistributionInspect, ClientError> {
        let path = format!("/distribution/{}/json", name_in_path(name));
        let answer = self
            .send(Method::GET, &path, Call::default().auth(auth))
            .await?;
        super::json(&path, answer).await
    }
}

fn of(name: &str, verb: &str) -> String {
    format!("/images/{}/{verb}", name_in_path(name))
}
