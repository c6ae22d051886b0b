//! A command on a terminal of its own, driven as a person would.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::process::{Capture, code};
use crate::{eventually, until};

/// Both sides' output, typed text echoed, as it appears on the screen.
pub struct Terminal {
    keyboard: File,
    screen: Capture,
    seen: usize,
    child: Child,
}

impl Terminal {
    /// Starts a command as the leader of a new session on a terminal of 24 rows and 80 columns.
    #[track_caller]
    pub fn spawn(command: &Command) -> Self {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("cannot open a pty");
        grantpt(&near)
            .and_then(|()| unlockpt(&near))
            .expect("cannot unlock the pty");
        let name = ptsname(&near, Vec::new()).expect("cannot name the pty");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let far = rustix::fs::open(name, flags, Mode::empty()).expect("cannot open the terminal");
        let near = File::from(near);
        resize(&near, 24, 80);
        let mut session = Command::new("setsid");
        session
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args());
        session
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("TERM", "xterm");
        let handle = || Stdio::from(far.try_clone().expect("cannot copy the terminal"));
        session.stdin(handle()).stdout(handle()).stderr(handle());
        let child = session.spawn().expect("cannot run setsid");
        let (screen, _reader) = Capture::collect(near.try_clone().expect("cannot copy the pty"));
        Self {
            keyboard: near,
            screen,
            seen: 0,
            child,
        }
    }

    /// Types.
    #[track_caller]
    pub fn send(&mut self, text: impl AsRef<[u8]>) {
        self.keyboard.write_all(text.as_ref()).expect("cannot type");
    }

    /// Types a line and presses return.
    #[track_caller]
    pub fn line(&mut self, text: &str) {
        self.send(format!("{text}\r"));
    }

    /// Waits until `text` appears after all that was expected before.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let start = self.seen;
        let mut found = None;
        let what = format!("the screen shows {text:?}");
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(&what, || {
                found = find(&self.screen.bytes()[start..], text.as_bytes());
                found.is_some()
            });
        }));
        let Some(at) = found else {
            drop(outcome);
            panic!("{what} never held; it shows:\n{}", self.screen.text());
        };
        self.seen = start + at + text.len();
    }

    /// Changes the window's size; the foreground job is told by the kernel.
    pub fn resize(&self, rows: u16, columns: u16) {
        resize(&self.keyboard, rows, columns);
    }

    /// All that was ever shown.
    pub fn screen(&self) -> String {
        self.screen.text()
    }

    /// Waits for the command's end and returns its exit code.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        code(eventually("the command on the terminal ends", || {
            self.child.try_wait().expect("the child is ours")
        }))
    }

    /// Ends the command without a chance to say goodbye.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.kill();
    }
}

fn resize(side: &File, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(side, size).expect("cannot set the window's size");
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::Terminal;

    #[test]
    fn a_shell_sees_its_size_its_interrupt_and_returns_its_code() {
        let mut terminal = Terminal::spawn(Command::new("sh").env("PS1", "ready> "));
        terminal.expect("ready> ");
        terminal.resize(33, 99);
        terminal.line("stty size");
        terminal.expect("33 99");
        // An interrupt that comes before the job has the terminal would be the shell's own.
        terminal.line("sh -c 'printf \"has %s\\n\" begun; exec sleep 1000'");
        terminal.expect("has begun");
        terminal.send("\x03");
        terminal.line("exit 7");
        assert_eq!(terminal.wait(), 7);
    }
}
