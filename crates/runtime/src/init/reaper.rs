//! An init for programs that are none: reaps what is orphaned, passes signals on, ends with the
//! program's exit code.

use hull_sys::{
    files,
    process::{self, Child, Clone},
};

/// Runs `program` in a child and stays behind. Ends this process, unless the child cannot be made.
pub(super) fn run(program: impl FnOnce() -> i32) -> i32 {
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
    // Ends of pipes that the program closes must not stay open here.
    let _ = files::close_from(3);
    process::exit(watch(pid))
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
            Err(_) => {}
        }
    }
}
