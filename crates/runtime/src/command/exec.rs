//! `exec`.

use std::{path::Path, process::ExitCode};

use hull_oci::runtime::{Process, Spec};
use hull_runtime::{ExecOptions, Executed, Target, exec as run_in};
use serde_json::{Value, json};

use super::{
    Global,
    args::{Args, Flag, NONE},
    exit_code, foreground,
    lifecycle::{send_fd, write_pid_file},
    spec,
    state::{Container, Status},
    text,
};

const EXEC: [Flag; 18] = [
    ("console-socket", NONE, true),
    ("pidfd-socket", NONE, true),
    ("cwd", NONE, true),
    ("env", 'e', true),
    ("tty", 't', false),
    ("user", 'u', true),
    ("additional-gids", 'g', true),
    ("process", 'p', true),
    ("detach", 'd', false),
    ("pid-file", NONE, true),
    ("process-label", NONE, true),
    ("apparmor", NONE, true),
    ("no-new-privs", NONE, false),
    ("cap", 'c', true),
    ("preserve-fds", NONE, true),
    ("cgroup", NONE, true),
    ("ignore-paused", NONE, false),
    ("no-subreaper", NONE, false),
];

pub(super) fn exec(global: &Global, rest: &[String]) -> Result<ExitCode, String> {
    let args = Args::parse(&EXEC, rest)?;
    let container = Container::load(&global.root, args.id()?)?;
    match container.status()? {
        Status::Stopped => return Err("cannot exec in a stopped container".into()),
        Status::Paused if !args.has("ignore-paused") => {
            return Err(
                "cannot exec in a paused container (use --ignore-paused to override)".into(),
            );
        }
        _ => {}
    }
    let process = process(global, &args, &container.spec)?;
    let terminal = process.terminal() == Some(true);
    let detach = args.has("detach");
    if terminal && detach && args.value("console-socket").is_none() {
        return Err(
            "cannot allocate tty if runc will detach without setting console socket".into(),
        );
    }
    let pidfd = container
        .pidfd()
        .ok_or("cannot exec in a stopped container")?;
    let cgroup = container.cgroup()?;
    let target = Target {
        id: &container.record.id,
        bundle: &container.record.bundle,
        pid: container.record.pid,
        pidfd: &pidfd,
        spec: &container.spec,
        cgroup: &cgroup,
    };
    let mut options = ExecOptions::new(&process);
    options.preserve_fds = args.number("preserve-fds")?.unwrap_or(0);
    options.sub_cgroup = args
        .value("cgroup")
        .map(|path| path.rsplit(':').next().unwrap_or(path));
    let guard = match detach {
        true => None,
        false => Some(foreground::Signals::block().map_err(text)?),
    };
    let executed = run_in(&target, options)
        .map_err(|error| format!("exec failed: unable to start container process: {error}"))?;
    report(&args, &executed).inspect_err(|_| {
        // Nobody would attend to it.
        let _ = hull_sys::process::signal(&executed.pidfd, libc::SIGKILL);
    })?;
    let Some(guard) = guard else {
        return Ok(ExitCode::SUCCESS);
    };
    let console = executed
        .console
        .as_ref()
        .filter(|_| args.value("console-socket").is_none());
    let ended = foreground::wait(&guard, &executed.pidfd, console).map_err(text)?;
    Ok(exit_code(ended.code()))
}

fn report(args: &Args, executed: &Executed) -> Result<(), String> {
    if let (Some(console), Some(path)) = (&executed.console, args.value("console-socket")) {
        send_fd(Path::new(path), "/dev/ptmx", console)?;
    }
    if let Some(path) = args.value("pid-file") {
        write_pid_file(Path::new(path), executed.pid)?;
    }
    if let Some(path) = args.value("pidfd-socket") {
        send_fd(Path::new(path), "pidfd", &executed.pidfd)?;
    }
    Ok(())
}

fn process(global: &Global, args: &Args, spec: &Spec) -> Result<Process, String> {
    if let Some(path) = args.value("process") {
        let failed = |error: &dyn std::fmt::Display| format!("{path}: {error}");
        let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
        let mut value: Value = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
        for name in spec::drop_unknown(&mut value) {
            global
                .log
                .warn(&format!("unknown capability {name} ignored"));
        }
        return serde_json::from_value(value).map_err(|error| failed(&error));
    }
    let own = spec
        .process()
        .as_ref()
        .ok_or("the container's spec has no process")?;
    let mut value = serde_json::to_value(own).map_err(text)?;
    let words = args.words.get(1..).unwrap_or_default();
    if words.is_empty() {
        return Err("process args cannot be empty".into());
    }
    value["args"] = json!(words);
    value["terminal"] = json!(args.has("tty"));
    for (flag, key) in [
        ("cwd", "cwd"),
        ("process-label", "selinuxLabel"),
        ("apparmor", "apparmorProfile"),
    ] {
        if let Some(text) = args.value(flag) {
            value[key] = json!(text);
        }
    }
    if args.has("no-new-privs") {
        value["noNewPrivileges"] = json!(true);
    }
    if !value["env"].is_array() {
        value["env"] = json!([]);
    }
    if let Some(env) = value["env"].as_array_mut() {
        env.extend(args.values("env").map(|variable| json!(variable)));
    }
    set_user(&mut value, args)?;
    add_capabilities(&mut value, args);
    serde_json::from_value(value).map_err(text)
}

/// `--user UID[:GID]`: numbers, as everywhere in OCI.
fn set_user(process: &mut Value, args: &Args) -> Result<(), String> {
    let number = |text: &str| {
        text.parse::<u32>()
            .map_err(|_| format!("`{text}` is no user or group id"))
    };
    if let Some(user) = args.value("user") {
        let (user, group) = match user.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (user, None),
        };
        process["user"]["uid"] = json!(number(user)?);
        // What is not said stays the container's: group 0 would be the group of root's files.
        if let Some(group) = group {
            process["user"]["gid"] = json!(number(group)?);
        }
    }
    let groups: Vec<u32> = args
        .values("additional-gids")
        .map(number)
        .collect::<Result<_, _>>()?;
    if !groups.is_empty() {
        process["user"]["additionalGids"] = json!(groups);
    }
    Ok(())
}

fn add_capabilities(process: &mut Value, args: &Args) {
    let wanted: Vec<&str> = args.values("cap").collect();
    if wanted.is_empty() {
        return;
    }
    for set in ["bounding", "effective", "permitted"] {
        let list = &mut process["capabilities"][set];
        if list.is_null() {
            *list = json!([]);
        }
        if let Some(list) = list.as_array_mut() {
            list.extend(wanted.iter().map(|name| json!(name)));
        }
    }
}
