//! The files of command lines.
//!
//! ```text
//! == title            a section, played once by each client in a home of its own
//! == title (reads)    the same, line by line in turn: outputs must agree without any filter
//! + docker run …      before the section; must succeed
//! - docker rm …       after it, however it ended
//! docker ps           compared
//! # a remark
//! ```

/// A file.
pub(crate) struct Script<'t> {
    pub(crate) sections: Vec<Section<'t>>,
}

/// Lines that belong together.
pub(crate) struct Section<'t> {
    pub(crate) title: &'t str,
    /// Nothing is changed: both clients look at the same things at the same time.
    pub(crate) reads: bool,
    pub(crate) before: Vec<&'t str>,
    pub(crate) steps: Vec<Step<'t>>,
    pub(crate) after: Vec<&'t str>,
}

/// One line of a section.
pub(crate) enum Step<'t> {
    /// Compared.
    Compared(&'t str),
    /// Only has to work.
    Aside(&'t str),
}

impl<'t> Section<'t> {
    pub(crate) fn compared(&self) -> impl Iterator<Item = &'t str> + '_ {
        self.steps.iter().filter_map(|step| match step {
            Step::Compared(line) => Some(*line),
            Step::Aside(_) => None,
        })
    }
}

/// Reads a file; lines before the first title are remarks.
pub(crate) fn parse(text: &str) -> Script<'_> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("== ") {
            sections.push(Section {
                title,
                reads: title.ends_with("(reads)"),
                before: Vec::new(),
                steps: Vec::new(),
                after: Vec::new(),
            });
            continue;
        }
        let Some(section) = sections.last_mut() else {
            continue;
        };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(before) = line.strip_prefix("+ ") {
            if section.steps.is_empty() {
                section.before.push(before);
            } else {
                section.steps.push(Step::Aside(before));
            }
        } else if let Some(after) = line.strip_prefix("- ") {
            section.after.push(after);
        } else {
            section.steps.push(Step::Compared(line));
        }
    }
    Script { sections }
}
