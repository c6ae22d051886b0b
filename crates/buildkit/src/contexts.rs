//! A client's directories, as the builder asks for them.
//!
//! The builder blocks; what brings files is asynchronous. A [`Client`] is where they meet: its
//! methods are called from the builder's threads, and carry the work out on the daemon's runtime.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read},
    os::unix::net::UnixStream,
    path::Path,
    sync::{Arc, Mutex},
};

use hull_build::{
    Builder, Cancel, Contexts, Fetching, Login, Logins, Remote, Secrets, SshAgents,
    request::Wanted,
    tree::{Meta, Tree, TreeWriter},
};
use tokio::{runtime::Handle, sync::mpsc};

use crate::{
    building::{self, Stop},
    grpc::{Code, Status},
    job::lock,
    session::{
        Credentials, Session, Sessions,
        filesync::{self, Look, Replica, Request},
    },
};

/// The builder's name for the main context.
const MAIN: &str = "context";

/// The largest file that is read before the rest: a Dockerfile, or what it ignores.
const SMALL_FILE_BYTES_MAX: u64 = 16 << 20;

/// Pieces of an upload read ahead of the disk.
const PIECES: usize = 8;

/// A client, and where its files are kept.
pub(crate) struct Client {
    runtime: Handle,
    sessions: HashMap<String, Arc<Session>>,
    session: Arc<Session>,
    builder: Arc<Builder>,
    /// The client's name of the main context.
    main: String,
    /// Trees that are here already: an upload, unpacked.
    here: Mutex<BTreeMap<String, Arc<Tree>>>,
}

impl Client {
    /// The client of a session; `others` are sessions of single directories.
    pub(crate) async fn of(
        sessions: &Sessions,
        session: &str,
        others: &BTreeMap<String, String>,
        builder: Arc<Builder>,
        main: String,
    ) -> Result<Self, Status> {
        let mut by_directory = HashMap::new();
        for (directory, id) in others {
            by_directory.insert(directory.clone(), sessions.get(id).await?);
        }
        Ok(Self {
            runtime: Handle::current(),
            sessions: by_directory,
            session: sessions.get(session).await?,
            builder,
            main,
            here: Mutex::default(),
        })
    }

    /// The session of the build itself.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Some files of one of the client's directories, and the bytes that travelled.
    pub(crate) async fn files(
        &self,
        directory: &str,
        paths: Vec<String>,
    ) -> Result<(Arc<Tree>, u64), Status> {
        let writer = self
            .builder
            .trees()
            .temporary()
            .map_err(|error| internal(&error))?;
        let request = Request {
            name: directory.to_owned(),
            follow: paths,
            ..Request::default()
        };
        self.receive(directory, request, writer).await
    }

    /// Takes what the client uploads as the main context.
    pub(crate) async fn unpack(&self, address: &str) -> Result<Option<Arc<Tree>>, Status> {
        let Some(mut upload) = self.session.upload(address).await? else {
            return Ok(None);
        };
        let (pieces, inbox) = mpsc::channel(PIECES);
        let mut writer = self
            .builder
            .trees()
            .temporary()
            .map_err(|error| internal(&error))?;
        let unpacking = tokio::task::spawn_blocking(move || {
            let source = Pieces {
                inbox,
                piece: Vec::new(),
                used: 0,
            };
            writer.unpack(source)?;
            writer.finish()
        });
        let mut outcome = Ok(());
        loop {
            match upload.next().await {
                Ok(Some(piece)) => {
                    if pieces.send(Ok(piece)).await.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(status) => {
                    let _ = pieces
                        .send(Err(io::Error::other(status.message.clone())))
                        .await;
                    outcome = Err(status);
                    break;
                }
            }
        }
        drop(pieces);
        let tree = unpacking.await;
        let tree = tree.map_err(|_| Status::new(Code::Internal, "unpacking broke off"))?;
        outcome?;
        let tree = tree.map_err(|error| Status::invalid(error.to_string()))?;
        lock(&self.here).insert(MAIN.to_owned(), Arc::clone(&tree));
        Ok(Some(tree))
    }

    /// Fetches the main context from an address that is no upload's.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        address: &str,
        file_name: &str,
        args: &BTreeMap<String, String>,
    ) -> Result<Arc<Tree>, Status> {
        let (client, address, file_name) =
            (Arc::clone(self), address.to_owned(), file_name.to_owned());
        let stop = Stop(Cancel::new());
        let cancel = stop.0.clone();
        let args = args.clone();
        let fetching = tokio::task::spawn_blocking(move || {
            let agents: Arc<dyn SshAgents> = Arc::clone(&client) as _;
            let how = Fetching {
                secrets: &*client,
                agents: &agents,
                args: &args,
                cancel: &cancel,
            };
            match client.builder.fetch(&address, &how)? {
                Remote::Files(tree) => Ok(tree),
                Remote::Dockerfile(text) => {
                    let mut writer = client.builder.trees().temporary()?;
                    let meta = Meta {
                        mode: 0o644,
                        ..Meta::default()
                    };
                    writer.file(Path::new(&file_name), &mut text.as_bytes(), meta)?;
                    writer.finish()
                }
            }
        });
        let fetched: Result<_, hull_build::Error> = fetching
            .await
            .map_err(|_| Status::new(Code::Internal, "fetching broke off"))?;
        let tree = fetched.map_err(|error| building::status(&error))?;
        lock(&self.here).insert(MAIN.to_owned(), Arc::clone(&tree));
        Ok(tree)
    }

