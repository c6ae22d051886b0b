//! What a profile decides, for every call number of every architecture.

use std::collections::BTreeMap;

use hull_oci::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};
use hull_sys::seccomp::Flags;

use super::table::{self, ARM_PRIVATE, Architecture, X32_BIT};

/// What a process needs between its filter and the listener's hearing of it: the calls that send the
/// descriptor, and those that say what went wrong.
const NOT_NOTIFIED: [&str; 2] = ["write", "sendmsg"];

/// The profile cannot be compiled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompileError {
    /// The kernel takes at most 4096 instructions.
    #[error("seccomp profile needs {0} instructions, the kernel takes 4096")]
    TooLong(usize),
    /// A system call has six arguments.
    #[error("seccomp rule for {name} compares argument {index}, the last one is 5")]
    ArgumentIndex {
        /// The call.
        name: String,
        /// From 0.
        index: usize,
    },
    /// Does not fit in a filter's answer.
    #[error("seccomp profile returns error number {0}, the largest is 65535")]
    ErrorNumber(u32),
    /// Every call of the process that installs the filter would wait for a listener.
    #[error("SCMP_ACT_NOTIFY cannot be the default action of a seccomp profile")]
    NotifyByDefault,
    /// The descriptor could not be sent to the listener.
    #[error("SCMP_ACT_NOTIFY cannot be used for the {0} system call")]
    NotifyOwn(String),
    /// Nobody would listen.
    #[error("seccomp profile uses SCMP_ACT_NOTIFY but names no listenerPath")]
    NoListener,
}

/// What to assemble.
pub(super) struct Plan {
    pub(super) sections: Vec<Section>,
    pub(super) flags: Flags,
    pub(super) skipped_names: Vec<String>,
}

/// All calls with one value of `seccomp_data.arch`.
pub(super) struct Section {
    pub(super) audit: u32,
    /// By their first number; each holds up to the next one's. The first starts at 0.
    pub(super) ranges: Vec<(u32, Outcome)>,
}

/// What a call's answer is (`SECCOMP_RET_*` with its data).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Always(u32),
    /// The first case that holds decides.
    Cases {
        cases: Vec<Case>,
        otherwise: u32,
    },
}

/// All conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Case {
    pub(super) conditions: Vec<Condition>,
    pub(super) answer: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Condition {
    pub(super) argument: u8,
    /// Compare the low 32 bits only.
    pub(super) narrow: bool,
    pub(super) test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Test {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    MaskedEqual { mask: u64, value: u64 },
}

/// `SECCOMP_RET_KILL_PROCESS`.
pub(super) const KILL_PROCESS: u32 = 0x8000_0000;
/// `SECCOMP_RET_ERRNO | ENOSYS`.
const NO_SUCH_CALL: u32 = 0x0005_0000 | 38;

/// Arguments that the kernel reads as 32 bits whatever the upper half of the register says.
pub(super) const INT_ARGUMENTS: [(&str, &[u8]); 17] = [
    ("bpf", &[0]),
    ("clone", &[0]),
    ("fcntl", &[0, 1]),
    ("getsockopt", &[0, 1, 2]),
    ("ioctl", &[0, 1]),
    ("keyctl", &[0]),
    ("kill", &[0, 1]),
    ("personality", &[0]),
    ("prctl", &[0]),
    ("prlimit64", &[0, 1]),
    ("quotactl", &[0]),
    ("seccomp", &[0, 1]),
    ("setns", &[0, 1]),
    ("setsockopt", &[0, 1, 2]),
    ("socket", &[0, 1, 2]),
    ("socketcall", &[0]),
    ("socketpair", &[0, 1, 2]),
];

/// What `socketcall` of 32-bit x86 does for its first argument.
const SOCKETCALL: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// What `ipc` of 32-bit x86 does for the lower half of its first argument.
const IPC: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

pub(super) fn plan(native: Architecture, profile: &LinuxSeccomp) -> Result<Plan, CompileError> {
    if profile.default_action() == Action::ScmpActNotify {
        return Err(CompileError::NotifyByDefault);
    }
    let default = answer(profile.default_action(), profile.default_errno_ret())?;
    let mut skipped_names = Vec::new();
    let rules = rules(profile, default, &mut skipped_names)?;
    let notifies = rules.iter().any(|rule| rule.notifies);
    if notifies && profile.listener_path().is_none() {
        return Err(CompileError::NoListener);
    }
    let tail = Tail {
        default,
        newer: newer(profile.default_action(), default),
    };
    let architectures = architectures(native, profile);
    let sections = architectures
        .iter()
        .filter(|architecture| **architecture != Architecture::X32)
        .map(|architecture| section(*architecture, &architectures, &rules, profile, tail))
        .collect();
    Ok(Plan {
        sections,
        flags: flags(profile, notifies),
        skipped_names,
    })
}

/// One rule for one name.
struct Rule<'a> {
    name: &'a str,
    /// Empty: always. Otherwise, any of these.
    alternatives: Vec<Vec<&'a LinuxSeccompArg>>,
    answer: u32,
    notifies: bool,
}

