//! The last steps of every process of a container: streams, labels, identity, capabilities, filter,
//! program.
//!
//! What needs privileges comes first. The filter comes as late as it can: before it only what it
//! must not forbid, after it only what every program needs as well.

use std::{
    ffi::{CStr, CString},
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use hull_oci::runtime::Hook;
use hull_sys::{
    capability::{self, Capability, CapabilitySet},
    fdpass, files,
    mount::{FileSystem, attr},
    process,
    seccomp::set_no_new_privileges,
};
use rustix::{
    fs::{Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, accessat, fstat, statat},
    io::Errno,
};

use super::reaper;
use crate::{
    channel::{Channel, Word},
    error::{Context, Error},
    hooks,
    plan::{MachinePlan, ProcessPlan},
    seccomp::Program,
};

const DEFAULT_UMASK: u32 = 0o022;

/// Lists of users are read so far.
const PASSWD_BYTES_MAX: u64 = 1 << 20;

/// The first descriptor after those that every process has.
const FIRST_PRESERVED: u32 = 3;

/// What stays behind as the container's first process passes signals on and needs nothing more:
/// tracing it must gain nothing.
fn confine(filter: Option<&Program>) -> Result<(), Error> {
    let kill: CapabilitySet = Capability::from_name("KILL").into_iter().collect();
    let own = capability::current().step(|| "read capabilities".into())?;
    let kill = kill.intersection(own.permitted);
    capability::limit_bounding(CapabilitySet::EMPTY).step(|| "limit capabilities".into())?;
    set_no_new_privileges().step(|| "set no_new_privs".into())?;
    capability::set_thread(kill, kill, CapabilitySet::EMPTY).step(|| "set capabilities".into())?;
    if let Some(filter) = filter.filter(|filter| !filter.needs_listener()) {
        filter
            .install()
            .step(|| "install the seccomp filter".into())?;
    }
    Ok(())
}

/// What is left to do.
pub(crate) struct Finish<'a> {
    pub(crate) process: &'a ProcessPlan,
    pub(crate) machine: &'a MachinePlan,
    pub(crate) seccomp: Option<&'a Program>,
    pub(crate) listener: Option<&'a OwnedFd>,
    pub(crate) stdio: Option<[&'a OwnedFd; 3]>,
    pub(crate) terminal: Option<OwnedFd>,
    /// `None`: to be looked up in the container the process has entered.
    pub(crate) working_directory: Option<OwnedFd>,
    pub(crate) preserve_fds: u32,
    pub(crate) with_init: bool,
    pub(crate) ends_with_parent: bool,
    /// `None`: to be mounted if it is needed.
    pub(crate) proc: Option<OwnedFd>,
    pub(crate) hooks: Option<&'a Vec<Hook>>,
    /// What hooks read.
    pub(crate) state: String,
    /// What the seccomp listener is told.
    pub(crate) notice: String,
}

impl Finish<'_> {
    /// Returns an exit code if there is no program to run; then the other end was told why.
    pub(crate) fn run(self, channel: Channel) -> i32 {
        if self.with_init {
            if let Err(error) = self.tie_to_parent() {
                let _ = channel.say(&Word::Failed(error.to_string()));
                return 1;
            }
            let filter = self.seccomp;
            return reaper::run(move || self.execute(&channel), || confine(filter));
        }
        self.execute(&channel)
    }

    fn execute(&self, channel: &Channel) -> i32 {
        let env = self.environment();
        let word = match self.give_up_privileges() {
            Err(error) => Word::Failed(error.to_string()),
            Ok(()) => self.become_program(&env),
        };
        let code = match word {
            Word::NotFound(_) => 127,
            Word::NotExecutable(_) => 126,
            _ => 1,
        };
        let _ = channel.say(&word);
        code
    }

    /// With a home. The user may not be allowed to look it up, so it comes first.
    fn environment(&self) -> Vec<CString> {
        let mut env = self.process.env.clone();
        if !env
            .iter()
            .any(|variable| variable.as_bytes().starts_with(b"HOME="))
        {
            env.extend(CString::new(format!("HOME={}", home_of(self.process.user))));
        }
        env
    }

    fn give_up_privileges(&self) -> Result<(), Error> {
        let plan = self.process;
        self.connect_streams()?;
        self.set_labels()?;
        if let Some(schedule) = &plan.schedule {
            process::set_schedule(schedule).step(|| "set the scheduler".into())?;
        }
        if let Some((class, level)) = plan.io_priority {
            process::set_io_priority(class, level).step(|| "set the I/O priority".into())?;
        }
        if let Some(domain) = self.machine.personality {
            process::set_personality(domain).step(|| "set the personality".into())?;
        }
        if let Some((mode, nodes)) = &self.machine.memory {
            process::set_memory_policy(*mode, nodes).step(|| "set the memory policy".into())?;
        }
        if plan.no_new_privileges {
            set_no_new_privileges().step(|| "set no_new_privs".into())?;
        }
        rustix::process::umask(Mode::from_raw_mode(plan.umask.unwrap_or(DEFAULT_UMASK)));
        self.enter_working_directory()?;
        self.change_identity()?;
        self.tie_to_parent()?;
        if plan.no_new_privileges
            && let Some(filter) = self.seccomp
        {
            self.install(filter)?;
        }
        hooks::run(self.hooks, "startContainer", &self.state)
    }

    /// The kernel forgets it with every change of identity, so it comes after the last.
    fn tie_to_parent(&self) -> Result<(), Error> {
        if !self.ends_with_parent {
            return Ok(());
        }
        process::signal_on_parent_end(libc::SIGKILL).step(|| "tie to the parent".into())
    }

    fn connect_streams(&self) -> Result<(), Error> {
        // Fails for the leader of a group, which has its own session already.
        let _ = rustix::process::setsid();
        let step = || "connect the streams".into();
        if let Some(terminal) = &self.terminal {
            rustix::process::ioctl_tiocsctty(terminal).step(|| "take the terminal".into())?;
            return connect([terminal.as_fd(); 3])
                .step(step)
                .and_then(|()| self.own_streams());
        }
        if let Some(fds) = self.stdio {
            connect(fds.map(AsFd::as_fd)).step(step)?;
        }
        self.own_streams()
    }

    /// So that the user can open `/dev/stdout` anew.
    fn own_streams(&self) -> Result<(), Error> {
        if self.process.user == 0 {
            return Ok(());
        }
        let fds = [
            rustix::stdio::stdin(),
            rustix::stdio::stdout(),
            rustix::stdio::stderr(),
        ];
        for fd in fds {
            let Ok(stat) = fstat(fd) else { continue };
            let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
                && stat.st_rdev == rustix::fs::makedev(1, 3);
            if is_null || stat.st_uid == self.process.user {
                continue;
            }
            let group = Gid::from_raw(stat.st_gid);
            // Not ours to give (a file of the host in a user namespace, a read-only one): it stays.
            let _ = rustix::fs::fchown(fd, Some(Uid::from_raw(self.process.user)), Some(group));
        }
        Ok(())
    }

    /// The security modules take the label of the next program from a file of `/proc`; of ours.
    fn set_labels(&self) -> Result<(), Error> {
        let plan = self.process;
        if plan.apparmor_profile.is_none() && plan.selinux_label.is_none() {
            return Ok(());
        }
        let private;
        let proc = match &self.proc {
            Some(proc) => proc.as_fd(),
            None => {
                let flags = attr::NOSUID | attr::NODEV | attr::NOEXEC;
                let mounted = FileSystem::new("proc").and_then(|proc| proc.mount(flags));
                private = mounted.step(|| "mount proc for labels".into())?;
                private.as_fd()
            }
        };
        if let Some(profile) = &plan.apparmor_profile {
            let text = format!("exec {profile}");
            files::write_beneath(proc, "thread-self/attr/apparmor/exec", text.as_bytes())
                .or_else(|_| files::write_beneath(proc, "thread-self/attr/exec", text.as_bytes()))
                .step(|| format!("apply AppArmor profile {profile}"))?;
        }
        if let Some(label) = &plan.selinux_label {
            files::write_beneath(proc, "thread-self/attr/exec", label.as_bytes())
                .step(|| format!("apply SELinux label {label}"))?;
        }
        Ok(())
    }

    fn enter_working_directory(&self) -> Result<(), Error> {
        let cwd = &self.process.cwd;
        let failed = || {
            format!(
                "chdir to cwd ({:?}) set in config.json failed",
                cwd.display().to_string()
            )
        };
        match &self.working_directory {
            Some(directory) => rustix::process::fchdir(directory).step(failed)?,
            None => rustix::process::chdir(cwd).step(failed)?,
        }
        // A directory outside the root, reached through somebody's open descriptor, has no path.
        let path = rustix::process::getcwd(Vec::new()).step(failed)?;
        if !path.to_bytes().starts_with(b"/") {
            let error = io::Error::from(Errno::NOENT);
            return Err(error).step(|| {
                "current working directory is outside of container mount namespace root".into()
            });
        }
        Ok(())
    }

    fn change_identity(&self) -> Result<(), Error> {
        let plan = self.process;
        let wanted = &plan.capabilities;
        let own = capability::current()
            .step(|| "read capabilities".into())?
            .permitted;
        let permitted = wanted.permitted.intersection(own);
        let effective = wanted.effective.intersection(permitted);
        let inheritable = wanted.inheritable.intersection(own);
        let ambient = wanted
            .ambient
            .intersection(permitted)
            .intersection(inheritable);

        capability::limit_bounding(wanted.bounding).step(|| "limit capabilities".into())?;
        capability::keep_on_user_change(true).step(|| "keep capabilities".into())?;
        let groups = &plan.additional_groups;
        process::set_ids(plan.user, plan.group, Some(groups))
            .or_else(|error| match groups.is_empty() {
                // The user namespace forbids to set groups; there are none to set.
                true => process::set_ids(plan.user, plan.group, None),
                false => Err(error),
            })
            .step(|| format!("set user and group to {}:{}", plan.user, plan.group))?;

        let last = |effective, permitted| {
            capability::set_thread(effective, permitted, inheritable)
                .step(|| "set capabilities".into())
        };
        // Without `no_new_privs` a filter takes a capability that is given up now.
        if let Some(filter) = self.seccomp.filter(|_| !plan.no_new_privileges) {
            let admin: CapabilitySet = Capability::from_name("SYS_ADMIN").into_iter().collect();
            let admin = admin.intersection(own);
            last(effective.union(admin), permitted.union(admin))?;
            self.install(filter)?;
        }
        last(effective, permitted)?;
        capability::set_ambient(ambient).step(|| "set ambient capabilities".into())
    }

    fn install(&self, filter: &Program) -> Result<(), Error> {
        let Some(listener) = filter
            .install()
            .step(|| "install the seccomp filter".into())?
        else {
            return Ok(());
        };
        let socket = self.listener.ok_or_else(|| {
            Error::Invalid("the seccomp profile notifies, but names no listenerPath".into())
        })?;
        fdpass::send(socket, self.notice.as_bytes(), &[listener.as_fd()])
            .step(|| "pass the seccomp listener on".into())?;
        Ok(())
    }

    /// Returns only if that failed.
    fn become_program(&self, env: &[CString]) -> Word {
        let plan = self.process;
        let name = plan.args.first().map_or(c"", CString::as_c_str);
        let path = match find(name, &plan.search) {
            Ok(path) => path,
            Err(word) => return word,
        };
        if let Err(error) =
            files::close_on_exec_from(FIRST_PRESERVED.saturating_add(self.preserve_fds))
        {
            return Word::Failed(format!("close descriptors: {error}"));
        }
        let error = process::execute(&path, &plan.args, env);
        let text = format!("exec {}: {}", path.to_string_lossy(), plain(&error));
        match error.raw_os_error() {
            Some(libc::ENOENT) => Word::NotFound(text),
            Some(libc::EACCES | libc::ENOEXEC | libc::EPERM | libc::EISDIR) => {
                Word::NotExecutable(text)
            }
            _ => Word::Failed(text),
        }
    }
}

