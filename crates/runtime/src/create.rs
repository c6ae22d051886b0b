//! Makes a container, from the outside.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use hull_oci::runtime::Spec;
use hull_sys::{
    files, idmap,
    namespace::{self, Namespaces},
    process::{self, Child, Clone},
};
use rustix::{
    fs::{FileType, Mode, OFlags, Uid, fchown, fstat},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
};

use crate::{
    Cgroup, CreateOptions, StartError,
    channel::{Channel, Word, create_error},
    error::{Context, Error, invalid},
    hooks::{self, HookState},
    init::{Init, Joined, RuntimeSide, name},
    net_devices::{self, NetDevices},
    options::{Root, StartSignal, Stdio},
    plan::{
        MachinePlan, NamespacePlan, ProcessPlan, mappings, plan_machine, plan_namespaces,
        plan_process,
    },
    prepare,
    seccomp::{self, Program},
    undo::Undo,
};

/// What a container whose making failed may take to leave its cgroup.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// A container that waits for its start.
#[derive(Debug)]
pub struct Created {
    /// Process 1, in the caller's pid namespace. The caller is its parent and reaps it.
    pub pid: i32,
    /// The same process; readable once it ended.
    pub pidfd: OwnedFd,
    /// The terminal's master, if the process has a terminal.
    pub console: Option<OwnedFd>,
    /// The container's cgroup. Dropping it removes nothing.
    pub cgroup: Cgroup,
    channel: Option<Channel>,
}

impl Created {
    /// Lets the program start, and waits until it was executed or could not be. In the latter case
    /// the process has ended.
    pub fn start(&mut self) -> Result<(), StartError> {
        let channel = self.channel.take();
        let channel =
            channel.ok_or_else(|| StartError::State("the container was started".into()))?;
        channel.start()
    }

    /// From now on a container made with [`StartSignal::Listener`] outlives its maker. Until then it ends
    /// with it: nobody else knows of it.
    pub fn keep(&mut self) -> Result<(), StartError> {
        let gone = |_| StartError::State("the container's process is gone".into());
        match self.channel.take() {
            Some(channel) => channel.say(&Word::Start).map_err(gone),
            None => Ok(()),
        }
    }
}

/// Starts a container made with [`StartSignal::Listener`], through a connection to its socket.
pub fn start_through(connection: OwnedFd) -> Result<(), StartError> {
    Channel::new(connection).start()
}

/// Makes a container. On failure nothing of it is left.
pub fn create(options: CreateOptions<'_>) -> Result<Created, Error> {
    let mut plan = Plan::new(&options)?;
    let mut undo = Undo::default();
    let cgroup = make_cgroup(&options, &mut undo)?;
    let (ours, theirs) = Channel::pair().step(|| "make a channel".into())?;
    let joined = plan.open_joined(options.network_namespace)?;
    give_streams(
        options.spec,
        &plan.namespaces,
        &plan.process,
        &options.stdio,
    )?;
    let start = match &options.start {
        StartSignal::Here => None,
        StartSignal::Listener(socket) => Some(socket),
    };
    let entrances = match cgroup.group() {
        Some(group) if !group.is_v2() => group.entrances().step(|| "open the cgroup".into())?,
        _ => Vec::new(),
    };
    let init = Init {
        id: options.id,
        bundle: options.bundle,
        spec: options.spec,
        namespaces: &plan.namespaces,
        entrances: &entrances,
        cgroup: &cgroup,
        root: &plan.root,
        root_at: plan.root_at.as_deref(),
        mounts: &plan.mounts,
        process: &plan.process,
        machine: &plan.machine,
        seccomp: plan.seccomp.as_ref(),
        listener: plan.listener.as_ref(),
        stdio: match &options.stdio {
            Stdio::Inherit => None,
            Stdio::Fds(input, output, error) => Some([input, output, error]),
        },
        with_init: options.with_init,
        ends_with_caller: options.ends_with_caller,
        preserve_fds: options.preserve_fds,
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        start,
    };
    let child = Launch {
        spec: options.spec,
        init,
        joined: &joined,
        cgroup: &cgroup,
    }
    .launch(&ours, theirs)?;
    let Child { pid, pidfd } = child;
    let copy = rustix::io::fcntl_dupfd_cloexec(&pidfd, 3).step(|| "copy a pidfd".into())?;
    undo.push(move || {
        let _ = process::signal(&copy, libc::SIGKILL);
        let _ = process::wait(&copy);
    });
    map_users(pid, options.spec)?;
    net_devices::hand_on(&plan.net_devices, pid, &joined, &mut undo)?;
    let console = converse(&ours, pid, options.spec, options.id, options.bundle)?;
    apply_limits(pid, &plan.process)?;
    undo.keep();
    Ok(Created {
        pid,
        pidfd,
        console,
        cgroup,
        channel: Some(ours),
    })
}

