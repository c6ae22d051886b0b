//! Why a command did not do what it was asked, and the exit code that says so.

/// Docker's exit code for what went wrong before a container could run.
pub(crate) const EXIT_BEFORE_RUN: u8 = 125;

/// Why a command ends early.
#[derive(Debug, PartialEq)]
pub(crate) enum Error {
    /// The command line cannot be understood; the usage line follows the message.
    Usage(Usage),
    /// Something went wrong, in words for people.
    Failure(Failure),
    /// All has been said; this is the exit code.
    Silent(u8),
}

/// A command line that cannot be understood.
#[derive(Debug, PartialEq)]
pub(crate) struct Usage {
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
    /// What stands after `Usage:`; nothing if no line is wanted.
    pub(crate) usage: String,
    /// `Run 'docker ps --help' for more information`
    pub(crate) pointer: String,
    pub(crate) code: u8,
}

/// Something that went wrong.
#[derive(Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) code: u8,
}

/// What commands return.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure with exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Failure(Failure {
            message: message.into(),
            hint: None,
            code: 1,
        })
    }

    /// The failure of an operation on a file, in Go's words.
    pub(crate) fn io(operation: &str, path: &str, error: &std::io::Error) -> Self {
        let why = crate::options::environment::plain(error);
        Self::new(format!("{operation} {path}: {why}"))
    }

    /// The same error with advice.
    pub(crate) fn with_hint(mut self, advice: impl Into<String>) -> Self {
        if let Self::Failure(failure) = &mut self {
            failure.hint = Some(advice.into());
        }
        self
    }

    /// The same error with several pieces of advice, or none.
    pub(crate) fn with_hints(self, advice: &[String]) -> Self {
        let mut once = advice.to_vec();
        once.dedup();
        match once.is_empty() {
            true => self,
            false => self.with_hint(once.join("\nhint: ")),
        }
    }

    /// The advice, for collecting several.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Failure(failure) => failure.hint.as_deref(),
            Self::Usage(_) | Self::Silent(_) => None,
        }
    }

    /// The same error with another exit code.
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        if let Self::Failure(failure) = &mut self {
            failure.code = code;
        }
        self
    }

    /// The message, for collecting several.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Usage(usage) => &usage.message,
            Self::Failure(failure) => &failure.message,
            Self::Silent(_) => "",
        }
    }
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}
