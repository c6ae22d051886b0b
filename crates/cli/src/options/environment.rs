//! `--env`, `--env-file`, `--label`, `--label-file`.

use std::collections::BTreeMap;

use crate::flags::Item;

/// `KEY=value`, or `KEY` alone for the value of this process's environment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Variable(pub(crate) String);

impl Item for Variable {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.starts_with('=') {
            return Err(format!("invalid environment variable: {text}"));
        }
        Ok(Self(match std::env::var(text) {
            Ok(value) if !text.contains('=') => format!("{text}={value}"),
            _ => text.to_owned(),
        }))
    }
}

/// `key=value`, or `key` alone for an empty value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Label(pub(crate) String);

impl Item for Label {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.starts_with('=') {
            return Err(format!("invalid label '{text}': empty name"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The environment: files first, then flags, which win.
///
/// # Errors
/// A file that cannot be read or understood.
pub(crate) fn environment(files: &[String], flags: &[Variable]) -> Result<Vec<String>, String> {
    let mut environment = Vec::new();
    for file in files {
        for line in lines(file, "environment")? {
            match (line.contains('='), std::env::var(&line)) {
                (true, _) => environment.push(line),
                (false, Ok(value)) => environment.push(format!("{line}={value}")),
                (false, Err(_)) => {}
            }
        }
    }
    environment.extend(flags.iter().map(|variable| variable.0.clone()));
    Ok(environment)
}

/// The labels: files first, then flags, which win.
///
/// # Errors
/// A file that cannot be read or understood.
pub(crate) fn labels(
    files: &[String],
    flags: &[Label],
) -> Result<BTreeMap<String, String>, String> {
    let mut pairs = Vec::new();
    for file in files {
        // In a file, a name alone says nothing, as Docker has it.
        pairs.extend(
            lines(file, "label")?
                .into_iter()
                .filter(|line| line.contains('=')),
        );
    }
    pairs.extend(flags.iter().map(|label| label.0.clone()));
    Ok(map(&pairs))
}

/// `key=value` texts as a map.
pub(crate) fn map(pairs: &[String]) -> BTreeMap<String, String> {
    let split = |pair: &String| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key.to_owned(), value.to_owned())
    };
    pairs.iter().map(split).collect()
}

fn lines(path: &str, what: &str) -> Result<Vec<String>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("open {path}: {}", plain(&error)))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("invalid {what} file: {path}: contains invalid utf8 bytes"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.is_empty() {
            return Err(format!(
                "invalid {what} file: {path}: no variable name on line '{line}'"
            ));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!(
                "invalid {what} file: {path}: variable '{name}' contains whitespaces"
            ));
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}

/// An I/O error's text without Rust's `(os error 2)`, in the small letters Go uses.
pub(crate) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> String {
        let path = std::env::temp_dir().join(format!("hull-cli-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }

    #[test]
    fn flags_follow_files() {
        let path = file(
            "env",
            "\u{feff}# note\n\n  A=1\nB= x \nPATH\nNOT_SET_ANYWHERE\n",
        );
        let environment =
            environment(std::slice::from_ref(&path), &[Variable("A=2".into())]).unwrap();
        std::fs::remove_file(path).unwrap();
        let inherited = format!("PATH={}", std::env::var("PATH").unwrap());
        assert_eq!(environment, ["A=1", "B= x ", inherited.as_str(), "A=2"]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let path = file("bad", "a b=1\n");
        let error = labels(std::slice::from_ref(&path), &[]).unwrap_err();
        std::fs::remove_file(path).unwrap();
        assert!(
            error.ends_with("variable 'a b' contains whitespaces"),
            "{error}"
        );
        assert_eq!(
            environment(&["/nonexistent/x".into()], &[]).unwrap_err(),
            "open /nonexistent/x: no such file or directory"
        );
    }

    #[test]
    fn a_variable_without_a_value_is_inherited() {
        assert!(Variable::parse("PATH").unwrap().0.starts_with("PATH=/"));
        assert_eq!(
            Variable::parse("NOT_SET_ANYWHERE").unwrap().0,
            "NOT_SET_ANYWHERE"
        );
        assert_eq!(Variable::parse("A=").unwrap().0, "A=");
        assert!(Variable::parse("=x").is_err());
    }
}
