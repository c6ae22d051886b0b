//! Projects in `corpus/`: what Docker's Compose 2.40 made of each is recorded beside it, and is what
//! Hull must make of it, letter for letter; or, where both refuse, what Hull says.
//!
//! A directory is a case. `args` holds flags, one a line, and `env NAME=VALUE`. To record anew:
//! `HULL_RECORD_COMPOSE=/path/to/docker-compose cargo test -p hull-compose --test corpus`.

#![expect(
    clippy::unwrap_used,
    reason = "a case that cannot be read fails right there"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use hull_compose::node::{Map, Node, Value};
use hull_compose::{Loaded, Options, load, render};

/// What a path in a case begins with, wherever the case lies.
const PLACE: &str = "/CASE";
/// The same for a path beside the case.
const CORPUS: &str = "/CORPUS";

/// Where the corpus lies while hashes are recorded.
const HASHED: &str = "/var/tmp/hull-corpus";

#[derive(Default)]
struct Case {
    directory: PathBuf,
    flags: Vec<String>,
    /// Flags of `config` itself.
    config: Vec<String>,
    environment: BTreeMap<String, String>,
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut cases: Vec<Case> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| {
            let directory = entry.unwrap().path();
            let mut case = Case {
                directory,
                ..Case::default()
            };
            case.environment
                .insert("HOME".into(), "/home/someone".into());
            let args = std::fs::read_to_string(case.directory.join("args")).unwrap_or_default();
            for line in args.lines().filter(|line| !line.is_empty()) {
                match line
                    .strip_prefix("env ")
                    .and_then(|pair| pair.split_once('='))
                {
                    Some((name, value)) => _ = case.environment.insert(name.into(), value.into()),
                    None => {
                        let words = line.split(' ').map(str::to_owned);
                        match line.starts_with("--no-") {
                            true => case.config.extend(words),
                            false => case.flags.extend(words),
                        }
                    }
                }
            }
            case
        })
        .collect();
    cases.sort_by(|a, b| a.directory.cmp(&b.directory));
    cases
}

impl Case {
    fn options(&self) -> Options {
        let mut options = Options {
            current_directory: self.directory.to_str().unwrap().to_owned(),
            environment: self.environment.clone(),
            ..Options::default()
        };
        for flag in &self.config {
            match flag.as_str() {
                "--no-path-resolution" => options.resolve_paths = false,
                "--no-normalize" => options.normalize = false,
                "--no-consistency" => options.check = false,
                "--no-interpolate" => {
                    options.interpolate = false;
                    options.check = false;
                    options.resolve_environment = false;
                    options.resolve_labels = false;
                    options.keep_unused = true;
                    options.profiles = vec!["*".into()];
                }
                other => panic!("{other} is not known here"),
            }
        }
        let mut flags = self.flags.iter();
        while let Some(flag) = flags.next() {
            let mut value = || flags.next().unwrap().clone();
            match flag.as_str() {
                "-f" => options.files.push(value()),
                "-p" => options.project_name = Some(value()),
                "--profile" => options.profiles.push(value()),
                "--env-file" => options.env_files.get_or_insert_default().push(value()),
                "--project-directory" => options.project_directory = Some(value()),
                other => panic!(
                    "{}: the flag {other} is not known here",
                    self.directory.display()
                ),
            }
        }
        options
    }

    fn neutral(&self, text: &str) -> String {
        let corpus = self.directory.parent().unwrap();
        text.replace(self.directory.to_str().unwrap(), PLACE)
            .replace(corpus.to_str().unwrap(), CORPUS)
    }

