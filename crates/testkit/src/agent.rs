//! An agent that holds keys for ssh, of the test's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::Ends;
use crate::{Daemon, until};

/// Asks an agent for its keys, in a container that has perl, and adds a line to `/answer`: the answer's kind (12: a list
/// of keys) and their count.
pub const ASK_AGENT: &str = "perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new($ENV{SSH_AUTH_SOCK}) or die; \
                             print $s pack(\"NC\", 1, 11); $s->flush; read $s, $a, 9; \
                             ($n, $k, $c) = unpack \"NCN\", $a; print \"$k $c\\n\"' >> /answer";

/// An agent that runs until it is dropped.
pub struct SshAgent {
    socket: PathBuf,
    _process: Ends,
}

impl SshAgent {
    /// Starts one that has no key.
    #[track_caller]
    pub fn start(daemon: &Daemon) -> Self {
        let socket = daemon.path("agent.sock");
        let mut agent = Command::new("ssh-agent");
        agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null());
        let process = Ends(agent.spawn().expect("cannot start ssh-agent"));
        until("the agent listens", || socket.exists());
        Self {
            socket,
            _process: process,
        }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}
