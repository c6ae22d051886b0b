//! `explain`: why a container ended, or what ails it, from what the daemon kept (code, signal, memory, health, the last
//! lines it wrote) and from what the kernel logged.

mod ender;
mod findings;
mod kernel;

use hull_api::Client;
use hull_api::client::LogsOptions;
use hull_api::stream::FrameReader;
use hull_api::types::ContainerInspect;
use serde_json::{Value as Json, json};

use super::json::{self, Field, Kind, Shape};
use super::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::format::time;
use crate::ui;

use findings::{Finding, Past};
use kernel::Denials;

/// Lines of the log that are shown and searched.
const LINES: &str = "20";
/// The kernel dates its records by a clock that moves on this often, in milliseconds.
const TICK: i64 = 10;
/// Bytes of them, whatever the program wrote.
const BYTES_MAX: usize = 64 << 10;

static FIELDS: [Field; 15] = [
    Field("ID", Kind::Text, "all its digits"),
    Field("Name", Kind::Text, ""),
    Field(
        "State",
        Kind::Text,
        "created, running, paused, restarting, removing, exited or dead",
    ),
    Field("ExitCode", Kind::Number, "null if it has not ended"),
    Field(
        "Signal",
        Kind::Number,
        "that its exit code stands for (128 and more), whether one ended it or the program says so",
    ),
    Field(
        "EndedBy",
        Kind::Text,
        "stop, kill, or nobody (that the daemon knows of); null if it has not ended or that is not known any more",
    ),
    Field(
        "OutOfMemory",
        Kind::Truth,
        "whether the kernel ended one of its processes for want of memory",
    ),
    Field("StartedAt", Kind::Time, ""),
    Field("FinishedAt", Kind::Time, "null while it runs"),
    Field(
        "RestartCount",
        Kind::Number,
        "how often it was started again by itself",
    ),
    Field(
        "Health",
        Kind::Text,
        "starting, healthy or unhealthy; null without a check",
    ),
    Field(
        "Denials",
        Kind::Objects,
        "what the kernel logged as refused: Kind (call: it ended the program, refused call, trapped call, logged call or capability), Name, Program, Count; null if its log was not asked or cannot be read",
    ),
    Field("Summary", Kind::Text, "one sentence for people"),
    Field(
        "Findings",
        Kind::Objects,
        "for people: Fact, and Advice or null",
    ),
    Field("LastLines", Kind::Texts, "of its log"),
];

#[derive(Default)]
pub(crate) struct Explain;

impl Command for Explain {
    const ABOUT: About = About::new(
        &["explain", "container explain"],
        "[OPTIONS] CONTAINER",
        "Say why a container ended, or what ails it",
        Operands::Exactly(1),
    );

    const JSON: Option<Shape> = Some(Shape::Object(&FIELDS));

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let container = client.container(call.operand(0)).await.map_err(failure)?;
        let told = ender::ask(&client, &container).await;
        let ran_out = told.ran_out_of_memory || container.state.oom_killed;
        let past = Past {
            lines: last_lines(&client, &container).await,
            told,
            denials: denials(&client, &container),
            victim: (ran_out && is_here(&client))
                .then(|| kernel::victim(&container.id))
                .flatten(),
        };
        let (summary, findings) = findings::of(&container, &past);
        if call.json {
            return json::object(&record(&container, &past, &summary, &findings));
        }
        ui::out(&text(&summary, &findings, &past.lines))?;
        Ok(0)
    }
}

/// All of it, for programs.
fn record(container: &ContainerInspect, past: &Past, summary: &str, findings: &[Finding]) -> Json {
    let state = &container.state;
    let has_ended = !state.running && !matches!(state.status.as_str(), "created");
    let code = Some(state.exit_code).filter(|_| has_ended);
    let health = state.health.as_ref().map(|health| health.status.as_str());
    let finding = |finding: &Finding| json!({"Fact": finding.fact, "Advice": finding.advice});
    json::row(
        &FIELDS,
        [
            container.id.as_str().into(),
            container.name.trim_start_matches('/').into(),
            state.status.as_str().into(),
            code.into(),
            code.and_then(findings::signal_of).into(),
            past.told.ender.name().into(),
            (state.oom_killed || past.told.ran_out_of_memory).into(),
            json::time(&state.started_at),
            Some(json::time(&state.finished_at))
                .filter(|_| has_ended)
                .into(),
            container.restart_count.into(),
            health.filter(|health| *health != "none").into(),
            past.denials.record(),
            summary.into(),
            findings.iter().map(finding).collect(),
            past.lines
                .iter()
                .map(|line| Json::from(line.as_str()))
                .collect(),
        ],
    )
}

fn text(summary: &str, findings: &[Finding], lines: &[String]) -> String {
    let mut text = format!("{summary}\n");
    for finding in findings {
        text.push_str(&format!("  {}\n", finding.fact));
        if let Some(advice) = &finding.advice {
            text.push_str(&format!("    -> {advice}\n"));
        }
    }
    if !lines.is_empty() {
        text.push_str("\nIts last lines:\n");
    }
    for line in lines {
        text.push_str(&format!("  | {line}\n"));
    }
    text
}

/// What it wrote last; nothing if its log cannot be read.
async fn last_lines(client: &Client, container: &ContainerInspect) -> Vec<String> {
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        tail: LINES.to_owned(),
        ..LogsOptions::default()
    };
    let Ok(mut stream) = client.container_logs(&container.id, &options).await else {
        return Vec::new();
    };
    let mut frames = FrameReader::new();
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = stream.next_piece().await {
        if container.config.tty {
            bytes.extend_from_slice(&piece);
        } else {
            frames.push(&piece);
            while let Ok(Some(frame)) = frames.next_frame() {
                bytes.extend_from_slice(&frame.bytes);
            }
        }
        if bytes.len() > BYTES_MAX {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    // What would move the cursor is for the program's own terminal.
    let plain = |line: &str| line.chars().filter(|letter| !letter.is_control()).collect();
    text.lines().map(plain).collect()
}

/// Whether the daemon's kernel is this one.
fn is_here(client: &Client) -> bool {
    let host = client.host();
    ["unix:", "fd:"].iter().any(|form| host.starts_with(form))
}

/// What it was refused since it was started last, if the kernel that knows is this one.
fn denials(client: &Client, container: &ContainerInspect) -> Denials {
    let state = &container.state;
    let never = state.status == "created";
    match time::unix_milliseconds(&state.started_at) {
        Some(from) if is_here(client) && !never => {
            let end = time::unix_milliseconds(&state.finished_at).filter(|end| *end >= from);
            let end = end.filter(|_| !state.running);
            kernel::between(from - TICK, end.map_or(i64::MAX, |end| end + TICK))
        }
        _ => Denials::Unasked,
    }
}
