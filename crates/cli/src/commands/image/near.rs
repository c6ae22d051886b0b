//! The way out when an image is not here: which tags of its repository are, or which name was probably meant.

use hull_api::client::ImageListOptions;
use hull_api::{Client, ClientError};
use hull_oci::Reference;

use super::reference;
use crate::connection::failure;
use crate::error::Error;
use crate::flags::suggest;
use crate::ui;

/// More tags than this are only counted.
const TAGS_MAX: usize = 8;

/// The error of an image that is missing, with what there is instead. Nothing is asked where advice is not told.
pub(in crate::commands) async fn beside(client: &Client, name: &str, error: Error) -> Error {
    if !ui::explains() {
        return error;
    }
    let Ok(images) = client.images(&ImageListOptions::default()).await else {
        return error;
    };
    let tags = images.into_iter().flat_map(|image| image.repo_tags);
    let known: Vec<Reference> = tags.filter_map(|tag| tag.parse().ok()).collect();
    match advice(name, &known) {
        Some(advice) => error.with_hint(advice),
        None => error,
    }
}

/// What a request about one image came to, in words for people.
pub(in crate::commands) async fn failed(client: &Client, name: &str, error: ClientError) -> Error {
    match error.is_not_found() {
        true => beside(client, name, failure(error)).await,
        false => failure(error),
    }
}

fn advice(name: &str, known: &[Reference]) -> Option<String> {
    let wanted = reference::parse(name).ok()?;
    let mut tags: Vec<String> = known
        .iter()
        .filter(|other| other.repository() == wanted.repository())
        .map(Reference::familiar)
        .collect();
    tags.sort();
    tags.dedup();
    if !tags.is_empty() {
        let shown = tags[..tags.len().min(TAGS_MAX)].join(", ");
        let more = match tags.len().saturating_sub(TAGS_MAX) {
            0 => String::new(),
            more => format!(
                ", and {more} more (`image ls {}`)",
                wanted.familiar_repository()
            ),
        };
        return Some(format!("here there is {shown}{more}"));
    }
    let mut names: Vec<String> = known.iter().map(Reference::familiar_repository).collect();
    names.sort();
    let wanted = wanted.familiar_repository();
    let nearest = suggest::nearest(&wanted, names.iter().map(String::as_str))?;
    Some(format!("here there is {nearest}: is that what was meant?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_tags_then_near_names() {
        let known = [
            "busybox:1.36",
            "busybox:latest",
            "localhost:5000/team/app:2",
        ];
        let known: Vec<Reference> = known.iter().map(|name| name.parse().unwrap()).collect();
        let table = [
            (
                "busybox:9",
                Some("here there is busybox:1.36, busybox:latest"),
            ),
            (
                "docker.io/library/busybox:9",
                Some("here there is busybox:1.36, busybox:latest"),
            ),
            (
                "localhost:5000/team/app",
                Some("here there is localhost:5000/team/app:2"),
            ),
            (
                "busibox",
                Some("here there is busybox: is that what was meant?"),
            ),
            ("postgres", None),
            ("NOT A NAME", None),
        ];
        for (name, expected) in table {
            assert_eq!(advice(name, &known).as_deref(), expected, "{name}");
        }
        let many: Vec<Reference> = (0..10)
            .map(|tag| format!("app:{tag}").parse().unwrap())
            .collect();
        assert!(
            advice("app:x", &many)
                .unwrap()
                .ends_with("app:7, and 2 more (`image ls app`)")
        );
    }
}
