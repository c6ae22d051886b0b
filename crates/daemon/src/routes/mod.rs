//! The operations: parse the request, call the engine's verb, convert what it gives.

mod archive;
mod build;
mod buildkit;
mod container;
mod disk;
mod exec;
mod image;
mod manifest;
mod network;
mod project;
mod registry;
mod select;
mod streams;
mod system;
mod volume;
mod volume_files;

pub(crate) use build::Builds;
pub(crate) use buildkit::direct as buildkit_direct;

use http::StatusCode;

use crate::http::{
    answer::{Failure, Outcome, empty, json},
    body::discard,
    request::Request,
    router::Op,
};

/// Docker's words of a daemon that is in no swarm.
const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm \
                        join\" to connect this node to swarm and try again.";

/// Carries an operation out.
#[expect(
    clippy::too_many_lines,
    reason = "a table: one line for each operation, or kind of them"
)]
pub(crate) async fn perform(op: Op, request: Request) -> Outcome {
    match op {
        Op::Ping => system::ping(),
        Op::PingHead => system::ping_head(),
        Op::Version => system::version(request).await,
        Op::Info => system::info(request).await,
        Op::Events => system::events(request).await,
        Op::DiskAccount | Op::Fsck => disk::perform(op, request).await,
        Op::ProjectHold => project::hold(&request),
        Op::DiskUsage => system::disk_usage(request).await,
        Op::Options => Ok(empty(StatusCode::OK)),
        Op::ContainerList => container::list(request).await,
        Op::ContainerCreate => container::create(request).await,
        Op::ContainerInspect => container::inspect(request).await,
        Op::ContainerTop => container::top(request).await,
        Op::ContainerLogs => streams::logs(request).await,
        Op::ContainerChanges => archive::changes(request).await,
        Op::ContainerExport => archive::export(request).await,
        Op::ContainerStats => streams::stats(request).await,
        Op::ContainerResize => container::resize(request).await,
        Op::ContainerStart => container::start(request).await,
        Op::ContainerStop => container::stop(request).await,
        Op::ContainerRestart => container::restart(request).await,
        Op::ContainerKill => container::kill(request).await,
        Op::ContainerUpdate => container::update(request).await,
        Op::ContainerRename => container::rename(request).await,
        Op::ContainerPause => container::pause(request).await,
        Op::ContainerUnpause => container::unpause(request).await,
        Op::ContainerAttach => streams::attach(request).await,
        Op::ContainerAttachSocket => streams::attach_socket(request).await,
        Op::ContainerWait => streams::wait(request),
        Op::ContainerRemove => container::remove(request).await,
        Op::ArchiveStat => archive::stat(request).await,
        Op::ArchiveGet => archive::get(request).await,
        Op::ArchivePut => archive::put(request).await,
        Op::ContainerSeal | Op::ContainerSealed | Op::ContainerSealCompare => {
            archive::sealed(op, request).await
        }
        Op::ContainerPrune => container::prune(request).await,
        Op::Commit => image::commit(request).await,
        Op::ExecCreate => exec::create(request).await,
        Op::ExecStart => exec::start(request).await,
        Op::ExecResize => exec::resize(request).await,
        Op::ExecInspect => exec::inspect(&request),
        Op::ImageList => image::list(request).await,
        Op::ImageCreate => image::create(request).await,
        Op::ImageInspect => image::inspect(request).await,
        Op::ImageHistory => image::history(request).await,
        Op::ImageTag => image::tag(request).await,
        Op::ImageRemove => image::remove(request).await,
        Op::ImageSave | Op::ImageSaveMany => image::save(request).await,
        Op::ImageLoad => image::load(request).await,
        Op::ImageAttestations => image::attestations(request).await,
        Op::Manifest(op) => manifest::perform(op, request).await,
        Op::ImagePrune => image::prune(request).await,
        Op::Registry(op) => registry::perform(op, request).await,
        Op::NetworkList => network::list(&request),
        Op::NetworkInspect => network::inspect(&request),
        Op::NetworkCreate => network::create(request).await,
        Op::NetworkConnect => network::connect(request).await,
        Op::NetworkDisconnect => network::disconnect(request).await,
        Op::NetworkRemove => network::remove(request).await,
        Op::NetworkPrune => network::prune(request).await,
        Op::Volume(op) => volume::perform(op, request).await,
        Op::Build(op) => build::perform(op, request).await,
        Op::Grpc => buildkit::grpc(&request).await,
        Op::Session => buildkit::session(&request).await,
        Op::PluginList => Ok(json(&[(); 0])),
        Op::NoSuchPlugin | Op::NoSwarm | Op::Absent(_) => Err(refused(op, request).await),
    }
}

/// What is refused whatever its body says is heard out all the same: who is still sending would not hear the answer.
async fn refused(op: Op, mut request: Request) -> Failure {
    discard(&mut request.body).await;
    match op {
        Op::Absent(what) => Failure::absent(what),
        Op::NoSuchPlugin => no_such_plugin(request.name()),
        _ => Failure::new(StatusCode::SERVICE_UNAVAILABLE, NO_SWARM),
    }
}

fn no_such_plugin(name: &str) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, format!("plugin {name:?} not found"))
}
