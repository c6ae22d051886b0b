//! `pull`, `push`, `login`, `search`: images that travel.

use std::fs;
use std::path::Path;
use std::process::Command;

use hull_testkit::registry::ADDRESS;
use hull_testkit::{Client, Daemon, Registry, Scene, places, scenario, until, words};

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

scenario!(credentials_that_hold_no_more_are_asked_for_again(scene) {
    let users = scene.daemon.path("users");
    fs::write(&users, USERS).unwrap();
    let users = users.display().to_string();
    let _registry = Registry::start_with(&scene.daemon, &["--htpasswd", &users]);
    // me:old
    let settings = r#"{"auths": {"localhost:5000": {"auth": "bWU6b2xk"}}}"#;
    fs::create_dir_all(scene.daemon.path("config")).unwrap();
    fs::write(scene.daemon.path("config/config.json"), settings).unwrap();
    // Without a terminal there is nobody to ask.
    scene.fails(1, "login localhost:5000");
    let mut terminal = scene.terminal("login localhost:5000");
    terminal.expect("Stored credentials invalid or expired");
    terminal.expect("Username (me): ");
    terminal.line("");
    terminal.expect("Password: ");
    terminal.line("secret");
    terminal.expect("Login Succeeded");
    assert_eq!(terminal.wait(), 0);
});

// As Docker's guide to registries makes one: it calls itself an authority.
scenario!(a_certificate_that_a_registry_signed_for_itself_is_trusted_where_it_is_listed(scene) {
    scene.daemon.namespace().run("ip address add 10.98.0.1/32 dev lo");
    let directory = scene.daemon.path("keys");
    fs::create_dir(&directory).unwrap();
    let at = |name: &str| directory.join(name).display().to_string();
    let (cert, key) = (at("cert"), at("key"));
    let sign = || {
        let line = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=registry -addext subjectAltName=IP:10.98.0.1";
        let made = Command::new("openssl").args(line.split(' ')).args(["-keyout", &key, "-out", &cert]).output();
        assert!(made.unwrap().status.success());
    };
    sign();
    let _registry = Registry::start_with(&scene.daemon, &["--tls-cert", &cert, "--tls-key", &key]);
    let image = "10.98.0.1:5000/box:1";
    scene.ok(&format!("tag busybox {image}"));
    let push = format!("push {image}");
    let text = scene.fails(1, &push);
    assert!(text.contains("certificate"), "{text}");
    let trusted = scene.daemon.path("certs.d/10.98.0.1:5000");
    fs::create_dir_all(&trusted).unwrap();
    let list = || _ = fs::copy(&cert, trusted.join("ca.crt")).unwrap();
    list();
    scene.ok(&push);
    // Both are renewed, and nobody tells either program.
    sign();
    list();
    until("the new one is believed", || scene.run(&push).code == 0);
});

