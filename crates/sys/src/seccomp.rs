//! Filters on system calls (`seccomp(2)`): installing a program, and asking what the kernel offers.
//!
//! What a program says is decided elsewhere; here it is a list of [`Instruction`]s.

#![expect(unsafe_code, reason = "libc has no safe seccomp")]

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

/// One instruction of classic BPF, laid out as the kernel's `sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip when a comparison holds.
    pub jump_true: u8,
    /// How many instructions to skip when it does not.
    pub jump_false: u8,
    /// The operand.
    pub k: u32,
}

/// How a filter is installed: the kernel's `SECCOMP_FILTER_FLAG_*` bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u32);

/// The most instructions the kernel takes (`BPF_MAXINSNS`).
pub const INSTRUCTIONS_MAX: usize = 4096;

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// Every thread of the process gets the filter.
    pub const THREAD_SYNC: Self = Self(1);
    /// Every answer but "allow" may be written to the audit log.
    pub const LOG: Self = Self(1 << 1);
    /// No mitigation of speculative store bypass.
    pub const SPEC_ALLOW: Self = Self(1 << 2);
    /// [`install`] returns a listener.
    pub const NEW_LISTENER: Self = Self(1 << 3);
    /// A failure to synchronise threads is `ESRCH`, not a thread's id. Needed for a listener
    /// together with [`THREAD_SYNC`](Self::THREAD_SYNC).
    pub const THREAD_SYNC_ESRCH: Self = Self(1 << 4);
    /// A task whose call a listener has taken can be killed, and by nothing less interrupted.
    pub const WAIT_KILLABLE_RECV: Self = Self(1 << 5);

    /// From the kernel's bits; `None` if one has no name here.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits < 1 << 6 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// The kernel's bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// What is in either.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it holds all of `other`.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Installs `program` for the calling thread (and, with [`Flags::THREAD_SYNC`], its siblings).
/// Needs `no_new_privs` or `CAP_SYS_ADMIN`. Allocates nothing. The descriptor is there exactly if
/// [`Flags::NEW_LISTENER`] was asked for; it is closed on exec.
pub fn install(program: &[Instruction], flags: Flags) -> io::Result<Option<OwnedFd>> {
    let len = libc::c_ushort::try_from(program.len())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let flags = match flags.contains(Flags::NEW_LISTENER) && flags.contains(Flags::THREAD_SYNC) {
        true => flags.with(Flags::THREAD_SYNC_ESRCH),
        false => flags,
    };
    // The kernel reads through the pointer only.
    let filter = program.as_ptr().cast_mut().cast::<libc::sock_filter>();
    let fprog = libc::sock_fprog { len, filter };
    // SAFETY: `fprog` and the instructions it points to outlive the call, and `Instruction` has the
    // layout of `sock_filter`.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::c_ulong::from(flags.bits()),
            &raw const fprog,
        )
    };
    match libc::c_int::try_from(answer) {
        Ok(code) if code < 0 => Err(io::Error::last_os_error()),
        Ok(fd) if flags.contains(Flags::NEW_LISTENER) => {
            // SAFETY: the kernel has just made this descriptor for us.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
        }
        Ok(0) => Ok(None),
        // A thread's id: that one could not be synchronised.
        Ok(_) | Err(_) => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

/// Whether the kernel knows a filter's answer (`SECCOMP_RET_*`).
pub fn action_is_available(action: u32) -> bool {
    // SAFETY: the kernel reads one number through the pointer.
    let code = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0 as libc::c_ulong,
            &raw const action,
        )
    };
    code == 0
}

/// From now on no `execve` of the calling thread gives it more privileges.
pub fn set_no_new_privileges() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETURN: u16 = 0x06;
    const ALLOW: Instruction = Instruction {
        code: RETURN,
        jump_true: 0,
        jump_false: 0,
        k: 0x7fff_0000,
    };

    #[test]
    fn every_flag_installs_and_only_a_listener_gives_a_descriptor() {
        let flags = [
            Flags::NONE,
            Flags::LOG,
            Flags::SPEC_ALLOW,
            Flags::NEW_LISTENER,
        ]
        .into_iter()
        .chain([Flags::NEW_LISTENER.with(Flags::WAIT_KILLABLE_RECV)]);
        for flags in flags {
            std::thread::spawn(move || {
                set_no_new_privileges().unwrap();
                let listener = install(&[ALLOW], flags).unwrap();
                assert_eq!(
                    listener.is_some(),
                    flags.contains(Flags::NEW_LISTENER),
                    "{flags:?}"
                );
            })
            .join()
            .unwrap();
        }
    }

    #[test]
    fn a_program_the_kernel_refuses_is_an_error() {
        let endless = Instruction {
            code: 0x05,
            k: 7,
            ..ALLOW
        };
        std::thread::spawn(move || {
            set_no_new_privileges().unwrap();
            assert_eq!(
                install(&[endless], Flags::NONE).unwrap_err().raw_os_error(),
                Some(22)
            );
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_common_answers_are_available() {
        assert!(action_is_available(0x7fff_0000));
        assert!(action_is_available(0x8000_0000));
        assert!(!action_is_available(0x1234_0000));
    }
}
