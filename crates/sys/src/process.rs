//! Processes: made as copies of the caller, waited for by descriptor, given limits, ids and
//! schedules, turned into programs.
//!
//! [`clone`] is `fork` with a choice of namespaces: only for single-threaded callers, whose copy may
//! then do whatever the caller may.

#![expect(
    unsafe_code,
    reason = "these system calls have no safe wrapper, or one that glibc spreads over all threads"
)]

use std::{
    ffi::{CStr, CString, c_char, c_long},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use crate::{
    capability::{self, ThreadCapabilities},
    namespace::Namespaces,
};

/// libc's constant of this name is too narrow.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// How a process is to be made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clone<'a> {
    /// Those it gets of its own.
    pub namespaces: Namespaces,
    /// The cgroup (v2) it begins in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The caller's parent becomes its parent.
    pub sibling: bool,
    /// Descriptors that the copy does without: those by whose end others notice the caller's.
    pub close: &'a [BorrowedFd<'a>],
}

/// A process made by the caller.
#[derive(Debug)]
pub struct Child {
    /// Its pid, in the caller's pid namespace.
    pub pid: i32,
    /// The same process; readable once it ended.
    pub pidfd: OwnedFd,
}

/// Makes a copy of this process, which runs `main` and ends with what that returns (or with 255 if
/// it panics), never returning from here.
pub fn clone(options: &Clone<'_>, main: impl FnOnce() -> i32) -> io::Result<Child> {
    let mut pidfd: RawFd = -1;
    // SAFETY: plain numbers, all zeroes allowed.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(options.namespaces.bits()) | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd).addr() as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if options.sibling {
        args.flags |= libc::CLONE_PARENT as u64;
        args.exit_signal = 0; // the sibling's is the caller's own
    }
    if let Some(cgroup) = options.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?;
    }
    // SAFETY: no memory is shared with the child, it continues on a copy of this stack. The caller
    // is single-threaded (required above), so no lock is held by a thread that is not copied.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const args,
            size_of::<libc::clone_args>(),
        )
    };
    if pid == 0 {
        for fd in options.close {
            // SAFETY: their owners are in frames that this process never returns to.
            unsafe { libc::close(fd.as_raw_fd()) };
        }
        let code = catch_unwind(AssertUnwindSafe(main)).unwrap_or(255);
        // SAFETY: ends this process only; the original's exit handlers are not ours to run.
        unsafe { libc::_exit(code) };
    }
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    Ok(Child { pid, pidfd })
}

/// Ends this process at once; nothing is dropped or flushed.
pub fn exit(code: i32) -> ! {
    // SAFETY: ends this process only.
    unsafe { libc::_exit(code) }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Exited(i32),
    /// By a signal.
    Killed(i32),
}

impl Ended {
    /// As shells tell it: 128 + n after signal n.
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => 128 + signal,
        }
    }
}

/// Waits for a child's end and reaps it.
pub fn wait(pidfd: &OwnedFd) -> io::Result<Ended> {
    let id = libc::id_t::try_from(pidfd.as_raw_fd()).map_err(io::Error::other)?;
    wait_for(libc::P_PIDFD, id, 0)?
        .map(|(_, ended)| ended)
        .ok_or_else(nobody)
}

/// Reaps any child that ended, waiting for one if there is none yet. `None`: there are no children.
pub fn wait_any() -> io::Result<Option<(i32, Ended)>> {
    match wait_for(libc::P_ALL, 0, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        other => other,
    }
}

/// Reaps any child that has already ended.
pub fn reap() -> io::Result<Option<(i32, Ended)>> {
    match wait_for(libc::P_ALL, 0, libc::WNOHANG) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        other => other,
    }
}

fn nobody() -> io::Error {
    io::Error::from_raw_os_error(libc::ECHILD)
}

fn wait_for(
    kind: libc::idtype_t,
    id: libc::id_t,
    flags: libc::c_int,
) -> io::Result<Option<(i32, Ended)>> {
    // SAFETY: plain memory that the kernel fills in.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: a valid pointer to the structure.
        let result = unsafe { libc::waitid(kind, id, &raw mut info, libc::WEXITED | flags) };
        if result == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: waitid filled it in (or left zeroes), so these fields are the union's valid ones.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let ended = if info.si_code == libc::CLD_EXITED {
        Ended::Exited(status)
    } else {
        Ended::Killed(status)
    };
    Ok(Some((pid, ended)))
}

