//! Tries system calls, each in a child of its own, with arguments that do no harm where they are
//! allowed: wrong pointers, wrong descriptors, unknown flags.

#![expect(unsafe_code, reason = "raw system calls are what this program is for")]

use libc::{SIGCHLD, c_long};
use serde_json::{Map, Value};

/// A call and its arguments.
type Attempt = (&'static str, c_long, [c_long; 6]);

/// An address where nothing is.
const NOWHERE: c_long = 8;
const NO_FD: c_long = -1;
/// No call knows these.
const UNKNOWN_FLAGS: c_long = 0x7fff_fff0;
/// A path that is not there.
const MISSING: &std::ffi::CStr = c"/hull-probe-missing";

/// What came of each attempt: `ok`, or the error's name.
pub(crate) fn all() -> Value {
    let mut outcomes = Map::new();
    for (name, number, arguments) in kernel().into_iter().chain(ways_out()).chain(common()) {
        outcomes.insert(name.to_owned(), outcome(number, arguments).into());
    }
    Value::Object(outcomes)
}

/// Into the kernel: modules, programs, keys, the machine itself.
fn kernel() -> Vec<Attempt> {
    let missing = MISSING.as_ptr() as c_long;
    vec![
        call("acct", libc::SYS_acct, &[missing]),
        call(
            "add_key",
            libc::SYS_add_key,
            &[NOWHERE, NOWHERE, NOWHERE, 1],
        ),
        call("bpf", libc::SYS_bpf, &[0, NOWHERE, 16]),
        call("delete_module", libc::SYS_delete_module, &[NOWHERE]),
        call("finit_module", libc::SYS_finit_module, &[NO_FD, NOWHERE]),
        call("init_module", libc::SYS_init_module, &[NOWHERE, 0, NOWHERE]),
        call("io_uring_setup", libc::SYS_io_uring_setup, &[1, NOWHERE]),
        call(
            "kexec_load",
            libc::SYS_kexec_load,
            &[0, 0, NOWHERE, UNKNOWN_FLAGS],
        ),
        call("keyctl", libc::SYS_keyctl, &[0, -3]),
        call(
            "perf_event_open",
            libc::SYS_perf_event_open,
            &[NOWHERE, 0, 0, NO_FD],
        ),
        call("reboot", libc::SYS_reboot, &[]),
        call("request_key", libc::SYS_request_key, &[NOWHERE, NOWHERE]),
        call("settimeofday", libc::SYS_settimeofday, &[NOWHERE]),
        call("syslog", libc::SYS_syslog, &[10]),
        call("userfaultfd", libc::SYS_userfaultfd, &[UNKNOWN_FLAGS]),
        call("not_yet_invented", 1000, &[]),
    ]
}

/// Out of the container: mounts, namespaces, other processes.
fn ways_out() -> Vec<Attempt> {
    let missing = MISSING.as_ptr() as c_long;
    vec![
        call(
            "clone_newuser",
            libc::SYS_clone,
            &[(libc::CLONE_NEWUSER | SIGCHLD).into()],
        ),
        call("clone3", libc::SYS_clone3, &[NOWHERE]),
        call("fsopen", libc::SYS_fsopen, &[NOWHERE]),
        call(
            "get_mempolicy",
            libc::SYS_get_mempolicy,
            &[0, 0, 0, 0, 0x100],
        ),
        call("mount", libc::SYS_mount, &[0, missing, NOWHERE]),
        call(
            "move_mount",
            libc::SYS_move_mount,
            &[NO_FD, NOWHERE, NO_FD, NOWHERE],
        ),
        call(
            "open_by_handle_at",
            libc::SYS_open_by_handle_at,
            &[NO_FD, NOWHERE],
        ),
        call("open_tree", libc::SYS_open_tree, &[NO_FD, NOWHERE]),
        call("pidfd_getfd", libc::SYS_pidfd_getfd, &[NO_FD]),
        call("pivot_root", libc::SYS_pivot_root, &[missing, missing]),
        call(
            "quotactl",
            libc::SYS_quotactl,
            &[0x80_0001 << 8, NOWHERE, 0, NOWHERE],
        ),
        call("setns", libc::SYS_setns, &[NO_FD]),
        call("swapon", libc::SYS_swapon, &[missing]),
        call("umount2", libc::SYS_umount2, &[missing]),
        call(
            "unshare_newuser",
            libc::SYS_unshare,
            &[libc::CLONE_NEWUSER.into()],
        ),
        call(
            "unshare_newuts",
            libc::SYS_unshare,
            &[libc::CLONE_NEWUTS.into()],
        ),
        call("personality_no_random", libc::SYS_personality, &[0x4_0000]),
    ]
}

/// What it should be able to do, and sockets of both sorts.
fn common() -> Vec<Attempt> {
    let (stream, raw) = (
        c_long::from(libc::SOCK_STREAM),
        c_long::from(libc::SOCK_RAW),
    );
    let packets = c_long::from(libc::SOCK_SEQPACKET);
    let socket = |name, family, kind| call(name, libc::SYS_socket, &[family, kind]);
    let root = c"/".as_ptr() as c_long;
    let handle = [NO_FD, NOWHERE, NOWHERE, NOWHERE];
    vec![
        socket("socket_unix", 1, stream),
        socket("socket_inet", 2, stream),
        socket("socket_inet6", 10, stream),
        socket("socket_netlink", 16, raw),
        socket("socket_packet", 17, raw),
        socket("socket_alg", 38, packets),
        socket("socket_alg_high_bits", (1 << 32) + 38, packets),
        socket("socket_vsock", 40, stream),
        socket("socket_vsock_high_bits", (1 << 32) + 40, stream),
        socket("socket_appletalk", 5, c_long::from(libc::SOCK_DGRAM)),
        call("chroot", libc::SYS_chroot, &[root]),
        call(
            "landlock_create_ruleset",
            libc::SYS_landlock_create_ruleset,
            &[0, 0, 1],
        ),
        call("memfd_create", libc::SYS_memfd_create, &[root]),
        call("name_to_handle_at", libc::SYS_name_to_handle_at, &handle),
        call("personality_ask", libc::SYS_personality, &[0xffff_ffff]),
        call("personality_linux32", libc::SYS_personality, &[8]),
        call("process_vm_readv", libc::SYS_process_vm_readv, &[1]),
        call("ptrace_traceme", libc::SYS_ptrace, &[]),
    ]
}

fn call(name: &'static str, number: c_long, first: &[c_long]) -> Attempt {
    let mut arguments = [0; 6];
    arguments[..first.len()].copy_from_slice(first);
    (name, number, arguments)
}

fn outcome(number: c_long, arguments: [c_long; 6]) -> String {
    // SAFETY: this program has one thread.
    let child = unsafe { libc::fork() };
    match child {
        -1 => "fork failed".to_owned(),
        0 => attempt(number, arguments),
        child => wait(child),
    }
}

/// Ends the child with the call's error number, or 0.
fn attempt(number: c_long, [a, b, c, d, e, f]: [c_long; 6]) -> ! {
    // SAFETY: addresses are wrong on purpose or of constants; whatever happens, happens to this
    // child alone, which ends right after.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    let error = std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(255);
    // SAFETY: ends the child (or the child that the call made).
    unsafe { libc::_exit(if answer < 0 { error } else { 0 }) }
}

fn wait(child: libc::pid_t) -> String {
    let mut status = 0;
    // SAFETY: the child is ours, the pointer is valid.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    if waited != child {
        return "lost".to_owned();
    }
    match libc::WIFEXITED(status) {
        true => errno_name(libc::WEXITSTATUS(status)),
        false => format!("signal {}", libc::WTERMSIG(status)),
    }
}

