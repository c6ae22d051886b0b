//! Bytes over a unix socket with open files beside them (`SCM_RIGHTS`).

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// No message carries more files than this; a peer that sends more has them closed by the kernel.
pub const FDS_MAX: usize = 8;

/// Sends the beginning of `bytes`, with all of `fds` on its first byte. Returns how many bytes
/// went out; the files went with them. `bytes` must not be empty if there are files.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many files for one message",
        ));
    }
    let sent = sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(sent)
}

/// Receives into `bytes`; files that came along are added to `fds`, closed on exec.
/// Zero bytes: the peer will send no more.
pub fn receive(socket: impl AsFd, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(
        socket,
        &mut [IoSliceMut::new(bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = part {
            fds.extend(files);
        }
    }
    Ok(message.bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::*;

    #[test]
    fn a_file_arrives_with_the_bytes_and_is_closed_on_exec() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        assert_eq!(send(&ours, b"hello", &[reader.as_fd()]).unwrap(), 5);
        drop(reader);
        let (mut bytes, mut fds) = ([0; 16], Vec::new());
        assert_eq!(receive(&theirs, &mut bytes, &mut fds).unwrap(), 5);
        assert_eq!((&bytes[..5], fds.len()), (&b"hello"[..], 1));
        let flags = rustix::io::fcntl_getfd(&fds[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        writer.write_all(b"through").unwrap();
        drop(writer);
        let mut text = String::new();
        File::from(fds.remove(0)).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn bytes_go_alone_as_well_and_an_end_is_zero() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        send(&ours, b"x", &[]).unwrap();
        drop(ours);
        let (mut bytes, mut fds) = ([0; 4], Vec::new());
        assert_eq!(receive(&theirs, &mut bytes, &mut fds).unwrap(), 1);
        assert_eq!(receive(&theirs, &mut bytes, &mut fds).unwrap(), 0);
        assert!(fds.is_empty());
    }
}
