//! Shows the processes of a container as `ps` does.
//!
//! Docker runs the host's `ps` with the caller's arguments. Hull runs nothing: it reads `/proc`
//! itself, and knows the arguments that people use: `-ef` (the default), `-e`, `aux`, and `-o` with
//! a list of columns. Anything else is refused with a word on what is known.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, tz::TimeZone};

/// A table of processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The columns' heads.
    pub titles: Vec<String>,
    /// A row for each process.
    pub processes: Vec<Vec<String>>,
}

/// The table cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// Not among the arguments known here.
    #[error("ps arguments {0:?} are not known: use -ef, -e, aux, or -o with a list of columns")]
    Arguments(String),
    /// No such column.
    #[error("ps knows no column {0:?} here")]
    Column(String),
    /// Docker's text: rows are told apart by it.
    #[error("Couldn't find PID field in ps output")]
    NoPid,
    /// `/proc` did not say what it must.
    #[error("read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

/// Ticks per second of every time in `/proc`: fixed for programs (`USER_HZ`).
const TICKS: u64 = 100;

/// Shows the processes `pids`; those that have ended meanwhile are left out.
pub fn top(pids: &[i32], arguments: &str) -> Result<Table, TopError> {
    let columns = columns(arguments)?;
    if !columns.iter().any(|column| column.field == Field::Pid) {
        return Err(TopError::NoPid);
    }
    let host = Host::read()?;
    let processes = pids
        .iter()
        .filter_map(|pid| Process::read(*pid))
        .map(|process| {
            columns
                .iter()
                .map(|column| process.show(column.field, &host))
                .collect()
        })
        .collect();
    let titles = columns.into_iter().map(|column| column.title).collect();
    Ok(Table { titles, processes })
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    field: Field,
    title: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    User,
    Uid,
    Group,
    Gid,
    Pid,
    ParentPid,
    GroupPid,
    Session,
    CpuWhole,
    Cpu,
    MemoryShare,
    VirtualSize,
    Resident,
    Terminal,
    State,
    LongState,
    Started,
    StartedLong,
    Elapsed,
    ElapsedSeconds,
    Time,
    Nice,
    Priority,
    Processor,
    Threads,
    Name,
    Command,
}

/// Names `-o` takes, and their heads.
const NAMES: [(&str, Field, &str); 46] = [
    ("user", Field::User, "USER"),
    ("euser", Field::User, "EUSER"),
    ("uname", Field::User, "USER"),
    ("ruser", Field::User, "RUSER"),
    ("uid", Field::Uid, "UID"),
    ("euid", Field::Uid, "EUID"),
    ("group", Field::Group, "GROUP"),
    ("egroup", Field::Group, "EGROUP"),
    ("gid", Field::Gid, "GID"),
    ("egid", Field::Gid, "EGID"),
    ("pid", Field::Pid, "PID"),
    ("tgid", Field::Pid, "TGID"),
    ("ppid", Field::ParentPid, "PPID"),
    ("pgid", Field::GroupPid, "PGID"),
    ("pgrp", Field::GroupPid, "PGRP"),
    ("sid", Field::Session, "SID"),
    ("sess", Field::Session, "SESS"),
    ("c", Field::CpuWhole, "C"),
    ("pcpu", Field::Cpu, "%CPU"),
    ("%cpu", Field::Cpu, "%CPU"),
    ("pmem", Field::MemoryShare, "%MEM"),
    ("%mem", Field::MemoryShare, "%MEM"),
    ("vsz", Field::VirtualSize, "VSZ"),
    ("vsize", Field::VirtualSize, "VSZ"),
    ("rss", Field::Resident, "RSS"),
    ("rssize", Field::Resident, "RSS"),
    ("tty", Field::Terminal, "TT"),
    ("tt", Field::Terminal, "TT"),
    ("tname", Field::Terminal, "TTY"),
    ("s", Field::State, "S"),
    ("stat", Field::LongState, "STAT"),
    ("state", Field::State, "S"),
    ("stime", Field::Started, "STIME"),
    ("start_time", Field::Started, "START"),
    ("lstart", Field::StartedLong, "STARTED"),
    ("etime", Field::Elapsed, "ELAPSED"),
    ("etimes", Field::ElapsedSeconds, "ELAPSED"),
    ("time", Field::Time, "TIME"),
    ("cputime", Field::Time, "TIME"),
    ("nice", Field::Nice, "NI"),
    ("ni", Field::Nice, "NI"),
    ("pri", Field::Priority, "PRI"),
    ("psr", Field::Processor, "PSR"),
    ("nlwp", Field::Threads, "NLWP"),
    ("thcount", Field::Threads, "THCNT"),
    ("comm", Field::Name, "COMMAND"),
];

