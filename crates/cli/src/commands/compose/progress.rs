//! How work goes on: a live list on a terminal, a line for each step elsewhere.

use std::cell::RefCell;
use std::time::Instant;

use hull_compose::apply::{Report, Standing};

use crate::terminal;
use crate::ui;

/// What stands before the steps that are only told.
const DRY_RUN: &str = "DRY-RUN MODE -  ";

/// Where steps are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Live,
    Plain,
    Json,
    Quiet,
}

/// Shows progress on the standard error.
#[derive(Debug)]
pub(super) struct Progress {
    mode: Mode,
    prefix: &'static str,
    lines: RefCell<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<Line>,
    /// Lines on the screen, the heading among them.
    drawn: usize,
}

#[derive(Debug)]
struct Line {
    what: String,
    status: String,
    standing: Standing,
    since: Instant,
    took_ms: u128,
}

impl Progress {
    pub(super) fn new(wanted: &str, ansi: &str, is_dry_run: bool) -> Self {
        let mode = match wanted {
            "quiet" => Mode::Quiet,
            "json" => Mode::Json,
            "plain" => Mode::Plain,
            "tty" => Mode::Live,
            _ if ansi != "never" && ui::err_is_terminal() => Mode::Live,
            _ => Mode::Plain,
        };
        Self {
            mode,
            prefix: if is_dry_run { DRY_RUN } else { "" },
            lines: RefCell::default(),
        }
    }

    /// What follows stands below; the list begins anew.
    pub(super) fn settle(&self) {
        *self.lines.borrow_mut() = Lines::default();
    }
}

impl Report for Progress {
    fn progress(&self, what: &str, status: &str, standing: Standing) {
        let what = &format!("{}{what}", self.prefix);
        match self.mode {
            Mode::Quiet => {}
            Mode::Plain => ui::note(&format!(" {what}  {status}")),
            Mode::Json => {
                let event = serde_json::json!({"id": what, "status": status, "error": standing == Standing::Failed});
                ui::note(&event.to_string());
            }
            Mode::Live => self.lines.borrow_mut().update(what, status, standing),
        }
    }

    fn warn(&self, text: &str) {
        self.settle();
        ui::warn(text);
    }

    fn output(&self, text: &str) {
        if self.mode != Mode::Quiet {
            self.settle();
            ui::err_bytes(text.as_bytes());
        }
    }
}

impl Lines {
    fn update(&mut self, what: &str, status: &str, standing: Standing) {
        match self.lines.iter_mut().find(|line| line.what == what) {
            Some(line) => {
                status.clone_into(&mut line.status);
                line.standing = standing;
                line.took_ms = line.since.elapsed().as_millis();
            }
            None => self.lines.push(Line {
                what: what.to_owned(),
                status: status.to_owned(),
                standing,
                since: Instant::now(),
                took_ms: 0,
            }),
        }
        self.draw();
    }

    fn draw(&mut self) {
        let (rows, columns) = terminal::size().unwrap_or((24, 80));
        let done = self
            .lines
            .iter()
            .filter(|line| line.standing == Standing::Done)
            .count();
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\r", self.drawn));
        }
        text.push_str(&format!("\x1b[2K[+] Running {done}/{}\n", self.lines.len()));
        let width = self
            .lines
            .iter()
            .map(|line| line.what.chars().count())
            .max()
            .unwrap_or(0);
        // More lines than the screen has cannot be drawn over; the last ones are those that move.
        let shown = usize::from(rows.saturating_sub(2)).max(1);
        let first = self.lines.len().saturating_sub(shown);
        for line in &self.lines[first..] {
            text.push_str(&format!(
                "\x1b[2K{}\n",
                line.text(width, usize::from(columns))
            ));
        }
        self.drawn = 1 + self.lines.len() - first;
        ui::err_bytes(text.as_bytes());
    }
}

impl Line {
    fn text(&self, width: usize, columns: usize) -> String {
        let (mark, colour) = match self.standing {
            Standing::Working => ("⠿", "33"),
            Standing::Done => ("✔", "32"),
            Standing::Failed => ("✘", "31"),
        };
        let seconds = format!("{}.{}s", self.took_ms / 1000, self.took_ms % 1000 / 100);
        let blanks = " ".repeat(width.saturating_sub(self.what.chars().count()));
        let text: String = format!("{}{blanks}  {}", self.what, self.status)
            .chars()
            .take(columns.saturating_sub(seconds.len() + 5))
            .collect();
        format!(" \x1b[{colour}m{mark}\x1b[0m {text}  \x1b[34m{seconds}\x1b[0m")
    }
}
