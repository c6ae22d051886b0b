//! The ways of the known registries, each as its fake has them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fake::{Answer, Fake, Image, Lab, Seen, ok, settings, status};
use hull_registry::{Client, Credentials, Error};

/// What a registry asks for, and what it then accepts.
struct Ways {
    name: &'static str,
    /// `{}` is the registry's own address.
    challenge: &'static str,
    token_path: &'static str,
    credentials: Option<Credentials>,
    /// What the token request must have.
    token_request: &'static [&'static str],
    /// The token's member in the answer.
    member: &'static str,
}

fn identity(token: &str) -> Credentials {
    Credentials {
        identity_token: token.to_owned(),
        ..Credentials::default()
    }
}

fn known() -> Vec<Ways> {
    open_ones().into_iter().chain(companies_own()).collect()
}

fn open_ones() -> Vec<Ways> {
    vec![
        Ways {
            name: "Docker Hub",
            challenge: r#"Bearer realm="http://{}/token",service="registry.docker.io",scope="repository:library/app:pull""#,
            token_path: "/token",
            credentials: None,
            token_request: &[
                "service=registry.docker.io",
                "scope=repository%3Alibrary%2Fapp%3Apull",
            ],
            member: "token",
        },
        Ways {
            name: "GHCR",
            challenge: r#"Bearer realm="http://{}/token",service="ghcr.io",scope="repository:user/image:pull""#,
            token_path: "/token",
            credentials: Some(Credentials::basic("me", "ghp_secret")),
            token_request: &[
                "service=ghcr.io",
                "account=me",
                "authorization: Basic bWU6Z2hwX3NlY3JldA==",
            ],
            member: "token",
        },
        Ways {
            name: "Quay",
            challenge: r#"Bearer realm="http://{}/v2/auth",service="quay.io""#,
            token_path: "/v2/auth",
            credentials: Some(Credentials::basic("org+robot", "secret")),
            token_request: &["service=quay.io", "scope=repository%3Alibrary%2Fapp%3Apull"],
            member: "token",
        },
        Ways {
            name: "ECR",
            challenge: r#"Basic realm="https://1.dkr.ecr.eu-central-1.amazonaws.com/",service="ecr.amazonaws.com""#,
            token_path: "",
            credentials: Some(Credentials::basic("AWS", "eyJ.long")),
            token_request: &[],
            member: "",
        },
    ]
}

fn companies_own() -> Vec<Ways> {
    vec![
        Ways {
            name: "Google Artifact Registry",
            challenge: r#"Bearer realm="http://{}/v2/token",service="eu-docker.pkg.dev""#,
            token_path: "/v2/token",
            credentials: Some(Credentials::basic("oauth2accesstoken", "ya29.x")),
            token_request: &["service=eu-docker.pkg.dev"],
            member: "token",
        },
        Ways {
            name: "ACR",
            challenge: r#"Bearer realm="http://{}/oauth2/token",service="me.azurecr.io""#,
            token_path: "/oauth2/token",
            credentials: Some(identity("refresh-me")),
            token_request: &[
                "grant_type=refresh_token",
                "refresh_token=refresh-me",
                "service=me.azurecr.io",
            ],
            member: "access_token",
        },
        Ways {
            name: "Artifactory",
            challenge: r#"Bearer realm="http://{}/api/docker/local/v2/token",service="artifactory""#,
            token_path: "/api/docker/local/v2/token",
            credentials: Some(Credentials::basic("me", "key")),
            token_request: &["service=artifactory"],
            member: "access_token",
        },
        Ways {
            name: "Harbor",
            challenge: r#"Bearer realm="http://{}/service/token",service="harbor-registry",scope="repository:library/app:pull""#,
            token_path: "/service/token",
            credentials: Some(Credentials::basic("robot$ci", "secret")),
            token_request: &["service=harbor-registry", "account=robot%24ci"],
            member: "token",
        },
    ]
}

