//! `ps`, `inspect`, `top`, `stats`, `port`, `version`, `info`.

use hull_testkit::scenario;
use serde_json::json;

scenario!(ps_shows_what_runs_and_with_a_what_ran(scene) {
    let id = scene.ok("run -d --name up -p 127.0.0.1:8080:80 busybox sleep 1000");
    scene.fails(3, "run --name down busybox sh -c 'exit 3'");
    let table = scene.ok("ps");
    let head: Vec<_> = table.lines().next().unwrap().split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
    assert_eq!(head, ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]);
    assert_eq!(table.lines().count(), 2);
    assert!(table.contains(&id[..12]) && table.contains("127.0.0.1:8080->80/tcp"), "{table}");
    assert_eq!(scene.ok("ps -a --format '{{.Names}}'"), "down\nup");
    assert_eq!(scene.ok("ps -q --no-trunc"), id);
    assert!(scene.ok("ps -a --filter name=down --format '{{.Status}}'").starts_with("Exited (3)"));
    assert_eq!(scene.ok("ps -l --format '{{.Names}}|{{.Image}}|{{.Command}}'"), "down|busybox|\"sh -c 'exit 3'\"");
});

scenario!(ps_filters(scene) {
    scene.ok("run -d --name web -l tier=front busybox sleep 1000");
    scene.ok("run -d --name db -l tier=back busybox sleep 1000");
    scene.fails(1, "run --name job busybox false");
    let names = |filter: &str| {
        let mut names: Vec<_> = scene.ok(&format!("ps -a {filter} --format '{{{{.Names}}}}'")).lines().map(str::to_owned).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names("--filter label=tier"), "db web");
    assert_eq!(names("--filter label=tier=front"), "web");
    assert_eq!(names("--filter status=exited"), "job");
    assert_eq!(names("--filter exited=1"), "job");
    assert_eq!(names("--filter name=^w"), "web");
    assert_eq!(names("--filter ancestor=busybox --filter status=running"), "db web");
    assert_eq!(names("--filter since=web"), "db job");
    assert_eq!(names("--filter before=db"), "web");
    let text = scene.fails(1, "ps --filter nosuch=x");
    assert!(text.contains("invalid filter 'nosuch'"), "{text}");
});

scenario!(inspect_describes_what_was_asked_for(scene) {
    scene.ok("run -d --name box -e A=1 -l x=y --memory 64m --cpus 0.5 --restart on-failure:2 -p 8080:80 busybox sleep 1000");
    let it: serde_json::Value = serde_json::from_str(&scene.ok("inspect box")).unwrap();
    let it = &it[0];
    assert_eq!(it["Name"], "/box");
    assert_eq!((&it["Path"], &it["Args"]), (&json!("sleep"), &json!(["1000"])));
    assert_eq!(it["Config"]["Image"], "busybox");
    assert_eq!(it["Config"]["Hostname"], json!(it["Id"].as_str().unwrap()[..12]));
    assert_eq!(it["HostConfig"]["Memory"], 64 << 20);
    assert_eq!(it["HostConfig"]["NanoCpus"], 500_000_000);
    assert_eq!(it["HostConfig"]["RestartPolicy"], json!({"Name": "on-failure", "MaximumRetryCount": 2}));
    assert_eq!(it["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"], "8080");
    assert_eq!(it["State"]["FinishedAt"], "0001-01-01T00:00:00Z");
    assert!(it["State"]["Pid"].as_i64() > Some(1) && it["Driver"].is_string() && it["Created"].as_str().unwrap().ends_with('Z'));
    assert_eq!(scene.ok("inspect --type container --format '{{.Config.Cmd}} {{len .Mounts}}' box"), "[sleep 1000] 0");
    let output = scene.run("inspect nobody");
    assert_eq!((output.code, output.stdout.trim()), (1, "[]"));
    assert!(output.stderr.contains("no such object: nobody") || output.stderr.contains("No such object: nobody"), "{}", output.stderr);
});

scenario!(top_lists_processes(scene) {
    scene.ok("run -d --name box busybox sh -c 'sleep 1234 & wait'");
    let table = scene.ok("top box");
    assert!(table.starts_with("UID") && table.contains("sleep 1234"), "{table}");
    let table = scene.ok("top box -o pid,args");
    assert!(table.lines().next().unwrap().contains("PID") && table.lines().count() == 3, "{table}");
});

scenario!(stats_come_once_when_asked_to(scene) {
    scene.ok("run -d --name box --memory 32m busybox sleep 1000");
    let line = scene.ok("stats --no-stream --format '{{.Name}}|{{.MemUsage}}|{{.PIDs}}' box");
    assert!(line.starts_with("box|") && line.contains("/ 32MiB") && line.ends_with("|1"), "{line}");
});

scenario!(port_tells_what_is_published(scene) {
    scene.ok("run -d --name box -p 127.0.0.1:8080:80 -p 127.0.0.1:5353:53/udp busybox sleep 1000");
    assert_eq!(scene.ok("port box 80"), "127.0.0.1:8080");
    assert_eq!(scene.ok("port box 53/udp"), "127.0.0.1:5353");
    let text = scene.fails(1, "port box 99");
    assert!(text.contains("o public port '99"), "{text}");
});

scenario!(version_and_info_answer(scene) {
    let version = scene.ok("version --format '{{.Server.APIVersion}} {{.Server.Os}} {{.Server.Arch}}'");
    assert!(version.ends_with("linux amd64") || version.ends_with("linux arm64"), "{version}");
    scene.ok("run -d busybox sleep 1000");
    scene.ok("create busybox true");
    let info = scene.ok("info --format '{{.Containers}} {{.ContainersRunning}} {{.ContainersStopped}} {{.Images}} {{.OSType}}'");
    assert_eq!(info, "2 1 1 1 linux");
});

scenario!(df_accounts_for_images_and_containers(scene) {
    scene.ok("run --name box busybox sh -c 'head -c 1000000 /dev/zero > /big'");
    let table = scene.ok("system df --format '{{.Type}} {{.TotalCount}}'");
    assert!(table.contains("Images 1") && table.contains("Containers 1"), "{table}");
    let size: String = scene.ok("ps -a -s --format '{{.Size}}'");
    assert!(size.starts_with("1MB"), "{size}");
});
