//! `RUN`.

use super::stage::{StageState, Walk};
use super::{Op, PlannedMount, Planner, RunOp, Vertex, absolute, config, copy, scope};
use crate::dockerfile::{
    Command, Heredoc, Run, RunDevice, RunMount, Span, Step, device_of, mount_of,
};
use crate::error::Result;

/// Where a script of a heredoc is mounted.
const SCRIPTS: &str = "/dev/pipes/";

/// Plans a `RUN`.
pub(super) fn apply(
    planner: &mut Planner<'_>,
    walk: &mut Walk,
    state: &mut StageState,
    run: &Run,
    step: &Step,
) -> Result<()> {
    let mut mounts = Vec::new();
    for text in &run.mounts {
        mounts.push(mount(planner, walk, state, text, step.span)?);
    }
    let mut devices = Vec::new();
    for text in &run.devices {
        devices.push(device(planner, state, text, step.span)?);
    }
    let network = network(planner, run, step.span)?;
    let is_privileged = security(planner, run, step.span)?;
    let (args, script) = command(state, run, &step.heredocs);
    let arg_entries = state.scope.arg_entries();
    let mut env = state.scope.env_entries();
    env.extend(arg_entries.iter().cloned());
    let silent_env = proxies(planner, state);
    let created_by = created_by(&args, script.as_ref(), &arg_entries, &step.heredocs);
    let name = state.next_name(&shown(step));
    let vertex = planner.add(Vertex {
        op: Op::Run(RunOp {
            below: state.vertex,
            args,
            env,
            silent_env,
            user: state.config.config.user.clone(),
            working_dir: state.working_dir().to_owned(),
            network,
            is_privileged,
            devices,
            mounts,
            script,
        }),
        name,
        place: Some(planner.input.place(step.span)),
        no_cache: state.no_cache,
        platform: state.platform.clone(),
    });
    state.vertex = vertex;
    state.push(created_by, Some(vertex));
    Ok(())
}

/// What is executed, and the script it needs (its place and its text).
fn command(
    state: &StageState,
    run: &Run,
    heredocs: &[Heredoc],
) -> (Vec<String>, Option<(String, String)>) {
    let Command::Shell(text) = &run.command else {
        return (config::in_shell(state, &run.command), None);
    };
    let [sole] = heredocs else {
        return (config::in_shell(state, &whole(text, heredocs)), None);
    };
    let is_bare = crate::dockerfile::heredoc(text.trim()).is_some();
    if !is_bare {
        return (config::in_shell(state, &whole(text, heredocs)), None);
    }
    if sole.content.starts_with("#!") {
        let path = format!("{SCRIPTS}{}", sole.name.replace('/', "_"));
        return (vec![path.clone()], Some((path, sole.content.clone())));
    }
    let body = Command::Shell(sole.content.clone());
    (config::in_shell(state, &body), None)
}

/// The text with its heredocs, for the shell to read.
fn whole(text: &str, heredocs: &[Heredoc]) -> Command {
    let mut whole = text.to_owned();
    for heredoc in heredocs {
        whole.push('\n');
        whole.push_str(&heredoc.content);
        whole.push_str(&heredoc.name);
    }
    Command::Shell(whole)
}

fn created_by(
    args: &[String],
    script: Option<&(String, String)>,
    build_args: &[String],
    heredocs: &[Heredoc],
) -> String {
    let mut words = String::from("RUN ");
    if !build_args.is_empty() {
        words.push_str(&format!("|{} {} ", build_args.len(), build_args.join(" ")));
    }
    match (script, heredocs.first()) {
        (Some((_, text)), Some(heredoc)) => {
            words.push_str(&format!("<<{} ({})", heredoc.name, text.trim_end()));
        }
        _ => words.push_str(&args.join(" ")),
    }
    words.push_str(" # buildkit");
    words
}

