//! Translations of user and group ids.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::{
    namespace::{self, Namespaces},
    process::{self, Clone},
};

/// A range of ids seen as another range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// First id inside the user namespace.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

/// How a user namespace translates ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mappings {
    /// Users.
    pub users: Vec<Mapping>,
    /// Groups.
    pub groups: Vec<Mapping>,
}

impl Mappings {
    /// Those of a process's user namespace, as the caller sees them.
    pub fn of(pid: i32) -> io::Result<Self> {
        let file = |name: &str| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/{name}"))?;
            let mappings: Option<Vec<_>> = text.lines().map(parse).collect();
            mappings.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, text))
        };
        Ok(Self {
            users: file("uid_map")?,
            groups: file("gid_map")?,
        })
    }

    /// Who a user and a group of the inside are outside; `None`: one of them is nobody.
    pub fn outside(&self, (user, group): (u32, u32)) -> Option<(u32, u32)> {
        outside(&self.users, user).zip(outside(&self.groups, group))
    }

    /// Who a user and a group of the outside are inside; whoever is nobody there is `nobody`.
    pub fn inside(&self, (user, group): (u32, u32)) -> (u32, u32) {
        (
            inside(&self.users, user).unwrap_or(NOBODY),
            inside(&self.groups, group).unwrap_or(NOBODY),
        )
    }

    /// A user namespace that translates so and that nobody is in.
    pub fn namespace(&self) -> io::Result<OwnedFd> {
        user_namespace(&self.users, &self.groups)
    }
}

/// As whom the kernel shows somebody who is not in a user namespace.
const NOBODY: u32 = 65534;

/// Who an id of the inside is outside; `None`: nobody.
pub fn outside(mappings: &[Mapping], id: u32) -> Option<u32> {
    mappings.iter().find_map(|map| {
        let offset = id.checked_sub(map.inside)?;
        map.outside
            .checked_add(offset)
            .filter(|_| offset < map.size)
    })
}

fn inside(mappings: &[Mapping], id: u32) -> Option<u32> {
    mappings.iter().find_map(|map| {
        let offset = id.checked_sub(map.outside)?;
        map.inside.checked_add(offset).filter(|_| offset < map.size)
    })
}

fn parse(line: &str) -> Option<Mapping> {
    let mut numbers = line.split_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(Mapping {
        inside: next()?,
        outside: next()?,
        size: next()?,
    })
}

/// Gives the user namespace of process `pid`, just made, its translations.
///
/// `deny_setgroups`: for callers without `CAP_SETGID`, whom the kernel lets map groups only then.
pub fn write(
    pid: i32,
    users: &[Mapping],
    groups: &[Mapping],
    deny_setgroups: bool,
) -> io::Result<()> {
    if deny_setgroups {
        write_one(&format!("/proc/{pid}/setgroups"), "deny")?;
    }
    write_one(&format!("/proc/{pid}/uid_map"), &text(users))?;
    write_one(&format!("/proc/{pid}/gid_map"), &text(groups))
}

/// A user namespace that nobody is in. Callers may have threads: the process that is made for it does
/// nothing but wait in the kernel.
pub fn user_namespace(users: &[Mapping], groups: &[Mapping]) -> io::Result<OwnedFd> {
    mapped(Namespaces::USER, users, groups)?.namespace("user")
}

/// The same, and a network namespace that is its own: root of the first may do all in the second.
pub fn with_network(ids: &Mappings) -> io::Result<(OwnedFd, OwnedFd)> {
    let kinds = Namespaces::USER | Namespaces::NETWORK;
    let made = mapped(kinds, &ids.users, &ids.groups)?;
    Ok((made.namespace("user")?, made.namespace("net")?))
}

/// A network namespace that belongs to a user namespace there is. Callers may have threads, as above.
pub fn network_in(user: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let (mut told, tell) = io::pipe()?;
    let waiting = Waiting::begin(Namespaces::NONE, move || {
        let moved = namespace::join(user, Namespaces::USER)
            .and_then(|()| namespace::unshare(Namespaces::NETWORK));
        let code = moved.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0);
        let code = u8::try_from(code).unwrap_or(u8::MAX);
        let _ = rustix::io::write(&tell, &[code]);
    })?;
    let mut code = [0];
    told.read_exact(&mut code)?;
    match code {
        [0] => waiting.namespace("net"),
        [code] => Err(io::Error::from_raw_os_error(code.into())),
    }
}

fn mapped(kinds: Namespaces, users: &[Mapping], groups: &[Mapping]) -> io::Result<Waiting> {
    let waiting = Waiting::begin(kinds, || {})?;
    write(waiting.child.pid, users, groups, false)?;
    Ok(waiting)
}

/// A process that is there to be looked at. It ends with this.
struct Waiting {
    child: process::Child,
    /// Until it closes, the process waits.
    _held: io::PipeWriter,
}

impl Waiting {
    fn begin(namespaces: Namespaces, first: impl FnOnce()) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let clone = Clone {
            namespaces,
            close: &[writer.as_fd()],
            ..Clone::default()
        };
        let child = process::clone(&clone, || {
            first();
            let _ = rustix::io::read(&reader, &mut [0]);
            0
        })?;
        Ok(Self {
            child,
            _held: writer,
        })
    }

    fn namespace(&self, name: &str) -> io::Result<OwnedFd> {
        Ok(File::open(format!("/proc/{}/ns/{name}", self.child.pid))?.into())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = process::signal(&self.child.pidfd, libc::SIGKILL);
        // Another part of the caller may reap all children there are.
        let _ = process::wait(&self.child.pidfd);
    }
}

fn text(mappings: &[Mapping]) -> String {
    mappings
        .iter()
        .map(|map| format!("{} {} {}\n", map.inside, map.outside, map.size))
        .collect()
}

/// The kernel takes a map in one write only.
fn write_one(path: &str, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    if file.write(text.as_bytes())? != text.len() {
        return Err(io::Error::new(
            io::ErrorKind::WriteZero,
            "map written in part",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn mappings() -> Mappings {
        let one = |inside, outside, size| Mapping {
            inside,
            outside,
            size,
        };
        Mappings {
            users: vec![one(0, 100_000, 10), one(10, 300_000, 5)],
            groups: vec![one(0, 200_000, 10)],
        }
    }

    #[test]
    fn ids_are_translated_both_ways() {
        let ids = mappings();
        assert_eq!(ids.outside((11, 9)), Some((300_001, 200_009)));
        assert_eq!(ids.outside((11, 10)), None);
        assert_eq!(ids.inside((300_001, 200_009)), (11, 9));
        assert_eq!(ids.inside((0, 200_000)), (NOBODY, 0));
    }

    #[test]
    fn a_network_belongs_to_its_user_namespace() {
        let owner = |network: &OwnedFd| {
            crate::netlink::namespace::enter(network.as_fd(), || {
                Ok(std::fs::metadata("/proc/sys/net/ipv4/ip_forward")?.uid())
            })
        };
        let (user, network) = with_network(&mappings()).unwrap();
        assert_eq!(owner(&network).unwrap(), 100_000);
        let further = network_in(user.as_fd()).unwrap();
        assert_eq!(owner(&further).unwrap(), 100_000);
        let same = |a: &OwnedFd, b: &OwnedFd| {
            rustix::fs::fstat(a).unwrap().st_ino == rustix::fs::fstat(b).unwrap().st_ino
        };
        assert!(!same(&network, &further));
    }
}
