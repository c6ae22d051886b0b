//! What of this machine a project reaches for besides its own: what somebody should know before he
//! brings up what another one wrote.
//!
//! Own are the files below the directories it was fetched into, and networks and volumes that have the
//! project's name in theirs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::labels;
use crate::model::{FileObject, Mount, Project, Service, Volume};
use crate::plan::state::State;

/// Drivers whose logs stay where the container is.
const OWN_LOGS: [&str; 4] = ["", "json-file", "local", "none"];

/// Drivers whose networks are within this machine.
const OWN_NETWORKS: [&str; 3] = ["", "bridge", "none"];

/// A thing it reaches for: the key that says so, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// `services.web.privileged`
    pub key: String,
    /// In words.
    pub what: String,
}

/// All of it, in the order of the files' sections. `roots` are the directories that are its own.
pub fn of(project: &Project, roots: &[PathBuf]) -> Vec<Reach> {
    let mut found = Found {
        roots,
        written: written(project),
        list: Vec::new(),
    };
    for service in project.services.values() {
        let place = |key: &str| format!("services.{}.{key}", service.name);
        found.files(service, &place);
        found.ports(service, &place);
        found.rights(service, &place);
        found.others(service, &place);
        found.build(service, &place);
    }
    found.objects(project);
    found.list
}

/// What the daemon has already under names that the project chooses: what is another's would be replaced
/// or used. Nothing of it is, if the project's containers there are all of these same files, or somebody
/// who may choose has named the project (`is_named`).
pub fn taken(project: &Project, state: &State, is_named: bool) -> Vec<Reach> {
    let files = project.files.join(",");
    let other = |label: &str| label != files;
    let mut labels = state.containers.iter().map(|one| one.label(labels::FILES));
    let is_own = is_named || (!state.containers.is_empty() && !labels.clone().any(other));
    let mut list = Vec::new();
    if !is_named && let Some(others) = labels.find(|label| other(label)) {
        let what = format!("the project {}, which is there already", project.name);
        list.push(Reach::new("name", &format!("{what}, of {others}")));
    }
    for service in project.services.values() {
        let Some(build) = &service.build else {
            continue;
        };
        let names = [service.image_name(&project.name)].into_iter();
        for name in names.chain(build.tags.iter().cloned()) {
            let is_others = |project_of: &str| !is_own || project_of != project.name;
            if state
                .images
                .get(&name)
                .is_some_and(|image| is_others(&image.project))
            {
                let key = format!("services.{}.build", service.name);
                list.push(Reach::new(
                    &key,
                    &format!("the image {name}, which is there already"),
                ));
            }
        }
    }
    let there = |what: &str, name: &str| format!("the {what} {name}, which is there already");
    // Those of other names are told in any case.
    let own = |name: &str, key: &str| name == format!("{}_{key}", project.name);
    for (key, network) in project.networks.iter().filter(|_| !is_own) {
        if own(&network.name, key) && state.networks.contains_key(&network.name) {
            list.push(Reach::new(
                &format!("networks.{key}"),
                &there("network", &network.name),
            ));
        }
    }
    for (key, volume) in project.volumes.iter().filter(|_| !is_own) {
        if own(&volume.name, key) && state.volumes.contains_key(&volume.name) {
            list.push(Reach::new(
                &format!("volumes.{key}"),
                &there("volume", &volume.name),
            ));
        }
    }
    list
}

impl Reach {
    /// Whoever writes the files shall not steer the terminal of who reads this.
    fn new(key: &str, what: &str) -> Self {
        let clean = |text: &str| -> String {
            let plain = |c: char| match c.is_control() {
                true => c.escape_default().to_string(),
                false => c.to_string(),
            };
            text.chars().map(plain).collect()
        };
        Self {
            key: clean(key),
            what: clean(what),
        }
    }
}

