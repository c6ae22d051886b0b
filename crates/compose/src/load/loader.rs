//! Reading: files → one tree in its long form, with all that they extend and include.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::interpolate::{Interpolation, Variable, variables};
use super::merge::Form;
use super::schema::{Kind, PROJECT};
use super::shape::{Path, shape};
use super::{Options, environment, file, merge, paths, written, yaml};
use crate::error::{LoadError, Result};
use crate::node::{Map, Node, Place, Value};

/// Files one project may be made of, with all that is extended and included.
const FILES_MAX: usize = 512;

/// Variables by their name.
pub(crate) type Environment = BTreeMap<String, String>;

/// In whose name files are read.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// What relative paths begin at.
    pub(super) directory: String,
    pub(super) environment: Environment,
    /// What is being read: the files that were named, and then what they include.
    pub(super) open: Vec<Open>,
}

/// Files that are read together, one laid over the other.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) files: Vec<String>,
    /// The file that includes them; nothing for the first ones.
    pub(super) from: String,
}

/// The key that names a file, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'n> {
    pub(super) key: &'static str,
    pub(super) node: &'n Node,
}

/// Reads files for one project.
pub(super) struct Loader<'o> {
    pub(super) options: &'o Options,
    pub(super) missing: BTreeSet<String>,
    pub(super) warnings: Vec<String>,
    pub(super) variables: Vec<Variable>,
    /// Variables of this machine's that files take by their name alone, and that are there.
    pub(super) taken: RefCell<BTreeSet<String>>,
    /// Documents as parsed: a file that is extended ten times is read once.
    cache: BTreeMap<String, Vec<Node>>,
    /// How often files were included, one and the same again, too.
    pub(super) inclusions: usize,
    /// Where the project lies.
    pub(super) directory: String,
    /// Directories of what was fetched, with no links in their paths.
    pub(super) roots: Vec<PathBuf>,
}

impl<'o> Loader<'o> {
    pub(super) fn new(options: &'o Options) -> Self {
        Self {
            options,
            missing: BTreeSet::new(),
            warnings: Vec::new(),
            variables: Vec::new(),
            taken: RefCell::default(),
            cache: BTreeMap::new(),
            inclusions: 0,
            directory: String::new(),
            roots: Vec::new(),
        }
    }

    /// In which form values are.
    pub(super) fn form(&self) -> Form {
        match self.options.interpolate {
            true => Form::Long,
            false => Form::Written,
        }
    }

