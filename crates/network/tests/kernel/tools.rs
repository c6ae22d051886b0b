//! Firewalls that people use, themselves: ufw and firewalld as Debian has them, in a root and in
//! namespaces of their own, for the network namespace of the calling thread.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// firewalld takes its time to start.
const STARTED_WITHIN: Duration = Duration::from_secs(60);

/// A root with the tools, and whatever runs in it.
pub(crate) struct Tools {
    /// Ends with all that runs in its namespace of processes.
    holder: Child,
    /// The first process of that namespace.
    inside: u32,
    root: PathBuf,
    _directory: TempDir,
}

impl Drop for Tools {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Tools {
    pub(crate) fn open() -> Self {
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.dev/firewalls");
        let packages = packages
            .canonicalize()
            .expect(".dev/firewalls is there: ./dev test makes it");
        let directory = tempfile::tempdir().unwrap();
        for name in ["upper", "work", "root"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let root = directory.path().join("root");
        // What the tools write goes into a layer of this test's; what they mount, into its namespace.
        let script = "set -e; cd \"$0\"; mount --make-rprivate /; \
            mount -t overlay tools -o \"lowerdir=$1,upperdir=upper,workdir=work\" root; \
            mount -t proc proc root/proc; mount -t sysfs sys root/sys; mount -t tmpfs run root/run; \
            mkdir -p root/dev; mount --rbind /dev root/dev; mkdir -p root/run/dbus root/run/lock; \
            touch ready; exec sleep 1000";
        let holder = Command::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child=KILL",
                "sh",
                "-c",
                script,
            ])
            .arg(directory.path())
            .arg(packages)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pid = holder.id();
        let mut tools = Self {
            holder,
            inside: 0,
            root,
            _directory: directory,
        };
        wait("the root of the tools", || {
            tools._directory.path().join("ready").exists()
        });
        let children = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(children).unwrap();
        tools.inside = children.trim().parse().unwrap();
        tools
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--mount",
            "--pid",
            "-t",
            &self.inside.to_string(),
            "--",
            "chroot",
        ]);
        command.arg(&self.root).args(["sh", "-c", line]);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("LANG", "C.UTF-8").stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, line: &str) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(line).output().unwrap();
        let (out, error) = (
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr),
        );
        if !status.success() {
            let log = self.root.join("var/log/firewalld");
            let log =
                std::fs::read_to_string(format!("/proc/{}/root{}", self.inside, log.display()));
            panic!("{line}: {out}{error}{}", log.unwrap_or_default());
        }
        out.into_owned()
    }

    /// As after `apt install ufw` and `ufw enable` on a server that also drops what it forwards. Nothing of the
    /// machine's kernel settings is changed.
    pub(crate) fn ufw(&self, iptables: &str) {
        for name in ["iptables", "ip6tables"] {
            let kind = iptables.strip_prefix("iptables").unwrap_or_default();
            self.run(&format!(
                "update-alternatives --set {name} /usr/sbin/{name}{kind}"
            ));
        }
        self.run("sed -i 's/^IPT_SYSCTL=.*/IPT_SYSCTL=/; s/^IPT_MODULES=.*/IPT_MODULES=/' /etc/default/ufw");
        self.run("ufw --force enable");
    }

    /// As after `apt install firewalld` and a start.
    pub(crate) fn firewalld(&self) {
        self.run("dbus-daemon --system --fork && firewalld --nopid >/run/firewalld.log 2>&1");
        wait("firewalld", || {
            let state = self.command("firewall-cmd --state").output().unwrap();
            state.status.success()
        });
    }
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < STARTED_WITHIN, "{what} did not start");
        std::thread::sleep(Duration::from_millis(50));
    }
}
