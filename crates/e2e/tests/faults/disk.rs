//! The disk is full, has no inodes, turns read-only or fails: what runs goes on, and removing works.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use hull_testkit::{Client, Daemon, Scene, places, until};
use tempfile::TempDir;

/// A small ext4 of its own, in a file.
pub(crate) struct Disk {
    directory: TempDir,
}

impl Disk {
    #[track_caller]
    pub(crate) fn new(megabytes: u64, options: &[&str]) -> Self {
        let disk = Self {
            directory: TempDir::with_prefix("hull-disk-").unwrap(),
        };
        let image = disk.directory.path().join("image");
        File::create(&image)
            .unwrap()
            .set_len(megabytes << 20)
            .unwrap();
        fs::create_dir(disk.path()).unwrap();
        run(Command::new("mkfs.ext4")
            .arg("-qF")
            .args(options)
            .arg(&image));
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(disk.path()));
        disk
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// Takes whatever is left, to the last byte.
    fn fill(&self) {
        for (number, size) in [1 << 20, 64 << 10, 4 << 10, 1].into_iter().enumerate() {
            let mut file = File::create(self.path().join(format!("ballast-{number}"))).unwrap();
            let piece = vec![1; size];
            while file.write_all(&piece).is_ok() {}
        }
    }

    /// Bytes that are free.
    pub(crate) fn room(&self) -> u64 {
        let room = rustix::fs::statvfs(self.path()).unwrap();
        room.f_bavail * room.f_frsize
    }

