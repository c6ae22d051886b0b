//! Containers.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{ByteStream, Call, Client, ClientError, Hijacked, JsonStream, RequestBody};
use crate::{
    decode,
    filters::Filters,
    query::{Query, encoded},
    types::{
        Config, ContainerCreate, ContainerCreated, ContainerInspect, ContainerPrune,
        ContainerSummary, ContainerTop, ContainerUpdate, ContainerUpdated, ContainerWait,
        FilesystemChange, IdResponse, PathStat, SealedCompared, SealedFile, SealedFiles, Stats,
    },
};

/// Which containers to list.
#[derive(Debug, Clone, Default)]
pub struct ContainerListOptions {
    /// Stopped ones too.
    pub all: bool,
    /// With sizes.
    pub size: bool,
    /// The newest few; 0: every one.
    pub limit: i64,
    /// Which.
    pub filters: Filters,
}

/// What of a log to read. Times are as the API takes them (Unix seconds, RFC 3339, durations).
#[derive(Debug, Clone, Default)]
pub struct LogsOptions {
    /// Go on as output comes.
    pub follow: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// A time before each line.
    pub timestamps: bool,
    /// The labels and environment the log driver was told to keep before each line.
    pub details: bool,
    /// Empty: from the start.
    pub since: String,
    /// Empty: to the end.
    pub until: String,
    /// A number or `all`; empty: `all`.
    pub tail: String,
}

/// What to attach to.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// Stay attached.
    pub stream: bool,
    /// Send input.
    pub stdin: bool,
    /// Receive output.
    pub stdout: bool,
    /// Receive errors.
    pub stderr: bool,
    /// First what was said so far.
    pub logs: bool,
    /// Keys that detach; empty: the daemon's.
    pub detach_keys: String,
}

/// How to stop.
#[derive(Debug, Clone, Default)]
pub struct StopOptions {
    /// Empty: the container's.
    pub signal: String,
    /// Seconds before it is killed; negative: never; `None`: the container's.
    pub timeout_s: Option<i64>,
}

/// What image to make of a container.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// The container.
    pub container: String,
    /// The image's name; empty: none.
    pub repo: String,
    /// Its tag.
    pub tag: String,
    /// Kept in its history.
    pub comment: String,
    /// Kept in it.
    pub author: String,
    /// Dockerfile instructions to apply.
    pub changes: Vec<String>,
    /// Leave it running meanwhile.
    pub no_pause: bool,
}

/// An end that is being waited for; the daemon has confirmed that it does.
#[derive(Debug)]
pub struct Waiting(Response<Incoming>);

impl Waiting {
    /// How it ended.
    pub async fn result(self) -> Result<ContainerWait, ClientError> {
        super::json("/containers/wait", self.0).await
    }
}

impl Client {
    /// Lists containers.
    pub async fn containers(
        &self,
        options: &ContainerListOptions,
    ) -> Result<Vec<ContainerSummary>, ClientError> {
        let mut query = Query::default();
        query
            .add_flag("all", options.all)
            .add_flag("size", options.size);
        if options.limit > 0 {
            query.add("limit", options.limit.to_string());
        }
        self.get("/containers/json", filtered(query, &options.filters))
            .await
    }

    /// Makes a container. Empty name: the daemon makes one up; empty platform: the host's.
    pub async fn container_create(
        &self,
        name: &str,
        platform: &str,
        body: &ContainerCreate,
    ) -> Result<ContainerCreated, ClientError> {
        let mut query = Query::default();
        query.add_some("name", name).add_some("platform", platform);
        let path = "/containers/create";
        let made: ContainerCreated = self.post(path, Call::json(query, body)).await?;
        ClientError::unless(!made.id.is_empty(), path, "Id")?;
        Ok(made)
    }

