//! Limits, weights and devices.

use hull_api::types;
use hull_engine::model::{
    DeviceMapping, DeviceRequest, Resources, ThrottleDevice, Ulimit, WeightDevice,
};

use super::{Invalid, Result, null_if_empty};

/// Into the engine's words.
pub(crate) fn from_wire(wire: types::Resources) -> Result<Resources> {
    if wire.cpu_count != 0 || wire.cpu_percent != 0 {
        return Err(Invalid::new(
            "CpuCount and CpuPercent are not supported on Linux",
        ));
    }
    if wire.io_maximum_iops != 0 || wire.io_maximum_bandwidth != 0 {
        return Err(Invalid::new(
            "IOMaximumIOps and IOMaximumBandwidth are not supported on Linux",
        ));
    }
    let devices = wire.devices.unwrap_or_default();
    Ok(Resources {
        cpu_shares: wire.cpu_shares,
        nano_cpus: wire.nano_cpus,
        cpu_period_us: wire.cpu_period,
        cpu_quota_us: wire.cpu_quota,
        cpu_realtime_period_us: wire.cpu_realtime_period,
        cpu_realtime_runtime_us: wire.cpu_realtime_runtime,
        cpuset_cpus: wire.cpuset_cpus,
        cpuset_mems: wire.cpuset_mems,
        memory: wire.memory,
        memory_reservation: wire.memory_reservation,
        memory_swap: wire.memory_swap,
        // −1 is how the command line says "not set".
        memory_swappiness: wire
            .memory_swappiness
            .filter(|swappiness| *swappiness != -1),
        oom_kill_disable: wire.oom_kill_disable.unwrap_or(false),
        pids_limit: wire.pids_limit,
        blkio_weight: wire.blkio_weight,
        blkio_weight_device: each(wire.blkio_weight_device, |device| WeightDevice {
            path: device.path,
            weight: device.weight,
        }),
        blkio_read_bps: each(wire.blkio_device_read_bps, throttle),
        blkio_write_bps: each(wire.blkio_device_write_bps, throttle),
        blkio_read_iops: each(wire.blkio_device_read_iops, throttle),
        blkio_write_iops: each(wire.blkio_device_write_iops, throttle),
        devices: devices.into_iter().map(device).collect::<Result<_>>()?,
        device_cgroup_rules: wire.device_cgroup_rules.unwrap_or_default(),
        device_requests: each(wire.device_requests, |request| DeviceRequest {
            driver: request.driver,
            count: request.count,
            device_ids: request.device_ids.unwrap_or_default(),
            capabilities: request.capabilities.unwrap_or_default(),
            options: request.options.unwrap_or_default(),
        }),
        ulimits: each(wire.ulimits, |limit| Ulimit {
            name: limit.name,
            soft: limit.soft,
            hard: limit.hard,
        }),
        cgroup_parent: wire.cgroup_parent,
    })
}

fn each<T, U>(items: Option<Vec<T>>, convert: impl Fn(T) -> U) -> Vec<U> {
    items.unwrap_or_default().into_iter().map(convert).collect()
}

fn throttle(device: types::ThrottleDevice) -> ThrottleDevice {
    ThrottleDevice {
        path: device.path,
        rate: device.rate,
    }
}

fn device(device: types::DeviceMapping) -> Result<DeviceMapping> {
    let permissions = match device.cgroup_permissions.as_str() {
        "" => "rwm".to_owned(),
        letters if letters.chars().all(|letter| "rwm".contains(letter)) => letters.to_owned(),
        other => return Err(Invalid::new(format!("invalid device mode: {other}"))),
    };
    let inside = device.path_in_container;
    Ok(DeviceMapping {
        path_in_container: if inside.is_empty() {
            device.path_on_host.clone()
        } else {
            inside
        },
        path_on_host: device.path_on_host,
        permissions,
    })
}

/// Fills the embedded members of a host configuration.
pub(crate) fn to_wire(resources: &Resources, wire: &mut types::HostConfig) {
    let Resources {
        blkio_weight_device,
        devices,
        ulimits,
        device_requests,
        ..
    } = resources.clone();
    wire.cpu_shares = resources.cpu_shares;
    wire.memory = resources.memory;
    wire.nano_cpus = resources.nano_cpus;
    wire.cgroup_parent.clone_from(&resources.cgroup_parent);
    wire.blkio_weight = resources.blkio_weight;
    wire.blkio_weight_device = Some(each(Some(blkio_weight_device), |device| {
        types::WeightDevice {
            path: device.path,
            weight: device.weight,
        }
    }));
    wire.blkio_device_read_bps = Some(throttles(&resources.blkio_read_bps));
    wire.blkio_device_write_bps = Some(throttles(&resources.blkio_write_bps));
    wire.blkio_device_read_iops = Some(throttles(&resources.blkio_read_iops));
    wire.blkio_device_write_iops = Some(throttles(&resources.blkio_write_iops));
    wire.cpu_period = resources.cpu_period_us;
    wire.cpu_quota = resources.cpu_quota_us;
    wire.cpu_realtime_period = resources.cpu_realtime_period_us;
    wire.cpu_realtime_runtime = resources.cpu_realtime_runtime_us;
    wire.cpuset_cpus.clone_from(&resources.cpuset_cpus);
    wire.cpuset_mems.clone_from(&resources.cpuset_mems);
    wire.devices = Some(each(Some(devices), |device| types::DeviceMapping {
        path_on_host: device.path_on_host,
        path_in_container: device.path_in_container,
        cgroup_permissions: device.permissions,
    }));
    wire.device_cgroup_rules = null_if_empty(resources.device_cgroup_rules.clone());
    wire.device_requests = null_if_empty(each(Some(device_requests), |request| {
        types::DeviceRequest {
            driver: request.driver,
            count: request.count,
            device_ids: null_if_empty(request.device_ids),
            capabilities: null_if_empty(request.capabilities),
            options: Some(request.options),
        }
    }));
    wire.memory_reservation = resources.memory_reservation;
    wire.memory_swap = resources.memory_swap;
    wire.memory_swappiness = resources.memory_swappiness;
    wire.oom_kill_disable = Some(resources.oom_kill_disable);
    wire.pids_limit = resources.pids_limit.filter(|limit| *limit > 0);
    wire.ulimits = Some(each(Some(ulimits), |limit| types::Ulimit {
        name: limit.name,
        hard: limit.hard,
        soft: limit.soft,
    }));
}

fn throttles(devices: &[ThrottleDevice]) -> Vec<types::ThrottleDevice> {
    let wire = |device: &ThrottleDevice| types::ThrottleDevice {
        path: device.path.clone(),
        rate: device.rate,
    };
    devices.iter().map(wire).collect()
}
