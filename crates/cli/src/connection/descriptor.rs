//! A connection that whoever started this program has made: `fd://3`.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::atomic::{AtomicBool, Ordering};

use hull_api::client::{Connect, Connecting, Duplex};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use tokio::net::UnixStream;

/// A socket's number among this process's files.
#[derive(Debug)]
pub(super) struct DescriptorEndpoint {
    number: i32,
    is_taken: AtomicBool,
}

impl DescriptorEndpoint {
    pub(super) fn new(number: i32) -> Self {
        Self {
            number,
            is_taken: AtomicBool::new(false),
        }
    }
}

impl DescriptorEndpoint {
    fn is_no(&self, what: &str) -> io::Error {
        io::Error::other(format!("file descriptor {} is not {what}", self.number))
    }
}

impl Connect for DescriptorEndpoint {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            if self.is_taken.swap(true, Ordering::Relaxed) {
                return Err(io::Error::other(
                    "one connection carries one request at a time",
                ));
            }
            // A number alone proves nothing; the kernel makes a descriptor of it, or says that it is none.
            let own = pidfd_open(getpid(), PidfdFlags::empty())?;
            let descriptor = pidfd_getfd(&own, self.number, PidfdGetfdFlags::empty())
                .map_err(|_| self.is_no("open"))?;
            if rustix::net::sockopt::socket_type(&descriptor).is_err() {
                return Err(self.is_no("a socket: a connection to a daemon is what belongs there"));
            }
            let stream = StdStream::from(descriptor);
            stream.set_nonblocking(true)?;
            Ok(Box::new(UnixStream::from_std(stream)?) as Box<dyn Duplex>)
        })
    }

    fn host(&self) -> String {
        format!("fd://{}", self.number)
    }

    fn is_kept(&self) -> bool {
        true
    }
}
