//! `container update`

use hull_api::types::{ContainerUpdate, PortMap};

use crate::commands::each::each;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::{FlagSet, One};
use crate::options::number::{Bytes, NanoCpus, SwapBytes};
use crate::options::{port, restart};
use crate::ui;

#[derive(Default)]
pub(crate) struct Update {
    blkio_weight: u16,
    cpu_period: i64,
    cpu_quota: i64,
    cpu_rt_period: i64,
    cpu_rt_runtime: i64,
    cpu_shares: i64,
    cpus: One<NanoCpus>,
    cpuset_cpus: String,
    cpuset_mems: String,
    /// Taken and not heeded: kernels have no such limit any more.
    kernel_memory: One<Bytes>,
    memory: One<Bytes>,
    memory_reservation: One<Bytes>,
    memory_swap: One<SwapBytes>,
    pids_limit: Option<i64>,
    publish_add: Vec<String>,
    publish_remove: Vec<String>,
    restart: String,
}

impl Command for Update {
    const ABOUT: About = About::new(
        &["container update", "update"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Update configuration of one or more containers",
        Operands::AtLeast(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("blkio-weight", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)", &mut self.blkio_weight);
        set.add("cpu-period", "int", "Limit CPU CFS (Completely Fair Scheduler) period", &mut self.cpu_period);
        set.add("cpu-quota", "int", "Limit CPU CFS (Completely Fair Scheduler) quota", &mut self.cpu_quota);
        set.add("cpu-rt-period", "int", "Limit the CPU real-time period in microseconds", &mut self.cpu_rt_period);
        set.add("cpu-rt-runtime", "int", "Limit the CPU real-time runtime in microseconds", &mut self.cpu_rt_runtime);
        set.add("c,cpu-shares", "int", "CPU shares (relative weight)", &mut self.cpu_shares);
        set.add("cpus", "decimal", "Number of CPUs", &mut self.cpus);
        set.add("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)", &mut self.cpuset_cpus);
        set.add("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)", &mut self.cpuset_mems);
        set.hidden("kernel-memory", "bytes", &mut self.kernel_memory);
        set.add("m,memory", "bytes", "Memory limit", &mut self.memory);
        set.add("memory-reservation", "bytes", "Memory soft limit", &mut self.memory_reservation);
        set.add("memory-swap", "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap", &mut self.memory_swap);
        set.add("pids-limit", "int", "Tune container pids limit (set -1 for unlimited)", &mut self.pids_limit);
        set.hidden("publish-add", "list", &mut self.publish_add);
        set.hidden("publish-rm", "list", &mut self.publish_remove);
        set.add("restart", "string", "Restart policy to apply when a container exits", &mut self.restart);
    }

    async fn run(self, call: Call) -> Result<u8> {
        if call.changed.is_empty() {
            return Err(Error::new(
                "you must provide one or more flags when using this command",
            ));
        }
        let bytes = |value: &One<Bytes>| value.0.map_or(0, |bytes| bytes.0);
        let body = ContainerUpdate {
            restart_policy: restart::parse(&self.restart)?,
            blkio_weight: self.blkio_weight,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpu_realtime_period: self.cpu_rt_period,
            cpu_realtime_runtime: self.cpu_rt_runtime,
            cpu_shares: self.cpu_shares,
            nano_cpus: self.cpus.0.map_or(0, |cpus| cpus.0),
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            memory: bytes(&self.memory),
            memory_reservation: bytes(&self.memory_reservation),
            memory_swap: self.memory_swap.0.map_or(0, |bytes| bytes.0),
            pids_limit: self.pids_limit,
            publish_add: ports(&self.publish_add)?,
            publish_remove: ports(&self.publish_remove)?,
            ..ContainerUpdate::default()
        };
        let client = connect(&call.globals).await?;
        each(&client, &call.operands, |client, name| {
            let body = body.clone();
            async move {
                let updated = client
                    .container_update(&name, &body)
                    .await
                    .map_err(failure)?;
                updated
                    .warnings
                    .iter()
                    .flatten()
                    .for_each(|warning| ui::note(warning));
                Ok(name)
            }
        })
        .await
    }
}

/// `8080:80/tcp`, or `80/tcp` for any port of the host.
fn ports(texts: &[String]) -> Result<PortMap> {
    let ports = port::read(texts, &[]).map_err(Error::new)?;
    let bindings = ports.bindings.into_iter();
    Ok(bindings.map(|(port, list)| (port, Some(list))).collect())
}
