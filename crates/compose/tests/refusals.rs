//! What cannot lie in the corpus: files of other kinds, and very many of them.

#![expect(
    clippy::unwrap_used,
    reason = "a case that cannot be prepared fails right there"
)]

use std::path::PathBuf;

use hull_compose::{Options, load};

/// A directory that goes with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hull-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn pipe(&self, name: &str) {
        let made = std::process::Command::new("mkfifo")
            .arg(self.0.join(name))
            .status();
        assert!(made.unwrap().success());
    }

    /// What loading says, without the directory.
    fn refusal(&self) -> String {
        let options = Options {
            current_directory: self.0.to_str().unwrap().to_owned(),
            ..Options::default()
        };
        let error = load(&options).unwrap_err();
        error.full().replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_pipe_is_refused_wherever_a_file_is_named() {
    let place = Place::new("pipes");
    place.pipe("pipe");
    let kind = "cannot read pipe: it is a pipe, and not a file";
    place.write(
        "compose.yaml",
        "include: [pipe]\nservices: {a: {image: x}}\n",
    );
    assert_eq!(
        place.refusal(),
        format!("compose.yaml:1:11: `include`: {kind}")
    );
    place.write("inner.yaml", "services: {b: {image: x}}");
    place.write(
        "compose.yaml",
        "include:\n  - {path: inner.yaml, env_file: pipe}\n",
    );
    assert_eq!(
        place.refusal(),
        format!("compose.yaml:2:5: `include.env_file`: {kind}")
    );
    place.write(
        "compose.yaml",
        "services:\n  a: {extends: {file: pipe, service: a}}\n",
    );
    assert_eq!(
        place.refusal(),
        format!("compose.yaml:2:16: `extends`: {kind}")
    );
    for key in ["env_file", "label_file"] {
        place.write(
            "compose.yaml",
            &format!("services:\n  a: {{image: x, {key}: pipe}}\n"),
        );
        let column = 19 + key.len();
        assert_eq!(
            place.refusal(),
            format!("compose.yaml:2:{column}: `{key}`: {kind}")
        );
    }
    place.pipe(".env");
    assert_eq!(
        place.refusal(),
        "cannot read .env: it is a pipe, and not a file"
    );
    std::fs::remove_file(place.0.join("compose.yaml")).unwrap();
    std::fs::remove_file(place.0.join(".env")).unwrap();
    place.pipe("compose.yaml");
    assert_eq!(
        place.refusal(),
        "cannot read compose.yaml: it is a pipe, and not a file"
    );
}

#[test]
fn what_lies_too_deep_is_not_called_a_circle() {
    let place = Place::new("deep");
    let chain = |length: usize| {
        for number in 0..length {
            let next = number + 1;
            place.write(
                &format!("{number}.yaml"),
                &format!("include: [{next}.yaml]\n"),
            );
        }
        place.write(&format!("{length}.yaml"), "services: {a: {image: x}}\n");
        place.write("compose.yaml", "include: [0.yaml]\n");
    };
    chain(120);
    assert_eq!(
        place.refusal(),
        "99.yaml:1:11: `include`: 100.yaml lies more than 100 inclusions deep"
    );
    chain(99);
    let options = Options {
        current_directory: place.0.to_str().unwrap().to_owned(),
        ..Options::default()
    };
    let loaded = load(&options).unwrap();
    assert_eq!(loaded.project.map("services").unwrap().iter().count(), 1);
}
