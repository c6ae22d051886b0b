//! Plans of whole containers, read off the spec.

use std::{cell::RefCell, io};

use hull_oci::runtime::{LinuxDeviceType, Mount, Spec};
use hull_sys::{capability::CapabilitySet, cgroup};

use super::*;
use crate::{
    model::{
        DeviceMapping, IpcNamespace, NetworkMode, PidNamespace, Propagation, Resources,
        ThrottleDevice, UtsNamespace,
    },
    record::MountKind,
};

struct FakeDevices(RefCell<Vec<String>>);

impl DeviceLookup for FakeDevices {
    fn devices_at(&self, path: &str) -> io::Result<Vec<DeviceNode>> {
        self.0.borrow_mut().push(path.to_owned());
        let node = |path: &str, kind, minor| DeviceNode {
            path: path.to_owned(),
            kind,
            major: 10,
            minor,
            mode: 0o660,
            uid: 0,
            gid: 44,
        };
        Ok(match path {
            "/dev/fuse" => vec![node(path, LinuxDeviceType::C, 229)],
            "/dev/sda" => vec![node(path, LinuxDeviceType::B, 1)],
            "/dev/dri" => vec![
                node("/dev/dri/card0", LinuxDeviceType::C, 2),
                node("/dev/dri/by-path/x", LinuxDeviceType::C, 3),
            ],
            "/dev" => vec![
                node("/dev/fuse", LinuxDeviceType::C, 229),
                node("/dev/pts/0", LinuxDeviceType::C, 9),
            ],
            "/dev/empty" => Vec::new(),
            _ => return Err(io::Error::from(io::ErrorKind::NotFound)),
        })
    }
}

fn facts() -> HostFacts {
    HostFacts {
        cgroup_version: 2,
        cgroups: cgroup::Host::V1(Vec::new()),
        capabilities: CapabilitySet::ALL,
        cpus: 2,
        cpuset_cpus: "0-1".to_owned(),
        cpuset_mems: "0".to_owned(),
        apparmor: false,
        seccomp: true,
        kernel: (6, 18),
        thermal_paths: Vec::new(),
    }
}

fn plan_with(
    config: Config,
    host: HostConfig,
    change: impl FnOnce(&mut SpecInput<'_>),
) -> Result<Spec, String> {
    plan_mounting(config, host, &[], change)
}

fn plan_mounting(
    config: Config,
    host: HostConfig,
    mounts: &[MountPoint],
    change: impl FnOnce(&mut SpecInput<'_>),
) -> Result<Spec, String> {
    let files = Files {
        hosts: Some("/c/hosts".into()),
        hostname: Some("/c/hostname".into()),
        resolv_conf: Some("/c/resolv.conf".into()),
    };
    let user = User {
        home: "/root".to_owned(),
        ..User::default()
    };
    let (defaults, facts) = (Defaults::default(), facts());
    let mut input = SpecInput {
        id: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        config: &config,
        host: &host,
        command: vec!["sleep".to_owned(), "1".to_owned()],
        user: &user,
        mounts,
        files: &files,
        edits: &Edits::default(),
        join: Joined::default(),
        ids: None,
        own_network: true,
        cgroup_path: "/hull/x".to_owned(),
        defaults: &defaults,
        facts: &facts,
    };
    change(&mut input);
    spec_with(&input, &FakeDevices(RefCell::default())).map_err(|error| error.to_string())
}

fn plan(host: HostConfig) -> Result<Spec, String> {
    plan_with(Config::default(), host, |_| ())
}

fn mount<'a>(spec: &'a Spec, target: &str) -> Option<&'a Mount> {
    spec.mounts()
        .iter()
        .flatten()
        .find(|mount| mount.destination() == Path::new(target))
}

fn options(spec: &Spec, target: &str) -> String {
    mount(spec, target)
        .unwrap()
        .options()
        .clone()
        .unwrap()
        .join(",")
}

fn linux(spec: &Spec) -> &Linux {
    spec.linux().as_ref().unwrap()
}

