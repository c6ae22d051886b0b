//! The configurations that `runc spec` and `crun spec` write run under `hull-runtime` unchanged.

use std::path::Path;
use std::process::{Command, Output};

use hull_testkit::{NetworkNamespace, places};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Bundle {
    directory: TempDir,
    namespace: NetworkNamespace,
}

impl Bundle {
    /// What `author` writes, with busybox as its root and the few members changed that name the program.
    fn by(author: &str, change: impl FnOnce(&mut Value)) -> Self {
        let directory = TempDir::with_prefix("hull-bundle-").unwrap();
        let output = Command::new(author)
            .arg("spec")
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{author} spec: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let root = directory.path().join("rootfs");
        std::fs::create_dir_all(&root).unwrap();
        unpack(&root);
        let file = directory.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        config["process"]["terminal"] = json!(false);
        change(&mut config);
        std::fs::write(file, config.to_string()).unwrap();
        Self {
            directory,
            namespace: NetworkNamespace::new(),
        }
    }

    fn runtime(&self, words: &[&str]) -> Output {
        let mut command = self.namespace.command("timeout");
        command
            .arg("60")
            .arg(places::program("hull-runtime"))
            .arg("--root")
            .arg(self.directory.path().join("state"));
        command
            .args(words)
            .current_dir(self.directory.path())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let output = self.runtime(words);
        assert!(
            output.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn unpack(root: &Path) {
    let line = format!(
        "tar -xOf {} layer.tar | tar -xC {}",
        places::image("busybox").display(),
        root.display()
    );
    assert!(
        Command::new("sh")
            .args(["-c", &line])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn foreign_bundles_run_and_return_their_code() {
    for author in ["runc", "crun"] {
        let bundle = Bundle::by(author, |config| {
            config["process"]["args"] = json!(["sh", "-c", "hostname; exit 7"])
        });
        let name = format!("hull-bundle-{author}-{}", std::process::id());
        let output = bundle.runtime(&["run", &name]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            (output.status.code(), text.trim()),
            (Some(7), author),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn a_bundle_is_created_started_entered_killed_and_deleted() {
    for author in ["runc", "crun"] {
        let bundle = Bundle::by(author, |config| {
            config["process"]["args"] = json!(["sleep", "100000"])
        });
        let name = format!("hull-life-{author}-{}", std::process::id());
        let created = bundle.create(&name);
        assert_eq!(created["status"], "created", "{author}");
        bundle.ok(&["start", &name]);
        let state: Value = serde_json::from_str(&bundle.ok(&["state", &name])).unwrap();
        assert_eq!(state["status"], "running");
        assert_eq!(bundle.ok(&["exec", &name, "echo", "inside"]), "inside\n");
        assert!(bundle.ok(&["list"]).contains(&name));
        bundle.ok(&["kill", &name, "KILL"]);
        hull_testkit::until("it ended", || {
            let state: Value = serde_json::from_str(&bundle.ok(&["state", &name])).unwrap();
            state["status"] == "stopped"
        });
        bundle.ok(&["delete", &name]);
        assert!(!bundle.runtime(&["state", &name]).status.success());
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten();
        for hierarchy in hierarchies.flatten() {
            // Where containers are that name no place. Another one may be there.
            let _ = std::fs::remove_dir(hierarchy.path().join("hull"));
        }
    }
}

impl Bundle {
    /// Creates without holding our pipes open: the container keeps the streams it was given.
    fn create(&self, name: &str) -> Value {
        let mut command = self.namespace.command(places::program("hull-runtime"));
        command
            .arg("--root")
            .arg(self.directory.path().join("state"))
            .args(["create", name]);
        let null = std::process::Stdio::null;
        let status = command
            .current_dir(self.directory.path())
            .stdin(null())
            .stdout(null())
            .stderr(null())
            .status();
        assert!(status.unwrap().success(), "cannot create {name}");
        serde_json::from_str(&self.ok(&["state", name])).unwrap()
    }
}
