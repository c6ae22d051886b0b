//! The only test of its process: it uses up the process's descriptors.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    ffi::CString,
    fs::File,
    os::fd::{AsFd, BorrowedFd},
};

use hull_sys::spawn::{Program, spawn};
use rustix::process::{Resource, Rlimit, WaitOptions, getrlimit, setrlimit, waitpid};

/// What is begun can be watched: the last descriptors serve the start, and then its outcome.
#[test]
fn a_program_that_starts_with_the_last_descriptors_is_not_lost() {
    let few = Rlimit {
        current: Some(64),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, few).unwrap();
    let shell = File::open("/bin/sh").unwrap();
    let args = ["sh", "-c", "exit 7"].map(|arg| CString::new(arg).unwrap());
    let standard = [shell.as_fd(); 3];
    let start = |fds: &[BorrowedFd<'_>]| {
        spawn(&Program {
            file: shell.as_fd(),
            args: &args,
            env: &[],
            fds,
        })
    };
    let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    // One for each of the three, and one for the program.
    taken.truncate(taken.len() - 4);
    let (pid, _pidfd) = start(&standard).unwrap();
    let (_, status) = waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(7));

    taken.push(File::open("/dev/null").unwrap());
    drop(start(&standard).unwrap_err());
    let none = waitpid(None, WaitOptions::empty());
    assert!(none.is_err(), "no child may be left: {none:?}");
}
