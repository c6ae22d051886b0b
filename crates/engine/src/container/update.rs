//! Changes a container's limits and restart policy.

use crate::{
    Engine,
    actor::Order,
    error::{Error, Result},
    model::{Resources, RestartPolicy},
};

impl Engine {
    /// Changes limits (those that are not zero) and, if given, the restart policy; a running
    /// container feels it at once.
    pub async fn update(
        &self,
        reference: &str,
        resources: Resources,
        policy: Option<RestartPolicy>,
    ) -> Result<()> {
        let resources = Box::new(resources);
        let handle = self.find(reference)?;
        handle
            .order(|reply| Order::Update {
                resources,
                policy,
                reply,
            })
            .await
    }
}

/// The limits a container has after an update: what is zero or empty stays as it was.
pub(crate) fn merge(current: &Resources, wanted: &Resources) -> Result<Resources> {
    let mut merged = current.clone();
    let either = |old: i64, new: i64| if new == 0 { old } else { new };
    if wanted.nano_cpus > 0 && (current.cpu_quota_us > 0 || current.cpu_period_us > 0) {
        return Err(conflict("Nano CPUs", "CPU Period or CPU Quota"));
    }
    if (wanted.cpu_quota_us > 0 || wanted.cpu_period_us > 0) && current.nano_cpus > 0 {
        return Err(conflict("CPU Period or CPU Quota", "Nano CPUs"));
    }
    merged.cpu_shares = either(current.cpu_shares, wanted.cpu_shares);
    merged.nano_cpus = either(current.nano_cpus, wanted.nano_cpus);
    merged.cpu_period_us = either(current.cpu_period_us, wanted.cpu_period_us);
    merged.cpu_quota_us = either(current.cpu_quota_us, wanted.cpu_quota_us);
    merged.cpu_realtime_period_us = either(
        current.cpu_realtime_period_us,
        wanted.cpu_realtime_period_us,
    );
    merged.cpu_realtime_runtime_us = either(
        current.cpu_realtime_runtime_us,
        wanted.cpu_realtime_runtime_us,
    );
    for (old, new) in [
        (&mut merged.cpuset_cpus, &wanted.cpuset_cpus),
        (&mut merged.cpuset_mems, &wanted.cpuset_mems),
    ] {
        if !new.is_empty() {
            old.clone_from(new);
        }
    }
    merge_memory(&mut merged, wanted)?;
    merged.pids_limit = wanted.pids_limit.or(current.pids_limit);
    if wanted.blkio_weight != 0 {
        merged.blkio_weight = wanted.blkio_weight;
    }
    Ok(merged)
}

fn merge_memory(merged: &mut Resources, wanted: &Resources) -> Result<()> {
    let old_swap = merged.memory_swap;
    if wanted.memory != 0 {
        if old_swap > 0 && wanted.memory > old_swap && wanted.memory_swap == 0 {
            return Err(Error::Conflict(
                "Memory limit should be smaller than already set memoryswap limit, update the \
                 memoryswap at the same time"
                    .to_owned(),
            ));
        }
        merged.memory = wanted.memory;
    }
    if wanted.memory_swap != 0 {
        merged.memory_swap = wanted.memory_swap;
    }
    if wanted.memory_reservation != 0 {
        merged.memory_reservation = wanted.memory_reservation;
    }
    Ok(())
}

fn conflict(wanted: &str, current: &str) -> Error {
    Error::Conflict(format!(
        "Conflicting options: {wanted} cannot be updated as {current} has already been set"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_zero_stays() {
        let current = Resources {
            memory: 64 << 20,
            cpu_shares: 512,
            ..Resources::default()
        };
        let wanted = Resources {
            cpu_shares: 256,
            ..Resources::default()
        };
        let merged = merge(&current, &wanted).unwrap();
        assert_eq!((merged.memory, merged.cpu_shares), (64 << 20, 256));
    }

    #[test]
    fn quota_and_nano_cpus_exclude_each_other() {
        let current = Resources {
            nano_cpus: 1,
            ..Resources::default()
        };
        let wanted = Resources {
            cpu_quota_us: 1000,
            ..Resources::default()
        };
        assert!(
            merge(&current, &wanted)
                .unwrap_err()
                .to_string()
                .contains("Nano CPUs")
        );
    }

    #[test]
    fn memory_may_not_outgrow_its_swap() {
        let current = Resources {
            memory: 1 << 20,
            memory_swap: 2 << 20,
            ..Resources::default()
        };
        let wanted = Resources {
            memory: 4 << 20,
            ..Resources::default()
        };
        assert!(merge(&current, &wanted).is_err());
    }
}
