//! The engine alone, on the real kernel: a container's life from create to remove.
//!
//! Each test runs in a network namespace of its own, and its threads with it. The shim must be
//! built before (`cargo build -p hull-shim`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs::File, future::Future, io::Read, os::fd::OwnedFd, path::Path, time::Duration};

use hull_engine::{
    Engine, Error,
    config::EngineConfig,
    container::{
        attach::AttachOptions,
        exec::{ExecOptions, ExecPhase, ExecStarted},
        remove::RemoveOptions,
        wait::WaitFor,
    },
    image::ImportOptions,
    logs::LogQuery,
    model::{
        Config, ContainerId, CreateContainer, HostConfig, IpcNamespace, LogConfig, NetworkMode,
    },
};
use hull_sys::namespace::{Namespaces, unshare};

fn config(directory: &Path) -> EngineConfig {
    EngineConfig {
        data_root: directory.join("data"),
        exec_root: directory.join("exec"),
        shim: hull_testkit::places::program("hull-shim"),
        network: hull_network::Config::default(),
        registries: hull_registry::Settings::default(),
        runtimes: Default::default(),
        default_runtime: String::new(),
        log: LogConfig {
            driver: "json-file".to_owned(),
            options: Default::default(),
        },
        ulimits: Vec::new(),
        shm_size: 64 << 20,
        init: false,
        cgroup_parent: format!("hull-engine-{}", ContainerId::random().short()),
        cgroup_namespace: None,
        ipc: IpcNamespace::Private,
        no_new_privileges: false,
        seccomp_profile: None,
        dns: Vec::new(),
        dns_search: Vec::new(),
        dns_options: Vec::new(),
        host_gateway: Vec::new(),
        cdi_directories: Vec::new(),
        storage_budget: None,
        build_cache: Vec::new(),
        labels: Vec::new(),
        plugins: Default::default(),
        plugin_answers_within: Duration::from_secs(5),
        shutdown_timeout: Duration::from_secs(15),
    }
}

