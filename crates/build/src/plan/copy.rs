//! `COPY` and `ADD`, and where files come from.

use hull_oci::Platform;

use super::stage::{StageState, Walk};
use super::{
    CopyOp, CopySource, Op, Origin, Planner, Unpack, Vertex, absolute, run, stage, stages,
};
use crate::dockerfile::{Copy, Span, Step, heredoc};
use crate::error::Result;
use crate::expand::Expander;
use crate::git::is_repository;
use crate::lint::Rule;
use crate::request::NamedContext;

/// The name of the main context.
pub(crate) const MAIN: &str = "context";

/// Plans a `COPY` or `ADD`.
pub(super) fn apply(
    planner: &mut Planner<'_>,
    walk: &mut Walk,
    state: &mut StageState,
    copy: &Copy,
    step: &Step,
) -> Result<()> {
    let span = step.span;
    let destination = planner.expand(state, &copy.destination, span)?;
    let sources = sources(planner, walk, state, copy, step)?;
    let is_many = sources.iter().map(count).sum::<usize>() > 1;
    if is_many && !is_directory(&destination) {
        let keyword = if copy.is_add { "ADD" } else { "COPY" };
        let message = format!(
            "When using {keyword} with more than one source file, the destination must be a \
             directory and end with a /"
        );
        return Err(planner.input.error(span, message));
    }
    let mut excludes = Vec::new();
    for exclude in &copy.excludes {
        excludes.push(planner.expand(state, exclude, span)?);
    }
    let expand = |planner: &mut Planner<'_>, text: &Option<String>| {
        let text = text.as_ref();
        text.map(|text| planner.expand(state, text, span))
            .transpose()
    };
    let owner = expand(planner, &copy.chown)?;
    let mode = expand(planner, &copy.chmod)?;
    if let Some(mode) = &mode
        && let Err(message) = crate::solve::Mode::parse(mode)
    {
        return Err(planner.input.error(span, message));
    }
    let checksum = expand(planner, &copy.checksum)?;
    if let Some(text) = &checksum {
        check_digest(planner, &sources, text, span)?;
    }
    let unpack = match (copy.is_add, copy.unpack) {
        (false, _) | (true, Some(false)) => Unpack::Never,
        (true, None) => Unpack::Local,
        (true, Some(true)) => Unpack::Always,
    };
    let name = state.next_name(&run::shown(step));
    let vertex = planner.add(Vertex {
        op: Op::Copy(CopyOp {
            below: state.vertex,
            sources,
            destination: absolute(state.working_dir(), &destination),
            owner,
            mode,
            link: copy.link,
            parents: copy.parents,
            excludes,
            unpack,
            checksum,
            keep_git_dir: copy.keep_git_dir,
        }),
        name,
        place: Some(planner.input.place(span)),
        no_cache: state.no_cache,
        platform: state.platform.clone(),
    });
    state.vertex = vertex;
    state.push(
        format!("{} # buildkit", created_by(planner, state, copy, step)),
        Some(vertex),
    );
    Ok(())
}

/// Refuses a digest that nothing can have before anything is fetched. A repository's is a commit.
fn check_digest(
    planner: &Planner<'_>,
    sources: &[CopySource],
    text: &str,
    span: Span,
) -> Result<()> {
    let is_file = |source: &CopySource| match &source.origin {
        Origin::Urls(urls) => urls.iter().any(|url| !is_repository(url)),
        _ => false,
    };
    let is_digest = text.starts_with("sha256:") && text.parse::<hull_oci::Digest>().is_ok();
    if is_digest || !sources.iter().any(is_file) {
        return Ok(());
    }
    let message = format!("invalid checksum {text:?}: expected sha256: and 64 hexadecimal digits");
    Err(planner.input.error(span, message))
}

