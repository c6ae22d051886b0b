//! Podman with `hull-runtime` as its runtime.

use std::process::Output;

use hull_testkit::{NetworkNamespace, places};
use tempfile::TempDir;

/// Podman with storage of its own, in a network namespace of its own.
struct Podman {
    directory: TempDir,
    namespace: NetworkNamespace,
    group: String,
}

impl Podman {
    fn new() -> Self {
        let group = format!("/hull-podman-{}", std::process::id());
        Self {
            directory: TempDir::with_prefix("hull-podman-").unwrap(),
            namespace: NetworkNamespace::new(),
            group,
        }
    }

    fn run(&self, words: &[&str]) -> Output {
        let at = |name: &str| self.directory.path().join(name);
        // A mount namespace of its own: podman keeps mounts for containers that run.
        let mut command = self.namespace.command("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "timeout",
            "120",
            "podman",
            "--runtime",
        ]);
        command
            .arg(places::program("hull-runtime"))
            .arg("--root")
            .arg(at("root"))
            .arg("--runroot")
            .arg(at("run"));
        command.arg("--tmpdir").arg(at("tmp")).args([
            "--cgroup-manager",
            "cgroupfs",
            "--storage-driver",
            "vfs",
        ]);
        command
            .args(["--events-backend", "none", "--log-level", "error"])
            .args(words);
        command.env("HOME", self.directory.path()).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    #[track_caller]
    fn container(&self, more: &[&str]) -> Output {
        let group = format!("--cgroup-parent={}", self.group);
        let mut words = vec![
            "run",
            "--rm",
            "--network",
            "none",
            // By itself, podman asks for more than a machine may allow.
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=30000:30000",
            &group,
        ];
        words.extend(more);
        self.run(&words)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        hull_testkit::host::remove_cgroups(self.group.trim_start_matches('/'));
    }
}

#[test]
fn podman_runs_containers_with_our_runtime() {
    let podman = Podman::new();
    podman.ok(&[
        "load",
        "-q",
        "-i",
        places::image("busybox").to_str().unwrap(),
    ]);
    let output = podman.container(&["busybox", "sh", "-c", "echo hello; exit 7"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).as_ref()
        ),
        (Some(7), "hello\n"),
        "{stderr}"
    );
    let output = podman.container(&[
        "--user",
        "nobody",
        "--memory",
        "64m",
        "--read-only",
        "busybox",
        "id",
        "-un",
    ]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).as_ref()
        ),
        (Some(0), "nobody\n"),
        "{stderr}"
    );
    let output = podman.container(&["busybox", "no-such-program"]);
    assert_eq!(
        output.status.code(),
        Some(127),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
