//! `search`: the Hub's older interface, which other registries offer too.

use http::Response;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;

use super::hosts::{self, HUB, Host};
use super::request::{Call, words};
use super::{Client, Credentials};
use crate::{Error, Result};

const ANSWER_BYTES_MAX: usize = 4 << 20;
/// The host of the Hub's index.
const HUB_INDEX: &str = "index.docker.io";
const COUNT: u32 = 25;
const COUNT_MAX: u32 = 100;

/// What to find.
#[derive(Debug, Clone, Default)]
pub struct SearchFilter {
    /// At most so many; 0: 25.
    pub limit: u32,
    /// With at least so many stars.
    pub stars: u64,
    /// Only official ones, or only others.
    pub official: Option<bool>,
    /// Only those that are built automatically, or only others.
    pub automated: Option<bool>,
}

/// A repository that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// What its owner says.
    pub description: String,
    /// How many like it.
    pub star_count: u64,
    /// Whether Docker keeps it.
    pub is_official: bool,
    /// Whether it is built automatically; a thing of the past.
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    results: Option<Vec<Found>>,
}

impl Client {
    /// Repositories whose name or description has the term: `[registry/]words`.
    pub async fn search(
        &self,
        term: &str,
        filter: &SearchFilter,
        credentials: Option<&Credentials>,
    ) -> Result<Vec<Found>> {
        if filter.limit > COUNT_MAX {
            return Err(Error::Invalid(format!(
                "limit {} is outside the range of [1, {COUNT_MAX}]",
                filter.limit
            )));
        }
        let (domain, words_sought) = match term.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, rest)
            }
            _ => (HUB, term),
        };
        let hosts = hosts::plan(domain, self.settings())?;
        let mut host = hosts
            .into_iter()
            .find(|host| host.is_origin)
            .ok_or_else(|| Error::Invalid(format!("{domain} is no registry")))?;
        if domain == HUB {
            host.authority = HUB_INDEX.to_owned();
        }
        let count = if filter.limit == 0 {
            COUNT
        } else {
            filter.limit
        };
        let query = crate::wire::form(&[("q", words_sought), ("n", &count.to_string())]);
        let call = Call::get(format!("/v1/search?{query}"));
        let authorization = match credentials.filter(|own| !own.username.is_empty()) {
            Some(own) => {
                self.answer_challenge(&host, &super::challenge::Challenge::Basic, "", Some(own))
                    .await?
            }
            None => None,
        };
        let answer = self
            .send(&host, &call.path, &call, authorization.as_ref())
            .await?;
        let status = answer.status();
        if !status.is_success() {
            let url = format!("https://{}/v1/search", host.authority);
            let why = words(answer.into_body(), self.settings().patience).await;
            return Err(Error::Status {
                method: "GET".to_owned(),
                url,
                status,
                why,
            });
        }
        let page = self.read_page(&host, answer).await?;
        let passes = |found: &Found| {
            found.star_count >= filter.stars
                && filter
                    .official
                    .is_none_or(|wanted| found.is_official == wanted)
                && filter
                    .automated
                    .is_none_or(|wanted| found.is_automated == wanted)
        };
        Ok(page
            .results
            .unwrap_or_default()
            .into_iter()
            .filter(passes)
            .collect())
    }

    async fn read_page(&self, host: &Host, answer: Response<Incoming>) -> Result<Page> {
        let nonsense = |why: String| Error::Nonsense {
            host: host.authority.clone(),
            what: "a list that cannot be read",
            why,
        };
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
        let body = tokio::time::timeout(self.settings().patience, body)
            .await
            .map_err(|_| nonsense("timeout".to_owned()))?;
        let bytes = body
            .map_err(|error| nonsense(error.to_string()))?
            .to_bytes();
        serde_json::from_slice(&bytes).map_err(|error| nonsense(error.to_string()))
    }
}
