//! `system df`, `system fsck`: what fills the disk, and what is wrong with it.

use std::fs;

use hull_testkit::{Client, Scene, scenario, until};

/// What `du` says, in bytes.
fn du(paths: &[std::path::PathBuf]) -> u64 {
    let output = std::process::Command::new("du")
        .args(["--summarize", "--block-size=1", "--total"])
        .args(paths)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let total = text.lines().last().unwrap();
    total.split_whitespace().next().unwrap().parse().unwrap()
}

scenario!(what_df_says_of_images_is_what_du_says(scene) {
    scene.ok("tag busybox other:1");
    scene.ok("run --name box busybox sh -c 'echo more > /file'");
    scene.ok("commit box changed:1");
    scene.ok("rmi other:1");
    let usage = scene.daemon.request("GET", "/system/df?type=image", None).unwrap().json();
    let data = scene.daemon.path("data");
    assert_eq!(usage["LayersSize"].as_u64().unwrap(), du(&[data.join("image"), data.join("layers")]));
    // The container uses one of the two; the other one shares all but its own layer.
    assert_eq!(usage["ImageUsage"]["ActiveCount"], 1);
    let reclaimable = usage["ImageUsage"]["Reclaimable"].as_u64().unwrap();
    let changed = &usage["Images"].as_array().unwrap().iter().find(|i| i["Containers"] == 0).unwrap();
    assert_eq!(reclaimable, changed["Size"].as_u64().unwrap() - changed["SharedSize"].as_u64().unwrap());
});

scenario!(rows_and_totals_of_containers_and_volumes_are_what_du_says(scene) {
    let fill = "dd if=/dev/zero of=/v/file bs=1000 count=77; mkdir -p /v/a/b; ln /v/file /v/a/other; truncate -s 9M /v/holes; dd if=/dev/zero of=/own bs=1000 count=33";
    for name in ["one", "two"] {
        scene.ok(&format!("run --name {name} -v {name}:/v busybox sh -c '{fill}'"));
    }
    scene.ok("run -d --name three -v one:/v --mount type=volume,src=three,dst=/w busybox sleep 100000");
    scene.ok("volume create -o type=tmpfs -o device=tmpfs ram");
    scene.ok("volume create unused");
    let usage = scene.daemon.request("GET", "/system/df", None).unwrap().json();
    let data = scene.daemon.path("data");
    let (mut all, mut unused) = (0, 0);
    for volume in usage["Volumes"].as_array().unwrap() {
        let own = du(&[data.join("volumes").join(volume["Name"].as_str().unwrap())]);
        assert_eq!(volume["UsageData"]["Size"].as_u64().unwrap(), own, "{volume}");
        all += own;
        unused += if volume["UsageData"]["RefCount"] == 0 { own } else { 0 };
    }
    let total = &usage["VolumeUsage"];
    assert_eq!((total["TotalSize"].as_u64().unwrap(), total["Reclaimable"].as_u64().unwrap()), (all, unused));
    let (mut all, mut stopped) = (0, 0);
    for container in usage["Containers"].as_array().unwrap() {
        let own = du(&[data.join("containers").join(container["Id"].as_str().unwrap())]);
        assert_eq!(container["SizeRw"].as_u64().unwrap(), own, "{container}");
        all += own;
        stopped += if container["State"] == "running" { 0 } else { own };
    }
    let total = &usage["ContainerUsage"];
    assert_eq!((total["TotalSize"].as_u64().unwrap(), total["Reclaimable"].as_u64().unwrap()), (all, stopped));
    let table = scene.ok("system df -v");
    assert!(table.contains("unused") && table.contains("three"), "{table}");
});

#[test]
fn the_whole_account_is_what_du_says() {
    Scene::play(Client::Hull, |scene| {
        scene.ok("run --name box -v data:/data busybox sh -c 'dd if=/dev/zero of=/data/file bs=1000 count=100'");
        let account = scene
            .daemon
            .request("GET", "/hull/system/account", None)
            .unwrap()
            .json();
        let lines = account["Lines"].as_array().unwrap();
        let of = |what: &str| {
            lines
                .iter()
                .find(|l| l["What"] == what)
                .map_or(0, |l| l["Size"].as_u64().unwrap())
        };
        let data = scene.daemon.path("data");
        assert_eq!(of("Volumes"), du(&[data.join("volumes")]));
        assert_eq!(
            of("Images") + of("Directories of the image store"),
            du(&[data.join("image"), data.join("layers")])
        );
        let sum: u64 = lines
            .iter()
            .map(|line| line["Size"].as_u64().unwrap())
            .sum();
        assert_eq!(account["Total"], sum);
        let table = scene.ok("system df --why");
        assert!(
            table.contains("Volumes") && table.contains("in use"),
            "{table}"
        );
    });
}

