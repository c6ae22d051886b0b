//! Limits, rights and devices of a service's containers.

use std::path::Path;

use hull_api::types::{
    DeviceMapping, DeviceRequest, HostConfig, ThrottleDevice, Ulimit, WeightDevice,
};

use crate::model::{self, Service, Throttle};

/// The part of the request that is about the host.
pub(super) fn host(service: &Service, directory: &str) -> Result<HostConfig, String> {
    let (security, unconfined) = security(service, directory)?;
    let (cap_add, cap_drop) = capabilities(service);
    let mut host = HostConfig {
        annotations: service.annotations.clone(),
        cap_add: some(&cap_add),
        cap_drop: some(&cap_drop),
        cgroup_parent: service.cgroup_parent.clone(),
        cgroupns_mode: service.cgroup.clone(),
        device_cgroup_rules: some(&service.device_cgroup_rules),
        dns: some(&service.dns),
        dns_options: some(&service.dns_opt),
        dns_search: some(&service.dns_search),
        extra_hosts: some(&colons(&service.extra_hosts)),
        group_add: some(&service.group_add),
        init: service.init,
        isolation: service.isolation.clone(),
        oom_kill_disable: service.oom_kill_disable.then_some(true),
        oom_score_adj: service.oom_score_adj,
        privileged: service.privileged,
        readonly_rootfs: service.read_only,
        runtime: service.runtime.clone(),
        security_opt: some(&security),
        shm_size: number(&service.shm_size),
        storage_opt: service.storage_opt.clone(),
        sysctls: service.sysctls.clone(),
        tmpfs: service
            .tmpfs
            .iter()
            .map(|text| {
                let (path, options) = text.split_once(':').unwrap_or((text, ""));
                (path.to_owned(), options.to_owned())
            })
            .collect(),
        ulimits: Some(ulimits(service)).filter(|limits| !limits.is_empty()),
        userns_mode: service.userns_mode.clone(),
        ..HostConfig::default()
    };
    if unconfined {
        host.masked_paths = Some(Vec::new());
        host.readonly_paths = Some(Vec::new());
    }
    amounts(service, &mut host);
    devices(service, &mut host);
    blkio(service, &mut host);
    Ok(host)
}

/// Full names, sorted; what is added is not dropped, and `ALL` says it all.
fn capabilities(service: &Service) -> (Vec<String>, Vec<String>) {
    let full = |list: &[String]| -> Vec<String> {
        let names = list.iter().map(|name| name.trim().to_uppercase());
        let mut names: Vec<String> = names
            .map(|name| match name.as_str() {
                "ALL" => name,
                _ if name.starts_with("CAP_") => name,
                _ => format!("CAP_{name}"),
            })
            .collect();
        names.sort();
        names.dedup();
        if names.iter().any(|name| name == "ALL") {
            names = vec!["ALL".into()];
        }
        names
    };
    let add = full(&service.cap_add);
    let mut drop = full(&service.cap_drop);
    drop.retain(|name| !add.contains(name));
    (add, drop)
}

fn some(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or_default()
}

/// `host=address` → `host:address`
fn colons(hosts: &[String]) -> Vec<String> {
    hosts
        .iter()
        .map(|host| host.replacen('=', ":", 1))
        .collect()
}

/// What `security_opt` says, with the profile of a file (beside the project's) in its place.
fn security(service: &Service, directory: &str) -> Result<(Vec<String>, bool), String> {
    let mut options = Vec::new();
    let mut unconfined = false;
    for option in &service.security_opt {
        if option == "systempaths=unconfined" {
            unconfined = true;
            continue;
        }
        let (key, value) = option
            .split_once('=')
            .or_else(|| option.split_once(':'))
            .unwrap_or((option, ""));
        if key == "seccomp" && !matches!(value, "unconfined" | "builtin") {
            let path = Path::new(directory).join(value);
            let profile = crate::load::file::read(&path.to_string_lossy())
                .map_err(|error| format!("cannot read the seccomp profile {value}: {error}"))?;
            let profile: serde_json::Value = serde_json::from_str(&profile)
                .map_err(|error| format!("the seccomp profile {value} is not JSON: {error}"))?;
            options.push(format!("seccomp={profile}"));
        } else {
            options.push(option.clone());
        }
    }
    Ok((options, unconfined))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a machine has fewer than 9 thousand million CPUs"
)]
fn nano(cpus: f64) -> i64 {
    (cpus * 1e9).round() as i64
}

