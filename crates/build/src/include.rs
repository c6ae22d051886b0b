//! `INCLUDE path`: the instructions of another file of the main context stand in its place. Opt-in.
//!
//! Files are taken apart one by one, so that a line of a heredoc or of a continued instruction is no
//! instruction, and each instruction is reported where it stands.

use std::sync::Arc;

use crate::dockerfile::{self, Dockerfile, Lines, Span};
use crate::error::{Error, Located, Place, Result, SyntaxError};
use crate::plan::MAIN_CONTEXT;
use crate::request::BuildRequest;

/// Files within files within files: nobody nests them deeper.
const DEPTH_MAX: usize = 8;
/// Bytes of the whole.
const BYTES_MAX: usize = 4 << 20;

/// Files of the whole: empty ones that include each other take no bytes, but time.
const FILES_MAX: usize = 1000;

/// The instruction.
const KEYWORD: &str = "INCLUDE";

/// The texts that a Dockerfile is made of: one after the other, their lines counted on.
#[derive(Debug, Clone)]
pub struct Texts {
    /// In the order in which they begin; the first is the Dockerfile itself.
    files: Vec<Text>,
}

#[derive(Debug, Clone)]
struct Text {
    name: String,
    text: Arc<str>,
    /// Lines of those before it.
    before: usize,
}

impl Texts {
    /// One text alone.
    pub fn of(name: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        let sole = Text {
            name: name.into(),
            text: text.into(),
            before: 0,
        };
        Self { files: vec![sole] }
    }

    /// Where these lines stand.
    pub fn place(&self, span: Span) -> Place {
        let after = self.files.partition_point(|file| file.before < span.first);
        let file = &self.files[after.saturating_sub(1)];
        Place {
            file: file.name.clone(),
            span: Span {
                first: span.first.saturating_sub(file.before),
                last: span.last.saturating_sub(file.before),
            },
            text: Arc::clone(&file.text),
        }
    }

    /// Takes another text in; the lines before it.
    fn add(&mut self, name: &str, text: Arc<str>) -> usize {
        let last = self.files.last().expect("there is the Dockerfile");
        // A line more: a place at the end of a text without a line is its own.
        let before = last.before + last.text.lines().count() + 1;
        self.files.push(Text {
            name: name.to_owned(),
            text,
            before,
        });
        before
    }

    fn bytes(&self) -> usize {
        self.files.iter().map(|file| file.text.len()).sum()
    }
}

/// Reads the Dockerfile, with what it includes.
pub(crate) fn read(request: &BuildRequest) -> Result<(Dockerfile, Texts)> {
    let texts = Texts::of(&*request.dockerfile_name, &*request.dockerfile);
    if !request.allow_include {
        let file = dockerfile::parse(&request.dockerfile);
        let file = file.map_err(|located| syntax(&texts, located))?;
        return Ok((file, texts));
    }
    let main = dockerfile::split(&request.dockerfile);
    let mut main = main.map_err(|located| syntax(&texts, located))?;
    let mut whole = Whole {
        request,
        escape: main.directives.escape,
        texts,
        lines: Lines {
            nodes: Vec::new(),
            ..main.clone()
        },
    };
    whole.add(std::mem::take(&mut main.nodes), 0)?;
    let file = dockerfile::parse_lines(whole.lines);
    let file = file.map_err(|located| syntax(&whole.texts, located))?;
    Ok((file, whole.texts))
}

fn syntax(texts: &Texts, located: Located<SyntaxError>) -> Error {
    Error::Syntax {
        error: located.error,
        place: Box::new(texts.place(located.span)),
    }
}

/// The whole so far.
struct Whole<'a> {
    request: &'a BuildRequest,
    /// The Dockerfile's: it holds in all of them.
    escape: char,
    texts: Texts,
    lines: Lines,
}

