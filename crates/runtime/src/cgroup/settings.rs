//! Which cgroup files say what the spec wants. Pure.

use hull_oci::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
    LinuxMemory, LinuxResources, LinuxThrottleDevice,
};

use crate::error::{Error, invalid};

/// One value for one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) controller: String,
    pub(super) file: String,
    pub(super) value: String,
    /// The kernel may have given the file up.
    pub(super) optional: bool,
}

#[derive(Default)]
struct Settings(Vec<Setting>);

impl Settings {
    fn put(&mut self, controller: &str, file: &str, value: impl ToString) {
        self.0.push(Setting {
            controller: controller.to_owned(),
            file: file.to_owned(),
            value: value.to_string(),
            optional: false,
        });
    }

    fn put_some(&mut self, controller: &str, file: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.put(controller, file, value);
        }
    }

    fn put_optional(&mut self, controller: &str, file: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.put(controller, file, value);
            if let Some(last) = self.0.last_mut() {
                last.optional = true;
            }
        }
    }
}

/// All but the device rules.
pub(super) fn settings(resources: &LinuxResources, v2: bool) -> Result<Vec<Setting>, Error> {
    let mut out = Settings::default();
    if let Some(memory) = resources.memory() {
        if v2 {
            memory_v2(&mut out, memory)?
        } else {
            memory_v1(&mut out, memory)
        }
    }
    if let Some(cpu) = resources.cpu() {
        if v2 {
            cpu_v2(&mut out, cpu)
        } else {
            cpu_v1(&mut out, cpu)
        }
        out.put_some("cpuset", "cpuset.cpus", non_empty(cpu.cpus()));
        out.put_some("cpuset", "cpuset.mems", non_empty(cpu.mems()));
    }
    if let Some(limit) = resources
        .pids()
        .as_ref()
        .map(|pids| pids.limit())
        .filter(|l| *l != 0)
    {
        out.put(
            "pids",
            "pids.max",
            if limit > 0 {
                limit.to_string()
            } else {
                "max".into()
            },
        );
    }
    if let Some(block) = resources.block_io() {
        if v2 {
            block_v2(&mut out, block)
        } else {
            block_v1(&mut out, block)
        }
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        let end = if v2 { "max" } else { "limit_in_bytes" };
        let size = limit.page_size();
        out.put("hugetlb", &format!("hugetlb.{size}.{end}"), limit.limit());
        out.put_optional(
            "hugetlb",
            &format!("hugetlb.{size}.rsvd.{end}"),
            Some(limit.limit()),
        );
    }
    for (device, limit) in resources.rdma().iter().flatten() {
        let number = |value: Option<u32>| value.map_or("max".to_owned(), |value| value.to_string());
        let (handles, objects) = (number(limit.hca_handles()), number(limit.hca_objects()));
        out.put(
            "rdma",
            "rdma.max",
            format!("{device} hca_handle={handles} hca_object={objects}"),
        );
    }
    if !v2 && let Some(network) = resources.network() {
        out.put_some("net_cls", "net_cls.classid", network.class_id());
        for priority in network.priorities().iter().flatten() {
            let value = format!("{} {}", priority.name(), priority.priority());
            out.put("net_prio", "net_prio.ifpriomap", value);
        }
    }
    unified(&mut out, resources, v2)?;
    Ok(out.0)
}

fn non_empty(text: &Option<String>) -> Option<&String> {
    text.as_ref().filter(|text| !text.is_empty())
}

fn memory_v1(out: &mut Settings, memory: &LinuxMemory) {
    let file = |name: &str| format!("memory.{name}");
    let some = |value: Option<i64>| value.filter(|value| *value != 0);
    out.put_some("memory", &file("limit_in_bytes"), some(memory.limit()));
    out.put_some("memory", &file("memsw.limit_in_bytes"), some(memory.swap()));
    out.put_some(
        "memory",
        &file("soft_limit_in_bytes"),
        some(memory.reservation()),
    );
    out.put_optional(
        "memory",
        &file("kmem.limit_in_bytes"),
        some(memory.kernel()),
    );
    out.put_optional(
        "memory",
        &file("kmem.tcp.limit_in_bytes"),
        some(memory.kernel_tcp()),
    );
    out.put_some("memory", &file("swappiness"), memory.swappiness());
    if memory.disable_oom_killer() == Some(true) {
        out.put("memory", &file("oom_control"), 1);
    }
    if memory.use_hierarchy() == Some(true) {
        out.put_optional("memory", &file("use_hierarchy"), Some(1));
    }
}