/// Everything that is known before the first change.
struct Plan {
    namespaces: NamespacePlan,
    process: ProcessPlan,
    machine: MachinePlan,
    seccomp: Option<Program>,
    listener: Option<OwnedFd>,
    net_devices: NetDevices,
    root: OwnedFd,
    root_at: Option<std::path::PathBuf>,
    mounts: Vec<prepare::Prepared>,
}

impl Plan {
    fn new(options: &CreateOptions<'_>) -> Result<Self, Error> {
        let spec = options.spec;
        check_version(spec)?;
        let namespaces = plan_namespaces(spec)?;
        let process = spec
            .process()
            .as_ref()
            .ok_or_else(|| invalid("the spec has no process"))?;
        let process = plan_process(process)?;
        let seccomp = filter(spec, options.seccomp_program.as_deref())?;
        let listener = match &seccomp {
            Some(program) if program.needs_listener() => Some(connect_listener(spec)?),
            _ => None,
        };
        let hooked = spec.hooks().as_ref().is_some_and(|hooks| {
            hooks
                .create_container()
                .as_ref()
                .is_some_and(|list| !list.is_empty())
        });
        let root_at = match options.root {
            Root::Directory if hooked => Some(prepare::root_path(spec, options.bundle)?),
            _ => None,
        };
        let owners = prepare::Owners::of(spec, &namespaces);
        Ok(Self {
            process,
            machine: plan_machine(spec)?,
            seccomp,
            listener,
            net_devices: net_devices::plan(spec, &namespaces)?,
            root: prepare::root(spec, options.bundle, &options.root, &owners)?,
            root_at,
            mounts: prepare::mounts(spec, options.bundle, &owners)?,
            namespaces,
        })
    }

    /// `network` takes the place of whatever the spec says.
    fn open_joined(&mut self, network: Option<OwnedFd>) -> Result<Vec<Joined>, Error> {
        let mut files = Vec::new();
        if let Some(network) = network {
            self.namespaces.new = self.namespaces.new.without(Namespaces::NETWORK);
            self.namespaces
                .joined
                .retain(|(kind, _)| *kind != Namespaces::NETWORK);
            files.push((Namespaces::NETWORK, network));
        }
        for (kind, path) in &self.namespaces.joined {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let file = rustix::fs::open(path, flags, Mode::empty())
                .step(|| format!("open {} namespace {}", name(*kind), path.display()))?;
            files.push((*kind, file));
        }
        // The mount namespace last: paths of the host are gone after it.
        files.sort_by_key(|(kind, _)| *kind == Namespaces::MOUNT);
        Ok(files)
    }
}

fn check_version(spec: &Spec) -> Result<(), Error> {
    let version = spec.version();
    let mut parts = version.split(['.', '-', '+']);
    let major = parts.next().and_then(|part| part.parse::<u32>().ok());
    let minor = parts.next().and_then(|part| part.parse::<u32>().ok());
    match (major, minor) {
        (Some(1), Some(_)) => Ok(()),
        (Some(0), Some(_)) | (Some(_), Some(_)) => Err(Error::Unsupported(format!(
            "ociVersion {version} is not supported, only 1.x is"
        ))),
        _ => Err(invalid(format!("ociVersion {version:?} is no version"))),
    }
}

/// The container's filter: the one at hand, or compiled now.
pub(crate) fn filter(spec: &Spec, at_hand: Option<&[u8]>) -> Result<Option<Program>, Error> {
    let section = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.seccomp().as_ref());
    let Some(section) = section else {
        return Ok(None);
    };
    if let Some(program) = at_hand.and_then(|bytes| Program::from_bytes(bytes).ok()) {
        return Ok(Some(program));
    }
    seccomp::compile(section).map(Some).map_err(invalid)
}

