//! A command that goes on while the test does other things.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::eventually;

/// Output as it grows.
#[derive(Clone, Default)]
pub struct Capture(Arc<Mutex<Vec<u8>>>);

impl Capture {
    /// What came so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// What came so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no reader panics").clone()
    }

    /// Collects from `source` in a thread until it ends.
    pub fn collect(source: impl Read + Send + 'static) -> (Self, JoinHandle<()>) {
        let capture = Self::default();
        let sink = capture.clone();
        (capture, thread::spawn(move || sink.drain(source)))
    }

    fn drain(&self, mut source: impl Read) {
        let mut buffer = [0; 8192];
        // A terminal whose other side is closed reads as an error: the end, too.
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            self.0
                .lock()
                .expect("no reader panics")
                .extend_from_slice(&buffer[..count]);
        }
    }
}

/// A process that ends with the test.
pub struct Ends(pub Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running command with its three streams as pipes; killed when dropped.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Capture,
    stderr: Capture,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts a command.
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (stdout, first) = Capture::collect(child.stdout.take().expect("stdout is a pipe"));
        let (stderr, second) = Capture::collect(child.stderr.take().expect("stderr is a pipe"));
        let stdin = child.stdin.take();
        Self {
            child,
            stdin,
            stdout,
            stderr,
            readers: vec![first, second],
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it complained so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Writes to its standard input.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("standard input is still open");
        stdin
            .write_all(bytes.as_ref())
            .expect("cannot write to the command");
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits until `text` was written to standard output.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        eventually(&format!("output has {text:?}"), || {
            self.stdout().contains(text).then_some(())
        });
    }

    /// Waits for its end and returns `(code, stdout, stderr)`; a signal counts as 128 and its number.
    #[track_caller]
    pub fn wait(&mut self) -> (i32, String, String) {
        self.stdin = None;
        let status = eventually("the command ends", || {
            self.child.try_wait().expect("the child is ours")
        });
        for reader in self.readers.drain(..) {
            reader.join().expect("no reader panics");
        }
        (code(status), self.stdout(), self.stderr())
    }

    /// Ends it without a chance to say goodbye.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal by name to a process that the caller started.
#[track_caller]
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status();
    assert!(
        status.expect("cannot run kill").success(),
        "cannot send {name} to {pid}"
    );
}

/// The code as a shell gives it.
pub fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}
