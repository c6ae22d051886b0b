//! The server, spoken to as any client may, and as none should.
#![allow(clippy::unwrap_used, reason = "tests")]

mod fake;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fake::{Image, Lab, settings};
use hull_oci::{Descriptor, Digest, Index, Reference, media_type};
use hull_registry::server::{Options, Registry, UpstreamOptions};
use hull_registry::{Error, Settings};

/// A served registry.
struct Served {
    registry: Arc<Registry>,
    address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Served {
    async fn start(options: Options) -> Self {
        // A program that another test starts at this moment has all our files for an instant, also
        // the lock of a registry that has just ended.
        let mut attempts = 0;
        let registry = loop {
            match Registry::open(options.clone()) {
                Err(error) if attempts < 1000 && error.to_string().contains("another registry") => {
                    attempts += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                opened => break opened.unwrap(),
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(Arc::clone(&registry).serve(listener));
        Self {
            registry,
            address,
            serving,
        }
    }

    async fn at(root: &Path) -> Self {
        Self::start(Options {
            root: root.to_owned(),
            ..Options::default()
        })
        .await
    }

    /// Ends it, with its last connection: the next one finds what is on the disk.
    async fn stop(mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
        while Arc::strong_count(&self.registry) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.address).parse().unwrap()
    }

    /// One request on a connection of its own.
    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answered {
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let request = [text.as_bytes(), b"\r\n", body].concat();
        let address = self.address;
        tokio::task::spawn_blocking(move || exchange(address, &request))
            .await
            .unwrap()
    }

    /// Pushes an image by hand.
    async fn put(&self, name: &str, tag: &str, image: &Image) {
        for (digest, (media_type, bytes)) in &image.blobs {
            if *digest != image.manifest {
                let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
                assert_eq!(
                    self.ask("POST", &path, &[], bytes).await.status,
                    201,
                    "{media_type}"
                );
            }
        }
        let answer = self
            .ask(
                "PUT",
                &format!("/v2/{name}/manifests/{tag}"),
                &[("Content-Type", media_type::MANIFEST)],
                &image.bytes(&image.manifest),
            )
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}

struct Answered {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answered {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

fn exchange(address: SocketAddr, request: &[u8]) -> Answered {
    let mut stream = TcpStream::connect(address).unwrap();
    // A server that refuses may not read it all.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .unwrap_or(0);
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Answered {
        status,
        headers,
        body: answer.get(end + 4..).unwrap_or_default().to_vec(),
    }
}

type Case<'a> = (
    &'a str,
    String,
    Vec<(&'a str, &'a str)>,
    &'a str,
    u16,
    &'a str,
);

#[rustfmt::skip]
fn senseless<'a>(image: &Image, absent: &Digest, lonely: &'a str) -> Vec<Case<'a>> {
    let (manifest, layer) = (&image.manifest, &image.layer);
    let json = ("Content-Type", media_type::MANIFEST);
    vec![
        ("GET", "/v2/".to_owned(), vec![], "", 200, ""),
        ("GET", "/".to_owned(), vec![], "", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/UPPER/tags/list".to_owned(), vec![], "", 400, "NAME_INVALID"),
        ("GET", "/v2/nosuch/tags/list".to_owned(), vec![], "", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/some/app/manifests/nosuch".to_owned(), vec![], "", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/some/app/manifests/.x".to_owned(), vec![], "", 404, "MANIFEST_UNKNOWN"),
        ("GET", format!("/v2/some/app/blobs/{absent}"), vec![], "", 404, "BLOB_UNKNOWN"),
        ("GET", format!("/v2/other/blobs/{layer}"), vec![], "", 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/some/app/blobs/sha256:1".to_owned(), vec![], "", 400, "DIGEST_INVALID"),
        ("GET", format!("/v2/some/app/blobs/{layer}"), vec![("Range", "bytes=999999999-")], "", 416, "RANGE_INVALID"),
        ("POST", "/v2/some/app/blobs/uploads/?digest=sha256:1".to_owned(), vec![], "", 400, "DIGEST_INVALID"),
        ("POST", format!("/v2/some/app/blobs/uploads/?digest={absent}"), vec![], "other", 400, "DIGEST_INVALID"),
        ("PATCH", "/v2/some/app/blobs/uploads/0123456789abcdef0123456789abcdef".to_owned(), vec![], "x", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PUT", "/v2/some/app/manifests/2".to_owned(), vec![json], lonely, 404, "MANIFEST_BLOB_UNKNOWN"),
        ("PUT", "/v2/some/app/manifests/2".to_owned(), vec![json], "{", 400, "MANIFEST_INVALID"),
        ("PUT", "/v2/some/app/manifests/2".to_owned(), vec![], "{}", 400, "MANIFEST_INVALID"),
        ("PUT", "/v2/some/app/manifests/2".to_owned(), vec![("Content-Type", media_type::INDEX)], lonely, 400, "MANIFEST_INVALID"),
        ("PUT", format!("/v2/some/app/manifests/{absent}"), vec![json], lonely, 400, "DIGEST_INVALID"),
        ("DELETE", "/v2/some/app/manifests/nosuch".to_owned(), vec![], "", 404, "MANIFEST_UNKNOWN"),
        ("DELETE", format!("/v2/some/app/blobs/{absent}"), vec![], "", 404, "BLOB_UNKNOWN"),
        ("DELETE", "/v2/some/app/tags/list".to_owned(), vec![], "", 405, "UNSUPPORTED"),
        ("GET", format!("/v2/some/app/referrers/{manifest}"), vec![], "", 200, ""),
        ("GET", "/v2/some/app/referrers/x".to_owned(), vec![], "", 400, "DIGEST_INVALID"),
        ("GET", "/v2/some/app/tags/list?n=x".to_owned(), vec![], "", 400, "UNSUPPORTED"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense_get_the_specifications_answers() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::at(directory.path()).await;
    let image = Image::new(30);
    served.put("some/app", "1", &image).await;
    let absent = Digest::of(b"absent");
    let layer = &image.layer;
    let lonely = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{absent}","size":6}},"layers":[]}}"#
    );
    let json = ("Content-Type", media_type::MANIFEST);
    for (method, path, headers, body, status, code) in senseless(&image, &absent, &lonely) {
        let answer = served.ask(method, &path, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert!(
            answer.text().contains(code),
            "{method} {path}: {}",
            answer.text()
        );
    }
    let large = vec![b' '; (4 << 20) + 1];
    let answer = served
        .ask("PUT", "/v2/some/app/manifests/2", &[json], &large)
        .await;
    assert_eq!(answer.status, 413);
    let part = served
        .ask(
            "GET",
            &format!("/v2/some/app/blobs/{layer}"),
            &[("Range", "bytes=10-19")],
            b"",
        )
        .await;
    assert_eq!(
        (part.status, part.body.as_slice()),
        (206, &image.bytes(layer)[10..20])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_the_registry_was_killed() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::at(directory.path()).await;
    let bytes = Image::new(31).bytes(&Image::new(31).layer);
    let digest = Digest::of(&bytes);
    let place = served
        .ask("POST", "/v2/app/blobs/uploads/", &[], b"")
        .await
        .header("location")
        .to_owned();
    let half = bytes.len() / 2;
    let endless = ("Content-Range", "0-18446744073709551615");
    let refused = served.ask("PATCH", &place, &[endless], b"abc").await;
    assert_eq!(refused.status, 416, "{}", refused.text());
    let first = served
        .ask(
            "PATCH",
            &place,
            &[("Content-Range", &format!("0-{}", half - 1))],
            &bytes[..half],
        )
        .await;
    assert_eq!(
        (first.status, first.header("range")),
        (202, format!("0-{}", half - 1).as_str())
    );
    let wrong = served
        .ask("PATCH", &place, &[("Content-Range", "7-9")], b"abc")
        .await;
    assert_eq!(
        (wrong.status, wrong.header("range")),
        (416, format!("0-{}", half - 1).as_str())
    );
    served.stop().await;
    let served = Served::at(directory.path()).await;
    assert_eq!(
        served.ask("GET", &place, &[], b"").await.header("range"),
        format!("0-{}", half - 1)
    );
    let done = served
        .ask(
            "PUT",
            &format!("{place}?digest={digest}"),
            &[],
            &bytes[half..],
        )
        .await;
    assert_eq!(done.status, 201, "{}", done.text());
    assert_eq!(
        served
            .ask("GET", &format!("/v2/app/blobs/{digest}"), &[], b"")
            .await
            .body,
        bytes
    );
    assert_eq!(served.ask("GET", &place, &[], b"").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_needs_is_collected_while_it_serves() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::at(directory.path()).await;
    let (kept, gone) = (Image::new(32), Image::new(33));
    served.put("app", "kept", &kept).await;
    served.put("app", "gone", &gone).await;
    served.put("other", "also", &kept).await;
    let storage = served.registry.storage();
    let nothing = storage.collect(Duration::ZERO).unwrap();
    assert_eq!((nothing.blobs, nothing.uploads), (0, 0));
    served.ask("POST", "/v2/app/blobs/uploads/", &[], b"").await;
    let deleted = served
        .ask(
            "DELETE",
            &format!("/v2/app/manifests/{}", gone.manifest),
            &[],
            b"",
        )
        .await;
    assert_eq!(deleted.status, 202);
    assert_eq!(
        served
            .ask("GET", "/v2/app/tags/list", &[], b"")
            .await
            .text(),
        r#"{"name":"app","tags":["kept"]}"#
    );
    let young = storage.collect(Duration::from_secs(3600)).unwrap();
    assert_eq!((young.blobs, young.uploads), (0, 0), "what is young stays");
    let before = storage.used();
    let collected = storage.collect(Duration::ZERO).unwrap();
    assert_eq!((collected.blobs, collected.uploads), (3, 1));
    assert_eq!(before - storage.used(), collected.bytes);
    served
        .ask(
            "DELETE",
            &format!("/v2/app/manifests/{}", kept.manifest),
            &[],
            b"",
        )
        .await;
    assert_eq!(
        storage.collect(Duration::ZERO).unwrap().blobs,
        0,
        "another repository needs them"
    );
    Lab::new()
        .pull(settings(), &served.reference("other:also"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_builders_cache_is_kept_whole() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::at(directory.path()).await;
    let blob = |text: &str| Descriptor::of("a/b", text.as_bytes());
    let (layer, part) = (blob("a layer of the cache"), blob("a part of an artifact"));
    // An index whose members are blobs, and a manifest of the time before OCI's 1.1.
    let index = serde_json::to_string(&Index::new(vec![layer.clone()])).unwrap();
    let artifact = "application/vnd.oci.artifact.manifest.v1+json";
    let parts = serde_json::json!({"schemaVersion": 2, "mediaType": artifact, "blobs": [part]});
    let put = async |tag: &str, kind: &str, text: &str| {
        let (path, kind) = (format!("/v2/app/manifests/{tag}"), ("Content-Type", kind));
        served.ask("PUT", &path, &[kind], text.as_bytes()).await
    };
    let put_both = async || {
        let cache = put("cache", media_type::INDEX, &index).await;
        let artifact = put("artifact", artifact, &parts.to_string()).await;
        (cache.status, artifact.status)
    };
    assert_eq!(put_both().await, (404, 404), "they are not here yet");
    for text in ["a layer of the cache", "a part of an artifact"] {
        let path = format!("/v2/app/blobs/uploads/?digest={}", blob(text).digest);
        let sent = served.ask("POST", &path, &[], text.as_bytes()).await;
        assert_eq!(sent.status, 201);
    }
    assert_eq!(put_both().await, (201, 201));
    let collected = served.registry.storage().collect(Duration::ZERO).unwrap();
    assert_eq!(collected.blobs, 0);
    for digest in [&layer.digest, &part.digest] {
        let path = format!("/v2/app/blobs/{digest}");
        assert_eq!(served.ask("GET", &path, &[], b"").await.status, 200);
    }
}

/// What is about a subject, page by page.
async fn referrers(served: &Served, subject: &Digest, query: &str) -> Vec<Vec<Digest>> {
    let mut path = format!("/v2/app/referrers/{subject}{query}");
    let mut pages = Vec::new();
    loop {
        let answer = served.ask("GET", &path, &[], b"").await;
        assert!(answer.body.len() <= 4 << 20, "no client takes more");
        let index: Index = serde_json::from_slice(&answer.body).unwrap();
        pages.push(index.manifests.into_iter().map(|one| one.digest).collect());
        let Some((next, _)) = answer.header("link").split_once('>') else {
            return pages;
        };
        path = next.trim_start_matches('<').to_owned();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_of_referrers_is_told_in_pages_through_a_cache_too() {
    let (origin_root, cache_root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let origin = Served::at(origin_root.path()).await;
    let config = Descriptor::of("a/b", b"{}");
    let path = format!("/v2/app/blobs/uploads/?digest={}", config.digest);
    assert_eq!(origin.ask("POST", &path, &[], b"{}").await.status, 201);
    let subject = Descriptor::of(media_type::MANIFEST, b"subject");
    let mut expected = Vec::new();
    for number in 0..6 {
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": [],
            "artifactType": format!("kind/{}", number % 2), "subject": subject,
            "annotations": {"number": number.to_string(), "note": "x".repeat(1 << 20)},
        });
        let manifest = manifest.to_string().into_bytes();
        let path = format!("/v2/app/manifests/{}", Digest::of(&manifest));
        let kind = ("Content-Type", media_type::MANIFEST);
        assert_eq!(
            origin.ask("PUT", &path, &[kind], &manifest).await.status,
            201
        );
        expected.push(Digest::of(&manifest));
    }
    expected.sort();
    let cache = Served::start(Options {
        root: cache_root.path().to_owned(),
        upstream: Some(UpstreamOptions {
            host: origin.address.to_string(),
            settings: settings(),
            ..UpstreamOptions::default()
        }),
        ..Options::default()
    })
    .await;
    for served in [&origin, &cache] {
        let pages = referrers(served, &subject.digest, "").await;
        assert_eq!((pages.len(), pages.concat()), (2, expected.clone()));
        let some = referrers(served, &subject.digest, "?artifactType=kind%2F1").await;
        assert_eq!(some.concat().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_and_read_only_are_kept_to() {
    let directory = tempfile::tempdir().unwrap();
    let image = Image::new(34);
    let layer = image.bytes(&image.layer);
    let options = |quota, read_only| Options {
        root: directory.path().to_owned(),
        quota,
        read_only,
        ..Options::default()
    };
    let small = Served::start(options(layer.len() as u64 - 1, false)).await;
    let path = format!("/v2/app/blobs/uploads/?digest={}", image.layer);
    let refused = small.ask("POST", &path, &[], &layer).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("quota"), "{}", refused.text());
    small.stop().await;
    let enough = Served::start(options(10 << 20, false)).await;
    enough.put("app", "1", &image).await;
    enough.stop().await;
    let fixed = Served::start(options(0, true)).await;
    assert_eq!(
        fixed
            .ask("POST", "/v2/app/blobs/uploads/", &[], b"")
            .await
            .status,
        405
    );
    assert_eq!(
        fixed
            .ask("DELETE", "/v2/app/manifests/1", &[], b"")
            .await
            .status,
        405
    );
    Lab::new()
        .pull(settings(), &fixed.reference("app:1"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_fetches_once_and_serves_without_its_upstream() {
    let (origin_root, cache_root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let origin = Served::at(origin_root.path()).await;
    let image = Image::new(35);
    origin.put("team/app", "1", &image).await;
    let cache = Served::start(Options {
        root: cache_root.path().to_owned(),
        upstream: Some(UpstreamOptions {
            host: origin.address.to_string(),
            settings: Settings {
                attempts: 1,
                ..settings()
            },
            ..UpstreamOptions::default()
        }),
        ..Options::default()
    })
    .await;
    let tags = async |name: &str| {
        let answer = cache
            .ask("GET", &format!("/v2/{name}/tags/list"), &[], b"")
            .await;
        (answer.status, answer.text())
    };
    let all = (200, r#"{"name":"team/app","tags":["1"]}"#.to_owned());
    assert_eq!(
        tags("team/app").await,
        all,
        "of what nobody has pulled yet, too"
    );
    assert_eq!(tags("team/nosuch").await.0, 404);
    for _ in 0..2 {
        Lab::new()
            .pull(settings(), &cache.reference("team/app:1"))
            .await
            .unwrap();
    }
    let count = |registry: &Registry, name: &str| {
        let page = registry.metrics();
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("hull_registry_{name} ")))
            .unwrap()
            .to_owned();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let sent_once: u64 = image
        .blobs
        .iter()
        .filter(|(digest, _)| **digest != image.manifest)
        .map(|(_, (_, bytes))| bytes.len() as u64)
        .sum();
    assert_eq!(count(&origin.registry, "sent_bytes_total"), sent_once);
    let error = Lab::new()
        .pull(settings(), &cache.reference("team/nosuch:1"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    origin.stop().await;
    Lab::new()
        .pull(settings(), &cache.reference("team/app:1"))
        .await
        .unwrap();
    assert_eq!(tags("team/app").await, all);
    assert_eq!(
        cache
            .ask("POST", "/v2/team/app/blobs/uploads/", &[], b"")
            .await
            .status,
        405
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_was_taken_out_gets_no_more_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users");
    let line = |name: &str| format!("{name}:{}\n", bcrypt::hash("secret", 4).unwrap());
    std::fs::write(&users, line("me")).unwrap();
    let served = Served::start(Options {
        root: directory.path().join("root"),
        htpasswd: Some(users.clone()),
        token_service: Some("registry".to_owned()),
        ..Options::default()
    })
    .await;
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let grant = async |form_text: String| {
        served
            .ask("POST", "/token", &form, form_text.as_bytes())
            .await
    };
    let asked = "grant_type=password&username=me&password=secret&access_type=offline";
    let given = grant(asked.to_owned()).await;
    assert_eq!(given.status, 200, "{}", given.text());
    let given: serde_json::Value = serde_json::from_slice(&given.body).unwrap();
    let refresh = given["refresh_token"].as_str().unwrap();
    let again = format!("grant_type=refresh_token&refresh_token={refresh}");
    assert_eq!(grant(again.clone()).await.status, 200);
    // A file's time has a finer grain than this.
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(&users, line("another")).unwrap();
    assert_eq!(grant(again).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_full_still_passes_everything_on() {
    let (origin_root, cache_root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let origin = Served::at(origin_root.path()).await;
    let image = Image::new(36);
    origin.put("team/app", "1", &image).await;
    let cache = Served::start(Options {
        root: cache_root.path().to_owned(),
        quota: 1000,
        upstream: Some(UpstreamOptions {
            host: origin.address.to_string(),
            settings: settings(),
            ..UpstreamOptions::default()
        }),
        ..Options::default()
    })
    .await;
    for _ in 0..2 {
        Lab::new()
            .pull(settings(), &cache.reference("team/app:1"))
            .await
            .unwrap();
    }
    // What the upstream no longer has is gone here, too.
    let gone = origin
        .ask("DELETE", "/v2/team/app/manifests/1", &[], b"")
        .await;
    assert_eq!(gone.status, 202);
    let error = Lab::new()
        .pull(settings(), &cache.reference("team/app:1"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_reads_and_users_write() {
    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users");
    let line = format!("me:{}\n", bcrypt::hash("secret", 4).unwrap());
    std::fs::write(&users, line).unwrap();
    let served = Served::start(Options {
        root: directory.path().join("root"),
        htpasswd: Some(users),
        anonymous_pull: true,
        ..Options::default()
    })
    .await;
    // A client asks here where to say who it is.
    let base = served.ask("GET", "/v2/", &[], b"").await;
    assert_eq!(base.status, 401);
    assert!(base.header("www-authenticate").starts_with("Bearer"));
    assert_eq!(
        served
            .ask("GET", "/v2/app/tags/list", &[], b"")
            .await
            .status,
        404
    );
    let refused = served.ask("POST", "/v2/app/blobs/uploads/", &[], b"").await;
    assert_eq!(refused.status, 401);
    let me = [("Authorization", "Basic bWU6c2VjcmV0")];
    let taken = served.ask("POST", "/v2/app/blobs/uploads/", &me, b"").await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    let other = [("Authorization", "Basic bWU6d3Jvbmc=")];
    let refused = served
        .ask("POST", "/v2/app/blobs/uploads/", &other, b"")
        .await;
    assert_eq!(refused.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_pushes_nothing_that_everybody_reads() {
    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users");
    let line = format!("me:{}\n", bcrypt::hash("secret", 4).unwrap());
    std::fs::write(&users, line).unwrap();
    let options = |htpasswd| Options {
        root: directory.path().join("root"),
        htpasswd,
        anonymous_pull: true,
        ..Options::default()
    };
    let image = Image::new(37);
    let open = Served::start(options(None)).await;
    open.put("app", "1", &image).await;
    open.stop().await;
    let served = Served::start(options(Some(users))).await;
    let (lab, reference) = (Lab::new(), served.reference("app:1"));
    lab.pull(settings(), &reference).await.unwrap();
    let client = hull_registry::Client::new(settings());
    let push = async |credentials| {
        let order = hull_registry::push::Push {
            reference: reference.clone(),
            platform: None,
            whole: false,
            credentials,
        };
        let progress = hull_registry::Progress::default();
        hull_registry::push::push(&client, &lab.store, &order, &progress).await
    };
    let me = hull_registry::Credentials::basic("me", "secret");
    push(Some(me)).await.unwrap();
    // Who was just logged in, and is no longer.
    let error = push(None).await.unwrap_err();
    assert!(matches!(error, Error::PushDenied { .. }), "{error}");
}

/// A certificate of its own for 127.0.0.1, and its key.
fn certify(directory: &std::path::Path) {
    let line = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=registry -addext subjectAltName=IP:127.0.0.1";
    let made = std::process::Command::new("openssl")
        .args(line.split(' '))
        .arg("-keyout")
        .arg(directory.join("key"))
        .arg("-out")
        .arg(directory.join("cert"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// What a server shows of itself.
fn shown(address: SocketAddr) -> String {
    let shown = std::process::Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let begin = text.find("-----BEGIN CERTIFICATE").unwrap();
    let end = text.find("-----END CERTIFICATE").unwrap();
    text[begin..end].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let (root, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certify(keys.path());
    let served = Served::start(Options {
        root: root.path().to_owned(),
        tls: Some((keys.path().join("cert"), keys.path().join("key"))),
        ..Options::default()
    })
    .await;
    let address = served.address;
    let look = async || {
        tokio::task::spawn_blocking(move || shown(address))
            .await
            .unwrap()
    };
    let before = look().await;
    // Half of it is no reason to stop.
    std::fs::write(keys.path().join("cert"), "none yet").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(look().await, before);
    certify(keys.path());
    for _ in 0..50 {
        if look().await != before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the old certificate is still shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_tls_is_pulled_from() {
    let (root, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certify(keys.path());
    let image = Image::new(36);
    let plain = Served::at(root.path()).await;
    plain.put("app", "1", &image).await;
    plain.stop().await;
    let served = Served::start(Options {
        root: root.path().to_owned(),
        tls: Some((keys.path().join("cert"), keys.path().join("key"))),
        ..Options::default()
    })
    .await;
    // Loopback is insecure by itself: whoever answers with TLS is believed.
    Lab::new()
        .pull(settings(), &served.reference("app:1"))
        .await
        .unwrap();
}