    /// Takes all but so many bytes.
    pub(crate) fn fill_but(&self, bytes: u64) {
        let ballast = self.room().saturating_sub(bytes);
        let file = File::create(self.path().join("ballast-0")).unwrap();
        let flags = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&file, flags, 0, ballast).unwrap();
    }

    pub(crate) fn free(&self) {
        for number in 0..4 {
            let _ = fs::remove_file(self.path().join(format!("ballast-{number}")));
        }
    }

    /// A scene whose daemon keeps its state here.
    pub(crate) fn scene(&self) -> Scene {
        let data = self.path().join("root").display().to_string();
        let daemon = Daemon::start_with(&["--data-root", &data]);
        daemon.load("busybox");
        Scene {
            daemon,
            client: Client::Docker,
        }
    }

    fn names(&self, folder: &str) -> usize {
        let entries = fs::read_dir(self.path().join("root").join(folder));
        entries.map_or(0, Iterator::count)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

#[track_caller]
fn assert_alive(scene: &Scene, container: &str) {
    assert_eq!(scene.inspect(container, "{{.State.Running}}"), "true");
    assert!(scene.ok("ps --format '{{.Names}}'").contains(container));
}

#[test]
fn removing_and_pruning_work_on_a_full_disk() {
    let disk = Disk::new(96, &[]);
    let scene = disk.scene();
    scene.ok("run -d --name keeper busybox sleep 100000");
    for name in ["one", "two", "three"] {
        scene.ok(&format!(
            "run --name {name} -v {name}:/d -v /anonymous busybox sh -c 'echo x > /d/f'"
        ));
    }
    disk.fill();
    assert_alive(&scene, "keeper");
    assert_eq!(scene.ok("exec keeper echo on"), "on");
    let output = scene.run("run --name late busybox true");
    assert!(output.code != 0, "{output:?}");
    scene.ok("rm -v one");
    scene.ok("container prune -f");
    scene.ok("volume rm one");
    scene.ok("volume prune -af");
    assert_eq!(scene.ok("ps -a --format '{{.Names}}'"), "keeper");
    assert_eq!(scene.ok("volume ls -q"), "");
    disk.free();
    until("there is room again", || {
        scene.run("run --rm busybox true").code == 0
    });
    // What was removed stays so, and nothing else is lost.
    let mut scene = scene;
    scene.daemon.crash();
    assert_alive(&scene, "keeper");
    assert_eq!(scene.ok("ps -a --format '{{.Names}}'"), "keeper");
    assert_eq!(scene.ok("volume ls -q"), "");
    scene.ok("rm -f keeper");
    until("nothing is left", || {
        disk.names("trash") + disk.names("containers") + disk.names("volumes") == 0
    });
    scene.daemon.finish();
}

#[test]
fn a_container_that_fills_the_disk_is_removed_with_what_it_wrote() {
    let disk = Disk::new(96, &[]);
    let scene = disk.scene();
    let output = scene.run("run --name filler -v data:/d busybox dd if=/dev/zero of=/d/big bs=64k");
    assert!(
        output.stderr.contains("No space left on device"),
        "{output:?}"
    );
    let text = scene.fails(125, "run --rm -v more:/m busybox true");
    assert!(
        text.to_lowercase().contains("no space left on device") || text.contains("disk is full"),
        "{text}"
    );
    scene.ok("rm filler");
    scene.ok("volume rm data");
    until("there is room again", || {
        scene.run("run --rm busybox true").code == 0
    });
    scene.daemon.finish();
}

#[test]
fn without_inodes_nothing_new_is_made_and_removing_works() {
    let disk = Disk::new(96, &["-N", "900"]);
    let scene = disk.scene();
    scene.ok("run -d --name keeper busybox sleep 100000");
    scene.ok("run --name maker -v data:/d busybox sh -c 'n=0; while touch /d/$n 2>/dev/null; do n=$((n+1)); done; true'");
    assert_alive(&scene, "keeper");
    let output = scene.run("run --name late -v more:/m busybox true");
    assert!(
        output.code != 0 && output.stderr.to_lowercase().contains("no space left"),
        "{output:?}"
    );
    scene.ok("rm maker");
    scene.ok("volume rm data");
    until("there is room again", || {
        scene.run("run --rm busybox true").code == 0
    });
    scene.ok("rm -f keeper");
    scene.daemon.finish();
}

/// The daemon that lives on a disk that failed is ended as a test that failed ends one: it cannot
/// remove anything.
#[test]
fn a_disk_that_turns_read_only_takes_no_container_along() {
    let disk = Disk::new(96, &[]);
    let scene = disk.scene();
    scene.ok("run -d --name keeper busybox sleep 100000");
    run(Command::new("mount")
        .args(["-o", "remount,abort"])
        .arg(disk.path()));
    assert_alive(&scene, "keeper");
    assert_eq!(scene.ok("exec keeper echo on"), "on");
    let output = scene.run("run --name late busybox true");
    assert!(
        output.code != 0
            && output
                .stderr
                .to_lowercase()
                .contains("read-only file system"),
        "{output:?}"
    );
    assert_eq!(scene.ok("ps -a --format '{{.Names}}'"), "keeper");
    scene.ok("volume ls");
}

#[test]
fn a_disk_that_fails_takes_no_container_along() {
    let disk = Disk::new(96, &[]);
    let scene = disk.scene();
    scene.ok("run -d --name keeper busybox sleep 100000");
    shut_down(&disk.path());
    assert_alive(&scene, "keeper");
    let output = scene.run("run --name late busybox true");
    assert!(
        output.code != 0 && output.stderr.contains("/output error"),
        "{output:?}"
    );
    assert_eq!(scene.ok("ps -a --format '{{.Names}}'"), "keeper");
}

/// Every access of this file system fails from now on.
fn shut_down(path: &Path) {
    let program = "import fcntl,os,struct,sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
    run(Command::new(places::python())
        .args(["-c", program])
        .arg(path));
}

#[test]
fn without_room_for_sockets_what_runs_goes_on() {
    let directory = TempDir::with_prefix("hull-run-").unwrap();
    let place = directory.path().join("run");
    fs::create_dir(&place).unwrap();
    run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&place));
    let daemon = Daemon::start_with(&["--exec-root", &place.display().to_string()]);
    daemon.load("busybox");
    let mut scene = Scene {
        daemon,
        client: Client::Docker,
    };
    scene.ok("run -d --name keeper busybox sleep 100000");
    let mut ballast = File::create(place.join("ballast")).unwrap();
    while ballast.write_all(&[1; 4096]).is_ok() {}
    assert_alive(&scene, "keeper");
    assert_eq!(scene.ok("exec keeper echo on"), "on");
    let _ = scene.run("run --rm busybox true");
    scene.daemon.crash();
    assert_alive(&scene, "keeper");
    fs::remove_file(place.join("ballast")).unwrap();
    scene.ok("run --rm busybox true");
    scene.ok("rm -f keeper");
    scene.daemon.finish();
    run(Command::new("umount").arg("--lazy").arg(&place));
}

