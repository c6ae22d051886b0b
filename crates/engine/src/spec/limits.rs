//! Limits and weights, in the OCI's words.

use hull_oci::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources, LinuxThrottleDevice,
    LinuxThrottleDeviceBuilder, LinuxWeightDeviceBuilder, PosixRlimit, PosixRlimitBuilder,
    PosixRlimitType as Limit,
};

use super::{DeviceLookup, SpecError};
use crate::model::{Resources, ThrottleDevice, Ulimit};

/// The scheduler's usual period, by which [`Resources::nano_cpus`] is turned into a quota.
const PERIOD_US: i64 = 100_000;

/// Why a builder of the OCI's types cannot fail.
const COMPLETE: &str = "every field has a default";

/// What `create` and `update` set; devices are not among it.
pub fn resources(wish: &Resources, lookup: &dyn DeviceLookup) -> Result<LinuxResources, SpecError> {
    let mut resources = LinuxResources::default();
    // The type's own default denies all devices; rules are the caller's.
    resources.set_devices(None);
    resources.set_memory(Some(memory(wish)));
    resources.set_cpu(Some(cpu(wish)));
    resources.set_pids(wish.pids_limit.filter(|limit| *limit > 0).map(|limit| {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        pids
    }));
    resources.set_block_io(Some(block_io(wish, lookup)?));
    Ok(resources)
}

fn memory(wish: &Resources) -> LinuxMemory {
    let set = |value: i64| (value != 0).then_some(value);
    let mut memory = LinuxMemory::default();
    memory.set_limit(set(wish.memory));
    memory.set_reservation(set(wish.memory_reservation));
    memory.set_swap(match (wish.memory_swap, wish.memory) {
        // As much swap as memory.
        (0, limit) if limit > 0 => limit.checked_mul(2),
        (swap, _) => set(swap),
    });
    memory.set_swappiness(
        wish.memory_swappiness
            .and_then(|value| u64::try_from(value).ok()),
    );
    memory.set_disable_oom_killer(wish.oom_kill_disable.then_some(true));
    memory
}

fn cpu(wish: &Resources) -> LinuxCpu {
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value != 0);
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(positive(wish.cpu_shares));
    if wish.nano_cpus > 0 {
        let quota = i128::from(wish.nano_cpus) * i128::from(PERIOD_US) / 1_000_000_000;
        cpu.set_quota(i64::try_from(quota).ok());
        cpu.set_period(positive(PERIOD_US));
    } else {
        cpu.set_quota(Some(wish.cpu_quota_us).filter(|quota| *quota != 0));
        cpu.set_period(positive(wish.cpu_period_us));
    }
    cpu.set_realtime_period(positive(wish.cpu_realtime_period_us));
    cpu.set_realtime_runtime(Some(wish.cpu_realtime_runtime_us).filter(|value| *value != 0));
    cpu.set_cpus(Some(wish.cpuset_cpus.clone()).filter(|text| !text.is_empty()));
    cpu.set_mems(Some(wish.cpuset_mems.clone()).filter(|text| !text.is_empty()));
    cpu
}

fn block_io(wish: &Resources, lookup: &dyn DeviceLookup) -> Result<LinuxBlockIo, SpecError> {
    let mut block_io = LinuxBlockIo::default();
    block_io.set_weight(Some(wish.blkio_weight).filter(|weight| *weight != 0));
    let weights = wish.blkio_weight_device.iter().map(|device| {
        let (major, minor) = numbers(&device.path, lookup)?;
        let entry = LinuxWeightDeviceBuilder::default()
            .major(major)
            .minor(minor);
        Ok(entry.weight(device.weight).build().expect(COMPLETE))
    });
    block_io.set_weight_device(some(weights.collect::<Result<_, SpecError>>()?));
    let throttle = |list: &[ThrottleDevice]| throttles(list, lookup).map(some);
    block_io.set_throttle_read_bps_device(throttle(&wish.blkio_read_bps)?);
    block_io.set_throttle_write_bps_device(throttle(&wish.blkio_write_bps)?);
    block_io.set_throttle_read_iops_device(throttle(&wish.blkio_read_iops)?);
    block_io.set_throttle_write_iops_device(throttle(&wish.blkio_write_iops)?);
    Ok(block_io)
}

fn throttles(
    list: &[ThrottleDevice],
    lookup: &dyn DeviceLookup,
) -> Result<Vec<LinuxThrottleDevice>, SpecError> {
    list.iter()
        .map(|device| {
            let (major, minor) = numbers(&device.path, lookup)?;
            let entry = LinuxThrottleDeviceBuilder::default()
                .major(major)
                .minor(minor);
            Ok(entry.rate(device.rate).build().expect(COMPLETE))
        })
        .collect()
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn numbers(path: &str, lookup: &dyn DeviceLookup) -> Result<(i64, i64), SpecError> {
    let failed = |reason: String| SpecError::Device {
        path: path.to_owned(),
        reason,
    };
    let found = lookup
        .devices_at(path)
        .map_err(|error| failed(error.to_string()))?;
    match found.as_slice() {
        [node] => Ok((node.major, node.minor)),
        _ => Err(failed("not a device node".to_owned())),
    }
}

/// The container's limits, and the daemon's where it names none.
pub(super) fn rlimits(own: &[Ulimit], defaults: &[Ulimit]) -> Result<Vec<PosixRlimit>, SpecError> {
    let mut all: Vec<&Ulimit> = own.iter().collect();
    all.extend(
        defaults
            .iter()
            .filter(|usual| own.iter().all(|limit| limit.name != usual.name)),
    );
    all.into_iter().map(rlimit).collect()
}

fn rlimit(limit: &Ulimit) -> Result<PosixRlimit, SpecError> {
    // −1 is the kernel's "unlimited" with all bits set.
    let bits = |value: i64| value.cast_unsigned();
    if bits(limit.soft) > bits(limit.hard) {
        return Err(SpecError::Invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {} > {}",
            limit.soft, limit.hard
        )));
    }
    let rlimit = PosixRlimitBuilder::default().typ(limit_type(&limit.name)?);
    Ok(rlimit
        .soft(bits(limit.soft))
        .hard(bits(limit.hard))
        .build()
        .expect(COMPLETE))
}

fn limit_type(name: &str) -> Result<Limit, SpecError> {
    let typ = match name
        .strip_prefix("RLIMIT_")
        .unwrap_or(name)
        .to_ascii_lowercase()
        .as_str()
    {
        "as" => Limit::RlimitAs,
        "core" => Limit::RlimitCore,
        "cpu" => Limit::RlimitCpu,
        "data" => Limit::RlimitData,
        "fsize" => Limit::RlimitFsize,
        "locks" => Limit::RlimitLocks,
        "memlock" => Limit::RlimitMemlock,
        "msgqueue" => Limit::RlimitMsgqueue,
        "nice" => Limit::RlimitNice,
        "nofile" => Limit::RlimitNofile,
        "nproc" => Limit::RlimitNproc,
        "rss" => Limit::RlimitRss,
        "rtprio" => Limit::RlimitRtprio,
        "rttime" => Limit::RlimitRttime,
        "sigpending" => Limit::RlimitSigpending,
        "stack" => Limit::RlimitStack,
        _ => return Err(SpecError::Ulimit(name.to_owned())),
    };
    Ok(typ)
}
