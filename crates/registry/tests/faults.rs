//! What goes wrong between registries and hosts, and what holds all the same.
#![allow(clippy::unwrap_used, reason = "tests")]

mod fake;

use std::sync::atomic::{AtomicUsize, Ordering};

use fake::{Answer, Fake, Image, Lab, ok, partial, settings, status, with_mirrors};
use hull_registry::Error;

/// Bytes of the layer between two breaks.
const BREAK_AT: usize = 70_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_goes_on_where_it_broke_off_and_no_byte_comes_twice() {
    let image = Image::new(1);
    let (layer, served) = (image.layer.clone(), image.clone());
    let fake = Fake::start(move |seen| {
        if !seen.is_for(&served.layer) {
            return served.answer(seen);
        }
        let bytes = served.bytes(&served.layer);
        let Answer::Reply(code, headers, rest) = (match seen.first_byte() {
            0 => ok(bytes),
            first => partial(&bytes, first),
        }) else {
            unreachable!()
        };
        Answer::Cut(code, headers, rest, BREAK_AT)
    });
    let lab = Lab::new();
    let pulled = lab
        .pull(settings(), &fake.reference("app:1"))
        .await
        .unwrap();
    assert_eq!(pulled.digest, image.manifest);
    let firsts: Vec<usize> = fake
        .asked_for(&layer)
        .iter()
        .map(fake::Seen::first_byte)
        .collect();
    let expected: Vec<usize> = (0..image.bytes(&layer).len()).step_by(BREAK_AT).collect();
    assert_eq!(firsts, expected);
    assert_eq!(lab.layers(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_failed_goes_on_after_a_restart() {
    let image = Image::new(2);
    let (layer, served) = (image.layer.clone(), image.clone());
    let attempts = AtomicUsize::new(0);
    let fake = Fake::start(move |seen| match seen.is_for(&served.layer) {
        false => served.answer(seen),
        true if attempts.fetch_add(1, Ordering::SeqCst) == 0 => {
            Answer::Cut(200, Vec::new(), served.bytes(&served.layer), 123_456)
        }
        true if seen.header("x-again").is_none() && attempts.load(Ordering::SeqCst) < 6 => {
            status(404)
        }
        true => served.answer(seen),
    });
    let mut lab = Lab::new();
    let error = lab
        .pull(settings(), &fake.reference("app:1"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Blob { .. }), "{error}");
    assert_eq!(lab.layers(), 0);
    lab.reopen();
    for _ in 0..6 {
        if lab.pull(settings(), &fake.reference("app:1")).await.is_ok() {
            break;
        }
    }
    assert!(lab.store.named(&fake.reference("app:1")).is_some());
    let firsts: Vec<usize> = fake
        .asked_for(&layer)
        .iter()
        .map(fake::Seen::first_byte)
        .collect();
    assert!(
        firsts[1..].iter().all(|first| *first == 123_456),
        "{firsts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_mirror_takes_over_in_the_middle_of_a_layer() {
    let image = Image::new(3);
    let (first_image, second_image, origin_image) = (image.clone(), image.clone(), image.clone());
    let first = Fake::start(move |seen| match seen.is_for(&first_image.layer) {
        true => Answer::Cut(
            200,
            Vec::new(),
            first_image.bytes(&first_image.layer),
            100_000,
        ),
        false => first_image.answer(seen),
    });
    let second = Fake::start(move |seen| second_image.answer(seen));
    let origin = Fake::start(move |seen| origin_image.answer(seen));
    let reference = origin.reference("app:1");
    let (_certs, settings) = with_mirrors(&reference, &[&first, &second]);
    let lab = Lab::new();
    lab.pull(settings, &reference).await.unwrap();
    assert_eq!(first.asked_for(&image.layer).len(), 1);
    assert_eq!(second.asked_for(&image.layer)[0].first_byte(), 100_000);
    assert!(
        second.seen().iter().all(|seen| seen.path.contains("ns=")),
        "a mirror is told whose it is"
    );
    assert!(origin.seen().is_empty(), "nobody asked the origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_lies_is_not_believed() {
    let (image, other) = (Image::new(4), Image::new(5));
    let (layer, good, lying) = (image.layer.clone(), image.clone(), image.clone());
    let mirror = Fake::start(move |seen| match seen.is_for(&lying.layer) {
        true => ok(other.bytes(&other.layer)),
        false => lying.answer(seen),
    });
    let origin = Fake::start(move |seen| good.answer(seen));
    let reference = origin.reference("app:1");
    let (_certs, settings) = with_mirrors(&reference, &[&mirror]);
    let lab = Lab::new();
    lab.pull(settings, &reference).await.unwrap();
    assert_eq!(mirror.asked_for(&layer).len(), 1);
    assert_eq!(origin.asked_for(&layer).len(), 1);
    let file = lab.store.open_blob(&layer).unwrap();
    assert_eq!(
        std::io::read_to_string(file)
            .map(|_| ())
            .unwrap_err()
            .kind(),
        std::io::ErrorKind::InvalidData
    );
    assert_eq!(lab.layers(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_is_never_accepted() {
    let (image, other) = (Image::new(6), Image::new(7));
    // The layer, the manifest by digest, the layer with more bytes, the layer with fewer.
    for case in 0..4 {
        let (served, other) = (image.clone(), other.clone());
        let fake = Fake::start(move |seen| {
            let mut bytes = served.bytes(&served.layer);
            match case {
                0 if seen.is_for(&served.layer) => ok(other.bytes(&other.layer)),
                1 if seen.path.contains("/manifests/") && seen.method == "GET" => {
                    ok(other.bytes(&other.manifest))
                }
                2 if seen.is_for(&served.layer) => {
                    bytes.extend_from_slice(b"more");
                    ok(bytes)
                }
                3 if seen.is_for(&served.layer) && seen.first_byte() == 0 => {
                    ok(bytes[..1000].to_vec())
                }
                3 if seen.is_for(&served.layer) => ok(bytes[..1000].to_vec()),
                _ => served.answer(seen),
            }
        });
        let lab = Lab::new();
        let error = lab
            .pull(settings(), &fake.reference("app:1"))
            .await
            .unwrap_err();
        let is_told = matches!(error, Error::Mismatch { .. } | Error::Blob { .. });
        assert!(is_told, "case {case}: {error}");
        assert!(!lab.store.has_blob(&image.layer), "case {case}");
        assert_eq!(lab.layers(), 0, "case {case}");
        assert!(lab.store.named(&fake.reference("app:1")).is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotten_layer_that_breaks_off_each_time_comes_to_an_end() {
    // Nobody is asked as often as this.
    const ENDLESS: usize = 60;
    let image = Image::new(12);
    let rotten = |image: &Image| {
        let (served, asked) = (image.clone(), AtomicUsize::new(0));
        Fake::start(move |seen| {
            let is_rotten = seen.is_for(&served.layer) && seen.method == "GET";
            if !is_rotten || asked.fetch_add(1, Ordering::SeqCst) > ENDLESS {
                return served.answer(seen);
            }
            let mut bytes = served.bytes(&served.layer);
            bytes[1000] ^= 1;
            match seen.first_byte() {
                0 => Answer::Cut(200, Vec::new(), bytes, BREAK_AT),
                first => partial(&bytes, first),
            }
        })
    };
    let alone = rotten(&image);
    let lab = Lab::new();
    let error = lab
        .pull(settings(), &alone.reference("app:1"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    assert!(!lab.store.has_blob(&image.layer));
    // Beside somebody who has it whole, it is no reason to fail.
    let (mirror, good) = (rotten(&image), image.clone());
    let origin = Fake::start(move |seen| good.answer(seen));
    let reference = origin.reference("app:1");
    let (_certs, settings) = with_mirrors(&reference, &[&mirror]);
    let lab = Lab::new();
    lab.pull(settings, &reference).await.unwrap();
    assert_eq!(lab.layers(), 1);
    assert!(mirror.asked_for(&image.layer).len() < ENDLESS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirrors_refusal_is_told_where_the_registry_is_out_of_reach() {
    let mirror = Fake::start(|_| status(403));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = nobody.local_addr().unwrap();
    drop(nobody);
    let reference = format!("{place}/app:1").parse().unwrap();
    let (_certs, settings) = with_mirrors(&reference, &[&mirror]);
    let error = Lab::new().pull(settings, &reference).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_waited_for_and_what_does_not_is_told() {
    for (code, again) in [
        (429, true),
        (503, true),
        (500, true),
        (403, false),
        (418, false),
    ] {
        let image = Image::new(8);
        let (layer, failures) = (image.layer.clone(), AtomicUsize::new(0));
        let fake = Fake::start(move |seen| {
            let fails = seen.method == "GET" && failures.fetch_add(1, Ordering::SeqCst) % 2 == 0;
            if fails {
                return Answer::Reply(
                    code,
                    vec![("Retry-After", "0".to_owned())],
                    br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#.to_vec(),
                );
            }
            image.answer(seen)
        });
        let lab = Lab::new();
        let outcome = lab.pull(settings(), &fake.reference("app:1")).await;
        assert_eq!(outcome.is_ok(), again, "{code}: {outcome:?}");
        if let Err(error) = outcome {
            assert!(error.to_string().contains("slow down"), "{error}");
            assert!(fake.asked_for(&layer).is_empty());
        }
    }
    // A registry that wants an hour is not waited for.
    let fake =
        Fake::start(|_| Answer::Reply(429, vec![("Retry-After", "3600".to_owned())], Vec::new()));
    let error = Lab::new()
        .pull(settings(), &fake.reference("app:1"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::TooManyRequests { .. }), "{error}");
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_end_and_take_no_password_along() {
    let around =
        Fake::start(|seen| Answer::Reply(307, vec![("Location", seen.path.clone())], Vec::new()));
    let error = Lab::new()
        .pull(settings(), &around.reference("app:1"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("stopped after 10 redirects"),
        "{error}"
    );

    let image = Image::new(9);
    let (stored, layer) = (image.clone(), image.layer.clone());
    let storage = Fake::start(move |seen| stored.answer(seen));
    let place = storage.address;
    let registry = Fake::start(move |seen| {
        if seen.header("authorization").is_none() {
            return Answer::Reply(
                401,
                vec![("WWW-Authenticate", "Basic realm=\"x\"".to_owned())],
                Vec::new(),
            );
        }
        match seen.path.contains("/blobs/") {
            true => Answer::Reply(
                307,
                vec![(
                    "Location",
                    format!("http://{place}{}?signature=s", seen.path),
                )],
                Vec::new(),
            ),
            false => image.answer(seen),
        }
    });
    let me = hull_registry::Credentials::basic("me", "secret");
    Lab::new()
        .pull_as(settings(), &registry.reference("app:1"), Some(me))
        .await
        .unwrap();
    let asked = storage.asked_for(&layer);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
    // Who redirects from TLS to none, or to no address, is not followed: see the client's own tests.
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_us_up_is_left_in_favour_of_another_one() {
    let image = Image::new(10);
    for slow in [true, false] {
        let (held, good) = (image.clone(), image.clone());
        let mirror = Fake::start(move |seen| match (seen.is_for(&held.layer), slow) {
            (true, true) => Answer::Trickle(held.bytes(&held.layer)),
            (true, false) => Answer::Silence,
            _ => held.answer(seen),
        });
        let origin = Fake::start(move |seen| good.answer(seen));
        let reference = origin.reference("app:1");
        let (_certs, mut settings) = with_mirrors(&reference, &[&mirror]);
        // Far more than the origin takes on a busy machine.
        settings.patience = std::time::Duration::from_secs(4);
        Lab::new().pull(settings, &reference).await.unwrap();
        assert_eq!(origin.asked_for(&image.layer).len(), 1);
    }
    // Alone, it is told.
    let alone = Fake::start(|_| Answer::Silence);
    let mut quick = settings();
    (quick.attempts, quick.patience) = (1, std::time::Duration::from_millis(50));
    let error = Lab::new()
        .pull(quick, &alone.reference("app:1"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("timeout"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_told_and_costs_no_memory() {
    let garbage = Fake::start(|_| Answer::Noise);
    let mut once = settings();
    once.attempts = 1;
    let error = Lab::new()
        .pull(once.clone(), &garbage.reference("app:1"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");

    let huge = Fake::start(|seen| match seen.method.as_str() {
        "HEAD" => status(405),
        _ => ok(vec![b' '; 5 << 20]),
    });
    let error = Lab::new()
        .pull(once.clone(), &huge.reference("app:1"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("more than 4194304 bytes"),
        "{error}"
    );

    for (body, words) in [
        ("<html>", "is no image"),
        ("{}", "is no image"),
        (
            r#"{"schemaVersion":1,"name":"x","fsLayers":[]}"#,
            "schema 1 support has been removed",
        ),
        (
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":7}"#,
            "cannot read manifest",
        ),
        (
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
            "no matching manifest",
        ),
    ] {
        let fake = Fake::start(move |seen| {
            if seen.method == "HEAD" {
                status(405)
            } else {
                ok(body)
            }
        });
        let error = Lab::new()
            .pull(once.clone(), &fake.reference("app:1"))
            .await
            .unwrap_err();
        assert!(error.to_string().contains(words), "{body}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pulls_of_the_same_fetch_it_once() {
    let image = Image::new(11);
    let (layer, served) = (image.layer.clone(), image.clone());
    let fake = Fake::start(move |seen| served.answer(seen));
    let lab = Lab::new();
    let (one, two) = (fake.reference("one:1"), fake.reference("two:1"));
    let (first, second) = tokio::join!(lab.pull(settings(), &one), lab.pull(settings(), &two));
    assert_eq!(first.unwrap().digest, second.unwrap().digest);
    assert_eq!(fake.asked_for(&layer).len(), 1);
    let again = lab.pull(settings(), &one).await.unwrap();
    assert!(again.was_here);
    assert_eq!(
        fake.seen().last().unwrap().method,
        "HEAD",
        "what is here costs one question"
    );
}