    pub(super) fn home(&self) -> Option<&'o str> {
        self.options.environment.get("HOME").map(String::as_str)
    }

    /// A variable from outside, which is remembered to have been taken.
    pub(super) fn take(&self, name: &str, outside: &Environment) -> Option<String> {
        let value = outside.get(name)?;
        if self.options.environment.contains_key(name) {
            self.taken.borrow_mut().insert(name.to_owned());
        }
        Some(value.clone())
    }

    /// The documents of a file as they are written.
    pub(super) fn documents(&mut self, file: &str, asker: Option<Asker<'_>>) -> Result<Vec<Node>> {
        self.check_inside(file, asker)?;
        if let Some(known) = self.cache.get(file) {
            return Ok(known.clone());
        }
        if self.cache.len() >= FILES_MAX {
            return Err(LoadError::project(format!(
                "the project is made of more than {FILES_MAX} files"
            )));
        }
        let text = match file {
            "-" => self.options.standard_input.clone(),
            file => file::read(file).map_err(|source| unreadable(file, source, asker))?,
        };
        let documents = yaml::parse(if file == "-" { "(stdin)" } else { file }, &text)
            .map_err(|error| self.discreet(file, error, "this is not YAML"))?;
        for document in &documents {
            if document.as_map().is_none() {
                return Err(LoadError::at(
                    document,
                    format!("a Compose file is a mapping, this is {}", document.kind()),
                ));
            }
            self.looks_like_compose(file, document)?;
        }
        self.cache.insert(file.to_owned(), documents.clone());
        Ok(documents)
    }

    /// One file in its long form, without what it extends and includes.
    pub(super) fn read_whole(
        &mut self,
        file: &str,
        scope: &Scope,
        asker: Asker<'_>,
    ) -> Result<Map> {
        let mut project = Map::default();
        for document in self.documents(file, Some(asker))? {
            let map = self.long_form(document, scope)?;
            project = merge::merge_objects(project, map, &PROJECT, self.form());
        }
        let mut node = Node::at(&Place::nowhere(), Value::Map(project));
        merge::without_tags(&mut node);
        Ok(node.as_map().cloned().unwrap_or_default())
    }

    fn long_form(&mut self, mut document: Node, scope: &Scope) -> Result<Map> {
        variables(&document, &mut self.variables);
        if self.options.interpolate {
            let lookup = |name: &str| scope.environment.get(name).cloned();
            let mut interpolation = Interpolation {
                lookup: &lookup,
                missing: std::mem::take(&mut self.missing),
            };
            let result = interpolation.tree(&mut document);
            self.missing = interpolation.missing;
            result?;
        }
        let (kind, path) = (
            &Kind::Object(&PROJECT),
            Path::top(!self.options.interpolate),
        );
        let document = match self.form() {
            Form::Long => shape(document, kind, path)?,
            Form::Written => {
                shape(document.clone(), kind, path)?;
                if let Some(map) = document.as_map_mut() {
                    written::long_form(map);
                }
                document
            }
        };
        match document.value {
            Value::Map(map) => Ok(map),
            _ => Ok(Map::default()),
        }
    }

    /// The model of some files, laid one over the other; paths are absolute.
    pub(super) fn model(
        &mut self,
        files: &[String],
        scope: &Scope,
        asker: Option<Asker<'_>>,
    ) -> Result<Map> {
        let mut project = Map::default();
        for file in files {
            let documents = self.documents(file, asker)?;
            if documents.is_empty() && files.len() == 1 {
                return Err(LoadError::project(format!("{file} is empty")));
            }
            for document in documents {
                let mut map = self.long_form(document, scope)?;
                if let Some(version) = map.remove("version") {
                    self.warnings.push(format!(
                        "{}: the key `version` means nothing any more, and can be removed",
                        version.place
                    ));
                }
                self.apply_extends(&mut map, file, scope)?;
                if !self.options.resolve_paths && scope.directory != self.directory {
                    let directory = paths::relative(&self.directory, &scope.directory);
                    paths::resolve(&mut map, &directory, None);
                }
                self.apply_include(&mut map, scope)?;
                project = merge::merge_objects(project, map, &PROJECT, self.form());
            }
        }
        let mut node = Node::at(&Place::nowhere(), Value::Map(project));
        merge::without_tags(&mut node);
        let mut project = node.as_map().cloned().unwrap_or_default();
        super::normalize::finish(&mut project);
        if self.options.resolve_paths {
            paths::resolve(&mut project, &scope.directory, self.home());
        }
        Ok(project)
    }

    /// The variables of some files, later ones over earlier ones; `outside` is what they may refer to.
    pub(super) fn env_files(
        &self,
        files: &[String],
        outside: &Environment,
        asker: Option<Asker<'_>>,
    ) -> Result<Environment> {
        let mut found = Environment::new();
        for file in files {
            self.check_inside(file, asker)?;
            let text = file::read(file).map_err(|source| unreadable(file, source, asker))?;
            let lookup = |name: &str| {
                self.take(name, outside)
                    .or_else(|| found.get(name).cloned())
            };
            let variables = self.variables_of(file, &text, &lookup)?;
            for (key, value) in variables {
                if let Some(value) = value {
                    found.insert(key, value);
                }
            }
        }
        Ok(found)
    }
}

impl Loader<'_> {
    /// Reads the text of a file of variables.
    pub(super) fn variables_of(
        &self,
        file: &str,
        text: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<environment::Variables> {
        environment::parse(file, text, lookup)
            .map_err(|error| self.discreet(file, error, "this is no line of variables"))
    }

    /// The error without the file's own words, should the file lie elsewhere: who runs this may read
    /// it, but who sees what this says may not, and a project may name any file.
    fn discreet(&self, file: &str, error: LoadError, instead: &str) -> LoadError {
        match error {
            LoadError::Written { place, .. } if self.is_elsewhere(file) => {
                LoadError::written(&place, instead).with_hint(format!(
                    "what it says is not shown, for it lies outside of {}",
                    self.directory
                ))
            }
            other => other,
        }
    }

    /// Whether a file lies outside of the project's directory.
    fn is_elsewhere(&self, file: &str) -> bool {
        let real = |path: &str| std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
        file != "-" && (self.directory == "/" || !real(file).starts_with(real(&self.directory)))
    }

    /// Refuses a file from elsewhere that has a first key no Compose file has, without naming it.
    fn looks_like_compose(&self, file: &str, document: &Node) -> Result<()> {
        let known = |key: &str| key.starts_with("x-") || PROJECT.field(key).is_some();
        let entries = document.as_map().map(Map::iter).into_iter().flatten();
        for entry in entries.filter(|entry| !known(&entry.key)) {
            if self.is_elsewhere(file) {
                let error = LoadError::written(&entry.place, "");
                return Err(self.discreet(file, error, "this is not a key that Compose knows"));
            }
        }
        Ok(())
    }
}

/// Says which file cannot be read, why, and where it is named.
pub(super) fn unreadable(
    file: &str,
    source: std::io::Error,
    asker: Option<Asker<'_>>,
) -> LoadError {
    match asker {
        Some(Asker { key, node }) => {
            LoadError::at(node, format!("`{key}`: cannot read {file}: {source}"))
        }
        None => LoadError::Read {
            path: file.to_owned(),
            source,
        },
    }
}
