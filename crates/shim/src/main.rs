//! The parent of one container.
//!
//! `hulld` starts it from a sealed copy in memory, with one end of a connection as descriptor 3:
//!
//! ```text
//! hull-shim --dir RUN_DIRECTORY
//! ```
//!
//! It answers there and at `RUN_DIRECTORY/shim.sock` ([`hull_shim::protocol`]), holds the
//! container's streams, log, exit record, exec sessions and health, and stays until a daemon has
//! recorded the exit. No daemon's end ends it.

mod attach;
mod clock;
mod connection;
mod container;
mod ends;
mod escape;
mod foreign;
mod health;
mod log;
mod outbox;
mod poll;
mod probes;
mod process;
mod requests;
mod shim;
mod streams;

use std::{
    error::Error,
    ffi::OsString,
    fmt,
    io::{self, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::ExitCode,
};

/// The connection that the daemon started us with.
const CONTROL_FD: i32 = 3;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let outcome = match (arguments.next(), arguments.next()) {
        (Some(flag), Some(directory)) if flag == "--dir" => run(directory),
        (Some(flag), None) if flag == "--compress" => {
            log::compress_standard_input().map_err(Into::into)
        }
        _ => Err("usage: hull-shim --dir DIRECTORY".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(directory: OsString) -> Result<(), Box<dyn Error>> {
    // Before anything else can be opened under that number.
    let control = control_connection();
    // Before anything can send one. Those that ask to end are not meant for us: a container ends
    // when its daemon or its own processes say so.
    hull_sys::process::block_signals()?;
    let signals = hull_sys::process::signal_descriptor()?;
    // A daemon that starts programs in sessions of their own has done this already.
    let _ = rustix::process::setsid();
    rustix::thread::set_name(c"hull-shim")?;
    hull_sys::process::become_subreaper()?;
    let path = PathBuf::from(directory).join(hull_shim::socket::NAME);
    let listener = hull_shim::socket::listen(&path)?;
    let mut shim = shim::Shim::new(signals, (listener, path))?;
    if let Some(socket) = control {
        shim.adopt(socket);
    }
    Ok(shim.run()?)
}

/// Descriptor 3, if it is a connection.
fn control_connection() -> Option<UnixStream> {
    let socket = hull_sys::host_process::take_inherited(CONTROL_FD).ok()?;
    rustix::net::getsockname(&socket).ok()?;
    Some(socket.into())
}

/// Says what went wrong where nobody asked. Who started us chose where it goes.
fn complain(what: fmt::Arguments<'_>) {
    // There is nobody to tell that telling failed.
    let _ = writeln!(io::stderr(), "hull-shim: {what}");
}