/// v1 counts memory and swap together, v2 swap alone.
fn memory_v2(out: &mut Settings, memory: &LinuxMemory) -> Result<(), Error> {
    let number = |value: i64| {
        if value < 0 {
            "max".to_owned()
        } else {
            value.to_string()
        }
    };
    let limit = memory.limit().filter(|value| *value != 0);
    // No limit of memory is none of swap either, unless one is named.
    let swap = memory.swap().filter(|value| *value != 0);
    if let Some(swap) = swap.or(limit.filter(|limit| *limit < 0)) {
        let value = match limit {
            _ if swap < 0 => swap,
            Some(limit) if limit > 0 && swap >= limit => swap - limit,
            _ => {
                return Err(invalid(
                    "a limit for memory and swap needs one for memory, not above it",
                ));
            }
        };
        out.put("memory", "memory.swap.max", number(value));
    }
    out.put_some("memory", "memory.max", limit.map(number));
    let reservation = memory.reservation().filter(|value| *value != 0);
    out.put_some("memory", "memory.low", reservation.map(number));
    Ok(())
}

fn cpu_v1(out: &mut Settings, cpu: &LinuxCpu) {
    out.put_some(
        "cpu",
        "cpu.shares",
        cpu.shares().filter(|shares| *shares != 0),
    );
    out.put_some(
        "cpu",
        "cpu.cfs_period_us",
        cpu.period().filter(|period| *period != 0),
    );
    out.put_some(
        "cpu",
        "cpu.cfs_quota_us",
        cpu.quota().filter(|quota| *quota != 0),
    );
    out.put_some("cpu", "cpu.cfs_burst_us", cpu.burst());
    out.put_some("cpu", "cpu.idle", cpu.idle());
    out.put_some(
        "cpu",
        "cpu.rt_period_us",
        cpu.realtime_period().filter(|value| *value != 0),
    );
    out.put_some(
        "cpu",
        "cpu.rt_runtime_us",
        cpu.realtime_runtime().filter(|value| *value != 0),
    );
}

/// Stands for the first word of what the file holds already.
pub(super) const KEPT: &str = "KEPT";

fn cpu_v2(out: &mut Settings, cpu: &LinuxCpu) {
    let idle = cpu.idle();
    out.put_some("cpu", "cpu.idle", idle);
    // The kernel takes no weight for an idle group.
    if idle != Some(1) {
        out.put_some(
            "cpu",
            "cpu.weight",
            cpu.shares().filter(|s| *s != 0).map(weight),
        );
    }
    let (quota, period) = (
        cpu.quota().filter(|q| *q != 0),
        cpu.period().filter(|p| *p != 0),
    );
    let quota = quota.map(|quota| match quota {
        1.. => quota.to_string(),
        _ => "max".to_owned(),
    });
    match (quota, period) {
        (None, None) => {}
        // The kernel keeps the period.
        (Some(quota), None) => out.put("cpu", "cpu.max", quota),
        (quota, Some(period)) => {
            let quota = quota.unwrap_or_else(|| KEPT.to_owned());
            out.put("cpu", "cpu.max", format!("{quota} {period}"));
        }
    }
    out.put_some("cpu", "cpu.max.burst", cpu.burst());
}

/// v1's shares (2 … 262144, usually 1024) as v2's weight (1 … 10000, usually 100): the curve on
/// which both usual values meet.
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        #[expect(clippy::cast_precision_loss, reason = "below 2^18")]
        #[expect(clippy::cast_possible_truncation, reason = "at most 10000")]
        #[expect(clippy::cast_sign_loss, reason = "a power of ten")]
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            // Rounding noise must not lift an exact value.
            (10_f64.powf(exponent) - 1e-9).ceil() as u64
        }
    }
}

fn throttles(
    block: &LinuxBlockIo,
) -> [(
    &'static str,
    &'static str,
    &Option<Vec<LinuxThrottleDevice>>,
); 4] {
    [
        ("read_bps", "rbps", block.throttle_read_bps_device()),
        ("write_bps", "wbps", block.throttle_write_bps_device()),
        ("read_iops", "riops", block.throttle_read_iops_device()),
        ("write_iops", "wiops", block.throttle_write_iops_device()),
    ]
}

