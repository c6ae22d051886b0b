//! Resource limits, as the kernel was told.

use hull_testkit::{Scene, host, scenario};

/// A value of the container's control group: named by its file on version 1 and on version 2.
fn limit(scene: &Scene, container: &str, first: &str, second: &str) -> String {
    let id = scene.inspect(container, "{{.Id}}");
    let files = host::cgroups(scene.daemon.cgroup())
        .into_iter()
        .flat_map(|group| {
            let group = group.join(&id);
            [group.join(first), group.join(second)]
        });
    let text = files
        .filter(|file| file.exists())
        .find_map(|file| std::fs::read_to_string(file).ok());
    text.unwrap_or_else(|| panic!("neither {first} nor {second} is there"))
        .trim()
        .to_owned()
}

scenario!(memory_processors_and_processes(scene) {
    scene.ok("run -d --name box --memory 64m --cpus 0.5 --pids-limit 99 --cpuset-cpus 0 --cpu-shares 512 busybox sleep 1000");
    assert_eq!(limit(scene, "box", "memory.limit_in_bytes", "memory.max"), "67108864");
    assert!(limit(scene, "box", "cpu.cfs_quota_us", "cpu.max").starts_with("50000"));
    assert_eq!(limit(scene, "box", "pids.max", "pids.max"), "99");
    assert_eq!(limit(scene, "box", "cpuset.cpus", "cpuset.cpus"), "0");
    scene.ok("update --memory 32m --memory-swap 64m --pids-limit 50 box");
    assert_eq!(limit(scene, "box", "memory.limit_in_bytes", "memory.max"), "33554432");
    assert_eq!(limit(scene, "box", "pids.max", "pids.max"), "50");
    assert_eq!(scene.inspect("box", "{{.HostConfig.Memory}}"), "33554432");
});

scenario!(who_takes_too_much_memory_is_killed_and_it_is_said(scene) {
    let line = "run --name box --memory 16m --memory-swap 16m busybox sh -c 'x=x; while :; do x=$x$x; done'";
    assert_eq!(scene.run(line).code, 137);
    assert_eq!(scene.inspect("box", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
});

scenario!(who_forks_too_much_is_refused(scene) {
    let output = scene.run("run --rm --pids-limit 5 busybox sh -c 'for n in 1 2 3 4 5 6 7; do sleep 1 & done; wait'");
    assert!(output.stderr.contains("fork"), "{output:?}");
});

scenario!(unreasonable_limits_are_refused(scene) {
    let text = scene.fails(125, "run --rm --memory 1m busybox true");
    assert!(text.contains("Minimum memory limit allowed is 6MB"), "{text}");
    let text = scene.fails(125, "run --rm --cpus 1000 busybox true");
    assert!(text.to_lowercase().contains("range of cpus is from 0.01 to"), "{text}");
    let text = scene.fails(125, "run --rm --memory 64m --memory-swap 32m busybox true");
    assert!(text.contains("Minimum memoryswap limit should be larger than memory limit"), "{text}");
});

scenario!(an_update_is_judged_as_a_new_container_is(scene) {
    scene.ok("run -d --name box -m 64m --pids-limit 50 busybox sleep 1000");
    let text = scene.fails(1, "update -m 1m box");
    assert!(text.contains("Minimum memory limit allowed is 6MB"), "{text}");
    assert_eq!(scene.inspect("box", "{{.HostConfig.Memory}}"), (64 << 20).to_string());
    let text = scene.fails(1, "update --cpuset-cpus nonsense box");
    assert!(text.contains("nonsense"), "{text}");
    assert_eq!(limit(scene, "box", "pids.max", "pids.max"), "50");
    scene.ok("update --pids-limit -1 box");
    assert_eq!(limit(scene, "box", "pids.max", "pids.max"), "max");
});

scenario!(parents_of_cgroups_go_with_the_daemon_if_they_were_made_for_containers(scene) {
    let own = format!("{}-own", scene.daemon.cgroup());
    let theirs = format!("{}-theirs", scene.daemon.cgroup());
    scene.ok("run --rm busybox true");
    let made: Vec<_> = host::cgroups(scene.daemon.cgroup())
        .iter()
        .map(|group| group.with_file_name(&theirs))
        .collect();
    assert!(!made.is_empty());
    for group in &made {
        std::fs::create_dir(group).unwrap();
    }
    scene.ok(&format!("run --rm --cgroup-parent /{own}/inner busybox true"));
    scene.ok(&format!("run --rm --cgroup-parent /{theirs}/inner busybox true"));
    let were_made = !host::cgroups(&own).is_empty();
    // Another daemon made them than the one that ends in good order.
    scene.daemon.kill();
    scene.daemon.launch();
    scene.daemon.stop();
    let left: Vec<_> = [host::cgroups(&own), host::cgroups(scene.daemon.cgroup())].concat();
    let inner = made.iter().any(|group| group.join("inner").exists());
    let stayed = made.iter().all(|group| group.exists());
    host::remove_cgroups(&theirs);
    host::remove_cgroups(&own);
    scene.daemon.launch();
    assert!(were_made && left.is_empty() && !inner && stayed, "{left:?}");
});
