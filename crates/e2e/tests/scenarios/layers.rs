//! The writable layer, to the last detail: `diff`, `export`, `commit` and `cp` of what is odd.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use hull_testkit::{Client, Scene, scenario};

/// A container that runs, of an image of two layers, and changed one of everything.
fn changed(scene: &Scene) {
    scene.ok("run --name first busybox sh -c 'mkdir -p /old/deep /gone; echo 1 > /old/deep/a; echo 2 > /old/b; ln /old/b /old/c; echo 3 > /gone/x; echo 4 > /plain'");
    scene.ok("commit first base:1");
    scene.ok("rm first");
    let work = "rm -r /old/deep; mkdir /old/deep; echo new > /old/deep/n; rm -r /gone; rm /plain; mkdir /plain; ln /old/b /old/d; mkfifo /pipe; mknod /null c 1 3; truncate -s 4M /sparse; echo end >> /sparse; echo s > /suid; chown 7:8 /suid; chmod 6755 /suid; touch -d \"2001-02-03 04:05:06\" /suid; ln -s /etc/passwd /soft; printf odd > \"$(printf \"/odd-\\\\377\")\"; touch /ready; exec sleep 100000";
    scene.ok(&format!("run -d --name box base:1 sh -c '{work}'"));
    hull_testkit::until("all is changed", || {
        scene.run("exec box test -e /ready").code == 0
    });
    let pid = scene.inspect("box", "{{.State.Pid}}");
    let file = format!("/proc/{pid}/root/suid");
    rustix::fs::setxattr(file, "user.note", b"kept", rustix::fs::XattrFlags::empty()).unwrap();
}

/// Unpacks with the system's own tar.
fn unpacked(tar: &Path, into: &Path) {
    fs::create_dir(into).unwrap();
    let output = Command::new("tar")
        .args(["--xattrs", "-xpf"])
        .arg(tar)
        .arg("-C")
        .arg(into)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// What `changed` left, in a tree on this disk.
#[track_caller]
fn assert_changed(root: &Path) {
    let of = |name: &str| {
        fs::symlink_metadata(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let names = |name: &str| {
        let mut names: Vec<_> = fs::read_dir(root.join(name))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("old/deep"), ["n"]);
    assert!(!root.join("gone").exists() && of("plain").is_dir());
    let inode = of("old/b").ino();
    assert!(
        ["old/c", "old/d"]
            .into_iter()
            .any(|name| of(name).ino() == inode),
        "hard links are kept"
    );
    assert_eq!(fs::read_to_string(root.join("old/c")).unwrap(), "2\n");
    assert!(of("pipe").file_type().is_fifo());
    assert_eq!(of("null").rdev(), rustix::fs::makedev(1, 3));
    assert_eq!(
        (
            of("sparse").len(),
            fs::read(root.join("sparse")).unwrap().ends_with(b"end\n")
        ),
        ((4 << 20) + 4, true)
    );
    let suid = of("suid");
    assert_eq!(
        (
            suid.permissions().mode() & 0o7777,
            suid.uid(),
            suid.gid(),
            suid.mtime()
        ),
        (0o6755, 7, 8, 981_173_106)
    );
    assert_eq!(
        fs::read_link(root.join("soft")).unwrap(),
        Path::new("/etc/passwd")
    );
    assert_eq!(
        fs::read(root.join(OsStr::from_bytes(b"odd-\xff"))).unwrap(),
        b"odd"
    );
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(root.join("suid"), "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"kept");
}

scenario!(a_diff_tells_of_every_kind_of_change(scene) {
    changed(scene);
    let mut lines: Vec<_> = scene.ok("diff box").lines().map(str::to_owned).collect();
    lines.sort();
    let expected = [
        "A /null", "A /odd-\u{fffd}", "A /old/d", "A /old/deep/n", "A /pipe", "A /ready", "A /soft", "A /sparse", "A /suid",
        "C /old", "C /old/deep", "C /plain", "D /gone", "D /old/deep/a",
    ];
    let missing: Vec<_> = expected.iter().filter(|line| !lines.iter().any(|known| known == *line)).collect();
    assert!(missing.is_empty(), "{missing:?} not in {lines:#?}");
    let beyond: Vec<_> = lines.iter().filter(|line| !expected.contains(&line.as_str()) && !line.contains("/old/b")).collect();
    assert!(beyond.is_empty(), "{beyond:?}");
});

scenario!(an_export_holds_every_kind_of_change(scene) {
    changed(scene);
    let (tar, tree) = (scene.daemon.path("root.tar"), scene.daemon.path("tree"));
    scene.ok(&format!("export -o {} box", tar.display()));
    unpacked(&tar, &tree);
    assert_changed(&tree);
});

scenario!(a_commit_holds_every_kind_of_change(scene) {
    changed(scene);
    scene.ok("commit box all:1");
    scene.ok("rm -f box");
    scene.ok("create --name again all:1 true");
    let (tar, tree) = (scene.daemon.path("root.tar"), scene.daemon.path("tree"));
    scene.ok(&format!("export -o {} again", tar.display()));
    unpacked(&tar, &tree);
    assert_changed(&tree);
    assert_eq!(scene.ok("run --rm all:1 sh -c 'ls /gone 2>/dev/null; ls /old/deep; ls -d /plain/.'"), "n\n/plain/.");
});

scenario!(a_copy_holds_every_kind_of_file(scene) {
    changed(scene);
    let target = scene.daemon.path("copy");
    scene.ok(&format!("cp -a box:/suid {}", target.display()));
    let found = fs::metadata(&target).unwrap();
    assert_eq!(
        (found.permissions().mode() & 0o777, found.mtime()),
        (0o755, 981_173_106)
    );
    // On the way out, Docker's own client gives everything to its user.
    if matches!(scene.client, Client::Hull) {
        assert_eq!((found.uid(), found.gid()), (7, 8));
    }
    // A link is copied, or what it leads to.
    let link = scene.daemon.path("link");
    scene.ok(&format!("cp box:/soft {}", link.display()));
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("/etc/passwd"));
    let file = scene.daemon.path("followed");
    scene.ok(&format!("cp -L box:/soft {}", file.display()));
    assert!(fs::read_to_string(&file).unwrap().contains("nobody"));
    // In by a stream, out by a stream.
    let tree = scene.daemon.path("in");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("f"), "streamed").unwrap();
    let tar = scene.daemon.path("in.tar");
    let made = Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&tree).arg("f").status().unwrap();
    assert!(made.success());
    let archive = fs::read(&tar).unwrap();
    let answer = scene.daemon.request("PUT", "/containers/box/archive?path=/old", Some(("application/x-tar", &archive))).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(scene.ok("exec box cat /old/f"), "streamed");
    let output = scene.run("cp box:/old/f -");
    assert!(output.stdout.contains("streamed"));
});

scenario!(owners_are_kept_when_asked(scene) {
    let file: PathBuf = scene.daemon.path("owned");
    fs::write(&file, "x").unwrap();
    std::os::unix::fs::chown(&file, Some(1234), Some(4321)).unwrap();
    scene.ok("run -d --name box -u 55:66 busybox sleep 100000");
    scene.ok(&format!("cp {} box:/plain", file.display()));
    scene.ok(&format!("cp -a {} box:/archived", file.display()));
    assert_eq!(scene.ok("exec -u 0 box stat -c %u:%g /plain"), "1234:4321");
    let archived = scene.ok("exec -u 0 box stat -c %u:%g /archived");
    assert!(["55:66", "1234:4321"].contains(&archived.as_str()), "{archived}");
});