/// The instruction, for people: with the beginning of its heredocs.
pub(super) fn shown(step: &Step) -> String {
    let mut text = step.original.trim().to_owned();
    if let Some(keyword) = text.split_whitespace().next().map(str::to_owned) {
        text.replace_range(..keyword.len(), &keyword.to_uppercase());
    }
    if let Some(heredoc) = step.heredocs.first() {
        let first = heredoc.content.lines().next().unwrap_or_default();
        text.push_str(&format!(" ({first}...)"));
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn proxies(planner: &Planner<'_>, state: &StageState) -> Vec<String> {
    let given = &planner.input.request.args;
    scope::PROXIES
        .iter()
        .filter(|name| !state.scope.knows(name))
        .filter_map(|name| given.get(*name).map(|value| format!("{name}={value}")))
        .collect()
}

fn network(planner: &Planner<'_>, run: &Run, span: Span) -> Result<String> {
    match run.network.as_deref() {
        None | Some("default") => Ok(String::new()),
        Some("none") => Ok("none".to_owned()),
        Some("host") => {
            let granted = &planner.input.request.entitlements;
            if granted.iter().any(|one| one == "network.host") {
                return Ok("host".to_owned());
            }
            let message = "network.host is not allowed: grant it with --allow network.host";
            Err(planner.input.error(span, message))
        }
        Some(other) => {
            let message = format!("unsupported network mode {other:?}: use default, none or host");
            Err(planner.input.error(span, message))
        }
    }
}

fn security(planner: &Planner<'_>, run: &Run, span: Span) -> Result<bool> {
    match run.security.as_deref() {
        None | Some("sandbox") => Ok(false),
        Some("insecure") => {
            let granted = &planner.input.request.entitlements;
            if granted.iter().any(|one| one == "security.insecure") {
                return Ok(true);
            }
            let message =
                "security.insecure is not allowed: grant it with --allow security.insecure";
            Err(planner.input.error(span, message))
        }
        Some(other) => {
            let message = format!("security {other:?} is not valid: use sandbox or insecure");
            Err(planner.input.error(span, message))
        }
    }
}

/// A device, variables substituted. Whether it is there, and granted, is seen when the step is done.
fn device(
    planner: &mut Planner<'_>,
    state: &StageState,
    text: &str,
    span: Span,
) -> Result<RunDevice> {
    let text = planner.expand(state, text, span)?;
    device_of(&text).map_err(|error| planner.input.error(span, error.to_string()))
}

/// A mount, variables substituted, its target absolute.
fn mount(
    planner: &mut Planner<'_>,
    walk: &mut Walk,
    state: &StageState,
    text: &str,
    span: Span,
) -> Result<PlannedMount> {
    let mut fields = Vec::new();
    for field in text.split(',') {
        let is_from = field
            .trim_start()
            .get(..5)
            .is_some_and(|key| key.eq_ignore_ascii_case("from="));
        if is_from && field.contains('$') {
            let message = "'from' doesn't support variable expansion, define alias stage instead";
            return Err(planner.input.error(span, message));
        }
        fields.push(planner.expand(state, field, span)?);
    }
    let mount = mount_of(&fields.join(","));
    let mut mount = mount.map_err(|error| planner.input.error(span, error.to_string()))?;
    let directory = state.working_dir();
    let from = match &mut mount {
        RunMount::Bind { target, from, .. } => {
            *target = tidy(directory, target);
            Some(from.clone())
        }
        RunMount::Cache {
            target, from, id, ..
        } => {
            let by_target = id == target;
            *target = tidy(directory, target);
            if by_target {
                id.clone_from(target);
            }
            if let Some(prefix) = planner.input.request.args.get("BUILDKIT_CACHE_MOUNT_NS") {
                *id = format!("{prefix}/{id}");
            }
            from.clone().map(Some)
        }
        RunMount::Tmpfs { target, .. } => {
            *target = tidy(directory, target);
            None
        }
        RunMount::Secret { target, .. } | RunMount::Ssh { target, .. } => {
            if let Some(target) = target {
                *target = tidy(directory, target);
            }
            None
        }
    };
    let origin = match from {
        None => None,
        Some(from) => Some(copy::origin(planner, walk, state, from.as_deref(), span)?),
    };
    Ok(PlannedMount { mount, origin })
}

fn tidy(directory: &str, target: &str) -> String {
    let path = absolute(directory, target);
    match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}
