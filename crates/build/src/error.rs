//! What can go wrong with a build, and where in the Dockerfile.
//!
//! The texts are BuildKit's where clients or people compare them.

use crate::dockerfile::Span;

/// The text is no Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum SyntaxError {
    #[error("file with no instructions")]
    Empty,
    #[error("no build stage in current context")]
    NoStage,
    #[error("only one {0} parser directive can be used")]
    DirectiveTwice(String),
    #[error("invalid escape token '{0}' does not match ` or \\")]
    Escape(String),
    #[error("unterminated heredoc")]
    UnterminatedHeredoc,
    #[error("unknown instruction: {keyword}{}", did_you_mean(.suggestion))]
    UnknownInstruction {
        keyword: String,
        suggestion: Option<String>,
    },
    #[error("unknown flag: {flag}{}", did_you_mean(.suggestion))]
    UnknownFlag {
        flag: String,
        suggestion: Option<String>,
    },
    #[error("duplicate flag specified: --{0}")]
    FlagTwice(String),
    #[error("missing a value on flag: --{0}")]
    FlagValue(String),
    #[error("expecting boolean value for flag {flag}, not: {value}")]
    FlagBoolean { flag: String, value: String },
    #[error("invalid value {value:?} for flag --{flag}")]
    Number { flag: String, value: String },
    #[error("FROM requires either one or three arguments")]
    From,
    #[error(
        "invalid name for build stage: {0:?}, name can't start with a number or contain symbols"
    )]
    StageName(String),
    #[error("{0} requires at least one argument")]
    AtLeastOne(String),
    #[error("{0} requires exactly one argument")]
    ExactlyOne(String),
    #[error("{0} must have two arguments")]
    TwoArguments(String),
    #[error("Syntax error - can't find = in {0:?}. Must be of the form: name=value")]
    NoEqualsSign(String),
    #[error("{0} names can not be blank")]
    BlankName(String),
    #[error("{0} requires at least two arguments, but none were provided")]
    CopyNothing(String),
    #[error(
        "{0} requires at least two arguments, but only one was provided. Destination could not be determined"
    )]
    CopyOne(String),
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnbuildChain,
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    OnbuildTrigger(String),
    #[error("SHELL requires the arguments to be in JSON form")]
    ShellForm,
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthNone,
    #[error("HEALTHCHECK NONE takes no flags")]
    HealthNoneFlags,
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthCommand,
    #[error("Unknown type {0:?} in HEALTHCHECK (try CMD)")]
    HealthType(String),
    #[error("--retries cannot be negative ({0})")]
    HealthRetries(i32),
    #[error("time: invalid duration {0:?}")]
    Duration(String),
    #[error("Interval {0:?} cannot be less than 1ms")]
    ShortDuration(String),
    #[error("unsupported mount type {0:?}")]
    MountType(String),
    #[error("unexpected key '{key}' for mount type '{kind}'{}", did_you_mean(.suggestion))]
    MountKey {
        key: String,
        kind: String,
        suggestion: Option<String>,
    },
    #[error("invalid field '{0}' must be a key=value pair")]
    MountValue(String),
    #[error("invalid value for {key}: {value}")]
    MountInvalid { key: String, value: String },
    #[error("target required for mount type {0:?}")]
    MountTarget(String),
    #[error("unexpected {0:?} in --device: it has the form vendor.com/class=name[,required]")]
    DeviceField(String),
    #[error("a --device names one device, and this one names {0:?} already")]
    DeviceTwice(String),
    #[error("secret mount without an id: give id= or target=")]
    SecretWithoutId,
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion
        .as_ref()
        .map(|word| format!(" (did you mean {word}?)"))
        .unwrap_or_default()
}

impl SyntaxError {
    /// The error, at its place.
    pub(crate) fn at(self, span: Span) -> Located<Self> {
        Located { error: self, span }
    }
}

/// An error and the lines it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<E> {
    /// What is wrong.
    pub error: E,
    /// Where.
    pub span: Span,
}

