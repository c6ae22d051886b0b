//! What a seccomp listener is told with the descriptor it is sent: the specification's state of a container
//! process.

use hull_oci::runtime::Spec;
use serde::Serialize;

use crate::hooks::HookState;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Notice<'a> {
    oci_version: &'a str,
    /// What the descriptors are that come with it.
    fds: [&'a str; 1],
    pid: i32,
    metadata: &'a str,
    state: HookState<'a>,
}

/// `pid`: whose calls the listener answers, in the runtime's pid namespace.
pub(crate) fn notice(spec: &Spec, pid: i32, state: HookState<'_>) -> String {
    let linux = spec.linux().as_ref();
    let section = linux.and_then(|linux| linux.seccomp().as_ref());
    let metadata = section.and_then(|section| section.listener_metadata().as_deref());
    let notice = Notice {
        oci_version: spec.version(),
        fds: ["seccompFd"],
        pid,
        metadata: metadata.unwrap_or_default(),
        state,
    };
    serde_json::to_string(&notice).unwrap_or_default()
}
