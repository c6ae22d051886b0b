//! bollard, the Rust client.

use std::future::Future;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions, StatsOptionsBuilder,
    StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::{StreamExt, TryStreamExt};
use hull_testkit::{Client, Scene};
use tokio::io::AsyncWriteExt;

/// Plays a scenario with a connection to a fresh daemon.
#[track_caller]
fn play<F: Future<Output = ()>>(scenario: impl FnOnce(Docker) -> F) {
    Scene::play(Client::Docker, |scene| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let docker = Docker::connect_with_unix(
            scene.daemon.socket().to_str().unwrap(),
            60,
            API_DEFAULT_VERSION,
        )
        .unwrap();
        runtime.block_on(scenario(docker));
    });
}

async fn create(docker: &Docker, name: &str, command: &[&str], stdin: bool) {
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let body = ContainerCreateBody {
        image: Some("busybox".into()),
        cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
        open_stdin: Some(stdin),
        stdin_once: Some(stdin),
        attach_stdin: Some(stdin),
        host_config: Some(HostConfig {
            memory: Some(64 << 20),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    docker
        .create_container(Some(options), body)
        .await
        .expect("is created");
}

async fn start(docker: &Docker, name: &str) {
    docker
        .start_container(name, None::<StartContainerOptions>)
        .await
        .expect("starts");
}

async fn text(output: impl StreamExt<Item = Result<LogOutput, bollard::errors::Error>>) -> String {
    let parts: Vec<_> = output.try_collect().await.expect("a whole stream");
    parts.iter().map(LogOutput::to_string).collect()
}

#[test]
fn it_negotiates_lists_and_describes() {
    play(|docker| async move {
        let docker = docker
            .negotiate_version()
            .await
            .expect("agrees on a version");
        assert_eq!(docker.ping().await.expect("answers"), "OK");
        create(&docker, "box", &["sleep", "1000"], false).await;
        start(&docker, "box").await;
        let list = ListContainersOptionsBuilder::default().all(true).build();
        let all = docker.list_containers(Some(list)).await.expect("lists");
        assert_eq!(
            all[0].names.as_deref(),
            Some(["/box".to_owned()].as_slice())
        );
        let it = docker
            .inspect_container("box", None)
            .await
            .expect("describes");
        assert_eq!(it.state.and_then(|state| state.running), Some(true));
        assert_eq!(
            docker.info().await.expect("tells").containers_running,
            Some(1)
        );
        let once = StatsOptionsBuilder::default().stream(false).build();
        let stats = docker
            .stats("box", Some(once))
            .next()
            .await
            .expect("one sample")
            .expect("a sample");
        assert_eq!(
            stats.memory_stats.and_then(|memory| memory.limit),
            Some(64 << 20)
        );
    });
}

#[test]
fn it_attaches_writes_half_closes_and_waits() {
    play(|docker| async move {
        create(&docker, "box", &["sh", "-c", "cat; echo end; exit 6"], true).await;
        let options = AttachContainerOptionsBuilder::default()
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .stream(true)
            .build();
        let mut attached = docker
            .attach_container("box", Some(options))
            .await
            .expect("attaches");
        start(&docker, "box").await;
        attached
            .input
            .write_all(b"hello\n")
            .await
            .expect("takes input");
        attached.input.shutdown().await.expect("half-closes");
        assert_eq!(text(attached.output).await, "hello\nend\n");
        let wait = WaitContainerOptionsBuilder::default()
            .condition("not-running")
            .build();
        let ended = docker
            .wait_container("box", Some(wait))
            .next()
            .await
            .expect("an answer");
        let Err(bollard::errors::Error::DockerContainerWaitError { code, .. }) = ended else {
            panic!("{ended:?}")
        };
        assert_eq!(code, 6);
    });
}

#[test]
fn it_runs_beside_reads_logs_and_stops() {
    play(|docker| async move {
        create(
            &docker,
            "box",
            &["sh", "-c", "echo one; echo two; exec sleep 1000"],
            false,
        )
        .await;
        start(&docker, "box").await;
        let config = CreateExecOptions {
            cmd: Some(vec!["sh", "-c", "echo beside; exit 3"]),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let exec = docker.create_exec("box", config).await.expect("is made");
        let StartExecResults::Attached { output, .. } =
            docker.start_exec(&exec.id, None).await.expect("runs")
        else {
            panic!("not attached");
        };
        assert_eq!(text(output).await, "beside\n");
        assert_eq!(
            docker
                .inspect_exec(&exec.id)
                .await
                .expect("describes")
                .exit_code,
            Some(3)
        );
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .build();
        assert_eq!(text(docker.logs("box", Some(options))).await, "one\ntwo\n");
        docker
            .stop_container(
                "box",
                Some(StopContainerOptionsBuilder::default().t(0).build()),
            )
            .await
            .expect("stops");
        let options = RemoveContainerOptionsBuilder::default().v(true).build();
        docker
            .remove_container("box", Some(options))
            .await
            .expect("is removed");
        let gone = docker
            .inspect_container("box", None)
            .await
            .expect_err("is gone");
        let bollard::errors::Error::DockerResponseServerError {
            status_code,
            message,
        } = gone
        else {
            panic!("{gone:?}")
        };
        assert_eq!(
            (status_code, message.as_str()),
            (404, "No such container: box")
        );
    });
}

#[test]
fn it_lists_tags_and_saves_images() {
    play(|docker| async move {
        let images = docker
            .list_images(None::<bollard::query_parameters::ListImagesOptions>)
            .await
            .expect("lists");
        assert_eq!(images[0].repo_tags, ["busybox:latest"]);
        let options = bollard::query_parameters::TagImageOptionsBuilder::default()
            .repo("mine")
            .tag("1")
            .build();
        docker
            .tag_image("busybox", Some(options))
            .await
            .expect("is tagged");
        let id = docker.inspect_image("mine:1").await.expect("describes").id;
        assert_eq!(id.as_deref(), Some(images[0].id.as_str()));
        let saved: Vec<_> = docker
            .export_image("mine:1")
            .try_collect()
            .await
            .expect("is saved");
        assert!(saved.iter().map(bytes::Bytes::len).sum::<usize>() > 1_000_000);
    });
}
