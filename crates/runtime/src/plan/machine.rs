//! What kind of machine the container's programs believe to be on, and where its memory comes from.

use hull_oci::runtime::{LinuxPersonalityDomain, MemoryPolicyFlagType, MemoryPolicyModeType, Spec};

use super::process::bit_list;
use crate::error::{Error, unsupported};

/// For `personality` and `set_mempolicy`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct MachinePlan {
    pub(crate) personality: Option<u64>,
    /// Mode with flags, and nodes.
    pub(crate) memory: Option<(u32, Vec<u64>)>,
}

pub(crate) fn plan_machine(spec: &Spec) -> Result<MachinePlan, Error> {
    let Some(linux) = spec.linux() else {
        return Ok(MachinePlan::default());
    };
    // What is not done is said, not passed over.
    if linux.intel_rdt().is_some() {
        return Err(unsupported("intelRdt is not supported"));
    }
    let personality = linux
        .personality()
        .as_ref()
        .map(|personality| match personality.domain() {
            LinuxPersonalityDomain::PerLinux => 0,
            LinuxPersonalityDomain::PerLinux32 => 8,
        });
    let memory = match linux.memory_policy() {
        Some(policy) => {
            let flags = policy.flags().iter().flatten().copied().map(flag);
            let nodes = bit_list(policy.nodes().as_deref().unwrap_or_default())?;
            Some((
                flags.fold(mode(policy.mode()), |all, flag| all | flag),
                nodes,
            ))
        }
        None => None,
    };
    Ok(MachinePlan {
        personality,
        memory,
    })
}

/// The kernel's `MPOL_*` numbers.
fn mode(mode: MemoryPolicyModeType) -> u32 {
    match mode {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    }
}

fn flag(flag: MemoryPolicyFlagType) -> u32 {
    match flag {
        MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(linux: &str) -> Result<MachinePlan, Error> {
        let text = format!(r#"{{"ociVersion":"1.3.0","linux":{linux}}}"#);
        plan_machine(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_policy_is_a_number_and_nodes() {
        let policy = r#"{"memoryPolicy":{"mode":"MPOL_BIND","nodes":"0,2","flags":["MPOL_F_STATIC_NODES"]},
            "personality":{"domain":"LINUX32"}}"#;
        let plan = plan(policy).unwrap();
        assert_eq!(plan.memory, Some((2 | 1 << 15, vec![0b101])));
        assert_eq!(plan.personality, Some(8));
    }

    #[test]
    fn what_is_not_done_is_refused() {
        assert!(plan(r#"{"intelRdt":{"closID":"x"}}"#).is_err());
        assert_eq!(plan("{}").unwrap(), MachinePlan::default());
    }
}
