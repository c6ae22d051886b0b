//! Shows a build: a live tree in a terminal, numbered lines elsewhere, events for programs.

use std::collections::HashMap;

use hull_api::types::{BuildEvent, BuildVertex, BuildWarning};
use jiff::Timestamp;

use super::flags::Progress;
use crate::error::Result;
use crate::terminal;
use crate::ui;

/// Lines of a running step's output that the live view shows.
const TAIL_LINES: usize = 6;

/// Of what a step says that is shown only if it fails, so many bytes are kept.
const TAIL_BYTES: usize = 4 << 10;

/// What a step says that was stopped because another one failed.
const CANCELLED: &str = "build cancelled";

/// Adds to a text of which only the end counts.
pub(super) fn keep_end(text: &mut String, more: &str) {
    text.push_str(more);
    if text.len() > 2 * TAIL_BYTES {
        let cut = text.ceil_char_boundary(text.len() - TAIL_BYTES);
        text.drain(..cut);
    }
}

/// Shows events.
pub(super) trait View {
    fn event(&mut self, event: &BuildEvent) -> Result<()>;

    /// Nothing more comes.
    fn end(&mut self) -> Result<()>;
}

/// The view asked for.
pub(super) fn view(progress: Progress) -> Box<dyn View> {
    match progress {
        Progress::Quiet => Box::new(Quiet::default()),
        Progress::RawJson => Box::new(Raw),
        Progress::Plain => Box::new(Plain::default()),
        Progress::Tty => Box::new(Live::default()),
        Progress::Auto if ui::err_is_terminal() => Box::new(Live::default()),
        Progress::Auto => Box::new(Plain::default()),
    }
}

/// Nothing, unless a step fails: then the last that it said.
#[derive(Default)]
struct Quiet {
    /// What steps said last, by step.
    tails: HashMap<String, String>,
}

