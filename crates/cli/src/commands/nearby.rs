//! The way out when a container, volume or network is not there: which one was probably meant.

use super::completion::names::{self, Thing};
use crate::context::Globals;
use crate::error::Error;
use crate::flags::suggest;
use crate::ui;

/// How a daemon says that something is not there: what stands before and after the name.
const TEXTS: [(&str, &str, Thing); 4] = [
    ("No such container: ", "", Thing::Container),
    ("get ", ": no such volume", Thing::Volume),
    ("network ", " not found", Thing::Network),
    ("No such network: ", "", Thing::Network),
];

/// The error, with what there is instead. Nothing is asked where advice is not told, or there is some.
pub(super) async fn beside(globals: &Globals, error: Error) -> Error {
    if !ui::explains() || error.hint().is_some() {
        return error;
    }
    let mut hints = Vec::new();
    for line in error.message().lines() {
        let Some((name, thing)) = missing(line) else {
            continue;
        };
        let known = names::asked(globals, thing).await;
        if let Some(near) = suggest::nearest(name, known.iter().map(String::as_str)) {
            // Networks are called `none` and `host`.
            let what = match thing {
                Thing::Network => "the network ",
                _ => "",
            };
            hints.push(format!("there is {what}{near}: is that what was meant?"));
        }
    }
    error.with_hints(&hints)
}

/// What a line says is not there.
fn missing(line: &str) -> Option<(&str, Thing)> {
    TEXTS.iter().find_map(|(before, after, thing)| {
        let (_, rest) = line.split_once(before)?;
        let name = rest.strip_suffix(after)?;
        (!name.is_empty() && !name.contains(' ')).then_some((name, *thing))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_what_is_missing() {
        for (line, expected) in [
            (
                "Error response from daemon: No such container: web",
                Some(("web", Thing::Container)),
            ),
            (
                "Error response from daemon: get data: no such volume",
                Some(("data", Thing::Volume)),
            ),
            (
                "Error response from daemon: network back not found",
                Some(("back", Thing::Network)),
            ),
            ("Error response from daemon: No such image: x", None),
            ("it was not found", None),
        ] {
            assert_eq!(missing(line), expected, "{line}");
        }
    }
}
