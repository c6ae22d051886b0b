//! What the container may do to the host.

use hull_api::types::HostConfig;

use super::some;
use crate::flags::{FlagSet, List};
use crate::options::security::{self, Sysctl};

#[derive(Default)]
pub(super) struct SecurityFlags {
    cap_add: Vec<String>,
    cap_drop: Vec<String>,
    cgroupns: String,
    ipc: String,
    pid: String,
    privileged: bool,
    options: Vec<String>,
    sysctls: List<Sysctl>,
    userns: String,
    uts: String,
}

impl SecurityFlags {
    #[rustfmt::skip]
    pub(super) fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("cap-add", "list", "Add Linux capabilities", &mut self.cap_add);
        set.add("cap-drop", "list", "Drop Linux capabilities", &mut self.cap_drop);
        set.add("cgroupns", "string", "Cgroup namespace to use (host|private)\n'host':    Run the container in the Docker host's cgroup namespace\n'private': Run the container in its own private cgroup namespace\n'':        Use the cgroup namespace as configured by the\n           default-cgroupns-mode option on the daemon (default)", &mut self.cgroupns);
        set.add("ipc", "string", "IPC mode to use", &mut self.ipc);
        set.add("pid", "string", "PID namespace to use", &mut self.pid);
        set.add("privileged", "", "Give extended privileges to this container", &mut self.privileged);
        set.add("security-opt", "list", "Security Options", &mut self.options);
        set.add("sysctl", "map", "Sysctl options (default map[])", &mut self.sysctls);
        set.add("userns", "string", "User namespace to use", &mut self.userns);
        set.add("uts", "string", "UTS namespace to use", &mut self.uts);
    }

    pub(super) fn apply(&self, host: &mut HostConfig) -> Result<(), String> {
        let is_one_of = |text: &str, known: &[&str]| {
            known.contains(&text)
                || text
                    .strip_prefix("container:")
                    .is_some_and(|name| known.contains(&"container") && !name.is_empty())
        };
        if !is_one_of(&self.pid, &["", "host", "container"]) {
            return Err("--pid: invalid PID mode".to_owned());
        }
        if !is_one_of(&self.uts, &["", "host"]) {
            return Err("--uts: invalid UTS mode".to_owned());
        }
        if !is_one_of(&self.userns, &["", "host"]) {
            return Err("--userns: invalid USER mode".to_owned());
        }
        if !is_one_of(&self.cgroupns, &["", "host", "private"]) {
            return Err("--cgroupns: invalid CGROUP mode".to_owned());
        }
        let (add, drop) = security::capabilities(&self.cap_add, &self.cap_drop);
        host.cap_add = some(add);
        host.cap_drop = some(drop);
        self.cgroupns.clone_into(&mut host.cgroupns_mode);
        self.ipc.clone_into(&mut host.ipc_mode);
        self.pid.clone_into(&mut host.pid_mode);
        host.privileged = self.privileged;
        self.userns.clone_into(&mut host.userns_mode);
        self.uts.clone_into(&mut host.uts_mode);
        host.sysctls = self
            .sysctls
            .0
            .iter()
            .map(|set| (set.key.clone(), set.value.clone()))
            .collect();
        let security = security::read(&self.options)?;
        host.security_opt = some(security.options);
        if security.unmasked {
            host.masked_paths = Some(Vec::new());
            host.readonly_paths = Some(Vec::new());
        }
        Ok(())
    }
}