/// Further names of the whole command line, with their heads.
const COMMANDS: [(&str, &str); 4] = [
    ("cmd", "CMD"),
    ("args", "COMMAND"),
    ("command", "COMMAND"),
    ("ucmd", "CMD"),
];

fn columns(arguments: &str) -> Result<Vec<Column>, TopError> {
    let words: Vec<_> = arguments.split_whitespace().collect();
    let preset = |names: &[(&str, &str)]| {
        names
            .iter()
            .map(|(name, title)| {
                Ok(Column {
                    title: (*title).to_owned(),
                    ..column(name)?
                })
            })
            .collect()
    };
    match words.as_slice() {
        [] | ["-ef" | "-fe" | "-f" | "-Af"] => preset(&[
            ("user", "UID"),
            ("pid", "PID"),
            ("ppid", "PPID"),
            ("c", "C"),
            ("stime", "STIME"),
            ("tname", "TTY"),
            ("time", "TIME"),
            ("cmd", "CMD"),
        ]),
        ["-e" | "-A" | "-a"] => preset(&[
            ("pid", "PID"),
            ("tname", "TTY"),
            ("time", "TIME"),
            ("comm", "CMD"),
        ]),
        ["aux" | "-aux" | "axu" | "u"] => preset(&[
            ("user", "USER"),
            ("pid", "PID"),
            ("pcpu", "%CPU"),
            ("pmem", "%MEM"),
            ("vsz", "VSZ"),
            ("rss", "RSS"),
            ("tname", "TTY"),
            ("stat", "STAT"),
            ("start_time", "START"),
            ("time", "TIME"),
            ("args", "COMMAND"),
        ]),
        ["ax" | "-ax"] => preset(&[
            ("pid", "PID"),
            ("tname", "TTY"),
            ("stat", "STAT"),
            ("time", "TIME"),
            ("args", "COMMAND"),
        ]),
        _ => listed(&words).ok_or_else(|| TopError::Arguments(arguments.to_owned()))?,
    }
}

/// Takes `-o pid,user -o cmd=WHAT`, `-eo pid`, `-opid`, `axo pid`. `None`: other arguments.
fn listed(words: &[&str]) -> Option<Result<Vec<Column>, TopError>> {
    let mut columns = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let flags = word.strip_prefix('-').unwrap_or(word);
        let (before, list) = flags.split_once('o')?;
        if !before.chars().all(|flag| "eAax".contains(flag)) {
            return None;
        }
        let list = if list.is_empty() {
            *words.next()?
        } else {
            list
        };
        for name in list.split(',') {
            match column(name) {
                Ok(column) => columns.push(column),
                Err(error) => return Some(Err(error)),
            }
        }
    }
    Some(Ok(columns))
}

/// Takes `pid` or `pid=HEAD`.
fn column(text: &str) -> Result<Column, TopError> {
    let (name, head) = match text.split_once('=') {
        Some((name, head)) => (name, Some(head)),
        None => (text, None),
    };
    let named = NAMES
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(_, field, head)| (*field, *head));
    let command = || {
        COMMANDS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, head)| (Field::Command, *head))
    };
    let (field, usual) = named
        .or_else(command)
        .ok_or_else(|| TopError::Column(name.to_owned()))?;
    Ok(Column {
        field,
        title: head.unwrap_or(usual).to_owned(),
    })
}

/// What holds for all processes.
struct Host {
    booted_at: u64,
    uptime: u64,
    memory_kib: u64,
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
    zone: TimeZone,
}

