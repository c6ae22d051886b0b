//! The messages, generated from BuildKit's own definitions by `bollard-buildkit-proto`, under the
//! names used here.

pub use bollard_buildkit_proto::{
    fsutil::types::{Packet, Stat, packet::PacketType},
    google::{
        protobuf::{Any, Timestamp},
        rpc::Status as RpcStatus,
    },
    health,
    moby::{
        buildkit::{
            secrets::v1 as secrets,
            v1 as control,
            v1::{apicaps, frontend as gateway, types as worker},
        },
        filesync::v1 as filesync,
        sshforward::v1 as ssh,
        upload::v1 as upload,
    },
    pb as llb,
};

/// containerd's service for blobs, as far as it is used. Written by hand after its public
/// definition: the generated crate leaves it out.
#[allow(missing_docs, reason = "the fields are the protocol's")]
pub mod content {
    /// Asks for a blob, from an offset, so many bytes; 0: all.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ReadContentRequest {
        #[prost(string, tag = "1")]
        pub digest: String,
        #[prost(int64, tag = "2")]
        pub offset: i64,
        #[prost(int64, tag = "3")]
        pub size: i64,
    }

    /// A piece of a blob.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ReadContentResponse {
        #[prost(int64, tag = "1")]
        pub offset: i64,
        #[prost(bytes = "vec", tag = "2")]
        pub data: Vec<u8>,
    }

    /// What to do with what is being written.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
    #[repr(i32)]
    pub enum WriteAction {
        /// Only tell how far it is.
        Stat = 0,
        /// Write the data.
        Write = 1,
        /// It is whole.
        Commit = 2,
    }

    /// A word on what is being written.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct WriteContentRequest {
        #[prost(enumeration = "WriteAction", tag = "1")]
        pub action: i32,
        #[prost(string, tag = "2")]
        pub r#ref: String,
        #[prost(int64, tag = "3")]
        pub total: i64,
        #[prost(string, tag = "4")]
        pub expected: String,
        #[prost(int64, tag = "5")]
        pub offset: i64,
        #[prost(bytes = "vec", tag = "6")]
        pub data: Vec<u8>,
    }

    /// How far it is.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct WriteContentResponse {
        #[prost(enumeration = "WriteAction", tag = "1")]
        pub action: i32,
        #[prost(int64, tag = "4")]
        pub offset: i64,
        #[prost(int64, tag = "5")]
        pub total: i64,
        #[prost(string, tag = "6")]
        pub digest: String,
    }
}
