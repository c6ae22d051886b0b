//! Twenty applications, each brought up by Docker's Compose and by `hull compose`: the daemon must
//! have the same in the end. And what one of them made, the other finds nothing to do about.

use hull_testkit::Daemon;
use serde_json::{Value, json};

use crate::{Application, Driver};

/// What differs from one time to the next, wherever it stands.
const CHANGING: [&str; 24] = [
    "Id",
    "Created",
    "CreatedAt",
    "StartedAt",
    "FinishedAt",
    "Pid",
    "SandboxID",
    "SandboxKey",
    "EndpointID",
    "NetworkID",
    "IPAddress",
    "MacAddress",
    "Gateway",
    "LogPath",
    "HostnamePath",
    "HostsPath",
    "ResolvConfPath",
    "HostPort",
    "Log",
    "ContainerIDFile",
    "DNSNames",
    "Containers",
    "Storage",
    "GraphDriver",
];

/// Lists without an order: Docker's Compose gives them in that of a hash table, another one each time.
const UNORDERED: [&str; 7] = [
    "Env",
    "Mounts",
    "Binds",
    "Aliases",
    "Links",
    "Ulimits",
    "ExtraHosts",
];

/// A document without what differs, lists without an order sorted.
fn settled(value: &Value, id: &str) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, _)| !CHANGING.contains(&key.as_str()))
            // The id of a container or a network, as a value.
            .filter(|(_, value)| {
                !value
                    .as_str()
                    .is_some_and(|text| text.starts_with("br-") || text.starts_with("container:"))
            })
            // A hostname that nobody chose is the container's id.
            .filter(|(key, value)| {
                *key != "Hostname" || !value.as_str().is_some_and(|name| id.starts_with(name))
            })
            .map(|(key, value)| {
                let mut value = settled(value, id);
                if let Value::Array(items) = &mut value
                    && UNORDERED.contains(&key.as_str())
                {
                    items.sort_by_key(Value::to_string);
                }
                if key == "com.docker.compose.depends_on" {
                    let mut parts: Vec<&str> =
                        value.as_str().unwrap_or_default().split(',').collect();
                    parts.sort_unstable();
                    value = json!(parts);
                }
                // Nothing said and nothing in it are one.
                if value == json!([]) || value == json!({}) {
                    value = Value::Null;
                }
                (key.clone(), value)
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| settled(item, id)).collect(),
        other => other.clone(),
    }
}

fn get(daemon: &Daemon, path: &str) -> Value {
    daemon.api("GET", path, &Value::Null).json()
}

/// Networks are made at the same time, so which of them gets the next range of the daemon's is left to chance: the ranges go by
/// the networks' names.
fn settle_ranges(networks: &mut [Value]) {
    let is_chosen = |network: &Value| {
        let range = network.pointer("/IPAM/Config/0/Subnet");
        range
            .and_then(Value::as_str)
            .is_some_and(|range| range.starts_with("172."))
    };
    let chosen = networks.iter().filter(|network| is_chosen(network));
    let mut ranges: Vec<Value> = chosen
        .map(|network| network["IPAM"]["Config"].clone())
        .collect();
    ranges.sort_by_key(Value::to_string);
    let chosen = networks.iter_mut().filter(|network| is_chosen(network));
    for (network, range) in chosen.zip(ranges) {
        network["IPAM"]["Config"] = range;
    }
}

/// All that the daemon has of the application.
fn state(application: &Application) -> Value {
    let daemon = &application.daemon;
    let mut containers: Vec<Value> = application
        .containers()
        .iter()
        .map(|name| {
            let mut document = application.document(name);
            // Whose namespace is shared is part of the hash, and has another id each time.
            let shares = document["HostConfig"]["NetworkMode"]
                .as_str()
                .is_some_and(|mode| mode.starts_with("container:"));
            if shares {
                document["Config"]["Labels"]["com.docker.compose.config-hash"] = Value::Null;
            }
            settled(&document, document["Id"].as_str().unwrap_or_default())
        })
        .collect();
    containers.sort_by_key(|container| container["Name"].to_string());
    let mut networks: Vec<Value> = get(daemon, "/networks")
        .as_array()
        .unwrap()
        .iter()
        .map(|network| settled(network, ""))
        .collect();
    networks.sort_by_key(|network| network["Name"].to_string());
    settle_ranges(&mut networks);
    let mut volumes: Vec<Value> = get(daemon, "/volumes")["Volumes"]
        .as_array()
        .unwrap_or(&Vec::new())
        .iter()
        .filter(|volume| volume["Name"].as_str().unwrap().len() < 64)
        .map(|volume| settled(volume, ""))
        .collect();
    volumes.sort_by_key(|volume| volume["Name"].to_string());
    json!({"containers": containers, "networks": networks, "volumes": volumes})
}

