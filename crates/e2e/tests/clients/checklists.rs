//! All endpoints and flags of Docker's, and whether Hull serves them: asked of the running programs, never believed.
//!
//! `crates/e2e/checklists/*.tsv` say what is served. A test fails when something that was served no longer is, and when
//! something new is not yet entered; `HULL_UPDATE_CHECKLISTS=1` writes what is true now. What is missing is printed.

use std::fs;
use std::path::PathBuf;

use hull_testkit::{Client, Daemon, Scene, places};

/// One line: what it names, and whether it is served.
struct Line {
    name: String,
    detail: String,
    served: bool,
}

fn file(name: &str) -> PathBuf {
    places::repository()
        .join("crates/e2e/checklists")
        .join(name)
}

fn read(name: &str) -> Vec<Line> {
    let text = fs::read_to_string(file(name)).unwrap();
    let lines = text.lines().skip(1).map(|line| {
        let mut fields = line.split('\t').map(str::to_owned);
        let mut next = || fields.next().expect("three fields a line");
        Line {
            name: next(),
            detail: next(),
            served: next() == "yes",
        }
    });
    lines.collect()
}

/// Compares the list with the truth; see above.
#[track_caller]
#[expect(
    clippy::print_stdout,
    reason = "the list of what is missing is what a reader wants"
)]
fn settle(name: &str, lines: &[Line], truth: impl Fn(&Line) -> bool) {
    let now: Vec<bool> = lines.iter().map(truth).collect();
    let missing: Vec<_> = lines
        .iter()
        .zip(&now)
        .filter(|(_, now)| !**now)
        .map(|(line, _)| label(line))
        .collect();
    println!(
        "{name}: {} of {} served; missing:\n  {}",
        lines.len() - missing.len(),
        lines.len(),
        missing.join("\n  ")
    );
    if std::env::var_os("HULL_UPDATE_CHECKLISTS").is_some() {
        let head = fs::read_to_string(file(name))
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .to_owned();
        let rows = lines.iter().zip(&now).map(|(line, now)| {
            format!(
                "{}\t{}\t{}\n",
                line.name,
                line.detail,
                if *now { "yes" } else { "no" }
            )
        });
        fs::write(file(name), format!("{head}\n{}", rows.collect::<String>())).unwrap();
        return;
    }
    let lost = changed(lines, &now, true);
    assert!(
        lost.is_empty(),
        "no longer served:\n  {}",
        lost.join("\n  ")
    );
    let gained = changed(lines, &now, false);
    assert!(
        gained.is_empty(),
        "served now: run with HULL_UPDATE_CHECKLISTS=1 and commit:\n  {}",
        gained.join("\n  ")
    );
}

fn changed(lines: &[Line], now: &[bool], was: bool) -> Vec<String> {
    let pairs = lines
        .iter()
        .zip(now)
        .filter(|(line, now)| line.served == was && **now != was);
    pairs.map(|(line, _)| label(line)).collect()
}

fn label(line: &Line) -> String {
    format!("{} {}", line.name, line.detail)
}

#[test]
fn every_endpoint_is_served_or_known_to_be_missing() {
    Scene::play(Client::Docker, |scene| {
        settle("endpoints.tsv", &read("endpoints.tsv"), |line| {
            serves(&scene.daemon, &line.name, &line.detail)
        });
    });
}

/// An endpoint is served when the daemon knows it: not a page that is not found, and nothing it says it cannot do.
fn serves(daemon: &Daemon, method: &str, path: &str) -> bool {
    let path: String = path
        .split('/')
        .map(|part| {
            if part.starts_with('{') {
                "nobody"
            } else {
                part
            }
        })
        .collect::<Vec<_>>()
        .join("/");
    // Bounded: streams that never end answer their header at once.
    let query = match path.as_str() {
        "/events" => "?until=1",
        "/images/create" => "?fromSrc=-&repo=checklist",
        _ => "",
    };
    let body = ["POST", "PUT"]
        .contains(&method)
        .then_some(("application/json", b"{}".as_slice()));
    let Ok(answer) = daemon.request(method, &format!("{path}{query}"), body) else {
        return false;
    };
    let known =
        answer.status != 501 && !(answer.status == 404 && answer.message() == "page not found");
    known && (method != "HEAD" || answer.status != 404 || answer.header("content-type").is_some())
}

#[test]
fn every_flag_is_served_or_known_to_be_missing() {
    let lines = read("flags.tsv");
    let (reference, front) = (hull(&["reference"]), hull(&["--help"]));
    let page = |command: &str| {
        let sections = reference.split("\n## hull ");
        let mut own = sections.filter(|section| is_called(section, command));
        own.next().unwrap_or_default()
    };
    settle("flags.tsv", &lines, |line| {
        let page = match line.name.as_str() {
            "docker" => front.as_str(),
            name => page(name),
        };
        if line.detail.is_empty() {
            !page.is_empty()
        } else {
            names_flag(page, &line.detail)
        }
    });
}

/// Whether a section of the reference is about a command, by any of its names.
fn is_called(section: &str, command: &str) -> bool {
    section.lines().next() == Some(command)
        || section
            .lines()
            .any(|line| line.starts_with("Also: ") && line.contains(&format!("`hull {command}`")))
}

/// What `hull` prints.
fn hull(words: &[&str]) -> String {
    let output = std::process::Command::new(places::program("hull"))
        .args(words)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn names_flag(page: &str, flag: &str) -> bool {
    page.split(|letter: char| !(letter.is_alphanumeric() || letter == '-'))
        .any(|word| word == flag)
}
