//! Paths in a model: made absolute from the directory of the file that names them, or, where they stay
//! relative, made to begin where the project lies.

use crate::node::{Map, Node, Value};

/// Makes the paths of a whole file begin elsewhere: absolute, or where another file lies.
pub(super) fn resolve(project: &mut Map, directory: &str, home: Option<&str>) {
    let base = Base { directory, home };
    if let Some(services) = project.get_mut("services").and_then(Node::as_map_mut) {
        for entry in &mut services.0 {
            if let Some(service) = entry.node.as_map_mut() {
                base.service(service);
            }
        }
    }
    for kind in ["secrets", "configs"] {
        for_each(project, kind, |object| base.key(object, "file"));
    }
    for_each(project, "volumes", |volume| {
        let is_local = volume.text("driver") == Some("local");
        let is_bind = is_local
            && volume.map("driver_opts").is_some_and(|options| {
                options
                    .text("o")
                    .is_some_and(|o| o.split(',').any(|o| o == "bind"))
            });
        if is_bind && let Some(options) = volume.get_mut("driver_opts").and_then(Node::as_map_mut) {
            base.key(options, "device");
        }
    });
}

/// The same for one service.
pub(super) fn resolve_service(service: &mut Map, directory: &str, home: Option<&str>) {
    Base { directory, home }.service(service);
}

fn for_each(project: &mut Map, kind: &str, mut act: impl FnMut(&mut Map)) {
    if let Some(objects) = project.get_mut(kind).and_then(Node::as_map_mut) {
        objects
            .0
            .iter_mut()
            .filter_map(|entry| entry.node.as_map_mut())
            .for_each(&mut act);
    }
}

/// `path` from `directory`, without `.` and `..`.
pub(super) fn join(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> = match path.starts_with('/') {
        true => Vec::new(),
        false => directory
            .split('/')
            .filter(|part| !part.is_empty())
            .collect(),
    };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// How one gets from one directory to another.
pub(super) fn relative(from: &str, to: &str) -> String {
    let parts = |path: &str| -> Vec<String> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    let (from, to) = (parts(from), parts(to));
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[common..].iter().map(|_| "..".to_owned());
    match up.chain(to[common..].iter().cloned()).collect::<Vec<_>>() {
        parts if parts.is_empty() => ".".into(),
        parts => parts.join("/"),
    }
}

/// `path` from a directory that is relative itself.
fn join_relative(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    match parts.is_empty() {
        true => ".".into(),
        false => parts.join("/"),
    }
}

/// The directory a path lies in.
pub(super) fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((directory, _)) => directory,
        None => ".",
    }
}

struct Base<'b> {
    directory: &'b str,
    home: Option<&'b str>,
}

impl Base<'_> {
    fn service(&self, service: &mut Map) {
        if let Some(build) = service.get_mut("build").and_then(Node::as_map_mut) {
            self.build(build);
        }
        for key in ["env_file", "volumes", "label_file"] {
            let Some(Value::List(items)) = service.get_mut(key).map(|node| &mut node.value) else {
                continue;
            };
            for item in items {
                match &mut item.value {
                    Value::Text(path) => *path = self.path(path),
                    Value::Map(map) if key == "env_file" => self.key(map, "path"),
                    Value::Map(map) if map.text("type") == Some("bind") => self.key(map, "source"),
                    _ => {}
                }
            }
        }
        let develop = service.get_mut("develop").and_then(Node::as_map_mut);
        if let Some(Value::List(triggers)) = develop
            .and_then(|develop| develop.get_mut("watch"))
            .map(|node| &mut node.value)
        {
            for trigger in triggers.iter_mut().filter_map(Node::as_map_mut) {
                self.key(trigger, "path");
            }
        }
        if let Some(extends) = service.get_mut("extends").and_then(Node::as_map_mut) {
            self.key(extends, "file");
        }
    }

    fn build(&self, build: &mut Map) {
        if let Some(context) = build.text("context").filter(|context| !is_remote(context)) {
            let path = self.path(context);
            self.put(build, "context", path);
        }
        // Keys of an agent are named by id where values are as they are written.
        for key in ["additional_contexts", "ssh"] {
            let paths = build.get_mut(key).and_then(Node::as_map_mut);
            for entry in paths.into_iter().flat_map(|paths| &mut paths.0) {
                if let Some(path) = entry.node.as_text().filter(|path| !is_remote(path)) {
                    entry.node.value = Value::Text(self.path(path));
                }
            }
        }
    }

    fn key(&self, map: &mut Map, key: &str) {
        if let Some(path) = map.text(key) {
            let path = self.path(path);
            self.put(map, key, path);
        }
    }

    fn put(&self, map: &mut Map, key: &str, path: String) {
        if let Some(node) = map.get_mut(key) {
            node.value = Value::Text(path);
        }
    }

    fn path(&self, path: &str) -> String {
        match (path.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                join(home, rest.trim_start_matches('/'))
            }
            // What is absolute stays as it was written.
            _ if path.is_empty() || path.starts_with('/') => path.to_owned(),
            _ if !self.directory.starts_with('/') => join_relative(self.directory, path),
            _ => join(self.directory, path),
        }
    }
}

/// Whether a build context is not on this machine.
pub(super) fn is_remote(context: &str) -> bool {
    context.contains("://")
        || ["github.com/", "git@", "service:", "target:"]
            .iter()
            .any(|prefix| context.starts_with(prefix))
}