pub(crate) fn connect_listener(spec: &Spec) -> Result<OwnedFd, Error> {
    let section = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.seccomp().as_ref());
    let path = section.and_then(|section| section.listener_path().as_ref());
    let path =
        path.ok_or_else(|| invalid("the seccomp profile notifies, but names no listenerPath"))?;
    connect_to(path).step(|| format!("connect to the seccomp listener {}", path.display()))
}

pub(crate) fn connect_to(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn make_cgroup(options: &CreateOptions<'_>, undo: &mut Undo) -> Result<Cgroup, Error> {
    let linux = options.spec.linux().as_ref();
    let path = linux.and_then(|linux| linux.cgroups_path().as_ref());
    let path = path.filter(|path| !path.as_os_str().is_empty());
    let given = path.is_some();
    let path = path.map_or_else(
        || format!("/hull/{}", options.id),
        |path| path.to_string_lossy().into_owned(),
    );
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    match Cgroup::create(&path, resources) {
        Ok(cgroup) => {
            let copy = cgroup.clone();
            undo.push(move || {
                let _ = copy.remove(END_PATIENCE);
            });
            Ok(cgroup)
        }
        Err(Error::Step { .. }) if options.rootless && !given => Ok(Cgroup::NONE),
        Err(error) => Err(error),
    }
}

/// Starts the new process.
struct Launch<'a> {
    spec: &'a Spec,
    init: Init<'a>,
    joined: &'a [Joined],
    cgroup: &'a Cgroup,
}

impl Launch<'_> {
    fn launch(self, ours: &Channel, theirs: Channel) -> Result<Child, Error> {
        let new = self.init.namespaces.new;
        let user = new.contains(Namespaces::USER)
            || self
                .joined
                .iter()
                .any(|(kind, _)| *kind == Namespaces::USER);
        let restore = Restore::time(new, self.spec)?;
        let child = if user && !self.joined.is_empty() {
            self.launch_staged(ours, theirs)
        } else {
            let (pid, others): (Vec<&Joined>, Vec<&Joined>) = self
                .joined
                .iter()
                .partition(|(kind, _)| *kind == Namespaces::PID);
            let restore = pid
                .first()
                .map(|(_, file)| Restore::pid(file))
                .transpose()?;
            let made = self.clone_init(theirs, &others, &[ours.as_fd()], false);
            drop(restore);
            made
        };
        drop(restore);
        child
    }

    fn clone_init(
        &self,
        channel: Channel,
        joined: &[&Joined],
        close: &[BorrowedFd<'_>],
        sibling: bool,
    ) -> Result<Child, Error> {
        let later = Namespaces::CGROUP | Namespaces::TIME;
        let directory = match self.cgroup.group() {
            Some(group) if group.is_v2() && !sibling => {
                Some(group.open().step(|| "open the cgroup".into())?)
            }
            _ => None,
        };
        let clone = Clone {
            namespaces: self.init.namespaces.new.without(later),
            cgroup: directory.as_ref().map(AsFd::as_fd),
            sibling,
            close,
        };
        process::clone(&clone, || self.init.main(channel, joined)).step(|| "clone".into())
    }

    /// Some namespaces can only be joined before the user namespace is entered, others after; the
    /// rest is made by a second process.
    fn launch_staged(&self, ours: &Channel, theirs: Channel) -> Result<Child, Error> {
        let directory = match self.cgroup.group() {
            Some(group) if group.is_v2() => Some(group.open().step(|| "open the cgroup".into())?),
            _ => None,
        };
        let cgroup = directory.as_ref().map(AsFd::as_fd);
        let close = [ours.as_fd()];
        let clone = Clone {
            cgroup,
            close: &close,
            ..Clone::default()
        };
        let stage = process::clone(&clone, || {
            match self.join_all().and_then(|()| self.second_stage(&theirs)) {
                Ok(()) => 0,
                Err(error) => {
                    let _ = theirs.say(&Word::Failed(error.to_string()));
                    1
                }
            }
        })
        .step(|| "clone".into())?;
        drop(theirs);
        let heard = hear_pid(ours);
        process::wait(&stage.pidfd).step(|| "wait for the first stage".into())?;
        let pid = heard?;
        let pidfd = process::open(pid).step(|| "open the new process".into())?;
        Ok(Child { pid, pidfd })
    }

    fn join_all(&self) -> Result<(), Error> {
        crate::init::enter_cgroups(self.init.entrances)?;
        let mut later = Vec::new();
        let is_user = |kind: Namespaces| kind == Namespaces::USER;
        for (kind, file) in self.joined.iter().filter(|(kind, _)| !is_user(*kind)) {
            if namespace::join(file.as_fd(), *kind).is_err() {
                later.push((*kind, file));
            }
        }
        let user = self.joined.iter().find(|(kind, _)| is_user(*kind));
        for (kind, file) in user.iter().map(|(kind, file)| (*kind, file)).chain(later) {
            namespace::join(file.as_fd(), kind)
                .step(|| format!("join {} namespace", name(kind)))?;
        }
        Ok(())
    }

    fn second_stage(&self, channel: &Channel) -> Result<(), Error> {
        let copy = rustix::io::fcntl_dupfd_cloexec(channel, 3).step(|| "copy a channel".into())?;
        let child = self.clone_init(Channel::new(copy), &[], &[], true)?;
        channel
            .say(&Word::Pid(child.pid.to_string()))
            .step(|| "report".into())
    }
}

