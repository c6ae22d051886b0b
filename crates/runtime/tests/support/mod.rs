//! Bundles to run, with a root made of busybox, and the host as it was before.

#![allow(dead_code, reason = "each test program uses a part")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};

pub(crate) const RUNTIME: &str = env!("CARGO_BIN_EXE_hull-runtime");

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A bundle of its own in a directory of its own; gone when dropped.
pub(crate) struct Bundle {
    pub(crate) directory: PathBuf,
    pub(crate) id: String,
    pub(crate) spec: Value,
}

pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Bundle {
    /// Ours, without a terminal, running `script` in a shell.
    pub(crate) fn new(script: &str) -> Self {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let id = format!("test-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(format!("hull-{id}"));
        let root = directory.join("rootfs");
        for path in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        // Users of user namespaces come through here.
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for name in [
            "cat", "chmod", "echo", "grep", "head", "hostname", "id", "kill", "ls", "mkdir",
            "mount", "pwd", "readlink", "seq", "sh", "sleep", "stat", "stty", "tail", "touch",
            "tr", "tty", "true", "umount", "wc",
        ] {
            symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        let made = Command::new(RUNTIME)
            .args(["spec", "-b"])
            .arg(&directory)
            .status()
            .unwrap();
        assert!(made.success());
        let text = fs::read(directory.join("config.json")).unwrap();
        let mut spec: Value = serde_json::from_slice(&text).unwrap();
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["sh", "-c", script]);
        spec["linux"]["cgroupsPath"] = json!(format!("/hull-test/{id}"));
        Self {
            directory,
            id,
            spec,
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    pub(crate) fn state_root(&self) -> PathBuf {
        self.directory.join("state")
    }

    pub(crate) fn write(&self) {
        let text = serde_json::to_vec_pretty(&self.spec).unwrap();
        fs::write(self.directory.join("config.json"), text).unwrap();
    }

    /// A verb with the bundle as the working directory, in a mount namespace of its own.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--", RUNTIME, "--root"])
            .arg(self.state_root());
        command
            .args(args)
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn call(&self, args: &[&str]) -> Outcome {
        outcome(self.command(args).output().unwrap())
    }

    /// Files instead of pipes: the container keeps them, and nobody waits for their end.
    pub(crate) fn call_detached(&self, args: &[&str]) -> Outcome {
        let output = self.directory.join("output");
        let file = || {
            fs::File::options()
                .create(true)
                .append(true)
                .open(&output)
                .unwrap()
        };
        let status = self
            .command(args)
            .stdout(file())
            .stderr(file())
            .status()
            .unwrap();
        let stdout = fs::read_to_string(&output).unwrap();
        Outcome {
            code: status.code().unwrap_or(-1),
            stdout,
            stderr: String::new(),
        }
    }

    pub(crate) fn run(&self) -> Outcome {
        self.write();
        self.call(&["run", &self.id])
    }

    /// What it prints, which must be all that happens.
    pub(crate) fn prints(&self) -> String {
        let outcome = self.run();
        assert_eq!(
            (outcome.code, outcome.stderr.as_str()),
            (0, ""),
            "{}",
            outcome.stdout
        );
        outcome.stdout
    }

    pub(crate) fn state(&self) -> Value {
        let outcome = self.call(&["state", &self.id]);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        serde_json::from_str(&outcome.stdout).unwrap()
    }

    /// Nothing of the container is left on the host.
    pub(crate) fn assert_gone(&self) {
        assert!(!self.state_root().join(&self.id).exists(), "state is left");
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let group = hierarchy.path().join("hull-test").join(&self.id);
            assert!(!group.exists(), "{} is left", group.display());
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&self.id), "a mount is left");
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = self.command(&["delete", "--force", &self.id]).output();
        let _ = fs::remove_dir_all(&self.directory);
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            // Another test's may be there.
            let _ = fs::remove_dir(hierarchy.path().join("hull-test"));
        }
    }
}

pub(crate) fn outcome(output: Output) -> Outcome {
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits for a condition.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

pub(crate) fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
