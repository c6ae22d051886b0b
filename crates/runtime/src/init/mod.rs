//! The process that becomes the container, from its first instruction to the program's.
//!
//! It begins as a copy of the maker, in new namespaces; what it needs from the host was opened
//! before. In this order: namespaces, root file system, hooks, what is to be hidden, the pivot; then
//! it waits for its start, gives up what it may not have, and executes the program.

mod console;
mod copy_up;
mod devices;
mod finish;
mod reaper;
mod rootfs;
mod sysctl;

pub(crate) use console::{Console, open_in_container};
pub(crate) use finish::Finish;

use std::os::fd::{AsFd, OwnedFd};

use hull_oci::runtime::Spec;
use hull_sys::{
    beneath::Root,
    mount::{self, Change, Propagation},
    namespace::{self, Namespaces},
    netlink::route,
    process,
};
use rustix::net::{SocketFlags, accept_with};

use crate::{
    channel::{Channel, Word},
    error::{Context, Error},
    hooks::{self, HookState},
    notice::notice,
    plan::{MachinePlan, NamespacePlan, ProcessPlan, root_propagation},
    prepare::Prepared,
    seccomp::Program,
};

/// A namespace to join: its kind and its file.
pub(crate) type Joined = (Namespaces, OwnedFd);

/// All that the new process needs.
pub(crate) struct Init<'a> {
    pub(crate) id: &'a str,
    pub(crate) bundle: &'a std::path::Path,
    pub(crate) spec: &'a Spec,
    pub(crate) namespaces: &'a NamespacePlan,
    /// Files to write `0` to.
    pub(crate) entrances: &'a [OwnedFd],
    /// The container's cgroup, for a mount of it.
    pub(crate) cgroup: &'a crate::Cgroup,
    pub(crate) root: &'a OwnedFd,
    /// Where hooks look for the root.
    pub(crate) root_at: Option<&'a std::path::Path>,
    pub(crate) mounts: &'a [Prepared],
    pub(crate) process: &'a ProcessPlan,
    pub(crate) machine: &'a MachinePlan,
    pub(crate) seccomp: Option<&'a Program>,
    /// Connected to whoever answers calls that the filter leaves open.
    pub(crate) listener: Option<&'a OwnedFd>,
    pub(crate) stdio: Option<[&'a OwnedFd; 3]>,
    pub(crate) with_init: bool,
    pub(crate) ends_with_caller: bool,
    pub(crate) preserve_fds: u32,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    /// Where to wait for the start, if not on the channel.
    pub(crate) start: Option<&'a OwnedFd>,
}