impl Ways {
    fn answer(&self, image: &Image, seen: &Seen, address: &str) -> Answer {
        if !self.token_path.is_empty() && seen.path.starts_with(self.token_path) {
            return ok(format!(
                r#"{{"{}":"the-token","expires_in":300}}"#,
                self.member
            ));
        }
        let wanted = match self.token_path {
            "" => "Basic QVdTOmV5Si5sb25n",
            _ => "Bearer the-token",
        };
        if seen.header("authorization") == Some(wanted) {
            return image.answer(seen);
        }
        Answer::Reply(
            401,
            vec![("WWW-Authenticate", self.challenge.replace("{}", address))],
            Vec::new(),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_known_registry_is_spoken_to_in_its_own_way() {
    for ways in known() {
        let (ways, image) = (Arc::new(ways), Image::new(20));
        let (own, served) = (Arc::clone(&ways), image.clone());
        let fake = Fake::start(move |seen| {
            let address = seen.header("host").unwrap_or_default().to_owned();
            own.answer(&served, seen, &address)
        });
        let reference = fake.reference("library/app:1");
        let pulled = Lab::new()
            .pull_as(settings(), &reference, ways.credentials.clone())
            .await;
        assert_eq!(
            pulled.map(|pulled| pulled.digest).ok().as_ref(),
            Some(&image.manifest),
            "{}",
            ways.name
        );
        let tokens: Vec<Seen> = fake
            .seen()
            .into_iter()
            .filter(|seen| !ways.token_path.is_empty() && seen.path.starts_with(ways.token_path))
            .collect();
        if ways.token_path.is_empty() {
            continue;
        }
        assert_eq!(
            tokens.len(),
            1,
            "{}: one token does for all of a pull",
            ways.name
        );
        let request = format!(
            "{} {} authorization: {}",
            tokens[0].path,
            tokens[0].body,
            tokens[0].header("authorization").unwrap_or_default()
        );
        for part in ways.token_request {
            assert!(
                request.contains(part),
                "{}: {part} is missing in {request}",
                ways.name
            );
        }
        let others = fake
            .seen()
            .into_iter()
            .filter(|seen| seen.header("authorization").is_none())
            .count();
        assert!(
            others <= 2,
            "{}: the first question alone is asked without a token: {others}",
            ways.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_runs_out_is_renewed() {
    let image = Image::new(21);
    let made = AtomicUsize::new(0);
    let used = AtomicUsize::new(0);
    let fake = Fake::start(move |seen| {
        if seen.path.starts_with("/token") {
            return ok(format!(
                r#"{{"token":"t{}"}}"#,
                made.fetch_add(1, Ordering::SeqCst)
            ));
        }
        // Each token is good for one request.
        let newest = format!("Bearer t{}", made.load(Ordering::SeqCst).wrapping_sub(1));
        if seen.header("authorization") == Some(&newest)
            && used.fetch_max(made.load(Ordering::SeqCst), Ordering::SeqCst)
                < made.load(Ordering::SeqCst)
        {
            return image.answer(seen);
        }
        let realm = format!(
            "Bearer realm=\"http://{}/token\",service=\"x\"",
            seen.header("host").unwrap_or_default()
        );
        Answer::Reply(401, vec![("WWW-Authenticate", realm)], Vec::new())
    });
    let mut one_by_one = settings();
    one_by_one.downloads = 1;
    Lab::new()
        .pull(one_by_one, &fake.reference("app:1"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_so_in_dockers_words() {
    let basic = |seen: &Seen| {
        let is_right = seen.header("authorization") == Some("Basic bWU6c2VjcmV0");
        if is_right {
            return ok("{}");
        }
        Answer::Reply(
            401,
            vec![("WWW-Authenticate", "Basic realm=\"x\"".to_owned())],
            br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#.to_vec(),
        )
    };
    let fake = Fake::start(basic);
    let error = Lab::new()
        .pull(settings(), &fake.reference("team/app:1"))
        .await
        .unwrap_err();
    let expected = format!(
        "pull access denied for {}/team/app, repository does not exist or may require 'docker login'",
        fake.address
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
    let client = Client::new(settings());
    let server = fake.address.to_string();
    assert_eq!(
        client
            .login(&server, &Credentials::basic("me", "secret"))
            .await
            .unwrap(),
        None
    );
    let error = client
        .login(&server, &Credentials::basic("me", "wrong"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Login { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_keeps_what_the_registry_gives_instead_of_the_password() {
    let client = Client::new(settings());
    let tokens = Fake::start(|seen| {
        match (
            seen.path.starts_with("/token"),
            seen.header("authorization"),
        ) {
            (true, Some("Basic bWU6c2VjcmV0")) => ok(r#"{"token":"t","refresh_token":"keep-me"}"#),
            (true, _) => Answer::Reply(
                401,
                Vec::new(),
                br#"{"details":"incorrect username or password"}"#.to_vec(),
            ),
            (false, Some("Bearer t")) => ok("{}"),
            (false, _) => {
                let realm = format!(
                    "Bearer realm=\"http://{}/token\",service=\"x\"",
                    seen.header("host").unwrap_or_default()
                );
                Answer::Reply(401, vec![("WWW-Authenticate", realm)], Vec::new())
            }
        }
    });
    let server = format!("http://{}/v2/", tokens.address);
    assert_eq!(
        client
            .login(&server, &Credentials::basic("me", "secret"))
            .await
            .unwrap()
            .as_deref(),
        Some("keep-me")
    );
    let error = client
        .login(&server, &Credentials::basic("me", "wrong"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("unauthorized: incorrect username or password"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_searched() {
    let fake = Fake::start(|seen| {
        if !seen.path.starts_with("/v1/search?q=box&n=25") {
            return status(404);
        }
        ok(
            r#"{"num_results":2,"results":[{"name":"busybox","description":"small","star_count":9,"is_official":true},{"name":"me/box","star_count":1}]}"#,
        )
    });
    let client = Client::new(settings());
    let term = format!("{}/box", fake.address);
    let filter = hull_registry::client::SearchFilter::default();
    let found = client.search(&term, &filter, None).await.unwrap();
    assert_eq!(
        (found.len(), found[0].name.as_str(), found[0].star_count),
        (2, "busybox", 9)
    );
    let official = hull_registry::client::SearchFilter {
        official: Some(true),
        ..filter
    };
    assert_eq!(
        client.search(&term, &official, None).await.unwrap().len(),
        1
    );
}