impl Host {
    fn read() -> Result<Self, TopError> {
        let stat = read("/proc/stat")?;
        let uptime = read("/proc/uptime")?;
        let memory = read("/proc/meminfo")?;
        Ok(Self {
            booted_at: number_after(&stat, "btime ").unwrap_or(0),
            uptime: uptime
                .split('.')
                .next()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            memory_kib: number_after(&memory, "MemTotal:").unwrap_or(1).max(1),
            // As the host's `ps` would say it: the container's own names are its own affair.
            users: names(Path::new("/etc/passwd")),
            groups: names(Path::new("/etc/group")),
            zone: TimeZone::system(),
        })
    }
}

fn number_after(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn read(path: &str) -> Result<String, TopError> {
    fs::read_to_string(path).map_err(|source| TopError::Read {
        path: path.into(),
        source,
    })
}

fn names(path: &Path) -> HashMap<u32, String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        let (name, id) = (fields.next(), fields.nth(1).and_then(|id| id.parse().ok()));
        if let (Some(name), Some(id)) = (name, id) {
            names.entry(id).or_insert_with(|| name.to_owned());
        }
    }
    names
}

/// What `/proc` says of a process.
#[derive(Debug)]
struct Process {
    pid: i32,
    uid: u32,
    gid: u32,
    name: String,
    state: char,
    /// The fields of `stat` from the third on.
    fields: Vec<i64>,
    resident_kib: u64,
    command: Vec<u8>,
}

/// Places in `stat`, counted as in proc(5), of what is shown.
mod place {
    pub(super) const PARENT: usize = 4;
    pub(super) const GROUP: usize = 5;
    pub(super) const SESSION: usize = 6;
    pub(super) const TERMINAL: usize = 7;
    pub(super) const FOREGROUND: usize = 8;
    pub(super) const USER_TIME: usize = 14;
    pub(super) const SYSTEM_TIME: usize = 15;
    pub(super) const PRIORITY: usize = 18;
    pub(super) const NICE: usize = 19;
    pub(super) const THREADS: usize = 20;
    pub(super) const STARTED: usize = 22;
    pub(super) const VIRTUAL_BYTES: usize = 23;
    pub(super) const PROCESSOR: usize = 39;
}

