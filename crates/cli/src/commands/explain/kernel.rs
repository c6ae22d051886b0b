//! What the kernel's log says was refused while a container ran: system calls by seccomp (audit records of type 1326), and
//! capabilities where a security module tells of them (type 1400). An errno that a profile answers leaves a trace there only
//! if the profile has the flag that asks for it.
//!
//! The log names processes and not containers, so records are picked by their time, to the millisecond. Reading it takes root on the
//! daemon's host.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use rustix::fs::{Mode, OFlags};
use serde_json::{Value as Json, json};

/// The kernel's own log: a read gives a record.
const LOG: &str = "/dev/kmsg";
/// Where audit records go instead while its daemon runs.
const AUDIT_LOG: &str = "/var/log/audit/audit.log";
/// No record is longer.
const RECORD_MAX: usize = 8 << 10;
/// Of a file of records, the end is looked at.
const FILE_MAX: u64 = 4 << 20;
/// What a filter answered is in the upper half of a record's code.
const ACTION_MASK: u32 = 0xffff_0000;
const ACTION_ERRNO: u32 = 0x0005_0000;
const ACTION_TRAP: u32 = 0x0003_0000;
const ACTION_LOG: u32 = 0x7ffc_0000;
/// How audit calls processors.
const X86_64: &str = "c000003e";
const AARCH64: &str = "c00000b7";

/// Something that was refused, or let through and told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Denial {
    pub(super) program: String,
    pub(super) what: Denied,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Denied {
    /// A system call that got an error instead: told of only if the profile asks for it.
    Refused(String),
    /// A system call that ended the program.
    Call(String),
    /// One that sent it SIGSYS, which it may heed.
    Trapped(String),
    /// One that was let through.
    Logged(String),
    Capability(String),
}

/// A process that the kernel ended for want of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Victim {
    pub(super) program: String,
    /// Its number on the host.
    pub(super) process: String,
}

/// What is known of denials.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Denials {
    /// The log cannot be read; this is why.
    Unreadable(String),
    /// Each with how often it is told.
    Told(BTreeMap<Denial, usize>),
    /// Nobody asked: the daemon is elsewhere, or the container never ran.
    #[default]
    Unasked,
}

impl Denials {
    /// For programs.
    pub(super) fn record(&self) -> Json {
        let Self::Told(told) = self else {
            return Json::Null;
        };
        let record = |(denial, count): (&Denial, &usize)| {
            let (kind, name) = match &denial.what {
                Denied::Refused(name) => ("refused call", name),
                Denied::Call(name) => ("call", name),
                Denied::Trapped(name) => ("trapped call", name),
                Denied::Logged(name) => ("logged call", name),
                Denied::Capability(name) => ("capability", name),
            };
            json!({"Kind": kind, "Name": name, "Program": denial.program, "Count": count})
        };
        told.iter().map(record).collect()
    }
}

/// Reads what was logged between two times, in milliseconds.
pub(super) fn between(from: i64, until: i64) -> Denials {
    let mut records = match kernel_log() {
        Ok(records) => records,
        Err(error) => {
            let why = crate::options::environment::plain(&error);
            return Denials::Unreadable(format!("{LOG}: {why}"));
        }
    };
    records.push_str(&file_end(AUDIT_LOG).unwrap_or_default());
    let mut told = BTreeMap::new();
    for record in records.lines() {
        if let Some((time, denial)) = denial(record)
            && (from..=until).contains(&time)
        {
            *told.entry(denial).or_default() += 1;
        }
    }
    Denials::Told(told)
}

/// The last process of a container that was ended for want of memory; nothing if the log cannot be read, or does not say
/// (any more). These records name the cgroup, which is called as the container.
pub(super) fn victim(container: &str) -> Option<Victim> {
    let log = kernel_log().ok()?;
    log.lines()
        .rev()
        .find_map(|record| victim_in(record, container))
}

fn victim_in(record: &str, container: &str) -> Option<Victim> {
    let (_, fields) = record.split_once(";oom-kill:")?;
    let field = |name: &str| {
        let mut pairs = fields.split(',').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(key, value)| (key == name).then_some(value))
    };
    let is_its_own = !container.is_empty() && field("task_memcg")?.contains(container);
    is_its_own.then_some(())?;
    Some(Victim {
        program: field("task")?.to_owned(),
        process: field("pid")?.to_owned(),
    })
}

fn kernel_log() -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut log = File::from(rustix::fs::open(LOG, flags, Mode::empty())?);
    let mut text = String::new();
    let mut record = [0; RECORD_MAX];
    loop {
        match log.read(&mut record) {
            Ok(0) => return Ok(text),
            Ok(length) => text.push_str(&String::from_utf8_lossy(&record[..length])),
            // There is no more, for now.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(text),
            // The next record was overwritten meanwhile; reading goes on at the oldest there is.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error),
        }
    }
}