/// An authority, a registry it vouches for, a client it vouches for, and one that nobody knows.
fn make_certificates(directory: &Path) {
    let script = "set -e
        new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \"$@\"; }
        for name in ca stranger; do
            new -x509 -keyout $name.key -out $name.crt -days 2 -subj /CN=$name -addext basicConstraints=critical,CA:TRUE
        done
        sign() {
            new -keyout $1.key -out $1.csr -subj /CN=$1
            printf \"$3\" > ext
            openssl x509 -req -in $1.csr -CA $2.crt -CAkey $2.key -CAcreateserial -out $1.cert -days 2 -extfile ext
        }
        sign server ca 'subjectAltName=IP:10.98.0.1\\nextendedKeyUsage=serverAuth'
        sign client ca 'extendedKeyUsage=clientAuth'
        sign other stranger 'extendedKeyUsage=clientAuth'";
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

/// Docker's client speaks to registries itself where manifests are concerned.
#[test]
fn an_unknown_certificate_is_believed_once_if_somebody_says_so() {
    Scene::play(Client::Hull, |scene| {
        scene
            .daemon
            .namespace()
            .run("ip address add 10.98.0.1/32 dev lo");
        let directory = scene.daemon.path("keys");
        fs::create_dir(&directory).unwrap();
        make_certificates(&directory);
        let at = |name: &str| directory.join(name).display().to_string();
        let (cert, key) = (at("server.cert"), at("server.key"));
        let _registry =
            Registry::start_with(&scene.daemon, &["--tls-cert", &cert, "--tls-key", &key]);
        let list = "10.98.0.1:5000/list:1";
        scene.ok(&format!("manifest create {list} busybox"));
        let text = scene.fails(1, &format!("manifest push {list}"));
        assert!(text.contains("certificate"), "{text}");
        scene.ok(&format!("manifest push --insecure --purge {list}"));
        let text = scene.fails(1, &format!("manifest inspect {list}"));
        assert!(text.contains("certificate"), "{text}");
        let shown = scene.ok(&format!("manifest inspect --insecure {list}"));
        assert!(shown.contains("\"manifests\""), "{shown}");
        scene.ok(&format!("manifest create --insecure other:1 {list}"));
    });
}

scenario!(a_registry_with_a_private_authority_is_trusted_by_its_file_alone(scene) {
    // An address that is not loopback: there, nothing needs to be vouched for.
    scene.daemon.namespace().run("ip address add 10.98.0.1/32 dev lo");
    let directory = scene.daemon.path("keys");
    fs::create_dir(&directory).unwrap();
    make_certificates(&directory);
    let at = |name: &str| directory.join(name).display().to_string();
    let (cert, key, ca) = (at("server.cert"), at("server.key"), at("ca.crt"));
    let registry = Registry::start_with(&scene.daemon, &["--tls-cert", &cert, "--tls-key", &key]);
    let image = "10.98.0.1:5000/box:1";
    scene.ok(&format!("tag busybox {image}"));
    let push = format!("push {image}");
    let text = scene.fails(1, &push);
    assert!(text.contains("certificate"), "{text}");
    let trusted = scene.daemon.path("certs.d/10.98.0.1:5000");
    fs::create_dir_all(&trusted).unwrap();
    let trust = |from: &str, to: &str| _ = fs::copy(directory.join(from), trusted.join(to)).unwrap();
    trust("stranger.crt", "ca.crt");
    let text = scene.fails(1, &push);
    assert!(text.contains("certificate"), "{text}");
    trust("ca.crt", "ca.crt");
    scene.daemon.crash();
    scene.ok(&push);
    drop(registry);

    // One that wants to know its clients by their certificates.
    let options = ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca];
    let _registry = Registry::start_with(&scene.daemon, &options);
    let text = scene.fails(1, &push);
    assert!(text.contains("certificate"), "{text}");
    trust("client.cert", "client.cert");
    let text = scene.fails(1, &push);
    assert!(text.contains("missing key") && text.contains("client.key"), "{text}");
    trust("other.cert", "client.cert");
    trust("other.key", "client.key");
    scene.fails(1, &push);
    trust("client.cert", "client.cert");
    trust("client.key", "client.key");
    scene.daemon.crash();
    scene.ok(&push);
    scene.ok(&format!("rmi {image}"));
    assert_eq!(scene.ok(&format!("run --rm {image} echo works")), "works");
});

scenario!(tokens_of_somebody_else_are_believed(scene) {
    let directory = scene.daemon.path("issuer");
    fs::create_dir(&directory).unwrap();
    // The issuer has no server here: what it made is shown as a registry's token.
    let script = "set -e
        openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=issuer
        encode() { base64 -w0 | tr -d = | tr /+ _-; }
        now=$(date +%s)
        head=$(printf '{\"alg\":\"RS256\",\"typ\":\"JWT\"}' | encode)
        body=$(printf '{\"iss\":\"them\",\"aud\":\"ours\",\"exp\":%s,\"access\":[{\"type\":\"repository\",\"name\":\"box\",\"actions\":[\"pull\",\"push\"]}]}' $((now + 600)) | encode)
        printf %s $head.$body.$(printf %s $head.$body | openssl dgst -sha256 -sign key.pem -binary | encode) > token";
    let made = Command::new("sh").args(["-c", script]).current_dir(&directory).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let keys = directory.join("cert.pem").display().to_string();
    let _registry = Registry::start_with(&scene.daemon, &[
        "--token-keys", &keys, "--token-issuer", "them", "--token-service", "ours", "--token-realm", "http://127.0.0.1:5009/token",
    ]);
    let token = fs::read_to_string(directory.join("token")).unwrap();
    let settings = serde_json::json!({"auths": {"localhost:5000": {"registrytoken": token}}});
    fs::write(scene.daemon.path("config/config.json"), settings.to_string()).unwrap();
    scene.ok("tag busybox localhost:5000/box");
    scene.ok("tag busybox localhost:5000/other");
    scene.ok("push localhost:5000/box");
    scene.fails(1, "push localhost:5000/other");
    scene.ok("rmi localhost:5000/box");
    assert_eq!(scene.ok("run --rm localhost:5000/box echo works"), "works");
});