/// The answers to calls that no rule names.
#[derive(Clone, Copy)]
struct Tail {
    default: u32,
    /// For numbers above all that the profile names.
    newer: u32,
}

fn answer(action: Action, errno: Option<u32>) -> Result<u32, CompileError> {
    match errno {
        Some(errno) if errno > 0xffff => Err(CompileError::ErrorNumber(errno)),
        _ => Ok(action.as_u32(errno)),
    }
}

fn newer(action: Action, default: u32) -> u32 {
    match action {
        Action::ScmpActAllow
        | Action::ScmpActLog
        | Action::ScmpActTrace
        | Action::ScmpActNotify => default,
        Action::ScmpActErrno
        | Action::ScmpActTrap
        | Action::ScmpActKill
        | Action::ScmpActKillThread
        | Action::ScmpActKillProcess => NO_SUCH_CALL,
    }
}

fn flags(profile: &LinuxSeccomp, notifies: bool) -> Flags {
    let listener = if notifies {
        Flags::NEW_LISTENER
    } else {
        Flags::NONE
    };
    let Some(listed) = profile.flags() else {
        // As runc: without a word from the profile, no slow mitigation that nothing needs.
        return listener.with(Flags::SPEC_ALLOW);
    };
    listed.iter().fold(listener, |flags, flag| {
        flags.with(match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => Flags::LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => Flags::THREAD_SYNC,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => Flags::SPEC_ALLOW,
            // The kernel refuses it without a listener.
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if notifies => {
                Flags::WAIT_KILLABLE_RECV
            }
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => Flags::NONE,
        })
    })
}

/// Native first (it is what nearly every call is), each once.
fn architectures(native: Architecture, profile: &LinuxSeccomp) -> Vec<Architecture> {
    let mut all = vec![native];
    for arch in profile.architectures().iter().flatten() {
        if let Some(architecture) = Architecture::from_oci(*arch, native)
            && !all.contains(&architecture)
        {
            all.push(architecture);
        }
    }
    if all.contains(&Architecture::X32) && !all.contains(&Architecture::X86_64) {
        all.push(Architecture::X86_64);
    }
    all
}

fn rules<'a>(
    profile: &'a LinuxSeccomp,
    default: u32,
    skipped: &mut Vec<String>,
) -> Result<Vec<Rule<'a>>, CompileError> {
    let mut rules = Vec::new();
    for syscall in profile.syscalls().iter().flatten() {
        let answer = answer(syscall.action(), syscall.errno_ret())?;
        let notifies = syscall.action() == Action::ScmpActNotify;
        for name in syscall.names() {
            if notifies && NOT_NOTIFIED.contains(&name.as_str()) {
                return Err(CompileError::NotifyOwn(name.clone()));
            }
            if !table::is_known(name) && !skipped.contains(name) {
                skipped.push(name.clone());
            }
            let alternatives = alternatives(name, syscall)?;
            if answer != default {
                rules.push(Rule {
                    name,
                    alternatives,
                    answer,
                    notifies,
                });
            }
        }
    }
    Ok(rules)
}

