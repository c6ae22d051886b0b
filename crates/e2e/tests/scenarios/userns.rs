//! `--userns-remap`: root of a container is a lesser user outside, and nothing differs on the disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use hull_testkit::{Client, Daemon, Scene, until};
use serde_json::{Value, json};

/// Whom the tests take: a user that every machine has.
const USER: &str = "daemon";
const FIRST_USER: u32 = 200_000;
const FIRST_GROUP: u32 = 300_000;

/// A daemon that remaps, not started yet.
fn prepared(options: &[&str]) -> Daemon {
    let mut daemon = Daemon::prepare(options);
    daemon.lay_over("/etc/subuid", &format!("{USER}:{FIRST_USER}:65536\n"));
    daemon.lay_over("/etc/subgid", &format!("{USER}:{FIRST_GROUP}:65536\n"));
    daemon
}

fn play(client: Client, scenario: impl FnOnce(&mut Scene)) {
    let mut daemon = prepared(&["--userns-remap", USER]);
    daemon.launch();
    Scene::play_on(client, daemon, scenario);
}

/// Declares a scenario on a daemon that remaps.
macro_rules! remapped {
    ($name:ident($scene:ident) $body:block) => {
        mod $name {
            use super::*;

            fn scenario($scene: &mut Scene) $body

            #[test]
            fn docker() {
                play(Client::Docker, scenario);
            }

            #[test]
            fn hull() {
                play(Client::Hull, scenario);
            }
        }
    };
}

/// A line of `/proc/PID/status` of a container's first process.
fn status(scene: &Scene, container: &str, key: &str) -> String {
    let pid = scene.inspect(container, "{{.State.Pid}}");
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap().trim().to_owned()
}

/// Who owns a file of the container's writable layer, on the disk.
fn owner_on_disk(scene: &Scene, container: &str, file: &str) -> (u32, u32) {
    let id = scene.inspect(container, "{{.Id}}");
    let layer = format!("data/containers/{id}/upper/{file}");
    let found = fs::symlink_metadata(scene.daemon.path(&layer)).unwrap();
    (found.uid(), found.gid())
}

remapped!(root_is_a_lesser_user_outside_and_itself_on_the_disk(scene) {
    scene.ok("run -d --name box busybox sh -c 'echo text > /note; chown 7:8 /etc/passwd; exec sleep 1000'");
    until("the files are there", || scene.run("exec box cat /note").stdout == "text\n");
    assert_eq!(status(scene, "box", "Uid:"), [FIRST_USER.to_string().as_str(); 4].join("\t"));
    assert_eq!(status(scene, "box", "Gid:"), [FIRST_GROUP.to_string().as_str(); 4].join("\t"));
    assert_eq!(scene.ok("exec box stat -c %u:%g /note /etc/passwd /bin"), "0:0\n7:8\n0:0");
    assert_eq!(owner_on_disk(scene, "box", "note"), (0, 0));
    assert_eq!(owner_on_disk(scene, "box", "etc/passwd"), (7, 8));
    assert_eq!(scene.ok("exec -u 5:6 box sh -c 'id -u; id -g; echo > /dev/stdout'"), "5\n6");
    assert!(scene.ok("top box").contains("sleep 1000"));
    let info = scene.daemon.api("GET", "/info", &Value::Null).json();
    assert!(info["SecurityOptions"].as_array().unwrap().contains(&json!("name=userns")), "{info}");
    scene.ok("stop -t 0 box");
    scene.ok("start box");
    assert_eq!(scene.ok("exec box cat /note"), "text");
});