/// Makes them descriptors 0, 1 and 2. None is below 3: the caller's own are there.
fn connect(fds: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    rustix::stdio::dup2_stdin(fds[0])?;
    rustix::stdio::dup2_stdout(fds[1])?;
    rustix::stdio::dup2_stderr(fds[2])?;
    Ok(())
}

/// As the container's own list of users has it; `/` if it has none.
fn home_of(user: u32) -> String {
    // The image chose what lies there: it may be no file, and of any size.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut bytes = Vec::new();
    if let Ok(file) = rustix::fs::open("/etc/passwd", flags, Mode::empty()).map(File::from)
        && file.metadata().is_ok_and(|found| found.is_file())
    {
        let _ = file.take(PASSWD_BYTES_MAX).read_to_end(&mut bytes);
    }
    home_in(&String::from_utf8_lossy(&bytes), user).unwrap_or_else(|| "/".to_owned())
}

fn home_in(users: &str, user: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (number, home) = (fields.get(2)?, fields.get(5)?);
        (number.parse() == Ok(user) && !home.is_empty()).then(|| (*home).to_owned())
    })
}

/// The kernel's words as programs in C print them, without the number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    let mut text = text[..end].to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

/// Whether there is a program; with the caller's rights, not yet the user's.
pub(super) fn look_for_program(plan: &ProcessPlan) -> Result<(), Word> {
    let name = plan.args.first().map_or(c"", CString::as_c_str);
    find(name, &plan.search).map(drop)
}