/// Runs `scenario` with an engine that has a busybox image.
fn with_engine<F: Future<Output = ()>>(scenario: impl FnOnce(Engine) -> F) {
    let directory = tempfile::tempdir().unwrap();
    unshare(Namespaces::NETWORK).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let config = config(directory.path());
    let cgroup = config.cgroup_parent.clone();
    runtime.block_on(async {
        let engine = Engine::open(config).await.unwrap();
        let options = ImportOptions {
            reference: Some("busybox".into()),
            ..Default::default()
        };
        engine
            .image_import(busybox(directory.path()), options)
            .await
            .unwrap();
        scenario(engine.clone()).await;
        for record in engine.containers() {
            let options = RemoveOptions {
                force: true,
                volumes: true,
            };
            engine.remove(record.id.as_str(), options).await.unwrap();
        }
        engine.close().await;
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    for group in hull_testkit::host::cgroups(&cgroup) {
        std::fs::remove_dir(group).unwrap();
    }
}

/// A tar archive of a tiny root file system.
fn busybox(directory: &Path) -> OwnedFd {
    let path = directory.join("busybox.tar");
    let mut tar = tar::Builder::new(File::create(&path).unwrap());
    tar.append_path_with_name("/bin/busybox", "bin/busybox")
        .unwrap();
    for applet in ["sh", "echo", "true", "sleep", "cat", "ls", "id"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")
            .unwrap();
    }
    tar.into_inner().unwrap();
    File::open(path).unwrap().into()
}

fn order(network: NetworkMode, words: &[&str]) -> CreateContainer {
    CreateContainer {
        name: None,
        platform: None,
        config: Config {
            image: "busybox".to_owned(),
            cmd: Some(words.iter().map(|word| (*word).to_owned()).collect()),
            ..Config::default()
        },
        host: HostConfig {
            network_mode: network,
            ..HostConfig::default()
        },
        endpoints: Default::default(),
    }
}

async fn run(engine: &Engine, order: CreateContainer) -> (String, i32) {
    let id = engine.create(order).await.unwrap().id.to_string();
    let waiting = engine.wait(&id, WaitFor::NextExit).unwrap();
    engine.start(&id).await.unwrap();
    (id, waiting.ended().await.unwrap().code)
}

async fn output(engine: &Engine, id: &str) -> String {
    let mut logs = engine.logs(id, LogQuery::default()).await.unwrap();
    let mut text = Vec::new();
    while let Some(batch) = logs.next().await {
        batch
            .unwrap()
            .into_iter()
            .for_each(|record| text.extend(record.bytes));
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_container_runs_and_its_code_and_output_are_kept() {
    with_engine(async |engine| {
        for network in [NetworkMode::None, NetworkMode::Host, NetworkMode::Bridge] {
            let words = ["sh", "-c", "echo hello; exit 7"];
            let (id, code) = run(&engine, order(network, &words)).await;
            assert_eq!(code, 7);
            assert_eq!(output(&engine, &id).await, "hello\n");
            assert_eq!(engine.container(&id).unwrap().state.word(), "exited");
        }
    });
}

#[test]
fn a_program_that_is_not_there_gives_127() {
    with_engine(async |engine| {
        let id = engine
            .create(order(NetworkMode::None, &["nope"]))
            .await
            .unwrap()
            .id;
        let error = engine.start(id.as_str()).await.unwrap_err();
        let Error::Start { code, message } = error else {
            panic!("{error}")
        };
        assert_eq!(code, 127, "{message}");
        assert!(
            message.contains("executable file not found in $PATH"),
            "{message}"
        );
        assert_eq!(
            engine.container(id.as_str()).unwrap().state.word(),
            "created"
        );
    });
}

#[test]
fn attach_before_the_start_misses_nothing() {
    with_engine(async |engine| {
        let order = order(NetworkMode::None, &["echo", "first"]);
        let id = engine.create(order).await.unwrap().id.to_string();
        let options = AttachOptions {
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let attached = engine.attach(&id, &options).await.unwrap();
        engine.start(&id).await.unwrap();
        let mut stream = attached.stream().await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"\x01\0\0\0\0\0\0\x06first\n");
    });
}

#[test]
fn exec_stop_and_remove() {
    with_engine(async |engine| {
        let order = order(NetworkMode::None, &["sleep", "600"]);
        let id = engine.create(order).await.unwrap().id.to_string();
        engine.start(&id).await.unwrap();
        let options = ExecOptions {
            command: vec!["sh".into(), "-c".into(), "echo in; exit 3".into()],
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let exec = engine.exec_create(&id, options).unwrap().to_string();
        let started = engine.exec_start(&exec, false, None).await.unwrap();
        let ExecStarted::Attached { mut stream, .. } = started else {
            panic!("{started:?}")
        };
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"\x01\0\0\0\0\0\0\x03in\n");
        let ended = || matches!(engine.exec_inspect(&exec), Ok(exec) if matches!(exec.phase, ExecPhase::Ended { code: 3, .. }));
        hull_testkit::wait::until("the exec's exit", ended);
        assert!(engine.stats(&id).await.unwrap().read_ns > 0);
        assert_eq!(engine.top(&id, "").await.unwrap().processes.len(), 1);
        engine.pause(&id).await.unwrap();
        assert_eq!(engine.container(&id).unwrap().state.word(), "paused");
        engine.unpause(&id).await.unwrap();
        engine.stop(&id, None, Some(0)).await.unwrap();
        assert_eq!(
            engine.container(&id).unwrap().state.exit().unwrap().code,
            137
        );
        engine.remove(&id, RemoveOptions::default()).await.unwrap();
        assert!(matches!(
            engine.container(&id),
            Err(Error::NoSuchContainer(_))
        ));
    });
}