fn alternatives<'a>(
    name: &str,
    syscall: &'a LinuxSyscall,
) -> Result<Vec<Vec<&'a LinuxSeccompArg>>, CompileError> {
    let arguments: Vec<_> = syscall.args().iter().flatten().collect();
    let mut seen = [0usize; 6];
    for argument in &arguments {
        let index = argument.index();
        *seen
            .get_mut(index)
            .ok_or_else(|| CompileError::ArgumentIndex {
                name: name.to_owned(),
                index,
            })? += 1;
    }
    Ok(match arguments.is_empty() {
        true => Vec::new(),
        false if seen.iter().any(|count| *count > 1) => arguments
            .into_iter()
            .map(|argument| vec![argument])
            .collect(),
        false => vec![arguments],
    })
}

fn section(
    architecture: Architecture,
    all: &[Architecture],
    rules: &[Rule<'_>],
    profile: &LinuxSeccomp,
    tail: Tail,
) -> Section {
    let mut ranges = ranges(architecture, rules, profile, tail);
    if architecture == Architecture::X86_64 {
        ranges.retain(|(start, _)| *start < X32_BIT);
        if all.contains(&Architecture::X32) {
            let mut x32 = self::ranges(Architecture::X32, rules, profile, tail);
            // Below the marker bit x32 has nothing to say.
            x32.retain(|(start, _)| *start >= X32_BIT);
            if x32.first().is_none_or(|(start, _)| *start > X32_BIT) {
                x32.insert(0, (X32_BIT, Outcome::Always(tail.default)));
            }
            ranges.extend(x32);
        } else {
            ranges.push((X32_BIT, Outcome::Always(KILL_PROCESS)));
        }
    }
    // A tracer that skips a call sets the number to −1; that is none of x32's either.
    ranges.retain(|(start, _)| *start != u32::MAX);
    ranges.push((u32::MAX, Outcome::Always(tail.default)));
    ranges.dedup_by(|next, before| next.1 == before.1);
    Section {
        audit: architecture.audit(),
        ranges,
    }
}

fn ranges(
    architecture: Architecture,
    rules: &[Rule<'_>],
    profile: &LinuxSeccomp,
    tail: Tail,
) -> Vec<(u32, Outcome)> {
    let outcomes = outcomes(architecture, rules, tail.default);
    let mut ranges = vec![(0, Outcome::Always(tail.default))];
    for (number, outcome) in outcomes {
        ranges.retain(|(start, _)| *start != number);
        ranges.push((number, outcome));
        ranges.push((number + 1, Outcome::Always(tail.default)));
    }
    if let Some(newest) = newest(architecture, profile) {
        let private = architecture == Architecture::Arm;
        let end = if private { ARM_PRIVATE } else { u32::MAX };
        let above: Vec<_> = ranges
            .extract_if(.., |(start, _)| *start > newest)
            .collect();
        ranges.push((newest + 1, Outcome::Always(tail.newer)));
        if private {
            ranges.push((end, Outcome::Always(tail.default)));
            let beyond = above.into_iter().filter(|(start, _)| *start >= end);
            for (start, outcome) in beyond {
                ranges.retain(|(other, _)| *other != start);
                ranges.push((start, outcome));
            }
        }
    }
    ranges
}

/// The highest number the profile names, rules that only repeat the default included.
fn newest(architecture: Architecture, profile: &LinuxSeccomp) -> Option<u32> {
    let names = profile
        .syscalls()
        .iter()
        .flatten()
        .flat_map(LinuxSyscall::names);
    names
        .filter_map(|name| architecture.number(name))
        .filter(|number| architecture != Architecture::Arm || *number < ARM_PRIVATE)
        .max()
}

fn outcomes(
    architecture: Architecture,
    rules: &[Rule<'_>],
    default: u32,
) -> BTreeMap<u32, Outcome> {
    let mut outcomes = BTreeMap::new();
    for rule in rules {
        if let Some(number) = architecture.number(rule.name) {
            let cases = rule.alternatives.iter().map(|arguments| Case {
                conditions: arguments
                    .iter()
                    .map(|argument| condition(architecture, rule.name, argument))
                    .collect(),
                answer: rule.answer,
            });
            add(&mut outcomes, number, rule.answer, cases.collect(), default);
        }
    }
    if architecture == Architecture::X86 {
        rules
            .iter()
            .for_each(|rule| add_multiplexed(&mut outcomes, rule, default));
    }
    outcomes
}

/// Adds a rule to what earlier rules said about the same call. No cases: always.
fn add(
    outcomes: &mut BTreeMap<u32, Outcome>,
    number: u32,
    answer: u32,
    cases: Vec<Case>,
    default: u32,
) {
    let empty = || Outcome::Cases {
        cases: Vec::new(),
        otherwise: default,
    };
    match outcomes.entry(number).or_insert_with(empty) {
        Outcome::Always(_) => {}
        outcome if cases.is_empty() => *outcome = Outcome::Always(answer),
        Outcome::Cases { cases: before, .. } => before.extend(cases),
    }
}

/// 32-bit x86 reaches the calls of sockets and System V IPC by two roads; a rule without arguments
/// holds on both. (Arguments of the old road are in memory, where no filter sees them.)
fn add_multiplexed(outcomes: &mut BTreeMap<u32, Outcome>, rule: &Rule<'_>, default: u32) {
    if !rule.alternatives.is_empty() {
        return;
    }
    let socket = SOCKETCALL.iter().position(|name| *name == rule.name);
    let ipc = IPC.iter().find(|(name, _)| *name == rule.name);
    let (road, mask, value) = match (socket, ipc) {
        (Some(index), _) => ("socketcall", u64::from(u32::MAX), index as u64 + 1),
        (None, Some((_, value))) => ("ipc", 0xffff, *value),
        (None, None) => return,
    };
    let Some(number) = Architecture::X86.number(road) else {
        return;
    };
    let test = Test::MaskedEqual { mask, value };
    let conditions = vec![Condition {
        argument: 0,
        narrow: true,
        test,
    }];
    let case = Case {
        conditions,
        answer: rule.answer,
    };
    add(outcomes, number, rule.answer, vec![case], default);
}

fn condition(architecture: Architecture, name: &str, argument: &LinuxSeccompArg) -> Condition {
    let index = argument.index() as u8;
    let is_int = INT_ARGUMENTS
        .iter()
        .any(|(call, indexes)| *call == name && indexes.contains(&index));
    let narrow = architecture.is_narrow() || is_int;
    // Profiles write −1 with all 64 bits set; of a 32-bit argument it is the lower half.
    let fit = |value: u64| {
        let low = value & u64::from(u32::MAX);
        if narrow && value == low as u32 as i32 as i64 as u64 {
            low
        } else {
            value
        }
    };
    let value = fit(argument.value());
    let test = match argument.op() {
        Operator::ScmpCmpEq => Test::Equal(value),
        Operator::ScmpCmpNe => Test::NotEqual(value),
        Operator::ScmpCmpLt => Test::Less(value),
        Operator::ScmpCmpLe => Test::LessOrEqual(value),
        Operator::ScmpCmpGt => Test::Greater(value),
        Operator::ScmpCmpGe => Test::GreaterOrEqual(value),
        Operator::ScmpCmpMaskedEq => Test::MaskedEqual {
            mask: argument.value(),
            value: fit(argument.value_two().unwrap_or(0)),
        },
    };
    Condition {
        argument: index,
        narrow,
        test,
    }
}
