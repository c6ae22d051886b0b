//! Which of the linter's warnings are wanted. Pure.
//!
//! `skip=RULE,…;experimental=RULE,…;error=true`, as `# check=` at the top of a file, right above an
//! instruction for this one, or as the build argument `BUILDKIT_DOCKERFILE_CHECK`, which replaces what
//! stands at the top.

use crate::dockerfile::boolean;

/// What is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    skip: Rules,
    /// Rules that are looked at only if somebody asks for them.
    experimental: Rules,
    /// A warning is an error.
    pub(super) is_error: bool,
}

/// Names of rules, in lowercase.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rules {
    These(Vec<String>),
    All,
}

impl Default for Rules {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl Rules {
    fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Self::All,
            names => {
                let names = names.split(',').map(|name| name.trim().to_lowercase());
                Self::These(names.filter(|name| !name.is_empty()).collect())
            }
        }
    }

    fn has(&self, rule: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(&rule.to_lowercase()),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::These(mut own), Self::These(more)) => {
                own.extend(more);
                Self::These(own)
            }
            _ => Self::All,
        }
    }
}

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// The option that there is not, or that says nothing.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::default();
        for part in text.split(';').filter(|part| !part.trim().is_empty()) {
            let invalid = || format!("invalid check option {part:?}");
            let (key, value) = part.split_once('=').ok_or_else(invalid)?;
            match key.trim() {
                "skip" => options.skip = Rules::parse(value),
                "experimental" => options.experimental = Rules::parse(value),
                "error" => options.is_error = boolean(value.trim()).ok_or_else(invalid)?,
                _ => return Err(invalid()),
            }
        }
        Ok(options)
    }

    /// With what the comments above an instruction say. One that says nothing intelligible is a
    /// comment like any other.
    pub(super) fn with_comments(&self, comments: &[String]) -> Self {
        let own = comments.iter().find_map(|comment| {
            let (key, value) = comment.split_once('=')?;
            let value = value.split_whitespace().next().unwrap_or_default();
            let options = key.trim().eq_ignore_ascii_case("check");
            options.then(|| Self::parse(value).ok()).flatten()
        });
        let own = own.unwrap_or_default();
        Self {
            skip: self.skip.clone().and(own.skip),
            experimental: self.experimental.clone().and(own.experimental),
            is_error: self.is_error,
        }
    }

    /// Whether a rule's warnings are wanted.
    pub(super) fn wants(&self, rule: &str, is_experimental: bool) -> bool {
        match is_experimental {
            true => self.experimental.has(rule),
            false => !self.skip.has(rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_chosen() {
        let options = Options::parse("skip=A, b;experimental=all;error=true").unwrap();
        assert!(!options.wants("a", false) && !options.wants("B", false));
        assert!(options.wants("C", false) && options.wants("X", true) && options.is_error);
        let plain = Options::default();
        assert!(plain.wants("A", false) && !plain.wants("X", true));
        assert!(!Options::parse("skip=all").unwrap().wants("A", false));
    }

    #[test]
    fn comments_choose_for_one_instruction() {
        let comments = |text: &str| vec!["words".to_owned(), text.to_owned()];
        let options = Options::parse("skip=A").unwrap();
        let own = options.with_comments(&comments("check=skip=B;experimental=X why"));
        assert!(!own.wants("A", false) && !own.wants("B", false) && own.wants("X", true));
        assert_eq!(options.with_comments(&comments("check=nonsense")), options);
    }

    #[test]
    fn what_there_is_not_is_named() {
        for text in ["skipp=A", "error=maybe", "skip"] {
            assert!(Options::parse(text).unwrap_err().contains(text), "{text}");
        }
    }
}
