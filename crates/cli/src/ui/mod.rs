//! All that is printed. Nothing else writes to the standard streams of this process.

pub(crate) mod download;
pub(crate) mod progress;

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// Where the reader of the output has gone: what a shell tells of a program that SIGPIPE ended.
const EXIT_READER_GONE: u8 = 128 + 13;

/// Whether advice is kept back: programs that read Docker's words should find nothing else.
static TERSE: AtomicBool = AtomicBool::new(false);

/// Keeps advice and suggestions back from now on.
pub(crate) fn be_terse() {
    TERSE.store(true, Ordering::Relaxed);
}

/// Whether advice and suggestions are told.
pub(crate) fn explains() -> bool {
    !TERSE.load(Ordering::Relaxed)
}

/// Whether it is told what goes on behind a command.
static TELLS_ALL: AtomicBool = AtomicBool::new(false);

/// Tells from now on what goes on behind a command: `--debug`.
pub(crate) fn tell_all() {
    TELLS_ALL.store(true, Ordering::Relaxed);
}

/// Tells what goes on behind a command, as lines of a log, if somebody wants to know.
pub(crate) fn debug(text: impl FnOnce() -> String) {
    if TELLS_ALL.load(Ordering::Relaxed) {
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        note(&format!("time=\"{time}\" level=debug msg={:?}", text()));
    }
}

/// Writes text to the standard output as it is. A reader that has gone is no error.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn out(text: &str) -> Result<()> {
    out_bytes(text.as_bytes())
}

/// Writes bytes to the standard output as they are. A reader that has gone ends the program
/// without a word, as a pipeline expects.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn out_bytes(bytes: &[u8]) -> Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(Error::Silent(EXIT_READER_GONE))
        }
        Err(error) => Err(Error::io("write", "/dev/stdout", &error)),
    }
}

/// Writes a line to the standard output.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn line(text: &str) -> Result<()> {
    out(&format!("{text}\n"))
}

/// Writes bytes to the standard error as they are; nobody can be told if that fails.
pub(crate) fn err_bytes(bytes: &[u8]) {
    let mut output = io::stderr().lock();
    _ = output.write_all(bytes).and_then(|()| output.flush());
}

/// Writes a line to the standard error.
pub(crate) fn note(text: &str) {
    err_bytes(format!("{text}\n").as_bytes());
}

/// Writes a warning.
pub(crate) fn warn(text: &str) {
    note(&format!("WARNING: {text}"));
}

/// Reports the error that ends the program, and gives its exit code.
pub(crate) fn report(error: &Error) -> u8 {
    match error {
        Error::Silent(code) => *code,
        Error::Failure(failure) => {
            if !failure.message.is_empty() {
                note(&failure.message);
            }
            if let Some(hint) = failure.hint.as_ref().filter(|_| explains()) {
                note(&format!("hint: {hint}"));
            }
            failure.code
        }
        Error::Usage(usage) => {
            let mut text = format!("{}\n", usage.message);
            if let Some(suggestion) = usage.suggestion.as_ref().filter(|_| explains()) {
                text.push_str(&format!("\nDid you mean '{suggestion}'?\n"));
            }
            if !usage.usage.is_empty() {
                text.push_str(&format!("\nUsage:  {}\n", usage.usage));
            }
            note(&format!("{text}\n{}", usage.pointer));
            usage.code
        }
    }
}

/// Asks a question that only `y` affirms.
///
/// # Errors
/// When the answer cannot be read.
pub(crate) fn confirm(question: &str) -> Result<bool> {
    out(&format!("{question} [y/N] "))?;
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Error::io("read", "/dev/stdin", &error))?;
    Ok(matches!(answer.trim(), "y" | "Y"))
}

/// Whether the standard output is a terminal.
pub(crate) fn out_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether the standard input is a terminal.
pub(crate) fn in_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Whether the standard error is a terminal.
pub(crate) fn err_is_terminal() -> bool {
    io::stderr().is_terminal()
}
