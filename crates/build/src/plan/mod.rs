//! From a Dockerfile to a graph of what must be done. Pure: what base images say comes through
//! [`Bases`].
//!
//! A stage is walked from its `FROM` down. Instructions that change files become vertices; all
//! others change the image's configuration, or the variables in sight. A stage that the target
//! does not need is not looked at.

mod config;
mod copy;
mod run;
mod scope;
mod stage;
mod stages;

pub(crate) use copy::MAIN as MAIN_CONTEXT;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use hull_oci::{ImageConfig, Platform};

use crate::dockerfile::{Dockerfile, Span};
use crate::error::{Error, Place, Result};
use crate::include::Texts;
use crate::progress::Warning;
use crate::request::BuildRequest;

pub use stages::{StageInfo, Usage, usage};

/// What must be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Each comes after all it depends on.
    pub vertices: Vec<Vertex>,
    /// One for each platform.
    pub results: Vec<Target>,
    /// What the linter says.
    pub warnings: Vec<Warning>,
}

/// The image of one platform.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it runs.
    pub platform: Platform,
    /// Its files.
    pub vertex: usize,
    /// The image it begins with: the vertex, and its history's length; `None`: nothing.
    pub base: Option<usize>,
    /// How to run it. Layers and history are filled in when it is exported.
    pub config: ImageConfig,
    /// What was done on top of the base, in order.
    pub history: Vec<HistoryStep>,
}

/// One line of an image's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryStep {
    /// The instruction.
    pub created_by: String,
    /// The vertex whose layer it is; `None`: it has none.
    pub vertex: Option<usize>,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub struct Vertex {
    /// What.
    pub op: Op,
    /// As shown.
    pub name: String,
    /// The instruction.
    pub place: Option<Place>,
    /// It is done again even if it was done before.
    pub no_cache: bool,
    /// Where the result runs.
    pub platform: Platform,
}

/// What to do. Numbers are positions in [`Plan::vertices`].
#[derive(Debug, Clone)]
pub enum Op {
    /// Nothing at all to begin with.
    Scratch,
    /// The files of an image.
    Image(ImageOp),
    /// Run a command on top of `below`.
    Run(RunOp),
    /// Copy files on top of `below`.
    Copy(CopyOp),
    /// Make a directory on top of `below`, unless it is there.
    MakeDirectory {
        /// What lies below.
        below: usize,
        /// Absolute.
        path: String,
    },
}

/// The files of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOp {
    /// In full.
    pub reference: String,
    /// The digest of its manifest for the platform.
    pub manifest: String,
}

/// A command.
#[derive(Debug, Clone)]
pub struct RunOp {
    /// What lies below.
    pub below: usize,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `NAME=value`, each.
    pub env: Vec<String>,
    /// Variables that do not count for the cache: proxies.
    pub silent_env: Vec<String>,
    /// Who runs it.
    pub user: String,
    /// Absolute.
    pub working_dir: String,
    /// `--network`; empty: the request's.
    pub network: String,
    /// `--security=insecure`.
    pub is_privileged: bool,
    /// `--device`.
    pub devices: Vec<crate::dockerfile::RunDevice>,
    /// `--mount`, targets absolute.
    pub mounts: Vec<PlannedMount>,
    /// A script that is mounted, and where.
    pub script: Option<(String, String)>,
}

/// A mount and where its content comes from.
#[derive(Debug, Clone)]
pub struct PlannedMount {
    /// What it says.
    pub mount: crate::dockerfile::RunMount,
    /// Where its content comes from, if it has any.
    pub origin: Option<Origin>,
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A local directory of the client.
    Context(String),
    /// A stage or an image.
    Vertex(usize),
    /// They stand in the Dockerfile: name and content.
    Inline(Vec<(String, String)>),
    /// Addresses to fetch.
    Urls(Vec<String>),
}

/// Files to copy.
#[derive(Debug, Clone)]
pub struct CopyOp {
    /// What lies below.
    pub below: usize,
    /// Each with its own origin, in order.
    pub sources: Vec<CopySource>,
    /// Absolute, or below the working directory; a slash at its end says that it is a directory.
    pub destination: String,
    /// `user[:group]`, names or numbers.
    pub owner: Option<String>,
    /// Octal or symbolic.
    pub mode: Option<String>,
    /// Nothing of what lies below is followed.
    pub link: bool,
    /// Keep the parents' names.
    pub parents: bool,
    /// Patterns left out.
    pub excludes: Vec<String>,
    /// Whether archives are unpacked.
    pub unpack: Unpack,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `.git` of a repository is copied, too.
    pub keep_git_dir: bool,
}

/// Files of one origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySource {
    /// Where from.
    pub origin: Origin,
    /// Paths and patterns there; empty for inline files and addresses.
    pub paths: Vec<String>,
}

/// Whether archives are unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpack {
    /// None.
    Never,
    /// Local ones.
    Local,
    /// All.
    Always,
}

