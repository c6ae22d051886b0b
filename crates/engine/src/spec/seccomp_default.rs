//! The seccomp profile of containers that choose none: what Docker's allows, but for sockets.
//!
//! It lists what is allowed; all else is refused with `EPERM`. What needs a capability is refused
//! without it already here, so that a hole behind the kernel's own check stays out of reach.
//! Docker's denies two socket families and compares them as 64 bits, which set high bits slip past
//! (CVE-2026-123876); this one names the families it allows, and compares 32.

use hull_oci::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArgBuilder,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};
use hull_sys::capability::Capability;

use super::seccomp::{NATIVE, Surroundings, syscall};

/// Allowed for everybody. Names that an architecture does not have are passed over there.
const ALLOWED: &str = "
    accept accept4 access adjtimex alarm arch_prctl arm_fadvise64_64 arm_sync_file_range bind
    breakpoint brk cacheflush cachestat capget capset chdir chmod chown chown32 clock_adjtime
    clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup
    dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2
    epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat
    faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork
    fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64
    futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat get_robust_list
    get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid
    getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid
    getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid
    getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy
    io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get
    ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown
    lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek
    lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create
    memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 modify_ldt
    mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock
    munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2
    pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll
    ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6
    pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv
    recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename
    renameat renameat2 restart_syscall riscv_flush_icache riscv_hwprobe rmdir rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
    semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list
    set_thread_area set_tid_address set_tls setfsgid setfsgid32 setfsuid setfsuid32 setgid
    setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid
    setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid
    setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd
    signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64
    statmount statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs sysinfo tee
    tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
    timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64
    timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname
    unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4
    waitid waitpid write writev
";

/// Allowed for who holds the capability.
const BY_CAPABILITY: [(&str, &str); 14] = [
    ("CAP_BPF", "bpf"),
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    ("CAP_PERFMON", "perf_event_open"),
    ("CAP_SYSLOG", "syslog"),
    (
        "CAP_SYS_ADMIN",
        "bpf fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree \
         perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount \
         umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    (
        "CAP_SYS_NICE",
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    ("CAP_SYS_PACCT", "acct"),
    (
        "CAP_SYS_PTRACE",
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    (
        "CAP_SYS_TIME",
        "settimeofday stime clock_settime clock_settime64",
    ),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
];

/// Looking into other processes was a way out of the filter before this kernel.
const TRACING: (&str, (u32, u32)) = ("process_vm_readv process_vm_writev ptrace", (4, 8));

/// Socket families for everybody: UNIX, INET, INET6, NETLINK.
const FAMILIES: [u64; 4] = [1, 2, 10, 16];

/// Socket families for who holds a capability. Never VSOCK (it reaches the hypervisor past all
/// networks) nor ALG (its kernel code has corrupted files of other containers). 32-bit programs of x86
/// reach every family through `socketcall`, whose arguments no filter sees: there it is AppArmor's
/// profile that refuses ALG.
const FAMILIES_BY_CAPABILITY: [(&str, &[u64]); 2] = [
    // CAN, PACKET, XDP
    ("CAP_NET_RAW", &[29, 17, 44]),
    // KEY, PPPOX, TIPC, BLUETOOTH
    ("CAP_NET_ADMIN", &[15, 24, 30, 31]),
];

/// Linux, 32-bit Linux with and without a random layout, and "tell me".
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// `CLONE_NEW*`, all namespaces but time's, which `clone` cannot make.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

const INT: u64 = 0xffff_ffff;
const ENOSYS: u32 = 38;
const EPERM: u32 = 1;

/// The profile for a container.
pub(super) fn profile(surroundings: &Surroundings) -> LinuxSeccomp {
    let has = |name: &str| {
        Capability::from_name(name).is_some_and(|one| surroundings.granted.contains(one))
    };
    let mut rules = vec![allow(ALLOWED)];
    if surroundings.kernel >= TRACING.1 {
        rules.push(allow(TRACING.0));
    }
    rules.extend(
        BY_CAPABILITY
            .iter()
            .filter(|(name, _)| has(name))
            .map(|(_, names)| allow(names)),
    );
    let by_capability = FAMILIES_BY_CAPABILITY.iter().filter(|(name, _)| has(name));
    let families = by_capability.flat_map(|(_, families)| families.iter());
    rules.extend(
        FAMILIES
            .iter()
            .chain(families)
            .map(|family| allow_if("socket", INT, *family)),
    );
    rules.extend(
        PERSONALITIES
            .iter()
            .map(|value| allow_if("personality", INT, *value)),
    );
    if has("CAP_SYS_ADMIN") {
        rules.push(allow("clone clone3"));
    } else {
        rules.push(allow_if("clone", CLONE_NAMESPACES, 0));
        // Its flags are in memory, where no filter sees them; without it, libraries use `clone`.
        let names = vec!["clone3".to_owned()];
        rules.push(syscall(
            names,
            Action::ScmpActErrno,
            Some(ENOSYS),
            Vec::new(),
        ));
    }
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(Action::ScmpActErrno);
    profile.set_default_errno_ret(Some(EPERM));
    let architectures = std::iter::once(NATIVE.1).chain(NATIVE.2.iter().copied());
    profile.set_architectures(Some(architectures.collect()));
    profile.set_syscalls(Some(rules));
    profile
}

fn allow(names: &str) -> LinuxSyscall {
    let names = names.split_whitespace().map(str::to_owned).collect();
    syscall(names, Action::ScmpActAllow, None, Vec::new())
}

/// Allows a call whose first argument's masked bits have a value.
fn allow_if(name: &str, mask: u64, value: u64) -> LinuxSyscall {
    let argument = LinuxSeccompArgBuilder::default()
        .index(0usize)
        .op(Operator::ScmpCmpMaskedEq);
    let argument = argument
        .value(mask)
        .value_two(value)
        .build()
        .expect("every field has a default");
    syscall(
        vec![name.to_owned()],
        Action::ScmpActAllow,
        None,
        vec![argument],
    )
}
