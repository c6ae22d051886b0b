//! eBPF programs on cgroups (`bpf(2)`): loading, attaching and replacing them.
//!
//! Only what the device controller of cgroup v2 needs. What a program says is decided elsewhere.

#![expect(unsafe_code, reason = "libc has no bpf")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// A loaded program. It lives as long as a descriptor or a cgroup holds it.
#[derive(Debug)]
pub struct Program(OwnedFd);

/// The size of an instruction, which the kernel aligns to.
const INSTRUCTION_BYTES: usize = 8;

/// What the verifier is told: our programs use nothing that is reserved for GPL code.
const LICENSE: &std::ffi::CStr = c"Apache";

/// Several programs may sit on one cgroup, and all must agree (`BPF_F_ALLOW_MULTI`).
const ALLOW_MULTI: u32 = 1 << 1;
/// Swap one program for another at once (`BPF_F_REPLACE`).
const REPLACE: u32 = 1 << 2;

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;

/// The most programs the kernel lets sit on one cgroup.
const PROGRAMS_MAX: usize = 64;

impl Program {
    /// Loads a device program from its bytes: whole instructions of eight bytes, native order.
    pub fn load_cgroup_device(bytes: &[u8]) -> io::Result<Self> {
        let mut log = vec![0u8; 16 << 10];
        match load(bytes, None) {
            Ok(fd) => Ok(Self(fd)),
            // Only a refused program is worth the verifier's words.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EACCES)) => {
                match load(bytes, Some(&mut log)) {
                    Ok(fd) => Ok(Self(fd)),
                    // A log that does not fit is an error of its own, and not the reason.
                    Err(_) => Err(with_log(error, &log)),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// Makes `program` the only device program on `cgroup` itself (those of its ancestors stay in
/// force). When it returns, there was no moment without a program if there had been one before.
pub fn replace_device_programs(cgroup: BorrowedFd<'_>, program: &Program) -> io::Result<()> {
    let old = attached(cgroup)?;
    match old.split_first() {
        None => attach(cgroup, program, ALLOW_MULTI, None),
        Some((first, rest)) => {
            match attach(cgroup, program, ALLOW_MULTI | REPLACE, Some(first.as_fd())) {
                // A program attached without `ALLOW_MULTI` by somebody else is simply overridden.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                    attach(cgroup, program, 0, None)?;
                }
                other => other?,
            }
            rest.iter()
                .try_for_each(|other| detach(cgroup, other.as_fd()))
        }
    }
}

/// How many device programs sit on `cgroup` itself.
pub fn device_program_count(cgroup: BorrowedFd<'_>) -> io::Result<usize> {
    attached(cgroup).map(|programs| programs.len())
}

fn load(bytes: &[u8], log: Option<&mut Vec<u8>>) -> io::Result<OwnedFd> {
    if !bytes.len().is_multiple_of(INSTRUCTION_BYTES) || bytes.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let (log_level, log_size, log_buf) = match log {
        Some(log) => (
            1,
            u32::try_from(log.len()).unwrap_or(0),
            log.as_mut_ptr() as u64,
        ),
        None => (0, 0, 0),
    };
    let attr = LoadAttr {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(bytes.len() / INSTRUCTION_BYTES).map_err(io::Error::other)?,
        insns: bytes.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level,
        log_size,
        log_buf,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"hull_devices\0\0\0\0",
    };
    // SAFETY: the addresses in `attr` are of live memory with the sizes given beside them.
    let fd = unsafe { bpf(PROG_LOAD, &raw const attr) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn with_log(error: io::Error, log: &[u8]) -> io::Error {
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..end]);
    io::Error::new(error.kind(), format!("{error}: {}", text.trim()))
}

fn attach(
    cgroup: BorrowedFd<'_>,
    program: &Program,
    attach_flags: u32,
    replaced: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let attr = AttachAttr {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.0.as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags,
        replace_bpf_fd: replaced.map_or(0, |fd| fd.as_raw_fd()),
    };
    // SAFETY: `attr` holds numbers only.
    unsafe { bpf(PROG_ATTACH, &raw const attr) }.map(drop)
}

fn detach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attr = AttachAttr {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    // SAFETY: `attr` holds numbers only.
    unsafe { bpf(PROG_DETACH, &raw const attr) }.map(drop)
}

fn attached(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0u32; PROGRAMS_MAX];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: 64,
        padding: 0,
        prog_attach_flags: 0,
    };
    // SAFETY: `prog_ids` points to `prog_cnt` live numbers that the kernel fills in.
    unsafe { bpf(PROG_QUERY, &raw mut attr) }?;
    let count = usize::try_from(attr.prog_cnt)
        .map_err(io::Error::other)?
        .min(PROGRAMS_MAX);
    ids[..count].iter().map(|id| program_by_id(*id)).collect()
}

fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    let attr = [id, 0, 0];
    // SAFETY: `attr` holds numbers only.
    let fd = unsafe { bpf(PROG_GET_FD_BY_ID, &raw const attr) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
/// `attr` is what `command` takes, and every address in it is valid for what the kernel does.
unsafe fn bpf<T>(command: libc::c_int, attr: *const T) -> io::Result<libc::c_int> {
    let size = libc::c_uint::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the caller vouches for `attr`; its size stands beside it.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size) };
    match libc::c_int::try_from(answer) {
        Ok(code) if code >= 0 => Ok(code),
        _ => Err(io::Error::last_os_error()),
    }
}

#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
struct AttachAttr {
    target_fd: i32,
    attach_bpf_fd: i32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: i32,
}

#[repr(C)]
struct QueryAttr {
    target_fd: i32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
    prog_attach_flags: u64,
}
