//! The user's terminal: modes that are always undone, its size, its keys, and signals.

pub(crate) mod detach;
pub(crate) mod ending;
mod guard;
mod input;
mod output;
pub(crate) mod signals;

use std::io;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use guard::Guard;

pub(crate) use input::Input;
pub(crate) use output::{Output, Target};

/// What becomes of signals that would end the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signals {
    /// Somebody heeds them, or passes them on.
    Heeded,
    /// They end it, once the terminal is as it was.
    End,
}

impl Signals {
    /// Heeded while they are passed on.
    pub(crate) fn unless_heeded(heeding: Option<&signals::Heeding>) -> Self {
        match heeding.is_some_and(|heeding| heeding.passes_on) {
            true => Self::Heeded,
            false => Self::End,
        }
    }
}

/// Another mode of the standard input, as long as this lives. Dropping it, also while a panic unwinds,
/// gives the terminal back as it was; so does a signal that ends the program.
pub(crate) struct Mode {
    before: Termios,
    _guard: Guard,
}

impl Mode {
    /// Each key as it is pressed, and nothing done with it; `None` if the standard input is no terminal.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub(crate) fn raw(signals: Signals) -> io::Result<Option<Self>> {
        Self::enter(signals, Termios::make_raw)
    }

    /// What is typed is not shown; `None` if the standard input is no terminal.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub(crate) fn silent() -> io::Result<Option<Self>> {
        Self::enter(Signals::End, |mode| {
            mode.local_modes.remove(LocalModes::ECHO);
        })
    }

    fn enter(signals: Signals, change: impl FnOnce(&mut Termios)) -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        let Ok(before) = tcgetattr(&stdin) else {
            return Ok(None);
        };
        let guard = Guard::of(&before, signals)?;
        let mut mode = before.clone();
        change(&mut mode);
        tcsetattr(&stdin, OptionalActions::Now, &mode)?;
        Ok(Some(Self {
            before,
            _guard: guard,
        }))
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Rows and columns of the terminal, if the standard output is one.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}
