//! Patterns of paths that are not watched, and of those that alone are.

use std::path::Path;

/// What editors leave beside the files they write.
const TEMPORARY: [&str; 6] = ["*.swp", "*.swx", "*~", ".#*", "4913", "*.tmp"];

/// Decides whether a path counts.
#[derive(Debug)]
pub(super) struct Ignored {
    ignore: Vec<String>,
    include: Vec<String>,
}

impl Ignored {
    pub(super) fn new(ignore: &[String], include: &[String]) -> Self {
        Self {
            ignore: ignore.to_vec(),
            include: include.to_vec(),
        }
    }

    /// Whether a path, from where the watching begins, does not count.
    pub(super) fn matches(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if TEMPORARY.iter().any(|pattern| glob(pattern, &name))
            || text.split('/').any(|part| part == ".git")
        {
            return true;
        }
        let hits = |patterns: &[String]| patterns.iter().any(|pattern| hit(pattern, &text));
        hits(&self.ignore) || (!self.include.is_empty() && !hits(&self.include))
    }
}

/// Whether a pattern means a path, a directory above it, or its name.
fn hit(pattern: &str, path: &str) -> bool {
    let pattern = pattern
        .trim_start_matches("./")
        .trim_end_matches('/')
        .trim_end_matches("/**");
    let parts: Vec<&str> = path.split('/').collect();
    (1..=parts.len()).any(|end| {
        let whole = parts[..end].join("/");
        glob(pattern, &whole) || (!pattern.contains('/') && glob(pattern, parts[end - 1]))
    }) || pattern
        .strip_prefix("**/")
        .is_some_and(|rest| hit(rest, path))
}

/// `*` is anything but a slash, `**` anything, `?` one letter.
fn glob(pattern: &str, text: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix("**") {
        return text
            .char_indices()
            .map(|(at, _)| at)
            .chain([text.len()])
            .any(|at| glob(rest, &text[at..]));
    }
    let mut letters = pattern.chars();
    match letters.next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = letters.as_str();
            let end = text.find('/').unwrap_or(text.len());
            text.char_indices()
                .map(|(at, _)| at)
                .chain([text.len()])
                .filter(|at| *at <= end)
                .any(|at| glob(rest, &text[at..]))
        }
        Some('?') => text
            .chars()
            .next()
            .is_some_and(|first| first != '/' && glob(letters.as_str(), &text[first.len_utf8()..])),
        Some(letter) => text
            .strip_prefix(letter)
            .is_some_and(|rest| glob(letters.as_str(), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_paths_names_and_directories() {
        let ignored = Ignored::new(
            &[
                "node_modules/".into(),
                "*.log".into(),
                "build/**".into(),
                "a/b".into(),
            ],
            &[],
        );
        for path in [
            "node_modules/x/y",
            "deep/node_modules/z",
            "x.log",
            "deep/x.log",
            "build/x",
            "a/b/c",
            ".git/index",
            "x.swp",
        ] {
            assert!(ignored.matches(Path::new(path)), "{path}");
        }
        for path in ["src/x", "b", "x.logs", "a/c"] {
            assert!(!ignored.matches(Path::new(path)), "{path}");
        }
        let only = Ignored::new(&[], &["*.js".into()]);
        assert!(only.matches(Path::new("x.ts")));
        assert!(!only.matches(Path::new("deep/x.js")));
    }
}
