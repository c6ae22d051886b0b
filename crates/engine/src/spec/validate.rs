//! Refuses at create what could not start, and warns of what the host cannot do. Docker's texts.

use super::{
    HostFacts, SpecError, capabilities,
    confinement::{self, SecurityOptions},
    devices, limits,
    namespaces::Owner,
    seccomp, sysctl,
};
use crate::model::{
    CgroupNamespace, Config, HostConfig, IpcNamespace, NetworkMode, Resources, UtsNamespace,
};

/// Below this a container cannot even start: the kernel charges it for its own first pages.
const MEMORY_BYTES_MIN: i64 = 6 << 20;

/// The scheduler's own bounds.
const PERIOD_US: std::ops::RangeInclusive<i64> = 1_000..=1_000_000;

/// The OOM killer's own bounds.
const OOM_SCORE: std::ops::RangeInclusive<i32> = -1000..=1000;

/// Refuses what could not start. Gives warnings for the answer to `create`.
pub fn validate(
    config: &Config,
    host: &HostConfig,
    facts: &HostFacts,
) -> Result<Vec<String>, SpecError> {
    capabilities::granted(host)?;
    check_options(host, facts)?;
    check_namespaces(config, host, facts)?;
    limits::rlimits(&host.resources.ulimits, &[])?;
    for rule in &host.resources.device_cgroup_rules {
        devices::parse_rule(rule)?;
    }
    if host.shm_size < 0 {
        return invalid("SHM size can not be less than 0");
    }
    if !OOM_SCORE.contains(&host.oom_score_adj) {
        let value = host.oom_score_adj;
        return invalid(format!(
            "Invalid value {value}, range for oom score adj is [-1000, 1000]"
        ));
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        let path = &config.working_dir;
        return invalid(format!(
            "the working directory '{path}' is invalid, it needs to be an absolute path"
        ));
    }
    let mut warnings = validate_resources(&host.resources, facts)?;
    let is_host = host.network_mode == NetworkMode::Host;
    if is_host && !host.port_bindings.is_empty() {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    Ok(warnings)
}

/// As [`validate`], for what `update` changes.
pub fn validate_resources(wish: &Resources, facts: &HostFacts) -> Result<Vec<String>, SpecError> {
    check_memory(wish)?;
    check_cpu(wish, facts)?;
    check_cpusets(wish, facts)?;
    let weights = wish.blkio_weight_device.iter().map(|device| device.weight);
    let all = weights.chain(std::iter::once(wish.blkio_weight));
    if all
        .into_iter()
        .any(|weight| weight != 0 && !(10..=1000).contains(&weight))
    {
        return invalid("Range of blkio weight is from 10 to 1000");
    }
    Ok(warnings(wish, facts))
}

fn invalid<T>(text: impl Into<String>) -> Result<T, SpecError> {
    Err(SpecError::Invalid(text.into()))
}

fn check_options(host: &HostConfig, facts: &HostFacts) -> Result<(), SpecError> {
    let options = SecurityOptions::parse(&host.security_opt)?;
    confinement::apparmor(host, &options, facts)?;
    if let Some(json) = options.seccomp.as_deref() {
        let named = matches!(json, "unconfined" | "builtin" | "default" | "");
        let surroundings = seccomp::Surroundings {
            granted: capabilities::granted(host)?,
            kernel: facts.kernel,
        };
        if !named {
            let profile = seccomp::from_docker_profile(json, &surroundings)?;
            hull_runtime::seccomp::compile(&profile)
                .map_err(|error| SpecError::SeccompProfile(error.to_string()))?;
        }
    }
    Ok(())
}

fn check_namespaces(
    config: &Config,
    host: &HostConfig,
    facts: &HostFacts,
) -> Result<(), SpecError> {
    let conflict = |text| Err(SpecError::Conflict(text));
    let shares_network = matches!(host.network_mode, NetworkMode::Container(_));
    if host.uts == UtsNamespace::Host && !config.hostname.is_empty() {
        return conflict("conflicting options: hostname and the UTS mode");
    }
    if host.uts == UtsNamespace::Host && !config.domainname.is_empty() {
        return conflict("conflicting options: domainname and the UTS mode");
    }
    let shared: [(bool, &str); 4] = [
        (!config.hostname.is_empty(), "hostname"),
        (!config.mac_address.is_empty(), "mac-address"),
        (!host.dns.is_empty(), "dns"),
        (!host.extra_hosts.is_empty(), "custom host-to-IP mapping"),
    ];
    if let Some((_, what)) = shared
        .iter()
        .find(|(is_asked, _)| shares_network && *is_asked)
    {
        return invalid(format!("conflicting options: {what} and the network mode"));
    }
    if shares_network && !host.links.is_empty() {
        return conflict(
            "conflicting options: container type network can't be used with links. This would \
             result in undefined behavior",
        );
    }
    let private = host.cgroup_namespace == Some(CgroupNamespace::Private);
    if private && host.privileged && facts.cgroup_version == 1 {
        return conflict(
            "privileged mode is incompatible with private cgroup namespaces on cgroup v1 host.  \
             You must run the container in the host cgroup namespace when running privileged mode",
        );
    }
    let owner = |is_host| if is_host { Owner::Host } else { Owner::Own };
    let owners = sysctl::Owners {
        network: owner(host.network_mode == NetworkMode::Host),
        ipc: owner(host.ipc == IpcNamespace::Host),
        uts: owner(host.uts == UtsNamespace::Host),
    };
    sysctl::plan(&host.sysctls, &owners, None).map(drop)
}

fn check_memory(wish: &Resources) -> Result<(), SpecError> {
    let (memory, swap, reservation) = (wish.memory, wish.memory_swap, wish.memory_reservation);
    if memory != 0 && memory < MEMORY_BYTES_MIN {
        return invalid("Minimum memory limit allowed is 6MB");
    }
    if memory > 0 && swap > 0 && swap < memory {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory == 0 && swap > 0 {
        return invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if let Some(value) = wish.memory_swappiness
        && !(-1..=100).contains(&value)
    {
        return invalid(format!(
            "Invalid value: {value}, valid memory swappiness range is 0-100"
        ));
    }
    if reservation != 0 && reservation < MEMORY_BYTES_MIN {
        return invalid("Minimum memory reservation allowed is 6MB");
    }
    if memory > 0 && reservation > 0 && memory < reservation {
        return invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    Ok(())
}

fn check_cpu(wish: &Resources, facts: &HostFacts) -> Result<(), SpecError> {
    if wish.nano_cpus != 0 {
        if wish.cpu_period_us != 0 {
            return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set.");
        }
        if wish.cpu_quota_us != 0 {
            return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set.");
        }
        let most = i64::from(facts.cpus) * 1_000_000_000;
        // A hundredth is what the scheduler can still tell from nothing.
        if !(10_000_000..=most).contains(&wish.nano_cpus) {
            let cpus = facts.cpus;
            return invalid(format!(
                "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
            ));
        }
    }
    if wish.cpu_period_us != 0 && !PERIOD_US.contains(&wish.cpu_period_us) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if wish.cpu_quota_us > 0 && wish.cpu_quota_us < 1000 {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if wish.cpu_shares < 0 {
        return invalid(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            wish.cpu_shares
        ));
    }
    let (period, runtime) = (wish.cpu_realtime_period_us, wish.cpu_realtime_runtime_us);
    if period != 0 && runtime > period {
        return invalid("cpu real-time runtime cannot be higher than cpu real-time period");
    }
    Ok(())
}

fn check_cpusets(wish: &Resources, facts: &HostFacts) -> Result<(), SpecError> {
    for (what, kind, asked, offered) in [
        ("CPUs", "cpuset cpus", &wish.cpuset_cpus, &facts.cpuset_cpus),
        (
            "memory nodes",
            "cpuset mems",
            &wish.cpuset_mems,
            &facts.cpuset_mems,
        ),
    ] {
        if asked.is_empty() {
            continue;
        }
        let Some(numbers) = ranges(asked) else {
            return invalid(format!("Invalid value {asked} for {kind}"));
        };
        let available = ranges(offered).unwrap_or_default();
        let has = |number: u32| available.iter().any(|range| range.contains(&number));
        if !offered.is_empty()
            && !numbers
                .iter()
                .all(|range| has(*range.start()) && has(*range.end()))
        {
            return invalid(format!(
                "Requested {what} are not available - requested {asked}, available: {offered}"
            ));
        }
    }
    Ok(())
}

/// Takes `0-3,7`.
fn ranges(text: &str) -> Option<Vec<std::ops::RangeInclusive<u32>>> {
    text.split(',')
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then_some(first..=last)
        })
        .collect()
}

fn warnings(wish: &Resources, facts: &HostFacts) -> Vec<String> {
    let mut warnings = Vec::new();
    if wish.oom_kill_disable && facts.cgroup_version == 2 {
        warnings
            .push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".into());
    } else if wish.oom_kill_disable && wish.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can \
             result in the system running out of resources."
                .to_owned(),
        );
    }
    if wish.memory_swappiness.is_some_and(|value| value >= 0) && facts.cgroup_version == 2 {
        warnings.push(
            "Your kernel does not support memory swappiness capabilities or the cgroup is not \
             mounted. Memory swappiness discarded."
                .to_owned(),
        );
    }
    warnings
}