/// Sends a signal. Signal 0 only asks whether the process is there.
pub fn signal(pidfd: &OwnedFd, signal: i32) -> io::Result<()> {
    // SAFETY: takes numbers; a null info is allowed.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
}

/// Sends a signal to whatever process has this pid now.
pub fn signal_pid(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(c_long::from(unsafe { libc::kill(pid, signal) }))
}

/// A descriptor for a process. The pid may have been reused before the call, not after.
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    check(fd)?;
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Turns this process into the program at `path`. Returns only the reason why not.
pub fn execute(path: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: strings and null-terminated arrays of strings, all alive.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Turns this process into the program that `file` is. Returns only the reason why not.
pub fn execute_file(file: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> io::Error {
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: strings and null-terminated arrays of strings, all alive.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain(std::iter::once(ptr::null()))
        .collect()
}

/// Every signal gets its default action again, and none is blocked.
pub fn reset_signals() -> io::Result<()> {
    for number in 1..=64 {
        // SAFETY: replaces handlers by the default action; failure (for SIGKILL, SIGSTOP and
        // libc's own two) changes nothing.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    // SAFETY: a signal set is plain memory, zeroes are the empty set.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a valid pointer; the old set is not wanted.
    check(c_long::from(unsafe {
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut())
    }))
}

/// Blocks every signal, so that [`next_signal`] gets them.
pub fn block_signals() -> io::Result<()> {
    // SAFETY: plain memory, filled in next.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a valid pointer to a set.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: valid pointers; the old set is not wanted.
    check(c_long::from(unsafe {
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut())
    }))
}

/// Waits for a blocked signal and returns its number.
pub fn next_signal() -> io::Result<i32> {
    // SAFETY: plain memory, filled in next.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a valid pointer to a set.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: valid pointers; the details are not wanted.
    let number = unsafe { libc::sigwaitinfo(&raw const all, ptr::null_mut()) };
    check(c_long::from(number))?;
    Ok(number)
}

/// A descriptor from which blocked signals can be read ([`read_signal`]).
pub fn signal_descriptor() -> io::Result<OwnedFd> {
    // SAFETY: plain memory, filled in next.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a valid pointer to a set.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: a valid pointer to a set.
    let fd = unsafe { libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    check(c_long::from(fd))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The number of the next signal, if one is waiting.
pub fn read_signal(descriptor: impl AsFd) -> io::Result<Option<i32>> {
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(descriptor, &mut info) {
        Ok(_) => {
            let number = [info[0], info[1], info[2], info[3]];
            Ok(Some(i32::from_ne_bytes(number)))
        }
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// User, group and further groups of the calling thread (real, effective and saved alike).
/// `additional`: `None` leaves the further groups alone.
pub fn set_ids(user: u32, group: u32, additional: Option<&[u32]>) -> io::Result<()> {
    if let Some(groups) = additional {
        // SAFETY: the array and its length.
        check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    }
    // SAFETY: takes numbers only.
    check(unsafe { libc::syscall(libc::SYS_setresgid, group, group, group) })?;
    // SAFETY: takes numbers only.
    check(unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) })
}

/// Runs `job` on the calling thread, whose privileges stay; files that it makes belong to this user
/// and group.
pub fn making_files_as<T>(user: u32, group: u32, job: impl FnOnce() -> T) -> io::Result<T> {
    /// Makes files of its own again, also when the job panics.
    struct Again {
        user: libc::c_long,
        group: libc::c_long,
        privileges: ThreadCapabilities,
        dumpable: bool,
    }
    impl Drop for Again {
        fn drop(&mut self) {
            // SAFETY: takes numbers only.
            unsafe { libc::syscall(libc::SYS_setfsuid, self.user) };
            // SAFETY: takes numbers only.
            unsafe { libc::syscall(libc::SYS_setfsgid, self.group) };
            // What is permitted can be taken up at any time.
            let _ = take_up(&self.privileges);
            let _ = set_dumpable(self.dumpable);
        }
    }
    let privileges = capability::current()?;
    // SAFETY: takes no pointer.
    let dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) } == 1;
    // SAFETY: takes numbers only; there is no failure but "as before", and what was before is told.
    let was_group = unsafe { libc::syscall(libc::SYS_setfsgid, group) };
    // SAFETY: as above.
    let was_user = unsafe { libc::syscall(libc::SYS_setfsuid, user) };
    let _again = Again {
        user: was_user,
        group: was_group,
        privileges,
        dumpable,
    };
    // Who makes files as another user loses what root may do with files; that is taken up again.
    take_up(&privileges)?;
    Ok(job())
}

fn take_up(privileges: &ThreadCapabilities) -> io::Result<()> {
    capability::set_thread(
        privileges.effective,
        privileges.permitted,
        privileges.inheritable,
    )
}

/// A resource's number as in `RLIMIT_*`, and its two limits, for process `pid` (0: the caller).
pub fn set_limit_of(pid: i32, resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: a valid pointer; the old limit is not wanted.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            &raw const limit,
            ptr::null_mut::<libc::rlimit64>(),
        )
    })
}

