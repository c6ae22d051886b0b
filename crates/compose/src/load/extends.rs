//! `extends`: a service that begins as another one, of this file or of another.

use super::loader::{Asker, Loader, Scope};
use super::merge::Form;
use super::remote::is_remote;
use super::schema::SERVICE;
use super::{merge, paths};
use crate::error::{LoadError, Result, nearest};
use crate::node::{Map, Node, Value};

/// How long a chain of extensions may be.
const CHAIN_MAX: usize = 64;

/// A service of a file, for the search of circles.
type Link = (String, String);

impl Loader<'_> {
    /// Writes out what the services of a file extend. `file` is where they stand.
    pub(super) fn apply_extends(
        &mut self,
        project: &mut Map,
        file: &str,
        scope: &Scope,
    ) -> Result<()> {
        let Some(services) = project.map("services") else {
            return Ok(());
        };
        let is_needed = |service: &Node| {
            service
                .as_map()
                .is_some_and(|map| map.get("extends").is_some())
        };
        if !services.iter().any(|entry| is_needed(&entry.node)) {
            return Ok(());
        }
        let known = services.clone();
        let mut finished = known.clone();
        for entry in &mut finished.0 {
            entry.node = self.extended(
                &known,
                &entry.key,
                file,
                &scope.directory,
                scope,
                &mut Vec::new(),
            )?;
        }
        if let Some(services) = project.get_mut("services") {
            services.value = Value::Map(finished);
        }
        Ok(())
    }

    fn extended(
        &mut self,
        services: &Map,
        name: &str,
        file: &str,
        directory: &str,
        scope: &Scope,
        chain: &mut Vec<Link>,
    ) -> Result<Node> {
        let Some(service) = services.get(name) else {
            return Err(LoadError::project(format!(
                "{file} has no service `{name}`"
            )));
        };
        let Some(extends) = service.as_map().and_then(|map| map.get("extends")).cloned() else {
            return Ok(service.clone());
        };
        let link = (file.to_owned(), name.to_owned());
        if chain.contains(&link) {
            return Err(circle(&extends, chain, link));
        }
        if chain.len() >= CHAIN_MAX {
            let message = format!("`extends`: more than {CHAIN_MAX} services extend one another");
            return Err(LoadError::at(&extends, message));
        }
        chain.push(link);
        let (base, base_file) = match extends.as_map() {
            Some(map) => (map.text("service").unwrap_or_default(), map.text("file")),
            None => ("", None),
        };
        let base = match base_file {
            None => {
                known(services, base, file, &extends, name)?;
                self.extended(services, base, file, directory, scope, chain)?
            }
            Some(path) => self.extended_from_file(&extends, path, base, directory, scope, chain)?,
        };
        chain.pop();
        Ok(joined(base, service.clone(), self.form()))
    }

    fn extended_from_file(
        &mut self,
        extends: &Node,
        path: &str,
        base: &str,
        directory: &str,
        scope: &Scope,
        chain: &mut Vec<Link>,
    ) -> Result<Node> {
        let asker = Asker {
            key: "extends",
            node: extends,
        };
        let path = match is_remote(path) {
            true => self.fetched(path, Some(asker))?,
            false => paths::join(directory, path),
        };
        let project = self.read_whole(&path, scope, asker)?;
        let services = project.map("services").cloned().unwrap_or_default();
        known(&services, base, &path, extends, "")?;
        let begin = paths::parent(&path).to_owned();
        let mut node = self.extended(&services, base, &path, &begin, scope, chain)?;
        if let Some(service) = node.as_map_mut() {
            match self.options.resolve_paths {
                true => paths::resolve_service(service, &begin, self.home()),
                false => {
                    paths::resolve_service(service, &paths::relative(directory, &begin), None);
                }
            }
        }
        Ok(node)
    }
}

fn known(services: &Map, name: &str, file: &str, extends: &Node, own: &str) -> Result<()> {
    if services.get(name).is_some() {
        return Ok(());
    }
    let error = LoadError::at(
        extends,
        format!("`extends` names the service `{name}`, which {file} does not have"),
    );
    Err(
        // Nothing can extend itself.
        match nearest(
            name,
            services
                .iter()
                .map(|entry| entry.key.as_str())
                .filter(|other| *other != own),
        ) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error,
        },
    )
}

fn joined(base: Node, own: Node, form: Form) -> Node {
    let place = own.place.clone();
    let (Value::Map(mut base), Value::Map(mut own)) = (base.value, own.value) else {
        return Node::at(&place, Value::Null);
    };
    base.remove("extends");
    own.remove("extends");
    Node::at(
        &place,
        Value::Map(merge::merge_objects(base, own, &SERVICE, form)),
    )
}

fn circle(extends: &Node, chain: &[Link], last: Link) -> LoadError {
    let names: Vec<&str> = chain
        .iter()
        .chain([&last])
        .map(|(_, name)| name.as_str())
        .collect();
    LoadError::at(
        extends,
        format!(
            "services extend each other in a circle: {}",
            names.join(" → ")
        ),
    )
}
