//! Images travel between Hull and what others wrote, both ways: skopeo, podman, `docker`, and Debian's
//! docker-registry.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use hull_testkit::registry::ADDRESS;
use hull_testkit::{Client, Daemon, Registry, Running, places, until, words};

/// Where Debian's registry listens.
const PEER: &str = "localhost:5002";

/// Runs a foreign program beside the daemon; it must succeed.
#[track_caller]
fn ok(command: &mut Command) -> String {
    let output: Output = command.output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
    stdout.trim_end().to_owned()
}

/// A command in the daemon's network namespace, with nothing of the user's own settings.
fn beside(daemon: &Daemon, program: &str) -> Command {
    let mut command = daemon.namespace().command("timeout");
    command
        .args(["120", program])
        .env("HOME", daemon.directory());
    command
}

#[track_caller]
fn skopeo(daemon: &Daemon, words: &str) -> String {
    let mut command = beside(daemon, "skopeo");
    command.arg("--insecure-policy").args(words::split(words));
    ok(&mut command)
}

#[track_caller]
fn line(daemon: &Daemon, client: Client, line: &str) -> String {
    let output = client.run(daemon, &words::split(line));
    assert_eq!(output.code, 0, "`{line}`: {output:?}");
    output.stdout.trim_end().to_owned()
}

fn id(daemon: &Daemon, image: &str) -> String {
    line(
        daemon,
        Client::Hull,
        &format!("inspect --format '{{{{.Id}}}}' {image}"),
    )
}

fn with_busybox() -> Daemon {
    let daemon = Daemon::start();
    daemon.load("busybox");
    daemon
}

#[track_caller]
fn runs(daemon: &Daemon, image: &str) {
    let said = line(
        daemon,
        Client::Docker,
        &format!("run --rm {image} echo works"),
    );
    assert_eq!(said, "works", "{image}");
}

#[test]
fn skopeo_copies_to_and_from_our_registry() {
    let daemon = with_busybox();
    let registry = Registry::start(&daemon);
    line(
        &daemon,
        Client::Hull,
        &format!("tag busybox {ADDRESS}/box:ours"),
    );
    line(&daemon, Client::Hull, &format!("push {ADDRESS}/box:ours"));
    let ours = id(&daemon, &format!("{ADDRESS}/box:ours"));
    // From ours into a directory, and from there to a new name; then within the registry.
    let layout = daemon.path("layout").display().to_string();
    skopeo(
        &daemon,
        &format!(
            "copy --preserve-digests --src-tls-verify=false docker://{ADDRESS}/box:ours oci:{layout}:box"
        ),
    );
    skopeo(
        &daemon,
        &format!(
            "copy --dest-tls-verify=false oci:{layout}:box docker://{ADDRESS}/team/box:theirs"
        ),
    );
    skopeo(
        &daemon,
        &format!(
            "copy --src-tls-verify=false --dest-tls-verify=false docker://{ADDRESS}/team/box:theirs docker://{ADDRESS}/else:where"
        ),
    );
    // As Docker's own archives come, and with a manifest of schema 2.
    let archive = places::image("busybox").display().to_string();
    skopeo(
        &daemon,
        &format!(
            "copy --format v2s2 --dest-tls-verify=false docker-archive:{archive} docker://{ADDRESS}/schema:2"
        ),
    );
    let tags = skopeo(
        &daemon,
        &format!("list-tags --tls-verify=false docker://{ADDRESS}/team/box"),
    );
    assert!(tags.contains("theirs"), "{tags}");
    line(
        &daemon,
        Client::Hull,
        &format!("rmi busybox {ADDRESS}/box:ours"),
    );
    for name in ["team/box:theirs", "else:where", "schema:2"] {
        let image = format!("{ADDRESS}/{name}");
        line(&daemon, Client::Docker, &format!("pull {image}"));
        runs(&daemon, &image);
    }
    assert_eq!(
        id(&daemon, &format!("{ADDRESS}/team/box:theirs")),
        ours,
        "nothing was made anew on the way"
    );
    let digest = skopeo(
        &daemon,
        &format!(
            "inspect --tls-verify=false --format '{{{{.Digest}}}}' docker://{ADDRESS}/else:where"
        ),
    );
    assert_eq!(digest, ours);
    what_it_deletes_is_gone_for_us(&daemon);
    drop(registry);
    daemon.finish();
}

fn what_it_deletes_is_gone_for_us(daemon: &Daemon) {
    skopeo(
        daemon,
        &format!("delete --tls-verify=false docker://{ADDRESS}/schema:2"),
    );
    line(daemon, Client::Hull, &format!("rmi {ADDRESS}/schema:2"));
    let output = daemon.hull(&["pull", &format!("{ADDRESS}/schema:2")]);
    assert!(
        output.code == 1 && output.stderr.contains("not found"),
        "{output:?}"
    );
}

