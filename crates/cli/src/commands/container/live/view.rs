//! What stands on the screen, and what keys do to it. Pure.

use std::collections::HashMap;

use hull_api::types::ContainerSummary;

use crate::commands::container::stats::Figures;
use crate::format::tabwriter::align_with;

/// Inverse video.
const MARKED: &str = "\x1b[7m";
const KEYS: [&str; 9] = [
    "↑↓ choose",
    "l log",
    "s stop/start",
    "r restart",
    "p pause",
    "x kill",
    "d remove",
    "a all",
    "q quit",
];
/// Of the columns, those that stay wherever it is shown.
const COLUMNS_MIN: usize = 2;
/// Blanks between two keys, the most there is room for.
const GAPS: [&str; 3] = ["   ", "  ", " "];

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Enter,
    Escape,
    Letter(char),
}

/// What can be done to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Stop,
    Start,
    Restart,
    Pause,
    Unpause,
    Kill,
    Remove,
}

/// What a key asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Wish {
    Nothing,
    Quit,
    /// The log of the container with this id.
    Log(String),
    /// An act on the container with this id and name.
    Act(Act, String, String),
}

/// The screen.
#[derive(Default)]
pub(super) struct Screen {
    /// Whether anything is known yet.
    has_looked: bool,
    containers: Vec<ContainerSummary>,
    figures: HashMap<String, Figures>,
    /// The id of the marked one.
    marked: String,
    shows_running_only: bool,
    /// What is to be confirmed.
    asked: Option<(Act, String, String)>,
    log: Option<Vec<String>>,
    told: String,
}

impl Act {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Kill => "kill",
            Self::Remove => "remove",
        }
    }

    pub(super) fn done(self) -> &'static str {
        match self {
            Self::Stop => "stopped",
            Self::Start => "started",
            Self::Restart => "restarted",
            Self::Pause => "paused",
            Self::Unpause => "goes on",
            Self::Kill => "killed",
            Self::Remove => "removed",
        }
    }
}

impl Screen {
    pub(super) fn list(&mut self, containers: Vec<ContainerSummary>) {
        self.figures.retain(|id, _| {
            containers
                .iter()
                .any(|container| container.id == *id && container.state == "running")
        });
        self.has_looked = true;
        self.containers = containers;
        if !self.shown().any(|container| container.id == self.marked) {
            let first = self.shown().next().map(|first| first.id.clone());
            self.marked = first.unwrap_or_default();
        }
    }

    pub(super) fn measure(&mut self, figures: Figures) {
        self.figures.insert(figures.container().to_owned(), figures);
    }

    pub(super) fn show_log(&mut self, lines: Vec<String>) {
        self.log = Some(lines);
    }

    pub(super) fn tell(&mut self, text: String) {
        self.told = text;
    }

    fn shown(&self) -> impl Iterator<Item = &ContainerSummary> {
        let running_only = self.shows_running_only;
        self.containers.iter().filter(move |container| {
            !running_only || container.state != "exited" && container.state != "created"
        })
    }

    /// Takes a key.
    pub(super) fn press(&mut self, key: Key) -> Wish {
        if let Some((act, id, name)) = self.asked.take() {
            return match key {
                Key::Letter('y' | 'Y') => Wish::Act(act, id, name),
                _ => Wish::Nothing,
            };
        }
        if self.log.take().is_some() {
            return Wish::Nothing;
        }
        self.told.clear();
        match key {
            Key::Letter('q' | 'Q' | '\x03') | Key::Escape => Wish::Quit,
            Key::Up | Key::Letter('k') => self.step(false),
            Key::Down | Key::Letter('j') => self.step(true),
            Key::Letter('a') => {
                self.shows_running_only = !self.shows_running_only;
                Wish::Nothing
            }
            Key::Enter | Key::Letter('l') if !self.marked.is_empty() => {
                Wish::Log(self.marked.clone())
            }
            Key::Letter(letter) => self.ask(letter),
            Key::Enter => Wish::Nothing,
        }
    }

    fn step(&mut self, down: bool) -> Wish {
        let ids: Vec<&str> = self
            .shown()
            .map(|container| container.id.as_str())
            .collect();
        let at = ids.iter().position(|id| *id == self.marked).unwrap_or(0);
        let next = match down {
            true => (at + 1).min(ids.len().saturating_sub(1)),
            false => at.saturating_sub(1),
        };
        if let Some(id) = ids.get(next).map(|id| (*id).to_owned()) {
            self.marked = id;
        }
        Wish::Nothing
    }