impl Whole<'_> {
    fn add(&mut self, nodes: Vec<dockerfile::Node>, depth: usize) -> Result<()> {
        for node in nodes {
            if !node.keyword.eq_ignore_ascii_case(KEYWORD) {
                self.lines.nodes.push(node);
                continue;
            }
            let place = self.texts.place(node.span);
            let mut words = node.text.split_whitespace();
            let (Some(path), None) = (words.next(), words.next()) else {
                let error = SyntaxError::ExactlyOne(KEYWORD.to_owned());
                return Err(syntax(&self.texts, error.at(node.span)));
            };
            let failed = |cause: &str| {
                Error::invalid(format!("{KEYWORD} {path}: {cause}"), Some(place.clone()))
            };
            if depth >= DEPTH_MAX
                || self.texts.bytes() > BYTES_MAX
                || self.texts.files.len() > FILES_MAX
            {
                return Err(failed("files include each other without end"));
            }
            let content = self.request.contexts.file(MAIN_CONTEXT, path);
            let content = content.map_err(|cause| failed(&cause))?;
            let content = content.ok_or_else(|| failed("not found in the build context"))?;
            let content: Arc<str> = String::from_utf8_lossy(&content).into();
            let before = self.texts.add(path, Arc::clone(&content));
            let included = dockerfile::split_included(&content, self.escape, before);
            let included = included.map_err(|located| syntax(&self.texts, located))?;
            let empty = included.empty_continuations;
            self.lines.empty_continuations.extend(empty);
            self.add(included.nodes, depth + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::request::{Contexts, Wanted};
    use crate::tree::Tree;

    struct Files(BTreeMap<&'static str, &'static str>);

    impl Contexts for Files {
        fn tree(&self, _: &str, _: &Wanted) -> Result<Arc<Tree>, String> {
            Err("no tree is wanted".to_owned())
        }

        fn file(&self, _: &str, path: &str) -> Result<Option<Vec<u8>>, String> {
            Ok(self.0.get(path).map(|text| text.as_bytes().to_vec()))
        }
    }

    fn read(text: &str, files: &[(&'static str, &'static str)]) -> Result<(Dockerfile, Texts)> {
        let mut request = BuildRequest::new("Dockerfile", text);
        request.allow_include = true;
        request.contexts = Arc::new(Files(files.iter().copied().collect()));
        super::read(&request)
    }

    #[test]
    fn instructions_stand_in_place_of_the_include_and_keep_their_lines() {
        let files = [
            ("one", "# words\nRUN one\ninclude deeper\nRUN two\n"),
            ("deeper", "ENV deep=yes"),
            ("nothing", ""),
        ];
        let text = "FROM a\nINCLUDE one\nINCLUDE nothing\nRUN last\n";
        let (file, texts) = read(text, &files).unwrap();
        let steps = &file.stages[0].steps;
        let told: Vec<_> = steps
            .iter()
            .map(|step| {
                let place = texts.place(step.span);
                (step.original.as_str(), place.file, place.span.first)
            })
            .collect();
        let expected = [
            ("RUN one", "one", 2),
            ("ENV deep=yes", "deeper", 1),
            ("RUN two", "one", 4),
            ("RUN last", "Dockerfile", 4),
        ];
        let expected = expected.map(|(text, file, line)| (text, file.to_owned(), line));
        assert_eq!(told, expected);
    }

    #[test]
    fn lines_of_other_things_are_left_alone() {
        let text =
            "FROM a\nCOPY <<Makefile /\ninclude common.mk\nMakefile\nRUN x \\\n  include y\n";
        let (file, _) = read(text, &[]).unwrap();
        assert_eq!(file.stages[0].steps.len(), 2);
        let heredoc = &file.stages[0].steps[0].heredocs[0];
        assert_eq!(heredoc.content, "include common.mk\n");
        // What goes on at the end of a file does not go on in the next one.
        let (file, _) = read("FROM a\nINCLUDE open\nRUN y\n", &[("open", "RUN x \\\n")]).unwrap();
        assert_eq!(file.stages[0].steps.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_told_where_it_stands() {
        let files = [
            ("odd", "ENV a=b\n\n  RNU x\n"),
            ("self", "INCLUDE self\n"),
            ("asks", "RUN x\nINCLUDE missing\n"),
        ];
        let told = |text: &str| {
            let error = read(text, &files).unwrap_err();
            let place = error.place().unwrap();
            (
                error.to_string(),
                format!("{}:{}", place.file, place.first()),
            )
        };
        let (words, place) = told("FROM a\nINCLUDE odd\n");
        assert!(
            words.contains("line 3: unknown instruction: RNU"),
            "{words}"
        );
        assert_eq!(place, "odd:3");
        let (words, place) = told("FROM a\n\nINCLUDE missing\n");
        assert_eq!(words, "INCLUDE missing: not found in the build context");
        assert_eq!(place, "Dockerfile:3");
        assert_eq!(told("FROM a\nINCLUDE asks\n").1, "asks:2");
        assert!(told("FROM a\nINCLUDE self\n").0.contains("without end"));
        assert!(
            told("FROM a\nINCLUDE a b\n")
                .0
                .contains("exactly one argument")
        );
    }

    #[test]
    fn it_is_no_instruction_unless_it_is_allowed() {
        let request = BuildRequest::new("Dockerfile", "FROM a\nINCLUDE b\n");
        let error = super::read(&request).unwrap_err();
        assert!(error.to_string().contains("unknown instruction: INCLUDE"));
    }
}
