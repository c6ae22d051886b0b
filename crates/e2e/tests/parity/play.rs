//! Plays sections with both clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hull_testkit::{Daemon, places};

use crate::script::{self, Section, Step};
use crate::settle::{Filter, differences};

/// Seconds after which a line counts as hung.
const LIMIT_SECONDS: &str = "60";
/// Times may move on between two looks; three in a row do not.
const LOOKS_MAX: usize = 4;

/// A client with a home and a directory to work in.
struct Player {
    name: &'static str,
    /// Holds `docker`, the one or the other.
    programs: PathBuf,
    home: PathBuf,
    host: String,
}

/// What a line answered, as one text.
type Answer = String;

/// Plays a file; fails with all lines that differ and should not.
#[track_caller]
pub(crate) fn file(name: &str, text: &str) {
    let only = std::env::var("HULL_PARITY_ONLY").unwrap_or_default();
    let daemon = Daemon::start();
    daemon.load("busybox");
    let mut wrong = Vec::new();
    for section in script::parse(text).sections {
        if section.title.contains(&only) {
            wrong.extend(play(&daemon, &section));
        }
    }
    daemon.finish();
    assert!(
        wrong.is_empty(),
        "{name}: {} lines:\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

fn play(daemon: &Daemon, section: &Section<'_>) -> Vec<String> {
    let players = [
        Player::new(daemon, "docker", places::docker()),
        Player::new(daemon, "hull", places::program("hull")),
    ];
    let [docker, hull] = &players;
    let pairs = if section.reads {
        docker.prepare(section);
        let looks = section.steps.iter().map(|step| match step {
            Step::Compared(line) => (*line, agreed(docker, hull, line)),
            Step::Aside(line) => {
                docker.must(line);
                (*line, (String::new(), String::new()))
            }
        });
        let pairs = looks.collect();
        docker.clean_up(section);
        pairs
    } else {
        let theirs = docker.through(section);
        let ours = hull.through(section);
        let both = theirs.into_iter().zip(ours);
        both.map(|((line, theirs), (_, ours))| (line, (theirs, ours)))
            .collect::<Vec<_>>()
    };
    for player in &players {
        fs::remove_dir_all(player.root()).expect("cannot remove a client's home");
    }
    judge(section.title, &pairs)
}

/// The lines that differ and are not known to, and those that are known to and do not.
fn judge(title: &str, pairs: &[(&str, (Answer, Answer))]) -> Vec<String> {
    let known = differences();
    let wrong = pairs.iter().filter_map(|(line, (theirs, ours))| {
        let is_known = known.iter().any(|known| known.line == *line);
        match (theirs == ours, is_known) {
            (true, false) | (false, true) => None,
            (true, true) => Some(format!(
                "{title}: `{line}` no longer differs: take it out of differences.tsv"
            )),
            (false, false) => Some(format!(
                "{title}: `{line}`\n---- docker: {theirs}\n---- hull: {ours}"
            )),
        }
    });
    wrong.collect()
}

/// Both answers to a line that changes nothing, at the same moment.
fn agreed(docker: &Player, hull: &Player, line: &str) -> (Answer, Answer) {
    let mut filters = (Filter::paths_only(), Filter::paths_only());
    let mut looks = 1;
    loop {
        let both = (
            docker.answer(line, &mut filters.0),
            hull.answer(line, &mut filters.1),
        );
        if both.0 == both.1 || looks == LOOKS_MAX {
            return both;
        }
        looks += 1;
    }
}

impl Player {
    fn new(daemon: &Daemon, name: &'static str, program: PathBuf) -> Self {
        let root = daemon.path(&format!("player-{name}"));
        let player = Self {
            name,
            programs: root.join("bin"),
            home: root.join("home"),
            host: daemon.host(),
        };
        for directory in [&player.programs, &player.home, &player.work()] {
            fs::create_dir_all(directory).expect("cannot make a client's home");
        }
        let program = match program.is_absolute() {
            true => program,
            false => on_path(&program),
        };
        std::os::unix::fs::symlink(program, player.programs.join("docker"))
            .expect("cannot link the client");
        player
    }

    fn root(&self) -> &Path {
        self.home.parent().expect("a home has a parent")
    }

    fn work(&self) -> PathBuf {
        self.root().join("work")
    }

    /// The whole section, alone.
    fn through<'t>(&self, section: &Section<'t>) -> Vec<(&'t str, Answer)> {
        self.prepare(section);
        let mut filter = Filter::new();
        let answers = section.steps.iter().map(|step| match step {
            Step::Compared(line) => (*line, self.answer(line, &mut filter)),
            Step::Aside(line) => {
                self.must(line);
                (*line, String::new())
            }
        });
        let answers = answers.collect();
        self.clean_up(section);
        answers
    }

    fn prepare(&self, section: &Section<'_>) {
        for line in &section.before {
            self.must(line);
        }
    }

    fn clean_up(&self, section: &Section<'_>) {
        for line in &section.after {
            let _ = self.command(line).output();
        }
    }

    #[track_caller]
    fn must(&self, line: &str) {
        let output = self.command(line).output().expect("cannot run a shell");
        assert!(
            output.status.success(),
            "{}: `{line}`: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn answer(&self, line: &str, filter: &mut Filter) -> Answer {
        let output = self.command(line).output().expect("cannot run a shell");
        let code = output.status.code().unwrap_or(-1);
        assert_ne!(code, 124, "{}: `{line}` hung", self.name);
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let root = self.root().to_string_lossy().into_owned();
            filter.apply(&text.replace(&root, "<player>"))
        };
        let (mut filtered_out, mut filtered_err) = (String::new(), String::new());
        let mut apply = text;
        filtered_out.push_str(&apply(&output.stdout));
        filtered_err.push_str(&apply(&output.stderr));
        format!("exit {code}\n{filtered_out}\n-- stderr\n{filtered_err}")
    }

    fn command(&self, line: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", LIMIT_SECONDS, "sh", "-c", line])
            .env_clear()
            .env("PATH", format!("{}:{path}", self.programs.display()))
            .env("HOME", &self.home)
            .env("DOCKER_HOST", &self.host)
            .env("TZ", "UTC")
            .current_dir(self.work())
            .stdin(Stdio::null());
        command
    }
}

fn on_path(program: &Path) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.exists())
        .expect("docker is installed")
}