    /// What cannot be taken back is asked for first.
    fn ask(&mut self, letter: char) -> Wish {
        let Some(container) = self
            .containers
            .iter()
            .find(|container| container.id == self.marked)
        else {
            return Wish::Nothing;
        };
        let is_up = matches!(
            container.state.as_str(),
            "running" | "paused" | "restarting"
        );
        let act = match letter {
            's' if is_up => Act::Stop,
            's' => Act::Start,
            'r' => Act::Restart,
            'p' if container.state == "paused" => Act::Unpause,
            'p' => Act::Pause,
            'x' => Act::Kill,
            'd' => Act::Remove,
            _ => return Wish::Nothing,
        };
        let (id, name) = (container.id.clone(), name(container));
        if matches!(act, Act::Start | Act::Pause | Act::Unpause) {
            return Wish::Act(act, id, name);
        }
        self.asked = Some((act, id, name));
        Wish::Nothing
    }

    /// The screen's lines, none wider than the terminal.
    pub(super) fn lines(&self, rows: u16, columns: u16) -> Vec<String> {
        let (rows, columns) = (usize::from(rows), usize::from(columns));
        if let Some(log) = &self.log {
            let mut lines: Vec<String> = vec!["any key: back".to_owned()];
            lines.extend(
                log.iter()
                    .skip(log.len().saturating_sub(rows.saturating_sub(1)))
                    .cloned(),
            );
            return lines
                .into_iter()
                .map(|line| clipped(&line, columns))
                .collect();
        }
        let running = self
            .containers
            .iter()
            .filter(|container| container.state == "running")
            .count();
        let mut lines = vec![match self.has_looked {
            true => format!("{} containers, {running} running", self.containers.len()),
            false => "asking the daemon for its containers".to_owned(),
        }];
        let table = self.table(columns);
        let mut table = table.lines();
        lines.push(table.next().unwrap_or_default().to_owned());
        let room = rows.saturating_sub(lines.len() + 1);
        let at = self
            .shown()
            .position(|container| container.id == self.marked)
            .unwrap_or(0);
        let first = (at + 1).saturating_sub(room);
        let mut lines: Vec<String> = lines.iter().map(|line| clipped(line, columns)).collect();
        for (index, line) in table.enumerate().skip(first).take(room) {
            let line = clipped(line, columns);
            lines.push(if index == at {
                format!("{MARKED}{line}")
            } else {
                line
            });
        }
        while lines.len() + 1 < rows {
            lines.push(String::new());
        }
        lines.push(clipped(&self.foot(columns), columns));
        lines
    }

    fn foot(&self, columns: usize) -> String {
        match &self.asked {
            Some((act, _, name)) => format!("{} {name}? y: yes, any other key: no", act.word()),
            None if self.told.is_empty() => legend(columns),
            None => self.told.clone(),
        }
    }

    /// As many of the columns as there is room for: half a figure would be another one.
    fn table(&self, columns: usize) -> String {
        let whole = self.cells();
        let count = whole[0].len();
        let laid_out = (COLUMNS_MIN..=count).rev().map(|count| {
            let lines: Vec<String> = whole.iter().map(|line| line[..count].join("\t")).collect();
            align_with(&(lines.join("\n") + "\n"), 6, 2)
        });
        let fits = |text: &String| {
            text.lines()
                .all(|line| line.trim_end().chars().count() <= columns)
        };
        let mut tried: Vec<String> = laid_out.collect();
        let fitting = tried.iter().position(fits);
        match fitting {
            Some(at) => tried.swap_remove(at),
            None => tried.pop().unwrap_or_default(),
        }
    }

    fn cells(&self) -> Vec<Vec<String>> {
        let headings = [
            "NAME", "STATUS", "CPU", "MEMORY", "NET I/O", "PIDS", "IMAGE",
        ];
        let mut lines = vec![headings.map(str::to_owned).to_vec()];
        for container in self.shown() {
            let figure = |field: &str| {
                let figures = self.figures.get(&container.id);
                figures.map_or("-".to_owned(), |figures| figures.text(field))
            };
            let cells = [
                name(container),
                container.status.clone(),
                figure("CPUPerc"),
                figure("MemUsage"),
                figure("NetIO"),
                figure("PIDs"),
                container.image.clone(),
            ];
            lines.push(cells.to_vec());
        }
        lines
    }
}

