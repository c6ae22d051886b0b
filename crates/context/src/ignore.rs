//! `.dockerignore`: which files of a context a build does not see. Pure.

use std::path::{Component, Path, PathBuf};

use crate::pattern::{BadPattern, Glob};

/// The patterns of a file, in order: the last one that matches decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    glob: Glob,
    /// What a directory's names must match, one by one, for something in it to match the whole.
    /// Ends where names can no longer be told apart.
    names: Vec<Glob>,
    includes: bool,
    text: String,
}

impl Ignore {
    /// Parses the text of a `.dockerignore`.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let patterns = lines(text);
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        Self::from_patterns(&patterns)
    }

    /// From patterns one by one, as `--exclude` gives them.
    pub fn from_patterns(patterns: &[&str]) -> Result<Self, BadPattern> {
        let mut rules = Vec::new();
        for pattern in patterns {
            let (includes, plain) = match pattern.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, *pattern),
            };
            if plain.is_empty() {
                return Err(BadPattern("!".to_owned()));
            }
            let cleaned = clean(plain);
            // `/` and `.` mean nothing, and a client would not take what is left of `!/`.
            if cleaned.is_empty() {
                continue;
            }
            let glob = Glob::parse(&cleaned, true)?;
            // A client that is sent the pattern does not take off a leading slash itself.
            let text = format!("{}{cleaned}", if includes { "!" } else { "" });
            rules.push(Rule {
                glob,
                names: names(&cleaned),
                includes,
                text,
            });
        }
        Ok(Self { rules })
    }

    /// Whether nothing is ignored.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The patterns, as a client's walk takes them.
    pub fn patterns(&self) -> Vec<String> {
        self.rules.iter().map(|rule| rule.text.clone()).collect()
    }

    /// Whether some pattern takes back what another one ignores.
    pub fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.includes)
    }

    /// Whether an exception may take back something below `directory`, which is ignored itself.
    pub fn may_take_back_below(&self, directory: &Path) -> bool {
        let prefixes = prefixes(directory);
        let ignores = |rule: &&Rule| {
            let covers = || prefixes.iter().any(|path| rule.glob.matches(path));
            !rule.includes && covers()
        };
        // What stands before the last rule that ignores all of it takes nothing back.
        let later = self.rules.iter().rev().take_while(|rule| !ignores(rule));
        later.filter(|rule| rule.includes).any(|rule| {
            let below = directory.iter().zip(&rule.names);
            below
                .into_iter()
                .all(|(name, glob)| glob.matches(&name.to_string_lossy()))
        })
    }

    /// Whether the build does not see `path` (relative, with `/`).
    pub fn ignores(&self, path: &Path) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let prefixes = prefixes(path);
        let mut ignored = false;
        for rule in &self.rules {
            // A rule that cannot change the outcome need not be tried.
            if rule.includes == ignored && prefixes.iter().any(|path| rule.glob.matches(path)) {
                ignored = !rule.includes;
            }
        }
        ignored
    }
}