impl Process {
    /// `None`: it has ended.
    fn read(pid: i32) -> Option<Self> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let owner = fs::metadata(&directory).ok()?;
        let stat = fs::read(directory.join("stat")).ok()?;
        let command = fs::read(directory.join("cmdline")).unwrap_or_default();
        let status = fs::read_to_string(directory.join("status")).unwrap_or_default();
        let stat = String::from_utf8_lossy(&stat);
        let own = Self::parse(pid, owner.uid(), owner.gid(), &stat, command)?;
        let resident_kib = number_after(&status, "VmRSS:").unwrap_or(0);
        Some(Self {
            resident_kib,
            ..own
        })
    }

    /// The name may hold spaces and brackets: it ends at the last bracket.
    fn parse(pid: i32, uid: u32, gid: u32, stat: &str, command: Vec<u8>) -> Option<Self> {
        let (_, rest) = stat.split_once('(')?;
        let (name, rest) = rest.rsplit_once(')')?;
        let mut words = rest.split_whitespace();
        let state = words.next()?.chars().next()?;
        let fields = words.map(|word| word.parse().unwrap_or(0)).collect();
        Some(Self {
            pid,
            uid,
            gid,
            name: name.to_owned(),
            state,
            fields,
            resident_kib: 0,
            command,
        })
    }

    fn field(&self, place: usize) -> i64 {
        // The first number is the fourth field.
        self.fields.get(place - 4).copied().unwrap_or(0)
    }

    fn count(&self, place: usize) -> u64 {
        u64::try_from(self.field(place)).unwrap_or(0)
    }

    fn show(&self, field: Field, host: &Host) -> String {
        let named = |names: &HashMap<u32, String>, id: u32| {
            names
                .get(&id)
                .map_or_else(|| id.to_string(), |name| shortened(name))
        };
        match field {
            Field::User => named(&host.users, self.uid),
            Field::Uid => self.uid.to_string(),
            Field::Group => named(&host.groups, self.gid),
            Field::Gid => self.gid.to_string(),
            Field::Pid => self.pid.to_string(),
            Field::ParentPid => self.field(place::PARENT).to_string(),
            Field::GroupPid => self.field(place::GROUP).to_string(),
            Field::Session => self.field(place::SESSION).to_string(),
            Field::CpuWhole => (self.cpu_per_mille(host) / 10).min(99).to_string(),
            Field::Cpu => tenths(self.cpu_per_mille(host)),
            Field::MemoryShare => tenths(self.resident_kib * 1000 / host.memory_kib),
            Field::VirtualSize => (self.count(place::VIRTUAL_BYTES) / 1024).to_string(),
            Field::Resident => self.resident_kib.to_string(),
            Field::Terminal => terminal(self.field(place::TERMINAL)),
            Field::State => self.state.to_string(),
            Field::LongState => self.long_state(),
            Field::Started => self.started(host),
            Field::StartedLong => self.stamp(host, "%a %b %e %H:%M:%S %Y"),
            Field::Elapsed => elapsed(self.age(host)),
            Field::ElapsedSeconds => self.age(host).to_string(),
            Field::Time => clock(self.cpu_ticks() / TICKS),
            Field::Nice => self.field(place::NICE).to_string(),
            Field::Priority => (39 - self.field(place::PRIORITY)).to_string(),
            Field::Processor => self.field(place::PROCESSOR).to_string(),
            Field::Threads => self.field(place::THREADS).to_string(),
            Field::Name => self.defunct(&self.name),
            Field::Command => self.command_line(),
        }
    }

    fn cpu_ticks(&self) -> u64 {
        self.count(place::USER_TIME) + self.count(place::SYSTEM_TIME)
    }

    fn age(&self, host: &Host) -> u64 {
        host.uptime
            .saturating_sub(self.count(place::STARTED) / TICKS)
    }

    fn cpu_per_mille(&self, host: &Host) -> u64 {
        match self.age(host) {
            0 => 0,
            age => self.cpu_ticks() * 1000 / TICKS / age,
        }
    }

    fn long_state(&self) -> String {
        let nice = self.field(place::NICE);
        let leads = self.field(place::SESSION) == i64::from(self.pid);
        let is_foreground = self.field(place::FOREGROUND) == self.field(place::GROUP);
        let marks = [
            (nice < 0, '<'),
            (nice > 0, 'N'),
            (leads, 's'),
            (self.field(place::THREADS) > 1, 'l'),
            (is_foreground, '+'),
        ];
        let marks = marks
            .into_iter()
            .filter(|(holds, _)| *holds)
            .map(|(_, mark)| mark);
        std::iter::once(self.state).chain(marks).collect()
    }

    /// The time of day if it was today, the day if it was this year, otherwise the year.
    fn started(&self, host: &Host) -> String {
        let now = Timestamp::now().to_zoned(host.zone.clone());
        let same = |format: &str| self.stamp(host, format) == now.strftime(format).to_string();
        let format = match (same("%F"), same("%Y")) {
            (true, _) => "%H:%M",
            (false, true) => "%b%d",
            (false, false) => "%Y",
        };
        self.stamp(host, format)
    }

    fn stamp(&self, host: &Host, format: &str) -> String {
        let second = host.booted_at + self.count(place::STARTED) / TICKS;
        let stamp = i64::try_from(second)
            .ok()
            .and_then(|second| Timestamp::from_second(second).ok());
        let stamp = stamp
            .unwrap_or(Timestamp::UNIX_EPOCH)
            .to_zoned(host.zone.clone());
        stamp.strftime(format).to_string()
    }

    fn command_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.command);
        let text = text.trim_end_matches('\0').replace('\0', " ");
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        if text.is_empty() {
            self.defunct(&format!("[{}]", self.name))
        } else {
            text
        }
    }

    fn defunct(&self, name: &str) -> String {
        if self.state == 'Z' {
            format!("{name} <defunct>")
        } else {
            name.to_owned()
        }
    }
}