    /// All about one container.
    pub async fn container(&self, id: &str) -> Result<ContainerInspect, ClientError> {
        let path = of(id, "json");
        let container: ContainerInspect = self.get(&path, Query::default()).await?;
        ClientError::unless(!container.id.is_empty(), &path, "Id")?;
        Ok(container)
    }

    /// As [`container`](Self::container), as the daemon wrote it.
    pub async fn container_raw(&self, id: &str, size: bool) -> Result<Bytes, ClientError> {
        let mut query = Query::default();
        query.add_flag("size", size);
        self.get_raw(&of(id, "json"), query).await
    }

    /// Its processes. Empty arguments: `-ef`.
    pub async fn container_top(&self, id: &str, ps: &str) -> Result<ContainerTop, ClientError> {
        let mut query = Query::default();
        query.add_some("ps_args", ps);
        let path = of(id, "top");
        let top: ContainerTop = self.get(&path, query).await?;
        ClientError::unless(!top.titles.is_empty(), &path, "Titles")?;
        Ok(top)
    }

    /// What it said and says; framed unless it has a terminal.
    pub async fn container_logs(
        &self,
        id: &str,
        options: &LogsOptions,
    ) -> Result<ByteStream, ClientError> {
        let mut query = Query::default();
        query
            .add_flag("follow", options.follow)
            .add_flag("stdout", options.stdout)
            .add_flag("stderr", options.stderr)
            .add_flag("timestamps", options.timestamps)
            .add_flag("details", options.details)
            .add_some("since", &options.since)
            .add_some("until", &options.until)
            .add_some("tail", &options.tail);
        self.get_stream(&of(id, "logs"), query).await
    }

    /// What differs from its image.
    pub async fn container_changes(&self, id: &str) -> Result<Vec<FilesystemChange>, ClientError> {
        let changes: Option<_> = self.get(&of(id, "changes"), Query::default()).await?;
        Ok(changes.unwrap_or_default())
    }

    /// Its root as a tar.
    pub async fn container_export(&self, id: &str) -> Result<ByteStream, ClientError> {
        self.get_stream(&of(id, "export"), Query::default()).await
    }

    /// What it uses: once, or once a second.
    pub async fn container_stats(
        &self,
        id: &str,
        stream: bool,
        one_shot: bool,
    ) -> Result<JsonStream<Stats>, ClientError> {
        let mut query = Query::default();
        query
            .add("stream", if stream { "1" } else { "0" })
            .add_flag("one-shot", one_shot);
        Ok(self.get_stream(&of(id, "stats"), query).await?.json())
    }

    /// Tells its terminal the size.
    pub async fn container_resize(
        &self,
        id: &str,
        rows: u16,
        columns: u16,
    ) -> Result<(), ClientError> {
        self.order(&of(id, "resize"), Call::with(size(rows, columns)))
            .await
    }

    /// Starts it (running already is fine).
    pub async fn container_start(&self, id: &str) -> Result<(), ClientError> {
        self.order(&of(id, "start"), Call::default()).await
    }

    /// Stops it (stopped already is fine).
    pub async fn container_stop(&self, id: &str, options: &StopOptions) -> Result<(), ClientError> {
        self.order(&of(id, "stop"), Call::with(stop_query(options)))
            .await
    }

    /// Stops and starts it.
    pub async fn container_restart(
        &self,
        id: &str,
        options: &StopOptions,
    ) -> Result<(), ClientError> {
        self.order(&of(id, "restart"), Call::with(stop_query(options)))
            .await
    }

    /// Sends a signal; empty: SIGKILL.
    pub async fn container_kill(&self, id: &str, signal: &str) -> Result<(), ClientError> {
        let mut query = Query::default();
        query.add_some("signal", signal);
        self.order(&of(id, "kill"), Call::with(query)).await
    }

    /// Changes limits and the restart policy. Zero leaves a limit as it is.
    pub async fn container_update(
        &self,
        id: &str,
        body: &ContainerUpdate,
    ) -> Result<ContainerUpdated, ClientError> {
        self.post(&of(id, "update"), Call::json(Query::default(), body))
            .await
    }

