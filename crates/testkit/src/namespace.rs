//! A network namespace held by a process of ours, and more of them joined by a cable.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::until;

/// Lives as long as its holder, which ends when the test process does, however that ends.
pub struct NetworkNamespace {
    holder: Child,
}

impl NetworkNamespace {
    /// A fresh namespace with `lo` up and nothing else.
    pub fn new() -> Self {
        let holder = Command::new("unshare")
            .args(["--net", "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("cannot run unshare");
        let namespace = Self { holder };
        let own = std::fs::read_link("/proc/self/ns/net").expect("cannot read own namespace");
        until("a network namespace is there", || {
            std::fs::read_link(namespace.path()).is_ok_and(|path| path != own)
        });
        namespace.run("ip link set lo up");
        namespace
    }

    /// Its file below `/proc`.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder.id()).into()
    }

    /// The process that holds it open.
    pub fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// A command that will run inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs a command line inside and returns its output; panics when it fails.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        let words = crate::words::split(line);
        let output = self
            .command(&words[0])
            .args(&words[1..])
            .output()
            .expect("cannot run nsenter");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{line}` failed: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Fetches a page from inside; `None` when nobody answers.
    pub fn fetch(&self, url: &str) -> Option<String> {
        let mut command = self.command("curl");
        command.args([
            "--silent",
            "--fail",
            "--max-time",
            "5",
            "--noproxy",
            "*",
            url,
        ]);
        let output = command.output().expect("cannot run curl");
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Another namespace at the end of a cable: it is 10.99.0.2 and this one is 10.99.0.1, its default gateway.
    pub fn neighbour(&self) -> Self {
        let outside = Self::new();
        let end = outside.holder();
        self.run(&format!(
            "ip link add cable type veth peer name eth0 netns {end}"
        ));
        self.run("ip address add 10.99.0.1/24 dev cable");
        self.run("ip link set cable up");
        outside.run("ip address add 10.99.0.2/24 dev eth0");
        outside.run("ip link set eth0 up");
        outside.run("ip route add default via 10.99.0.1");
        outside
    }
}

impl Default for NetworkNamespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for NetworkNamespace {
    fn drop(&mut self) {
        // A holder that is gone already is as good.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::NetworkNamespace;

    #[test]
    fn neighbours_reach_each_other_and_nobody_else() {
        let host = NetworkNamespace::new();
        let outside = host.neighbour();
        let busybox = crate::places::busybox();
        outside.run(&format!("{} ping -c 1 -W 5 10.99.0.1", busybox.display()));
        assert!(
            !host.run("ip -o link").contains("eth0"),
            "the machine's own link is not in there"
        );
    }
}
