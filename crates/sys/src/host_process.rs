//! What a long-running program decides about itself: the descriptors it was started with, and how
//! much memory its allocator may keep.
#![expect(
    unsafe_code,
    reason = "takes descriptors by number, sets options of the C library"
)]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::Mutex,
};

/// Descriptors that were taken: a second owner would close the first one's.
static TAKEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// Takes a descriptor the program was started with (socket activation), once.
///
/// Fails with `EBADF` if there is none under that number, and with `AlreadyExists` if it was taken.
/// The number must not be one that this program opened itself.
pub fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    let mut taken = TAKEN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if taken.contains(&number) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // SAFETY: takes numbers only; an unused number is an error.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    taken.push(number);
    // SAFETY: the descriptor is open (checked above) and nobody else owns it: it was open when the
    // program started, and the list above gives it away once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Keeps the C library's allocator from making a heap per thread, which costs megabytes in programs
/// with many short-lived threads.
pub fn bound_heaps(arenas: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets an option; called at the start of the program, as glibc asks.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, arenas);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = arenas;
}

/// Gives memory that is not in use back to the kernel.
pub fn trim_heaps() {
    #[cfg(target_env = "gnu")]
    // SAFETY: looks at the allocator's own lists only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Whether the other end of a socket has taken all that was written to it (on TCP: received).
pub fn is_drained(socket: impl AsFd) -> io::Result<bool> {
    let mut waiting: libc::c_int = 0;
    // SAFETY: the descriptor is open while it is borrowed, and the kernel writes one int.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut waiting) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(waiting == 0)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, IntoRawFd};

    #[test]
    fn a_socket_is_drained_when_the_other_end_has_read() {
        use std::io::{Read, Write};
        let (mut ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(super::is_drained(&ours).unwrap());
        ours.write_all(b"hello").unwrap();
        assert!(!super::is_drained(&ours).unwrap());
        theirs.read_exact(&mut [0; 5]).unwrap();
        assert!(super::is_drained(&ours).unwrap());
    }

    #[test]
    fn an_inherited_descriptor_is_taken_once() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let number = theirs.into_raw_fd();
        let taken = super::take_inherited(number).unwrap();
        assert_eq!(taken.as_raw_fd(), number);
        assert!(super::take_inherited(number).is_err());
        assert!(super::take_inherited(60_000).is_err());
        drop((ours, taken));
    }
}
