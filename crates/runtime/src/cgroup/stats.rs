//! What a cgroup uses, read from its files. What the host does not count is zero or empty.

use std::collections::BTreeMap;

use hull_sys::cgroup::Group;
use serde::Serialize;

/// What a container uses.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: Cpu,
    /// Memory, in bytes.
    pub memory: Memory,
    /// Tasks.
    pub pids: Pids,
    /// Block devices.
    pub blkio: BlockIo,
    /// By page size.
    pub hugetlb: BTreeMap<String, HugePages>,
}

/// Processor time, in nanoseconds.
#[derive(Debug, Clone, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Cpu {
    pub total: u64,
    pub kernel: u64,
    pub user: u64,
    /// v1 only.
    pub per_processor: Vec<u64>,
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
    pub pressure: Option<Pressure>,
}

/// Memory, in bytes. A limit of `u64::MAX` is none.
#[derive(Debug, Clone, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Memory {
    pub usage: u64,
    pub max_usage: u64,
    pub limit: u64,
    pub failures: u64,
    /// v1: memory and swap together; v2: swap alone.
    pub swap_usage: u64,
    pub swap_limit: u64,
    pub kernel_usage: u64,
    pub out_of_memory_kills: u64,
    /// The lines of `memory.stat`.
    pub stats: BTreeMap<String, u64>,
    pub pressure: Option<Pressure>,
}

/// Tasks. A limit of 0 is none.
#[derive(Debug, Clone, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Pids {
    pub current: u64,
    pub limit: u64,
}

/// A number for one operation (`Read`, `Write` …) on one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct BlockIoEntry {
    pub major: u64,
    pub minor: u64,
    pub op: String,
    pub value: u64,
}

/// Block devices.
#[derive(Debug, Clone, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct BlockIo {
    pub bytes: Vec<BlockIoEntry>,
    pub operations: Vec<BlockIoEntry>,
    pub pressure: Option<Pressure>,
}

/// Huge pages, in bytes.
#[derive(Debug, Clone, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct HugePages {
    pub usage: u64,
    pub max_usage: u64,
    pub failures: u64,
}

/// How long tasks waited for a resource (v2).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Some of them.
    pub some: PressureLine,
    /// All of them.
    pub full: PressureLine,
}

/// Shares of the last 10, 60 and 300 seconds in percent, and microseconds in all.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct PressureLine {
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
    pub total: u64,
}

/// A clock tick of `cpuacct.stat`: USER_HZ is 100 on every architecture we run on.
const TICK_NS: u64 = 10_000_000;

pub(super) fn read(group: &Group) -> Stats {
    if group.is_v2() {
        read_v2(group)
    } else {
        read_v1(group)
    }
}

/// The value of `key` in lines of `key value`.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.split_once(' ').filter(|(name, _)| *name == key))
        .and_then(|(_, value)| value.trim().parse().ok())
}

struct Reader<'a>(&'a Group);

impl Reader<'_> {
    fn text(&self, controller: &str, file: &str) -> String {
        self.0.read(controller, file).unwrap_or_default()
    }

    /// `max` is `u64::MAX`; a missing file is 0.
    fn number(&self, controller: &str, file: &str) -> u64 {
        match self.text(controller, file).trim() {
            "max" => u64::MAX,
            text => text.parse().unwrap_or(0),
        }
    }

    fn pressure(&self, file: &str) -> Option<Pressure> {
        pressure(&self.0.read("", file).ok()?)
    }
}

fn pressure(text: &str) -> Option<Pressure> {
    let line = |name: &str| {
        let words = text.lines().find_map(|line| line.strip_prefix(name))?;
        let mut out = PressureLine::default();
        for (key, value) in words
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
        {
            match key {
                "avg10" => out.avg10 = value.parse().ok()?,
                "avg60" => out.avg60 = value.parse().ok()?,
                "avg300" => out.avg300 = value.parse().ok()?,
                "total" => out.total = value.parse().ok()?,
                _ => {}
            }
        }
        Some(out)
    };
    Some(Pressure {
        some: line("some")?,
        full: line("full").unwrap_or_default(),
    })
}

fn table(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(key, value)| Some((key.to_owned(), value.trim().parse().ok()?)))
        .collect()
}

fn read_v1(group: &Group) -> Stats {
    let reader = Reader(group);
    let times = reader.text("cpuacct", "cpuacct.stat");
    let throttling = reader.text("cpu", "cpu.stat");
    let limit = reader.number("pids", "pids.max");
    let ticks = |key| keyed(&times, key).unwrap_or(0) * TICK_NS;
    let memory = |file: &str| reader.number("memory", &format!("memory.{file}"));
    Stats {
        cpu: Cpu {
            total: reader.number("cpuacct", "cpuacct.usage"),
            kernel: ticks("system"),
            user: ticks("user"),
            per_processor: reader
                .text("cpuacct", "cpuacct.usage_percpu")
                .split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect(),
            periods: keyed(&throttling, "nr_periods").unwrap_or(0),
            throttled_periods: keyed(&throttling, "nr_throttled").unwrap_or(0),
            throttled_time: keyed(&throttling, "throttled_time").unwrap_or(0),
            pressure: None,
        },
        memory: Memory {
            usage: memory("usage_in_bytes"),
            max_usage: memory("max_usage_in_bytes"),
            limit: memory("limit_in_bytes"),
            failures: memory("failcnt"),
            swap_usage: memory("memsw.usage_in_bytes"),
            swap_limit: memory("memsw.limit_in_bytes"),
            kernel_usage: memory("kmem.usage_in_bytes"),
            out_of_memory_kills: keyed(&reader.text("memory", "memory.oom_control"), "oom_kill")
                .unwrap_or(0),
            stats: table(&reader.text("memory", "memory.stat")),
            pressure: None,
        },
        pids: Pids {
            current: reader.number("pids", "pids.current"),
            limit: if limit == u64::MAX { 0 } else { limit },
        },
        blkio: BlockIo {
            bytes: entries(&reader.text("blkio", "blkio.throttle.io_service_bytes_recursive")),
            operations: entries(&reader.text("blkio", "blkio.throttle.io_serviced_recursive")),
            pressure: None,
        },
        hugetlb: huge_pages(group, "usage_in_bytes", "max_usage_in_bytes", "failcnt"),
    }
}