/// The keys, as far apart as there is room; where there is none for all, how to leave stays to the last.
fn legend(columns: usize) -> String {
    let mut keys = KEYS.to_vec();
    loop {
        let wide = GAPS.iter().map(|gap| keys.join(gap));
        let mut fitting = wide.filter(|line| line.chars().count() <= columns);
        if let Some(line) = fitting.next() {
            return line;
        }
        if keys.len() == 1 {
            return keys.concat();
        }
        keys.remove(keys.len() - 2);
    }
}

fn name(container: &ContainerSummary) -> String {
    let name = container
        .names
        .first()
        .map(|name| name.trim_start_matches('/'));
    name.unwrap_or(&container.id).to_owned()
}

fn clipped(line: &str, columns: usize) -> String {
    line.chars().take(columns).collect()
}

/// The keys in what was typed.
pub(super) fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        let (key, used) = match (first, after) {
            (0x1b, [b'[' | b'O', b'A', ..]) => (Key::Up, 3),
            (0x1b, [b'[' | b'O', b'B', ..]) => (Key::Down, 3),
            // Any other key that sends more than one byte.
            (0x1b, [b'[' | b'O', ..]) => {
                let end = rest
                    .iter()
                    .skip(2)
                    .position(|byte| byte.is_ascii_alphabetic() || *byte == b'~');
                rest = &rest[end.map_or(rest.len(), |end| end + 3)..];
                continue;
            }
            (0x1b, _) => (Key::Escape, 1),
            (b'\r' | b'\n', _) => (Key::Enter, 1),
            (byte, _) => (Key::Letter(char::from(*byte)), 1),
        };
        keys.push(key);
        rest = &rest[used..];
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str, state: &str) -> ContainerSummary {
        ContainerSummary {
            id: id.to_owned(),
            names: vec![format!("/{id}")],
            state: state.to_owned(),
            status: "Up".to_owned(),
            ..ContainerSummary::default()
        }
    }

    fn screen() -> Screen {
        let mut screen = Screen::default();
        screen.list(vec![
            container("one", "running"),
            container("two", "exited"),
        ]);
        screen
    }

    #[test]
    fn the_screen_is_never_larger_than_the_terminal() {
        for (rows, columns) in [(24, 80), (5, 20), (3, 10), (1, 1)] {
            let lines = screen().lines(rows, columns);
            assert!(lines.len() <= usize::from(rows).max(3), "{lines:?}");
            for line in lines {
                assert!(
                    line.replace(MARKED, "").chars().count() <= usize::from(columns),
                    "{line:?}"
                );
            }
        }
    }

    #[test]
    fn how_to_leave_is_told_in_any_width() {
        for columns in [8, 20, 40, 74, 80, 200] {
            let line = legend(columns);
            assert!(line.chars().count() <= columns, "{line}");
            assert!(line.ends_with("q quit"), "{line}");
        }
        assert!(legend(80).contains("d remove"));
    }

    #[test]
    fn before_anything_is_known_nothing_is_counted() {
        let lines = Screen::default().lines(24, 80);
        assert!(!lines[0].contains('0'), "{lines:?}");
        let mut screen = Screen::default();
        screen.list(Vec::new());
        assert_eq!(screen.lines(24, 80)[0], "0 containers, 0 running");
    }

    #[test]
    fn what_cannot_be_taken_back_is_confirmed() {
        let mut screen = screen();
        assert_eq!(screen.press(Key::Letter('d')), Wish::Nothing);
        assert!(
            screen
                .lines(24, 80)
                .last()
                .unwrap()
                .starts_with("remove one? y")
        );
        assert_eq!(screen.press(Key::Letter('n')), Wish::Nothing);
        assert_eq!(screen.press(Key::Down), Wish::Nothing);
        screen.press(Key::Letter('d'));
        assert_eq!(
            screen.press(Key::Letter('y')),
            Wish::Act(Act::Remove, "two".to_owned(), "two".to_owned())
        );
        assert_eq!(screen.press(Key::Letter('q')), Wish::Quit);
    }

    #[test]
    fn keys_may_be_several_bytes() {
        assert_eq!(
            keys(b"\x1b[Aq\x1b[3~\r"),
            [Key::Up, Key::Letter('q'), Key::Enter]
        );
        assert_eq!(keys(b"\x1b"), [Key::Escape]);
    }
}
