//! Instructions that change nothing but the image's configuration.

use super::Planner;
use super::stage::StageState;
use crate::dockerfile::{Command, Healthcheck, Instruction, Pair, Step};
use crate::error::Result;
use crate::expand::Expander;
use crate::lint::Rule;

/// Ports that one `EXPOSE` range may hold: all there are.
const PORTS_MAX: u32 = 65_535;

/// Applies an instruction.
pub(super) fn apply(
    planner: &mut Planner<'_>,
    state: &mut StageState,
    instruction: &Instruction,
    step: &Step,
) -> Result<()> {
    let span = step.span;
    match instruction {
        Instruction::Cmd(command) => {
            shell_form(planner, state, "CMD", command, step);
            let words = in_shell(state, command);
            state.push(format!("CMD {}", json(&words)), None);
            state.config.config.cmd = Some(words);
            state.has_own_cmd = true;
        }
        Instruction::Entrypoint(command) => {
            shell_form(planner, state, "ENTRYPOINT", command, step);
            let words = in_shell(state, command);
            state.push(format!("ENTRYPOINT {}", json(&words)), None);
            state.config.config.entrypoint = Some(words);
            if !state.has_own_cmd {
                state.config.config.cmd = None;
            }
        }
        Instruction::Label(pairs) => labels(planner, state, pairs, step)?,
        Instruction::Expose(text) => expose(planner, state, text, step)?,
        Instruction::Volume(paths) => volumes(planner, state, paths, step)?,
        Instruction::User(user) => {
            let user = planner.expand(state, user, span)?;
            state.push(format!("USER {user}"), None);
            state.config.config.user = user;
        }
        Instruction::Stopsignal(signal) => {
            let signal = planner.expand(state, signal, span)?;
            if !is_signal(&signal) {
                return Err(planner
                    .input
                    .error(span, format!("Invalid signal: {signal}")));
            }
            state.push(format!("STOPSIGNAL {signal}"), None);
            state.config.config.stop_signal = Some(signal);
        }
        Instruction::Onbuild(trigger) => {
            let triggers = state.config.config.on_build.get_or_insert_default();
            triggers.push(trigger.clone());
            state.push(format!("ONBUILD {trigger}"), None);
        }
        Instruction::Shell(words) => {
            state.push(format!("SHELL [{}]", words.join(" ")), None);
            state.config.config.shell = Some(words.clone());
        }
        Instruction::Healthcheck(check) => healthcheck(state, check),
        Instruction::Maintainer(name) => {
            state.push(format!("MAINTAINER {name}"), None);
            state.config.author.clone_from(name);
        }
        Instruction::From { .. }
        | Instruction::Run(_)
        | Instruction::Copy(_)
        | Instruction::Env(_)
        | Instruction::Arg(_)
        | Instruction::Workdir(_) => unreachable!("these are applied by stage::apply"),
    }
    Ok(())
}

/// Warns of a shell that comes between a container's signals and its program, unless one was chosen.
fn shell_form(
    planner: &mut Planner<'_>,
    state: &StageState,
    keyword: &str,
    command: &Command,
    step: &Step,
) {
    let is_chosen = state.config.config.shell.iter().flatten().next().is_some();
    if matches!(command, Command::Shell(_)) && !is_chosen {
        let message = format!(
            "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
        );
        planner.warn(Rule::JSONArgsRecommended, message, step.span);
    }
}

fn labels(
    planner: &mut Planner<'_>,
    state: &mut StageState,
    pairs: &[Pair],
    step: &Step,
) -> Result<()> {
    let mut words = Vec::new();
    for pair in pairs {
        let name = planner.expand(state, &pair.name, step.span)?;
        let value = planner.expand(state, &pair.value, step.span)?;
        words.push(format!("{name}={value}"));
        state.config.config.labels.insert(name, value);
    }
    state.push(format!("LABEL {}", words.join(" ")), None);
    Ok(())
}

