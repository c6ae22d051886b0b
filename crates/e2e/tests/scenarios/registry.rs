//! `pull`, `push`, `login`, `search`: images that travel.

use hull_testkit::registry::ADDRESS;
use hull_testkit::{Client, Daemon, Registry, scenario};

/// The user `me` with the password `secret`.
const USERS: &str = "me:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

scenario!(an_image_goes_to_a_registry_and_comes_back(scene) {
    let _registry = Registry::start(&scene.daemon);
    scene.ok("tag busybox localhost:5000/team/box:1");
    let pushed = scene.ok("push localhost:5000/team/box:1");
    assert!(pushed.starts_with("The push refers to repository [localhost:5000/team/box]"), "{pushed}");
    assert!(pushed.contains(": Pushed") && pushed.contains("1: digest: sha256:"), "{pushed}");
    let again = scene.ok("push localhost:5000/team/box:1");
    assert!(again.contains(": Layer already exists") && !again.contains(": Pushed"), "{again}");
    let id = scene.ok("inspect --format '{{.Id}}' busybox");
    scene.ok("rmi busybox localhost:5000/team/box:1");
    let pulled = scene.ok("pull localhost:5000/team/box:1");
    assert!(pulled.starts_with("1: Pulling from team/box"), "{pulled}");
    for text in [": Pulling fs layer", ": Download complete", ": Pull complete", "Digest: sha256:",
                 "Status: Downloaded newer image for localhost:5000/team/box:1"] {
        assert!(pulled.contains(text), "{text} is missing: {pulled}");
    }
    assert_eq!(pulled.lines().last(), Some("localhost:5000/team/box:1"));
    assert_eq!(scene.ok("inspect --format '{{.Id}}' localhost:5000/team/box:1"), id);
    let again = scene.ok("pull localhost:5000/team/box:1");
    assert!(again.contains("Status: Image is up to date for localhost:5000/team/box:1"), "{again}");
    assert_eq!(scene.ok("run --rm localhost:5000/team/box:1 echo works"), "works");
});

scenario!(an_image_is_pulled_by_digest_quietly_and_with_all_its_tags(scene) {
    let _registry = Registry::start(&scene.daemon);
    for tag in ["1", "2"] {
        scene.ok(&format!("tag busybox localhost:5000/box:{tag}"));
    }
    scene.ok("push --all-tags localhost:5000/box");
    let digest = scene.ok("inspect --format '{{index .RepoDigests 0}}' localhost:5000/box:1");
    let digest = digest.split_once('@').unwrap().1.to_owned();
    scene.ok("rmi busybox localhost:5000/box:1 localhost:5000/box:2");
    assert_eq!(scene.ok(&format!("pull -q localhost:5000/box@{digest}")), format!("localhost:5000/box@{digest}"));
    assert_eq!(scene.ok(&format!("run --rm localhost:5000/box@{digest} echo works")), "works");
    scene.ok("pull --all-tags localhost:5000/box");
    let mut tags: Vec<_> = scene.ok("images --format '{{.Tag}}' localhost:5000/box").lines().map(str::to_owned).collect();
    tags.retain(|tag| tag != "<none>");
    tags.sort();
    assert_eq!(tags, ["1", "2"]);
    // A run pulls what is not here.
    scene.ok("rmi -f localhost:5000/box:1 localhost:5000/box:2");
    assert_eq!(scene.ok("run --rm localhost:5000/box:2 echo works"), "works");
});

scenario!(what_cannot_be_pulled_or_pushed_is_told(scene) {
    let _registry = Registry::start(&scene.daemon);
    let text = scene.fails(1, "pull localhost:5000/nosuch:1");
    assert!(text.contains("localhost:5000/nosuch:1: not found"), "{text}");
    let text = scene.fails(1, "pull localhost:5999/box");
    assert!(text.contains("connect: connection refused"), "{text}");
    let text = scene.fails(1, "push localhost:5000/nosuch:1");
    assert!(text.contains("An image does not exist locally with the tag: localhost:5000/nosuch"), "{text}");
    scene.ok("tag busybox localhost:5000/box");
    scene.ok("push localhost:5000/box");
    let text = scene.fails(1, "pull --platform linux/s390x localhost:5000/box");
    assert!(text.contains("no matching manifest for linux/s390x"), "{text}");
    let code = scene.run("run --rm localhost:5000/other echo x").code;
    assert_eq!(code, 125);
});

