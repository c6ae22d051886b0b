//! A container's cgroup: what OCI calls resources, and what became of them.
//!
//! [`settings`] decides which files say it, for v1 and v2; [`Cgroup`] writes them and reads back.

mod settings;
mod stats;

pub use stats::{
    BlockIo, BlockIoEntry, Cpu, HugePages, Memory, Pids, Pressure, PressureLine, Stats,
};

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use hull_oci::runtime::LinuxResources;
use hull_sys::{
    bpf,
    cgroup::{Group, Host},
    process,
};
use serde::{Deserialize, Serialize};

use crate::{
    device_filter::DevicePolicy,
    error::{Context, Error, invalid, unsupported},
};
use settings::Setting;

/// How long processes may take to stand still: one may wait for a disk.
const FREEZE_PATIENCE: Duration = Duration::from_secs(10);

/// Pause between two looks at something that ends soon.
const POLL_PAUSE: Duration = Duration::from_millis(1);

/// A container's cgroup, v1 or v2; or none at all, where the caller may not make one.
#[derive(Debug, Clone)]
pub struct Cgroup {
    group: Option<Group>,
}

/// Whether a pause is in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Freezer {
    /// Processes run.
    Thawed,
    /// Processes stand still, or are about to.
    Frozen,
}

impl Cgroup {
    /// The cgroup at `path` below the mounts, which may not exist.
    pub fn open(path: &str) -> Result<Self, Error> {
        let host = Host::detect().step(|| "look for cgroups".into())?;
        let group = Group::new(&host, path).map_err(invalid)?;
        Ok(Self { group: Some(group) })
    }

    /// No cgroup: every question gets an empty answer, every limit a refusal.
    pub const NONE: Self = Self { group: None };

    /// Makes it, empty, with its limits. On failure it is gone again.
    pub(crate) fn create(path: &str, resources: Option<&LinuxResources>) -> Result<Self, Error> {
        let cgroup = Self::open(path)?;
        let group = cgroup.required()?;
        if !group.processes(true).unwrap_or_default().is_empty() {
            return Err(Error::State(format!("cgroup {path} is not empty")));
        }
        if group.exists() {
            // What an earlier run left has its limits, and may be frozen.
            let _ = group.remove(Duration::ZERO);
        }
        group.create().step(|| format!("create cgroup {path}"))?;
        let none = LinuxResources::default();
        let resources = resources.unwrap_or(&none);
        let result = cgroup
            .apply(resources)
            .and_then(|()| cgroup.apply_first_devices(resources));
        if let Err(error) = result {
            let _ = cgroup.remove(Duration::ZERO);
            return Err(error);
        }
        Ok(cgroup)
    }

    /// Its path below the cgroup mounts; empty if there is none.
    pub fn path(&self) -> &str {
        self.group.as_ref().map_or("", Group::path)
    }

    /// Its directories, if it has any.
    pub(crate) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    fn required(&self) -> Result<&Group, Error> {
        self.group
            .as_ref()
            .ok_or_else(|| unsupported("the container has no cgroup"))
    }