/// The patterns of the text's lines.
pub fn lines(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A path and the directories above it.
fn prefixes(path: &Path) -> Vec<String> {
    path.ancestors()
        .filter(|ancestor| !ancestor.as_os_str().is_empty())
        .map(|ancestor| ancestor.to_string_lossy().into_owned())
        .collect()
}

/// The pattern's names, as far as each stands for exactly one.
fn names(cleaned: &str) -> Vec<Glob> {
    let names = cleaned.split('/').take_while(|name| !name.contains("**"));
    // A class with a slash in it does not come apart.
    names
        .map_while(|name| Glob::parse(name, true).ok())
        .collect()
}

/// Without leading slashes, `.` and `..`, but for a `..` that leads out of the context: there is
/// nothing that it matches.
fn clean(pattern: &str) -> String {
    let mut path = PathBuf::new();
    for component in Path::new(pattern).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => match path.file_name() {
                Some(_) => {
                    path.pop();
                }
                None if pattern.starts_with('/') => {}
                None => path.push(".."),
            },
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let text = "\u{feff}# comment\n\n  *.md  \n!README.md\n/target\nnode_modules/\n**/*.o\n\
                    docs\n!docs/keep/this\n#not\n";
        let ignore = Ignore::parse(text).unwrap();
        for (path, expected) in [
            ("a.md", true),
            ("README.md", false),
            ("sub/a.md", false),
            ("target", true),
            ("target/debug/x", true),
            ("sub/target", false),
            ("node_modules/a/b", true),
            ("x.o", true),
            ("a/b/x.o", true),
            ("docs/page", true),
            ("docs/keep/this", false),
            ("docs/keep/this/too", false),
            ("src/main.rs", false),
        ] {
            assert_eq!(ignore.ignores(Path::new(path)), expected, "{path}");
        }
        assert!(ignore.has_exceptions());
    }

    #[test]
    fn everything_but_a_few() {
        let ignore = Ignore::parse("*\n!src\n!Cargo.*").unwrap();
        for (path, expected) in [
            ("src/a/b", false),
            ("Cargo.toml", false),
            ("other/x", true),
            (".git/config", true),
        ] {
            assert_eq!(ignore.ignores(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn only_where_an_exception_leads_something_may_be_taken_back() {
        for (text, directory, expected) in [
            ("*\n!src", "src", true),
            ("*\n!src", "src/deep", true),
            ("*\n!src", "data", false),
            ("*\n!a/*/c", "a", true),
            ("*\n!a/*/c", "a/b", true),
            ("*\n!a/*/c", "b", false),
            ("*\n!a/b", "a/c", false),
            ("*\n!**/*.md", "data", true),
            ("*\n!a/**/x", "a/b/c", true),
            ("*\n!a/**/x", "b", false),
            ("*\n!**/*.md\ndata", "data", false),
            ("*\n!**/*.md\ndata", "data/deep", false),
            ("data\n!other", "data", false),
            ("*\n![a/b]c", "data", true),
            ("*", "data", false),
        ] {
            let ignore = Ignore::parse(text).unwrap();
            let may = ignore.may_take_back_below(Path::new(directory));
            assert_eq!(may, expected, "{text:?} {directory}");
        }
    }

    #[test]
    fn patterns_are_cleaned_before_a_client_is_sent_them() {
        let ignore = Ignore::parse("*\n!/src\n/target/\n! a\n/\n.\n!/\n./b/../c//d\n").unwrap();
        assert_eq!(ignore.patterns(), ["*", "!src", "target", "!a", "c/d"]);
    }

    #[test]
    fn what_leads_out_of_the_context_matches_nothing_in_it() {
        let ignore = Ignore::parse("../secrets\na/../../b\n/../rooted").unwrap();
        assert_eq!(ignore.patterns(), ["../secrets", "../b", "rooted"]);
        for (path, expected) in [("secrets", false), ("b", false), ("rooted", true)] {
            assert_eq!(ignore.ignores(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_bad_pattern_is_an_error() {
        for text in ["[", "!", "a[b"] {
            assert!(Ignore::parse(text).is_err(), "{text}");
        }
    }
}

#[cfg(test)]
mod hostile {
    use std::path::Path;

    use super::Ignore;

    proptest::proptest! {
        #[test]
        fn nothing_is_taken_back_where_it_may_not_be(
            text in "(!?(a|b|c|\\*|\\*\\*|\\?|\\[a-b\\])(/(a|b|\\*|\\*\\*|[ab]\\*)){0,2}\n){1,4}",
            path in "[a-c](/[a-c]){1,3}",
        ) {
            let ignore = Ignore::parse(&text).unwrap();
            let path = Path::new(&path);
            let above = path.parent().unwrap();
            if ignore.ignores(above) && !ignore.may_take_back_below(above) {
                assert!(ignore.ignores(path), "{text:?} {path:?}");
            }
        }

        #[test]
        fn no_text_makes_the_patterns_panic(text in "[*?!\\[\\]\\\\/a-c.\n^-]{0,80}", path in "[a-c/.]{0,30}") {
            if let Ok(ignore) = Ignore::parse(&text) {
                ignore.ignores(Path::new(&path));
            }
        }
    }
}
