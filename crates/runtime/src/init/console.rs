//! The terminal of a process: a pair made in the container's own `devpts`.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use hull_sys::{beneath::Root, mount};
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fstat, fstatfs, major, minor, openat},
    pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::error::{Context, Error};

const DEVPTS_MAGIC: i64 = 0x1cd1;

/// Both ends.
#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
}

/// A new pair from the `devpts` below `root`.
pub(super) fn open(root: &Root, size: Option<(u16, u16)>) -> Result<Console, Error> {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = root
        .open("dev/pts/ptmx", flags, Mode::empty())
        .step(|| "open /dev/pts/ptmx of the container".into())?;
    pair(master, size).step(|| "make a terminal".into())
}

/// The same inside the container that the caller has entered.
pub(crate) fn open_in_container(size: Option<(u16, u16)>) -> Result<Console, Error> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = openat(CWD, "/dev/pts/ptmx", flags, Mode::empty())
        .step(|| "open /dev/pts/ptmx of the container".into())?;
    pair(master, size).step(|| "make a terminal".into())
}

fn pair(master: OwnedFd, size: Option<(u16, u16)>) -> io::Result<Console> {
    // The image, or somebody in the container, chose what stands there.
    let stat = fstat(&master)?;
    let is_terminal = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (5, 2)
        && fstatfs(&master)?.f_type == DEVPTS_MAGIC;
    if !is_terminal {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "/dev/pts/ptmx is no terminal multiplexer",
        ));
    }
    unlockpt(&master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    if let Some((ws_row, ws_col)) = size.filter(|size| *size != (0, 0)) {
        tcsetwinsize(
            &slave,
            Winsize {
                ws_row,
                ws_col,
                ws_xpixel: 0,
                ws_ypixel: 0,
            },
        )?;
    }
    Ok(Console { master, slave })
}

impl Console {
    /// Puts it on `/dev/console`.
    pub(super) fn show(&self, root: &Root) -> Result<(), Error> {
        let show = || {
            let target = match root.resolve_without_links("dev/console") {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    root.create_file("dev/console", Mode::from_raw_mode(0o600))?;
                    root.resolve_without_links("dev/console")?
                }
                found => found?,
            };
            let tree = mount::copy(self.slave.as_fd(), Path::new(""), false)?;
            mount::attach(tree.as_fd(), target.as_fd())
        };
        show().step(|| "mount the terminal on /dev/console".into())
    }
}