scenario!(passwords_are_kept_sealed_by_our_own_helper(scene) {
    let users = scene.daemon.path("users");
    fs::write(&users, USERS).unwrap();
    let users = users.display().to_string();
    let _registry = Registry::start_with(&scene.daemon, &["--htpasswd", &users]);
    let settings = scene.daemon.path("config/config.json");
    fs::write(&settings, r#"{"credsStore": "hull"}"#).unwrap();
    let bin = places::program("docker-credential-hull").parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let with_helper = |line: &str| {
        let mut command = scene.client.command(&scene.daemon, &words::split(line));
        let output = command.env("PATH", &path).env_remove("XDG_DATA_HOME").output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), text)
    };
    let (is_welcome, text) = with_helper("login -u me -p secret localhost:5000");
    assert!(is_welcome && text.contains("Login Succeeded") && !text.contains("unencrypted"), "{text}");
    let kept = scene.daemon.path(".local/share/hull/credentials");
    let bytes = fs::read(&kept).unwrap();
    assert!(!bytes.windows(6).any(|part| part == b"secret"), "nothing can be read in the file");
    let told = fs::read_to_string(&settings).unwrap();
    assert!(!told.contains("bWU6c2VjcmV0"), "{told}");
    scene.ok("tag busybox localhost:5000/box");
    for line in ["push localhost:5000/box", "pull localhost:5000/box"] {
        let (is_done, text) = with_helper(line);
        assert!(is_done, "{line}: {text}");
    }
    let (is_gone, text) = with_helper("logout localhost:5000");
    assert!(is_gone && !kept.exists(), "{text}");
    let (is_done, text) = with_helper("pull localhost:5000/box");
    assert!(!is_done, "{text}");
});

#[test]
fn a_list_of_images_of_a_registry_is_made_and_pushed_whole() {
    Scene::play(Client::Hull, |scene| {
        let _registry = Registry::start(&scene.daemon);
        let (one, two) = ("localhost:5000/one/app:a", "localhost:5000/two/app:b");
        let list = "localhost:5000/all/app:1";
        scene.ok("run --name box busybox touch /two");
        scene.ok(&format!("tag busybox {one}"));
        scene.ok(&format!("commit box {two}"));
        scene.ok("rm box");
        for image in [one, two] {
            scene.ok(&format!("push {image}"));
            scene.ok(&format!("rmi {image}"));
        }
        scene.ok("rmi busybox");
        assert_eq!(scene.ok("images -aq"), "");
        // Nothing of it is here: the registry takes it from one repository into another.
        scene.ok(&format!("manifest create {list} {one} {two}"));
        scene.ok(&format!(
            "manifest annotate --arch arm64 --variant v8 {list} {two}"
        ));
        let members: serde_json::Value =
            serde_json::from_str(&scene.ok(&format!("manifest inspect -v {list}"))).unwrap();
        assert_eq!(
            members[1]["Descriptor"]["platform"]["architecture"],
            "arm64"
        );
        assert_eq!(
            members[1]["OCIManifest"]["layers"].as_array().map(Vec::len),
            Some(2),
            "{members}"
        );
        let digest = scene.ok(&format!("manifest push --purge {list}"));
        assert!(
            digest.starts_with("sha256:") && digest.lines().count() == 1,
            "{digest}"
        );
        let text = scene.fails(1, &format!("manifest rm {list}"));
        assert!(
            text.contains(&format!("No such manifest: {list}")),
            "{text}"
        );
        let shown: serde_json::Value =
            serde_json::from_str(&scene.ok(&format!("manifest inspect {list}"))).unwrap();
        let platforms = shown["manifests"].as_array().unwrap().iter();
        let platforms: Vec<_> = platforms
            .map(|member| member["platform"]["architecture"].clone())
            .collect();
        assert!(platforms.len() == 2 && platforms[1] == "arm64", "{shown}");
        assert_eq!(
            scene.ok(&format!("run --rm {list} sh -c 'ls /two 2>&1; echo works'")),
            "ls: /two: No such file or directory\nworks"
        );

        // An index of which one platform is here goes on whole, as long as the registry has the rest.
        let moved = "localhost:5000/moved/app:1";
        scene.ok(&format!("tag {list} {moved}"));
        let pushed = scene.ok(&format!("push {moved}"));
        assert!(pushed.contains(&digest), "{pushed}");
        where_the_rest_is_not(scene, list, &digest);
    });
}

/// Elsewhere, the one that is here is pushed in its place; a list is whole or not at all.
fn where_the_rest_is_not(scene: &Scene, list: &str, digest: &str) {
    let far = "127.0.0.1:5000/far/app:1";
    scene.ok(&format!("tag {list} {far}"));
    let pushed = scene.ok(&format!("push {far}"));
    assert!(
        !pushed.contains(digest) && pushed.contains("digest: sha256:"),
        "{pushed}"
    );
    let text = scene.fails(1, &format!("manifest push {far}"));
    assert!(
        text.contains("linux/arm64/v8") && text.contains("pull it first"),
        "{text}"
    );
    let text = scene.fails(1, &format!("manifest rm {list}"));
    assert!(
        text.contains("No such manifest"),
        "an image that was pulled is no list of ours: {text}"
    );
}

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
