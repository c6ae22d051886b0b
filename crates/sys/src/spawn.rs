//! Starts a program from an open file, without copying this process.
//!
//! `posix_spawn` runs the child on a borrowed address space until it executes, so that starting a
//! program costs the same for a daemon of any size, and any thread may call it.

#![expect(
    unsafe_code,
    reason = "posix_spawn has no safe wrapper that passes chosen descriptors"
)]

use std::{
    ffi::{CStr, CString, c_char},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr,
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid},
};

/// A program to start.
#[derive(Debug)]
pub struct Program<'a> {
    /// The executable, already open (a sealed memory file, say).
    pub file: BorrowedFd<'a>,
    /// `argv`, its own name first.
    pub args: &'a [CString],
    /// `NAME=value`, each.
    pub env: &'a [CString],
    /// The new process's descriptors 0, 1, 2 …; nothing else is passed on.
    pub fds: &'a [BorrowedFd<'a>],
}

/// Starts `program` in a session of its own, with no signal blocked or ignored.
///
/// The child must be reaped by the caller: the returned descriptor becomes readable when it ends.
pub fn spawn(program: &Program<'_>) -> io::Result<(Pid, OwnedFd)> {
    // Targets may collide with sources (fd 3 wanted where fd 3 is another source), so all sources
    // are first copied above every target.
    let floor = i32::try_from(program.fds.len()).unwrap_or(i32::MAX).max(16);
    let copies = program
        .fds
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, floor))
        .collect::<Result<Vec<_>, _>>()?;
    let executable = rustix::io::fcntl_dupfd_cloexec(program.file, floor)?;
    let path = CString::new(format!("/proc/self/fd/{}", executable.as_raw_fd()))?;

    let mut actions = FileActions::new()?;
    for (target, source) in copies.iter().enumerate() {
        actions.dup2(
            source.as_fd(),
            i32::try_from(target).map_err(io::Error::other)?,
        )?;
    }
    let attributes = Attributes::new()?;
    let pid = spawn_with(&path, &actions, &attributes, program)?;
    // Where descriptors are short, these make room for the next one.
    drop((copies, executable));
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok((pid, pidfd)),
        Err(error) => {
            // Nobody could watch it. One that is not there was reaped elsewhere, and its number may
            // be another's.
            if error != Errno::SRCH {
                let _ = kill_process(pid, Signal::KILL);
                let _ = waitpid(Some(pid), WaitOptions::empty());
            }
            Err(error.into())
        }
    }
}

fn spawn_with(
    path: &CStr,
    actions: &FileActions,
    attributes: &Attributes,
    program: &Program<'_>,
) -> io::Result<Pid> {
    let argv = pointers(program.args);
    let envp = pointers(program.env);
    let mut pid: libc::pid_t = 0;
    // SAFETY: every pointer refers to a live, initialised object; both arrays end with null.
    let code = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            argv.as_ptr(),
            envp.as_ptr(),
        )
    };
    check(code)?;
    Pid::from_raw(pid).ok_or_else(|| io::Error::other("posix_spawn gave no pid"))
}

/// Null-terminated, as `execve` wants it. The strings outlive the call.
fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr().cast_mut())
        .chain(std::iter::once(ptr::null_mut()))
        .collect()
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code))
    }
}

struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new() -> io::Result<Self> {
        // SAFETY: the type is plain memory that init fills in.
        let mut actions = Self(unsafe { std::mem::zeroed() });
        // SAFETY: a valid pointer to memory for the object.
        check(unsafe { libc::posix_spawn_file_actions_init(&raw mut actions.0) })?;
        Ok(actions)
    }

    fn dup2(&mut self, source: BorrowedFd<'_>, target: i32) -> io::Result<()> {
        // SAFETY: the object is initialised and exclusively borrowed.
        let code = unsafe {
            libc::posix_spawn_file_actions_adddup2(&raw mut self.0, source.as_raw_fd(), target)
        };
        check(code)
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Self> {
        // SAFETY: the type is plain memory that init fills in.
        let mut attributes = Self(unsafe { std::mem::zeroed() });
        // SAFETY: a valid pointer to memory for the object.
        check(unsafe { libc::posix_spawnattr_init(&raw mut attributes.0) })?;
        attributes.set()?;
        Ok(attributes)
    }

    fn set(&mut self) -> io::Result<()> {
        // SAFETY: a signal set is plain memory, filled in by the calls below.
        let (mut none, mut all): (libc::sigset_t, libc::sigset_t) = unsafe { std::mem::zeroed() };
        // SAFETY: a valid pointer to a signal set.
        unsafe { libc::sigemptyset(&raw mut none) };
        // SAFETY: a valid pointer to a signal set.
        unsafe { libc::sigfillset(&raw mut all) };
        // SAFETY: the object is initialised and exclusively borrowed; the set is copied.
        check(unsafe { libc::posix_spawnattr_setsigmask(&raw mut self.0, &raw const none) })?;
        // SAFETY: as above.
        check(unsafe { libc::posix_spawnattr_setsigdefault(&raw mut self.0, &raw const all) })?;
        let signals = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        let signals = libc::c_short::try_from(signals).map_err(io::Error::other)?;
        let flags = signals
            | libc::c_short::try_from(libc::POSIX_SPAWN_SETSID).map_err(io::Error::other)?;
        // SAFETY: as above.
        check(unsafe { libc::posix_spawnattr_setflags(&raw mut self.0, flags) })
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn the_child_has_the_given_descriptors_and_no_others() {
        let shell = File::open("/bin/sh").unwrap();
        let null = File::open("/dev/null").unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let args = ["sh", "-c", "echo /proc/self/fd/* >&3"].map(|a| CString::new(a).unwrap());
        let (pid, _pidfd) = spawn(&Program {
            file: shell.as_fd(),
            args: &args,
            env: &[],
            fds: &[null.as_fd(), null.as_fd(), null.as_fd(), theirs.as_fd()],
        })
        .unwrap();
        drop(theirs);
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        let status = waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap().1;
        assert_eq!(status.exit_status(), Some(0));
        let shown = text.trim();
        assert!(shown.contains("/proc/self/fd/3"), "{shown}");
        assert!(!shown.contains("/proc/self/fd/16"), "{shown}");
    }
}
