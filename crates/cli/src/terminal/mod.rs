//! The user's terminal: raw mode that is always undone, its size, its keys, and signals.

pub(crate) mod detach;
mod input;
mod output;
pub(crate) mod signals;

use std::io;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

pub(crate) use input::Input;
pub(crate) use output::{Output, Target};

/// Raw mode of the standard input, as long as this lives. Dropping it, also while a panic unwinds,
/// gives the terminal back as it was. Signals do not end the program while it lives: they are
/// passed on to the container.
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Enters raw mode; `None` if the standard input is no terminal.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        let Ok(before) = tcgetattr(&stdin) else {
            return Ok(None);
        };
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Rows and columns of the terminal, if the standard output is one.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}
