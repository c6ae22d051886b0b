//! Tags of a repository.

use http::{Response, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;

use super::Session;
use super::request::Call;
use crate::{Error, Result};

/// One page of names.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// A registry whose pages have no end is lying.
const PAGES_MAX: usize = 1000;
/// More than any repository has.
const TAGS_MAX: usize = 200_000;

#[derive(Deserialize)]
struct TagList {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Session {
    /// All tags.
    pub(crate) async fn tags(&self) -> Result<Vec<String>> {
        let mut tags = Vec::new();
        let mut path = "/tags/list".to_owned();
        for _ in 0..PAGES_MAX {
            let call = Call::get(&path);
            let (host, answer) = self.first_answer(&call, |host| host.is_origin).await?;
            let next = next_page(&answer);
            let nonsense = |why: String| Error::Nonsense {
                host: host.authority.clone(),
                what: "a list of tags that cannot be read",
                why,
            };
            let body = Limited::new(answer.into_body(), PAGE_BYTES_MAX).collect();
            let body = tokio::time::timeout(self.client.settings().patience, body).await;
            let body = body.map_err(|_| nonsense("timeout".to_owned()))?;
            let bytes = body
                .map_err(|error| nonsense(error.to_string()))?
                .to_bytes();
            let page: TagList =
                serde_json::from_slice(&bytes).map_err(|error| nonsense(error.to_string()))?;
            tags.extend(page.tags.unwrap_or_default());
            if tags.len() > TAGS_MAX {
                break;
            }
            match next {
                Some(query) => path = format!("/tags/list?{query}"),
                None => return Ok(tags),
            }
        }
        Err(Error::Invalid(format!(
            "{} has more tags than anybody can pull",
            self.repository
        )))
    }
}

/// The query of the page after this answer.
pub(super) fn next_page(answer: &Response<Incoming>) -> Option<String> {
    next_query(answer.headers().get(header::LINK)?.to_str().ok()?)
}

/// The query of `</v2/x/tags/list?n=…&last=…>; rel="next"`.
fn next_query(link: &str) -> Option<String> {
    let (address, rest) = link.strip_prefix('<')?.split_once('>')?;
    let is_next = rest.contains("rel=\"next\"") || rest.contains("rel=next");
    let query = address.split_once('?')?.1;
    is_next.then(|| query.to_owned())
}

#[cfg(test)]
mod tests {
    use super::next_query;

    #[test]
    fn the_next_page_is_known_by_its_query() {
        assert_eq!(
            next_query("</v2/a/tags/list?n=2&last=b>; rel=\"next\"").as_deref(),
            Some("n=2&last=b")
        );
        assert_eq!(
            next_query("<https://r/v2/a/tags/list?last=b>; rel=next").as_deref(),
            Some("last=b")
        );
        assert_eq!(next_query("</v2/a/tags/list?n=2>; rel=\"prev\""), None);
        assert_eq!(next_query("nonsense"), None);
    }
}
