//! Pushes to registries that have ways of their own.
#![allow(clippy::unwrap_used, reason = "tests")]

mod fake;

use std::sync::Mutex;

use fake::{Answer, Fake, Image, Lab, Seen, ok, settings, status};
use hull_oci::{Descriptor, Index, Manifest, Platform, Reference, media_type};
use hull_registry::pull::Pull;
use hull_registry::push::Push;
use hull_registry::{Client, Credentials, Error, Progress, Settings};

/// Small pieces, so that a small layer takes several.
fn in_pieces() -> Settings {
    Settings {
        piece_bytes: 100_000,
        attempts: 2,
        ..settings()
    }
}

/// A store that has the image, pulled from a registry of its own.
async fn lab_with(image: &Image, name: &str) -> (Lab, Fake) {
    let whole = image.clone();
    let source = Fake::start(move |seen| whole.answer(seen));
    let lab = Lab::new();
    lab.pull(settings(), &source.reference(name)).await.unwrap();
    (lab, source)
}

async fn push(lab: &Lab, from: &Reference, to: Reference) -> hull_registry::Result<Descriptor> {
    lab.store.tag(&from.to_string(), &to).unwrap();
    let order = Push {
        reference: to,
        platform: None,
        whole: false,
        credentials: Some(Credentials::basic("me", "secret")),
    };
    let client = Client::new(in_pieces());
    hull_registry::push::push(&client, &lab.store, &order, &Progress::default()).await
}