remapped!(volumes_belong_to_root_and_binds_do_not(scene) {
    scene.ok("run --rm -v data:/d busybox sh -c 'echo mine > /d/f; chown 3:4 /d/f; touch /d/g'");
    let data = scene.ok("volume inspect -f '{{.Mountpoint}}' data");
    let owner = |file: &str| fs::metadata(format!("{data}/{file}")).map(|f| (f.uid(), f.gid())).unwrap();
    assert_eq!((owner("f"), owner("g")), ((3, 4), (0, 0)));
    assert_eq!(scene.ok("run --rm -v data:/d:ro --userns host busybox stat -c %u:%g /d/f"), "3:4");
    // What the image has in a volume's place is copied with its owners.
    assert_eq!(scene.ok("run --rm -v etc:/etc busybox sh -c 'stat -c %u /etc/passwd && touch /etc/new'"), "0");
    // The host's files stay the host's.
    let secret = scene.daemon.path("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let bind = format!("-v {}:/s", secret.display());
    let output = scene.run(&format!("run --rm {bind} busybox cat /s"));
    assert!(output.code == 1 && output.stderr.contains("Permission denied"), "{output:?}");
    assert_eq!(scene.ok(&format!("run --rm {bind} busybox stat -c %u /s")), "65534");
    assert_eq!(scene.ok(&format!("run --rm {bind}:idmap busybox cat /s")), "secret");
    assert_eq!(scene.ok(&format!("run --rm {bind} --userns host busybox cat /s")), "secret");
    // A source that is made is made for the container.
    let made = scene.daemon.path("new/deep");
    scene.ok(&format!("run --rm -v {}:/m busybox touch /m/f", made.display()));
    assert_eq!(fs::metadata(made.join("f")).unwrap().uid(), FIRST_USER);
    scene.ok("run --rm --mount type=image,src=busybox,dst=/image busybox sh -c '[ $(stat -c %u /image/bin) = 0 ]'");
    scene.ok("run --rm --read-only --tmpfs /t busybox sh -c 'touch /t/f && ! touch /f && grep -q . /etc/resolv.conf'");
    scene.ok("run --rm busybox sh -c 'echo 127.1.1.1 x >> /etc/hosts'");
    scene.ok("volume rm data etc");
});

remapped!(root_administers_its_own_network_and_no_other(scene) {
    scene.ok("network create front");
    scene.ok("run -d --name web --network front -p 8080:80 busybox sh -c 'echo page > /index.html; exec httpd -f -p 80 -h /'");
    until("the page is there", || {
        scene.daemon.namespace().fetch("http://127.0.0.1:8080/index.html").as_deref() == Some("page\n")
    });
    assert_eq!(scene.ok("run --rm --network front busybox wget -qO- http://web/index.html"), "page");
    scene.ok("run --rm --network front busybox ping -c 1 -W 5 web");
    assert_eq!(scene.ok("run --rm busybox cat /proc/sys/net/ipv4/ping_group_range"), "0\t65535");
    scene.ok("run --rm --cap-add NET_ADMIN busybox sh -c 'ip link set eth0 down && ls /sys/class/net/eth0'");
    let output = scene.run("run --rm busybox ip link set eth0 down");
    assert!(output.code != 0 && output.stderr.contains("not permitted"), "{output:?}");
    let before = scene.daemon.namespace().run("sysctl -n net.ipv4.ip_forward");
    scene.ok("run --rm --sysctl net.ipv4.ip_forward=0 busybox sh -c '[ $(cat /proc/sys/net/ipv4/ip_forward) = 0 ]'");
    assert_eq!(scene.daemon.namespace().run("sysctl -n net.ipv4.ip_forward"), before);
    // Whoever joins a container's namespaces is in its user namespace, too.
    scene.ok("run --rm --network container:web --cap-add NET_ADMIN busybox sh -c 'ip link set lo mtu 1400 && wget -qO- http://127.0.0.1/index.html'");
    scene.ok("run --rm --pid container:web --network front busybox sh -c 'ps | grep -q [h]ttpd && ping -c 1 -W 5 web'");
    scene.ok("run --rm --network container:web --userns host busybox wget -qO- http://127.0.0.1/index.html");
    scene.ok("run -d --name plain --userns host busybox sleep 1000");
    let text = scene.fails(125, "run --rm --network container:plain busybox true");
    assert!(text.contains("--userns host"), "{text}");
    scene.ok("network connect front plain");
    scene.ok("network create back");
    scene.ok("network connect back web");
    scene.ok("exec web ip addr show dev eth1");
    scene.ok("rm -f web plain");
    scene.ok("network rm front back");
});

remapped!(files_are_copied_and_committed_with_the_containers_own_owners(scene) {
    scene.ok("run -d --name box busybox sh -c 'mkdir /d; echo old > /d/f; chown 11:12 /d/f; exec sleep 1000'");
    until("the files are there", || scene.run("exec box stat -c %u /d/f").stdout == "11\n");
    let tar = scene.daemon.path("d.tar");
    let archive = scene.daemon.request("GET", "/containers/box/archive?path=/d", None).unwrap();
    fs::write(&tar, &archive.body).unwrap();
    let listing = Command::new("tar").arg("--numeric-owner").arg("-tvf").arg(&tar).output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    assert!(listing.contains(" 0/0 ") && listing.contains(" 11/12 "), "{listing}");
    let here = scene.daemon.path("copied");
    scene.ok(&format!("cp box:/d {}", here.display()));
    chown(here.join("f"), Some(11), Some(12)).unwrap();
    fs::write(here.join("g"), "new").unwrap();
    scene.ok(&format!("cp {}/. box:/e", here.display()));
    assert_eq!(scene.ok("exec box stat -c '%n %u:%g' /e/f /e/g"), "/e/f 11:12\n/e/g 0:0");
    assert_eq!(owner_on_disk(scene, "box", "e/g"), (0, 0));
    scene.ok(&format!("cp {} box:/f", here.join("g").display()));
    assert_eq!(scene.ok("exec box sh -c 'echo more >> /f; cat /f'"), "newmore");
    assert!(scene.ok("diff box").contains("A /d/f"));
    scene.ok("commit box copy");
    assert_eq!(scene.ok("run --rm copy stat -c %u:%g /d/f /e/g"), "11:12\n0:0");
    assert_eq!(scene.ok("run --rm --userns host copy stat -c %u:%g /d/f /e/g"), "11:12\n0:0");
    scene.ok("stop -t 0 box");
    scene.ok(&format!("cp {} box:/late", here.join("f").display()));
    scene.ok("start box");
    assert_eq!(scene.ok("exec box cat /late"), "old");
    scene.ok("rm -f box");
    scene.ok("rmi copy");
});

remapped!(a_build_runs_remapped(scene) {
    let context = scene.daemon.path("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("Dockerfile"), "FROM busybox AS base\n\
        RUN echo made > /made && chown 5:6 /made && grep -q ' 200000 ' /proc/self/uid_map\n\
        FROM busybox\n\
        COPY --from=base /made /made\n\
        RUN touch /own && chown 5:6 /own && chmod 600 /made && cat /made > /copy\n").unwrap();
    scene.ok(&format!("build -q -t built {}", context.display()));
    assert_eq!(scene.ok("run --rm built sh -c 'stat -c %u:%g /made /own; cat /copy'"), "5:6\n5:6\nmade");
    scene.ok("rmi built");
});

remapped!(a_remapped_container_outlives_the_daemon(scene) {
    scene.ok("run -d --name box --health-cmd 'test $(id -u) = 0' --health-interval 200ms -p 8080:80 busybox sh -c 'echo page > /index.html; echo said; exec httpd -f -p 80 -h /'");
    scene.until("box", "is healthy", |document| document["State"]["Health"]["Status"] == "healthy");
    scene.daemon.crash();
    assert_eq!(scene.inspect("box", "{{.State.Status}}"), "running");
    assert_eq!(scene.daemon.namespace().fetch("http://127.0.0.1:8080/index.html").as_deref(), Some("page\n"));
    assert_eq!(scene.ok("exec box id -u"), "0");
    assert_eq!(scene.ok("logs box"), "said");
    scene.ok("restart -t 0 box");
    assert_eq!(status(scene, "box", "Uid:"), [FIRST_USER.to_string().as_str(); 4].join("\t"));
});

remapped!(what_needs_the_host_is_refused_or_has_the_hosts_user_namespace(scene) {
    for (options, word) in [
        ("--privileged", "privileged mode is incompatible with user namespaces"),
        ("--network host", "cannot share the host's network namespace when user namespaces are enabled"),
        ("--pid host", "cannot share the host PID namespace when user namespaces are enabled"),
    ] {
        let text = scene.fails(125, &format!("run --rm {options} busybox true"));
        assert!(text.contains(word), "{text}");
        scene.ok(&format!("run --rm --userns host {options} busybox true"));
    }
    scene.ok("run --rm --uts host busybox true");
    if Path::new("/dev/mqueue").exists() {
        scene.ok("run --rm --ipc host busybox true");
    }
    scene.ok("run --rm --ipc shareable --cgroupns private --init busybox true");
    scene.ok("run -d --name box --userns host busybox sleep 1000");
    assert_eq!(status(scene, "box", "Uid:"), "0\t0\t0\t0");
    assert_eq!(scene.inspect("box", "{{.HostConfig.UsernsMode}}"), "host");
    scene.ok("run --rm --device /dev/null --device /dev/zero:/dev/a/b busybox sh -c 'head -c 3 /dev/a/b | wc -c && echo x > /dev/null'");
});

#[test]
fn a_range_that_is_missing_is_named_with_the_line_to_add() {
    let mut daemon = Daemon::prepare(&["--userns-remap", USER]);
    daemon.lay_over("/etc/subuid", "");
    let refused = |daemon: &Daemon| {
        let output = daemon.command().output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = refused(&daemon);
    assert!(
        text.contains("add a line to /etc/subuid, such as daemon:100000:65536"),
        "{text}"
    );
    let daemon = Daemon::prepare(&["--userns-remap", "nobody-of-that-name"]);
    let text = refused(&daemon);
    assert!(
        text.contains("there is no user \"nobody-of-that-name\" in /etc/passwd"),
        "{text}"
    );
}

#[test]
fn the_option_comes_and_goes_and_a_reload_does_not_change_it() {
    let mut daemon = prepared(&[]);
    daemon.launch();
    daemon.load("busybox");
    daemon.hull(&[
        "run",
        "-d",
        "--name",
        "box",
        "-v",
        "data:/d",
        "busybox",
        "sh",
        "-c",
        "echo text > /d/f; echo text > /f; exec sleep 1000",
    ]);
    let uid = |daemon: &Daemon| {
        let pid = daemon
            .hull(&["inspect", "-f", "{{.State.Pid}}", "box"])
            .stdout;
        let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        line.unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    assert_eq!(uid(&daemon), 0);
    fs::write(
        daemon.path("daemon.json"),
        json!({ "userns-remap": USER }).to_string(),
    )
    .unwrap();
    hull_testkit::process::signal(daemon.pid(), "HUP");
    daemon.expect_log("the configuration was read again");
    daemon.hull(&["restart", "-t", "0", "box"]);
    assert_eq!(uid(&daemon), 0);
    daemon.crash();
    assert_eq!(uid(&daemon), 0, "who runs goes on as he was");
    assert_eq!(daemon.hull(&["exec", "box", "cat", "/f"]).stdout, "text\n");
    daemon.hull(&["restart", "-t", "0", "box"]);
    assert_eq!(uid(&daemon), FIRST_USER);
    assert_eq!(
        daemon
            .hull(&["exec", "box", "sh", "-c", "cat /d/f /f; stat -c %u /d/f /f"])
            .stdout,
        "text\ntext\n0\n0\n"
    );
    fs::write(daemon.path("daemon.json"), "{}").unwrap();
    daemon.crash();
    assert_eq!(daemon.hull(&["exec", "box", "cat", "/f"]).stdout, "text\n");
    daemon.hull(&["restart", "-t", "0", "box"]);
    assert_eq!(uid(&daemon), 0);
    daemon.finish();
}
