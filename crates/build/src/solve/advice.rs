//! What to try when a command of a build has failed. Pure: from its end, its last output and its
//! settings to a line for people.

use crate::host::Finished;
use crate::plan::RunOp;

/// What programs and libraries say when a name has no address.
const NO_ADDRESS: [&str; 7] = [
    "Temporary failure in name resolution",
    "Temporary failure resolving",
    "Could not resolve host",
    "Name or service not known",
    "bad address '",
    "no such host",
    "EAI_AGAIN",
];
const DISK_FULL: &str = "No space left on device";

/// What is known of a failure.
pub(super) struct Failure<'a> {
    pub(super) op: &'a RunOp,
    /// The network it had.
    pub(super) network: &'a str,
    /// Bytes it was allowed to have; 0: all.
    pub(super) memory: i64,
    /// The last of its output.
    pub(super) output: &'a str,
}

impl Failure<'_> {
    /// What to try, if anything is likely.
    pub(super) fn advice(&self, finished: &Finished) -> Option<String> {
        if finished.out_of_memory {
            return Some(self.more_memory());
        }
        if self.output.contains(DISK_FULL) {
            return Some(
                "the disk is full: `hull system df --why` shows by what, `hull builder prune` \
                 takes away what no image needs; or it is a tmpfs mount with too small a size="
                    .to_owned(),
            );
        }
        if NO_ADDRESS.iter().any(|words| self.output.contains(words)) {
            return Some(self.names());
        }
        match finished.code {
            127 => Some(format!(
                "127 says that a command was not found: install it in a step before this one, or name its \
                 directory in ENV PATH ({})",
                self.path()
            )),
            126 => Some(
                "126 says that a file is there and cannot be run: make it executable (COPY --chmod=755, \
                 chmod +x), and see that it is made for this platform"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// What to try if it did not even begin.
    pub(super) fn advice_for_start(&self, error: &str) -> Option<String> {
        let program = self.op.args.first()?;
        let is_missing = ["no such file", "not found"]
            .iter()
            .any(|words| error.to_lowercase().contains(words));
        if is_missing && program == "/bin/sh" {
            return Some(
                "there is no shell in this image: begin with one that has a shell, or write the command \
                 as a JSON list (RUN [\"/program\", \"argument\"])"
                    .to_owned(),
            );
        }
        error.to_lowercase().contains("exec format error").then(|| {
            format!("{program} is made for another platform, or is a script without its first line (#!/bin/sh)")
        })
    }

    fn more_memory(&self) -> String {
        match self.memory {
            0 => "the host had no memory left: have the command do less at once (make -j2), or free some"
                .to_owned(),
            _ => "it wanted more memory than --memory allows: allow more, or have it do less at once (make -j2)"
                .to_owned(),
        }
    }

    fn names(&self) -> String {
        match self.network {
            "none" => {
                "this step has no network (--network=none): fetch in a step that has one".to_owned()
            }
            _ => {
                "a name had no address: see that the host itself can resolve it (/etc/resolv.conf, \
                  daemon.json \"dns\"), or give it with --add-host NAME:ADDRESS"
                    .to_owned()
            }
        }
    }

    fn path(&self) -> &str {
        let set = self.op.env.iter().rev();
        let mut set = set.filter_map(|entry| entry.strip_prefix("PATH="));
        set.next().unwrap_or("it is not set")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(args: &[&str]) -> RunOp {
        RunOp {
            below: 0,
            args: args.iter().map(|word| (*word).to_owned()).collect(),
            env: vec!["PATH=/bin".to_owned()],
            silent_env: Vec::new(),
            user: String::new(),
            working_dir: "/".to_owned(),
            network: String::new(),
            is_privileged: false,
            devices: Vec::new(),
            mounts: Vec::new(),
            script: None,
        }
    }

    fn advice(code: i32, out_of_memory: bool, network: &str, output: &str) -> String {
        let op = op(&["/bin/sh", "-c", "x"]);
        let failure = Failure {
            op: &op,
            network,
            memory: 0,
            output,
        };
        let finished = Finished {
            code,
            out_of_memory,
        };
        failure.advice(&finished).unwrap_or_default()
    }

    #[test]
    fn what_is_likely_is_said() {
        assert!(advice(127, false, "", "sh: gcc: not found").contains("(/bin)"));
        assert!(advice(126, false, "", "").contains("executable"));
        assert!(advice(137, true, "", "").contains("memory"));
        assert!(advice(6, false, "", "curl: (6) Could not resolve host: x").contains("--add-host"));
        assert!(advice(6, false, "none", "wget: bad address 'x'").contains("--network=none"));
        assert!(advice(1, false, "", "tar: No space left on device").contains("prune"));
        assert_eq!(advice(1, false, "", "a test failed"), "");
    }

    #[test]
    fn an_image_without_a_shell_is_named() {
        let op = op(&["/bin/sh", "-c", "x"]);
        let failure = Failure {
            op: &op,
            network: "",
            memory: 0,
            output: "",
        };
        let said = failure.advice_for_start("exec /bin/sh: no such file or directory");
        assert!(said.unwrap().contains("no shell"));
        assert_eq!(failure.advice_for_start("permission denied"), None);
    }
}
