//! The Dockerfile language: from text to typed instructions. Pure.
//!
//! [`parse`] gives a [`Dockerfile`]: directives, global `ARG`s, and stages with their
//! instructions, each with the lines it stands on. Nothing is substituted yet: what variables
//! hold is known only while a stage is planned.

mod flags;
mod instruction;
mod lines;
mod read;
mod words;

pub use instruction::{
    ArgDeclaration, Copy, Healthcheck, Instruction, Run, RunDevice, RunMount, Sharing, Stage, Step,
};
pub use lines::Directives;
pub use words::{Command, Pair};

pub(crate) use flags::{boolean, near};
pub(crate) use lines::{Lines, split, split_included};
pub(crate) use read::{device_of, mount_of};
pub(crate) use words::{heredoc, quoted as quoted_words};

use crate::error::{Located, SyntaxError};

/// Lines of a file, counted from 1; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Span {
    /// The first line.
    pub first: usize,
    /// The last line.
    pub last: usize,
}

impl Span {
    /// A single line.
    pub fn line(number: usize) -> Self {
        Self {
            first: number,
            last: number,
        }
    }
}

/// An instruction as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// As typed.
    pub keyword: String,
    /// `--name=value` each, quotes resolved.
    pub flags: Vec<String>,
    /// What follows the flags.
    pub text: String,
    /// The whole line, continuations joined.
    pub original: String,
    /// Its heredocs, in order.
    pub heredocs: Vec<Heredoc>,
    /// Where it stands.
    pub span: Span,
    /// The comment lines right before it.
    pub comments: Vec<String>,
}

/// Text that stands below an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The file descriptor before `<<`; 0 if none.
    pub descriptor: u32,
    /// The word that ends it.
    pub name: String,
    /// Whether variables in it are substituted (its word was not quoted).
    pub expand: bool,
    /// Whether tabs at the beginning of lines are dropped.
    pub chomp: bool,
    /// The lines, each with its line feed.
    pub content: String,
}

/// A file, parsed.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    /// What stands at its top.
    pub directives: Directives,
    /// `ARG`s before the first `FROM`.
    pub global_args: Vec<Step>,
    /// Its stages, in order.
    pub stages: Vec<Stage>,
    /// Continued lines that were followed by an empty one.
    pub(crate) empty_continuations: Vec<Span>,
    /// All instructions as typed, for the linter.
    pub(crate) nodes: Vec<Node>,
}

/// Parses a file.
pub fn parse(text: &str) -> Result<Dockerfile, Located<SyntaxError>> {
    parse_lines(split(text)?)
}

/// Reads what was taken apart.
pub(crate) fn parse_lines(lines: Lines) -> Result<Dockerfile, Located<SyntaxError>> {
    let escape = lines.directives.escape;
    let mut file = Dockerfile {
        directives: lines.directives,
        global_args: Vec::new(),
        stages: Vec::new(),
        empty_continuations: lines.empty_continuations,
        nodes: Vec::new(),
    };
    for node in &lines.nodes {
        let instruction = read::instruction_of(node, escape)?;
        let step = Step {
            instruction,
            span: node.span,
            original: node.original.clone(),
            heredocs: node.heredocs.clone(),
        };
        place(&mut file, step, node)?;
    }
    file.nodes = lines.nodes;
    if file.stages.is_empty() {
        let last = file.nodes.last().map_or(Span::line(1), |node| node.span);
        return Err(SyntaxError::NoStage.at(last));
    }
    Ok(file)
}

/// Parses an `ONBUILD` trigger of a base image, or any single line.
pub(crate) fn parse_line(text: &str) -> Result<Step, Located<SyntaxError>> {
    let lines = split(text)?;
    let node = &lines.nodes[0];
    Ok(Step {
        instruction: read::instruction_of(node, lines.directives.escape)?,
        span: Span::default(),
        original: node.original.clone(),
        heredocs: node.heredocs.clone(),
    })
}

fn place(file: &mut Dockerfile, step: Step, node: &Node) -> Result<(), Located<SyntaxError>> {
    match (step.instruction, file.stages.last_mut()) {
        (
            Instruction::From {
                image,
                name,
                platform,
            },
            _,
        ) => file.stages.push(Stage {
            name,
            image,
            platform,
            steps: Vec::new(),
            span: step.span,
            original: step.original,
            comments: node.comments.clone(),
        }),
        (instruction @ Instruction::Arg(_), None) => file.global_args.push(Step {
            instruction,
            ..Step::empty(step.span, step.original)
        }),
        (_, None) => return Err(SyntaxError::NoStage.at(node.span)),
        (instruction, Some(stage)) => stage.steps.push(Step {
            instruction,
            span: step.span,
            original: step.original,
            heredocs: step.heredocs,
        }),
    }
    Ok(())
}

impl Step {
    fn empty(span: Span, original: String) -> Self {
        Self {
            instruction: Instruction::Arg(Vec::new()),
            span,
            original,
            heredocs: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
