//! What is executed: the container's own process, exec'd ones, health probes.

use hull_oci::runtime::{BoxBuilder, Process, Spec, User as SpecUser};
use hull_sys::capability::CapabilitySet;

use super::{
    Defaults, SpecError, SpecInput, capabilities,
    confinement::{self, SecurityOptions},
    limits,
    namespaces::host_name,
};
use crate::{
    model::{Config, HostConfig},
    user::User,
};

/// Where programs are looked for when neither image nor user says so.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One more process in a container.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// The program and its arguments.
    pub command: &'a [String],
    /// `NAME=value`, each; wins over the container's.
    pub env: &'a [String],
    /// Who runs it.
    pub user: &'a User,
    /// Whether the user was named with the request (and not the container's).
    pub user_given: bool,
    /// Empty: the container's.
    pub working_dir: &'a str,
    /// With a terminal.
    pub tty: bool,
    /// With all capabilities.
    pub privileged: bool,
    /// The terminal's first size: rows, columns.
    pub console_size: Option<(u16, u16)>,
}

/// The container's own process.
pub(super) fn init(input: &SpecInput<'_>, options: &SecurityOptions) -> Result<Process, SpecError> {
    let (config, host) = (input.config, input.host);
    let granted = capabilities::granted(host)?.intersection(input.facts.capabilities);
    let hostname = host_name(input.id, &config.hostname);
    let mut process = Process::default();
    process.set_args(Some(input.command.clone()));
    process.set_env(Some(environment(
        config,
        &hostname,
        config.tty,
        &[],
        &input.user.home,
    )));
    process.set_cwd(working_dir("", config).into());
    process.set_terminal(Some(config.tty));
    process.set_console_size(console_size(config.tty, host.console_size));
    process.set_user(spec_user(input.user));
    process.set_capabilities(Some(capabilities::sets(granted, input.user.uid)));
    process.set_rlimits(Some(limits::rlimits(
        &host.resources.ulimits,
        input.defaults.ulimits,
    )?));
    process.set_no_new_privileges(Some(no_new_privileges(options, input.defaults)));
    process.set_apparmor_profile(confinement::apparmor(host, options, input.facts)?);
    process.set_oom_score_adj(Some(host.oom_score_adj));
    Ok(process)
}

/// One more process. It has what the container's own has, but for what the request says: whoever
/// is not root starts without capabilities, and a privileged one has all that the host can give.
pub fn exec_process(
    config: &Config,
    host: &HostConfig,
    defaults: &Defaults<'_>,
    request: &ExecRequest<'_>,
) -> Result<Process, SpecError> {
    let options = SecurityOptions::parse(&host.security_opt)?;
    let granted = match request.privileged {
        true => CapabilitySet::ALL,
        false => capabilities::granted(host)?,
    };
    // What the daemon lacks nobody can have, and naming it would be an error.
    let granted = granted.intersection(available());
    let env = environment(
        config,
        &config.hostname,
        request.tty,
        request.env,
        &request.user.home,
    );
    let mut process = Process::default();
    process.set_args(Some(request.command.to_vec()));
    process.set_env(Some(env));
    process.set_cwd(working_dir(request.working_dir, config).into());
    process.set_terminal(Some(request.tty));
    process.set_console_size(console_size(request.tty, request.console_size));
    process.set_user(spec_user(request.user));
    process.set_capabilities(Some(capabilities::sets(granted, request.user.uid)));
    process.set_rlimits(Some(limits::rlimits(
        &host.resources.ulimits,
        defaults.ulimits,
    )?));
    process.set_no_new_privileges(Some(no_new_privileges(&options, defaults)));
    process.set_apparmor_profile(match (request.privileged, options.apparmor) {
        (true, _) => Some("unconfined".to_owned()),
        (false, profile) => profile,
    });
    process.set_oom_score_adj(Some(host.oom_score_adj));
    Ok(process)
}

/// A health probe: the container's own process in all but its words. `None` without words.
pub fn health_process(config: &Config, spec: &Spec, words: Vec<String>) -> Option<Process> {
    let mut process = spec.process().clone().filter(|_| !words.is_empty())?;
    process.set_args(Some(words));
    process.set_terminal(Some(false));
    process.set_console_size(None);
    process.set_cwd(working_dir("", config).into());
    if config.tty && !config.env.iter().any(|entry| entry.starts_with("TERM=")) {
        let env = process
            .env()
            .iter()
            .flatten()
            .filter(|entry| *entry != "TERM=xterm");
        let env = env.cloned().collect();
        process.set_env(Some(env));
    }
    Some(process)
}

/// `PATH`, `HOSTNAME` and, with a terminal, `TERM`; over them the container's, over those `extra`,
/// where a `NAME` alone takes one away. `HOME` last, if nobody set it.
pub fn environment(
    config: &Config,
    hostname: &str,
    tty: bool,
    extra: &[String],
    home: &str,
) -> Vec<String> {
    let mut env = vec![format!("PATH={PATH}")];
    if !hostname.is_empty() {
        env.push(format!("HOSTNAME={hostname}"));
    }
    if tty {
        env.push("TERM=xterm".to_owned());
    }
    config
        .env
        .iter()
        .chain(extra)
        .for_each(|entry| replace(&mut env, entry));
    let has_home = env
        .iter()
        .any(|entry| entry.strip_prefix("HOME=").is_some_and(|h| !h.is_empty()));
    if !has_home {
        replace(&mut env, &format!("HOME={home}"));
    }
    env
}

fn replace(env: &mut Vec<String>, entry: &str) {
    let name = entry.split('=').next().unwrap_or(entry);
    let same = |other: &String| other.split('=').next() == Some(name);
    match (env.iter().position(same), entry.contains('=')) {
        (Some(at), true) => entry.clone_into(&mut env[at]),
        (Some(at), false) => drop(env.remove(at)),
        (None, true) => env.push(entry.to_owned()),
        (None, false) => {}
    }
}

fn available() -> CapabilitySet {
    hull_sys::capability::current().map_or(CapabilitySet::EMPTY, |all| {
        all.permitted.intersection(all.bounding)
    })
}

fn no_new_privileges(options: &SecurityOptions, defaults: &Defaults<'_>) -> bool {
    options
        .no_new_privileges
        .unwrap_or(defaults.no_new_privileges)
}

fn working_dir<'a>(own: &'a str, config: &'a Config) -> &'a str {
    match (own, config.working_dir.as_str()) {
        ("", "") => "/",
        ("", container) => container,
        (own, _) => own,
    }
}

fn console_size(tty: bool, size: Option<(u16, u16)>) -> Option<hull_oci::runtime::Box> {
    let (rows, columns) = size.filter(|size| tty && *size != (0, 0))?;
    BoxBuilder::default()
        .height(rows)
        .width(columns)
        .build()
        .ok()
}

fn spec_user(user: &User) -> SpecUser {
    let mut spec = SpecUser::default();
    spec.set_uid(user.uid);
    spec.set_gid(user.gid);
    // The list replaces the daemon's own; without the primary group in it, a process could get
    // around a group's denial by giving its primary group up (CVE-2022-36109).
    let mut groups = vec![user.gid];
    groups.extend(user.groups.iter().filter(|gid| **gid != user.gid));
    spec.set_additional_gids(Some(groups));
    spec
}
