//! Why a project cannot be loaded: which file, line and key, and what may have been meant.

use crate::node::{Node, Place};

/// Why a project cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Something written in a file is wrong.
    #[error("{place}: {message}")]
    Written {
        /// Where.
        place: Place,
        /// What is wrong, with the key it is about.
        message: String,
        /// What may help.
        hint: Option<String>,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The project as a whole is wrong.
    #[error("{message}")]
    Project {
        /// What is wrong.
        message: String,
        /// What may help.
        hint: Option<String>,
    },
}

/// The result of loading.
pub type Result<T> = std::result::Result<T, LoadError>;

impl LoadError {
    /// Something is wrong where a node stands.
    pub(crate) fn at(node: &Node, message: impl Into<String>) -> Self {
        Self::written(&node.place, message)
    }

    /// Something is wrong at a place.
    pub(crate) fn written(place: &Place, message: impl Into<String>) -> Self {
        Self::Written {
            place: place.clone(),
            message: message.into(),
            hint: None,
        }
    }

    /// The project as a whole is wrong.
    pub(crate) fn project(message: impl Into<String>) -> Self {
        Self::Project {
            message: message.into(),
            hint: None,
        }
    }

    /// With advice.
    pub(crate) fn with_hint(mut self, advice: impl Into<String>) -> Self {
        if let Self::Written { hint, .. } | Self::Project { hint, .. } = &mut self {
            *hint = Some(advice.into());
        }
        self
    }

    /// The advice.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Written { hint, .. } | Self::Project { hint, .. } => hint.as_deref(),
            Self::Read { .. } => None,
        }
    }

    /// The message with its causes.
    pub fn full(&self) -> String {
        match self {
            Self::Read { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }
}

/// The known word nearest to a mistyped one, if one is near.
pub(crate) fn nearest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let limit = if word.len() < 3 {
        0
    } else {
        (word.len() / 3).max(1)
    };
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be changed, added, removed or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows = vec![(0..=right.len()).collect::<Vec<usize>>()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let change = rows[i][j] + usize::from(a != b);
            let mut best = change.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_only_when_it_is_near() {
        let known = ["image", "volumes", "depends_on"];
        assert_eq!(nearest("imgae", known.into_iter()), Some("image"));
        assert_eq!(nearest("volume", known.into_iter()), Some("volumes"));
        assert_eq!(nearest("dependson", known.into_iter()), Some("depends_on"));
        assert_eq!(nearest("zebra", known.into_iter()), None);
    }
}
