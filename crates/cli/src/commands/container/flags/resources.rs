//! How much of the machine the container may use.

use hull_api::types::{DeviceRequest, HostConfig};

use super::some;
use crate::flags::{FlagSet, Item, List, One};
use crate::options::device::{ByteRate, Device, OperationRate, Rule, Weight};
use crate::options::gpu::Gpus;
use crate::options::limit::{self, Limit};
use crate::options::number::{Bytes, NanoCpus, SwapBytes};

#[derive(Default)]
pub(super) struct ResourceFlags {
    blkio_weight: u16,
    blkio_weight_device: List<Weight>,
    cgroup_parent: String,
    cpu_count: i64,
    cpu_percent: i64,
    cpu_period: i64,
    cpu_quota: i64,
    cpu_rt_period: i64,
    cpu_rt_runtime: i64,
    cpu_shares: i64,
    cpus: One<NanoCpus>,
    cpuset_cpus: String,
    cpuset_mems: String,
    devices: Vec<String>,
    device_rules: List<Rule>,
    read_bps: List<ByteRate>,
    read_iops: List<OperationRate>,
    write_bps: List<ByteRate>,
    write_iops: List<OperationRate>,
    gpus: List<Gpus>,
    io_bandwidth: One<Bytes>,
    io_iops: u64,
    kernel_memory: One<Bytes>,
    memory: One<Bytes>,
    memory_reservation: One<Bytes>,
    memory_swap: One<SwapBytes>,
    memory_swappiness: Option<i64>,
    oom_kill_disable: Option<bool>,
    oom_score: i32,
    pids_limit: Option<i64>,
    shm_size: One<Bytes>,
    ulimits: List<Limit>,
}

