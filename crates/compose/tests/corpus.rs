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

use hull_compose::{Options, load, render};

/// What a path in a case begins with, wherever the case lies.
const PLACE: &str = "/CASE";
/// The same for a path beside the case.
const CORPUS: &str = "/CORPUS";

#[derive(Default)]
struct Case {
    directory: PathBuf,
    flags: Vec<String>,
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
                    None => case.flags.extend(line.split(' ').map(str::to_owned)),
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
        for name in ["expected.yaml", "expected.json", "expected.hash", "refused"] {
            _ = std::fs::remove_file(self.directory.join(name));
        }
        let run = |more: &[&str]| {
            Command::new(program)
                .args(&self.flags)
                .arg("config")
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
        // Hashes are of absolute paths, too: only those of a case without any can be kept. And what
        // `config` prints for a service with files of variables is not what its containers get.
        let reads_files = self
            .recorded("compose.yaml")
            .is_some_and(|text| text.contains("env_file"));
        if !reads_files
            && !String::from_utf8_lossy(&yaml.stdout).contains(self.directory.to_str().unwrap())
        {
            self.write(
                "expected.hash",
                &String::from_utf8_lossy(&run(&["--hash", "*"]).stdout),
            );
        }
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
                compare(
                    "yaml",
                    &self.neutral(&render::project_yaml(&loaded.project)),
                    self.recorded("expected.yaml"),
                );
                compare(
                    "json",
                    &self.neutral(&render::project_json(&loaded.project)),
                    self.recorded("expected.json"),
                );
                let mut hashes: Vec<String> = loaded
                    .project
                    .map("services")
                    .unwrap()
                    .iter()
                    .map(|entry| {
                        format!(
                            "{} {}",
                            entry.key,
                            render::service_hash(entry.node.as_map().unwrap())
                        )
                    })
                    .collect();
                hashes.sort();
                let sorted = self.recorded("expected.hash").map(|text| {
                    let mut lines: Vec<&str> = text.lines().collect();
                    lines.sort_unstable();
                    lines.join("\n")
                });
                compare("hash", &hashes.join("\n"), sorted);
            }
            Err(error) => {
                let hint = error
                    .hint()
                    .map(|hint| format!("hint: {hint}\n"))
                    .unwrap_or_default();
                let said = self.neutral(&format!("{}\n{hint}", error.full()));
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