#[test]
fn skopeo_reads_and_writes_the_store_itself() {
    let mut daemon = with_busybox();
    let registry = Registry::start(&daemon);
    let store = daemon.path("data/image").display().to_string();
    // While the daemon runs it is read.
    skopeo(
        &daemon,
        &format!(
            "copy --preserve-digests --dest-tls-verify=false oci:{store}:busybox:latest docker://{ADDRESS}/box:1"
        ),
    );
    let ours = id(&daemon, "busybox");
    line(&daemon, Client::Docker, &format!("pull {ADDRESS}/box:1"));
    assert_eq!(id(&daemon, &format!("{ADDRESS}/box:1")), ours);
    line(
        &daemon,
        Client::Docker,
        &format!("rmi busybox {ADDRESS}/box:1"),
    );
    assert_eq!(line(&daemon, Client::Docker, "images -aq"), "");
    // While it does not, it is written.
    daemon.stop();
    skopeo(
        &daemon,
        &format!("copy --src-tls-verify=false docker://{ADDRESS}/box:1 oci:{store}:came/in:1"),
    );
    daemon.launch();
    // It may pack layers anew: the image is the same, its manifest is skopeo's.
    runs(&daemon, "came/in:1");
    let found = line(&daemon, Client::Hull, "system fsck");
    assert!(
        !found.contains("damaged") && !found.contains("missing"),
        "{found}"
    );
    drop(registry);
    daemon.finish();
}

#[test]
fn podman_pushes_to_and_pulls_from_our_registry() {
    let daemon = with_busybox();
    let registry = Registry::start(&daemon);
    let directory = daemon.path("podman");
    let podman = |words: &str| {
        let mut command = daemon.namespace().command("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "timeout",
            "120",
            "podman",
        ]);
        for (option, name) in [
            ("--root", "root"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            command.arg(option).arg(directory.join(name));
        }
        command
            .args(["--storage-driver", "vfs", "--events-backend", "none"])
            .args(["--cgroup-manager", "cgroupfs", "--log-level", "error"])
            .args(words::split(words))
            .env("HOME", daemon.directory());
        ok(&mut command)
    };
    line(
        &daemon,
        Client::Hull,
        &format!("tag busybox {ADDRESS}/box:ours"),
    );
    line(&daemon, Client::Hull, &format!("push {ADDRESS}/box:ours"));
    podman(&format!("pull -q --tls-verify=false {ADDRESS}/box:ours"));
    let command = podman(&format!(
        "image inspect --format '{{{{.Config.Cmd}}}}' {ADDRESS}/box:ours"
    ));
    assert_eq!(command, "[sh]");
    podman(&format!("tag {ADDRESS}/box:ours {ADDRESS}/box:theirs"));
    podman(&format!("push -q --tls-verify=false {ADDRESS}/box:theirs"));
    podman(&format!(
        "push -q --tls-verify=false --format v2s2 {ADDRESS}/box:theirs docker://{ADDRESS}/other:2"
    ));
    line(
        &daemon,
        Client::Docker,
        &format!("rmi busybox {ADDRESS}/box:ours"),
    );
    for name in ["box:theirs", "other:2"] {
        let image = format!("{ADDRESS}/{name}");
        line(&daemon, Client::Docker, &format!("pull {image}"));
        runs(&daemon, &image);
    }
    drop(registry);
    daemon.finish();
}

/// Debian's docker-registry beside the daemon.
struct Peer {
    _server: Running,
}

impl Peer {
    #[track_caller]
    fn start(daemon: &Daemon) -> Self {
        let root = daemon.path("peer");
        let settings: PathBuf = daemon.path("peer.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '127.0.0.1:5002'}}\n",
            root.display()
        );
        fs::write(&settings, text).unwrap();
        let mut command = daemon.namespace().command(places::docker_registry());
        command
            .arg("serve")
            .arg(settings)
            .env("OTEL_TRACES_EXPORTER", "none");
        let server = Running::spawn(&mut command);
        until("Debian's registry answers", || {
            daemon
                .namespace()
                .fetch(&format!("http://{PEER}/v2/"))
                .is_some()
        });
        Self { _server: server }
    }
}

