//! One more process in a container.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use hull_sys::{
    cgroup::{Group, Host},
    files,
    namespace::{self, Namespaces},
    process::{self, Child, Clone},
};

use rustix::fs::{Mode, OFlags};

use crate::{
    ExecOptions, StartError, Target,
    channel::{Channel, Word, create_error},
    create::{Restore, apply_limits, connect_listener, filter, give_streams},
    error::{Context, Error},
    hooks::HookState,
    init::{Finish, become_root, enter_cgroups, join_keyring, open_in_container},
    notice::notice,
    options::Stdio,
    plan::{MachinePlan, ProcessPlan, plan_machine, plan_namespaces, plan_process},
    seccomp::Program,
    undo::Undo,
};

/// How long a process may take until it is ready to run its program.
const READY_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// One more process, running.
#[derive(Debug)]
pub struct Executed {
    /// Its pid, in the caller's pid namespace. The caller is its parent and reaps it.
    pub pid: i32,
    /// The same process; readable once it ended.
    pub pidfd: OwnedFd,
    /// The terminal's master, if the process has a terminal.
    pub console: Option<OwnedFd>,
}

/// Runs one more process in a container. On failure there is none.
pub fn exec(target: &Target<'_>, options: ExecOptions<'_>) -> Result<Executed, StartError> {
    let plan = plan_process(options.process)?;
    let seccomp = match options.unconfined {
        true => None,
        false => filter(target.spec, options.seccomp_program.as_deref())?,
    };
    let machine = plan_machine(target.spec)?;
    let namespaces = plan_namespaces(target.spec)?;
    let kinds = Namespaces::NAMES
        .iter()
        .filter(|(kind, _)| namespaces.has(*kind))
        .fold(Namespaces::NONE, |all, (kind, _)| all | *kind);
    give_streams(target.spec, &namespaces, &plan, &options.stdio)?;
    let alive = process::signal(target.pidfd, 0).step(|| "look for the container".into());
    alive.map_err(|_| StartError::State("the container is not running".into()))?;

    let group = group(target, options.sub_cgroup)?;
    let entrances = match &group {
        Some(group) if !group.is_v2() => group.entrances().step(|| "open the cgroup".into())?,
        _ => Vec::new(),
    };
    let listener = match &seccomp {
        Some(program) if program.needs_listener() => Some(connect_listener(target.spec)?),
        _ => None,
    };
    let (ours, theirs) = Channel::pair().step(|| "make a channel".into())?;
    // Whoever is in the container may stop the new process before it is a program.
    let patient = ours.hear_within(READY_WITHIN);
    patient.step(|| "make a channel".into())?;
    let guest = Guest {
        target,
        kinds: kinds.without(Namespaces::PID),
        entrances: &entrances,
        plan: &plan,
        machine: &machine,
        seccomp: seccomp.as_ref(),
        listener: listener.as_ref(),
        options: &options,
    };
    let restore = match kinds.contains(Namespaces::PID) {
        true => Some(Restore::pid(target.pidfd)?),
        false => None,
    };
    let child = launch(&guest, group.as_ref(), target.pid, &ours, theirs);
    drop(restore);
    let Child { pid, pidfd } = child?;
    let mut undo = Undo::default();
    let copy = rustix::io::fcntl_dupfd_cloexec(&pidfd, 3).step(|| "copy a pidfd".into())?;
    undo.push(move || {
        let _ = process::signal(&copy, libc::SIGKILL);
        let _ = process::wait(&copy);
    });
    let console = match ours.hear().step(|| "wait for the new process".into())? {
        Some((Word::Ready, mut fds)) => fds.pop(),
        Some((word, _)) => return Err(create_error(word).into()),
        None => {
            return Err(StartError::Other(
                "the new process ended unexpectedly".into(),
            ));
        }
    };
    apply_limits(pid, &plan)?;
    if listener.is_some() {
        // Its own name for itself means nothing to the listener.
        let told = ours.say(&Word::Go(pid.to_string()));
        told.step(|| "tell the new process its pid".into())?;
    }
    ours.start()?;
    undo.keep();
    Ok(Executed {
        pid,
        pidfd,
        console,
    })
}

fn group(target: &Target<'_>, below: Option<&str>) -> Result<Option<Group>, Error> {
    match (target.cgroup.group(), below) {
        (Some(group), Some(below)) => group.child(below).map(Some).map_err(crate::error::invalid),
        (group, _) => Ok(group.cloned()),
    }
}

