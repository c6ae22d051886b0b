//! `system fsck`

use hull_api::types::FsckFinding;
use serde_json::Value as Json;

use crate::commands::json::{self, Field, Kind, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::format::size;
use crate::ui;

static FIELDS: [Field; 6] = [
    Field("Trouble", Kind::Text, "damaged, missing or orphan"),
    Field("Object", Kind::Text, "what it is about"),
    Field("Problem", Kind::Text, "in words"),
    Field(
        "SizeBytes",
        Kind::Bytes,
        "what it takes on the disk in vain",
    ),
    Field(
        "Mended",
        Kind::Truth,
        "whether it is mended now; the exit code is 1 while something is not",
    ),
    Field("Remark", Kind::Text, "how it was mended, or why it was not"),
];

#[derive(Default)]
pub(crate) struct Fsck {
    quick: bool,
    repair: bool,
}

impl Command for Fsck {
    const ABOUT: About = About::new(
        &["system fsck"],
        "[OPTIONS]",
        "Check images, layers and containers on disk, and mend what can be mended",
        Operands::None,
    );

    const JSON: Option<Shape> = Some(Shape::Array(&FIELDS));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("quick", "", "Look at names and sizes only, not at every byte", &mut self.quick);
        set.add("repair", "", "Remove what nobody needs, and mend what is damaged", &mut self.repair);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let report = client
            .fsck(self.repair, !self.quick)
            .await
            .map_err(failure)?;
        let left = report
            .findings
            .iter()
            .filter(|finding| !finding.mended)
            .count();
        if call.json {
            json::array(report.findings.iter().map(record))?;
            return Ok(u8::from(left > 0));
        }
        for finding in &report.findings {
            ui::line(&line(finding))?;
        }
        ui::line(&verdict(report.findings.len(), left, self.repair))?;
        Ok(u8::from(left > 0))
    }
}

/// A finding, for programs.
fn record(finding: &FsckFinding) -> Json {
    json::row(
        &FIELDS,
        [
            finding.trouble.as_str().into(),
            finding.object.as_str().into(),
            finding.problem.as_str().into(),
            json::bytes(finding.size),
            finding.mended.into(),
            json::known(&finding.remark),
        ],
    )
}

fn line(finding: &FsckFinding) -> String {
    let mut text = format!(
        "{}: {}: {}",
        finding.trouble, finding.object, finding.problem
    );
    if finding.size > 0 {
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let human = size::decimal(finding.size as f64);
        text = format!("{text} ({human})");
    }
    match (finding.mended, finding.remark.is_empty()) {
        (true, _) => format!("{text}\n  mended: {}", finding.remark),
        (false, false) => format!("{text}\n  not mended: {}", finding.remark),
        (false, true) => text,
    }
}

fn verdict(all: usize, left: usize, repair: bool) -> String {
    match (all, left) {
        (0, _) => "all is sound".to_owned(),
        (_, 0) => format!("{all} found, all mended"),
        _ if repair => format!("{all} found, {left} left"),
        _ => format!("{all} found; `hull system fsck --repair` mends what can be mended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_came_of_it() {
        let mut finding = FsckFinding {
            trouble: "orphan".into(),
            object: "blob x".into(),
            problem: "no image needs it".into(),
            size: 4096,
            ..FsckFinding::default()
        };
        assert_eq!(line(&finding), "orphan: blob x: no image needs it (4.1kB)");
        finding.mended = true;
        finding.remark = "removed".into();
        assert_eq!(
            line(&finding),
            "orphan: blob x: no image needs it (4.1kB)\n  mended: removed"
        );
        assert_eq!(verdict(0, 0, true), "all is sound");
        assert_eq!(verdict(2, 0, true), "2 found, all mended");
        assert_eq!(verdict(2, 1, true), "2 found, 1 left");
    }
}