/// What base images say.
pub trait Bases {
    /// The image by this name, for the platform. The error is shown to people.
    fn base(&self, reference: &str, platform: &Platform) -> Result<Base, String>;
}

/// A base image.
#[derive(Debug, Clone)]
pub struct Base {
    /// Its name in full.
    pub reference: String,
    /// The digest of its manifest for the platform.
    pub manifest: String,
    /// Its configuration.
    pub config: Arc<ImageConfig>,
}

/// What a plan depends on.
pub struct Input<'a> {
    /// The file.
    pub file: &'a Dockerfile,
    /// The request.
    pub request: &'a BuildRequest,
    /// What base images say.
    pub bases: &'a dyn Bases,
    /// The platform of this host.
    pub host: Platform,
    /// Where its lines stand.
    pub texts: Texts,
}

/// Plans.
pub fn plan(input: &Input<'_>) -> Result<Plan> {
    let target = stages::target(input)?;
    planned(input, &[target])
}

/// What the linter says. Where no target is named, it looks at all stages.
pub fn check(input: &Input<'_>) -> Result<Vec<Warning>> {
    let target = stages::target(input)?;
    let all: Vec<usize> = match input.request.target.as_str() {
        "" => (0..=target).collect(),
        _ => vec![target],
    };
    Ok(planned(input, &all)?.warnings)
}

/// Plans stages; the result is the last one.
fn planned(input: &Input<'_>, targets: &[usize]) -> Result<Plan> {
    let platforms = if input.request.platforms.is_empty() {
        vec![input.host.clone()]
    } else {
        input.request.platforms.clone()
    };
    let mut planner = Planner {
        input,
        vertices: Vec::new(),
        warnings: crate::lint::of_file(input.file, &|span| input.place(span)),
        images: BTreeMap::new(),
        many_platforms: platforms.len() > 1,
        bytes: 0,
        ignore: hull_context::Ignore::parse(&input.request.ignore)?,
    };
    let mut results = Vec::new();
    for platform in platforms {
        results.push(stages::walk(&mut planner, targets, platform)?);
    }
    let mut warnings = planner.warnings;
    // Those of the Dockerfile first, each file's in the order of its lines.
    let rank = |place: &Place| {
        (
            place.file != input.request.dockerfile_name,
            place.file.clone(),
        )
    };
    warnings.sort_by_key(|warning| (rank(&warning.place), warning.place.span));
    warnings.dedup();
    Ok(Plan {
        vertices: planner.vertices,
        results,
        warnings: crate::lint::selected(input, warnings)?,
    })
}

/// The plan so far.
pub(crate) struct Planner<'a> {
    pub(crate) input: &'a Input<'a>,
    pub(crate) vertices: Vec<Vertex>,
    pub(crate) warnings: Vec<Warning>,
    /// Vertices of images, so that each is there once.
    images: BTreeMap<(String, String), usize>,
    many_platforms: bool,
    /// What environments and histories take.
    bytes: usize,
    /// What the main context leaves out, for the linter.
    ignore: hull_context::Ignore,
}

impl Planner<'_> {
    pub(crate) fn add(&mut self, vertex: Vertex) -> usize {
        self.vertices.push(vertex);
        self.vertices.len() - 1
    }

    /// The vertex of an image.
    pub(crate) fn image(
        &mut self,
        base: &Base,
        platform: &Platform,
        name: String,
        place: Place,
    ) -> usize {
        let key = (base.manifest.clone(), platform.to_string());
        if let Some(known) = self.images.get(&key) {
            return *known;
        }
        let vertex = self.add(Vertex {
            op: Op::Image(ImageOp {
                reference: base.reference.clone(),
                manifest: base.manifest.clone(),
            }),
            name,
            place: Some(place),
            no_cache: false,
            platform: platform.clone(),
        });
        self.images.insert(key, vertex);
        vertex
    }

    pub(crate) fn warn(&mut self, rule: crate::lint::Rule, message: String, span: Span) {
        let place = self.input.place(span);
        self.warnings.push(rule.warning(message, place));
    }
}

impl Input<'_> {
    /// The place of these lines.
    pub(crate) fn place(&self, span: Span) -> Place {
        self.texts.place(span)
    }

    /// An error at these lines.
    pub(crate) fn error(&self, span: Span, message: impl Into<String>) -> Error {
        Error::invalid(message, Some(self.place(span)))
    }
}

/// An absolute path without `.`, `..` and doubled slashes, below `directory` unless it is absolute
/// itself. A slash at its end stays.
pub(crate) fn absolute(directory: &str, path: &str) -> String {
    let joined = PathBuf::from(if directory.is_empty() { "/" } else { directory }).join(path);
    let mut parts: Vec<String> = Vec::new();
    for part in joined.to_string_lossy().split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part.to_owned()),
        }
    }
    let mut clean = format!("/{}", parts.join("/"));
    let is_directory = path.ends_with('/') || path == "." || path.ends_with("/.");
    if is_directory && !clean.ends_with('/') {
        clean.push('/');
    }
    clean
}

#[cfg(test)]
mod tests;
