//! Mounts what the local driver's options name onto a volume's directory.

use std::{
    io,
    net::{IpAddr, ToSocketAddrs},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use hull_sys::mount::{self, Change, FileSystem};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags};

use super::options::{LocalMount, Source, address_to_resolve, server_to_resolve, without_password};

/// How long a file server may take to answer. The kernel would wait for minutes, or for ever.
const SERVER_ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// Mounts it there.
pub(super) fn mount(plan: &LocalMount, data: &Path) -> io::Result<()> {
    let explain = |error: io::Error| {
        let text = match &plan.source {
            Source::Bind { device, .. } => format!("mount {device}:{}: {error}", data.display()),
            Source::FileSystem {
                kind,
                device,
                data: words,
            } => format!(
                "mount {device}:{}, type: {kind}, data: {}: {error}",
                data.display(),
                without_password(words)
            ),
        };
        io::Error::new(error.kind(), text)
    };
    let tree = within_time(plan).map_err(explain)?;
    set_propagation(plan, &tree).map_err(explain)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(CWD, data, flags, Mode::empty())?;
    mount::attach(tree.as_fd(), target.as_fd()).map_err(explain)
}

/// Whether something is mounted on the directory.
pub(super) fn is_mounted(data: &Path) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(CWD, data, flags, StatxFlags::empty())
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// A detached mount of the source. A server that does not answer keeps a thread of its own waiting,
/// and what it says too late is dropped.
fn within_time(plan: &LocalMount) -> io::Result<OwnedFd> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let plan = plan.clone();
    thread::Builder::new()
        .name("volume mount".to_owned())
        .spawn(move || drop(sender.send(detached(&plan))))?;
    receiver
        .recv_timeout(SERVER_ANSWERS_WITHIN)
        .unwrap_or_else(|_| {
            let seconds = SERVER_ANSWERS_WITHIN.as_secs();
            let text = format!("no answer within {seconds} s");
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })
}

fn detached(plan: &LocalMount) -> io::Result<OwnedFd> {
    match &plan.source {
        Source::Bind { device, recursive } => {
            let tree = mount::copy_path(Path::new(device), *recursive)?;
            let change = Change {
                set: plan.set,
                clear: plan.clear,
                ..Change::default()
            };
            if plan.set | plan.clear != 0 {
                mount::change(tree.as_fd(), false, &change)?;
            }
            Ok(tree)
        }
        Source::FileSystem { kind, device, data } => {
            let context = FileSystem::new(kind).map_err(|error| unknown(kind, error))?;
            context.set("source", device)?;
            if let Some(server) = server_to_resolve(kind, device, data) {
                context.set("addr", address_of(&server)?.to_string())?;
            }
            let name = address_to_resolve(kind, data);
            for option in data {
                match (&name, option.strip_prefix("addr=")) {
                    (Some(name), Some(_)) => {
                        context.set("addr", address_of(name)?.to_string())?;
                    }
                    _ => context.set_option(option)?,
                }
            }
            if plan.set & mount::attr::RDONLY != 0 {
                context.set_flag("ro")?;
            }
            context.mount(plan.set)
        }
    }
}

fn unknown(kind: &str, error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(libc::ENODEV) {
        let text = format!("this kernel knows no file system {kind:?} (is its module loaded?)");
        return io::Error::new(io::ErrorKind::Unsupported, text);
    }
    error
}

fn address_of(name: &str) -> io::Result<IpAddr> {
    let mut found = (name, 0)
        .to_socket_addrs()
        .map_err(|error| io::Error::new(error.kind(), format!("look up {name:?}: {error}")))?;
    let first = found.next().map(|address| address.ip());
    first.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{name:?} has no address")))
}

fn set_propagation(plan: &LocalMount, tree: &OwnedFd) -> io::Result<()> {
    let Some((propagation, recursive)) = plan.propagation else {
        return Ok(());
    };
    let change = Change {
        propagation: Some(propagation),
        ..Change::default()
    };
    mount::change(tree.as_fd(), recursive, &change)
}
