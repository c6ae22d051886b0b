//! Lists of tags and of repositories, in pages.

use std::sync::Arc;

use http::{StatusCode, header};
use serde::Serialize;

use super::Request;
use crate::server::Registry;
use crate::server::answer::{self, Answer, Code, Outcome, Refusal, With as _};
use crate::server::route;

/// What one page holds at most, also when more is asked for.
const PAGE_MAX: usize = 10_000;

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a str,
    tags: &'a [String],
}

#[derive(Serialize)]
struct Catalog<'a> {
    repositories: &'a [String],
}

pub(super) async fn list(request: Request) -> Outcome {
    let mut all = request
        .store(|storage, name| {
            let tags = storage.tags(name)?;
            Ok((!tags.is_empty() || storage.has_repository(name)).then_some(tags))
        })
        .await?;
    let name = &request.name;
    if let Some(upstream) = &request.registry.upstream {
        all = upstream.tags(name, all).await?;
    }
    let Some(all) = all else {
        return Err(Refusal::new(
            Code::NameUnknown,
            format!("there is no repository {name} here"),
        ));
    };
    let query = request.parts.uri.query().unwrap_or_default();
    let page = Page::of(&all, query)?;
    let answer = answer::json(
        StatusCode::OK,
        &TagList {
            name: name.as_str(),
            tags: page.items,
        },
    );
    Ok(page.linked(answer, &format!("/v2/{name}/tags/list")))
}

/// The repositories.
pub(crate) async fn catalog(registry: &Arc<Registry>, query: &str) -> Outcome {
    let storage = registry.storage.clone();
    let names = tokio::task::spawn_blocking(move || storage.repositories()).await;
    let names = names.map_err(|panic| Refusal::new(Code::Unknown, panic.to_string()))??;
    let all: Vec<String> = names.iter().map(ToString::to_string).collect();
    let page = Page::of(&all, query)?;
    let answer = answer::json(
        StatusCode::OK,
        &Catalog {
            repositories: page.items,
        },
    );
    Ok(page.linked(answer, "/v2/_catalog"))
}

/// A part of a list.
#[derive(Debug, PartialEq, Eq)]
struct Page<'a> {
    items: &'a [String],
    /// How many were asked for, if there are more.
    more: Option<usize>,
}

impl<'a> Page<'a> {
    /// `n` items after `last`.
    fn of(all: &'a [String], query: &str) -> Result<Self, Refusal> {
        let asked = match route::query(query, "n").next() {
            None => PAGE_MAX,
            Some(text) => text
                .parse()
                .map_err(|_| Refusal::new(Code::Unsupported, format!("n={text} is no number")))
                .map_err(|refusal| Refusal {
                    status: StatusCode::BAD_REQUEST,
                    ..refusal
                })?,
        };
        let from = match route::query(query, "last").next() {
            Some(last) => all.partition_point(|item| *item <= last),
            None => 0,
        };
        let rest = &all[from..];
        let count = asked.min(PAGE_MAX).min(rest.len());
        Ok(Self {
            items: &rest[..count],
            more: (count > 0 && count < rest.len()).then_some(count),
        })
    }

    fn linked(&self, answer: Answer, path: &str) -> Answer {
        match (self.more, self.items.last()) {
            (Some(count), Some(last)) => answer.with(
                header::LINK,
                &format!("<{path}?n={count}&last={last}>; rel=\"next\""),
            ),
            _ => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another_to_the_end() {
        let all: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        for (query, items, more) in [
            ("", &all[..], None),
            ("n=2", &all[..2], Some(2)),
            ("n=2&last=b", &all[2..], None),
            ("n=3", &all[..], None),
            ("n=0", &all[..0], None),
            ("last=bb", &all[2..], None),
            ("last=z", &all[..0], None),
        ] {
            assert_eq!(
                Page::of(&all, query).unwrap(),
                Page { items, more },
                "{query}"
            );
        }
        assert_eq!(
            Page::of(&all, "n=x").unwrap_err().status,
            StatusCode::BAD_REQUEST
        );
    }
}