/// The program's file. Docker's clients tell the exit codes 126 and 127 by these texts.
fn find(name: &CStr, search: &str) -> Result<CString, Word> {
    let shown = name.to_string_lossy();
    if name.to_bytes().contains(&b'/') {
        return match examine(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(Errno::ISDIR) => Err(Word::NotExecutable(format!(
                "exec: \"{shown}\": is a directory: permission denied"
            ))),
            Err(Errno::ACCESS) => Err(Word::NotExecutable(format!(
                "exec: \"{shown}\": permission denied"
            ))),
            Err(error) => Err(Word::NotFound(format!(
                "exec: \"{shown}\": stat {shown}: {}",
                plain(&error.into())
            ))),
        };
    }
    let mut denied = false;
    for directory in search.split(':').filter(|directory| !directory.is_empty()) {
        let path = Path::new(directory).join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
            continue;
        };
        match examine(&path) {
            Ok(()) if !name.is_empty() => return Ok(path),
            Err(Errno::ACCESS) => denied = true,
            _ => {}
        }
    }
    if denied {
        return Err(Word::NotExecutable(format!(
            "exec: \"{shown}\": permission denied"
        )));
    }
    Err(Word::NotFound(format!(
        "exec: \"{shown}\": executable file not found in $PATH"
    )))
}

