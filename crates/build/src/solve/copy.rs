//! `COPY`, `ADD` and `WORKDIR`: files onto a snapshot.

use std::path::PathBuf;
use std::sync::Arc;

use hull_image::Snapshotter as _;
use hull_sys::beneath::Root;
use rustix::fs::{FileType, Mode as Bits};

use super::accounts::{account, primary_group};
use super::files::{Files, RootFiles, TreeFiles};
use super::mode::Mode;
use super::select::{Selected, Selection, name_of_url};
use super::write::Writer;
use super::{Solved, Solver, agent, fetch, key};
use crate::error::{Error, Result};
use crate::git::{Fetch, is_repository};
use crate::plan::{CopyOp, CopySource, Origin, Vertex};
use crate::progress::Teller;
use crate::tree::Tree;
use hull_context::{Ignore, Repository};

/// A source, looked at.
pub(super) enum Looked {
    Files {
        files: Box<dyn Files + Send>,
        selected: Vec<Selected>,
    },
    Inline(Vec<(String, String)>),
    Fetched {
        name: std::ffi::OsString,
        tree: Arc<Tree>,
        mtime: i64,
    },
}

impl Solver<'_> {
    /// A `COPY` or `ADD`.
    pub(super) fn copy(
        &self,
        at: usize,
        op: &CopyOp,
        below: &Solved,
        solved: &[Option<Arc<Solved>>],
        teller: &mut Option<Teller>,
    ) -> Result<Solved> {
        let vertex = &self.plan.vertices[at];
        // What is copied with --link does not depend on what lies below, unless names of users are
        // looked up there.
        let is_apart = op.link && !op.owner.as_deref().is_some_and(has_names);
        let below_key = if is_apart { "" } else { below.outcome.as_str() };
        let how = format!(
            "{} {:?} {:?} {} {} {:?} {:?}",
            op.destination, op.owner, op.mode, op.link, op.parents, op.excludes, op.unpack
        );
        let definition = definition(op, solved).map(|sources| {
            key(
                "copy definition, owners kept",
                &vertex.platform,
                &[below_key, &how, &sources],
            )
        });
        if let Some(definition) = &definition
            && !vertex.no_cache
            && let Some(known) = self.alias(definition)?
            && let Some(hit) = self.find(&known)?
        {
            if let Some(teller) = teller {
                teller.cached();
            }
            let found = self.on_top(known, below, hit);
            return Ok(linked(op, vertex, found, below));
        }
        let mut looked = Vec::new();
        let mut digests = String::new();
        for source in &op.sources {
            let (one, digest) = self.look(op, source, solved)?;
            digests.push_str(&digest);
            digests.push('\n');
            looked.push(one);
        }
        let key = key("copy", &vertex.platform, &[below_key, &how, &digests]);
        let result = self.step(at, key.clone(), below, teller, |solver, _| {
            solver.write(op, &looked, below)
        })?;
        if let Some(definition) = definition {
            self.cache.add_alias(&definition, &key)?;
        }
        Ok(linked(op, vertex, result, below))
    }

    /// What a definition came out as, here or where a cache comes from.
    pub(super) fn alias(&self, definition: &str) -> Result<Option<String>> {
        let known = self.cache.alias(definition)?;
        Ok(known.or_else(|| self.imports.alias(definition).map(str::to_owned)))
    }

    /// A `WORKDIR`.
    pub(super) fn make_directory(&self, below: &Solved, path: &str) -> Result<Option<u64>> {
        let new = self.store.begin_layer(&below.layers)?;
        {
            let root = self.overlay.mount(new.snapshot())?;
            let name = path.trim_start_matches('/');
            let exists = root
                .stat(name)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
            if exists {
                return Ok(None);
            }
            let made = root.mkdir_all(name, Bits::from_raw_mode(0o755));
            made.map_err(|error| Error::host(format!("make the directory {path}"), error))?;
        }
        self.keep(new)
    }

    /// Looks at a source: what is taken, and its digest.
    fn look(
        &self,
        op: &CopyOp,
        source: &CopySource,
        solved: &[Option<Arc<Solved>>],
    ) -> Result<(Looked, String)> {
        let (files, ignore, origin): (Box<dyn Files + Send>, _, _) = match &source.origin {
            Origin::Inline(files) => {
                return Ok((Looked::Inline(files.clone()), format!("{files:?}")));
            }
            Origin::Urls(urls) => return self.fetch(op, urls),
            Origin::Context(name) => {
                let local = self
                    .sources
                    .get(name, self.request, self.progress, &self.build)?;
                let origin = "the build context".to_owned();
                (Box::new(TreeFiles(local.tree)), Some(local.ignore), origin)
            }
            Origin::Vertex(vertex) => {
                let solved = solved[*vertex].as_ref().expect("inputs are solved first");
                let name = &self.plan.vertices[*vertex].name;
                (
                    Box::new(RootFiles(self.root_of(solved)?)),
                    None,
                    name.clone(),
                )
            }
        };
        let excludes: Vec<&str> = op.excludes.iter().map(String::as_str).collect();
        let excludes = Ignore::from_patterns(&excludes)?;
        let selection = Selection {
            files: &*files,
            ignore: ignore.as_deref(),
            excludes: &excludes,
            parents: op.parents,
            origin: &origin,
        };
        let mut selected = Vec::new();
        for path in &source.paths {
            selected.extend(selection.select(path)?);
        }
        let digest = selection.digest(&selected)?;
        Ok((Looked::Files { files, selected }, digest))
    }

    fn fetch(&self, op: &CopyOp, urls: &[String]) -> Result<(Looked, String)> {
        let [url] = urls else {
            return Err(Error::invalid("each address is a source of its own", None));
        };
        if is_repository(url) {
            return self.fetch_repository(op, url);
        }
        let fetched = fetch::fetch(self, url, op.checksum.as_deref())?;
        let digest = format!("url {} {:?}", fetched.digest, name_of_url(url));
        let looked = Looked::Fetched {
            name: name_of_url(url),
            tree: fetched.tree,
            mtime: fetched.mtime,
        };
        Ok((looked, digest))
    }

    fn fetch_repository(&self, op: &CopyOp, url: &str) -> Result<(Looked, String)> {
        let repository = Repository::parse(url)?;
        let agent = agent::for_git(&self.request.ssh, &self.run_dir)?;
        let fetch = Fetch {
            trees: self.trees,
            secrets: &*self.request.secrets,
            agent: agent.as_ref().map(agent::Socket::path),
            keep_git_dir: op.keep_git_dir,
            cancel: self.cancel,
        };
        let checkout = fetch.checkout(&repository, op.checksum.as_deref())?;
        drop(agent);
        let files: Box<dyn Files + Send> = Box::new(TreeFiles(checkout.tree));
        let excludes: Vec<&str> = op.excludes.iter().map(String::as_str).collect();
        let excludes = Ignore::from_patterns(&excludes)?;
        let selection = Selection {
            files: &*files,
            ignore: None,
            excludes: &excludes,
            parents: false,
            origin: url,
        };
        let selected = selection.select("/")?;
        let digest = format!(
            "git {} {} {}",
            checkout.commit,
            op.keep_git_dir,
            selection.digest(&selected)?
        );
        Ok((Looked::Files { files, selected }, digest))
    }

    /// The files of a vertex, to read from.
    pub(super) fn root_of(&self, solved: &Solved) -> Result<Root> {
        if solved.layers.is_empty() {
            let empty = self.run_dir.join("empty");
            std::fs::create_dir_all(&empty)
                .map_err(|error| Error::host(format!("make {}", empty.display()), error))?;
            return Root::new(&empty)
                .map_err(|error| Error::host(format!("open {}", empty.display()), error));
        }
        Ok(self.overlay.mount_layers(&solved.layers)?)
    }

    /// Writes what was looked at as a new layer.
    fn write(&self, op: &CopyOp, looked: &[Looked], below: &Solved) -> Result<Option<u64>> {
        let layers: &[PathBuf] = if op.link { &[] } else { &below.layers };
        let new = self.store.begin_layer(layers)?;
        {
            let root = self.overlay.mount(new.snapshot())?;
            let owner = match &op.owner {
                Some(text) => Some(self.owner(text, below)?),
                None => None,
            };
            let mode = op.mode.as_deref().map(Mode::parse).transpose();
            let mode = mode.map_err(|message| Error::invalid(message, None))?;
            let mut writer = Writer {
                root: &root,
                destination: &op.destination,
                owner,
                mode,
                times: Vec::new(),
                last: None,
            };
            for one in looked {
                writer.source(one, op)?;
            }
            writer.finish();
        }
        self.keep(new)
    }

    /// `user[:group]` in numbers, names looked up in what lies below.
    fn owner(&self, text: &str, below: &Solved) -> Result<(u32, u32)> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let root = self.root_of(below)?;
        let uid = account(&root, "etc/passwd", user)?;
        let gid = match group {
            Some(group) => account(&root, "etc/group", group)?,
            // A user by name brings its group; a number stands for both.
            None => primary_group(&root, user).unwrap_or(uid),
        };
        Ok((uid, gid))
    }
}

/// What is linked has a key of its own; what lies on it depends on the files below, too.
fn linked(op: &CopyOp, vertex: &Vertex, mut solved: Solved, below: &Solved) -> Solved {
    if op.link {
        let parts = [solved.outcome.as_str(), &below.outcome];
        solved.outcome = key("linked", &vertex.platform, &parts);
    }
    solved
}

/// Whether an owner is not in numbers alone.
fn has_names(owner: &str) -> bool {
    let is_number = |part: &str| part.parse::<u32>().is_ok();
    !owner.split(':').all(is_number)
}

/// What the sources are defined by, if that alone says what they hold.
fn definition(op: &CopyOp, solved: &[Option<Arc<Solved>>]) -> Option<String> {
    let mut text = String::new();
    for source in &op.sources {
        let Origin::Vertex(vertex) = &source.origin else {
            return None;
        };
        let outcome = &solved[*vertex].as_ref()?.outcome;
        text.push_str(&format!("{outcome} {:?}\n", source.paths));
    }
    Some(text)
}