impl ResourceFlags {
    #[rustfmt::skip]
    pub(super) fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("blkio-weight", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)", &mut self.blkio_weight);
        set.add("blkio-weight-device", "list", "Block IO weight (relative device weight) (default [])", &mut self.blkio_weight_device);
        set.add("cgroup-parent", "string", "Optional parent cgroup for the container", &mut self.cgroup_parent);
        set.add("cpu-count", "int", "CPU count (Windows only)", &mut self.cpu_count);
        set.add("cpu-percent", "int", "CPU percent (Windows only)", &mut self.cpu_percent);
        set.add("cpu-period", "int", "Limit CPU CFS (Completely Fair Scheduler) period", &mut self.cpu_period);
        set.add("cpu-quota", "int", "Limit CPU CFS (Completely Fair Scheduler) quota", &mut self.cpu_quota);
        set.add("cpu-rt-period", "int", "Limit CPU real-time period in microseconds", &mut self.cpu_rt_period);
        set.add("cpu-rt-runtime", "int", "Limit CPU real-time runtime in microseconds", &mut self.cpu_rt_runtime);
        set.add("c,cpu-shares", "int", "CPU shares (relative weight)", &mut self.cpu_shares);
        set.add("cpus", "decimal", "Number of CPUs", &mut self.cpus);
        set.add("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)", &mut self.cpuset_cpus);
        set.add("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)", &mut self.cpuset_mems);
        set.add("device", "list", "Add a host device to the container", &mut self.devices);
        set.add("device-cgroup-rule", "list", "Add a rule to the cgroup allowed devices list", &mut self.device_rules);
        set.add("device-read-bps", "list", "Limit read rate (bytes per second) from a device (default [])", &mut self.read_bps);
        set.add("device-read-iops", "list", "Limit read rate (IO per second) from a device (default [])", &mut self.read_iops);
        set.add("device-write-bps", "list", "Limit write rate (bytes per second) to a device (default [])", &mut self.write_bps);
        set.add("device-write-iops", "list", "Limit write rate (IO per second) to a device (default [])", &mut self.write_iops);
        set.add("gpus", "gpu-request", "GPU devices to add to the container ('all' to pass all GPUs)", &mut self.gpus);
        set.add("io-maxbandwidth", "bytes", "Maximum IO bandwidth limit for the system drive (Windows only)", &mut self.io_bandwidth);
        set.add("io-maxiops", "uint", "Maximum IOps limit for the system drive (Windows only)", &mut self.io_iops);
        set.hide(&["cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"]);
        set.add("kernel-memory", "bytes", "Kernel memory limit", &mut self.kernel_memory);
        set.add("m,memory", "bytes", "Memory limit", &mut self.memory);
        set.add("memory-reservation", "bytes", "Memory soft limit", &mut self.memory_reservation);
        set.add("memory-swap", "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap", &mut self.memory_swap);
        set.add("memory-swappiness", "int", "Tune container memory swappiness (0 to 100) (default -1)", &mut self.memory_swappiness);
        set.add("oom-kill-disable", "", "Disable OOM Killer", &mut self.oom_kill_disable);
        set.add("oom-score-adj", "int", "Tune host's OOM preferences (-1000 to 1000)", &mut self.oom_score);
        set.add("pids-limit", "int", "Tune container pids limit (set -1 for unlimited)", &mut self.pids_limit);
        set.add("shm-size", "bytes", "Size of /dev/shm", &mut self.shm_size);
        set.add("ulimit", "ulimit", "Ulimit options (default [])", &mut self.ulimits);
    }

    pub(super) fn apply(&self, host: &mut HostConfig) -> Result<(), String> {
        let swappiness = self.memory_swappiness.unwrap_or(-1);
        if !(-1..=100).contains(&swappiness) {
            return Err(format!(
                "invalid value: {swappiness}. Valid memory swappiness range is 0-100"
            ));
        }
        self.apply_processor(host);
        self.apply_devices(host)?;
        let bytes = |value: &One<Bytes>| value.0.map_or(0, |bytes| bytes.0);
        host.memory = bytes(&self.memory);
        host.memory_reservation = bytes(&self.memory_reservation);
        host.memory_swap = self.memory_swap.0.map_or(0, |bytes| bytes.0);
        host.memory_swappiness = self.memory_swappiness.filter(|value| *value >= 0);
        host.oom_kill_disable = self.oom_kill_disable;
        host.oom_score_adj = self.oom_score;
        host.pids_limit = self.pids_limit;
        host.shm_size = bytes(&self.shm_size);
        host.ulimits = some(limit::settled(&self.ulimits.0));
        host.io_maximum_iops = self.io_iops;
        host.io_maximum_bandwidth = u64::try_from(bytes(&self.io_bandwidth)).unwrap_or(0);
        Ok(())
    }

    fn apply_processor(&self, host: &mut HostConfig) {
        self.cgroup_parent.clone_into(&mut host.cgroup_parent);
        host.cpu_count = self.cpu_count;
        host.cpu_percent = self.cpu_percent;
        host.cpu_period = self.cpu_period;
        host.cpu_quota = self.cpu_quota;
        host.cpu_realtime_period = self.cpu_rt_period;
        host.cpu_realtime_runtime = self.cpu_rt_runtime;
        host.cpu_shares = self.cpu_shares;
        host.nano_cpus = self.cpus.0.map_or(0, |cpus| cpus.0);
        self.cpuset_cpus.clone_into(&mut host.cpuset_cpus);
        self.cpuset_mems.clone_into(&mut host.cpuset_mems);
        host.blkio_weight = self.blkio_weight;
    }

    fn apply_devices(&self, host: &mut HostConfig) -> Result<(), String> {
        let mut requests: Vec<DeviceRequest> =
            self.gpus.0.iter().map(|gpus| gpus.0.clone()).collect();
        let mut devices = Vec::new();
        let mut named = Vec::new();
        for text in &self.devices {
            match Device::parse(text)? {
                Device::Path(mapping) => devices.push(mapping),
                Device::Cdi(name) => named.push(name),
            }
        }
        if !named.is_empty() {
            requests.push(DeviceRequest {
                driver: "cdi".to_owned(),
                device_ids: Some(named),
                ..DeviceRequest::default()
            });
        }
        host.devices = some(devices);
        host.device_requests = some(requests);
        host.device_cgroup_rules = some(
            self.device_rules
                .0
                .iter()
                .map(|rule| rule.0.clone())
                .collect(),
        );
        let weights = self
            .blkio_weight_device
            .0
            .iter()
            .map(|weight| weight.0.clone());
        host.blkio_weight_device = some(weights.collect());
        let bytes =
            |list: &List<ByteRate>| some(list.0.iter().map(|rate| rate.0.clone()).collect());
        let operations =
            |list: &List<OperationRate>| some(list.0.iter().map(|rate| rate.0.clone()).collect());
        host.blkio_device_read_bps = bytes(&self.read_bps);
        host.blkio_device_write_bps = bytes(&self.write_bps);
        host.blkio_device_read_iops = operations(&self.read_iops);
        host.blkio_device_write_iops = operations(&self.write_iops);
        Ok(())
    }
}
