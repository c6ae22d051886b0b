//! Answers containers' questions for names, for all containers of one daemon, and carries what
//! reaches published ports where the kernel cannot (relays).
//!
//! `hulld` starts it, with one end of a connection as descriptor 3:
//!
//! ```text
//! hull-resolver --socket PATH
//! ```
//!
//! It listens at PATH for later daemons ([`hull_resolver::protocol`]), goes on without any, and
//! leaves when there is no sandbox and no relay any more: the daemon says so, or, while there is none,
//! no process is in it. It needs no file of the host but that socket.

mod carry;
mod forward;
mod orphans;
mod relay;
mod server;
mod stream;

use std::{
    error::Error,
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use hull_resolver::protocol::{self, Connection};

/// The connection that the daemon started us with.
const CONTROL_FD: i32 = 3;

/// `RLIMIT_NOFILE`.
const OPEN_FILES: u32 = libc::RLIMIT_NOFILE;

/// Three descriptors a sandbox, and one a question under way.
const OPEN_FILES_WANTED: u64 = 65536;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let outcome = match (arguments.next(), arguments.next()) {
        (Some(flag), Some(path)) if flag == "--socket" => run(path),
        _ => Err("usage: hull-resolver --socket PATH".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody to tell that telling failed.
            let _ = writeln!(io::stderr(), "hull-resolver: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(path: OsString) -> Result<(), Box<dyn Error>> {
    // Before anything else can be opened under that number.
    let control = hull_sys::host_process::take_inherited(CONTROL_FD).ok();
    // What asks to end is not meant for us: names are needed as long as there are containers.
    hull_sys::process::block_signals()?;
    let _ = rustix::process::setsid();
    rustix::thread::set_name(c"hull-resolver")?;
    // Fewer files than wanted serve fewer questions at a time.
    let _ = hull_sys::process::set_limit_of(0, OPEN_FILES, OPEN_FILES_WANTED, OPEN_FILES_WANTED);
    let path = PathBuf::from(path);
    let listener = protocol::listen(&path)?;
    let mut server = server::Server::new((listener, path))?;
    if let Some(socket) = control {
        server.adopt(Connection::from_fd(socket))?;
    }
    Ok(server.run()?)
}
