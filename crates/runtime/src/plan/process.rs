//! Everything about one process, in the forms the kernel takes.

use std::{
    ffi::CString,
    path::{Path, PathBuf},
};

use hull_oci::runtime::{
    Capability as OciCapability, IOPriorityClass, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    PosixRlimitType, Process,
};
use hull_sys::{
    capability::{Capability, CapabilitySet},
    process::Schedule,
};

use crate::error::{Error, invalid};

/// The five sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CapabilityPlan {
    pub(crate) bounding: CapabilitySet,
    pub(crate) effective: CapabilitySet,
    pub(crate) permitted: CapabilitySet,
    pub(crate) inheritable: CapabilitySet,
    pub(crate) ambient: CapabilitySet,
}

/// A resource's number, soft and hard limit.
pub(crate) type Limit = (u32, u64, u64);

/// One process, understood.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
    /// The value of `PATH`, where the program is looked for.
    pub(crate) search: String,
    pub(crate) cwd: PathBuf,
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) additional_groups: Vec<u32>,
    pub(crate) umask: Option<u32>,
    pub(crate) terminal: bool,
    /// Rows and columns.
    pub(crate) console_size: Option<(u16, u16)>,
    pub(crate) capabilities: CapabilityPlan,
    pub(crate) limits: Vec<Limit>,
    pub(crate) no_new_privileges: bool,
    pub(crate) apparmor_profile: Option<String>,
    pub(crate) selinux_label: Option<String>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) io_priority: Option<(u8, u16)>,
    pub(crate) schedule: Option<Schedule>,
    /// Processors before and after the process moved to its cgroup.
    pub(crate) affinity: (Option<Vec<u64>>, Option<Vec<u64>>),
}

pub(crate) fn plan_process(process: &Process) -> Result<ProcessPlan, Error> {
    let args = strings(process.args().iter().flatten(), "argument")?;
    if args.is_empty() {
        return Err(invalid("the process has no arguments"));
    }
    if !process.cwd().is_absolute() {
        return Err(invalid(format!(
            "the working directory `{}` is not an absolute path",
            process.cwd().display()
        )));
    }
    let user = process.user();
    let label = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (env, search) = environment(process)?;
    Ok(ProcessPlan {
        args,
        env,
        search,
        cwd: clean(process.cwd()),
        user: user.uid(),
        group: user.gid(),
        additional_groups: user.additional_gids().clone().unwrap_or_default(),
        umask: user.umask(),
        terminal: process.terminal().unwrap_or(false),
        console_size: process.console_size().map(|size| {
            let narrow = |value: u64| u16::try_from(value).unwrap_or(u16::MAX);
            (narrow(size.height()), narrow(size.width()))
        }),
        capabilities: capabilities(process),
        limits: limits(process)?,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        apparmor_profile: label(process.apparmor_profile()),
        selinux_label: label(process.selinux_label()),
        oom_score_adj: process.oom_score_adj(),
        io_priority: io_priority(process)?,
        schedule: schedule(process)?,
        affinity: affinity(process)?,
    })
}

/// Without `.` and with `..` taken back, so that what is missing of it can be made.
fn clean(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(part) => out.push(part),
            Component::ParentDir => {
                out.pop();
            }
            _ => {}
        }
    }
    out
}

fn strings<'a>(list: impl Iterator<Item = &'a String>, what: &str) -> Result<Vec<CString>, Error> {
    list.map(|text| {
        CString::new(text.as_str()).map_err(|_| invalid(format!("an {what} contains a zero byte")))
    })
    .collect()
}

/// The last of several variables of a name counts. A `HOME` that is missing is looked up in the container.
fn environment(process: &Process) -> Result<(Vec<CString>, String), Error> {
    const DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let env = process.env().as_deref().unwrap_or_default();
    let search = env
        .iter()
        .rev()
        .find_map(|variable| variable.strip_prefix("PATH="));
    let search = search.unwrap_or(DEFAULT).to_owned();
    Ok((strings(env.iter(), "environment variable")?, search))
}

fn capabilities(process: &Process) -> CapabilityPlan {
    let Some(sets) = process.capabilities() else {
        return CapabilityPlan::default();
    };
    let known = hull_sys::capability::supported();
    let convert = |set: &Option<std::collections::HashSet<OciCapability>>| -> CapabilitySet {
        set.iter()
            .flatten()
            .filter_map(|capability| Capability::from_name(&capability.to_string()))
            .filter(|capability| known.iter().any(|known| known == *capability))
            .collect()
    };
    CapabilityPlan {
        bounding: convert(sets.bounding()),
        effective: convert(sets.effective()),
        permitted: convert(sets.permitted()),
        inheritable: convert(sets.inheritable()),
        ambient: convert(sets.ambient()),
    }
}