#[test]
fn a_check_finds_and_mends_what_is_wrong() {
    Scene::play(Client::Hull, |scene| {
        scene.ok("create --name box busybox cat /etc/passwd");
        assert_eq!(scene.ok("system fsck"), "all is sound");
        let data = scene.daemon.path("data");
        let layer = fs::read_dir(data.join("layers"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        fs::write(layer.join("fs/etc/passwd"), "changed").unwrap();
        fs::write(data.join("image/blobs/sha256/readme"), "nobody's").unwrap();
        scene.fails(1, "system fsck --quick");
        scene.fails(1, "system fsck");
        let text = scene.ok("system fsck --repair");
        assert!(
            text.contains("/etc/passwd: has ") && text.contains("2 found, all mended"),
            "{text}"
        );
        assert_eq!(scene.ok("system fsck"), "all is sound");
        assert!(scene.ok("start -a box").contains("root:"));
    });
}

#[test]
fn a_container_whose_layer_is_gone_stands_on_a_new_one() {
    Scene::play(Client::Hull, |scene| {
        scene.ok("run --name box busybox sh -c 'echo kept >> /file; cat /file'");
        scene.daemon.kill();
        let data = scene.daemon.path("data");
        let layer = fs::read_dir(data.join("layers"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        fs::rename(&layer, data.join("trash/away")).unwrap();
        scene.daemon.launch();
        scene.fails(1, "system fsck");
        let text = scene.ok("system fsck --repair");
        assert!(text.contains("container box: its layer"), "{text}");
        assert_eq!(scene.ok("system fsck"), "all is sound");
        assert_eq!(scene.ok("start -a box"), "kept\nkept");
    });
}

#[test]
fn a_budget_spares_what_came_just_now() {
    Scene::play_with(Client::Hull, &["--storage-budget", "1m"], |scene| {
        let table = scene.ok("system df --why");
        assert!(
            table.contains("Images and disposable volumes may take 1048576 bytes"),
            "{table}"
        );
        assert!(table.contains("recent"), "{table}");
        assert_eq!(scene.ok("run --rm busybox echo works"), "works");
    });
}

#[test]
fn disposable_volumes_nobody_uses_go_when_there_is_too_much() {
    Scene::play(Client::Hull, |scene| {
        for (name, label) in [
            ("cache", "hull.disposable"),
            ("used", "hull.disposable=true"),
            ("young", "hull.disposable"),
            ("precious", "kind=precious"),
        ] {
            scene.ok(&format!("volume create --label {label} {name}"));
            let fill = "dd if=/dev/zero of=/v/file bs=64k count=40";
            scene.ok(&format!("run --rm -v {name}:/v busybox {fill}"));
        }
        scene.ok("run -d --name user -v used:/v busybox sleep 100000");
        let volumes = scene.daemon.path("data/volumes");
        for name in ["cache", "used", "precious"] {
            let directory = fs::File::open(volumes.join(name)).unwrap();
            directory
                .set_modified(std::time::SystemTime::UNIX_EPOCH)
                .unwrap();
        }
        let table = scene.ok("system df --why");
        let turn = |name: &str| {
            let line = table
                .lines()
                .find(|line| line.contains(" volume ") && line.contains(name));
            line.map(|line| line.split("  ").next().unwrap().to_owned())
        };
        let known = ["cache", "used", "young", "precious"].map(turn);
        let word = |text: &str| Some(text.to_owned());
        assert_eq!(
            known,
            [word("1"), word("in use"), word("recent"), None],
            "{table}"
        );
        // It looks when it starts, and every now and then.
        scene.daemon.kill();
        let settings = r#"{"storage-budget": "1m"}"#;
        fs::write(scene.daemon.path("daemon.json"), settings).unwrap();
        scene.daemon.launch();
        until("the least useful is gone", || {
            scene.ok("volume ls -q") == "precious\nused\nyoung"
        });
        assert_eq!(scene.ok("run --rm busybox echo works"), "works");
    });
}