scenario!(a_registry_that_knows_its_users_is_logged_in_to(scene) {
    let users = scene.daemon.path("users");
    std::fs::write(&users, USERS).unwrap();
    for token in [None, Some("hull")] {
        let mut options = vec!["--htpasswd".to_owned(), users.display().to_string()];
        options.extend(token.into_iter().flat_map(|name| ["--token-service".to_owned(), name.to_owned()]));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let _registry = Registry::start_with(&scene.daemon, &options);
        scene.ok("tag busybox localhost:5000/box");
        let text = scene.fails(1, "push localhost:5000/box");
        assert!(text.contains("denied"), "{text}");
        let wrong = scene.fails(1, "login -u me -p wrong localhost:5000");
        assert!(wrong.contains("unauthorized: incorrect username or password") || wrong.contains("authentication required"), "{wrong}");
        let welcome = scene.ok("login -u me -p secret localhost:5000");
        assert!(welcome.contains("Login Succeeded"), "{welcome}");
        scene.ok("push localhost:5000/box");
        scene.ok("rmi localhost:5000/box");
        scene.ok("pull localhost:5000/box");
        assert_eq!(scene.ok("logout localhost:5000").lines().next(), Some("Removing login credentials for localhost:5000"));
        let text = scene.fails(1, "pull localhost:5000/box");
        assert!(text.contains("pull access denied for localhost:5000/box"), "{text}");
    }
});

/// What crosses the cable, by the registry's own count.
fn sent(registry: &Registry, daemon: &Daemon) -> u64 {
    registry.counter(daemon, "sent_bytes_total")
}

#[test]
fn an_image_travels_from_one_host_to_another_and_only_missing_layers_do() {
    let one = Daemon::start();
    one.load("busybox");
    let two = {
        let mut two = Daemon::prepare_in(
            one.namespace().neighbour(),
            &["--insecure-registry", "10.99.0.1:5000"],
        );
        two.launch();
        two
    };
    let registry = Registry::start(&one);
    let local = |line: &str| {
        let output = Client::Docker.run(&one, &hull_testkit::words::split(line));
        assert_eq!(output.code, 0, "`{line}` on the first host: {output:?}");
        output.stdout.trim_end().to_owned()
    };
    let remote = |line: &str| {
        let output = Client::Hull.run(&two, &hull_testkit::words::split(line));
        assert_eq!(output.code, 0, "`{line}` on the second host: {output:?}");
        output.stdout.trim_end().to_owned()
    };
    local(&format!("tag busybox {ADDRESS}/app:base"));
    local(&format!("push {ADDRESS}/app:base"));
    // A layer more, and that alone is sent.
    local("run --name box busybox sh -c 'head -c 300000 /dev/urandom > /etc/more'");
    local(&format!("commit box {ADDRESS}/app:more"));
    let before = registry.counter(&one, "received_bytes_total");
    local(&format!("push {ADDRESS}/app:more"));
    let received = registry.counter(&one, "received_bytes_total") - before;
    assert!(
        (300_000..400_000).contains(&received),
        "{received} bytes were sent for a layer of 300 kB"
    );

    assert_eq!(sent(&registry, &one), 0);
    remote("pull 10.99.0.1:5000/app:base");
    let base = sent(&registry, &one);
    assert!(base > 1_000_000, "the whole image came: {base} bytes");
    remote("pull 10.99.0.1:5000/app:more");
    let more = sent(&registry, &one) - base;
    assert!(
        (300_000..400_000).contains(&more),
        "{more} bytes came for a layer of 300 kB"
    );
    assert_eq!(
        remote("run --rm 10.99.0.1:5000/app:more sh -c 'wc -c < /etc/more'"),
        "300000"
    );

    let digest = remote("inspect --format '{{index .RepoDigests 0}}' 10.99.0.1:5000/app:more");
    let id = remote("inspect --format '{{.Id}}' 10.99.0.1:5000/app:more");
    assert_eq!(
        local(&format!(
            "inspect --format '{{{{.Id}}}}' {ADDRESS}/app:more"
        )),
        id
    );
    let before = sent(&registry, &one);
    remote(&format!("pull {digest}"));
    assert_eq!(remote(&format!("run --rm {digest} echo works")), "works");
    assert_eq!(
        sent(&registry, &one),
        before,
        "what is here does not come again"
    );
    two.finish();
    drop(registry);
    one.finish();
}