#[test]
fn debians_registry_takes_and_gives_our_images() {
    let daemon = with_busybox();
    let peer = Peer::start(&daemon);
    for (client, name) in [(Client::Docker, "docker"), (Client::Hull, "hull")] {
        let image = format!("{PEER}/team/{name}:1");
        line(&daemon, client, &format!("tag busybox {image}"));
        let pushed = line(&daemon, client, &format!("push {image}"));
        assert!(pushed.contains("digest: sha256:"), "{pushed}");
        let before = id(&daemon, &image);
        line(&daemon, client, &format!("rmi {image}"));
        line(&daemon, client, &format!("pull {image}"));
        assert_eq!(id(&daemon, &image), before);
        runs(&daemon, &image);
    }
    // A layer of one repository is mounted into another: its bytes are not sent again.
    line(
        &daemon,
        Client::Hull,
        &format!("tag busybox {PEER}/mounted:1"),
    );
    let pushed = line(&daemon, Client::Hull, &format!("push {PEER}/mounted:1"));
    assert!(pushed.contains(": Mounted from team/"), "{pushed}");
    // More than one chunk goes in pieces, and comes back whole.
    line(
        &daemon,
        Client::Hull,
        "run --name big busybox sh -c 'head -c 70000000 /dev/urandom > /big; sha256sum < /big'",
    );
    line(&daemon, Client::Hull, &format!("commit big {PEER}/big:1"));
    let sum = line(&daemon, Client::Hull, "logs big");
    line(&daemon, Client::Hull, &format!("push {PEER}/big:1"));
    line(&daemon, Client::Hull, "rm big");
    line(&daemon, Client::Hull, &format!("rmi {PEER}/big:1"));
    let again = line(
        &daemon,
        Client::Hull,
        &format!("run --rm {PEER}/big:1 sh -c 'sha256sum < /big'"),
    );
    assert_eq!(again, sum);
    drop(peer);
    daemon.finish();
}

#[test]
fn what_is_about_an_image_is_listed_by_debians_registry_too() {
    let daemon = with_busybox();
    let registry = Registry::start(&daemon);
    let peer = Peer::start(&daemon);
    for address in [ADDRESS, PEER] {
        line(
            &daemon,
            Client::Hull,
            &format!("tag busybox {address}/box:1"),
        );
        line(&daemon, Client::Hull, &format!("push {address}/box:1"));
    }
    // A manifest about the image comes in by a layout, as other tools write it.
    let subject = id(&daemon, "busybox");
    let layout = layout_about(&daemon, &subject);
    line(
        &daemon,
        Client::Hull,
        &format!("load -i {}", layout.display()),
    );
    for address in [ADDRESS, PEER] {
        line(
            &daemon,
            Client::Hull,
            &format!("tag about:1 {address}/box:about"),
        );
        line(&daemon, Client::Hull, &format!("push {address}/box:about"));
    }
    let fetch = |url: String| {
        let mut command = beside(&daemon, "curl");
        command.args([
            "-sf",
            "--noproxy",
            "*",
            "-H",
            "Accept: application/vnd.oci.image.index.v1+json",
            &url,
        ]);
        let text = ok(&mut command);
        let index: serde_json::Value = serde_json::from_str(&text).unwrap();
        index["manifests"].clone()
    };
    let ours = fetch(format!("http://{ADDRESS}/v2/box/referrers/{subject}"));
    let theirs = fetch(format!(
        "http://{PEER}/v2/box/manifests/{}",
        subject.replace(':', "-")
    ));
    assert_eq!(ours.as_array().map(Vec::len), Some(1), "{ours}");
    assert_eq!(ours, theirs);
    drop(peer);
    drop(registry);
    daemon.finish();
}

/// An archive of a layout with one artifact, named `about:1`, whose subject is an image.
fn layout_about(daemon: &Daemon, subject: &str) -> PathBuf {
    let directory = daemon.path("about");
    fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
    let put = |bytes: &str| {
        let sum = daemon.path("about/blob");
        fs::write(&sum, bytes).unwrap();
        let text = ok(Command::new("sha256sum").arg(&sum));
        let hex = text.split(' ').next().unwrap().to_owned();
        fs::rename(&sum, directory.join("blobs/sha256").join(&hex)).unwrap();
        serde_json::json!({"digest": format!("sha256:{hex}"), "size": bytes.len()})
    };
    let typed = |mut descriptor: serde_json::Value, media_type: &str| {
        descriptor["mediaType"] = media_type.into();
        descriptor
    };
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let image: serde_json::Value = serde_json::from_str(&line(
        daemon,
        Client::Hull,
        "image inspect --format '{{json .Descriptor}}' busybox",
    ))
    .unwrap();
    let config = typed(put("{}"), "application/vnd.oci.empty.v1+json");
    let layer = typed(put("good work"), "text/plain");
    let document = serde_json::json!({
        "schemaVersion": 2, "mediaType": manifest, "artifactType": "application/vnd.example.praise",
        "config": config, "layers": [layer], "subject": {"mediaType": image["mediaType"], "digest": subject, "size": image["size"]},
    });
    let mut descriptor = typed(put(&document.to_string()), manifest);
    descriptor["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "about:1", "io.containerd.image.name": "docker.io/library/about:1"});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [descriptor]});
    fs::write(directory.join("index.json"), index.to_string()).unwrap();
    fs::write(
        directory.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    let archive = daemon.path("about.tar");
    ok(Command::new("tar")
        .arg("-C")
        .arg(&directory)
        .arg("-cf")
        .arg(&archive)
        .arg("."));
    archive
}