fn block_v1(out: &mut Settings, block: &LinuxBlockIo) {
    let weight = block.weight().filter(|weight| *weight != 0);
    out.put_optional("blkio", "blkio.weight", weight);
    out.put_optional("blkio", "blkio.bfq.weight", weight);
    out.put_optional(
        "blkio",
        "blkio.leaf_weight",
        block.leaf_weight().filter(|w| *w != 0),
    );
    for device in block.weight_device().iter().flatten() {
        let name = format!("{}:{}", device.major(), device.minor());
        let line = |weight: u16| format!("{name} {weight}");
        out.put_optional("blkio", "blkio.weight_device", device.weight().map(line));
        out.put_optional(
            "blkio",
            "blkio.bfq.weight_device",
            device.weight().map(line),
        );
        out.put_optional(
            "blkio",
            "blkio.leaf_weight_device",
            device.leaf_weight().map(line),
        );
    }
    for (v1, _, devices) in throttles(block) {
        let file = format!("blkio.throttle.{v1}_device");
        for device in devices.iter().flatten() {
            let line = format!("{}:{} {}", device.major(), device.minor(), device.rate());
            out.put("blkio", &file, line);
        }
    }
}

fn block_v2(out: &mut Settings, block: &LinuxBlockIo) {
    if let Some(weight) = block.weight().filter(|weight| *weight != 0) {
        out.put_optional("io", "io.bfq.weight", Some(weight));
        let scaled = 1 + (u64::from(weight).saturating_sub(10)) * 9_999 / 990;
        out.put_optional("io", "io.weight", Some(scaled));
    }
    for device in block.weight_device().iter().flatten() {
        let line = |weight: u16| format!("{}:{} {weight}", device.major(), device.minor());
        out.put_optional("io", "io.bfq.weight", device.weight().map(line));
    }
    for (_, v2, devices) in throttles(block) {
        for device in devices.iter().flatten() {
            let line = format!(
                "{}:{} {v2}={}",
                device.major(),
                device.minor(),
                device.rate()
            );
            out.put("io", "io.max", line);
        }
    }
}

fn unified(out: &mut Settings, resources: &LinuxResources, v2: bool) -> Result<(), Error> {
    let Some(unified) = resources
        .unified()
        .as_ref()
        .filter(|unified| !unified.is_empty())
    else {
        return Ok(());
    };
    if !v2 {
        return Err(invalid(
            "`unified` resources are for cgroup v2, and this host has v1",
        ));
    }
    let mut files: Vec<_> = unified.iter().collect();
    files.sort();
    for (file, value) in files {
        if file.contains('/') || !file.contains('.') {
            return Err(invalid(format!("`{file}` is no file of a cgroup")));
        }
        for line in value.lines() {
            out.put("", file, line);
        }
    }
    Ok(())
}