/// The first places at which two documents differ.
fn differences(path: &str, docker: &Value, hull: &Value, found: &mut Vec<String>) {
    match (docker, hull) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let null = Value::Null;
                let (a, b) = (a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null));
                differences(&format!("{path}/{key}"), a, b, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (number, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}/{number}"), a, b, found);
            }
        }
        _ if docker == hull => {}
        _ => found.push(format!("{path}: Docker's {docker}, Hull's {hull}")),
    }
}

/// Brings the application up with both, one after the other, and compares.
#[track_caller]
fn compare(file: &str) {
    Application::play(Driver::Docker, file, |application| {
        for (name, text) in [
            ("a.env", "FROM_FILE=1\nQUOTED=\"a b\"\n"),
            ("key.pem", "secret\n"),
            ("site/index.html", "hi\n"),
        ] {
            application.write(name, text);
        }
        application.ok("up -d --quiet-pull");
        let docker = state(application);
        // What one made, the other leaves alone.
        let before = application.containers();
        application.driver = Driver::Hull;
        assert_eq!(
            application.run("diff").code,
            0,
            "{}",
            application.run("diff").stdout
        );
        application.ok("down -v --timeout 1");
        assert_eq!(application.containers(), Vec::<String>::new());

        application.ok("up -d");
        let hull = state(application);
        assert_eq!(application.containers(), before);
        let mut found = Vec::new();
        differences("", &docker, &hull, &mut found);
        assert!(found.is_empty(), "{}", found.join("\n"));

        application.driver = Driver::Docker;
        let ids = ids(application);
        application.ok("up -d");
        assert_eq!(
            ids,
            self::ids(application),
            "Docker's Compose made containers anew"
        );
        application.ok("down -v --timeout 1");
        assert_eq!(application.containers(), Vec::<String>::new());
    });
}

fn ids(application: &Application) -> Vec<String> {
    application
        .containers()
        .iter()
        .map(|name| application.field(name, "/Id").to_string())
        .collect()
}

macro_rules! same {
    ($($name:ident: $file:expr;)*) => {$(
        #[test]
        fn $name() {
            compare($file);
        }
    )*};
}

