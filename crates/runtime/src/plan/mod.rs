//! Decides what a spec means, before anything is done.
//!
//! Pure, but for names that only the host can resolve; those stay names here.

mod machine;
mod mount;
mod namespace;
mod process;

pub(crate) use machine::{MachinePlan, plan_machine};
pub(crate) use mount::{Idmap, MountPlan, plan_mount, root_propagation};
pub(crate) use namespace::{NamespacePlan, plan_namespaces};
pub(crate) use process::{ProcessPlan, plan_process};

use hull_oci::runtime::LinuxIdMapping;
use hull_sys::idmap::Mapping;

/// Ranges of a user namespace, as the kernel wants them.
pub(crate) fn mappings(list: Option<&Vec<LinuxIdMapping>>) -> Vec<Mapping> {
    list.into_iter()
        .flatten()
        .map(|map| Mapping {
            inside: map.container_id(),
            outside: map.host_id(),
            size: map.size(),
        })
        .collect()
}
