//! Programs run to their end, in a process of which another part reaps all children.
//!
//! Whoever [reaps](crate::process::reap) tells of each child [here](note); who waits for one gets its
//! end from there if the other was quicker.

use std::collections::HashMap;
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use std::os::unix::process::ExitStatusExt as _;

use rustix::process::Pid;

use crate::process::Ended;

/// Children that are waited for here, and the ends of those that somebody else reaped.
static AWAITED: Mutex<Option<HashMap<i32, Option<Ended>>>> = Mutex::new(None);
static NOTED: Condvar = Condvar::new();

/// What a program came to.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub ended: Ended,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it complained.
    pub stderr: Vec<u8>,
}

/// A child was reaped.
pub fn note(pid: i32, ended: Ended) {
    let mut awaited = lock();
    if let Some(end) = awaited.get_or_insert_default().get_mut(&pid) {
        *end = Some(ended);
        NOTED.notify_all();
    }
}

/// Runs a program, named by its path, to its end. What `started` makes of the process lives as long.
pub fn output<T>(command: &mut Command, started: impl FnOnce(Pid) -> T) -> io::Result<Output> {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = {
        // It may end before this returns, but not be noted before it is known.
        let mut awaited = lock();
        let child = command.spawn()?;
        awaited.get_or_insert_default().insert(pid_of(&child), None);
        child
    };
    let _held = started(Pid::from_child(&child));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let complaining = thread::spawn(move || read(stderr));
    let stdout = read(stdout);
    let stderr = complaining.join().unwrap_or_else(|_| Ok(Vec::new()));
    Ok(Output {
        ended: wait(&mut child)?,
        stdout: stdout?,
        stderr: stderr?,
    })
}

fn wait(child: &mut Child) -> io::Result<Ended> {
    let pid = pid_of(child);
    match child.wait() {
        Ok(status) => {
            lock().get_or_insert_default().remove(&pid);
            Ok(ended(status))
        }
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {
            let mut awaited = lock();
            loop {
                let known = awaited.get_or_insert_default();
                if let Some(Some(ended)) = known.get(&pid).copied() {
                    known.remove(&pid);
                    return Ok(ended);
                }
                awaited = NOTED.wait(awaited).unwrap_or_else(PoisonError::into_inner);
            }
        }
        Err(error) => Err(error),
    }
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exited(code),
        (None, signal) => Ended::Killed(signal.unwrap_or(0)),
    }
}

fn pid_of(child: &Child) -> i32 {
    Pid::from_child(child).as_raw_nonzero().get()
}

fn read(pipe: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn lock() -> MutexGuard<'static, Option<HashMap<i32, Option<Ended>>>> {
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use rustix::process::{WaitOptions, waitpid};

    use super::*;

    #[test]
    fn the_end_is_known_even_if_another_reaps() {
        for code in 0..20 {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &format!("echo out; echo err >&2; exit {code}")]);
            let mut reaping = None;
            let output = output(&mut command, |pid| {
                reaping = Some(thread::spawn(move || {
                    // Whoever is quicker has it.
                    if let Ok(Some((_, status))) = waitpid(Some(pid), WaitOptions::empty()) {
                        let code = status.exit_status().unwrap_or(-1);
                        note(pid.as_raw_nonzero().get(), Ended::Exited(code));
                    }
                }));
            });
            let output = output.unwrap();
            reaping.unwrap().join().unwrap();
            assert_eq!(output.ended.code(), code);
            assert_eq!(output.stdout, b"out\n");
            assert_eq!(output.stderr, b"err\n");
        }
    }
}
