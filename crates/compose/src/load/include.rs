//! `include`: whole projects that become part of this one.

use super::loader::{Asker, Loader, Open, Scope};
use super::remote::is_remote;
use super::{default_env_file, paths};
use crate::error::{LoadError, Result};
use crate::node::{Map, Node, Value};

/// How deep inclusions may lie in one another.
const DEPTH_MAX: usize = 100;
/// How often anything may be included in all: files that each include the next one twice are twice as many each time.
const INCLUSIONS_MAX: usize = 1000;
/// What is taken over from an included project.
const SECTIONS: [&str; 6] = [
    "services", "networks", "volumes", "secrets", "configs", "models",
];

impl Loader<'_> {
    /// Reads what a file includes and puts it beside what the file says itself.
    pub(super) fn apply_include(&mut self, project: &mut Map, scope: &Scope) -> Result<()> {
        let Some(include) = project.remove("include") else {
            return Ok(());
        };
        for item in include.as_list().unwrap_or_default() {
            self.inclusions += 1;
            if self.inclusions > INCLUSIONS_MAX {
                let message = format!("`include`: more than {INCLUSIONS_MAX} inclusions in all");
                let hint = "include each file once, where it is needed first";
                return Err(LoadError::at(item, message).with_hint(hint));
            }
            let included = self.included(item, scope)?;
            for section in SECTIONS {
                take_over(project, section, &included, item)?;
            }
        }
        Ok(())
    }

    fn included(&mut self, item: &Node, scope: &Scope) -> Result<Map> {
        let asker = |key| Asker { key, node: item };
        let empty = Map::default();
        let map = item.as_map().unwrap_or(&empty);
        let texts = |key: &str| -> Vec<String> {
            map.list(key)
                .iter()
                .filter_map(Node::as_text)
                .map(str::to_owned)
                .collect()
        };
        let mut files = Vec::new();
        for path in texts("path") {
            files.push(match is_remote(&path) {
                true => self.fetched(&path, Some(asker("include")))?,
                false => paths::join(&scope.directory, &path),
            });
        }
        let Some(first) = files.first() else {
            return Err(LoadError::at(item, "`include` needs a path"));
        };
        for file in &files {
            check_chain(item, &scope.open, file)?;
        }
        let directory = match map.text("project_directory") {
            Some(directory) => paths::join(&scope.directory, directory),
            None => paths::parent(first).to_owned(),
        };
        let env_files: Vec<String> = match map.get("env_file") {
            Some(_) => texts("env_file")
                .iter()
                .map(|path| paths::join(&scope.directory, path))
                .collect(),
            None => Vec::from_iter(default_env_file(&directory)),
        };
        let mut environment = self.env_files(
            &env_files,
            &scope.environment,
            Some(asker("include.env_file")),
        )?;
        environment.extend(scope.environment.clone());
        let mut open = scope.open.clone();
        open.push(Open {
            files: files.clone(),
            from: item.place.file.to_string(),
        });
        let inner = Scope {
            directory,
            environment,
            open,
        };
        self.model(&files, &inner, Some(asker("include")))
    }
}

/// Refuses a file whose inclusion is going on already, and one that lies too deep.
fn check_chain(item: &Node, open: &[Open], next: &str) -> Result<()> {
    let is_next = |file: &String| file == next;
    if let Some(at) = open.iter().position(|open| open.files.iter().any(is_next)) {
        // Of files that are read together, the one that includes is named.
        let froms = open[at + 1..].iter().map(|open| open.from.as_str());
        let circle: Vec<&str> = froms.chain([&*item.place.file, next]).collect();
        let message = match circle.as_slice() {
            [from, next] if from == next => format!("{next} includes itself"),
            _ => format!(
                "files include each other in a circle: {}",
                circle.join(" → ")
            ),
        };
        return Err(LoadError::at(item, message));
    }
    if open.len() > DEPTH_MAX {
        let message = format!("`include`: {next} lies more than {DEPTH_MAX} inclusions deep");
        return Err(LoadError::at(item, message).with_hint("include it from a file further up"));
    }
    Ok(())
}

fn take_over(project: &mut Map, section: &str, included: &Map, item: &Node) -> Result<()> {
    let Some(from) = included.map(section) else {
        return Ok(());
    };
    if project.get(section).is_none() {
        project.set(section, Node::at(&item.place, Value::Map(Map::default())));
    }
    let Some(to) = project.get_mut(section).and_then(Node::as_map_mut) else {
        return Ok(());
    };
    for entry in from.iter() {
        match to.get(&entry.key) {
            None => to.0.push(entry.clone()),
            Some(own) if same(own, &entry.node) => {}
            Some(own) => {
                let message = format!(
                    "{section}.{} is also in {}, and differs",
                    entry.key, entry.node.place
                );
                return Err(LoadError::at(own, message)
                    .with_hint("change what is included in an override file: `include: [{path: [file.yaml, override.yaml]}]`"));
            }
        }
    }
    Ok(())
}

/// Whether two values are the same, wherever they stand.
fn same(left: &Node, right: &Node) -> bool {
    match (&left.value, &right.value) {
        (Value::Map(a), Value::Map(b)) => {
            a.0.len() == b.0.len()
                && a.iter().all(|entry| {
                    b.get(&entry.key)
                        .is_some_and(|other| same(&entry.node, other))
                })
        }
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Null, Value::Null) => true,
        _ => left.scalar_text().is_some() && left.scalar_text() == right.scalar_text(),
    }
}