fn created_by(planner: &mut Planner<'_>, state: &StageState, copy: &Copy, step: &Step) -> String {
    let keyword = if copy.is_add { "ADD" } else { "COPY" };
    let mut words = vec![keyword.to_owned()];
    words.extend(copy.chown.iter().map(|owner| format!("--chown={owner}")));
    words.extend(copy.chmod.iter().map(|mode| format!("--chmod={mode}")));
    for word in copy.sources.iter().chain([&copy.destination]) {
        words.push(
            planner
                .expand(state, word, step.span)
                .unwrap_or_else(|_| word.clone()),
        );
    }
    words.join(" ")
}

fn is_directory(path: &str) -> bool {
    path.ends_with('/') || path == "." || path.ends_with("/.") || path == ".."
}

fn count(source: &CopySource) -> usize {
    match &source.origin {
        Origin::Inline(files) => files.len(),
        Origin::Urls(urls) => urls.len(),
        Origin::Context(_) | Origin::Vertex(_) => source.paths.len(),
    }
}

/// What is copied, grouped by where it comes from, in order.
fn sources(
    planner: &mut Planner<'_>,
    walk: &mut Walk,
    state: &StageState,
    copy: &Copy,
    step: &Step,
) -> Result<Vec<CopySource>> {
    let mut all: Vec<CopySource> = Vec::new();
    for word in &copy.sources {
        let announced = heredoc(word).and_then(|announced| {
            step.heredocs
                .iter()
                .find(|heredoc| heredoc.name == announced.name)
        });
        if let Some(heredoc) = announced {
            let content = body(planner, state, heredoc, step.span)?;
            let file = (heredoc.name.clone(), content);
            match all.last_mut().map(|source| &mut source.origin) {
                Some(Origin::Inline(files)) => files.push(file),
                _ => all.push(plain(Origin::Inline(vec![file]))),
            }
            continue;
        }
        let word = planner.expand(state, word, step.span)?;
        if copy.is_add && is_url(&word) {
            all.push(plain(Origin::Urls(vec![word])));
            continue;
        }
        if copy.checksum.is_some() {
            let message = "checksum can't be specified for non-HTTP(S) or git sources";
            return Err(planner.input.error(step.span, message));
        }
        let origin = origin(planner, walk, state, copy.from.as_deref(), step.span)?;
        if copy.from.is_none() {
            note_ignored(planner, copy, &word, step.span);
        }
        match all.last_mut() {
            Some(source) if source.origin == origin => source.paths.push(word),
            _ => all.push(CopySource {
                origin,
                paths: vec![word],
            }),
        }
    }
    Ok(all)
}

/// Warns of a source that the context does not show. Where some of what is left out is taken back, only a
/// look at the files would tell.
fn note_ignored(planner: &mut Planner<'_>, copy: &Copy, word: &str, span: Span) {
    let path = absolute("/", word);
    let path = path.trim_matches('/');
    let is_hidden = planner.ignore.ignores(std::path::Path::new(path));
    if path.is_empty() || planner.ignore.has_exceptions() || !is_hidden {
        return;
    }
    let verb = if copy.is_add { "Add" } else { "Copy" };
    let message = format!("Attempting to {verb} file {path:?} that is excluded by .dockerignore");
    planner.warn(Rule::CopyIgnoredFile, message, span);
}

fn plain(origin: Origin) -> CopySource {
    CopySource {
        origin,
        paths: Vec::new(),
    }
}

fn body(
    planner: &mut Planner<'_>,
    state: &StageState,
    heredoc: &crate::dockerfile::Heredoc,
    span: Span,
) -> Result<String> {
    if !heredoc.expand {
        return Ok(heredoc.content.clone());
    }
    let expander = Expander {
        escape: planner.input.file.directives.escape,
        variables: &state.scope,
    };
    let expanded = expander.body(&heredoc.content);
    let expanded = expanded.map_err(|error| planner.input.error(span, error.to_string()))?;
    Ok(expanded.text)
}

fn is_url(word: &str) -> bool {
    let is_http = word.starts_with("http://") || word.starts_with("https://");
    // `github.com/…` without a scheme is a path here, and an address only as a context.
    is_http || (is_repository(word) && !word.starts_with("github.com/"))
}

