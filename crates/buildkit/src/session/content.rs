//! A client's stores of blobs: OCI layouts on its disk that images and caches are read from and
//! written to, by digest.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::registry::Session;
use crate::{
    grpc::{Code, Incoming, Status},
    proto::content::{
        ReadContentRequest, ReadContentResponse, WriteAction, WriteContentRequest,
        WriteContentResponse,
    },
};

const READ: &str = "/containerd.services.content.v1.Content/Read";
const WRITE: &str = "/containerd.services.content.v1.Content/Write";

/// Which of the client's stores is meant.
const STORE: &str = "buildkit-attachable-store-id";

/// Written at once.
const PIECE_BYTES: usize = 1 << 20;

/// One of a client's stores.
#[derive(Debug, Clone, Copy)]
pub struct Store<'a> {
    session: &'a Session,
    id: &'a str,
}

/// A blob under way.
#[derive(Debug)]
pub struct Reading(Incoming);

impl Session {
    /// The store of that id: `oci:NAME`, `local:PATH` or `export`.
    pub fn store<'a>(&'a self, id: &'a str) -> Store<'a> {
        Store { session: self, id }
    }
}

impl Store<'_> {
    /// Begins to read a blob.
    pub async fn read(&self, digest: &str) -> Result<Reading, Status> {
        let (mut outgoing, incoming) = self.open(READ).await?;
        let request = ReadContentRequest {
            digest: digest.to_owned(),
            ..ReadContentRequest::default()
        };
        outgoing.send(&request).await?;
        outgoing.finish();
        Ok(Reading(incoming))
    }

    /// A small blob, such as a manifest.
    pub async fn read_all(&self, digest: &str, bytes_max: usize) -> Result<Vec<u8>, Status> {
        let mut reading = self.read(digest).await?;
        let mut content = Vec::new();
        while let Some(piece) = reading.next().await? {
            content.extend_from_slice(&piece);
            if content.len() > bytes_max {
                let message = format!("{digest} is larger than {bytes_max} bytes");
                return Err(Status::new(Code::ResourceExhausted, message));
            }
        }
        Ok(content)
    }

    /// Writes a blob, unless the client has it.
    pub async fn write(
        &self,
        digest: &str,
        size: u64,
        mut pieces: impl FnMut() -> std::io::Result<Option<Bytes>> + Send,
    ) -> Result<(), Status> {
        let (mut outgoing, mut incoming) = self.open(WRITE).await?;
        let total = i64::try_from(size).unwrap_or(i64::MAX);
        let mut request = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: format!("hull-{digest}"),
            total,
            expected: digest.to_owned(),
            ..WriteContentRequest::default()
        };
        outgoing.send(&request).await?;
        match incoming.only::<WriteContentResponse>().await {
            Ok(_) => {}
            Err(status) if status.code == Code::AlreadyExists => return Ok(()),
            Err(status) => return Err(status),
        }
        let broken = |error: std::io::Error| Status::new(Code::Unknown, error.to_string());
        request.action = WriteAction::Write.into();
        while let Some(bytes) = pieces().map_err(broken)? {
            for piece in bytes.chunks(PIECE_BYTES) {
                request.data = piece.to_vec();
                outgoing.send(&request).await?;
                let written = incoming.only::<WriteContentResponse>().await?;
                request.offset = written.offset;
            }
        }
        request.action = WriteAction::Commit.into();
        request.data = Vec::new();
        request.offset = total;
        outgoing.send(&request).await?;
        outgoing.finish();
        match incoming.only::<WriteContentResponse>().await {
            Ok(_) => Ok(()),
            Err(status) if status.code == Code::AlreadyExists => Ok(()),
            Err(status) => Err(status),
        }
    }

    async fn open(&self, method: &str) -> Result<(crate::grpc::Outgoing, Incoming), Status> {
        if !self.session.serves(method) {
            return Err(Status::new(
                Code::Unknown,
                "the client offers no store of blobs",
            ));
        }
        let mut metadata = HeaderMap::new();
        let id = HeaderValue::from_str(self.id);
        let id = id.map_err(|_| Status::invalid(format!("{:?} is no store's name", self.id)))?;
        metadata.insert(STORE, id);
        self.session.channel().open(method, metadata).await
    }
}

impl Reading {
    /// The next piece; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Status> {
        let piece = self.0.next::<ReadContentResponse>().await?;
        Ok(piece.map(|piece| piece.data))
    }
}
