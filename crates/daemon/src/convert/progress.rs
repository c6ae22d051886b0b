//! What a transfer tells, in Docker's words.

use hull_api::progress::{ProgressDetail, ProgressMessage};
use hull_oci::{Digest, Reference};
use hull_registry::progress::{Amount, Event, Stage};
use serde_json::json;

/// The messages of an event, in order.
pub(crate) fn messages(event: &Event) -> Vec<ProgressMessage> {
    match event {
        Event::Pulling(reference) => vec![ProgressMessage {
            id: which(reference),
            ..ProgressMessage::status(format!("Pulling from {}", reference.path()))
        }],
        Event::Pushing(reference) => vec![ProgressMessage::status(format!(
            "The push refers to repository [{}]",
            reference.repository()
        ))],
        Event::Layer(layer, stage) => vec![of_layer(layer, stage)],
        Event::Pulled {
            reference,
            digest,
            was_here,
        } => {
            let outcome = if *was_here {
                "Image is up to date"
            } else {
                "Downloaded newer image"
            };
            vec![
                ProgressMessage::status(format!("Digest: {digest}")),
                ProgressMessage::status(format!("Status: {outcome} for {}", reference.familiar())),
            ]
        }
        Event::Pushed { reference, target } => {
            let (tag, digest, size) = (which(reference), &target.digest, target.size);
            vec![
                ProgressMessage::status(format!("{tag}: digest: {digest} size: {size}")),
                // Docker 29 leaves it out; programs made for older ones look for it.
                aux(json!({"Tag": tag, "Digest": digest, "Size": size})),
            ]
        }
        Event::Filled {
            reference,
            digest,
            volume,
        } => vec![
            ProgressMessage::status(format!("Digest: {digest}")),
            ProgressMessage::status(format!(
                "Status: Volume {volume} holds what {} does",
                reference.familiar()
            )),
            aux(json!({"Volume": volume, "Digest": digest})),
        ],
        Event::Loaded(text) => vec![ProgressMessage::stream(format!("{text}\n"))],
        Event::Note(text) => vec![ProgressMessage::status(text.clone())],
        Event::PushedOne { index, manifest } => vec![aux(json!({
            "manifestPushedInsteadOfIndex": true,
            "originalIndex": super::image::descriptor(index),
            "selectedManifest": super::image::descriptor(manifest),
        }))],
    }
}

fn of_layer(layer: &Digest, stage: &Stage) -> ProgressMessage {
    let (text, amount) = match stage {
        Stage::Known => ("Pulling fs layer".to_owned(), Amount::default()),
        Stage::Exists => ("Already exists".to_owned(), Amount::default()),
        Stage::Waiting => ("Waiting".to_owned(), Amount::default()),
        Stage::Downloading(amount) => ("Downloading".to_owned(), *amount),
        Stage::Downloaded => ("Download complete".to_owned(), Amount::default()),
        Stage::Loading(amount) => ("Loading layer".to_owned(), *amount),
        Stage::Extracting(amount) => ("Extracting".to_owned(), *amount),
        Stage::Complete => ("Pull complete".to_owned(), Amount::default()),
        Stage::Preparing => ("Preparing".to_owned(), Amount::default()),
        Stage::Uploading(amount) => ("Pushing".to_owned(), *amount),
        Stage::Uploaded => ("Pushed".to_owned(), Amount::default()),
        Stage::AlreadyThere => ("Layer already exists".to_owned(), Amount::default()),
        Stage::Mounted(from) => (format!("Mounted from {from}"), Amount::default()),
        Stage::Skipped => ("Skipped foreign layer".to_owned(), Amount::default()),
    };
    let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let detail = ProgressDetail {
        current: number(amount.current),
        total: number(amount.total),
    };
    ProgressMessage::layer(layer.short(), text, detail)
}

/// A tag, or a digest.
fn which(reference: &Reference) -> String {
    match (reference.tag(), reference.digest()) {
        (Some(tag), _) => tag.to_owned(),
        (None, Some(digest)) => digest.to_string(),
        (None, None) => "latest".to_owned(),
    }
}

fn aux(value: serde_json::Value) -> ProgressMessage {
    ProgressMessage {
        aux: Some(value),
        detail: Some(ProgressDetail::default()),
        ..ProgressMessage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(event: &Event) -> Vec<String> {
        let text = |message: &ProgressMessage| {
            String::from_utf8(message.to_line())
                .unwrap()
                .trim_end()
                .to_owned()
        };
        messages(event).iter().map(text).collect()
    }

    #[test]
    fn transfers_are_told_in_dockers_words() {
        let digest = Digest::of(b"");
        let reference: Reference = "busybox:1".parse().unwrap();
        assert_eq!(
            lines(&Event::Pulling(reference.clone())),
            [r#"{"status":"Pulling from library/busybox","id":"1"}"#]
        );
        let amount = Amount {
            current: 5,
            total: 9,
        };
        assert_eq!(
            lines(&Event::Layer(digest.clone(), Stage::Downloading(amount))),
            [
                r#"{"status":"Downloading","progressDetail":{"current":5,"total":9},"id":"e3b0c44298fc"}"#
            ]
        );
        let pulled = Event::Pulled {
            reference: reference.clone(),
            digest: digest.clone(),
            was_here: true,
        };
        assert_eq!(
            lines(&pulled)[1],
            r#"{"status":"Status: Image is up to date for busybox:1"}"#
        );
        let target = Box::new(hull_oci::Descriptor::new("", digest.clone(), 7));
        let pushed = lines(&Event::Pushed { reference, target });
        assert_eq!(
            pushed[0],
            format!(r#"{{"status":"1: digest: {digest} size: 7"}}"#)
        );
        assert_eq!(
            pushed[1],
            format!(
                r#"{{"progressDetail":{{}},"aux":{{"Digest":"{digest}","Size":7,"Tag":"1"}}}}"#
            )
        );
    }
}