fn examine(path: &CStr) -> Result<(), Errno> {
    let stat = statat(CWD, path, AtFlags::empty())?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_the_one_of_the_users_number() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\nbad\nnone:x:5:5:::\nweb:x:1000:1000::/srv/web:\n";
        let home = |user| home_in(users, user);
        assert_eq!(home(0).as_deref(), Some("/root"));
        assert_eq!(home(1000).as_deref(), Some("/srv/web"));
        assert_eq!((home(5), home(7)), (None, None));
    }

    #[test]
    fn what_is_missing_and_what_may_not_run_are_told_apart() {
        let find = |name: &CStr| find(name, "/nowhere:/bin");
        assert_eq!(find(c"sh").unwrap().to_bytes(), b"/bin/sh");
        let text = "exec: \"foo-bar\": executable file not found in $PATH".to_owned();
        assert_eq!(find(c"foo-bar").unwrap_err(), Word::NotFound(text));
        let text = "exec: \"/etc\": is a directory: permission denied".to_owned();
        assert_eq!(find(c"/etc").unwrap_err(), Word::NotExecutable(text));
        let text = "exec: \"/nowhere/x\": stat /nowhere/x: no such file or directory".to_owned();
        assert_eq!(find(c"/nowhere/x").unwrap_err(), Word::NotFound(text));
        let text = "exec: \"/etc/passwd\": permission denied".to_owned();
        assert_eq!(find(c"/etc/passwd").unwrap_err(), Word::NotExecutable(text));
    }
}