/// Lines of `8:0 Read 4096`.
fn entries(text: &str) -> Vec<BlockIoEntry> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        Some(BlockIoEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            op: words.next()?.to_owned(),
            value: words.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(entry).collect()
}

fn read_v2(group: &Group) -> Stats {
    let reader = Reader(group);
    let cpu = table(&reader.text("cpu", "cpu.stat"));
    let micro = |key: &str| cpu.get(key).copied().unwrap_or(0) * 1000;
    let count = |key: &str| cpu.get(key).copied().unwrap_or(0);
    let events = reader.text("memory", "memory.events");
    let stats = table(&reader.text("memory", "memory.stat"));
    let limit = reader.number("pids", "pids.max");
    let io = reader.text("io", "io.stat");
    Stats {
        cpu: Cpu {
            total: micro("usage_usec"),
            kernel: micro("system_usec"),
            user: micro("user_usec"),
            per_processor: Vec::new(),
            periods: count("nr_periods"),
            throttled_periods: count("nr_throttled"),
            throttled_time: micro("throttled_usec"),
            pressure: reader.pressure("cpu.pressure"),
        },
        memory: Memory {
            usage: reader.number("memory", "memory.current"),
            max_usage: reader.number("memory", "memory.peak"),
            limit: reader.number("memory", "memory.max"),
            failures: keyed(&events, "max").unwrap_or(0),
            swap_usage: reader.number("memory", "memory.swap.current"),
            swap_limit: reader.number("memory", "memory.swap.max"),
            kernel_usage: stats.get("kernel").copied().unwrap_or(0),
            out_of_memory_kills: keyed(&events, "oom_kill").unwrap_or(0),
            stats,
            pressure: reader.pressure("memory.pressure"),
        },
        pids: Pids {
            current: reader.number("pids", "pids.current"),
            limit: if limit == u64::MAX { 0 } else { limit },
        },
        blkio: BlockIo {
            bytes: entries_v2(&io, [("rbytes", "Read"), ("wbytes", "Write")]),
            operations: entries_v2(&io, [("rios", "Read"), ("wios", "Write")]),
            pressure: reader.pressure("io.pressure"),
        },
        hugetlb: huge_pages(group, "current", "max_usage", "events"),
    }
}

/// Lines of `8:0 rbytes=1 wbytes=2 rios=3 …`.
fn entries_v2(text: &str, keys: [(&str, &str); 2]) -> Vec<BlockIoEntry> {
    let mut out = Vec::new();
    for line in text.lines() {
        let Some((device, rest)) = line.split_once(' ') else {
            continue;
        };
        let Some((major, minor)) = device.split_once(':') else {
            continue;
        };
        for (key, op) in keys {
            let value = rest
                .split_whitespace()
                .filter_map(|word| word.split_once('='))
                .find(|(name, _)| *name == key);
            if let (Some((_, value)), Ok(major), Ok(minor)) = (value, major.parse(), minor.parse())
                && let Ok(value) = value.parse()
            {
                out.push(BlockIoEntry {
                    major,
                    minor,
                    op: op.to_owned(),
                    value,
                });
            }
        }
    }
    out
}

fn huge_pages(
    group: &Group,
    usage: &str,
    max: &str,
    failures: &str,
) -> BTreeMap<String, HugePages> {
    let mut out = BTreeMap::new();
    let Some(entries) = group
        .directory("hugetlb")
        .and_then(|path| std::fs::read_dir(path).ok())
    else {
        return out;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(size) = name.to_str().and_then(|name| {
            name.strip_prefix("hugetlb.")?
                .strip_suffix(usage)?
                .strip_suffix('.')
        }) else {
            continue;
        };
        if size.contains('.') {
            continue; // reservations
        }
        let reader = Reader(group);
        let number = |file: &str| reader.number("hugetlb", &format!("hugetlb.{size}.{file}"));
        let pages = HugePages {
            usage: number(usage),
            max_usage: number(max),
            failures: number(failures),
        };
        out.insert(size.to_owned(), pages);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_versions_name_device_and_operation() {
        let read = BlockIoEntry {
            major: 8,
            minor: 16,
            op: "Read".into(),
            value: 3,
        };
        assert_eq!(
            entries("8:16 Read 3\nTotal 3\n"),
            std::slice::from_ref(&read)
        );
        let found = entries_v2(
            "8:16 rbytes=3 wbytes=0 rios=1\n",
            [("rbytes", "Read"), ("x", "y")],
        );
        assert_eq!(found, [read]);
    }

    #[test]
    fn pressure_has_two_lines_of_four_numbers() {
        let text = "some avg10=1.50 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=2\n";
        let pressure = pressure(text).unwrap();
        assert_eq!(
            (
                pressure.some.avg10,
                pressure.some.total,
                pressure.full.total
            ),
            (1.5, 7, 2)
        );
    }

    #[test]
    fn a_key_is_a_whole_word() {
        assert_eq!(
            keyed("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n", "oom_kill"),
            Some(4)
        );
    }
}