    async fn receive(
        &self,
        directory: &str,
        request: Request,
        writer: TreeWriter,
    ) -> Result<(Arc<Tree>, u64), Status> {
        let session = self.sessions.get(directory).unwrap_or(&self.session);
        let (writer, report) = filesync::receive(session, &request, Writer(writer), |_| {}).await?;
        let finished = tokio::task::spawn_blocking(move || writer.0.finish()).await;
        let tree = finished
            .map_err(|_| Status::new(Code::Internal, "writing files broke off"))?
            .map_err(|error| internal(&error))?;
        tracing::debug!(directory, ?report, "files came");
        Ok((tree, report.bytes))
    }

    /// The client's name of one of its directories.
    fn directory(&self, name: &str) -> String {
        if name == MAIN {
            return self.main.clone();
        }
        name.to_owned()
    }

    /// The whole directory, as far as it is wanted.
    async fn directory_tree(&self, name: &str, wanted: &Wanted) -> Result<Arc<Tree>, Status> {
        let directory = self.directory(name);
        let session = self.sessions.get(&directory).unwrap_or(&self.session);
        let writer = match session.shared_key() {
            "" => self.builder.trees().temporary(),
            key => self.builder.trees().writer(&format!("{key}\n{directory}")),
        };
        let writer = writer.map_err(|error| internal(&error))?;
        let request = Request {
            name: directory.clone(),
            follow: wanted.paths.clone(),
            exclude: wanted.excludes.clone(),
            include: Vec::new(),
        };
        let (tree, _) = self.receive(&directory, request, writer).await?;
        Ok(tree)
    }
}

impl Contexts for Client {
    fn tree(&self, name: &str, wanted: &Wanted) -> Result<Arc<Tree>, String> {
        if let Some(tree) = lock(&self.here).get(name) {
            return Ok(Arc::clone(tree));
        }
        let bringing = self.directory_tree(name, wanted);
        self.runtime
            .block_on(bringing)
            .map_err(|status| status.message)
    }

    fn file(&self, name: &str, path: &str) -> Result<Option<Vec<u8>>, String> {
        if let Some(tree) = lock(&self.here).get(name) {
            return tree.read(path, SMALL_FILE_BYTES_MAX);
        }
        let directory = self.directory(name);
        let bringing = self.files(&directory, vec![path.to_owned()]);
        let (tree, _) = self
            .runtime
            .block_on(bringing)
            .map_err(|status| status.message)?;
        tree.read(path, SMALL_FILE_BYTES_MAX)
    }
}

impl Secrets for Client {
    fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, String> {
        let found = self.runtime.block_on(self.session.secret(id));
        found.map_err(|status| status.message)
    }
}

impl Logins for Client {
    fn login(&self, host: &str) -> Result<Option<Login>, String> {
        let asking = self.session.credentials(host);
        let found = self.runtime.block_on(asking);
        let found = found.map_err(|status| status.message)?;
        Ok(found.map(login))
    }
}

/// Without a user, a client's secret is an identity token.
pub(crate) fn login(found: Credentials) -> Login {
    match found.user.as_str() {
        "" => Login {
            identity_token: found.secret,
            ..Login::default()
        },
        _ => Login {
            user: found.user,
            password: found.secret,
            ..Login::default()
        },
    }
}

impl SshAgents for Client {
    fn has(&self, id: &str) -> bool {
        self.runtime
            .block_on(self.session.has_agent(id))
            .unwrap_or(false)
    }

    fn serve(&self, id: &str, connection: UnixStream) {
        let carrying = async {
            connection.set_nonblocking(true)?;
            let stream = tokio::net::UnixStream::from_std(connection)?;
            let carried = self.session.forward(id, stream).await;
            carried.map_err(|status| io::Error::other(status.message))
        };
        if let Err(error) = self.runtime.block_on(carrying) {
            tracing::debug!(%error, "an SSH agent's connection ended");
        }
    }
}

/// The builder's writer, as the protocol sees it.
struct Writer(TreeWriter);

impl Replica for Writer {
    fn keep(&mut self, path: &Path, size: u64, look: Look) -> bool {
        self.0.keep(path, size, meta(look))
    }

    fn file(&mut self, path: &Path, content: &mut dyn Read, look: Look) -> Result<(), String> {
        self.0
            .file(path, content, meta(look))
            .map_err(|error| error.to_string())
    }

    fn directory(&mut self, path: &Path, look: Look) -> Result<(), String> {
        self.0
            .directory(path, meta(look))
            .map_err(|error| error.to_string())
    }

    fn symlink(&mut self, path: &Path, target: &[u8], look: Look) -> Result<(), String> {
        self.0
            .symlink(path, target, meta(look))
            .map_err(|error| error.to_string())
    }

    fn hard_link(&mut self, path: &Path, target: &Path, look: Look) -> Result<(), String> {
        self.0
            .hard_link(path, target, meta(look))
            .map_err(|error| error.to_string())
    }
}

/// Files of a build belong to root unless the Dockerfile says otherwise.
fn meta(look: Look) -> Meta {
    Meta {
        mode: look.mode,
        uid: 0,
        gid: 0,
        mtime_ns: look.mtime_ns,
        ..Meta::default()
    }
}

/// Pieces that come over a channel, as blocking code reads them.
struct Pieces {
    inbox: mpsc::Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    used: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used == self.piece.len() {
            match self.inbox.blocking_recv() {
                None => return Ok(0),
                Some(piece) => (self.piece, self.used) = (piece?, 0),
            }
        }
        let read = buffer.len().min(self.piece.len() - self.used);
        buffer[..read].copy_from_slice(&self.piece[self.used..self.used + read]);
        self.used += read;
        Ok(read)
    }
}

fn internal(error: &dyn std::error::Error) -> Status {
    Status::new(Code::Unknown, error.to_string())
}
