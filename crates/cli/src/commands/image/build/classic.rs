//! `DOCKER_BUILDKIT=0`: a build shown step by step, as by the builder of before, for scripts that read that. It is built no
//! other way; flags that this builder did not have are refused, as Docker does.

use crate::commands::Call;
use crate::error::{Error, Result, Usage};
use crate::flags::parse_bool;
use crate::ui;

const SWITCH: &str = "DOCKER_BUILDKIT";

/// Flags of the builder of today alone.
const NEWER: [&str; 19] = [
    "allow",
    "annotation",
    "attest",
    "build-context",
    "builder",
    "cache-to",
    "call",
    "check",
    "include",
    "load",
    "metadata-file",
    "no-cache-filter",
    "output",
    "progress",
    "provenance",
    "push",
    "sbom",
    "secret",
    "ssh",
];

const DEPRECATED: &str =
    "DEPRECATED: The legacy builder is deprecated and will be removed in a future release.
            BuildKit is currently disabled; enable it by removing the DOCKER_BUILDKIT=0
            environment-variable.
";

/// Whether the builder of before is asked for, which has not all of the flags.
///
/// # Errors
/// A flag that it does not have, or a switch that is neither on nor off.
pub(super) fn is_wanted(call: &Call) -> Result<bool> {
    match std::env::var(SWITCH) {
        Ok(text) if !text.is_empty() => is_asked(&text, call),
        _ => Ok(false),
    }
}

fn is_asked(switch: &str, call: &Call) -> Result<bool> {
    let is_on = parse_bool(switch).map_err(|_| {
        Error::new(format!(
            "{SWITCH} environment variable expects boolean value: strconv.ParseBool: parsing {switch:?}: invalid syntax"
        ))
    })?;
    if is_on {
        return Ok(false);
    }
    if call.globals.is_docker() {
        ui::note(DEPRECATED);
    }
    match call.changed.iter().find(|flag| NEWER.contains(flag)) {
        None => Ok(true),
        Some(flag) => Err(Error::Usage(Usage {
            message: format!("unknown flag: --{flag}"),
            suggestion: None,
            usage: format!("{} [OPTIONS] PATH | URL | -", call.name),
            pointer: call.pointer(),
            code: 125,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Globals, Program};

    fn call(changed: &[&'static str]) -> Call {
        Call {
            globals: Globals::new(Program::Hull),
            name: "hull build".to_owned(),
            operands: vec![".".to_owned()],
            changed: changed.to_vec(),
            json: false,
        }
    }

    #[test]
    fn what_the_builder_of_before_did_not_have_is_refused() {
        assert_eq!(is_asked("0", &call(&["tag", "file"])), Ok(true));
        assert_eq!(is_asked("true", &call(&["secret"])), Ok(false));
        assert!(is_asked("no", &call(&[])).is_err());
        let refused = is_asked("0", &call(&["tag", "secret"])).unwrap_err();
        assert_eq!(refused.message(), "unknown flag: --secret");
    }
}