    fn recorded(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.directory.join(name)).ok()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.join(name), text).unwrap();
    }

    /// What Docker's Compose says, written beside the case.
    fn record(&self, program: &str) {
        for name in [
            "expected.yaml",
            "expected.json",
            "expected.hash",
            "expected.label",
            "refused",
        ] {
            _ = std::fs::remove_file(self.directory.join(name));
        }
        let run = |more: &[&str]| {
            Command::new(program)
                .args(&self.flags)
                .arg("config")
                .args(&self.config)
                .args(more)
                .current_dir(&self.directory)
                .env_clear()
                .envs(&self.environment)
                .output()
                .unwrap()
        };
        let yaml = run(&[]);
        if !yaml.status.success() {
            self.write(
                "refused",
                &self.neutral(&String::from_utf8_lossy(&yaml.stderr)),
            );
            return;
        }
        self.write(
            "expected.yaml",
            &self.neutral(&String::from_utf8_lossy(&yaml.stdout)),
        );
        let json = run(&["--format", "json"]);
        self.write(
            "expected.json",
            &self.neutral(&String::from_utf8_lossy(&json.stdout)),
        );
        if self.config.is_empty() {
            self.record_hashes(program, &yaml.stdout);
        }
    }

    /// Hashes are of absolute paths, too: they are recorded of a copy that lies where no corpus does.
    fn record_hashes(&self, program: &str, model: &[u8]) {
        let corpus = self.directory.parent().unwrap();
        let copied = Command::new("cp")
            .arg("-a")
            .arg(corpus)
            .arg(HASHED)
            .status();
        assert!(copied.unwrap().success());
        let place = Path::new(HASHED).join(self.directory.file_name().unwrap());
        let moved =
            |text: &[u8]| String::from_utf8_lossy(text).replace(corpus.to_str().unwrap(), HASHED);
        // A container is made of the whole model, with files of variables read into it.
        std::fs::write(place.join("#model.yaml"), moved(model)).unwrap();
        let run = |flags: &[String]| {
            let hashes = Command::new(program)
                .args(flags)
                .args(["config", "--hash", "*"])
                .current_dir(&place)
                .env_clear()
                .envs(&self.environment)
                .output()
                .unwrap();
            let mut lines: Vec<String> = String::from_utf8(hashes.stdout)
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect();
            lines.sort_unstable();
            lines.join("\n") + "\n"
        };
        self.write("expected.hash", &run(&self.flags));
        // Docker's cannot read all that it writes.
        let whole = ["-f", "#model.yaml", "--profile", "*"].map(str::to_owned);
        match run(&whole) {
            lines if lines.trim().is_empty() => {}
            lines => self.write("expected.label", &lines),
        }
        std::fs::remove_dir_all(HASHED).unwrap();
    }

    /// Names of services with hashes of them, had they been loaded where they were recorded.
    fn hashes(&self, loaded: &Loaded, hash: impl Fn(&Map) -> String) -> String {
        let corpus = self.directory.parent().unwrap().to_str().unwrap();
        let mut services = loaded.project.get("services").unwrap().clone();
        moved(&mut services, corpus);
        let services = services.as_map().unwrap();
        let mut lines: Vec<String> = services
            .iter()
            .map(|entry| format!("{} {}", entry.key, hash(entry.node.as_map().unwrap())))
            .collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    /// An error as it is recorded, with its hint.
    fn said(&self, error: &hull_compose::error::LoadError) -> String {
        let hint = error.hint().map(|hint| format!("hint: {hint}\n"));
        let text = format!("{}\n{}", error.full(), hint.unwrap_or_default());
        self.neutral(&text)
    }

    fn check(&self, failures: &mut Vec<String>) {
        let name = self
            .directory
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let mut compare = |what: &str, ours: &str, recorded: Option<String>| {
            let Some(theirs) = recorded else { return };
            if ours.trim_end() != theirs.trim_end() {
                failures.push(format!(
                    "{name}: {what}\n{}",
                    difference(theirs.trim_end(), ours.trim_end())
                ));
            }
        };
        match load(&self.options()) {
            Ok(loaded) => {
                if let Some(theirs) = self.recorded("refused") {
                    failures.push(format!("{name}: Docker's Compose refuses it: {theirs}"));
                    return;
                }
                let is_as_written = self.config.iter().any(|flag| flag == "--no-interpolate");
                let (yaml, json) = match is_as_written {
                    true => (
                        render::written_yaml(&loaded.project),
                        render::written_json(&loaded.project),
                    ),
                    false => (
                        render::project_yaml(&loaded.project),
                        render::project_json(&loaded.project),
                    ),
                };
                for (what, ours) in [("yaml", yaml), ("json", json)] {
                    let recorded = self.recorded(&format!("expected.{what}"));
                    compare(what, &self.neutral(&ours), recorded);
                }
                if is_as_written {
                    return;
                }
                compare(
                    "hash on containers",
                    &self.hashes(&loaded, render::service_hash),
                    self.recorded("expected.label"),
                );
                let unread = Options {
                    resolve_environment: false,
                    ..self.options()
                };
                let unread = load(&unread).unwrap();
                let written = |service: &Map| render::written_hash(service, &unread.environment);
                compare(
                    "config --hash",
                    &self.hashes(&unread, written),
                    self.recorded("expected.hash"),
                );
            }
            Err(error) => {
                let said = self.said(&error);
                if std::env::var_os("HULL_RECORD_COMPOSE").is_some()
                    && self.recorded("refused").is_some()
                {
                    self.write("expected.error", &said);
                }
                match self.recorded("expected.error") {
                    Some(expected) => compare("error", &said, Some(expected)),
                    None => failures.push(format!("{name}: {said}")),
                }
            }
        }
    }
}

/// Puts every path of a tree where hashes were recorded.
fn moved(node: &mut Node, corpus: &str) {
    match &mut node.value {
        Value::Text(text) => *text = text.replace(corpus, HASHED),
        Value::List(items) => items.iter_mut().for_each(|item| moved(item, corpus)),
        Value::Map(map) => map
            .0
            .iter_mut()
            .for_each(|entry| moved(&mut entry.node, corpus)),
        _ => {}
    }
}

/// The first lines that differ.
fn difference(theirs: &str, ours: &str) -> String {
    let (mut a, mut b) = (theirs.lines(), ours.lines());
    let mut before = "";
    loop {
        match (a.next(), b.next()) {
            (None, None) => return String::new(),
            (left, right) if left == right => before = left.unwrap_or_default(),
            (left, right) => {
                let rest = |lines: &mut std::str::Lines<'_>| {
                    lines.take(3).collect::<Vec<_>>().join("\n    ")
                };
                return format!(
                    "    {before}\n  Docker's:\n    {}\n    {}\n  Hull's:\n    {}\n    {}",
                    left.unwrap_or("(end)"),
                    rest(&mut a),
                    right.unwrap_or("(end)"),
                    rest(&mut b)
                );
            }
        }
    }
}

#[test]
fn a_project_means_what_docker_compose_takes_it_for() {
    let recorder = std::env::var("HULL_RECORD_COMPOSE").ok();
    let only = std::env::var("HULL_CORPUS_CASE").ok();
    let mut failures = Vec::new();
    let mut count = 0;
    for case in cases() {
        if only
            .as_deref()
            .is_some_and(|only| !case.directory.ends_with(only))
        {
            continue;
        }
        if let Some(program) = &recorder {
            case.record(program);
        }
        count += 1;
        case.check(&mut failures);
    }
    assert!(
        only.is_some() || count >= 60,
        "only {count} cases were found"
    );
    assert!(
        failures.is_empty(),
        "{} of {count} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