/// Directories of this machine that containers write: what lies below may be a link by the time it is
/// used.
fn written(project: &Project) -> Vec<PathBuf> {
    let device = |volume: &Volume| volume.driver_opts.get("device").cloned();
    let mounts = project.services.values().flat_map(|one| &one.volumes);
    let sources = mounts
        .filter(|mount| !mount.read_only)
        .filter_map(|mount: &Mount| match mount.kind.as_str() {
            "bind" => Some(mount.source.clone()),
            "volume" => project.volumes.get(&mount.source).and_then(device),
            _ => None,
        });
    let sources = sources.filter(|source| source.starts_with('/'));
    sources.map(|source| real(Path::new(&source))).collect()
}

struct Found<'r> {
    roots: &'r [PathBuf],
    /// Directories that containers write.
    written: Vec<PathBuf>,
    list: Vec<Reach>,
}

impl Found<'_> {
    fn note(&mut self, key: String, what: impl AsRef<str>) {
        self.list.push(Reach::new(&key, what.as_ref()));
    }

    fn each(&mut self, key: &str, values: &[String]) {
        for value in values {
            self.note(key.to_owned(), value);
        }
    }

    /// A path of this machine that is not the project's own, whatever links lead there.
    fn is_elsewhere(&self, path: &str) -> bool {
        let real = real(Path::new(path));
        !self.roots.iter().any(|root| real.starts_with(root))
    }

    /// A path of which it is not sure what it is when a container, or a rebuild, makes use of it: what
    /// is not the project's own, or a link by then. In words.
    fn unsure(&self, path: &str) -> Option<String> {
        if self.is_elsewhere(path) {
            return Some(shown(path));
        }
        let real = real(Path::new(path));
        let is_below = |written: &PathBuf| real != *written && real.starts_with(written);
        let below = || format!("{path} (a container may make a link of it)");
        self.written.iter().any(is_below).then(below)
    }

    fn files(&mut self, service: &Service, place: &dyn Fn(&str) -> String) {
        for mount in service.volumes.iter().filter(|mount| mount.kind == "bind") {
            if let Some(path) = self.unsure(&mount.source) {
                let how = match mount.read_only {
                    true => "to read",
                    false => "to read and write",
                };
                self.note(place("volumes"), format!("{path} {how}"));
            }
        }
        for trigger in service.develop.iter().flat_map(|develop| &develop.watch) {
            if let Some(path) = self.unsure(&trigger.path) {
                self.note(place("develop.watch"), path);
            }
        }
    }

    /// Ports at which others than this machine are answered.
    fn ports(&mut self, service: &Service, place: &dyn Fn(&str) -> String) {
        for port in &service.ports {
            let address = port.host_ip.trim_matches(['[', ']']);
            let is_own = address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
            if is_own {
                continue;
            }
            let number = match port.published.as_str() {
                "" | "0" => "any port",
                published => published,
            };
            let at = match address {
                "" => "all addresses",
                address => address,
            };
            let to = format!("{}/{}", port.target, port.protocol);
            self.note(place("ports"), format!("{number} at {at}, to {to}"));
        }
    }

    fn rights(&mut self, service: &Service, place: &dyn Fn(&str) -> String) {
        if service.privileged {
            self.note(place("privileged"), "all rights on this machine");
        }
        let hooks = [
            ("pre_start", &service.pre_start),
            ("post_start", &service.post_start),
            ("pre_stop", &service.pre_stop),
        ];
        for (key, hooks) in hooks {
            if hooks.iter().any(|hook| hook.privileged) {
                self.note(place(key), "a step with all rights");
            }
        }
        for device in &service.devices {
            self.note(place("devices"), &device.source);
        }
        self.each(&place("device_cgroup_rules"), &service.device_cgroup_rules);
        self.each(&place("cap_add"), &service.cap_add);
        let lowers = |option: &&String| !option.starts_with("no-new-privileges");
        let options: Vec<String> = service
            .security_opt
            .iter()
            .filter(lowers)
            .cloned()
            .collect();
        self.each(&place("security_opt"), &options);
        let deploy = service.deploy.as_ref();
        let reserved = deploy.and_then(|deploy| deploy.resources.reservations.as_ref());
        if !service.gpus.is_empty() || reserved.is_some_and(|amounts| !amounts.devices.is_empty()) {
            self.note(place("gpus"), "devices");
        }
        for (key, value) in [
            ("cgroup_parent", &service.cgroup_parent),
            ("runtime", &service.runtime),
        ] {
            if !value.is_empty() {
                self.note(place(key), value);
            }
        }
        if service.oom_kill_disable || service.oom_score_adj < 0 {
            self.note(
                place("oom_score_adj"),
                "others end first where memory is short",
            );
        }
        if let Some(logging) = &service.logging
            && !OWN_LOGS.contains(&logging.driver.as_str())
        {
            let to = logging.options.values().cloned().collect::<Vec<_>>();
            self.note(
                place("logging"),
                format!("{} {}", logging.driver, to.join(" ")),
            );
        }
    }

    /// Namespaces, containers and programs that are others'.
    fn others(&mut self, service: &Service, place: &dyn Fn(&str) -> String) {
        for (key, mode) in [
            ("network_mode", service.network_mode.as_str()),
            ("pid", service.pid.as_deref().unwrap_or_default()),
            ("ipc", &service.ipc),
            ("uts", &service.uts),
            ("cgroup", &service.cgroup),
            ("userns_mode", &service.userns_mode),
        ] {
            if mode == "host" {
                self.note(place(key), "this machine's own");
            } else if let Some(name) = mode.strip_prefix("container:") {
                self.note(place(key), format!("the container {name}"));
            } else if key == "network_mode"
                && !["", "none", "bridge", "default"].contains(&mode)
                && !mode.starts_with("service:")
            {
                self.note(place(key), format!("the network {mode}"));
            }
        }
        for from in &service.volumes_from {
            if let Some(name) = from.strip_prefix("container:") {
                self.note(place("volumes_from"), format!("the container {name}"));
            }
        }
        self.each(&place("external_links"), &service.external_links);
        if let Some(provider) = &service.provider {
            let program = format!("runs the program {} here", provider.kind);
            self.note(place("provider"), program);
        }
    }

    fn build(&mut self, service: &Service, place: &dyn Fn(&str) -> String) {
        let Some(build) = &service.build else {
            return;
        };
        let contexts = build.additional_contexts.iter();
        let paths = [
            ("context", &build.context),
            ("dockerfile", &build.dockerfile),
        ]
        .into_iter()
        // What is written in the file itself is no file.
        .filter(|(key, _)| *key != "dockerfile" || build.dockerfile_inline.is_empty())
        .chain(contexts.map(|(_, path)| ("additional_contexts", path)));
        let triggers = service.develop.iter().flat_map(|develop| &develop.watch);
        // Built again while containers run.
        let is_rebuilt = { triggers }.any(|trigger| trigger.action == "rebuild");
        for (key, path) in paths {
            let joined = match key {
                "dockerfile" => Path::new(&build.context).join(path),
                _ => PathBuf::from(path),
            };
            let joined = joined.to_string_lossy();
            let told = match joined.starts_with('/') {
                true if is_rebuilt => self.unsure(&joined),
                true => self.is_elsewhere(&joined).then(|| shown(&joined)),
                false => None,
            };
            if let Some(path) = told {
                self.note(place(&format!("build.{key}")), path);
            }
        }
        for cache in &build.cache_from {
            self.cache(place("build.cache_from"), cache);
        }
        // What was built goes there, with what one is logged in by.
        self.each(&place("build.cache_to"), &build.cache_to);
        self.each(&place("build.entitlements"), &build.rights());
        if !build.ssh.is_empty() {
            self.note(place("build.ssh"), "your keys, by their agent");
        }
        if build.network == "host" {
            self.note(place("build.network"), "this machine's own");
        }
    }

    /// A cache in a directory: `type=local,src=/srv/cache`.
    fn cache(&mut self, key: String, cache: &str) {
        let pairs = cache.split(',').map(|pair| pair.trim_matches('"').trim());
        // As the builder reads them: keys in any case, and more than one.
        for (name, path) in pairs.filter_map(|pair| pair.split_once('=')) {
            if name.eq_ignore_ascii_case("src") && self.is_elsewhere(path) {
                self.note(key.clone(), shown(path));
            }
        }
    }

    fn objects(&mut self, project: &Project) {
        let own = |name: &str, key: &str| name == format!("{}_{key}", project.name);
        for (key, network) in &project.networks {
            if network.external || !own(&network.name, key) {
                self.note(
                    format!("networks.{key}"),
                    format!("the network {}", network.name),
                );
            }
            if !OWN_NETWORKS.contains(&network.driver.as_str()) {
                let parent = network.driver_opts.get("parent");
                let on = parent.map_or_else(String::new, |parent| format!(" on {parent}"));
                let what = format!("the driver {}{on}", network.driver);
                self.note(format!("networks.{key}.driver"), what);
            }
        }
        for (key, volume) in &project.volumes {
            if volume.external || !own(&volume.name, key) {
                self.note(
                    format!("volumes.{key}"),
                    format!("the volume {}", volume.name),
                );
            }
            if !["", "local"].contains(&volume.driver.as_str()) {
                let what = format!("the driver {}", volume.driver);
                self.note(format!("volumes.{key}.driver"), what);
            }
            let option = |key: &str| volume.driver_opts.get(key).map_or("", String::as_str);
            let (kind, device) = (option("type"), option("device"));
            if !device.is_empty() && kind != "tmpfs" {
                // Where an overlay leads is in its options.
                let what = match kind {
                    "overlay" => format!("{device} {}", option("o")),
                    _ => shown(device),
                };
                self.note(format!("volumes.{key}.driver_opts"), what);
            }
        }
        for (section, objects) in [("secrets", &project.secrets), ("configs", &project.configs)] {
            let files = |object: &&FileObject| !object.external && !object.file.is_empty();
            for (key, object) in objects {
                let file = Some(object).filter(files).map(|object| &object.file);
                if let Some(path) = file.and_then(|file| self.unsure(file)) {
                    self.note(format!("{section}.{key}.file"), path);
                }
            }
        }
    }
}