/// The spec's rules, and after them what every container may do: make any node, and use those that
/// its own `/dev` has. What no rule allows is refused.
pub(super) fn device_rules(resources: &LinuxResources) -> Vec<LinuxDeviceCgroup> {
    use LinuxDeviceType::{B, C};
    let mut rules = resources.devices().clone().unwrap_or_default();
    // With everything allowed first, there is nothing to add.
    let mut end = false;
    for rule in &rules {
        let all = rule.typ().unwrap_or_default() == LinuxDeviceType::A
            || (rule.typ().is_none() && rule.major().is_none() && rule.minor().is_none());
        end = if all {
            rule.allow()
        } else {
            end && rule.allow()
        };
    }
    if end {
        return rules;
    }
    let own: [(LinuxDeviceType, Option<i64>, Option<i64>, &str); 10] = [
        (C, None, None, "m"),
        (B, None, None, "m"),
        (C, Some(1), Some(3), "rwm"), // null
        (C, Some(1), Some(5), "rwm"), // zero
        (C, Some(1), Some(7), "rwm"), // full
        (C, Some(1), Some(8), "rwm"), // random
        (C, Some(1), Some(9), "rwm"), // urandom
        (C, Some(5), Some(0), "rwm"), // tty
        (C, Some(5), Some(2), "rwm"), // ptmx
        (C, Some(136), None, "rwm"),  // pts/*
    ];
    for (kind, major, minor, access) in own {
        let mut rule = LinuxDeviceCgroupBuilder::default()
            .allow(true)
            .typ(kind)
            .access(access);
        if let Some(major) = major {
            rule = rule.major(major);
        }
        if let Some(minor) = minor {
            rule = rule.minor(minor);
        }
        rules.extend(rule.build());
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: &str, v2: bool) -> Vec<String> {
        settings(&serde_json::from_str(json).unwrap(), v2)
            .unwrap()
            .into_iter()
            .map(|s| format!("{}={}", s.file, s.value))
            .collect()
    }

    #[test]
    fn memory_and_swap_are_counted_as_each_version_counts_them() {
        let json = r#"{"memory":{"limit":100,"swap":150,"reservation":50}}"#;
        assert_eq!(
            lines(json, false),
            [
                "memory.limit_in_bytes=100",
                "memory.memsw.limit_in_bytes=150",
                "memory.soft_limit_in_bytes=50"
            ]
        );
        assert_eq!(
            lines(json, true),
            ["memory.swap.max=50", "memory.max=100", "memory.low=50"]
        );
        let json = r#"{"memory":{"limit":100,"swap":-1}}"#;
        assert_eq!(lines(json, true), ["memory.swap.max=max", "memory.max=100"]);
        let swap_only = serde_json::from_str(r#"{"memory":{"swap":150}}"#).unwrap();
        assert!(settings(&swap_only, true).is_err());
    }

    #[test]
    fn shares_become_a_weight() {
        assert_eq!([2, 1024, 262_144].map(weight), [1, 100, 10_000]);
        assert!(weight(512) < weight(1024));
    }

    #[test]
    fn processor_time_is_one_line_in_v2() {
        let json = r#"{"cpu":{"quota":50000,"period":100000,"cpus":"0-1"}}"#;
        assert_eq!(
            lines(json, true),
            ["cpu.max=50000 100000", "cpuset.cpus=0-1"]
        );
        let json = r#"{"cpu":{"quota":-1}}"#;
        assert_eq!(lines(json, true), ["cpu.max=max"]);
    }

    #[test]
    fn pids_without_limit_are_max() {
        assert_eq!(lines(r#"{"pids":{"limit":-1}}"#, false), ["pids.max=max"]);
        assert_eq!(lines(r#"{"pids":{"limit":5}}"#, true), ["pids.max=5"]);
    }

    #[test]
    fn files_of_v2_are_written_as_they_are_and_only_there() {
        let json = r#"{"unified":{"memory.high":"10","io.max":"8:0 rbps=1"}}"#;
        assert_eq!(lines(json, true), ["io.max=8:0 rbps=1", "memory.high=10"]);
        assert!(settings(&serde_json::from_str(json).unwrap(), false).is_err());
        let evil = serde_json::from_str(r#"{"unified":{"../x.y":"1"}}"#).unwrap();
        assert!(settings(&evil, true).is_err());
    }

    #[test]
    fn what_an_update_does_not_name_stays() {
        assert_eq!(lines(r#"{"cpu":{"quota":50000}}"#, true), ["cpu.max=50000"]);
        let period = lines(r#"{"cpu":{"period":50000}}"#, true);
        assert_eq!(period, ["cpu.max=KEPT 50000"]);
    }

    #[test]
    fn no_limit_of_memory_is_none_of_swap() {
        let all = lines(r#"{"memory":{"limit":-1}}"#, true);
        assert_eq!(all, ["memory.swap.max=max", "memory.max=max"]);
        let some = lines(r#"{"memory":{"limit":100}}"#, true);
        assert_eq!(some, ["memory.max=100"]);
    }

    #[test]
    fn an_open_list_of_devices_stays_open() {
        let count = |text: &str| device_rules(&serde_json::from_str(text).unwrap()).len();
        assert_eq!(count(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#), 1);
        assert_eq!(count(r#"{"devices":[{"allow":false,"access":"rwm"}]}"#), 11);
    }

    #[test]
    fn a_list_that_does_not_speak_of_all_devices_is_closed() {
        let count = |text: &str| device_rules(&serde_json::from_str(text).unwrap()).len();
        let one =
            r#"{"devices":[{"allow":true,"type":"c","major":10,"minor":229,"access":"rwm"}]}"#;
        assert_eq!(count(one), 11);
        assert_eq!(count(r#"{"devices":[]}"#), 10);
        assert_eq!(count("{}"), 10);
    }
}