/// Whether others of the same user may look into this process and its core.
pub fn set_dumpable(dumpable: bool) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(c_long::from(unsafe {
        libc::prctl(
            libc::PR_SET_DUMPABLE,
            libc::c_ulong::from(dumpable),
            0,
            0,
            0,
        )
    }))
}

/// This process gets `signal` when its parent ends.
pub fn signal_on_parent_end(signal: i32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(c_long::from(unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0)
    }))
}

/// Orphaned descendants become this process's children.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(c_long::from(unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    }))
}

/// A new session keyring, named `name`, with the rights that its possessor alone has.
pub fn join_session_keyring(name: &CStr) -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a string.
    check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) })
}

/// The execution domain: the kernel's `PER_*` bits.
pub fn set_personality(domain: u64) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(c_long::from(unsafe { libc::personality(domain) }))
}

/// I/O class (1 real time, 2 best effort, 3 idle) and priority in it (0 … 7).
pub fn set_io_priority(class: u8, priority: u16) -> io::Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    let value = (u32::from(class) << 13) | u32::from(priority);
    // SAFETY: takes numbers only; 0 is the caller.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) })
}

/// How the processor is shared: the kernel's `sched_attr`, less the size.
#[derive(Debug, Clone, Copy, Default)]
#[expect(missing_docs, reason = "sched_setattr(2) names and explains them")]
pub struct Schedule {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// Sets the calling thread's schedule.
pub fn set_schedule(schedule: &Schedule) -> io::Result<()> {
    #[repr(C)]
    struct Attr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let attr = Attr {
        size: 48,
        policy: schedule.policy,
        flags: schedule.flags,
        nice: schedule.nice,
        priority: schedule.priority,
        runtime: schedule.runtime,
        deadline: schedule.deadline,
        period: schedule.period,
    };
    // SAFETY: a valid pointer to the kernel's structure, whose size it carries; 0 is the caller.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) })
}

/// The processors the calling thread may run on, bit n of the words being processor n.
pub fn set_affinity(words: &[u64]) -> io::Result<()> {
    // SAFETY: the array and its length in bytes; 0 is the caller.
    check(unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            0,
            size_of_val(words),
            words.as_ptr(),
        )
    })
}

/// Where memory comes from: mode and flags as in `set_mempolicy(2)`, bit n of the words being node n.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> io::Result<()> {
    let bits = if nodes.is_empty() {
        0
    } else {
        nodes.len() * 64 + 1
    };
    // SAFETY: the array and its length in bits (the kernel subtracts one).
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), bits) })
}

fn check(result: c_long) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_as_shells_do() {
        assert_eq!(Ended::Exited(3).code(), 3);
        assert_eq!(Ended::Killed(9).code(), 137);
    }

    #[test]
    fn a_descriptor_names_a_process_and_signals_reach_it() {
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("100")
            .spawn()
            .unwrap();
        let pidfd = open(i32::try_from(child.id()).unwrap()).unwrap();
        signal(&pidfd, 0).unwrap();
        signal(&pidfd, libc::SIGTERM).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(libc::SIGTERM)
        );
        assert!(signal(&pidfd, 0).is_err());
    }
}
