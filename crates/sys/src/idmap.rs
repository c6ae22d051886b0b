//! Translations of user and group ids.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd as _, OwnedFd},
};

use crate::{
    namespace::Namespaces,
    process::{self, Clone},
};

/// A range of ids seen as another range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// First id inside the user namespace.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

/// Gives the user namespace of process `pid`, just made, its translations.
///
/// `deny_setgroups`: for callers without `CAP_SETGID`, whom the kernel lets map groups only then.
pub fn write(
    pid: i32,
    users: &[Mapping],
    groups: &[Mapping],
    deny_setgroups: bool,
) -> io::Result<()> {
    if deny_setgroups {
        write_one(&format!("/proc/{pid}/setgroups"), "deny")?;
    }
    write_one(&format!("/proc/{pid}/uid_map"), &text(users))?;
    write_one(&format!("/proc/{pid}/gid_map"), &text(groups))
}

/// A user namespace that nobody is in, for a mount that translates owners. Callers may have threads:
/// the process that is made for it does nothing but wait in the kernel.
pub fn user_namespace(users: &[Mapping], groups: &[Mapping]) -> io::Result<OwnedFd> {
    let (reader, writer) = io::pipe()?;
    let close = [writer.as_fd()];
    let clone = Clone {
        namespaces: Namespaces::USER,
        close: &close,
        ..Clone::default()
    };
    let child = process::clone(&clone, || {
        // Until the other end closes, there is somebody to look at.
        let _ = rustix::io::read(&reader, &mut [0]);
        0
    })?;
    let namespace = write(child.pid, users, groups, false)
        .and_then(|()| File::open(format!("/proc/{}/ns/user", child.pid)));
    let ended = process::signal(&child.pidfd, libc::SIGKILL)
        .and_then(|()| process::wait(&child.pidfd).map(drop));
    drop(writer);
    match ended {
        // Whoever reaps all children of this process was quicker.
        Err(error) if !matches!(error.raw_os_error(), Some(libc::ECHILD | libc::ESRCH)) => {
            Err(error)
        }
        _ => Ok(namespace?.into()),
    }
}

fn text(mappings: &[Mapping]) -> String {
    mappings
        .iter()
        .map(|map| format!("{} {} {}\n", map.inside, map.outside, map.size))
        .collect()
}

/// The kernel takes a map in one write only.
fn write_one(path: &str, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    if file.write(text.as_bytes())? != text.len() {
        return Err(io::Error::new(
            io::ErrorKind::WriteZero,
            "map written in part",
        ));
    }
    Ok(())
}