    /// Changes limits; what `resources` does not mention stays.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), Error> {
        let memory = resources.memory().as_ref();
        if let Some(limit) = memory.filter(|m| m.check_before_update() == Some(true)) {
            let usage = self.stats()?.memory.usage;
            let limit = limit.limit().and_then(|limit| u64::try_from(limit).ok());
            if limit.is_some_and(|limit| limit < usage) {
                return Err(invalid(format!(
                    "the memory limit is below what is in use ({usage})"
                )));
            }
        }
        self.apply(resources)?;
        if speaks_of_devices(resources) {
            self.apply_devices(resources)?;
        }
        Ok(())
    }

    /// Some values are only taken once another one changed (a limit and that of the swap with it,
    /// a quota and its period): what was refused is tried once more after the rest.
    fn apply(&self, resources: &LinuxResources) -> Result<(), Error> {
        let group = self.required()?;
        let mut refused = Vec::new();
        for setting in settings::settings(resources, group.is_v2())? {
            if let Err(error) = write(group, &setting) {
                if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EBUSY)) {
                    refused.push(setting);
                } else {
                    return Err(refusal(&setting, error));
                }
            }
        }
        for setting in refused {
            write(group, &setting).map_err(|error| refusal(&setting, error))?;
        }
        Ok(())
    }

    fn apply_first_devices(&self, resources: &LinuxResources) -> Result<(), Error> {
        match self.apply_devices(resources) {
            // Not asked for, and whoever may not limit devices can make no nodes for them.
            Err(error)
                if !speaks_of_devices(resources)
                    && matches!(error.errno(), Some(libc::EPERM | libc::EACCES)) =>
            {
                Ok(())
            }
            applied => applied,
        }
    }

    fn apply_devices(&self, resources: &LinuxResources) -> Result<(), Error> {
        let group = self.required()?;
        let rules = settings::device_rules(resources);
        let policy = DevicePolicy::from_rules(&rules).map_err(invalid)?;
        if group.is_v2() {
            let directory = group.open().step(|| "open cgroup".into())?;
            let program = bpf::Program::load_cgroup_device(&policy.v2_program())
                .step(|| "load the device filter".into())?;
            return bpf::replace_device_programs(directory.as_fd(), &program)
                .step(|| "attach the device filter".into());
        }
        for line in policy.v1_lines() {
            group
                .write("devices", line.file, &line.text)
                .step(|| format!("write {:?} to {}", line.text, line.file))?;
        }
        Ok(())
    }

    /// The pids in it and below, in the caller's pid namespace.
    pub fn processes(&self) -> Result<Vec<i32>, Error> {
        match &self.group {
            Some(group) if group.exists() => group
                .processes(true)
                .step(|| format!("list cgroup {}", group.path())),
            _ => Ok(Vec::new()),
        }
    }

    /// Sends a signal to every process in it and below. `SIGKILL` leaves none, not even new ones.
    pub fn signal_all(&self, signal: i32) -> Result<(), Error> {
        let Some(group) = self.group.as_ref().filter(|group| group.exists()) else {
            return Ok(());
        };
        if signal == libc::SIGKILL && group.is_v2() && group.write("", "cgroup.kill", "1").is_ok() {
            return Ok(());
        }
        // As a rule the first process took all others along.
        if signal == libc::SIGKILL && self.processes()?.is_empty() {
            return Ok(());
        }
        // Nobody can fork out of a still crowd. A frozen process of v1 dies only once it is thawed.
        let frozen = self.freezer()? == Freezer::Frozen;
        let freeze = signal == libc::SIGKILL && !frozen && self.freeze().is_ok();
        let result = self.signal_each(signal);
        if freeze || (frozen && signal == libc::SIGKILL) {
            self.thaw()?;
        }
        result
    }

    fn signal_each(&self, signal: i32) -> Result<(), Error> {
        for pid in self.processes()? {
            match process::signal_pid(pid, signal) {
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                    return Err(error).step(|| format!("send signal {signal} to process {pid}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Stops every process, and returns once they stand still.
    pub fn freeze(&self) -> Result<(), Error> {
        let group = self.required()?;
        let deadline = Instant::now() + FREEZE_PATIENCE;
        self.set_frozen(group, true)?;
        loop {
            let still = if group.is_v2() {
                let events = group
                    .read("", "cgroup.events")
                    .step(|| "read cgroup.events".into())?;
                events.lines().any(|line| line == "frozen 1")
            } else {
                let state = group.read("freezer", "freezer.state");
                state.step(|| "read freezer.state".into())?.trim() == "FROZEN"
            };
            if still {
                return Ok(());
            }
            if Instant::now() >= deadline {
                self.thaw()?;
                let error = io::Error::from(io::ErrorKind::TimedOut);
                return Err(error).step(|| "freeze the container".into());
            }
            thread::sleep(POLL_PAUSE);
            if !group.is_v2() {
                self.set_frozen(group, true)?; // v1 may have met a process in a fork
            }
        }
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<(), Error> {
        self.set_frozen(self.required()?, false)
    }

    fn set_frozen(&self, group: &Group, frozen: bool) -> Result<(), Error> {
        let result = match (group.is_v2(), frozen) {
            (true, frozen) => group.write("", "cgroup.freeze", if frozen { "1" } else { "0" }),
            (false, true) => group.write("freezer", "freezer.state", "FROZEN"),
            (false, false) => group.write("freezer", "freezer.state", "THAWED"),
        };
        result.step(|| format!("{} the container", if frozen { "freeze" } else { "thaw" }))
    }

    /// Whether a pause is in effect.
    pub fn freezer(&self) -> Result<Freezer, Error> {
        let Some(group) = &self.group else {
            return Ok(Freezer::Thawed);
        };
        let frozen = if group.is_v2() {
            group
                .read("", "cgroup.freeze")
                .is_ok_and(|text| text.trim() == "1")
        } else {
            group
                .read("freezer", "freezer.state")
                .is_ok_and(|text| text.trim() != "THAWED")
        };
        Ok(if frozen {
            Freezer::Frozen
        } else {
            Freezer::Thawed
        })
    }

    /// What its processes use.
    pub fn stats(&self) -> Result<Stats, Error> {
        Ok(self.group.as_ref().map(stats::read).unwrap_or_default())
    }

    /// A descriptor to poll: for reading with cgroup v1 (an eventfd), for `POLLPRI` with v2
    /// (`memory.events`). After it fired, [`out_of_memory_kills`](Self::out_of_memory_kills) tells.
    pub fn watch_out_of_memory(&self) -> Result<OwnedFd, Error> {
        let group = self.required()?;
        let directory = group.directory("memory");
        let directory = directory.ok_or_else(|| unsupported("this host has no memory cgroup"))?;
        watch(directory, group.is_v2()).step(|| "watch for a lack of memory".into())
    }

    /// How many processes the kernel killed for want of memory.
    pub fn out_of_memory_kills(&self) -> Result<u64, Error> {
        let Some(group) = &self.group else {
            return Ok(0);
        };
        let file = if group.is_v2() {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let text = group.read("memory", file).step(|| format!("read {file}"))?;
        Ok(stats::keyed(&text, "oom_kill").unwrap_or(0))
    }

    /// Removes it and all below; waits up to `patience` for processes that are just ending.
    pub fn remove(&self, patience: Duration) -> Result<(), Error> {
        match &self.group {
            Some(group) => group
                .remove(patience)
                .map_err(|error| Error::Inside(error.to_string())),
            None => Ok(()),
        }
    }
}

fn watch(directory: &Path, v2: bool) -> io::Result<OwnedFd> {
    if v2 {
        return Ok(File::open(directory.join("memory.events"))?.into());
    }
    use std::os::fd::AsRawFd;
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
    let control = File::open(directory.join("memory.oom_control"))?;
    let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    hull_sys::files::write_file(&directory.join("cgroup.event_control"), line.as_bytes())?;
    Ok(event)
}

fn speaks_of_devices(resources: &LinuxResources) -> bool {
    resources
        .devices()
        .as_ref()
        .is_some_and(|rules| !rules.is_empty())
}

fn write(group: &Group, setting: &Setting) -> io::Result<()> {
    let (controller, file) = (&setting.controller, &setting.file);
    let value = match setting.value.strip_prefix(settings::KEPT) {
        Some(rest) => {
            let now = group.read(controller, file)?;
            let first = now.split_whitespace().next().unwrap_or("max");
            format!("{first}{rest}")
        }
        None => setting.value.clone(),
    };
    match group.write(controller, file, &value) {
        Err(_) if setting.optional => Ok(()),
        // Where the kernel does not count swap there is none to refuse, and no limit to lift.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && file == "memory.swap.max"
                && matches!(value.as_str(), "0" | "max") =>
        {
            Ok(())
        }
        result => result,
    }
}

fn refusal(setting: &Setting, error: io::Error) -> Error {
    Error::Step {
        step: format!("set {} to {:?}", setting.file, setting.value),
        source: error,
    }
}