impl Init<'_> {
    /// The whole life of the process, up to the program. Returns an exit code if that fails.
    /// `joined`: namespaces still to join.
    pub(crate) fn main(&self, channel: Channel, joined: &[&Joined]) -> i32 {
        let (finish, channel) = match self.make(channel, joined) {
            Ok(made) => made,
            Err(code) => return code,
        };
        finish.run(channel)
    }

    /// Until the start. The failure has been told.
    fn make(&self, channel: Channel, joined: &[&Joined]) -> Result<(Finish<'_>, Channel), i32> {
        let failed = |error: Error| Word::Failed(error.to_string());
        let made = self.set_up(&channel, joined).map_err(failed);
        let ready = made.and_then(|made| {
            // Managers that start later want to hear at once that there is nothing to start.
            if self.start.is_some() {
                finish::look_for_program(self.process)?;
            }
            let console = made.console.as_ref();
            let fds: Vec<_> = console
                .iter()
                .map(|console| console.master.as_fd())
                .collect();
            let said = channel
                .say_with(&Word::Ready, &fds)
                .step(|| "report".into());
            said.map(|()| made).map_err(failed)
        });
        let made = match ready {
            Ok(made) => made,
            Err(word) => {
                let _ = channel.say(&word);
                return Err(1);
            }
        };
        let channel = self.wait_for_start(channel)?;
        let finish = Finish {
            process: self.process,
            machine: self.machine,
            seccomp: self.seccomp,
            listener: self.listener,
            stdio: self.stdio,
            terminal: made.console.map(|console| console.slave),
            working_directory: Some(made.working_directory),
            preserve_fds: self.preserve_fds,
            with_init: self.with_init,
            ends_with_parent: self.ends_with_caller,
            proc: made.proc,
            hooks: self
                .spec
                .hooks()
                .as_ref()
                .and_then(|hooks| hooks.start_container().as_ref()),
            state: made.state,
            notice: made.notice,
        };
        Ok((finish, channel))
    }

    fn set_up(&self, channel: &Channel, joined: &[&Joined]) -> Result<rootfs::Made, Error> {
        rustix::process::umask(rustix::fs::Mode::empty());
        process::reset_signals().step(|| "reset signals".into())?;
        enter_cgroups(self.entrances)?;
        for (kind, file) in joined {
            namespace::join(file.as_fd(), *kind)
                .step(|| format!("join {} namespace", name(*kind)))?;
        }
        let pid = self.await_go(channel)?;
        // While it is the host's root: each counts against its owner's few keys otherwise.
        if !self.no_new_keyring {
            join_keyring(self.id)?;
        }
        if self.namespaces.has(Namespaces::USER) {
            become_root()?;
        }
        if self.namespaces.new.contains(Namespaces::CGROUP) {
            namespace::unshare(Namespaces::CGROUP).step(|| "unshare cgroup namespace".into())?;
        }
        process::set_dumpable(false).step(|| "hide from others".into())?;
        self.name_host()?;
        if self.namespaces.new.contains(Namespaces::NETWORK) {
            bring_loopback_up()?;
        }
        self.make_root(channel, pid)
    }

    /// The host's name for this process is only known to its maker.
    fn await_go(&self, channel: &Channel) -> Result<i32, Error> {
        let hooks = self.spec.hooks().as_ref().is_some_and(|hooks| {
            hooks.create_container().is_some() || hooks.start_container().is_some()
        });
        let waits =
            hooks || self.listener.is_some() || self.namespaces.new.contains(Namespaces::USER);
        if !waits {
            return Ok(0);
        }
        match channel.hear().step(|| "wait for the runtime".into())? {
            Some((Word::Go(pid), _)) => Ok(pid.parse().unwrap_or(0)),
            _ => Err(Error::State("the runtime is gone".into())),
        }
    }

    fn name_host(&self) -> Result<(), Error> {
        let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        if let Some(name) = given(self.spec.hostname()) {
            rustix::system::sethostname(name.as_bytes()).step(|| format!("set hostname {name}"))?;
        }
        if let Some(name) = given(self.spec.domainname()) {
            rustix::system::setdomainname(name.as_bytes())
                .step(|| format!("set domainname {name}"))?;
        }
        Ok(())
    }

    fn make_root(&self, channel: &Channel, pid: i32) -> Result<rootfs::Made, Error> {
        // Nothing that is mounted from here on may show on the host.
        let slash = rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty())
            .step(|| "open /".into())?;
        let private = Change {
            propagation: Some(Propagation::Private),
            ..Change::default()
        };
        mount::change(slash.as_fd(), true, &private).step(|| "make mounts private".into())?;
        self.attach_root(&slash)?;

        let copy = rustix::io::fcntl_dupfd_cloexec(self.root, 3).step(|| "copy root".into())?;
        let root = Root::from_fd(copy);
        let mut made = rootfs::make(self, &root)?;
        sysctl::apply(self.spec, &mut made)?;
        if self.listener.is_some() {
            let state = HookState::new(self.spec, self.id, "creating", pid, self.bundle);
            made.notice = notice(self.spec, pid, state);
        }
        self.run_hooks(channel, pid, &mut made)?;
        rootfs::restrict(self, &root)?;
        self.enter_root(root)?;
        rootfs::finalize(self, &made)?;
        Ok(made)
    }

    /// On top of `/` unless somebody wants to see it elsewhere: no directory of the host is needed.
    fn attach_root(&self, slash: &OwnedFd) -> Result<(), Error> {
        let place = self.root_at.and_then(|path| Root::new(path).ok());
        let target = place.as_ref().map_or(slash.as_fd(), AsFd::as_fd);
        mount::attach(self.root.as_fd(), target).step(|| "attach the rootfs".into())
    }

    fn run_hooks(&self, channel: &Channel, pid: i32, made: &mut rootfs::Made) -> Result<(), Error> {
        let Some(list) = self.spec.hooks().as_ref() else {
            return Ok(());
        };
        if list.has_runtime_side() {
            channel.say(&Word::Hooks).step(|| "ask for hooks".into())?;
            match channel.hear().step(|| "wait for hooks".into())? {
                Some((Word::Go(_), _)) => {}
                _ => return Err(Error::State("the runtime is gone".into())),
            }
        }
        let state = |status| HookState::new(self.spec, self.id, status, pid, self.bundle).json();
        hooks::run(
            list.create_container().as_ref(),
            "createContainer",
            &state("creating"),
        )?;
        made.state = state("created");
        Ok(())
    }

    fn enter_root(&self, root: Root) -> Result<(), Error> {
        if self.no_pivot {
            rustix::process::fchdir(&root).step(|| "enter the rootfs".into())?;
            rustix::process::chroot(".").step(|| "enter the rootfs".into())?;
            return rustix::process::chdir("/").step(|| "enter the rootfs".into());
        }
        mount::pivot(root.as_fd()).step(|| "pivot_root".into())
    }

    /// The rest of the conversation is on the returned channel.
    fn wait_for_start(&self, channel: Channel) -> Result<Channel, i32> {
        hear_start(&channel)?;
        let Some(listener) = self.start else {
            return Ok(channel);
        };
        // The maker has written down that there is this container.
        drop(channel);
        let channel = accept(listener).ok_or(1)?;
        hear_start(&channel)?;
        Ok(channel)
    }
}