/// `ps` gives a user's name eight places.
fn shortened(name: &str) -> String {
    match name.char_indices().nth(8) {
        Some(_) => name.chars().take(7).chain(['+']).collect(),
        None => name.to_owned(),
    }
}

fn tenths(value: u64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

/// From the kernel's device number: `pts/3`, `tty1`, `ttyS0`, `?`.
fn terminal(number: i64) -> String {
    let (major, minor) = (
        (number >> 8) & 0xfff,
        (number & 0xff) | ((number >> 12) & 0xfff00),
    );
    match (major, minor) {
        (136..=143, _) => format!("pts/{}", (major - 136) * 256 + minor),
        (4, 0..64) => format!("tty{minor}"),
        (4, _) => format!("ttyS{}", minor - 64),
        (5, 1) => "console".to_owned(),
        _ => "?".to_owned(),
    }
}

/// `01:02:03`, with days before it if there are any.
fn clock(seconds: u64) -> String {
    let text = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    if seconds < 86_400 {
        text
    } else {
        format!("{}-{text}", seconds / 86_400)
    }
}

/// `02:03`, with hours and days before it if there are any.
fn elapsed(seconds: u64) -> String {
    match seconds {
        0..3600 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        _ => clock(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(arguments: &str) -> Result<String, String> {
        let columns = columns(arguments).map_err(|error| error.to_string())?;
        Ok(columns
            .into_iter()
            .map(|column| column.title)
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn the_usual_arguments_are_known() {
        let full = "UID PID PPID C STIME TTY TIME CMD";
        for (arguments, expected) in [
            ("", full),
            ("-ef", full),
            (
                "aux",
                "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND",
            ),
            ("-o pid,comm", "PID COMMAND"),
            ("-eo pid -o user=WHO,args", "PID WHO COMMAND"),
            ("axo pid,%cpu", "PID %CPU"),
        ] {
            assert_eq!(titles(arguments).as_deref(), Ok(expected), "{arguments}");
        }
        assert!(titles("-o pid,frob").unwrap_err().contains("frob"));
        for arguments in ["--sort=-rss", "-ef --forest", "-o", "$(id)"] {
            assert!(
                titles(arguments).unwrap_err().contains("not known"),
                "{arguments}"
            );
        }
    }

    #[test]
    fn a_table_without_pids_is_refused_with_dockers_text() {
        let error = top(&[], "-o comm").unwrap_err();
        assert_eq!(error.to_string(), "Couldn't find PID field in ps output");
    }

    #[test]
    fn a_name_may_hold_brackets_and_spaces() {
        let stat = "7 (a) b (c) S 1 7 7 34817 7 0 0 0 0 0 250 50 0 0 20 0 1 0 100 4096000 5";
        let process = Process::parse(7, 0, 0, stat, b"x\0y z\0\x1b[0m\0".to_vec()).unwrap();
        assert_eq!(process.name, "a) b (c");
        assert_eq!(process.field(place::PARENT), 1);
        assert_eq!(terminal(process.field(place::TERMINAL)), "pts/1");
        assert_eq!(clock(process.cpu_ticks() / TICKS), "00:00:03");
        assert_eq!(process.command_line(), "x y z ?[0m");
        assert_eq!(process.long_state(), "Ss+");
    }

    #[test]
    fn this_process_is_shown_and_a_missing_one_is_not() {
        let own = i32::try_from(std::process::id()).unwrap();
        let table = top(&[own, i32::MAX], "-o pid,ppid,rss,stime,cmd").unwrap();
        assert_eq!(table.processes.len(), 1);
        assert_eq!(table.processes[0][0], own.to_string());
        assert_ne!(table.processes[0][2], "0");
    }

    #[test]
    fn times_and_names_have_ps_forms() {
        assert_eq!(clock(90_061), "1-01:01:01");
        assert_eq!(elapsed(61), "01:01");
        assert_eq!(shortened("systemd-network"), "systemd+");
        assert_eq!(shortened("postgres"), "postgres");
        assert_eq!(tenths(123), "12.3");
    }
}
