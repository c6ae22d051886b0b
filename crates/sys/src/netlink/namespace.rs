//! Network namespaces: made and entered on threads of their own, so that no thread of the caller
//! ever leaves its namespace.

#![expect(
    unsafe_code,
    reason = "unshare is unsafe for flags that are not used here"
)]

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Makes a namespace, runs `prepare` inside it, and gives it with the result.
pub fn create<T: Send>(prepare: impl FnOnce() -> io::Result<T> + Send) -> io::Result<(OwnedFd, T)> {
    on_thread(|| {
        // SAFETY: a network namespace shares no memory or descriptor table with anyone.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
        let namespace = current()?;
        Ok((namespace, prepare()?))
    })
}

/// Runs `work` inside a namespace.
pub fn enter<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    on_thread(|| {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
        work()
    })
}

/// The calling thread's namespace.
pub fn current() -> io::Result<OwnedFd> {
    File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
}

/// What tells one namespace from another while either is open.
pub fn identity(namespace: impl AsFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(namespace)?.st_ino)
}

fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("namespace".into())
            .spawn_scoped(scope, work)?;
        worker
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the namespace's thread panicked")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_thread_stays_where_it_is() {
        let home = identity(current().unwrap()).unwrap();
        let (made, inside) = create(|| identity(current()?)).unwrap();
        assert_eq!(identity(&made).unwrap(), inside);
        assert_ne!(home, inside);
        let seen = enter(made.as_fd(), || identity(current()?)).unwrap();
        assert_eq!(seen, inside);
        assert_eq!(identity(current().unwrap()).unwrap(), home);
    }
}