fn namespaces(spec: &Spec) -> String {
    let all = linux(spec).namespaces().iter().flatten();
    all.map(|namespace| namespace.typ().to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn the_default_container_is_dockers() {
    let spec = plan(HostConfig::default()).unwrap();
    let process = spec.process().as_ref().unwrap();
    assert_eq!(namespaces(&spec), "mnt net uts pid ipc cgroup");
    assert_eq!(spec.hostname().as_deref(), Some("0123456789ab"));
    assert_eq!(process.cwd(), Path::new("/"));
    let capabilities = process.capabilities().as_ref().unwrap();
    assert_eq!(capabilities.effective().as_ref().unwrap().len(), 14);
    assert!(capabilities.inheritable().as_ref().unwrap().is_empty());
    assert!(capabilities.ambient().as_ref().unwrap().is_empty());
    assert_eq!(process.no_new_privileges(), Some(false));
    assert_eq!(options(&spec, "/proc"), "nosuid,noexec,nodev");
    assert_eq!(options(&spec, "/sys"), "nosuid,noexec,nodev,ro");
    assert_eq!(options(&spec, "/sys/fs/cgroup"), "nosuid,noexec,nodev,ro");
    assert_eq!(
        options(&spec, "/dev/shm"),
        "nosuid,noexec,nodev,mode=1777,size=67108864"
    );
    assert!(
        linux(&spec)
            .masked_paths()
            .as_ref()
            .unwrap()
            .contains(&"/proc/kcore".to_owned())
    );
    assert_eq!(linux(&spec).readonly_paths().as_ref().unwrap().len(), 5);
    assert!(linux(&spec).seccomp().is_some());
    let sysctl = linux(&spec).sysctl().as_ref().unwrap();
    assert_eq!(sysctl["net.ipv4.ip_unprivileged_port_start"], "0");
    let rules = linux(&spec)
        .resources()
        .as_ref()
        .unwrap()
        .devices()
        .as_ref()
        .unwrap();
    assert!(!rules[0].allow());
}

#[test]
fn environment_has_dockers_defaults_below_the_containers_own() {
    let config = Config {
        env: strings(&["A=1", "PATH=/x", "HOSTNAME", "A=2", "EMPTY="]),
        ..Config::default()
    };
    let extra = strings(&["B=3", "EMPTY"]);
    let env = environment(&config, "box", true, &extra, "/root");
    assert_eq!(
        env,
        strings(&["PATH=/x", "TERM=xterm", "A=2", "B=3", "HOME=/root"])
    );
    let env = environment(
        &Config::default(),
        "box",
        false,
        &strings(&["HOME=/h"]),
        "/root",
    );
    assert_eq!(env[1..], strings(&["HOSTNAME=box", "HOME=/h"]));
}

#[test]
fn a_privileged_container_has_everything() {
    let spec = plan(HostConfig {
        privileged: true,
        ..HostConfig::default()
    })
    .unwrap();
    let capabilities = spec
        .process()
        .as_ref()
        .unwrap()
        .capabilities()
        .as_ref()
        .unwrap();
    assert_eq!(capabilities.effective().as_ref().unwrap().len(), 41);
    assert!(linux(&spec).seccomp().is_none());
    assert!(linux(&spec).masked_paths().as_ref().unwrap().is_empty());
    assert_eq!(options(&spec, "/sys"), "nosuid,noexec,nodev");
    let devices = linux(&spec).devices().as_ref().unwrap();
    let paths: Vec<_> = devices.iter().map(|device| device.path().clone()).collect();
    assert_eq!(paths, [PathBuf::from("/dev/fuse")]);
    let rules = linux(&spec)
        .resources()
        .as_ref()
        .unwrap()
        .devices()
        .as_ref()
        .unwrap();
    assert!(rules[0].allow());
}

#[test]
fn no_label_or_annotation_changes_the_plan() {
    let usual = plan(HostConfig::default()).unwrap();
    for (key, value) in [
        ("io.podman.annotations.privileged", "TRUE"),
        ("run.oci.keep_original_groups", "1"),
        ("org.systemd.property.Slice", "'x'"),
        ("devices.hull.dev", "/dev/sda"),
    ] {
        let one = || [(key.to_owned(), value.to_owned())].into();
        let config = Config {
            labels: one(),
            ..Config::default()
        };
        let host = HostConfig {
            annotations: one(),
            ..HostConfig::default()
        };
        let mut spec = plan_with(config, host, |_| ()).unwrap();
        assert!(spec.annotations().is_some());
        spec.set_annotations(None);
        assert_eq!(spec, usual, "{key}");
    }
}

#[test]
fn shared_namespaces_are_left_out_or_joined() {
    let host = HostConfig {
        network_mode: NetworkMode::Host,
        pid: PidNamespace::Container("x".to_owned()),
        ipc: IpcNamespace::Host,
        uts: UtsNamespace::Host,
        ..HostConfig::default()
    };
    let spec = plan_with(Config::default(), host, |input| {
        input.join.pid = Some("/proc/7/ns/pid".into());
    })
    .unwrap();
    assert_eq!(namespaces(&spec), "mnt pid cgroup");
    let pid = &linux(&spec).namespaces().as_ref().unwrap()[1];
    assert_eq!(pid.path().as_deref(), Some(Path::new("/proc/7/ns/pid")));
    assert_eq!(*spec.hostname(), None);
    assert!(linux(&spec).sysctl().as_ref().unwrap().is_empty());
    assert_eq!(
        mount(&spec, "/dev/shm").unwrap().source().as_deref(),
        Some(Path::new("/dev/shm"))
    );
}

#[test]
fn another_containers_shared_memory_is_seen_through_its_process() {
    let host = HostConfig {
        ipc: IpcNamespace::Container("x".into()),
        ..HostConfig::default()
    };
    let spec = plan_with(Config::default(), host, |input| {
        input.join.ipc = Some("/proc/7/ns/ipc".into());
    })
    .unwrap();
    let source = mount(&spec, "/dev/shm").unwrap().source().clone().unwrap();
    assert_eq!(source, Path::new("/proc/7/root/dev/shm"));
}

#[test]
fn settings_of_the_host_are_refused_with_dockers_texts() {
    for (name, error) in [
        (
            "kernel.core_pattern",
            "sysctl \"kernel.core_pattern\" is not in a separate kernel namespace",
        ),
        (
            "vm.overcommit_memory",
            "sysctl \"vm.overcommit_memory\" is not in a separate kernel namespace",
        ),
        (
            "net.core.somaxconn",
            "sysctl \"net.core.somaxconn\" not allowed in host network namespace",
        ),
        (
            "net/../kernel/core_pattern",
            "sysctl \"net/../kernel/core_pattern\" is not in a separate kernel namespace",
        ),
    ] {
        let host = HostConfig {
            network_mode: NetworkMode::Host,
            sysctls: [(name.to_owned(), "1".to_owned())].into(),
            ..HostConfig::default()
        };
        assert_eq!(plan(host.clone()).unwrap_err(), error);
        let early = validate(&Config::default(), &host, &facts()).unwrap_err();
        assert_eq!(early.to_string(), error);
    }
}

#[test]
fn devices_and_directories_of_them_are_shown() {
    let mapping = |host: &str, inside: &str, permissions: &str| DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: inside.to_owned(),
        permissions: permissions.to_owned(),
    };
    let with = |mappings: Vec<DeviceMapping>| {
        let resources = Resources {
            devices: mappings,
            ..Resources::default()
        };
        plan(HostConfig {
            resources,
            ..HostConfig::default()
        })
    };
    let spec = with(vec![
        mapping("/dev/fuse", "", "rw"),
        mapping("/dev/dri", "/dev/gpu", ""),
    ]);
    let spec = spec.unwrap();
    let paths: Vec<_> = linux(&spec)
        .devices()
        .as_ref()
        .unwrap()
        .iter()
        .map(|d| d.path())
        .collect();
    assert_eq!(
        paths,
        [
            Path::new("/dev/fuse"),
            Path::new("/dev/gpu/card0"),
            Path::new("/dev/gpu/by-path/x")
        ]
    );
    let rules = linux(&spec)
        .resources()
        .as_ref()
        .unwrap()
        .devices()
        .clone()
        .unwrap();
    let fuse = rules.iter().find(|rule| rule.minor() == Some(229)).unwrap();
    assert_eq!(fuse.access().as_deref(), Some("rw"));
    assert_eq!(
        with(vec![mapping("/dev/nope", "", "")]).unwrap_err(),
        "error gathering device information while adding custom device \"/dev/nope\": \
         no such file or directory"
    );
    assert!(with(vec![mapping("/dev/empty", "", "")]).is_err());
    assert!(with(vec![mapping("/dev/fuse", "", "rwx")]).is_err());
}

#[test]
fn device_rules_have_one_form() {
    for good in ["c 1:3 rwm", "b *:* m", "a *:* rwm", "c 10:* r"] {
        assert!(devices::parse_rule(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "c 1:3",
        "x 1:3 r",
        "c 1:3 x",
        "c 1 r",
        "c 1:3 rwm ",
        "c +1:3 r",
        "c -1:3 r",
    ] {
        let error = devices::parse_rule(bad).unwrap_err().to_string();
        assert_eq!(error, format!("invalid device cgroup rule format: '{bad}'"));
    }
}

#[test]
fn user_mounts_cover_the_engines_and_parents_come_first() {
    let point = |target: &str, kind| MountPoint {
        kind,
        source: "/src".into(),
        destination: target.to_owned(),
        read_only: target == "/data/deep",
        propagation: (target == "/data").then_some(Propagation::Rslave),
        ..MountPoint::default()
    };
    let mounts = [
        point("/data/deep", MountKind::Bind),
        point("/data", MountKind::Volume),
        point("/etc/hosts", MountKind::Bind),
        point("/dev/shm/", MountKind::Tmpfs),
    ];
    let host = HostConfig {
        tmpfs: [("/run".to_owned(), "rw,exec,size=64m".to_owned())].into(),
        ..HostConfig::default()
    };
    let spec = plan_mounting(Config::default(), host, &mounts, |_| ()).unwrap();
    assert_eq!(options(&spec, "/data"), "rbind,rslave");
    assert_eq!(options(&spec, "/data/deep"), "rbind,rro,rprivate");
    assert_eq!(options(&spec, "/run"), "nosuid,nodev,rw,exec,size=64m");
    assert_eq!(options(&spec, "/dev/shm"), "noexec,nosuid,nodev");
    assert_eq!(
        mount(&spec, "/etc/hosts").unwrap().source().as_deref(),
        Some(Path::new("/src"))
    );
    let all = spec.mounts().clone().unwrap();
    let at = |target: &str| {
        all.iter()
            .position(|m| m.destination() == Path::new(target))
            .unwrap()
    };
    assert!(at("/data") < at("/data/deep"));
    assert_eq!(
        all.iter()
            .filter(|m| m.destination() == Path::new("/etc/hosts"))
            .count(),
        1
    );
    assert_eq!(linux(&spec).rootfs_propagation().as_deref(), Some("slave"));
}

#[test]
fn limits_are_turned_into_the_ocis_words() {
    let resources = Resources {
        nano_cpus: 1_500_000_000,
        memory: 64 << 20,
        pids_limit: Some(-1),
        blkio_read_bps: vec![ThrottleDevice {
            path: "/dev/sda".to_owned(),
            rate: 5,
        }],
        ..Resources::default()
    };
    let spec = plan(HostConfig {
        resources,
        ..HostConfig::default()
    })
    .unwrap();
    let resources = linux(&spec).resources().as_ref().unwrap();
    let cpu = resources.cpu().as_ref().unwrap();
    assert_eq!((cpu.quota(), cpu.period()), (Some(150_000), Some(100_000)));
    assert_eq!(resources.memory().as_ref().unwrap().swap(), Some(128 << 20));
    assert!(resources.pids().is_none());
    let throttle = resources
        .block_io()
        .as_ref()
        .unwrap()
        .throttle_read_bps_device()
        .clone();
    assert_eq!(throttle.unwrap()[0].rate(), 5);
}

fn refusal(resources: Resources) -> String {
    validate_resources(&resources, &facts())
        .unwrap_err()
        .to_string()
}

#[test]
fn memory_out_of_range_is_refused_with_dockers_texts() {
    let of = |memory, memory_swap, memory_reservation| {
        let usual = Resources::default();
        refusal(Resources {
            memory,
            memory_swap,
            memory_reservation,
            ..usual
        })
    };
    let mib = 1 << 20;
    for (refused, text) in [
        (of(1024, 0, 0), "Minimum memory limit allowed is 6MB"),
        (
            of(8 * mib, 7 * mib, 0),
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            of(0, 7 * mib, 0),
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            of(8 * mib, 0, mib),
            "Minimum memory reservation allowed is 6MB",
        ),
        (
            of(8 * mib, 0, 9 * mib),
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
    ] {
        assert_eq!(refused, text);
    }
}

#[test]
fn processors_out_of_range_are_refused_with_dockers_texts() {
    let usual = Resources::default;
    let cpus = |text: &str| Resources {
        cpuset_cpus: text.to_owned(),
        ..usual()
    };
    let mems = |text: &str| Resources {
        cpuset_mems: text.to_owned(),
        ..usual()
    };
    for (resources, text) in [
        (
            Resources {
                nano_cpus: 3_000_000_000,
                ..usual()
            },
            "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
        ),
        (
            Resources {
                nano_cpus: 1,
                cpu_quota_us: 5000,
                ..usual()
            },
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set.",
        ),
        (
            cpus("0-7"),
            "Requested CPUs are not available - requested 0-7, available: 0-1",
        ),
        (mems("x"), "Invalid value x for cpuset mems"),
        (
            Resources {
                blkio_weight: 9,
                ..usual()
            },
            "Range of blkio weight is from 10 to 1000",
        ),
    ] {
        assert_eq!(refusal(resources), text);
    }
}

#[test]
fn an_exec_has_what_the_container_has_unless_it_says_otherwise() {
    let config = Config {
        env: strings(&["A=1"]),
        working_dir: "/w".into(),
        ..Config::default()
    };
    let host = HostConfig {
        cap_drop: strings(&["ALL"]),
        cap_add: strings(&["CHOWN"]),
        security_opt: strings(&["no-new-privileges"]),
        ..HostConfig::default()
    };
    let root = User {
        home: "/root".to_owned(),
        ..User::default()
    };
    let run = |user: &User, privileged| {
        let request = ExecRequest {
            command: &strings(&["id"]),
            env: &strings(&["A=2"]),
            user,
            user_given: false,
            working_dir: "",
            tty: false,
            privileged,
            console_size: Some((24, 80)),
        };
        exec_process(&config, &host, &Defaults::default(), &request).unwrap()
    };
    let count = |process: &hull_oci::runtime::Process| {
        let sets = process.capabilities().as_ref().unwrap();
        let len = |set: &Option<hull_oci::runtime::Capabilities>| set.as_ref().unwrap().len();
        (
            len(sets.effective()),
            len(sets.inheritable()),
            len(sets.ambient()),
        )
    };
    let plain = run(&root, false);
    assert_eq!(count(&plain), (1, 0, 0));
    assert_eq!(plain.no_new_privileges(), Some(true));
    assert_eq!(plain.cwd(), Path::new("/w"));
    assert!(plain.env().as_ref().unwrap().contains(&"A=2".to_owned()));
    assert!(plain.console_size().is_none());
    let other = User {
        uid: 5,
        gid: 6,
        groups: vec![7],
        home: "/".to_owned(),
    };
    let groups = run(&other, false).user().additional_gids().clone();
    assert_eq!(groups, Some(vec![6, 7]));
    assert_eq!(count(&run(&other, true)).0, 0);
    assert!(count(&run(&root, true)).0 > 1);
}

#[test]
fn the_default_filter_allows_and_refuses_what_it_should() {
    let spec = plan(HostConfig::default()).unwrap();
    let rules = linux(&spec)
        .seccomp()
        .as_ref()
        .unwrap()
        .syscalls()
        .clone()
        .unwrap();
    let always = |name: &str| {
        rules
            .iter()
            .any(|rule| rule.args().is_none() && rule.names().iter().any(|n| n == name))
    };
    for name in [
        "read",
        "landlock_create_ruleset",
        "ptrace",
        "chroot",
        "statx",
        "memfd_create",
    ] {
        assert!(always(name), "{name}");
    }
    for name in [
        "bpf",
        "mount",
        "unshare",
        "io_uring_setup",
        "keyctl",
        "kexec_load",
        "syslog",
    ] {
        assert!(!always(name), "{name}");
    }
    let families: Vec<_> = rules
        .iter()
        .filter(|rule| rule.names() == &["socket"])
        .map(|rule| rule.args().as_ref().unwrap()[0].value_two().unwrap())
        .collect();
    assert_eq!(families, [1, 2, 10, 16, 29, 17, 44]);
    let program = hull_runtime::seccomp::compile(linux(&spec).seccomp().as_ref().unwrap()).unwrap();
    assert_eq!(program.skipped_names(), [""; 0]);
    // A filter is walked once per number when it is installed: its length is start-up time.
    assert!(
        program.instructions().len() < 500,
        "{}",
        program.instructions().len()
    );
}

#[test]
fn dockers_own_form_of_a_profile_is_understood() {
    let json = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                    {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": null}],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "", "includes": {}, "excludes": {}},
            {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["swapcontext"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["ppc64le"]}},
            {"name": "write", "action": "SCMP_ACT_ALLOW"}
        ]}"#;
    let names = |granted, kernel| {
        let surroundings = seccomp::Surroundings { granted, kernel };
        let profile = seccomp::from_docker_profile(json, &surroundings).unwrap();
        let rules = profile.syscalls().clone().unwrap();
        rules
            .iter()
            .flat_map(|rule| rule.names().clone())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        names(CapabilitySet::EMPTY, (6, 1)),
        "read clone3 ptrace write"
    );
    assert_eq!(names(CapabilitySet::ALL, (4, 4)), "read bpf write");
}

#[test]
fn a_broken_profile_is_refused_at_create() {
    for json in ["nonsense", "{}", r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#] {
        let host = HostConfig {
            security_opt: vec![format!("seccomp={json}")],
            ..HostConfig::default()
        };
        let error = validate(&Config::default(), &host, &facts())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("Decoding seccomp profile failed: "),
            "{error}"
        );
    }
}

#[test]
fn a_remapped_container_owns_what_is_the_engines_and_no_bind() {
    let range = |outside| Mapping {
        inside: 0,
        outside,
        size: 1000,
    };
    let ids: &'static Mappings = Box::leak(Box::new(Mappings {
        users: vec![range(100_000)],
        groups: vec![range(200_000)],
    }));
    let point = |target: &str, mapped| MountPoint {
        source: "/source".into(),
        destination: target.to_owned(),
        mapped,
        ..MountPoint::default()
    };
    let mounts = [point("/volume", true), point("/bind", false)];
    let spec = plan_mounting(Config::default(), HostConfig::default(), &mounts, |input| {
        input.join.user = Some("/proc/7/fd/9".into());
        input.ids = Some(ids);
    });
    let spec = spec.unwrap();
    assert_eq!(namespaces(&spec), "mnt net uts pid ipc cgroup user");
    let maps = linux(&spec).gid_mappings().as_ref().unwrap();
    assert_eq!((maps[0].host_id(), maps[0].size()), (200_000, 1000));
    assert_eq!(options(&spec, "/etc/hosts"), "rbind,rprivate,idmap");
    assert_eq!(options(&spec, "/volume"), "rbind,rprivate,idmap");
    assert_eq!(options(&spec, "/bind"), "rbind,rprivate");
    let sysctl = linux(&spec).sysctl().as_ref().unwrap();
    assert_eq!(sysctl["net.ipv4.ping_group_range"], "0 999");
}