fn launch(
    guest: &Guest<'_>,
    group: Option<&Group>,
    pid: i32,
    ours: &Channel,
    theirs: Channel,
) -> Result<Child, Error> {
    let directory = match group {
        Some(group) if group.is_v2() => Some(group.open().step(|| "open the cgroup".into())?),
        _ => None,
    };
    let close = [ours.as_fd()];
    let clone = |directory: &Option<OwnedFd>, channel: Channel| {
        let cgroup = directory.as_ref().map(AsFd::as_fd);
        let clone = Clone {
            cgroup,
            close: &close,
            ..Clone::default()
        };
        process::clone(&clone, || guest.main(&channel))
    };
    let spare = rustix::io::fcntl_dupfd_cloexec(&theirs, 3).step(|| "copy a channel".into())?;
    match clone(&directory, theirs) {
        // The container has groups of its own, and processes live in the leaves only.
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            let directory = Some(group_of(pid)?.open().step(|| "open the cgroup".into())?);
            clone(&directory, Channel::new(spare)).step(|| "clone".into())
        }
        child => child.step(|| "clone".into()),
    }
}

fn group_of(pid: i32) -> Result<Group, Error> {
    let find = || {
        let text = files::read_text(Path::new(&format!("/proc/{pid}/cgroup")))?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"));
        Group::new(&Host::detect()?, path.unwrap_or_default())
    };
    find().step(|| "find the container's cgroup".into())
}

/// The new process.
struct Guest<'a> {
    target: &'a Target<'a>,
    kinds: Namespaces,
    entrances: &'a [OwnedFd],
    plan: &'a ProcessPlan,
    machine: &'a MachinePlan,
    seccomp: Option<&'a Program>,
    listener: Option<&'a OwnedFd>,
    options: &'a ExecOptions<'a>,
}

impl Guest<'_> {
    fn main(&self, channel: &Channel) -> i32 {
        let mut proc = None;
        let made = self.enter(&mut proc).and_then(|terminal| {
            let master = terminal.as_ref().map(|console| console.master.as_fd());
            let fds: Vec<_> = master.into_iter().collect();
            channel
                .say_with(&Word::Ready, &fds)
                .step(|| "report".into())?;
            Ok(terminal)
        });
        let console = match made {
            Ok(console) => console,
            Err(error) => {
                let _ = channel.say(&Word::Failed(error.to_string()));
                return 1;
            }
        };
        let mut notice = String::new();
        loop {
            match channel.hear() {
                Ok(Some((Word::Start, _))) => break,
                Ok(Some((Word::Go(pid), _))) => notice = self.notice(&pid),
                _ => return 1,
            }
        }
        let Ok(channel) = rustix::io::fcntl_dupfd_cloexec(channel, 3) else {
            return 1;
        };
        let finish = Finish {
            process: self.plan,
            machine: self.machine,
            seccomp: self.seccomp,
            listener: self.listener,
            stdio: match &self.options.stdio {
                Stdio::Inherit => None,
                Stdio::Fds(input, output, error) => Some([input, output, error]),
            },
            terminal: console.map(|console| console.slave),
            working_directory: None,
            preserve_fds: self.options.preserve_fds,
            with_init: false,
            ends_with_parent: false,
            proc,
            hooks: None,
            state: String::new(),
            notice,
        };
        finish.run(Channel::new(channel))
    }

    /// What the seccomp listener is told of this process.
    fn notice(&self, pid: &str) -> String {
        let Target {
            spec,
            id,
            bundle,
            pid: first,
            ..
        } = self.target;
        let state = HookState::new(spec, id, "running", *first, bundle);
        notice(spec, pid.parse().unwrap_or(0), state)
    }

    /// `proc`: the caller's view of `/proc`, if the container's cannot be had.
    fn enter(&self, proc: &mut Option<OwnedFd>) -> Result<Option<crate::init::Console>, Error> {
        process::reset_signals().step(|| "reset signals".into())?;
        let affine = |words: &Option<Vec<u64>>| match words {
            Some(words) => process::set_affinity(words).step(|| "set the CPU affinity".into()),
            None => Ok(()),
        };
        affine(&self.plan.affinity.0)?;
        enter_cgroups(self.entrances)?;
        affine(&self.plan.affinity.1)?;
        if !self.options.no_new_keyring {
            join_keyring("exec")?;
        }
        let has_label = self.plan.apparmor_profile.is_some() || self.plan.selinux_label.is_some();
        if has_label && self.kinds.contains(Namespaces::USER) {
            // Root of a user namespace may mount no `/proc` that shows more than the one there.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let own = rustix::fs::open("/proc", flags, Mode::empty());
            *proc = Some(own.step(|| "open /proc".into())?);
        }
        // Before the container's other processes can see this one.
        process::set_dumpable(false).step(|| "hide from others".into())?;
        namespace::join(self.target.pidfd.as_fd(), self.kinds)
            .step(|| "join the container's namespaces".into())?;
        if self.kinds.contains(Namespaces::USER) {
            become_root()?;
            process::set_dumpable(false).step(|| "hide from others".into())?;
        }
        match self.plan.terminal {
            true => open_in_container(self.plan.console_size).map(Some),
            false => Ok(None),
        }
    }
}
