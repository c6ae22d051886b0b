//! `hulld`: the daemon. Sockets, HTTP routes, and conversion between the Engine API's wire and the
//! engine's model; what containers are is the engine's.
//!
//! ```text
//! main ─ config ─ run ─┬─ http::socket ─ http::server ─ http::router ─ routes ─ convert ─ engine
//!                      └─ signals
//! ```

mod app;
mod config;
mod convert;
mod engine_config;
mod holds;
mod http;
mod log;
mod metrics;
mod notify;
mod pidfile;
mod routes;
mod run;
mod subid;

use std::{
    io::{Write, stderr, stdout},
    process::ExitCode,
    time::Duration,
};

use config::{Asked, Config, Sources};

/// This program's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What it was built from; empty: not said at build time.
const GIT_COMMIT: &str = match option_env!("HULL_GIT_COMMIT") {
    Some(commit) => commit,
    None => "",
};
/// When it was built, RFC 3339; empty: not said at build time.
const BUILD_TIME: &str = match option_env!("HULL_BUILD_TIME") {
    Some(time) => time,
    None => "",
};

/// Threads that carry tasks: the daemon waits, as a rule.
const WORKERS: usize = 2;
/// Threads for what blocks, at most; they end when nothing is to do.
const BLOCKING_MAX: usize = 128;
/// How long an idle blocking thread stays.
const BLOCKING_IDLE: Duration = Duration::from_secs(2);
/// Each thread's stack.
const STACK_BYTES: usize = 1 << 20;
/// Heaps of the allocator: one per thread would cost megabytes.
const HEAPS: i32 = 1;

fn main() -> ExitCode {
    hull_sys::host_process::bound_heaps(HEAPS);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match config::parse_flags(&arguments) {
        Ok(Asked::Help) => say(&config::help()),
        Ok(Asked::Version) => say(&format!("Hull version {VERSION}, build {GIT_COMMIT}\n")),
        Ok(Asked::Run(sources)) => configured(*sources),
        Err(error) => Err(format!("{error}\nSee 'hulld --help'.").into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "{}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> Result<(), run::StartError> {
    Ok(stdout().write_all(text.as_bytes())?)
}

fn configured(sources: Sources) -> Result<(), run::StartError> {
    let config = sources.load()?;
    if sources.validate {
        engine_config::of(&config, sources.shim.clone())?;
        return say("configuration OK\n");
    }
    serve(sources, config)
}

fn serve(sources: Sources, config: Config) -> Result<(), run::StartError> {
    let level = log::start(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_MAX)
        .thread_keep_alive(BLOCKING_IDLE)
        .thread_stack_size(STACK_BYTES)
        .thread_name("hulld")
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(run::run(sources, config, level));
    // What still blocks is not waited for: containers do not depend on it.
    runtime.shutdown_background();
    outcome
}

/// The error and what caused it, a line each.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text = format!("{text}\n  caused by: {words}");
        }
        cause = next.source();
    }
    text
}