#[test]
fn a_mount_that_somebody_else_holds_keeps_nothing() {
    super::play(|scene| {
        scene.ok("volume create -o type=tmpfs -o device=tmpfs ram");
        scene.ok("run -d --name box -v ram:/r -v data:/d busybox sleep 100000");
        // Whoever copies the host's mounts now holds the volume's.
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sleep", "100000"])
            .spawn()
            .unwrap();
        let mounts = format!("/proc/{}/mountinfo", holder.id());
        let volumes = scene.daemon.path("data/volumes").display().to_string();
        until("the mount is copied", || {
            fs::read_to_string(&mounts).is_ok_and(|text| text.contains(&volumes))
        });
        scene.ok("rm -f box");
        scene.ok("volume rm ram data");
        until("nothing is left", || {
            let left =
                |folder: &str| fs::read_dir(scene.daemon.path(folder)).map_or(0, Iterator::count);
            left("data/volumes") + left("data/trash") == 0
        });
        holder.kill().unwrap();
        holder.wait().unwrap();
    });
}

/// Every wish to have something on the disk takes a day from now on: `strace` on all threads of the
/// daemon. What must not wait for the disk ends before.
fn slow_down(scene: &Scene) -> std::process::Child {
    let pid = scene.daemon.pid();
    let mut command = Command::new("strace");
    let calls = "fsync,fdatasync,sync_file_range,syncfs,msync";
    command.args(["-f", "-qq", "-o", "/dev/null", "-e"]);
    command.arg(format!("trace={calls}")).arg("-e");
    command.arg(format!("inject={calls}:delay_enter=86400000000"));
    for thread in hull_testkit::host::names(format!("/proc/{pid}/task")) {
        command.args(["-p", &thread]);
    }
    let child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    until("the tracer is attached", || {
        let tasks = hull_testkit::host::names(format!("/proc/{pid}/task"));
        tasks.iter().all(|task| {
            let status = fs::read_to_string(format!("/proc/{pid}/task/{task}/status"));
            status.is_ok_and(|text| !text.contains("TracerPid:\t0\n"))
        })
    });
    child
}

#[test]
fn a_disk_that_takes_its_time_holds_no_question_up() {
    super::play(|scene| {
        scene.ok("run -d --name keeper busybox sleep 100000");
        let mut tracer = slow_down(scene);
        let tar = scene.daemon.path("tiny.tar");
        run(Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .args(["-C", "/", "etc/hostname"]));
        let mut importing = scene.begin(&format!("import {} tiny:1", tar.display()));
        assert_alive(scene, "keeper");
        assert_eq!(scene.ok("exec keeper echo on"), "on");
        scene.ok("volume create data");
        scene.ok("create --name next -v data:/d busybox true");
        assert_eq!(scene.ok("run --rm busybox echo works"), "works");
        scene.ok("rm -v next");
        scene.ok("volume rm data");
        scene.ok("images");
        // The disk is as quick again as it was: what waited for it ends well.
        tracer.kill().unwrap();
        tracer.wait().unwrap();
        let (code, _, complaint) = importing.wait();
        assert_eq!(code, 0, "{complaint}");
        assert!(scene.ok("images").contains("tiny"));
        scene.daemon.crash();
        assert_alive(scene, "keeper");
    });
}