/// Nothing is here, everything is taken: by default at `/u`.
fn takes_all(seen: &Seen, place: &str) -> Answer {
    match seen.method.as_str() {
        "HEAD" => status(404),
        "POST" => Answer::Reply(202, vec![("Location", place.to_owned())], Vec::new()),
        "PATCH" => Answer::Reply(202, vec![("Location", place.to_owned())], Vec::new()),
        "PUT" => status(201),
        _ => ok("{}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_that_take_no_pieces_get_it_whole() {
    // ECR says 201 to a piece, GHCR 416.
    for answer in [201, 416] {
        let image = Image::new(40);
        let (lab, source) = lab_with(&image, "app:1").await;
        let target = Fake::start(move |seen| match seen.method.as_str() {
            "PATCH" => status(answer),
            _ => takes_all(seen, "/u"),
        });
        push(&lab, &source.reference("app:1"), target.reference("app:1"))
            .await
            .unwrap();
        let layer = image.bytes(&image.layer).len().to_string();
        let seen = target.seen();
        let whole = seen.iter().filter(|seen| {
            seen.method == "PUT"
                && seen.header("content-length") == Some(&layer)
                && seen.header("content-range").is_none()
        });
        assert_eq!(whole.count(), 1, "{answer}");
        assert_eq!(seen.iter().filter(|seen| seen.method == "PATCH").count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_told_the_password_when_an_upload_goes_elsewhere() {
    let image = Image::new(41);
    let (lab, source) = lab_with(&image, "app:1").await;
    let storage = Fake::start(|seen| takes_all(seen, "/u"));
    let place = format!("http://{}/u", storage.address);
    let target = Fake::start(move |seen| match seen.header("authorization") {
        Some(_) => takes_all(seen, &place),
        None => {
            let asks = ("WWW-Authenticate", "Basic realm=\"x\"".to_owned());
            Answer::Reply(401, vec![asks], Vec::new())
        }
    });
    push(&lab, &source.reference("app:1"), target.reference("app:1"))
        .await
        .unwrap();
    let seen = storage.seen();
    assert!(!seen.is_empty());
    for request in seen {
        assert_eq!(request.header("authorization"), None, "{}", request.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_where_a_blob_could_be_mounted_from_sends_it() {
    let image = Image::new(42);
    let whole = image.clone();
    let mounts = std::sync::Arc::new(Mutex::new(0));
    let counted = std::sync::Arc::clone(&mounts);
    let registry = Fake::start(move |seen| {
        if seen.path.starts_with("/v2/base/") && seen.method != "POST" {
            return whole.answer(seen);
        }
        if seen.path.contains("from=base") {
            *counted.lock().unwrap() += 1;
            return status(403);
        }
        takes_all(seen, "/u")
    });
    let lab = Lab::new();
    let base = registry.reference("base:1");
    lab.pull(settings(), &base).await.unwrap();
    push(&lab, &base, registry.reference("app:1"))
        .await
        .unwrap();
    assert!(*mounts.lock().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_of_tls_that_broke_off_once_is_not_taken_for_a_plain_one() {
    // What such a server says to plain HTTP. A TLS hello it does not answer.
    let fake = Fake::start(|_| status(400));
    let client = Client::new(Settings {
        insecure: vec!["127.0.0.0/8".to_owned()],
        ..settings()
    });
    for _ in 0..2 {
        let error = hull_registry::pull::tags(&client, &fake.reference("app"), None)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_names_no_platform_is_judged_by_the_configuration() {
    let image = Image::new(43);
    let manifest = image.bytes(&image.manifest);
    let member = Descriptor::of(media_type::MANIFEST, &manifest);
    let index = serde_json::to_vec(&Index::new(vec![member])).unwrap();
    let registry = Fake::start(move |seen| match seen.path.ends_with("/manifests/1") {
        true => Answer::Reply(
            200,
            vec![("Content-Type", media_type::INDEX.to_owned())],
            index.clone(),
        ),
        false => image.answer(seen),
    });
    let lab = Lab::new();
    let pull = async |platform: &str| {
        let order = Pull {
            reference: registry.reference("app:1"),
            platform: Some(platform.parse::<Platform>().unwrap()),
            credentials: None,
        };
        let client = Client::new(settings());
        hull_registry::pull::pull(&client, &lab.store, &order, &Progress::default()).await
    };
    let error = pull("linux/s390x").await.unwrap_err();
    assert!(error.to_string().contains("s390x"), "{error}");
    pull(&Platform::host().to_string()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_a_broken_push_left_out_is_written_by_the_next_one() {
    let lab = Lab::new();
    let lease = lab.store.lease();
    let config = lab.store.put_blob(&lease, "a/b", b"{}").unwrap();
    let subject = Descriptor::of(media_type::MANIFEST, b"subject");
    let mut manifest = serde_json::to_value(Manifest::new(config, Vec::new())).unwrap();
    manifest["subject"] = serde_json::to_value(&subject).unwrap();
    let manifest = manifest.to_string();
    let target = lab
        .store
        .put_blob(&lease, media_type::MANIFEST, manifest.as_bytes())
        .unwrap();
    // It has the signature, and keeps no lists: nobody had the time to write one.
    let digest = target.digest.clone();
    let registry = Fake::start(move |seen| {
        let is_there = ("Docker-Content-Digest", digest.to_string());
        match (seen.method.as_str(), seen.path.ends_with("/manifests/sig")) {
            ("HEAD", true) => Answer::Reply(200, vec![is_there], Vec::new()),
            ("GET", _) => status(404),
            _ => takes_all(seen, "/u"),
        }
    });
    let reference = registry.reference("app:sig");
    lab.store.set_name(&reference, target.clone()).unwrap();
    let order = Push {
        reference,
        platform: None,
        whole: false,
        credentials: None,
    };
    // The fake forgets the list at once: that it was written is what counts.
    let client = Client::new(in_pieces());
    let _ = hull_registry::push::push(&client, &lab.store, &order, &Progress::default()).await;
    let tag = subject.digest.as_str().replace(':', "-");
    let written = registry
        .seen()
        .into_iter()
        .find(|seen| seen.method == "PUT" && seen.path.ends_with(&format!("/manifests/{tag}")));
    assert!(written.unwrap().body.contains(target.digest.as_str()));
}