/// A build that failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The Dockerfile is not valid.
    #[error("dockerfile parse error on line {}: {error}", .place.first())]
    Syntax {
        /// What is wrong.
        error: SyntaxError,
        /// Where.
        place: Box<Place>,
    },
    /// The Dockerfile asks for something that cannot be.
    #[error("{message}")]
    Invalid {
        /// What.
        message: String,
        /// Where; `None`: it is about the request.
        place: Option<Box<Place>>,
    },
    /// A step failed.
    #[error("failed to solve: {message}")]
    Step {
        /// What happened.
        message: String,
        /// Where; `None`: it is no instruction's fault.
        place: Option<Box<Place>>,
        /// The step, as shown.
        vertex: String,
        /// The exit code of a command.
        exit_code: Option<i32>,
        /// The last of its output.
        output: String,
    },
    /// The client went away, or asked to stop.
    #[error("build cancelled")]
    Cancelled,
    /// The host could not do it.
    #[error("cannot {what}: {cause}")]
    Host {
        /// What was attempted, on which object.
        what: String,
        /// Why not.
        cause: String,
    },
}

/// What builds return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A place in a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// Its lines.
    pub span: Span,
    /// The whole text, to show an excerpt.
    pub text: std::sync::Arc<str>,
}

/// Lines shown around the one in question.
const EXCERPT_CONTEXT: usize = 2;

impl Place {
    /// The first line.
    pub fn first(&self) -> usize {
        self.span.first
    }

    /// The lines around the place, those in question marked, with a caret below the instruction.
    pub fn excerpt(&self) -> String {
        use std::fmt::Write as _;
        const RULE: &str = "--------------------\n";
        let lines: Vec<&str> = self.text.lines().collect();
        if self.span.first == 0 || self.span.first > lines.len() {
            return String::new();
        }
        let from = self.span.first.saturating_sub(EXCERPT_CONTEXT).max(1);
        let to = (self.span.last + EXCERPT_CONTEXT).min(lines.len());
        let mut text = format!("{}:{}\n{RULE}", self.file, self.span.first);
        for number in from..=to {
            let line = lines[number - 1];
            let marked = (self.span.first..=self.span.last).contains(&number);
            let mark = if marked { ">>>" } else { "   " };
            let _ = writeln!(text, "{number:4} | {mark} {line}");
            if number == self.span.first {
                let trimmed = line.trim_start();
                let indent = line.len() - trimmed.len();
                let width = trimmed
                    .find(char::is_whitespace)
                    .unwrap_or(trimmed.len())
                    .max(1);
                let _ = writeln!(
                    text,
                    "     |     {}{}",
                    " ".repeat(indent),
                    "^".repeat(width)
                );
            }
        }
        text.push_str(RULE);
        text
    }
}

impl Error {
    /// Something the request or the Dockerfile cannot ask for.
    pub(crate) fn invalid(message: impl Into<String>, place: Option<Place>) -> Self {
        Self::Invalid {
            message: message.into(),
            place: place.map(Box::new),
        }
    }

    /// The host could not do it.
    pub(crate) fn host(what: impl Into<String>, cause: impl std::fmt::Display) -> Self {
        Self::Host {
            what: what.into(),
            cause: cause.to_string(),
        }
    }

    /// Where in the Dockerfile.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Syntax { place, .. } => Some(place),
            Self::Invalid { place, .. } | Self::Step { place, .. } => place.as_deref(),
            Self::Cancelled | Self::Host { .. } => None,
        }
    }

    /// Whether the request or the Dockerfile is to blame, not a step or the host.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Syntax { .. } | Self::Invalid { .. })
    }
}

impl From<hull_image::Error> for Error {
    fn from(error: hull_image::Error) -> Self {
        use std::error::Error as _;
        let cause = error
            .source()
            .map_or_else(String::new, |source| format!(": {source}"));
        let text = error.to_string();
        let cause = if text.contains(&cause) {
            String::new()
        } else {
            cause
        };
        Self::Host {
            what: "work on the image".to_owned(),
            cause: format!("{text}{cause}"),
        }
    }
}

impl From<hull_context::BadPattern> for Error {
    fn from(error: hull_context::BadPattern) -> Self {
        Self::invalid(format!("error checking context: {error}"), None)
    }
}

impl From<hull_context::BadAddress> for Error {
    fn from(error: hull_context::BadAddress) -> Self {
        Self::invalid(error.to_string(), None)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::host("use the build cache's records", error)
    }
}