/// Where `--from=text` gets its files; `None`: the build context.
pub(super) fn origin(
    planner: &mut Planner<'_>,
    walk: &mut Walk,
    state: &StageState,
    from: Option<&str>,
    span: Span,
) -> Result<Origin> {
    let input = planner.input;
    let Some(text) = from else {
        if !input.request.has_context {
            let message = "there is no build context: give a directory, or use heredocs";
            return Err(input.error(span, message));
        }
        return Ok(Origin::Context(MAIN.to_owned()));
    };
    let lower = text.to_lowercase();
    if let Some(context) = input.request.named_contexts.get(&lower).cloned() {
        return named(planner, walk, state, &lower, &context, span);
    }
    if let Some(index) = stages::by_reference(input.file, text) {
        stages::ensure(planner, walk, index, span)?;
        return Ok(Origin::Vertex(walk.done[&index].vertex));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let last = input.file.stages.len() - 1;
        let message = format!("invalid stage index {text}: the last one is {last}");
        return Err(input.error(span, message));
    }
    if lower == "scratch" {
        return Ok(Origin::Vertex(planner.add(Vertex {
            op: Op::Scratch,
            name: String::new(),
            place: None,
            no_cache: false,
            platform: state.platform.clone(),
        })));
    }
    if let Some((name, context)) = stage::context_of(planner, text) {
        return named(planner, walk, state, &name, &context, span);
    }
    image(planner, state, text, span)
}

fn image(planner: &mut Planner<'_>, state: &StageState, text: &str, span: Span) -> Result<Origin> {
    let input = planner.input;
    let base = input
        .bases
        .base(text, &state.platform)
        .map_err(|error| input.error(span, error))?;
    let name = format!("FROM {}", base.reference);
    let place = input.place(span);
    Ok(Origin::Vertex(planner.image(
        &base,
        &state.platform,
        name,
        place,
    )))
}

fn named(
    planner: &mut Planner<'_>,
    walk: &mut Walk,
    state: &StageState,
    name: &str,
    context: &NamedContext,
    span: Span,
) -> Result<Origin> {
    match context {
        NamedContext::Local(local) => Ok(Origin::Context(local.clone())),
        NamedContext::Image(image_name)
        | NamedContext::Stored(image_name)
        | NamedContext::Target(image_name) => image(planner, state, image_name, span),
        NamedContext::Url(_) => {
            let vertex = context_vertex(planner, walk, name, context, &state.platform);
            Ok(Origin::Vertex(vertex))
        }
    }
}

/// A context as a root of its own.
pub(super) fn context_vertex(
    planner: &mut Planner<'_>,
    walk: &mut Walk,
    name: &str,
    context: &NamedContext,
    platform: &Platform,
) -> usize {
    if let Some(known) = walk.contexts.get(name) {
        return *known;
    }
    let vertex = |op, name: String| Vertex {
        op,
        name,
        place: None,
        no_cache: false,
        platform: platform.clone(),
    };
    let below = planner.add(vertex(Op::Scratch, String::new()));
    let (source, unpack) = match context {
        NamedContext::Url(url) => (plain(Origin::Urls(vec![url.clone()])), Unpack::Always),
        NamedContext::Local(local) => (
            CopySource {
                origin: Origin::Context(local.clone()),
                paths: vec!["/".to_owned()],
            },
            Unpack::Never,
        ),
        NamedContext::Image(_) | NamedContext::Stored(_) | NamedContext::Target(_) => {
            unreachable!("images are vertices of their own")
        }
    };
    let op = Op::Copy(CopyOp {
        below,
        sources: vec![source],
        destination: "/".to_owned(),
        owner: None,
        mode: None,
        link: false,
        parents: false,
        excludes: Vec::new(),
        unpack,
        checksum: None,
        keep_git_dir: false,
    });
    let added = planner.add(vertex(op, format!("[context {name}] load")));
    walk.contexts.insert(name.to_owned(), added);
    added
}