fn file_end(path: &str) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(FILE_MAX)))?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A record of a denial, and when it was made.
fn denial(record: &str) -> Option<(i64, Denial)> {
    let (head, rest) = record.split_once("audit(")?;
    let (time, fields) = rest.split_once("):")?;
    let (seconds, fraction) = time.split(':').next()?.split_once('.')?;
    let seconds: i64 = seconds.parse().ok()?;
    let time = seconds
        .checked_mul(1000)?
        .checked_add(fraction.parse().ok()?)?;
    let field = |name: &str| {
        let (_, rest) = fields.split_once(&format!(" {name}="))?;
        let value = rest.split(' ').next()?;
        Some(value.trim_matches('"'))
    };
    let is_kind = |kinds: [&str; 2]| kinds.iter().any(|kind| head.contains(kind));
    let what = if is_kind(["type=1326 ", "type=SECCOMP "]) {
        let call = call_name(field("arch")?, field("syscall")?);
        let code = field("code")?.trim_start_matches("0x");
        match u32::from_str_radix(code, 16).ok()? & ACTION_MASK {
            ACTION_LOG => Denied::Logged(call),
            ACTION_ERRNO => Denied::Refused(call),
            ACTION_TRAP => Denied::Trapped(call),
            _ => Denied::Call(call),
        }
    } else if is_kind(["type=1400 ", "type=AVC "]) && field("operation") == Some("capable") {
        Denied::Capability(field("capname")?.to_uppercase())
    } else {
        return None;
    };
    let program = field("comm")?.to_owned();
    Some((time, Denial { program, what }))
}

fn call_name(processor: &str, number: &str) -> String {
    let known = number.parse().ok().and_then(|number| match processor {
        X86_64 => syscalls::x86_64::Sysno::new(number).map(|call| call.name()),
        AARCH64 => syscalls::aarch64::Sysno::new(number).map(|call| call.name()),
        _ => None,
    });
    known.map_or_else(|| format!("number {number}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(record: &str) -> Option<(i64, String, Denied)> {
        let (time, denial) = denial(record)?;
        Some((time, denial.program, denial.what))
    }

    #[test]
    fn the_log_names_who_was_ended_for_want_of_memory() {
        let record = "6,1392600,41157737915,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=de2c,mems_allowed=0,oom_memcg=/hull/de2c,task_memcg=/hull/de2c/sub,task=my app,pid=7551,uid=0";
        let victim = victim_in(record, "de2c").unwrap();
        assert_eq!((&*victim.program, &*victim.process), ("my app", "7551"));
        assert_eq!(victim_in(record, "ab12"), None);
        assert_eq!(victim_in("6,1,2,-;something else", "de2c"), None);
    }

    #[test]
    fn records_are_understood_wherever_they_were_written() {
        let kernel = r#"5,900,3515620612,-;audit: type=1326 audit(1796021953.480:4): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=11353 comm="ln" exe="/bin/busybox" sig=31 arch=c000003e syscall=86 compat=0 ip=0x47cb87 code=0x0"#;
        let expected = (
            1_796_021_953_480,
            "ln".to_owned(),
            Denied::Call("link".to_owned()),
        );
        assert_eq!(told(kernel), Some(expected));
        let file = r#"type=SECCOMP msg=audit(1796021953.480:4): auid=1 uid=0 gid=0 ses=1 pid=7 comm="app" exe="/app" sig=0 arch=c00000b7 syscall=34 compat=0 ip=0x1 code=0x7ffc0000"#;
        let expected = (
            1_796_021_953_480,
            "app".to_owned(),
            Denied::Logged("mkdirat".to_owned()),
        );
        assert_eq!(told(file), Some(expected));
        let refused = r#"5,1,1,-;audit: type=1326 audit(7.001:9): auid=1 uid=0 gid=0 ses=1 pid=7 comm="app" exe="/app" sig=0 arch=c000003e syscall=83 compat=0 ip=0x1 code=0x50001"#;
        let expected = (7_001, "app".to_owned(), Denied::Refused("mkdir".to_owned()));
        assert_eq!(told(refused), Some(expected));
        let capability = r#"5,1,1,-;audit: type=1400 audit(7.001:9): apparmor="DENIED" operation="capable" class="cap" profile="hull-default" pid=9 comm="date" capability=25 capname="sys_time""#;
        let expected = (
            7_001,
            "date".to_owned(),
            Denied::Capability("SYS_TIME".to_owned()),
        );
        assert_eq!(told(capability), Some(expected));
    }

    #[test]
    fn what_is_no_denial_is_passed_over() {
        for record in [
            "",
            "6,1,2,-;hull0: port 1 entered disabled state",
            "5,1,1,-;audit: type=1326 audit(nonsense",
            r#"5,1,1,-;audit: type=1326 audit(1.1:1): comm="x""#,
            r#"5,1,1,-;audit: type=1400 audit(1.1:1): apparmor="DENIED" operation="open" comm="x""#,
        ] {
            assert_eq!(told(record), None, "{record}");
        }
        assert_eq!(call_name("c000003e", "99999"), "number 99999");
        assert_eq!(call_name("40000003", "1"), "number 1");
    }
}