/// The pid of the process that the first stage made. That process talks on the same channel, and may
/// be quicker than its maker.
fn hear_pid(ours: &Channel) -> Result<i32, Error> {
    let mut early = None;
    loop {
        let heard = ours.hear().step(|| "wait for the first stage".into())?;
        match (heard, early.take()) {
            (Some((Word::Pid(pid), _)), before) => {
                if let Some(before) = before {
                    ours.hear_again(before);
                }
                return pid.parse().map_err(invalid);
            }
            (Some(heard), None) => early = Some(heard),
            (_, Some((word, _))) => return Err(create_error(word)),
            (None, None) => {
                return Err(Error::Inside("the first stage ended without a word".into()));
            }
        }
    }
}

/// Brings the caller's later children back to its own namespace when dropped.
pub(crate) struct Restore(Option<(Namespaces, OwnedFd)>);

impl Restore {
    /// Children go to the pid namespace of `file`, a file of `/proc/PID/ns` or a pidfd.
    pub(crate) fn pid(file: &OwnedFd) -> Result<Self, Error> {
        let own = own("pid")?;
        namespace::join(file.as_fd(), Namespaces::PID).step(|| "join pid namespace".into())?;
        Ok(Self(Some((Namespaces::PID, own))))
    }

    /// Children go to a new time namespace, whose clocks can only be set while nobody is in it.
    fn time(new: Namespaces, spec: &Spec) -> Result<Self, Error> {
        if !new.contains(Namespaces::TIME) {
            return Ok(Self(None));
        }
        let own = own("time")?;
        namespace::unshare(Namespaces::TIME).step(|| "unshare time namespace".into())?;
        let restore = Self(Some((Namespaces::TIME, own)));
        let offsets = spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.time_offsets().as_ref());
        let text: String = offsets
            .into_iter()
            .flatten()
            .map(|(clock, offset)| {
                let (secs, nanos) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
                format!("{clock} {secs} {nanos}\n")
            })
            .collect();
        if !text.is_empty() {
            files::write_file(Path::new("/proc/self/timens_offsets"), text.as_bytes())
                .step(|| "set time offsets".into())?;
        }
        Ok(restore)
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some((kind, file)) = self.0.take() {
            let _ = namespace::join(file.as_fd(), kind);
        }
    }
}

fn own(name: &str) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(format!("/proc/self/ns/{name}"), flags, Mode::empty())
        .step(|| format!("open own {name} namespace"))
}