same! {
    one_service: "
        services: {web: {image: busybox, command: sleep 1000, stop_grace_period: 0s}}
    ";
    web_database_and_cache: "
        services:
          web:
            image: busybox
            command: sh -c 'trap exit TERM; sleep 1000 & wait'
            depends_on: {db: {condition: service_healthy}, cache: {condition: service_started}}
            environment: {DB: db, CACHE: cache}
            ports: ['80']
          db:
            image: busybox
            command: sh -c 'touch /ready; trap exit TERM; sleep 1000 & wait'
            volumes: ['data:/var/lib/db']
            healthcheck: {test: test -e /ready, interval: 100ms, retries: 50}
          cache: {image: busybox, command: sleep 1000, init: true}
        volumes: {data: {}}
    ";
    queue_with_workers: "
        services:
          queue: {image: busybox, command: sleep 1000, init: true, expose: [5672]}
          worker:
            image: busybox
            command: sleep 1000
            init: true
            deploy: {replicas: 3, resources: {limits: {memory: 32M, cpus: '0.5', pids: 50}}}
            depends_on: [queue]
    ";
    migrations_gate_the_rest: "
        services:
          migrate: {image: busybox, command: 'true'}
          seed: {image: busybox, command: 'true', depends_on: {migrate: {condition: service_completed_successfully}}}
          app:
            image: busybox
            command: sleep 1000
            init: true
            depends_on: {seed: {condition: service_completed_successfully}}
    ";
    several_networks: "
        services:
          front: {image: busybox, command: sleep 1000, init: true, networks: [outer]}
          middle:
            image: busybox
            command: sleep 1000
            init: true
            networks: {outer: {aliases: [api]}, inner: {priority: 10}}
          back: {image: busybox, command: sleep 1000, init: true, networks: [inner]}
        networks: {outer: {labels: {kind: outer}}, inner: {internal: true, driver_opts: {com.docker.network.bridge.name: hull-inner}}}
    ";
    addresses_of_ones_own: "
        services:
          a: {image: busybox, command: sleep 1000, init: true, networks: {n: {ipv4_address: 10.77.0.10}}}
        networks: {n: {ipam: {config: [{subnet: 10.77.0.0/24, gateway: 10.77.0.1}]}}}
    ";
    volumes_of_all_kinds: "
        services:
          a:
            image: busybox
            command: sleep 1000
            init: true
            volumes:
              - named:/named
              - named:/again:ro
              - ./site:/site:ro
              - ./made:/made
              - type: tmpfs
                target: /scratch
                tmpfs: {size: 1m}
              - type: volume
                source: other
                target: /other
                volume: {nocopy: true}
            tmpfs: [/run, '/tmp:size=64k']
        volumes: {named: {labels: {a: b}}, other: {name: own-name}}
    ";
    secrets_and_configs: "
        services:
          a:
            image: busybox
            command: sleep 1000
            init: true
            secrets: [key, {source: token, target: tok}]
            configs: [{source: text, target: /etc/app.conf}, {source: file, target: /etc/file.conf}]
        secrets: {key: {file: ./key.pem}, token: {environment: TOKEN}}
        configs: {text: {content: 'name = ${TOKEN}'}, file: {file: ./key.pem}}
    ";
    variables_from_everywhere: "
        services:
          a:
            image: busybox
            command: ['sh', '-c', 'sleep 1000']
            init: true
            env_file: [a.env]
            environment: {OWN: '1', TOKEN: , EMPTY: '', UNSET: }
            labels: {com.example.a: '1', com.example.b: }
    ";
    rights_and_limits: "
        services:
          a:
            image: busybox
            command: sleep 1000
            init: true
            cap_add: [NET_ADMIN]
            cap_drop: [MKNOD]
            security_opt: ['no-new-privileges:true']
            read_only: true
            user: '1000:1000'
            group_add: ['20']
            ulimits: {nofile: 1024, nproc: {soft: 100, hard: 200}}
            mem_limit: 64m
            mem_reservation: 32m
            cpu_shares: 512
            cpus: 0.5
            pids_limit: 40
            shm_size: 8m
            oom_score_adj: 100
            sysctls: {net.ipv4.ip_unprivileged_port_start: '80'}
    ";
    names_and_hosts: "
        services:
          a:
            image: busybox
            container_name: my-own-name
            hostname: box
            domainname: example.org
            command: sleep 1000
            init: true
            extra_hosts: ['elsewhere:10.9.8.7', 'six=::1']
            dns: [10.1.1.1]
            dns_search: [example.org]
            dns_opt: [timeout:1]
            working_dir: /tmp
            stop_signal: SIGINT
            stop_grace_period: 3s
    ";
    shared_namespaces: "
        services:
          main: {image: busybox, command: sleep 1000, init: true}
          side: {image: busybox, command: sleep 1000, init: true, network_mode: 'service:main', pid: 'service:main'}
          host: {image: busybox, command: sleep 1000, init: true, network_mode: host}
          alone: {image: busybox, command: sleep 1000, init: true, network_mode: none}
    ";
    restart_policies: "
        services:
          a: {image: busybox, command: sleep 1000, init: true, restart: always}
          b: {image: busybox, command: sleep 1000, init: true, restart: 'on-failure:3'}
          c: {image: busybox, command: sleep 1000, init: true, restart: unless-stopped}
          d: {image: busybox, command: sleep 1000, init: true, restart: 'no'}
          e: {image: busybox, command: sleep 1000, init: true, deploy: {restart_policy: {condition: on-failure, max_attempts: 2}}}
    ";
    log_options: "
        services:
          a: {image: busybox, command: sleep 1000, init: true, logging: {driver: json-file, options: {max-size: 1m, max-file: '2'}}}
          b: {image: busybox, command: sleep 1000, init: true, logging: {driver: none}}
    ";
    links_between_services: "
        services:
          web: {image: busybox, command: sleep 1000, init: true, links: [db, 'db:database']}
          db: {image: busybox, command: sleep 1000, init: true}
    ";
    published_ports: "
        services:
          a:
            image: busybox
            command: sleep 1000
            init: true
            ports:
              - '18080:80'
              - '127.0.0.1:18081:81'
              - '18082-18083:82-83'
              - '18084:84/udp'
              - {target: 85, published: '18085', protocol: tcp}
            expose: ['90', '91/udp']
    ";
    terminals: "
        services:
          a: {image: busybox, command: sh, tty: true, stdin_open: true, stop_grace_period: 0s}
          b: {image: busybox, command: cat, stdin_open: true, stop_grace_period: 0s}
    ";
    health_checks: "
        services:
          a: {image: busybox, command: sleep 1000, init: true, healthcheck: {test: [CMD, 'true'], interval: 1h, timeout: 2s, retries: 4, start_period: 5s}}
          b: {image: busybox, command: sleep 1000, init: true, healthcheck: {disable: true}}
    ";
    anchors_and_extensions: "
        x-base: &base {image: busybox, command: sleep 1000, init: true, labels: &labels {team: one}}
        services:
          a: {<<: *base, environment: {N: a}}
          b: {<<: *base, environment: {N: b}, labels: {<<: *labels, extra: two}}
          c: {extends: a, environment: {N: c}}
    ";
    hooks_and_annotations: "
        services:
          a:
            image: busybox
            command: sleep 1000
            init: true
            annotations: {org.example.note: x}
            post_start: [{command: [touch, /hooked]}]
            pre_stop: [{command: ['true']}]
    ";
}