/// A path, and where it leads if it goes by links.
fn shown(path: &str) -> String {
    let real = real(Path::new(path));
    let is_same = !path.starts_with('/') || Path::new(path).components().eq(real.components());
    match is_same || path.split('/').any(|part| part == "..") {
        true => path.to_owned(),
        false => format!("{path} (that is {})", real.display()),
    }
}

/// Where a path leads; what of it is not there yet is made where the rest leads.
fn real(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    let mut here = path;
    loop {
        if let Ok(found) = std::fs::canonicalize(here) {
            return rest.iter().rev().fold(found, |path, name| path.join(name));
        }
        match (here.parent(), here.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name.to_owned());
                here = parent;
            }
            // A path that ends in `..` of what is not there leads nowhere that is the project's own.
            _ => return PathBuf::from("/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, load};

    fn reached(text: &str) -> Vec<String> {
        let root = std::env::temp_dir().join(format!("hull-reach-{}", std::process::id()));
        std::fs::create_dir_all(root.join("own")).unwrap();
        let root = std::fs::canonicalize(root).unwrap();
        if !root.join("out").exists() {
            std::os::unix::fs::symlink("/etc", root.join("out")).unwrap();
        }
        let options = Options {
            files: vec!["-".into()],
            standard_input: text.replace("ROOT", &root.to_string_lossy()),
            current_directory: root.to_string_lossy().into_owned(),
            ..Options::default()
        };
        let project = Project::of(&load(&options).unwrap()).unwrap();
        let list = of(&project, std::slice::from_ref(&root));
        let root = root.to_string_lossy().into_owned();
        let told = list.iter().map(|one| format!("{}: {}", one.key, one.what));
        told.map(|line| line.replace(&root, "ROOT")).collect()
    }

    #[test]
    fn what_is_its_own_is_not_reached_for() {
        let text = "
            name: own
            services:
              a:
                image: x
                build: {context: ./own, dockerfile: Dockerfile}
                volumes: ['./own:/a', './none/yet:/b', 'data:/c']
                security_opt: ['no-new-privileges:true']
                network_mode: service:b
                secrets: [s]
              b: {image: x, ports: ['127.0.0.1:80:80', '[::1]:81:80']}
            volumes: {data: {}}
            secrets: {s: {file: ./kept/secret}}
        ";
        assert_eq!(reached(text), Vec::<String>::new());
    }

    #[test]
    fn what_is_the_machines_is_told_with_its_key() {
        let text = "
            name: reach
            services:
              a:
                image: x
                build: {context: /usr/src, ssh: [default], network: host, entitlements: [network.host], privileged: true, cache_from: ['type=local,src=/srv/cache', 'type=local,src=ROOT/own'], cache_to: ['type=registry,ref=h/x']}
                volumes: ['/:/host:ro', './out/ssl:/e', './own/../../x:/f', 'data:/c', 'disk:/d', 'fast:/g', 'over:/h', 'plug:/i']
                privileged: true
                cap_add: [SYS_ADMIN]
                devices: ['/dev/kvm:/dev/kvm']
                security_opt: ['seccomp=unconfined']
                network_mode: host
                pid: container:other
                post_start: [{command: 'true', privileged: true}]
                secrets: [s]
              b: {image: x, networks: [n, lan], ports: ['80:8080', '10.0.0.1::53/udp'], logging: {driver: syslog, options: {syslog-address: 'tcp://h:1'}}}
            volumes:
              data: {external: true, name: \"other\\e[2J\"}
              disk: {driver_opts: {type: none, o: bind, device: /srv}}
              fast: {driver_opts: {type: tmpfs, device: tmpfs}}
              over: {driver_opts: {type: overlay, o: 'lowerdir=/etc,upperdir=/root/u', device: overlay}}
              plug: {driver: someplugin}
            networks: {n: {name: office}, lan: {driver: macvlan, driver_opts: {parent: eth0}}}
            secrets: {s: {file: /etc/shadow}}
        ";
        let parent = std::env::temp_dir();
        let expected = [
            "services.a.volumes: / to read",
            "services.a.volumes: ROOT/out/ssl (that is /etc/ssl) to read and write",
            &format!(
                "services.a.volumes: {}/x to read and write",
                parent.display()
            ),
            "services.a.privileged: all rights on this machine",
            "services.a.post_start: a step with all rights",
            "services.a.devices: /dev/kvm",
            "services.a.cap_add: SYS_ADMIN",
            "services.a.security_opt: seccomp=unconfined",
            "services.a.network_mode: this machine's own",
            "services.a.pid: the container other",
            "services.a.build.context: /usr/src",
            "services.a.build.dockerfile: /usr/src/Dockerfile",
            "services.a.build.cache_from: /srv/cache",
            "services.a.build.cache_to: type=registry,ref=h/x",
            "services.a.build.entitlements: network.host",
            "services.a.build.entitlements: security.insecure",
            "services.a.build.ssh: your keys, by their agent",
            "services.a.build.network: this machine's own",
            "services.b.ports: 80 at all addresses, to 8080/tcp",
            "services.b.ports: any port at 10.0.0.1, to 53/udp",
            "services.b.logging: syslog tcp://h:1",
            "networks.lan.driver: the driver macvlan on eth0",
            "networks.n: the network office",
            "volumes.data: the volume other\\u{1b}[2J",
            "volumes.disk.driver_opts: /srv",
            "volumes.over.driver_opts: overlay lowerdir=/etc,upperdir=/root/u",
            "volumes.plug.driver: the driver someplugin",
            "secrets.s.file: /etc/shadow",
        ];
        assert_eq!(reached(text), expected);
    }

    #[test]
    fn what_lies_below_what_a_container_writes_may_be_a_link_by_then() {
        let text = "
            name: own
            services:
              a: {image: x, volumes: ['./own:/d', './other:/o:ro', 'disk:/e']}
              b:
                image: x
                build: {context: ./own/b}
                volumes: ['./own:/same', './own/x:/below', './other/x:/unwritten', './disk/y:/disk:ro']
                secrets: [s]
              c: {image: x, build: {context: ./own/c}, develop: {watch: [{path: ./own/src, action: rebuild}]}}
            volumes: {disk: {driver_opts: {type: none, o: bind, device: ROOT/disk}}}
            secrets: {s: {file: ./own/secret}}
        ";
        let link = "(a container may make a link of it)";
        let expected = [
            format!("services.b.volumes: ROOT/own/x {link} to read and write"),
            format!("services.b.volumes: ROOT/disk/y {link} to read"),
            format!("services.c.develop.watch: ROOT/own/src {link}"),
            format!("services.c.build.context: ROOT/own/c {link}"),
            format!("services.c.build.dockerfile: ROOT/own/c/Dockerfile {link}"),
            "volumes.disk.driver_opts: ROOT/disk".to_owned(),
            format!("secrets.s.file: ROOT/own/secret {link}"),
        ];
        assert_eq!(reached(text), expected);
    }

    #[test]
    fn what_is_there_under_names_that_the_file_chose_is_told() {
        let text = "
            name: production
            services:
              web: {image: 'postgres:16', build: {context: ., tags: ['mine:1']}}
              job: {build: ., volumes: ['db:/db', 'new:/new']}
            volumes: {db: {}, new: {}}
        ";
        let options = Options {
            files: vec!["-".into()],
            standard_input: text.into(),
            ..Options::default()
        };
        let mut project = Project::of(&load(&options).unwrap()).unwrap();
        project.files = vec!["/fetched/compose.yaml".into()];
        let container = |files: &str| {
            let mut container = crate::plan::state::Container::default();
            let label = (labels::FILES.to_owned(), files.to_owned());
            container.summary.labels.extend([label]);
            container
        };
        let image = |project: &str| crate::plan::state::Image {
            project: project.into(),
            ..Default::default()
        };
        let mut state = State {
            volumes: [("production_db".into(), Default::default())].into(),
            networks: [("production_default".into(), Default::default())].into(),
            images: [
                ("postgres:16".into(), image("")),
                ("production-job".into(), image("production")),
            ]
            .into(),
            ..State::default()
        };
        let told = |state: &State, is_named| {
            let list = taken(&project, state, is_named);
            let told = list.iter().map(|one| format!("{}: {}", one.key, one.what));
            told.collect::<Vec<_>>()
        };
        let there = |key: &str, what: &str| format!("{key}: the {what}, which is there already");
        let image = there("services.web.build", "image postgres:16");
        let objects = [
            there("services.job.build", "image production-job"),
            image.clone(),
            there("networks.default", "network production_default"),
            there("volumes.db", "volume production_db"),
        ];
        assert_eq!(told(&state, false), objects);
        // Who names it means it.
        assert_eq!(told(&state, true), std::slice::from_ref(&image));
        state.containers = vec![container("/fetched/compose.yaml")];
        assert_eq!(told(&state, false), [image]);
        state.containers.push(container("/srv/compose.yaml"));
        let project = "name: the project production, which is there already, of /srv/compose.yaml";
        assert_eq!(told(&state, false)[0], project);
        assert_eq!(told(&state, false)[1..], objects);
    }
}