    /// Gives it another name.
    pub async fn container_rename(&self, id: &str, name: &str) -> Result<(), ClientError> {
        let mut query = Query::default();
        query.add("name", name);
        self.order(&of(id, "rename"), Call::with(query)).await
    }

    /// Freezes it.
    pub async fn container_pause(&self, id: &str) -> Result<(), ClientError> {
        self.order(&of(id, "pause"), Call::default()).await
    }

    /// Thaws it.
    pub async fn container_unpause(&self, id: &str) -> Result<(), ClientError> {
        self.order(&of(id, "unpause"), Call::default()).await
    }

    /// Takes part in its streams.
    pub async fn container_attach(
        &self,
        id: &str,
        options: &AttachOptions,
    ) -> Result<Hijacked, ClientError> {
        let mut query = Query::default();
        query
            .add_flag("stream", options.stream)
            .add_flag("stdin", options.stdin)
            .add_flag("stdout", options.stdout)
            .add_flag("stderr", options.stderr)
            .add_flag("logs", options.logs)
            .add_some("detachKeys", &options.detach_keys);
        self.hijack(&of(id, "attach"), Call::with(query)).await
    }

    /// Begins to wait: `not-running` (also when empty), `next-exit` or `removed`. Returns when the
    /// daemon is waiting, so that what happens afterwards is not missed.
    pub async fn container_wait(&self, id: &str, condition: &str) -> Result<Waiting, ClientError> {
        let mut query = Query::default();
        query.add_some("condition", condition);
        self.send(Method::POST, &of(id, "wait"), Call::with(query))
            .await
            .map(Waiting)
    }

    /// Removes it.
    pub async fn container_remove(
        &self,
        id: &str,
        force: bool,
        volumes: bool,
        link: bool,
    ) -> Result<(), ClientError> {
        let mut query = Query::default();
        query
            .add_flag("force", force)
            .add_flag("v", volumes)
            .add_flag("link", link);
        self.delete(&format!("/containers/{}", encoded(id)), query)
            .await
    }

    /// What stands at a path in it.
    pub async fn path_stat(&self, of: FilesOf<'_>, path: &str) -> Result<PathStat, ClientError> {
        let answer = self
            .send(Method::HEAD, &of.archive(), Call::with(at(path)))
            .await?;
        path_stat(&answer)
    }

    /// A path in it as a tar.
    pub async fn copy_out(
        &self,
        of: FilesOf<'_>,
        path: &str,
    ) -> Result<(PathStat, ByteStream), ClientError> {
        let answer = self
            .send(Method::GET, &of.archive(), Call::with(at(path)))
            .await?;
        Ok((path_stat(&answer)?, ByteStream::new(answer)))
    }

    /// Unpacks a tar into a directory in it.
    pub async fn copy_in(
        &self,
        of: FilesOf<'_>,
        path: &str,
        tar: RequestBody,
        copy_owner: bool,
    ) -> Result<(), ClientError> {
        let mut query = at(path);
        query
            .add("noOverwriteDirNonDir", "true")
            .add_flag("copyUIDGID", copy_owner);
        let call = Call::bytes(query, tar, "application/x-tar");
        let answer = self.send(Method::PUT, &of.archive(), call).await?;
        let path = of.archive();
        answer
            .into_body()
            .collect()
            .await
            .map_err(|source| ClientError::Exchange { path, source })?;
        Ok(())
    }