fn limits(process: &Process) -> Result<Vec<Limit>, Error> {
    let mut limits: Vec<Limit> = Vec::new();
    for limit in process.rlimits().iter().flatten() {
        let number = resource(limit.typ());
        if limits.iter().any(|(other, ..)| *other == number) {
            return Err(invalid(format!("rlimit {} is listed twice", limit.typ())));
        }
        limits.push((number, limit.soft(), limit.hard()));
    }
    Ok(limits)
}

fn resource(kind: PosixRlimitType) -> u32 {
    match kind {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
    }
}

fn io_priority(process: &Process) -> Result<Option<(u8, u16)>, Error> {
    let Some(priority) = process.io_priority() else {
        return Ok(None);
    };
    let class = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = u16::try_from(priority.priority())
        .ok()
        .filter(|level| *level < 8);
    let level = level.ok_or_else(|| invalid("the I/O priority is not within 0 … 7"))?;
    Ok(Some((class, level)))
}

fn schedule(process: &Process) -> Result<Option<Schedule>, Error> {
    let Some(scheduler) = process.scheduler() else {
        return Ok(None);
    };
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flag = |flag: &LinuxSchedulerFlag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01_u64,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    };
    let priority = u32::try_from(scheduler.priority().unwrap_or(0));
    Ok(Some(Schedule {
        policy,
        flags: scheduler.flags().iter().flatten().map(flag).sum(),
        nice: scheduler.nice().unwrap_or(0),
        priority: priority.map_err(|_| invalid("the scheduler's priority is negative"))?,
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
    }))
}

type Processors = Option<Vec<u64>>;

fn affinity(process: &Process) -> Result<(Processors, Processors), Error> {
    let Some(affinity) = process.exec_cpu_affinity() else {
        return Ok((None, None));
    };
    let words = |list: &Option<String>| match list.as_deref().filter(|list| !list.is_empty()) {
        Some(list) => bit_list(list).map(Some),
        None => Ok(None),
    };
    Ok((
        words(affinity.initial())?,
        words(affinity.cpu_affinity_final())?,
    ))
}

/// `0-3,7` as bits. Numbers stay below the kernel's own limit.
pub(crate) fn bit_list(list: &str) -> Result<Vec<u64>, Error> {
    const NUMBER_MAX: usize = 8192;
    let mut words = Vec::new();
    for part in list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            text.trim()
                .parse::<usize>()
                .ok()
                .filter(|n| *n < NUMBER_MAX)
        };
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(invalid(format!("`{list}` is no list of numbers")));
        };
        for bit in first..=last {
            if words.len() <= bit / 64 {
                words.resize(bit / 64 + 1, 0);
            }
            words[bit / 64] |= 1 << (bit % 64);
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rest: &str) -> Result<ProcessPlan, Error> {
        let text = format!(r#"{{"user":{{"uid":0,"gid":0}},"cwd":"/a/../b/.",{rest}}}"#);
        plan_process(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_limit_given_twice_is_refused() {
        let limit = r#"{"type":"RLIMIT_NOFILE","soft":1,"hard":2}"#;
        assert_eq!(
            plan(&format!(r#""args":["x"],"rlimits":[{limit}]"#))
                .unwrap()
                .limits,
            [(libc::RLIMIT_NOFILE, 1, 2)]
        );
        assert!(plan(&format!(r#""args":["x"],"rlimits":[{limit},{limit}]"#)).is_err());
    }

    #[test]
    fn the_last_path_counts_and_the_directory_is_cleaned() {
        let plan = plan(r#""args":["x"],"env":["PATH=/a","PATH=/b"]"#).unwrap();
        assert_eq!(plan.search, "/b");
        assert_eq!(plan.cwd, Path::new("/b"));
    }

    #[test]
    fn lists_of_processors_become_bits() {
        assert_eq!(bit_list("0-3,7, 64").unwrap(), [0b1000_1111, 1]);
        assert!(bit_list("a").is_err());
        assert!(bit_list("99999").is_err());
    }

    #[test]
    fn a_process_needs_arguments() {
        assert!(plan(r#""args":[]"#).is_err());
        assert!(plan(r#""args":["a\u0000b"]"#).is_err());
    }
}
