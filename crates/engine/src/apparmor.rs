//! Keeps the AppArmor profile of ordinary containers in the kernel.
//!
//! The kernel takes compiled policy only, and AppArmor's own parser is what compiles it: each host that
//! enforces AppArmor has it. It is run from its fixed place, with nothing of a container's in its input.
//! Other programs drop profiles that they do not know (`aa-remove-unknown`, a reload of the service), so
//! each start looks whether the profile is still there.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use crate::error::{Attempt, Error, Result};

/// The profile of containers that name none. It is Docker's name, which clients and scripts know; one
/// that another engine has put there under that name serves as well.
pub(crate) const DEFAULT_PROFILE: &str = "docker-default";

/// `name (mode)`, a line for each profile in the kernel.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// Where distributions put the parser.
const PARSERS: [&str; 2] = ["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"];

/// What it confines, but for the signals: those name other profiles.
const RULES: &str = "  capability,
  file,
  network,
  umount,

  deny mount,
  deny network alg,

  # Of /proc, only what belongs to a process is written.
  deny /proc/* w,
  deny /proc/[^0-9]*/** w,
  deny /proc/kcore rwklx,
  deny /proc/sysrq-trigger rwklx,

  # Of /sys, only control groups, where they are writable at all.
  deny /sys/[^f]** wklx,
  deny /sys/f[^s]** wklx,
  deny /sys/fs/[^c]** wklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
";

/// Whether containers can be confined here: the kernel enforces, and the default profile is there or can
/// be put there.
pub(crate) fn is_usable() -> bool {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if enabled.is_ok_and(|text| text.trim() == "Y") {
        let usable = parser().is_some() || is_loaded(DEFAULT_PROFILE);
        if !usable {
            tracing::warn!(
                "AppArmor is on, but its parser is not installed: containers run without a profile"
            );
        }
        return usable;
    }
    false
}

/// Has the default profile in the kernel when it returns. Blocks.
pub(crate) fn ensure_default() -> Result<()> {
    /// Many containers start at once; one of them compiles.
    static COMPILING: Mutex<()> = Mutex::new(());
    if is_loaded(DEFAULT_PROFILE) {
        return Ok(());
    }
    let _one = COMPILING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if is_loaded(DEFAULT_PROFILE) {
        return Ok(());
    }
    let own = fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    load(&profile(DEFAULT_PROFILE, own_profile(&own)))
}

fn is_loaded(profile: &str) -> bool {
    fs::read_to_string(LOADED).is_ok_and(|list| names(&list, profile))
}

fn names(list: &str, profile: &str) -> bool {
    list.lines()
        .filter_map(|line| line.rsplit_once(" ("))
        .any(|(name, _mode)| name == profile)
}

/// `name (mode)` or `unconfined`.
fn own_profile(text: &str) -> &str {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    match text.rsplit_once(" (") {
        Some((name, _mode)) => name,
        None => "unconfined",
    }
}

/// The policy's text; `daemon` is the profile that confines ourselves and our supervisors.
fn profile(name: &str, daemon: &str) -> String {
    let mut text =
        format!("profile {name} flags=(attach_disconnected,mediate_deleted) {{\n{RULES}");
    text.push_str("\n  # Containers of one profile see each other within their namespaces; the host may end them.\n");
    let peers = std::collections::BTreeSet::from(["unconfined", daemon]);
    for peer in peers {
        text += &format!("  signal (receive) peer={peer},\n");
    }
    text += &format!("  signal (send, receive) peer={name},\n");
    text += &format!("  ptrace (read, readby, trace, tracedby) peer={name},\n}}\n");
    text
}

fn parser() -> Option<PathBuf> {
    let mut places = PARSERS.iter().map(Path::new);
    places.find(|place| place.exists()).map(Path::to_owned)
}

fn load(policy: &str) -> Result<()> {
    let attempt = || format!("load the AppArmor profile {DEFAULT_PROFILE}");
    let parser = parser().ok_or_else(|| {
        Error::Internal(format!(
            "cannot load the AppArmor profile {DEFAULT_PROFILE}: {} is not installed; install the package \
             `apparmor`, or run the container with --security-opt apparmor=unconfined",
            PARSERS[0]
        ))
    })?;
    let mut child = Command::new(parser)
        .args(["--replace", "--skip-cache", "--quiet"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .attempt(attempt)?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read says why on its way out.
        let _ = input.write_all(policy.as_bytes());
    }
    let mut said = String::new();
    if let Some(mut errors) = child.stderr.take() {
        let _ = errors.read_to_string(&mut said);
    }
    // The engine waits for every child of the daemon and may have been first: the kernel's list is what counts.
    let _ = child.wait();
    match is_loaded(DEFAULT_PROFILE) {
        true => Ok(()),
        false => Err(io::Error::other(said.trim().to_owned())).attempt(attempt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_by_its_whole_name() {
        let list = "/usr/bin/man (enforce)\ndocker-default (enforce)\nmy (odd) one (complain)\n";
        assert!(names(list, "docker-default"));
        assert!(names(list, "my (odd) one"));
        assert!(!names(list, "docker"));
        assert!(!names("docker-default2 (enforce)\n", "docker-default"));
    }

    #[test]
    fn a_daemon_that_is_confined_may_still_signal_its_containers() {
        assert_eq!(own_profile("unconfined\n"), "unconfined");
        assert_eq!(own_profile("/usr/bin/hulld (enforce)\n"), "/usr/bin/hulld");
        let text = profile("docker-default", "/usr/bin/hulld");
        assert!(text.contains("signal (receive) peer=/usr/bin/hulld,\n"));
        let text = profile("docker-default", "unconfined");
        assert_eq!(text.matches("signal (receive) peer=").count(), 1);
    }
}