    /// Hands it files that lie on no disk in the clear, from its next start on. `false`: the daemon is not
    /// Hull, and has no such thing.
    pub async fn container_seal(&self, id: &str, files: &SealedFiles) -> Result<bool, ClientError> {
        let path = format!("/hull/containers/{}/sealed", encoded(id));
        let call = Call::json(Query::default(), files);
        match self.send(Method::PUT, &path, call).await {
            Ok(_) => Ok(true),
            Err(ClientError::Refused { status, message })
                if status == StatusCode::NOT_FOUND && !message.contains("container") =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether it is handed just these; nothing: it is handed no such files, or the daemon is not Hull.
    pub async fn container_sealed_with(
        &self,
        id: &str,
        files: &SealedFiles,
    ) -> Result<Option<bool>, ClientError> {
        let path = format!("/hull/containers/{}/sealed/compare", encoded(id));
        let call = Call::json(Query::default(), files);
        match self.post::<SealedCompared>(&path, call).await {
            Ok(compared) => Ok(compared.same),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What it is handed, without what is in it; nothing from a daemon that is not Hull.
    pub async fn container_sealed(&self, id: &str) -> Result<Vec<SealedFile>, ClientError> {
        let path = format!("/hull/containers/{}/sealed", encoded(id));
        match self.get::<SealedFiles>(&path, Query::default()).await {
            Ok(sealed) => Ok(sealed.files),
            Err(ClientError::Refused { status, message })
                if status == StatusCode::NOT_FOUND && !message.contains("container") =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// Removes stopped containers.
    pub async fn containers_prune(&self, filters: &Filters) -> Result<ContainerPrune, ClientError> {
        self.post(
            "/containers/prune",
            Call::with(filtered(Query::default(), filters)),
        )
        .await
    }

    /// Makes an image of it.
    pub async fn container_commit(
        &self,
        options: &CommitOptions,
        config: Option<&Config>,
    ) -> Result<IdResponse, ClientError> {
        let mut query = Query::default();
        query
            .add("container", &options.container)
            .add_some("repo", &options.repo)
            .add_some("tag", &options.tag)
            .add_some("comment", &options.comment)
            .add_some("author", &options.author);
        for change in &options.changes {
            query.add("changes", change);
        }
        if options.no_pause {
            query.add("pause", "0");
        }
        self.post("/commit", Call::json(query, &config)).await
    }
}

/// Adds filters to a query, if there are any.
pub(super) fn filtered(mut query: Query, filters: &Filters) -> Query {
    if !filters.is_empty() {
        query.add("filters", filters.to_json());
    }
    query
}

pub(super) fn size(rows: u16, columns: u16) -> Query {
    let mut query = Query::default();
    query
        .add("h", rows.to_string())
        .add("w", columns.to_string());
    query
}

/// Whose files are copied.
#[derive(Debug, Clone, Copy)]
pub enum FilesOf<'a> {
    /// A container's.
    Container(&'a str),
    /// A volume's: Hull's own.
    Volume(&'a str),
}

impl<'a> FilesOf<'a> {
    /// The container or volume.
    pub fn name(self) -> &'a str {
        match self {
            Self::Container(name) | Self::Volume(name) => name,
        }
    }

    fn archive(self) -> String {
        match self {
            Self::Container(id) => of(id, "archive"),
            Self::Volume(name) => format!("/volumes/{}/archive", encoded(name)),
        }
    }
}

fn of(id: &str, verb: &str) -> String {
    format!("/containers/{}/{verb}", encoded(id))
}

fn at(path: &str) -> Query {
    let mut query = Query::default();
    query.add("path", path);
    query
}

fn stop_query(options: &StopOptions) -> Query {
    let mut query = Query::default();
    query.add_some("signal", &options.signal);
    if let Some(seconds) = options.timeout_s {
        query.add("t", seconds.to_string());
    }
    query
}

fn path_stat(answer: &Response<Incoming>) -> Result<PathStat, ClientError> {
    let malformed = |source| ClientError::Answer {
        path: "archive".into(),
        source,
    };
    let header = answer.headers().get("x-docker-container-path-stat");
    let text = header.map(|value| value.as_bytes()).unwrap_or_default();
    decode::from_slice(&STANDARD.decode(text).unwrap_or_default()).map_err(malformed)
}
