//! The verbs, each one call of the library and some bookkeeping.

mod args;
mod exec;
mod foreground;
mod info;
mod lifecycle;
mod resources;
mod sealed;
mod spec;
mod state;

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use args::{Args, Flag, NONE};

/// What every verb is told.
pub(super) struct Global {
    /// Where containers are remembered.
    root: PathBuf,
    log: Log,
    rootless: bool,
}

struct Log {
    path: Option<PathBuf>,
    json: bool,
}

impl Log {
    /// Errors and warnings go to the log file, which managers read, or to stderr.
    fn write(&self, level: &str, message: &str) {
        let line = if self.json {
            let time = state::now();
            serde_json::json!({ "level": level, "msg": message, "time": time }).to_string()
        } else {
            format!("time=\"{}\" level={level} msg={message:?}", state::now())
        };
        let file = self
            .path
            .as_ref()
            .and_then(|path| OpenOptions::new().create(true).append(true).open(path).ok());
        if let Some(mut file) = file {
            let _ = writeln!(file, "{line}");
        }
        if self.path.is_none() || level == "error" {
            let _ = writeln!(io::stderr(), "hull-runtime: {message}");
        }
    }

    fn warn(&self, message: &str) {
        self.write("warning", message);
    }
}

const GLOBAL: [Flag; 10] = [
    ("root", NONE, true),
    ("log", NONE, true),
    ("log-format", NONE, true),
    ("debug", NONE, false),
    ("systemd-cgroup", NONE, false),
    ("rootless", NONE, true),
    ("criu", NONE, true),
    ("cgroup-manager", NONE, true),
    ("version", 'v', false),
    ("help", 'h', false),
];

const HELP: &str = "\
hull-runtime: makes containers from OCI bundles

usage: hull-runtime [--root DIR] [--log FILE] [--log-format text|json] [--rootless true|false|auto]
                    VERB [FLAGS] ...

  create    make a container, all but its start
  start     start a created container
  run       create, start, wait and delete
  exec      run one more process in a container
  state     print a container's state
  list      list containers
  ps        list a container's processes
  kill      send a signal
  pause     stop every process of a container
  resume    let them go on
  update    change a container's resources
  events    print what a container uses
  delete    remove a stopped container
  spec      write an example config.json
  features  print what this runtime can do
";

pub(super) fn main(args: Vec<String>) -> ExitCode {
    let mut log = Log {
        path: None,
        json: false,
    };
    let result = Args::parse(&GLOBAL, &args).and_then(|global| {
        log.path = global
            .value("log")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        log.json = global.value("log-format") == Some("json");
        run(
            &global,
            Log {
                path: log.path.clone(),
                json: log.json,
            },
        )
    });
    match result {
        Ok(code) => code,
        Err(message) => {
            log.write("error", &message);
            let is_exec = args.iter().any(|arg| arg == "exec");
            ExitCode::from(if is_exec { 255 } else { 1 })
        }
    }
}

fn run(given: &Args, log: Log) -> Result<ExitCode, String> {
    if given.has("version") {
        print(&format!(
            "hull-runtime version {}\nspec: 1.3.0\n",
            env!("CARGO_PKG_VERSION")
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let Some((verb, rest)) = given.words.split_first().filter(|_| !given.has("help")) else {
        print(HELP);
        return Ok(ExitCode::SUCCESS);
    };
    if given.has("systemd-cgroup") || given.value("cgroup-manager") == Some("systemd") {
        return Err("cgroups through systemd are not supported: use the cgroupfs driver".into());
    }
    let is_root = rustix::process::geteuid().is_root();
    let global = Global {
        root: root(given, is_root),
        log,
        rootless: match given.value("rootless") {
            Some("true") => true,
            Some("false") => false,
            _ => !is_root || !sealed::is_initial_user_namespace(),
        },
    };
    let verb = verb.as_str();
    match verb {
        "create" | "run" | "exec" | "start" => sealed::ensure()?,
        _ => {}
    }
    dispatch(&global, verb, rest)
}

fn root(given: &Args, is_root: bool) -> PathBuf {
    if let Some(root) = given.value("root") {
        return PathBuf::from(root);
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| !is_root);
    runtime
        .map_or_else(|| "/run".into(), PathBuf::from)
        .join("hull-runtime")
}

fn dispatch(global: &Global, verb: &str, rest: &[String]) -> Result<ExitCode, String> {
    let done = |result: Result<(), String>| result.map(|()| ExitCode::SUCCESS);
    match verb {
        "create" => done(lifecycle::create(global, rest)),
        "run" => lifecycle::run(global, rest),
        "start" => done(lifecycle::start(global, rest)),
        "kill" => done(lifecycle::kill(global, rest)),
        "delete" => done(lifecycle::delete(global, rest)),
        "exec" => exec::exec(global, rest),
        "state" => done(info::state(global, rest)),
        "list" => done(info::list(global, rest)),
        "ps" => done(info::ps(global, rest)),
        "events" => done(info::events(global, rest)),
        "features" => done(info::features()),
        "spec" => done(info::spec(rest)),
        "pause" => done(resources::pause(global, rest)),
        "resume" => done(resources::resume(global, rest)),
        "update" => done(resources::update(global, rest)),
        "help" => {
            print(HELP);
            Ok(ExitCode::SUCCESS)
        }
        other => Err(format!(
            "unknown verb `{other}`; `hull-runtime help` lists them"
        )),
    }
}

/// A reader that left needs no more.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// For errors of the library.
fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// An exit code of 0 … 255.
fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