impl View for Quiet {
    fn event(&mut self, event: &BuildEvent) -> Result<()> {
        match event {
            BuildEvent::Log(log) => {
                let tail = self.tails.entry(log.vertex.clone()).or_default();
                keep_end(tail, &log.text);
            }
            BuildEvent::Vertex(vertex) if vertex.completed.is_some() => {
                let tail = self.tails.remove(&vertex.digest).unwrap_or_default();
                if !vertex.error.is_empty() && vertex.error != CANCELLED && !tail.is_empty() {
                    let tail = tail.trim_end();
                    ui::note(&format!("------\n > {}:\n{tail}\n------", vertex.name));
                }
            }
            BuildEvent::Vertex(_) | BuildEvent::Status(_) | BuildEvent::Warning(_) => {}
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Each event as a line of JSON.
struct Raw;

impl View for Raw {
    fn event(&mut self, event: &BuildEvent) -> Result<()> {
        ui::note(&serde_json::to_string(event).unwrap_or_default());
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Numbered lines: `#5 [2/3] RUN make`.
#[derive(Default)]
struct Plain {
    numbers: HashMap<String, usize>,
    /// Which step the last line was about.
    last: usize,
    warnings: Vec<BuildWarning>,
    started: HashMap<String, Timestamp>,
}

impl Plain {
    fn say(&mut self, number: usize, text: &str) {
        let gap = if self.last != 0 && self.last != number {
            "\n"
        } else {
            ""
        };
        self.last = number;
        ui::note(&format!("{gap}#{number} {text}"));
    }

    fn vertex(&mut self, vertex: &BuildVertex) {
        let Some(started) = &vertex.started else {
            return;
        };
        let next = self.numbers.len() + 1;
        let known = self.numbers.get(&vertex.digest).copied();
        let number = known.unwrap_or(next);
        if known.is_none() {
            self.numbers.insert(vertex.digest.clone(), number);
            if let Ok(time) = started.parse() {
                self.started.insert(vertex.digest.clone(), time);
            }
            self.say(number, &vertex.name);
        }
        if vertex.completed.is_none() {
            return;
        }
        if !vertex.error.is_empty() {
            self.say(number, &format!("ERROR: {}", vertex.error));
        } else if vertex.cached {
            self.say(number, "CACHED");
        } else {
            self.say(number, &format!("DONE {:.1}s", duration(vertex)));
        }
    }
}

impl View for Plain {
    fn event(&mut self, event: &BuildEvent) -> Result<()> {
        match event {
            BuildEvent::Vertex(vertex) => self.vertex(vertex),
            BuildEvent::Status(status) => {
                if let (Some(number), true) = (
                    self.numbers.get(&status.vertex).copied(),
                    status.completed.is_some(),
                ) {
                    let amount = match status.current {
                        0 => String::new(),
                        bytes => format!(" {}", size(bytes)),
                    };
                    self.say(number, &format!("{}{amount} done", status.id));
                }
            }
            BuildEvent::Log(log) => {
                if let Some(number) = self.numbers.get(&log.vertex).copied() {
                    let started = self.started.get(&log.vertex).copied();
                    let now: Option<Timestamp> = log.timestamp.parse().ok();
                    let since = started.zip(now).map_or(0.0, |(from, to)| seconds(from, to));
                    for line in log.text.trim_end_matches('\n').split('\n') {
                        self.say(
                            number,
                            &format!("{since:.3} {}", line.trim_end_matches('\r')),
                        );
                    }
                }
            }
            BuildEvent::Warning(warning) => self.warnings.push(warning.clone()),
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        tell_warnings(&self.warnings);
        Ok(())
    }
}

fn tell_warnings(warnings: &[BuildWarning]) {
    if warnings.is_empty() {
        return;
    }
    let count = warnings.len();
    let noun = if count == 1 { "warning" } else { "warnings" };
    ui::note(&format!(
        "\n {count} {noun} found (--check shows them in full):"
    ));
    for warning in warnings {
        ui::note(&format!(
            " - {}: {} (line {})",
            warning.rule, warning.message, warning.first_line
        ));
    }
}

fn duration(vertex: &BuildVertex) -> f64 {
    let parse = |text: &Option<String>| text.as_ref()?.parse::<Timestamp>().ok();
    parse(&vertex.started)
        .zip(parse(&vertex.completed))
        .map_or(0.0, |(from, to)| seconds(from, to))
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    crate::format::size::decimal(bytes as f64)
}

/// A tree that is drawn over.
#[derive(Default)]
struct Live {
    order: Vec<String>,
    steps: HashMap<String, LiveStep>,
    /// Lines on the screen that will be drawn over.
    drawn: usize,
    begun: Option<Timestamp>,
    warnings: Vec<BuildWarning>,
    is_drawn_at: Option<std::time::Instant>,
}

#[derive(Default)]
struct LiveStep {
    vertex: BuildVertex,
    tail: Vec<String>,
    partial: String,
    /// It has its last line on the screen.
    is_settled: bool,
}

/// The live view is drawn no more often than people see.
const REDRAW_EVERY: std::time::Duration = std::time::Duration::from_millis(60);

impl Live {
    fn draw(&mut self, is_last: bool) {
        let recent = self
            .is_drawn_at
            .is_some_and(|at| at.elapsed() < REDRAW_EVERY);
        if recent && !is_last {
            return;
        }
        self.is_drawn_at = Some(std::time::Instant::now());
        let now = Timestamp::now();
        let (columns, rows) = terminal::size().map_or((80, 24), |(rows, columns)| {
            (usize::from(columns), usize::from(rows))
        });
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\r\x1b[J", self.drawn));
        }
        let mut lines = 0;
        let mut settled = String::new();
        let mut running = Vec::new();
        for id in &self.order {
            let Some(step) = self.steps.get_mut(id) else {
                continue;
            };
            if step.is_settled || step.vertex.started.is_none() {
                continue;
            }
            let line = cut(&step_line(&step.vertex, now), columns);
            if step.vertex.completed.is_some() {
                step.is_settled = true;
                settled.push_str(&line);
                settled.push('\n');
                if !step.vertex.error.is_empty() {
                    for tail in &step.tail {
                        settled
                            .push_str(&format!("    {}\n", cut(tail, columns.saturating_sub(4))));
                    }
                }
                continue;
            }
            running.push(line);
            running.extend(step.tail.iter().map(|tail| {
                format!(
                    "\x1b[2m => => # {}\x1b[0m",
                    cut(tail, columns.saturating_sub(9))
                )
            }));
        }
        text.push_str(&settled);
        if !is_last {
            running.truncate(rows.saturating_sub(2));
            let since = self.begun.map_or(0.0, |begun| seconds(begun, now));
            text.push_str(&format!("[+] Building {since:.1}s\n"));
            lines = running.len() + 1;
            for line in running {
                text.push_str(&line);
                text.push('\n');
            }
        }
        self.drawn = lines;
        ui::err_bytes(text.as_bytes());
    }
}

fn step_line(vertex: &BuildVertex, now: Timestamp) -> String {
    let started = vertex.started.as_ref().and_then(|text| text.parse().ok());
    let ended = vertex.completed.as_ref().and_then(|text| text.parse().ok());
    let time = started.map_or(0.0, |from| seconds(from, ended.unwrap_or(now)));
    let mark = if !vertex.error.is_empty() {
        "ERROR "
    } else if vertex.cached {
        "CACHED "
    } else {
        ""
    };
    format!(" => {mark}{}  {time:.1}s", vertex.name)
}

fn cut(line: &str, columns: usize) -> String {
    let plain: String = line.chars().filter(|letter| !letter.is_control()).collect();
    plain.chars().take(columns).collect()
}

impl View for Live {
    fn event(&mut self, event: &BuildEvent) -> Result<()> {
        self.begun = self.begun.or_else(|| Some(Timestamp::now()));
        match event {
            BuildEvent::Vertex(vertex) => {
                if !self.steps.contains_key(&vertex.digest) {
                    self.order.push(vertex.digest.clone());
                }
                let step = self.steps.entry(vertex.digest.clone()).or_default();
                step.vertex = vertex.clone();
            }
            BuildEvent::Log(log) => {
                if let Some(step) = self.steps.get_mut(&log.vertex) {
                    step.partial.push_str(&log.text);
                    while let Some(end) = step.partial.find('\n') {
                        let line: String = step.partial.drain(..=end).collect();
                        step.tail.push(line.trim_end().to_owned());
                    }
                    let extra = step.tail.len().saturating_sub(TAIL_LINES);
                    step.tail.drain(..extra);
                }
            }
            BuildEvent::Warning(warning) => self.warnings.push(warning.clone()),
            BuildEvent::Status(_) => {}
        }
        self.draw(false);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.draw(true);
        tell_warnings(&self.warnings);
        Ok(())
    }
}
