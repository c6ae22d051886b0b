//! Under Docker's name, what is said of plugins that are not installed: the daemon knows.

use hull_api::query::Query;

use crate::commands::runtime;
use crate::connection::{connect, failure};
use crate::context::Globals;
use crate::error::{Error, Result};
use crate::format::output::parse_for;
use crate::ui;

/// Verbs about plugins that are there, and whether each operand is one.
const VERBS: [(&str, bool); 5] = [
    ("inspect", true),
    ("rm", true),
    ("enable", false),
    ("disable", false),
    ("set", false),
];

/// What the daemon says of the plugins that a command names; nothing if it is not about such, or they are there.
///
/// # Errors
/// When the daemon cannot be reached.
pub(super) fn refusal(
    globals: &Globals,
    verb: &str,
    names: &[String],
    format: &str,
) -> Result<Option<Error>> {
    let known = VERBS.iter().find(|(known, _)| *known == verb);
    let Some((_, has_many)) = known.filter(|_| globals.is_docker()) else {
        return Ok(None);
    };
    if !["", "json"].contains(&format) {
        parse_for("template parsing error: ", format)?;
    }
    let names = if *has_many {
        names
    } else {
        names.get(..1).unwrap_or_default()
    };
    let refused: Result<Vec<String>> = runtime()?.block_on(async {
        let client = connect(globals).await?;
        let mut refused = Vec::new();
        for name in names {
            let path = format!("/plugins/{}/json", hull_api::query::encoded(name));
            if let Err(error) = client.get_raw(&path, Query::default()).await {
                refused.push(failure(error).message().to_owned());
            }
        }
        Ok(refused)
    });
    let refused = refused?;
    if refused.is_empty() {
        return Ok(None);
    }
    if verb == "inspect" {
        // Nothing of the template came to be.
        ui::line(match format {
            "" | "json" => "[]",
            _ => "",
        })?;
    }
    Ok(Some(Error::new(refused.join("\n"))))
}
