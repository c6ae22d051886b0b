//! Project quotas: a limit for a directory and all below it, on ext4 and xfs.

#![expect(unsafe_code, reason = "the ioctls and quotactl_fd have no wrapper")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// `FS_IOC_FSGETXATTR` and `FS_IOC_FSSETXATTR`.
const GET_ATTRIBUTES: libc::c_ulong = 0x801c_581f;
const SET_ATTRIBUTES: libc::c_ulong = 0x401c_5820;

/// What is made in the directory belongs to its project.
const INHERIT: u32 = 0x200;

/// `Q_SETQUOTA` for projects, and the member of the structure that is meant.
const SET_QUOTA: u32 = (0x80_0008 << 8) | 2;
const BLOCK_LIMITS: u32 = 1;

/// `Q_XGETQSTAT` for projects; every file system's quotas answer it, not only xfs's.
const GET_STATE: u32 = (0x5805 << 8) | 2;
/// `FS_QUOTA_PDQ_ENFD`: limits of projects hold.
const PROJECTS_ENFORCED: u16 = 1 << 5;

/// The kernel counts limits in these.
const BLOCK_BYTES: u64 = 1024;

/// The kernel's `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    padding: [u8; 8],
}

/// The kernel's `struct if_dqblk`.
#[repr(C)]
#[derive(Default)]
struct Limits {
    blocks_hard: u64,
    blocks_soft: u64,
    space: u64,
    inodes_hard: u64,
    inodes_soft: u64,
    inodes: u64,
    blocks_time: u64,
    inodes_time: u64,
    valid: u32,
}

/// The kernel's `struct fs_qfilestat`.
#[repr(C)]
#[derive(Default)]
struct QuotaFile {
    inode: u64,
    blocks: u64,
    extents: u32,
}

/// The kernel's `struct fs_quota_stat`.
#[repr(C)]
#[derive(Default)]
struct State {
    version: i8,
    flags: u16,
    padding: i8,
    users: QuotaFile,
    groups: QuotaFile,
    in_core: u32,
    times: [i32; 3],
    warnings: [u16; 2],
}

/// Whether limits of projects hold on the file system of `directory`. Some only count what projects
/// take unless they are mounted to do more, and accept limits all the same.
pub fn enforces_projects(directory: BorrowedFd<'_>) -> io::Result<bool> {
    let mut state = State::default();
    // SAFETY: the descriptor is open and the structure is the kernel's, to be written.
    check(unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            directory.as_raw_fd(),
            GET_STATE,
            0,
            &raw mut state,
        )
    })?;
    Ok(state.flags & PROJECTS_ENFORCED != 0)
}

/// Makes the open directory, which should be empty, the root of a project.
pub fn set_project(directory: BorrowedFd<'_>, project: u32) -> io::Result<()> {
    let mut attributes = Attributes::default();
    // SAFETY: the descriptor is open and the structure is the kernel's, to be written.
    let result = unsafe { libc::ioctl(directory.as_raw_fd(), GET_ATTRIBUTES, &raw mut attributes) };
    check(result.into())?;
    attributes.project = project;
    attributes.flags |= INHERIT;
    // SAFETY: the descriptor is open and the structure is the kernel's, to be read.
    let result =
        unsafe { libc::ioctl(directory.as_raw_fd(), SET_ATTRIBUTES, &raw const attributes) };
    check(result.into())
}

/// Limits what a project takes on the file system of `directory`; zero: no limit.
pub fn limit_project(directory: BorrowedFd<'_>, project: u32, bytes: u64) -> io::Result<()> {
    let blocks = bytes.div_ceil(BLOCK_BYTES);
    let limits = Limits {
        blocks_hard: blocks,
        blocks_soft: blocks,
        valid: BLOCK_LIMITS,
        ..Limits::default()
    };
    // SAFETY: the descriptor is open and the structure is the kernel's, to be read.
    check(unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            directory.as_raw_fd(),
            SET_QUOTA,
            project,
            &raw const limits,
        )
    })
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
