//! What cannot lie in the corpus: files of other kinds, and very many of them.

#![expect(
    clippy::unwrap_used,
    reason = "a case that cannot be prepared fails right there"
)]

use std::path::PathBuf;

use hull_compose::{Options, load};

/// A directory that goes with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hull-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn pipe(&self, name: &str) {
        let made = std::process::Command::new("mkfifo")
            .arg(self.0.join(name))
            .status();
        assert!(made.unwrap().success());
    }

    fn options(&self) -> Options {
        Options {
            current_directory: self.0.to_str().unwrap().to_owned(),
            ..Options::default()
        }
    }

    /// What loading says, without the directory.
    fn refusal(&self) -> String {
        let error = load(&self.options()).unwrap_err();
        error.full().replace(&format!("{}/", self.0.display()), "")
    }

    /// The same with its advice.
    fn refusal_with_hint(&self) -> String {
        let hint = load(&self.options()).unwrap_err();
        let hint = hint.hint().unwrap_or_default().to_owned();
        format!("{} ({hint})", self.refusal())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_pipe_is_refused_wherever_a_file_is_named() {
    let place = Place::new("pipes");
    place.pipe("pipe");
    let kind = "cannot read pipe: it is a pipe, and not a file";
    place.write(
        "compose.yaml",
        "include: [pipe]\nservices: {a: {image: x}}\n",
    );
    assert_eq!(
        place.refusal(),
        format!("compose.yaml:1:11: `include`: {kind}")
    );
    place.write("inner.yaml", "services: {b: {image: x}}");
    place.write(
        "compose.yaml",
        "include:\n  - {path: inner.yaml, env_file: pipe}\n",
    );
    assert_eq!(
        place.refusal(),
        format!("compose.yaml:2:5: `include.env_file`: {kind}")
    );
    place.write(
        "compose.yaml",
        "services:\n  a: {extends: {file: pipe, service: a}}\n",
    );
    assert_eq!(
        place.refusal(),
        format!("compose.yaml:2:16: `extends`: {kind}")
    );
    for key in ["env_file", "label_file"] {
        place.write(
            "compose.yaml",
            &format!("services:\n  a: {{image: x, {key}: pipe}}\n"),
        );
        let column = 19 + key.len();
        assert_eq!(
            place.refusal(),
            format!("compose.yaml:2:{column}: `{key}`: {kind}")
        );
    }
    place.pipe(".env");
    assert_eq!(
        place.refusal(),
        "cannot read .env: it is a pipe, and not a file"
    );
    std::fs::remove_file(place.0.join("compose.yaml")).unwrap();
    std::fs::remove_file(place.0.join(".env")).unwrap();
    place.pipe("compose.yaml");
    assert_eq!(
        place.refusal(),
        "cannot read compose.yaml: it is a pipe, and not a file"
    );
}

#[test]
fn what_lies_too_deep_is_not_called_a_circle() {
    let place = Place::new("deep");
    let chain = |length: usize| {
        for number in 0..length {
            let next = number + 1;
            place.write(
                &format!("{number}.yaml"),
                &format!("include: [{next}.yaml]\n"),
            );
        }
        place.write(&format!("{length}.yaml"), "services: {a: {image: x}}\n");
        place.write("compose.yaml", "include: [0.yaml]\n");
    };
    chain(120);
    assert_eq!(
        place.refusal(),
        "99.yaml:1:11: `include`: 100.yaml lies more than 100 inclusions deep"
    );
    chain(99);
    let options = Options {
        current_directory: place.0.to_str().unwrap().to_owned(),
        ..Options::default()
    };
    let loaded = load(&options).unwrap();
    assert_eq!(loaded.project.map("services").unwrap().iter().count(), 1);
}

#[test]
fn a_circle_names_the_files_that_include_and_no_others() {
    let place = Place::new("circles");
    place.write("compose.yaml", "services: {a: {image: x}}\n");
    place.write("compose.override.yaml", "include: [b.yaml]\n");
    place.write("b.yaml", "include: [compose.yaml]\n");
    assert_eq!(
        place.refusal(),
        "b.yaml:1:11: files include each other in a circle: compose.override.yaml → b.yaml → compose.yaml"
    );
    place.write("b.yaml", "include: [b.yaml]\n");
    assert_eq!(place.refusal(), "b.yaml:1:11: b.yaml includes itself");
    // Also what is laid over another file is included.
    place.write("c.yaml", "services: {c: {image: x}}\n");
    place.write("b.yaml", "include: [{path: [c.yaml, b.yaml]}]\n");
    assert_eq!(place.refusal(), "b.yaml:1:11: b.yaml includes itself");
}

/// A line in which something is wrong, and what is said of it.
const VALUES: &[(&str, &str)] = &[
    (
        "restart: alwyas",
        "services.a.restart must be one of no, always, on-failure, unless-stopped, on-unhealthy, not `alwyas` (did you mean `always`?)",
    ),
    (
        "restart: 'always:3'",
        "services.a.restart: only `on-failure` has a number behind it, not `always:3` (write `on-failure:3` for at most three times)",
    ),
    (
        "deploy: {restart_policy: {condition: on-failur}}",
        "services.a.deploy.restart_policy.condition must be one of none, on-failure, any, no, always, unless-stopped, on-unhealthy, not `on-failur` (did you mean `on-failure`?)",
    ),
    (
        "cap_add: [CHOWN, NET_ADMN]",
        "services.a.cap_add: there is no capability `NET_ADMN` (did you mean `NET_ADMIN`?)",
    ),
    (
        "cap_drop: [cap_sys_ptrce]",
        "services.a.cap_drop: there is no capability `cap_sys_ptrce` (did you mean `SYS_PTRACE`?)",
    ),
    (
        "container_name: a b",
        "services.a.container_name: `a b` cannot be the name of a container (it begins with a letter or a digit, goes on with these, `_`, `.` and `-`, and has two of them at least)",
    ),
    (
        "container_name: ab\n    deploy: {replicas: 2}",
        "services.a: a service with a `container_name` cannot be scaled ()",
    ),
    (
        "pull_policy: alway",
        "services.a.pull_policy must be one of always, never, build, if_not_present, missing, refresh, daily, weekly, every_NUMBER[wdhms], not `alway` (did you mean `always`?)",
    ),
    (
        "image: BusyBox",
        "services.a.image: `BusyBox` names no image: invalid reference format: repository name (library/BusyBox) must be lowercase (did you mean `busybox`?)",
    ),
    (
        "image: 'a:b:c'",
        "services.a.image: `a:b:c` names no image: invalid reference format (an image is `[registry[:port]/]name[:tag][@digest]`, in lower case)",
    ),
    (
        "networks: {n: {ipv4_address: 10.0.0}}",
        "services.a.networks.n.ipv4_address: `10.0.0` is no address ()",
    ),
    (
        "deploy: {replicas: -1}",
        "services.a.deploy.replicas: `-1` is negative ()",
    ),
    ("scale: -2", "services.a.scale: `-2` is negative ()"),
    (
        "scale: 10001",
        "services.a.scale: `10001` is more than 10000 ()",
    ),
    (
        "deploy: {replicas: 99999999999}",
        "services.a.deploy.replicas: `99999999999` is more than 10000 ()",
    ),
    (
        "deploy: {update_config: {parallelism: -2}}",
        "services.a.deploy.update_config.parallelism: `-2` is negative ()",
    ),
    (
        "deploy: {rollback_config: {max_failure_ratio: -0.5}}",
        "services.a.deploy.rollback_config.max_failure_ratio: `-0.5` is negative ()",
    ),
    (
        "deploy: {restart_policy: {max_attempts: -1}}",
        "services.a.deploy.restart_policy.max_attempts: `-1` is negative ()",
    ),
    (
        "healthcheck: {test: 'true', retries: -3}",
        "services.a.healthcheck.retries: `-3` is negative ()",
    ),
    (
        "healthcheck: {test: 'true', interval: -3s}",
        "services.a.healthcheck.interval: `-3s` is negative ()",
    ),
    (
        "stop_grace_period: -1s",
        "services.a.stop_grace_period: `-1s` is negative ()",
    ),
    (
        "healthcheck: {test: 'true', interval: 5}",
        "services.a.healthcheck.interval must be a text, not a number (a duration has a unit: `5s`)",
    ),
    (
        "depends_on: {b: {condition: healthy}}",
        "services.a.depends_on.b.condition must be one of service_started, service_healthy, service_completed_successfully, not `healthy` (did you mean `service_healthy`?)",
    ),
    (
        "depends_on: [aa]",
        "services.a: it depends on the service `aa`, which is not defined ()",
    ),
    (
        "extends: aa",
        "`extends` names the service `aa`, which compose.yaml does not have ()",
    ),
    (
        "x-hull: {update: roling}",
        "services.a.x-hull.update must be one of rolling, recreate, not `roling` (did you mean `rolling`?)",
    ),
    (
        "x-hull: {updat: rolling}",
        "services.a.x-hull.updat is not a key that Compose knows (did you mean `update`?)",
    ),
    (
        "deploy: {update_config: {failure_action: rolback}}",
        "services.a.deploy.update_config.failure_action must be one of continue, pause, rollback, not `rolback` (did you mean `rollback`?)",
    ),
    (
        "deploy: {rollback_config: {order: first}}",
        "services.a.deploy.rollback_config.order must be one of start-first, stop-first, not `first` ()",
    ),
];

#[test]
fn what_a_daemon_would_refuse_is_told_with_its_place() {
    let place = Place::new("values");
    for (line, told) in VALUES {
        let image = if line.starts_with("image") {
            ""
        } else {
            "    image: x\n"
        };
        let text = format!("services:\n  a:\n    {line}\n{image}networks: {{n: {{}}}}\n");
        place.write("compose.yaml", &text);
        let said = place.refusal_with_hint();
        let rest = said.strip_prefix("compose.yaml:3:").unwrap_or(&said);
        let (_, rest) = rest.split_once(": ").unwrap();
        assert_eq!(rest, *told, "{said}");
    }
}

#[test]
fn a_network_with_a_wrong_subnet_is_told_with_its_place() {
    let place = Place::new("subnets");
    for (pool, told) in [
        (
            "subnet: 10.300.0.0/16",
            "networks.n.ipam.config.subnet: `10.300.0.0/16` is no subnet",
        ),
        (
            "subnet: 10.3.0.0/33",
            "networks.n.ipam.config.subnet: `10.3.0.0/33` is no subnet",
        ),
        (
            "gateway: here",
            "networks.n.ipam.config.gateway: `here` is no address",
        ),
        (
            "aux_addresses: {one: '::1::'}",
            "networks.n.ipam.config.aux_addresses.one: `::1::` is no address",
        ),
    ] {
        place.write(
            "compose.yaml",
            &format!("services: {{a: {{image: x, networks: [n]}}}}\nnetworks: {{n: {{ipam: {{config: [{{{pool}}}]}}}}}}\n"),
        );
        let said = place.refusal();
        assert!(said.starts_with("compose.yaml:2:"), "{said}");
        assert!(said.ends_with(told), "{said}");
    }
}

#[test]
fn what_is_right_is_not_refused() {
    let place = Place::new("right");
    for line in [
        "restart: no",
        "restart: 'on-failure:3'",
        "restart: on-unhealthy",
        "cap_add: [all, CAP_NET_ADMIN, sys_time]",
        "pull_policy: every_1w2d",
        "container_name: a.b-c_1",
        "volumes: ['d:/data']",
        "x-hull: {update: rolling}",
        "x-other: {update: whatever}",
    ] {
        place.write(
            "compose.yaml",
            &format!(
                "services:\n  a:\n    image: 'h.io:5000/a/b:1'\n    {line}\nvolumes: {{d: {{}}}}\n"
            ),
        );
        load(&place.options()).unwrap_or_else(|error| panic!("{line}: {}", error.full()));
    }
}

#[test]
fn a_volume_of_one_letter_is_no_drive() {
    let place = Place::new("letter");
    place.write(
        "compose.yaml",
        "services: {a: {image: x, volumes: ['d:/data']}}\nvolumes: {d: {}}\n",
    );
    let loaded = load(&place.options()).unwrap();
    let service = loaded
        .project
        .map("services")
        .and_then(|services| services.map("a"));
    let mount = service.unwrap().list("volumes")[0].as_map().unwrap();
    assert_eq!(
        (
            mount.text("type"),
            mount.text("source"),
            mount.text("target")
        ),
        (Some("volume"), Some("d"), Some("/data"))
    );
}

#[test]
fn errors_say_nothing_of_what_stands_in_files_from_elsewhere() {
    let elsewhere = Place::new("elsewhere");
    elsewhere.write("shadow", "# c\nroot secret:$6$hash:19000\n");
    elsewhere.write("settings", "services: {}\npassword-of-all: secret\n");
    elsewhere.write("broken", "a: [secret\nb: }\n");
    let place = Place::new("discreet");
    let file = |name: &str| elsewhere.0.join(name).display().to_string();
    for (text, line) in [
        (
            format!(
                "services: {{a: {{image: x, env_file: {}}}}}",
                file("shadow")
            ),
            2,
        ),
        (
            format!(
                "services: {{a: {{image: x, label_file: {}}}}}",
                file("shadow")
            ),
            2,
        ),
        (
            format!(
                "include: [{{path: own.yaml, env_file: {}}}]",
                file("shadow")
            ),
            2,
        ),
        (
            format!(
                "services: {{a: {{extends: {{file: {}, service: a}}}}}}",
                file("settings")
            ),
            2,
        ),
        (format!("include: ['{}']", file("broken")), 2),
    ] {
        place.write("own.yaml", "services: {b: {image: x}}");
        place.write("compose.yaml", &text);
        let error = load(&place.options()).unwrap_err();
        let said = format!("{} {}", error.full(), error.hint().unwrap_or_default());
        for word in ["secret", "root", "hash", "password"] {
            assert!(!said.contains(word), "{text}: {said}");
        }
        assert!(said.contains(&format!(":{line}:")), "{text}: {said}");
        assert!(said.contains("what it says is not shown"), "{text}: {said}");
    }
    // What the project's own files say is shown.
    place.write("own.env", "A B=1\n");
    place.write(
        "compose.yaml",
        "services: {a: {image: x, env_file: own.env}}",
    );
    assert_eq!(
        place.refusal(),
        "own.env:1:1: `A B` is no name of a variable"
    );
}

#[test]
fn very_many_services_are_refused_with_the_true_reason() {
    let place = Place::new("many");
    let chain = |count: usize| -> String {
        let service = |number: usize| match number + 1 < count {
            true => format!("  s{number}: {{image: b, depends_on: [s{}]}}\n", number + 1),
            false => format!("  s{number}: {{image: b}}\n"),
        };
        (0..count)
            .map(service)
            .fold("services:\n".into(), |all, one| all + &one)
    };
    place.write("compose.yaml", &chain(50_000));
    let said = place.refusal();
    assert!(
        said.ends_with(": the file has more than 200000 values"),
        "{said}"
    );
    place.write("compose.yaml", &chain(10_001));
    assert_eq!(
        place.refusal(),
        "the project has 10001 services, and may have 10000"
    );
    place.write("compose.yaml", &chain(3000));
    assert!(load(&place.options()).is_ok());
}

#[test]
fn where_variables_stand_for_themselves_any_value_may_be_one() {
    let place = Place::new("standing");
    place.write(
        "compose.yaml",
        "services:
  a:
    image: x:${TAG}
    cpus: ${CPUS:-1.5}
    mem_limit: ${MEM}
    privileged: ${YES:-false}
    ports: ['${PORT:-80}:80', '90:90']
    stop_grace_period: ${TIME}
    volumes: ['${FROM:-./x}:/x']
    restart: ${RESTART}
    deploy: {replicas: '${N:-2}'}
",
    );
    let options = Options {
        interpolate: false,
        resolve_environment: false,
        resolve_labels: false,
        ..place.options()
    };
    let loaded = load(&options).unwrap();
    let text = hull_compose::render::project_yaml(&loaded.project).replace("$$", "$");
    for line in [
        "cpus: ${CPUS:-1.5}",
        "mem_limit: ${MEM}",
        "privileged: ${YES:-false}",
        "- ${PORT:-80}:80",
        "- 90:90",
        "stop_grace_period: ${TIME}",
        "replicas: ${N:-2}",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}
