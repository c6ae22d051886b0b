//! Hooks: programs that are told the container's state at points of its life.

use std::{
    ffi::CString,
    io::{self, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    time::{Duration, Instant},
};

use hull_oci::runtime::{Hook, Spec};
use hull_sys::{
    files,
    process::{self, Child, Clone},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use crate::error::Error;

/// What a hook reads on its stdin, and `state` prints.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookState<'a> {
    /// Of the spec.
    pub oci_version: &'a str,
    /// Of the container.
    pub id: &'a str,
    /// `creating`, `created`, `running` or `stopped`.
    pub status: &'a str,
    /// Of process 1, in the runtime's pid namespace; 0 once it ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub pid: i32,
    /// Absolute.
    pub bundle: &'a Path,
    /// The spec's, sorted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<std::collections::BTreeMap<&'a str, &'a str>>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

impl<'a> HookState<'a> {
    /// The state of a container with this spec.
    pub fn new(spec: &'a Spec, id: &'a str, status: &'a str, pid: i32, bundle: &'a Path) -> Self {
        let annotations = spec.annotations().as_ref().filter(|list| !list.is_empty());
        let pairs =
            annotations.map(|list| list.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect());
        Self {
            oci_version: spec.version(),
            id,
            status,
            pid,
            bundle,
            annotations: pairs,
        }
    }

    /// As JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Runs `hooks` in order, up to the first that fails.
pub fn run(hooks: Option<&Vec<Hook>>, kind: &str, state: &str) -> Result<(), Error> {
    let mut hooks = hooks.into_iter().flatten().enumerate();
    hooks.try_for_each(|(index, hook)| run_named(index, hook, kind, state))
}

/// Runs all `hooks` in order, whatever becomes of each; gives what went wrong.
pub fn run_all(hooks: Option<&Vec<Hook>>, kind: &str, state: &str) -> Vec<Error> {
    let hooks = hooks.into_iter().flatten().enumerate();
    hooks
        .filter_map(|(index, hook)| run_named(index, hook, kind, state).err())
        .collect()
}

fn run_named(index: usize, hook: &Hook, kind: &str, state: &str) -> Result<(), Error> {
    run_one(hook, state)
        .map_err(|cause| Error::Hook(format!("error running {kind} hook #{index}: {cause}")))
}

fn run_one(hook: &Hook, state: &str) -> Result<(), String> {
    if !hook.path().is_absolute() {
        return Err(format!("{} is not an absolute path", hook.path().display()));
    }
    let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
    let path = cstring(&hook.path().to_string_lossy())?;
    let list = |list: &Option<Vec<String>>| {
        list.iter()
            .flatten()
            .map(|text| cstring(text))
            .collect::<Result<Vec<_>, _>>()
    };
    let (mut args, env) = (list(hook.args())?, list(hook.env())?);
    if args.is_empty() {
        args.push(path.clone());
    }
    let child = process::clone(&Clone::default(), || {
        let _ = process::reset_signals();
        if rustix::stdio::dup2_stdin(&theirs).is_ok() && files::close_on_exec_from(3).is_ok() {
            let error = process::execute(&path, &args, &env);
            let _ = writeln!(io::stderr(), "{}: {error}", path.to_string_lossy());
        }
        127
    })
    .map_err(|error| format!("start {}: {error}", hook.path().display()))?;
    drop(theirs);
    // A hook need not read. What does not fit the socket's buffer is not worth a deadlock.
    let _ = ours.set_write_timeout(Some(Duration::from_secs(1)));
    let _ = (&ours).write_all(state.as_bytes());
    drop(ours);
    let ended = wait(
        &child,
        hook.timeout()
            .and_then(|seconds| u64::try_from(seconds).ok()),
    )?;
    match ended.code() {
        0 => Ok(()),
        code => Err(format!(
            "{} ended with exit status {code}",
            hook.path().display()
        )),
    }
}

fn cstring(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| "a zero byte in its path, arguments or environment".to_owned())
}

fn wait(child: &Child, seconds: Option<u64>) -> Result<process::Ended, String> {
    if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while !readable(child, deadline).map_err(|error| error.to_string())? {
            if Instant::now() >= deadline {
                let _ = process::signal(&child.pidfd, libc::SIGKILL);
                let _ = process::wait(&child.pidfd);
                return Err(format!("it took longer than {seconds} s"));
            }
        }
    }
    process::wait(&child.pidfd).map_err(|error| error.to_string())
}

fn readable(child: &Child, deadline: Instant) -> io::Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
    let mut fds = [PollFd::from_borrowed_fd(child.pidfd.as_fd(), PollFlags::IN)];
    match poll(&mut fds, Some(&timeout)) {
        Err(rustix::io::Errno::INTR) => Ok(false),
        result => Ok(result? > 0),
    }
}