fn amounts(service: &Service, host: &mut HostConfig) {
    host.memory = number(&service.mem_limit);
    host.memory_swap = number(&service.memswap_limit);
    host.memory_reservation = number(&service.mem_reservation);
    host.memory_swappiness = service
        .mem_swappiness
        .as_deref()
        .map(number)
        .filter(|swappiness| *swappiness != 0);
    host.cpu_count = service.cpu_count;
    host.cpu_period = service.cpu_period;
    host.cpu_quota = service.cpu_quota;
    host.cpu_realtime_period = service.cpu_rt_period;
    host.cpu_realtime_runtime = service.cpu_rt_runtime;
    host.cpu_shares = service.cpu_shares;
    host.nano_cpus = nano(service.cpus);
    host.cpu_percent = nano(service.cpu_percent) / 10_000_000;
    host.cpuset_cpus.clone_from(&service.cpuset);
    host.pids_limit = Some(service.pids_limit).filter(|limit| *limit != 0);
    let Some(deploy) = &service.deploy else {
        return;
    };
    if let Some(limits) = &deploy.resources.limits {
        if !limits.memory.is_empty() {
            host.memory = number(&limits.memory);
        }
        if limits.cpus != 0.0 {
            host.nano_cpus = nano(limits.cpus);
        }
        if limits.pids > 0 {
            host.pids_limit = Some(limits.pids);
        }
    }
    if let Some(reservations) = deploy
        .resources
        .reservations
        .as_ref()
        .filter(|all| !all.memory.is_empty())
    {
        host.memory_reservation = number(&reservations.memory);
    }
}

fn ulimits(service: &Service) -> Vec<Ulimit> {
    let limits = service.ulimits.iter().map(|(name, limit)| Ulimit {
        name: name.clone(),
        hard: limit.hard,
        soft: limit.soft,
    });
    limits.collect()
}

fn devices(service: &Service, host: &mut HostConfig) {
    let devices: Vec<DeviceMapping> = service
        .devices
        .iter()
        .map(|device| DeviceMapping {
            path_on_host: device.source.clone(),
            path_in_container: match device.target.as_str() {
                "" => device.source.clone(),
                target => target.to_owned(),
            },
            cgroup_permissions: device.permissions.clone(),
        })
        .collect();
    host.devices = (!devices.is_empty()).then_some(devices);
    let request = |request: &model::DeviceRequest, more: Option<&str>| DeviceRequest {
        driver: request.driver.clone(),
        count: request.count,
        device_ids: some(&request.device_ids),
        capabilities: Some(vec![
            request
                .capabilities
                .iter()
                .cloned()
                .chain(more.map(str::to_owned))
                .collect(),
        ]),
        options: Some(request.options.clone()),
    };
    let reserved = service
        .deploy
        .iter()
        .flat_map(|deploy| &deploy.resources.reservations);
    let requests: Vec<DeviceRequest> = reserved
        .flat_map(|reserved| &reserved.devices)
        .map(|device| request(device, None))
        .chain(service.gpus.iter().map(|gpu| request(gpu, Some("gpu"))))
        .collect();
    host.device_requests = (!requests.is_empty()).then_some(requests);
}

fn blkio(service: &Service, host: &mut HostConfig) {
    let Some(blkio) = &service.blkio_config else {
        return;
    };
    let throttles = |list: &[Throttle]| {
        let list: Vec<ThrottleDevice> = list
            .iter()
            .map(|device| ThrottleDevice {
                path: device.path.clone(),
                rate: number(&device.rate).unsigned_abs(),
            })
            .collect();
        (!list.is_empty()).then_some(list)
    };
    let weights: Vec<WeightDevice> = blkio
        .weight_device
        .iter()
        .map(|device| WeightDevice {
            path: device.path.clone(),
            weight: device.weight,
        })
        .collect();
    host.blkio_weight = blkio.weight;
    host.blkio_weight_device = (!weights.is_empty()).then_some(weights);
    host.blkio_device_read_bps = throttles(&blkio.device_read_bps);
    host.blkio_device_read_iops = throttles(&blkio.device_read_iops);
    host.blkio_device_write_bps = throttles(&blkio.device_write_bps);
    host.blkio_device_write_iops = throttles(&blkio.device_write_iops);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_lies_beside_the_project_and_is_a_file() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("profile.json"), r#"{"a": 1}"#).unwrap();
        let service = |option: &str| {
            let mut service = Service::default();
            service.security_opt = vec![option.to_owned()];
            service
        };
        let place = directory.path().to_str().unwrap();
        let (options, _) = security(&service("seccomp=profile.json"), place).unwrap();
        assert_eq!(options, [r#"seccomp={"a":1}"#]);
        let error = security(&service("seccomp=/dev/zero"), place).unwrap_err();
        assert!(error.contains("it is a device"), "{error}");
    }
}
