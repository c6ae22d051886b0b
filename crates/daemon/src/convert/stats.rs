//! What a container uses.

use hull_api::types::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats,
    ThrottlingData,
};
use hull_engine::{container::stats, record::Record};

use super::time;

/// One sample, with the one before it (or a zero one).
pub(crate) fn to_wire(
    record: &Record,
    sample: &stats::Stats,
    before: Option<&stats::Stats>,
) -> Stats {
    let memory = &sample.cgroup.memory;
    Stats {
        name: format!("/{}", record.name),
        id: record.id.to_string(),
        os_type: "linux".to_owned(),
        read: time::text(sample.read_ns),
        preread: time::text(before.map_or(0, |before| before.read_ns)),
        pids_stats: PidsStats {
            current: sample.cgroup.pids.current,
            limit: sample.cgroup.pids.limit,
        },
        blkio_stats: blkio(sample),
        cpu_stats: cpu(sample),
        precpu_stats: before.map(cpu).unwrap_or_default(),
        memory_stats: MemoryStats {
            usage: memory.usage,
            max_usage: memory.max_usage,
            stats: memory.stats.clone(),
            failcnt: memory.failures,
            limit: sample.memory_limit,
        },
        networks: sample.networks.iter().map(network).collect(),
        ..Stats::default()
    }
}

fn cpu(sample: &stats::Stats) -> CpuStats {
    let cpu = &sample.cgroup.cpu;
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: cpu.total,
            percpu_usage: cpu.per_processor.clone(),
            usage_in_kernelmode: cpu.kernel,
            usage_in_usermode: cpu.user,
        },
        system_cpu_usage: sample.host_cpu_ns,
        online_cpus: sample.online_cpus,
        throttling_data: ThrottlingData {
            periods: cpu.periods,
            throttled_periods: cpu.throttled_periods,
            throttled_time: cpu.throttled_time,
        },
    }
}

fn blkio(sample: &stats::Stats) -> BlkioStats {
    let blkio = &sample.cgroup.blkio;
    let bytes = blkio.bytes.iter().map(|entry| BlkioEntry {
        major: entry.major,
        minor: entry.minor,
        op: entry.op.to_ascii_lowercase(),
        value: entry.value,
    });
    let operations = blkio.operations.iter().map(|entry| BlkioEntry {
        major: entry.major,
        minor: entry.minor,
        op: entry.op.to_ascii_lowercase(),
        value: entry.value,
    });
    BlkioStats {
        io_service_bytes_recursive: super::null_if_empty(bytes.collect()),
        io_serviced_recursive: super::null_if_empty(operations.collect()),
        ..BlkioStats::default()
    }
}

fn network((name, figures): (&String, &stats::InterfaceStats)) -> (String, NetworkStats) {
    let figures = NetworkStats {
        rx_bytes: figures.rx_bytes,
        rx_packets: figures.rx_packets,
        rx_errors: figures.rx_errors,
        rx_dropped: figures.rx_dropped,
        tx_bytes: figures.tx_bytes,
        tx_packets: figures.tx_packets,
        tx_errors: figures.tx_errors,
        tx_dropped: figures.tx_dropped,
    };
    (name.clone(), figures)
}
