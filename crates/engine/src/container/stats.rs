//! What a container uses, from its cgroup and its network namespace.

use std::{collections::BTreeMap, fs, sync::Arc};

use crate::{
    Engine, error::Result, model::NetworkMode, record::Record, services::Services, time::now_ns,
};

/// What a container uses at one moment. A container that does not run uses nothing: all is zero,
/// and `read_ns` too.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// When this was read: nanoseconds since 1970; 0: it does not run.
    pub read_ns: i64,
    /// What the cgroup counted.
    pub cgroup: hull_runtime::Stats,
    /// The host's processor time: all processors, busy and idle, in nanoseconds.
    pub host_cpu_ns: u64,
    /// Processors of the host.
    pub online_cpus: u32,
    /// Bytes the container may use: its limit, or the host's memory.
    pub memory_limit: u64,
    /// By interface name inside the container.
    pub networks: BTreeMap<String, InterfaceStats>,
}

/// One network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's words")]
pub struct InterfaceStats {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

impl Engine {
    /// What a container uses now.
    pub async fn stats(&self, reference: &str) -> Result<Stats> {
        let record = self.find(reference)?.record();
        let services = Arc::clone(self.services());
        self.services()
            .block(move || read(&services, &record))
            .await?
    }
}

fn read(services: &Services, record: &Record) -> Result<Stats> {
    let Some(run) = record.state.run() else {
        return Ok(Stats::default());
    };
    let cgroup = services.cgroup_of(record)?.stats()?;
    let table = match record.host.network_mode {
        NetworkMode::Host => String::new(),
        _ => network_table(record, run.pid),
    };
    Ok(Stats {
        read_ns: now_ns(),
        host_cpu_ns: host_cpu_ns(),
        online_cpus: services.host.cpus,
        memory_limit: match cgroup.memory.limit {
            0 => services.memory,
            limit => limit.min(services.memory),
        },
        cgroup,
        networks: interfaces(&table),
    })
}

/// What the interfaces counted; nothing if the process has ended meanwhile, and its number is another's.
fn network_table(record: &Record, pid: i32) -> String {
    let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let table = read("net/dev");
    // Looked at afterwards: who is in the container's cgroup now was so before.
    let is_its_own = read("cgroup").contains(record.id.as_str());
    if is_its_own { table } else { String::new() }
}

/// All processors' time since boot, from the first line of `/proc/stat`.
fn host_cpu_ns() -> u64 {
    const TICK_NS: u64 = 10_000_000;
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("cpu "))
    else {
        return 0;
    };
    // The last two are guests' time, which is counted in the first two already.
    let ticks = line
        .split_whitespace()
        .take(8)
        .filter_map(|word| word.parse::<u64>().ok());
    ticks.sum::<u64>() * TICK_NS
}

/// `/proc/net/dev`, without loopback.
fn interfaces(table: &str) -> BTreeMap<String, InterfaceStats> {
    let line = |line: &str| {
        let (name, figures) = line.split_once(':')?;
        let figures: Vec<u64> = figures
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let at = |index: usize| figures.get(index).copied().unwrap_or(0);
        let stats = InterfaceStats {
            rx_bytes: at(0),
            rx_packets: at(1),
            rx_errors: at(2),
            rx_dropped: at(3),
            tx_bytes: at(8),
            tx_packets: at(9),
            tx_errors: at(10),
            tx_dropped: at(11),
        };
        (name.trim() != "lo").then(|| (name.trim().to_owned(), stats))
    };
    table.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_not_counted() {
        let text = "Inter-| Receive\n face |bytes\n    lo: 1 2 0 0 0 0 0 0 1 2 0 0 0 0 0 0\n  \
                    eth0: 5 6 0 0 0 0 0 0 7 8 0 0 0 0 0 0\n";
        let found = interfaces(text);
        assert_eq!(found.len(), 1);
        assert_eq!((found["eth0"].rx_bytes, found["eth0"].tx_packets), (5, 8));
    }
}