/// The maker's side of the conversation, until all is made. Returns the terminal.
fn converse(
    channel: &Channel,
    pid: i32,
    spec: &Spec,
    id: &str,
    bundle: &Path,
) -> Result<Option<OwnedFd>, Error> {
    // Not everybody listens; who does not may have failed already, and is heard below.
    let _ = channel.say(&Word::Go(pid.to_string()));
    loop {
        match channel.hear().step(|| "wait for the container".into())? {
            Some((Word::Ready, mut fds)) => return Ok(fds.pop()),
            Some((Word::Hooks, _)) => {
                let state = HookState::new(spec, id, "creating", pid, bundle).json();
                run_runtime_side(spec, &state)?;
                channel
                    .say(&Word::Go(pid.to_string()))
                    .step(|| "answer the container".into())?;
            }
            Some((word, _)) => return Err(create_error(word)),
            None => {
                return Err(Error::Inside(
                    "the container's process ended unexpectedly".into(),
                ));
            }
        }
    }
}

fn run_runtime_side(spec: &Spec, state: &str) -> Result<(), Error> {
    let Some(list) = spec.hooks().as_ref().filter(|list| list.has_runtime_side()) else {
        return Ok(());
    };
    hooks::run(list.prestart().as_ref(), "prestart", state)?;
    hooks::run(list.create_runtime().as_ref(), "createRuntime", state)
}

fn map_users(pid: i32, spec: &Spec) -> Result<(), Error> {
    let linux = spec.linux().as_ref();
    let users = mappings(linux.and_then(|linux| linux.uid_mappings().as_ref()));
    let groups = mappings(linux.and_then(|linux| linux.gid_mappings().as_ref()));
    let new = plan_namespaces(spec)?.new.contains(Namespaces::USER);
    if !new {
        return Ok(());
    }
    // Whoever may not map groups freely must first give up changing them.
    let deny = !rustix::process::geteuid().is_root();
    idmap::write(pid, &users, &groups, deny).step(|| "map users and groups".into())
}

/// Gives pipes and sockets to the process's user, so that it can open `/dev/stdout` anew. In a user
/// namespace of its own it could not take them.
pub(crate) fn give_streams(
    spec: &Spec,
    namespaces: &NamespacePlan,
    process: &ProcessPlan,
    stdio: &Stdio,
) -> Result<(), Error> {
    let Stdio::Fds(input, output, error) = stdio else {
        return Ok(());
    };
    if !namespaces.has(Namespaces::USER) {
        return Ok(());
    }
    let linux = spec.linux().as_ref();
    let users = mappings(linux.and_then(|linux| linux.uid_mappings().as_ref()));
    let Some(user) = idmap::outside(&users, process.user) else {
        return Ok(());
    };
    for stream in [input, output, error] {
        let mode = fstat(stream).step(|| "look at a stream".into())?.st_mode;
        let kind = FileType::from_raw_mode(mode);
        if matches!(kind, FileType::Fifo | FileType::Socket) {
            fchown(stream, Some(Uid::from_raw(user)), None).step(|| "give a stream away".into())?;
        }
    }
    Ok(())
}

/// With the maker's rights: the process itself may have none to raise them.
pub(crate) fn apply_limits(pid: i32, plan: &ProcessPlan) -> Result<(), Error> {
    for (resource, soft, hard) in &plan.limits {
        process::set_limit_of(pid, *resource, *soft, *hard)
            .step(|| format!("set rlimit {resource} to {soft}:{hard}"))?;
    }
    if let Some(score) = plan.oom_score_adj {
        let path = format!("/proc/{pid}/oom_score_adj");
        let current = files::read_text(Path::new(&path)).unwrap_or_default();
        if current.trim() != score.to_string() {
            files::write_file(Path::new(&path), score.to_string().as_bytes())
                .step(|| format!("set oom_score_adj to {score}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_quicker_than_its_maker_is_heard_in_turn() {
        let (ours, theirs) = Channel::pair().unwrap();
        theirs.say(&Word::Ready).unwrap();
        theirs.say(&Word::Pid("7".to_owned())).unwrap();
        assert_eq!(hear_pid(&ours).unwrap(), 7);
        assert_eq!(ours.hear().unwrap().unwrap().0, Word::Ready);
        theirs.say(&Word::Failed("no room".to_owned())).unwrap();
        drop(theirs);
        let error = hear_pid(&ours).unwrap_err();
        assert!(error.to_string().contains("no room"), "{error}");
    }
}
