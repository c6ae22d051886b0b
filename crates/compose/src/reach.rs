//! What of this machine a project reaches for besides its own: what somebody should know before he
//! brings up what another one wrote.
//!
//! Own are the files below the directories it was fetched into, and networks and volumes that have the
//! project's name in theirs.

use std::path::{Path, PathBuf};

use crate::model::{FileObject, Project, Service};

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
        list: Vec::new(),
    };
    for service in project.services.values() {
        let place = |key: &str| format!("services.{}.{key}", service.name);
        found.files(service, &place);
        found.rights(service, &place);
        found.others(service, &place);
        found.build(service, &place);
    }
    found.objects(project);
    found.list
}

struct Found<'r> {
    roots: &'r [PathBuf],
    list: Vec<Reach>,
}

impl Found<'_> {
    fn note(&mut self, key: String, what: impl AsRef<str>) {
        let clean = |text: &str| -> String {
            let plain = |c: char| match c.is_control() {
                true => c.escape_default().to_string(),
                false => c.to_string(),
            };
            text.chars().map(plain).collect()
        };
        self.list.push(Reach {
            key: clean(&key),
            what: clean(what.as_ref()),
        });
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

    fn files(&mut self, service: &Service, place: &dyn Fn(&str) -> String) {
        for mount in &service.volumes {
            if mount.kind == "bind" && self.is_elsewhere(&mount.source) {
                let how = match mount.read_only {
                    true => "to read",
                    false => "to read and write",
                };
                self.note(place("volumes"), format!("{} {how}", shown(&mount.source)));
            }
        }
        for trigger in service.develop.iter().flat_map(|develop| &develop.watch) {
            if self.is_elsewhere(&trigger.path) {
                self.note(place("develop.watch"), shown(&trigger.path));
            }
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
        for (key, path) in paths {
            let joined = match key {
                "dockerfile" => Path::new(&build.context).join(path),
                _ => PathBuf::from(path),
            };
            let joined = joined.to_string_lossy();
            if joined.starts_with('/') && self.is_elsewhere(&joined) {
                self.note(place(&format!("build.{key}")), shown(&joined));
            }
        }
        self.each(&place("build.entitlements"), &build.rights());
        if !build.ssh.is_empty() {
            self.note(place("build.ssh"), "your keys, by their agent");
        }
        if build.network == "host" {
            self.note(place("build.network"), "this machine's own");
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
                if Some(object).filter(files).is_some() && self.is_elsewhere(&object.file) {
                    self.note(format!("{section}.{key}.file"), shown(&object.file));
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
            standard_input: text.into(),
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
              b: {image: x, ports: ['80:80']}
            volumes: {data: {}}
            secrets: {s: {file: ./own/secret}}
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
                build: {context: /usr/src, ssh: [default], network: host, entitlements: [network.host], privileged: true}
                volumes: ['/:/host:ro', './out/ssl:/e', './own/../../x:/f', 'data:/c', 'disk:/d', 'fast:/g', 'over:/h', 'plug:/i']
                privileged: true
                cap_add: [SYS_ADMIN]
                devices: ['/dev/kvm:/dev/kvm']
                security_opt: ['seccomp=unconfined']
                network_mode: host
                pid: container:other
                post_start: [{command: 'true', privileged: true}]
                secrets: [s]
              b: {image: x, networks: [n, lan], logging: {driver: syslog, options: {syslog-address: 'tcp://h:1'}}}
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
            "services.a.build.entitlements: network.host",
            "services.a.build.entitlements: security.insecure",
            "services.a.build.ssh: your keys, by their agent",
            "services.a.build.network: this machine's own",
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
}