fn volumes(
    planner: &mut Planner<'_>,
    state: &mut StageState,
    paths: &[String],
    step: &Step,
) -> Result<()> {
    let mut all = Vec::new();
    for path in paths {
        let path = planner.expand(state, path, step.span)?;
        if path.is_empty() {
            let message = "VOLUME specified can not be an empty string";
            return Err(planner.input.error(step.span, message));
        }
        state.config.config.volumes.insert(path.clone());
        all.push(path);
    }
    state.push(format!("VOLUME [{}]", all.join(" ")), None);
    Ok(())
}

/// The words of a command, through the shell if it is text.
pub(super) fn in_shell(state: &StageState, command: &Command) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(text) if text.is_empty() => Vec::new(),
        Command::Shell(text) => {
            let mut words = state.shell();
            words.push(text.clone());
            words
        }
    }
}

fn json(words: &[String]) -> String {
    serde_json::to_string(words).unwrap_or_default()
}

fn healthcheck(state: &mut StageState, check: &Healthcheck) {
    let config = match check {
        Healthcheck::None => hull_oci::HealthcheckConfig {
            test: vec!["NONE".to_owned()],
            ..hull_oci::HealthcheckConfig::default()
        },
        Healthcheck::Check {
            command,
            interval_ns,
            timeout_ns,
            start_period_ns,
            start_interval_ns,
            retries,
        } => {
            let (kind, words) = match command {
                Command::Shell(text) => ("CMD-SHELL", vec![text.clone()]),
                Command::Exec(words) => ("CMD", words.clone()),
            };
            hull_oci::HealthcheckConfig {
                test: std::iter::once(kind.to_owned()).chain(words).collect(),
                interval: *interval_ns,
                timeout: *timeout_ns,
                start_period: *start_period_ns,
                start_interval: *start_interval_ns,
                retries: *retries,
            }
        }
    };
    state.push(format!("HEALTHCHECK {}", json(&config.test)), None);
    state.config.config.healthcheck = Some(config);
}

fn expose(
    planner: &mut Planner<'_>,
    state: &mut StageState,
    text: &str,
    step: &Step,
) -> Result<()> {
    let expander = Expander {
        escape: planner.input.file.directives.escape,
        variables: &state.scope,
    };
    let words = expander.words(text);
    let words = words.map_err(|error| planner.input.error(step.span, error.to_string()))?;
    let mut ports = Vec::new();
    for word in words {
        let expanded = ports_of(&word);
        let expanded = expanded.map_err(|message| planner.input.error(step.span, message))?;
        let (_, protocol) = word.split_once('/').unwrap_or((&word, ""));
        if protocol.chars().any(|letter| letter.is_ascii_uppercase()) {
            let message =
                format!("Defined protocol '{word}' in EXPOSE instruction should be lowercase");
            planner.warn(Rule::ExposeProtoCasing, message, step.span);
        }
        if word.contains(':') {
            let message = format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
            );
            planner.warn(Rule::ExposeInvalidFormat, message, step.span);
        }
        ports.extend(expanded);
    }
    ports.sort();
    state.push(format!("EXPOSE [{}]", ports.join(" ")), None);
    state.config.config.exposed_ports.extend(ports);
    Ok(())
}

/// `80`, `80/udp`, `8000-8010`, and the legacy `8080:80`.
fn ports_of(word: &str) -> Result<Vec<String>, String> {
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let range = range.rsplit(':').next().unwrap_or(range);
    let number = |text: &str| {
        let port = text.parse::<u32>().ok();
        port.filter(|port| (1..=PORTS_MAX).contains(port))
            .ok_or_else(|| format!("invalid containerPort: {text}"))
    };
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(range)?, number(range)?),
    };
    if first > last {
        return Err(format!("invalid containerPort: {range}"));
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    if let Ok(number) = text.parse::<u32>() {
        return (1..=64).contains(&number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|rest: &str| rest.parse::<u32>().is_ok_and(|offset| offset <= 30))
    };
    NAMES.contains(&name)
        || matches!(name, "CLD" | "IOT" | "POLL" | "RTMIN" | "RTMAX")
        || real_time("RTMIN+")
        || real_time("RTMAX-")
}
