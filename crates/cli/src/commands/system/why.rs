//! `system df --why`: what fills the disk, and what would go first.

use hull_api::types::{DiskAccount, DiskAccountLine, DiskStanding};
use serde_json::{Value as Json, json};

use super::df::table;
use crate::commands::json;
use crate::error::Result;
use crate::format::output::{row, short_id};
use crate::format::template::Value;
use crate::format::{size, time};

/// The account, for programs.
pub(super) fn record(account: &DiskAccount) -> Json {
    let line = |line: &DiskAccountLine| {
        json!({
            "What": line.what,
            "SizeBytes": json::bytes(line.size),
            "ReclaimableBytes": json::bytes(line.reclaimable),
        })
    };
    let standing = |standing: &DiskStanding| {
        json!({
            "Type": standing.kind,
            "ID": standing.id,
            "Names": standing.names,
            "SizeBytes": json::bytes(standing.size),
            "LastUsedAt": match standing.last_used {
                0 => Json::Null,
                seconds => json::seconds(seconds),
            },
            "Standing": standing.standing,
        })
    };
    json!({
        "Lines": account.lines.iter().map(line).collect::<Json>(),
        "TotalBytes": json::bytes(account.total),
        "BudgetBytes": Some(account.budget).filter(|bytes| *bytes != 0),
        "Standings": account.standings.iter().map(standing).collect::<Json>(),
    })
}

/// The account as text.
pub(super) fn text(account: &DiskAccount) -> Result<String> {
    let total = DiskAccountLine {
        what: "Total".to_owned(),
        size: account.total,
        reclaimable: account.lines.iter().map(|line| line.reclaimable).sum(),
        hint: String::new(),
    };
    let lines: Vec<Value> = account.lines.iter().chain([&total]).map(line_row).collect();
    let standings: Vec<Value> = account.standings.iter().map(standing_row).collect();
    let budget = match account.budget {
        0 => "No budget is set (storage-budget): nothing is let go by itself.".to_owned(),
        bytes => format!(
            "Images and disposable volumes may take {bytes} bytes; beyond it, they go in this order."
        ),
    };
    Ok(format!(
        "{}\n{budget}\n\n{}",
        table(
            "{{.What}}\t{{.Bytes}}\t{{.Size}}\t{{.Reclaimable}}\t{{.Hint}}",
            &[
                ("What", "WHAT"),
                ("Bytes", "BYTES"),
                ("Size", "SIZE"),
                ("Reclaimable", "RECLAIMABLE"),
                ("Hint", "WITH"),
            ],
            &lines
        )?,
        table(
            "{{.Standing}}\t{{.Kind}}\t{{.ID}}\t{{.Name}}\t{{.Size}}\t{{.LastUsed}}",
            &[
                ("Standing", "TURN"),
                ("Kind", "KIND"),
                ("ID", "ID"),
                ("Name", "NAME"),
                ("Size", "SIZE"),
                ("LastUsed", "LAST USED"),
            ],
            &standings
        )?,
    ))
}

fn line_row(line: &DiskAccountLine) -> Value {
    let fields = vec![
        ("What", line.what.clone()),
        ("Bytes", line.size.to_string()),
        ("Size", human(line.size)),
        ("Reclaimable", human(line.reclaimable)),
        ("Hint", line.hint.clone()),
    ];
    row("*formatter.accountContext", fields, Vec::new())
}

fn standing_row(own: &DiskStanding) -> Value {
    let name = own.names.first().map_or("<none>", String::as_str);
    let last_used = match own.last_used {
        0 => "never".to_owned(),
        seconds => time::ago(seconds),
    };
    let id = match own.kind.as_str() {
        "image" => short_id(&own.id),
        _ => own.id.as_str(),
    };
    let fields = vec![
        ("Standing", own.standing.clone()),
        ("Kind", own.kind.clone()),
        ("ID", id.to_owned()),
        ("Name", name.to_owned()),
        ("Size", human(own.size)),
        ("LastUsed", last_used),
    ];
    row("*formatter.standingContext", fields, Vec::new())
}

fn human(bytes: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    size::decimal(bytes as f64)
}
