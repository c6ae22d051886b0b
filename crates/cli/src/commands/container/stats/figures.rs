//! What is made of a sample: shares and sums, as Docker's client computes them.

use hull_api::types::{CpuStats, MemoryStats, Stats};

use serde_json::Value as Json;

use crate::commands::json::{self, Field, Kind};
use crate::format::output::{row, short_id};
use crate::format::size;
use crate::format::template::Value;

pub(in crate::commands) static FIELDS: [Field; 13] = [
    Field("ID", Kind::Text, "all its digits"),
    Field("Name", Kind::Text, ""),
    Field(
        "Running",
        Kind::Truth,
        "whether it runs; if not, nothing is measured",
    ),
    Field("ReadAt", Kind::Time, "when it was measured"),
    Field("CPUPercent", Kind::Number, "100 is one processor"),
    Field(
        "MemoryBytes",
        Kind::Bytes,
        "without what the kernel would give up first",
    ),
    Field("MemoryLimitBytes", Kind::Bytes, ""),
    Field("MemoryPercent", Kind::Number, "of the limit"),
    Field("NetworkReceivedBytes", Kind::Bytes, "since it was started"),
    Field("NetworkSentBytes", Kind::Bytes, ""),
    Field("BlockReadBytes", Kind::Bytes, ""),
    Field("BlockWrittenBytes", Kind::Bytes, ""),
    Field("PIDs", Kind::Number, "processes and threads"),
];

pub(super) const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

pub(super) const HEADINGS: [(&str, &str); 9] = [
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("ID", "CONTAINER ID"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

/// The figures of one container.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    container: String,
    id: String,
    name: String,
    /// When it was measured; empty if it does not run.
    read: String,
    /// None: nothing has been measured.
    measured: Option<Measured>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Measured {
    cpu_percent: f64,
    memory: f64,
    memory_limit: f64,
    received: f64,
    sent: f64,
    read: f64,
    written: f64,
    processes: u64,
}

impl Figures {
    /// Of a container that has not been measured.
    pub(super) fn unknown(container: &str) -> Self {
        Self {
            container: container.to_owned(),
            ..Self::default()
        }
    }

    /// Of a sample.
    pub(crate) fn of(container: &str, sample: &Stats) -> Self {
        // A container that does not run is measured at no time.
        let is_running = !sample.read.starts_with("0001-");
        Self {
            container: container.to_owned(),
            id: sample.id.clone(),
            name: sample.name.trim_start_matches('/').to_owned(),
            read: match is_running {
                true => sample.read.clone(),
                false => String::new(),
            },
            measured: Some(if is_running {
                measure(sample)
            } else {
                Measured::default()
            }),
        }
    }

    /// The container it was asked for.
    pub(crate) fn container(&self) -> &str {
        &self.container
    }

    /// One figure as text, by the name of its field.
    pub(crate) fn text(&self, field: &str) -> String {
        match self.row(false).field(field) {
            Some(Value::Text(text)) => text.to_string(),
            _ => String::new(),
        }
    }

    /// The figures, for programs.
    pub(super) fn record(&self) -> Json {
        let measured = self.measured.filter(|_| !self.read.is_empty());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "they were whole numbers before they were summed"
        )]
        let bytes = |of: fn(&Measured) -> f64| -> Json {
            measured.as_ref().map(|measured| of(measured) as u64).into()
        };
        let number = |of: fn(&Measured) -> f64| -> Json { measured.as_ref().map(of).into() };
        json::row(
            &FIELDS,
            [
                json::known(&self.id),
                json::known(&self.name),
                measured.is_some().into(),
                json::time(&self.read),
                number(|m| m.cpu_percent),
                bytes(|m| m.memory),
                bytes(|m| m.memory_limit),
                number(Measured::memory_percent),
                bytes(|m| m.received),
                bytes(|m| m.sent),
                bytes(|m| m.read),
                bytes(|m| m.written),
                measured.map(|m| m.processes).into(),
            ],
        )
    }

    pub(super) fn row(&self, no_trunc: bool) -> Value {
        let id = if no_trunc {
            &self.id
        } else {
            short_id(&self.id)
        };
        let or_dashes = |text: &str| {
            if text.is_empty() {
                "--".to_owned()
            } else {
                text.to_owned()
            }
        };
        let (cpu, memory, share, network, blocks, processes) = match &self.measured {
            None => {
                let pair = "-- / --".to_owned();
                (
                    "--".into(),
                    pair.clone(),
                    "--".into(),
                    pair.clone(),
                    pair,
                    "--".into(),
                )
            }
            Some(m) => (
                format!("{:.2}%", m.cpu_percent),
                format!(
                    "{} / {}",
                    size::binary(m.memory),
                    size::binary(m.memory_limit)
                ),
                format!("{:.2}%", m.memory_percent()),
                format!("{} / {}", size::decimal(m.received), size::decimal(m.sent)),
                format!("{} / {}", size::decimal(m.read), size::decimal(m.written)),
                m.processes.to_string(),
            ),
        };
        let fields = vec![
            ("Container", self.container.clone()),
            ("Name", or_dashes(&self.name)),
            ("ID", or_dashes(id)),
            ("CPUPerc", cpu),
            ("MemUsage", memory),
            ("MemPerc", share),
            ("NetIO", network),
            ("BlockIO", blocks),
            ("PIDs", processes),
        ];
        row("*container.statsContext", fields, Vec::new())
    }
}