/// `Err`: whoever was to say it is gone.
fn hear_start(channel: &Channel) -> Result<(), i32> {
    loop {
        match channel.hear() {
            Ok(Some((Word::Start, _))) => return Ok(()),
            Ok(Some((Word::Go(_), _))) => {} // was not waited for
            _ => return Err(1),
        }
    }
}

fn accept(listener: &OwnedFd) -> Option<Channel> {
    loop {
        match accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(connection) => return Some(Channel::new(connection)),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {}
            Err(_) => return None,
        }
    }
}

/// Whether some hooks run in the runtime's namespaces while the container is made.
pub(crate) trait RuntimeSide {
    fn has_runtime_side(&self) -> bool;
}

impl RuntimeSide for hull_oci::runtime::Hooks {
    fn has_runtime_side(&self) -> bool {
        let some = |list: &Option<Vec<_>>| list.as_ref().is_some_and(|list| !list.is_empty());
        some(self.prestart()) || some(self.create_runtime())
    }
}

pub(crate) fn name(kind: Namespaces) -> &'static str {
    Namespaces::NAMES
        .iter()
        .find(|(known, _)| *known == kind)
        .map_or("?", |(_, name)| name)
}

pub(crate) fn enter_cgroups(entrances: &[OwnedFd]) -> Result<(), Error> {
    for file in entrances {
        rustix::io::write(file, b"0").step(|| "join the cgroup".into())?;
    }
    Ok(())
}

/// Root of the user namespace. Groups can not always be set there, and are nobody's then.
pub(crate) fn become_root() -> Result<(), Error> {
    process::set_ids(0, 0, Some(&[]))
        .or_else(|_| process::set_ids(0, 0, None))
        .step(|| "become root of the user namespace".into())
}

pub(crate) fn join_keyring(id: &str) -> Result<(), Error> {
    let Ok(name) = std::ffi::CString::new(format!("_ses.{id}")) else {
        return Ok(());
    };
    match process::join_session_keyring(&name) {
        // The kernel has no keys, or a filter around us forbids them, or there are too many.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        result => result.step(|| "join a new session keyring".into()),
    }
}

fn bring_loopback_up() -> Result<(), Error> {
    const LOOPBACK: u32 = 1; // the first link of every network namespace
    let up = || {
        let mut socket = route::Route::open()?;
        socket.apply(&[route::set_up(LOOPBACK, None)])
    };
    up().map_err(|error| Error::Inside(format!("bring the loopback device up: {error}")))
}

/// `linux.rootfsPropagation` once the root is in place.
pub(crate) fn propagate_root(spec: &Spec) -> Result<Option<(Propagation, bool)>, Error> {
    let linux = spec.linux().as_ref();
    match linux
        .and_then(|linux| linux.rootfs_propagation().as_deref())
        .filter(|n| !n.is_empty())
    {
        Some(name) => root_propagation(name).map(Some),
        None => Ok(None),
    }
}
