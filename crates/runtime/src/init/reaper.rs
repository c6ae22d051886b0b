//! An init for programs that are none: reaps what is orphaned, passes signals on, ends with the
//! program's exit code.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::FileExt,
};

use hull_sys::{
    files,
    process::{self, Child, Clone},
};

/// What this process is called inside the container.
const NAME: &[u8] = b"init";

/// Runs `program` in a child and stays behind, confined. Ends this process, unless the child cannot
/// be made.
pub(super) fn run(
    program: impl FnOnce() -> i32,
    confine: impl FnOnce() -> Result<(), crate::error::Error>,
) -> i32 {
    if process::block_signals().is_err() {
        return 1;
    }
    // Outside a pid namespace of its own it would not get orphans otherwise.
    let _ = process::become_subreaper();
    let child = process::clone(&Clone::default(), move || {
        if process::reset_signals().is_err() {
            return 1;
        }
        program()
    });
    let Ok(child) = child else {
        return 1;
    };
    let Child { pid, pidfd } = child;
    drop(pidfd);
    // The caller's arguments name paths of the host.
    let _ = replace_arguments();
    // Ends of pipes that the program closes must not stay open here.
    let _ = files::close_from(3);
    if confine().is_err() {
        return 1;
    }
    process::exit(watch(pid))
}

/// Overwrites what `/proc/1/cmdline` shows.
fn replace_arguments() -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let Some((start, end)) = arguments(&stat) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut text = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
    let shown = NAME.len().min(text.len());
    text[..shown].copy_from_slice(&NAME[..shown]);
    let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
    memory.write_all_at(&text, start)
}

/// Where the arguments lie in memory: fields 48 and 49 of proc(5)'s `stat`, counted after the name,
/// which may hold anything.
fn arguments(stat: &str) -> Option<(u64, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(45);
    let start = fields.next()?.parse().ok()?;
    let end = fields.next()?.parse().ok()?;
    (start < end).then_some((start, end))
}

fn watch(child: i32) -> i32 {
    loop {
        match process::next_signal() {
            Ok(libc::SIGCHLD) => {
                while let Ok(Some((pid, ended))) = process::reap() {
                    if pid == child {
                        return ended.code();
                    }
                }
            }
            Ok(signal) => {
                let _ = process::signal_pid(child, signal);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A filter forbids the wait: without it there is nothing to stay for.
            Err(_) => return 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_the_arguments_is_found_whatever_the_name_is() {
        let numbers: Vec<String> = (4..=52).map(|n| (n * 10).to_string()).collect();
        let stat = format!("1 (a) b) S {}", numbers.join(" "));
        assert_eq!(arguments(&stat), Some((480, 490)));
        assert_eq!(arguments("1 (sh) S 1 2 3"), None);
    }
}