impl Measured {
    fn memory_percent(&self) -> f64 {
        if self.memory_limit == 0.0 {
            0.0
        } else {
            self.memory / self.memory_limit * 100.0
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn measure(sample: &Stats) -> Measured {
    let networks = sample.networks.values();
    let blocks = sample
        .blkio_stats
        .io_service_bytes_recursive
        .iter()
        .flatten();
    let total = |letter: char| -> f64 {
        let of_kind = blocks.clone().filter(|entry| {
            entry
                .op
                .chars()
                .next()
                .is_some_and(|first| first.eq_ignore_ascii_case(&letter))
        });
        of_kind.map(|entry| entry.value).sum::<u64>() as f64
    };
    Measured {
        cpu_percent: cpu_percent(&sample.precpu_stats, &sample.cpu_stats),
        memory: memory(&sample.memory_stats),
        memory_limit: sample.memory_stats.limit as f64,
        received: networks
            .clone()
            .map(|network| network.rx_bytes)
            .sum::<u64>() as f64,
        sent: networks.map(|network| network.tx_bytes).sum::<u64>() as f64,
        read: total('r'),
        written: total('w'),
        processes: sample.pids_stats.current,
    }
}

#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn cpu_percent(before: &CpuStats, now: &CpuStats) -> f64 {
    let own = now.cpu_usage.total_usage as f64 - before.cpu_usage.total_usage as f64;
    let all = now.system_cpu_usage as f64 - before.system_cpu_usage as f64;
    let processors = match now.online_cpus {
        0 => now.cpu_usage.percpu_usage.len() as f64,
        count => f64::from(count),
    };
    if own > 0.0 && all > 0.0 {
        own / all * processors * 100.0
    } else {
        0.0
    }
}

/// Memory in use without what the kernel would give up first. Cgroup v1 and v2 name that apart.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn memory(stats: &MemoryStats) -> f64 {
    let inactive = stats
        .stats
        .get("total_inactive_file")
        .or_else(|| stats.stats.get("inactive_file"))
        .filter(|inactive| **inactive < stats.usage);
    (stats.usage - inactive.unwrap_or(&0)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all_processors() {
        let cpu = |total, system| {
            let mut stats = CpuStats {
                system_cpu_usage: system,
                online_cpus: 4,
                ..CpuStats::default()
            };
            stats.cpu_usage.total_usage = total;
            stats
        };
        assert!((cpu_percent(&cpu(100, 1000), &cpu(200, 2000)) - 40.0).abs() < 1e-9);
        assert_eq!(
            cpu_percent(&cpu(100, 1000), &cpu(100, 2000)).to_string(),
            "0"
        );
    }

    #[test]
    fn inactive_files_are_not_used_memory() {
        let stats = |name: &str| MemoryStats {
            usage: 100,
            stats: [(name.to_owned(), 30)].into(),
            ..MemoryStats::default()
        };
        assert_eq!(memory(&stats("inactive_file")).to_string(), "70");
        assert_eq!(memory(&stats("total_inactive_file")).to_string(), "70");
        assert_eq!(memory(&stats("other")).to_string(), "100");
    }
}