/// The name of an error number; `ok` for 0.
pub(crate) fn errno_name(number: i32) -> String {
    let names = [
        (0, "ok"),
        (libc::EACCES, "EACCES"),
        (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
        (libc::EBADF, "EBADF"),
        (libc::EBUSY, "EBUSY"),
        (libc::EFAULT, "EFAULT"),
        (libc::EINVAL, "EINVAL"),
        (libc::EIO, "EIO"),
        (libc::ENODEV, "ENODEV"),
        (libc::ENOENT, "ENOENT"),
        (libc::ENOEXEC, "ENOEXEC"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::ENXIO, "ENXIO"),
        (libc::EPERM, "EPERM"),
        (libc::EROFS, "EROFS"),
        (libc::ESRCH, "ESRCH"),
    ];
    let named = names.iter().find(|(known, _)| *known == number);
    named.map_or_else(|| format!("errno {number}"), |(_, name)| (*name).to_owned())
}

/// Makes the node of the first disk, and opens it.
pub(crate) fn disk() -> (String, String) {
    let path = c"/hull-probe-disk";
    // SAFETY: a valid string.
    let made = unsafe { libc::mknod(path.as_ptr(), libc::S_IFBLK | 0o600, libc::makedev(8, 0)) };
    let result = |code: i32| {
        let error = std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(255);
        errno_name(if code < 0 { error } else { 0 })
    };
    let made = result(made);
    // SAFETY: a valid string.
    let opened = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    let opened = result(opened);
    // SAFETY: a valid string.
    unsafe { libc::unlink(path.as_ptr()) };
    (made, opened)
}

/// The session keyring's number, or the error's name.
pub(crate) fn keyring() -> String {
    // SAFETY: takes numbers only.
    let answer = unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 0) };
    if answer >= 0 {
        return answer.to_string();
    }
    errno_name(
        std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(255),
    )
}
