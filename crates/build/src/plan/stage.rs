//! Walks one stage: what it begins with, then instruction by instruction.

use std::collections::{BTreeMap, BTreeSet};

use hull_oci::{ContainerConfig, ImageConfig, Platform};

use super::scope::{Globals, Scope};
use super::{Base, HistoryStep, Op, Planner, Vertex, absolute, config, copy, run, stages};
use crate::dockerfile::{ArgDeclaration, Instruction, Pair, Span, Stage, Step, near, parse_line};
use crate::error::Result;
use crate::expand::Expander;
use crate::lint::Rule;
use crate::request::NamedContext;

/// The stages walked so far, for one platform.
pub(crate) struct Walk {
    pub(crate) globals: Globals,
    pub(crate) platform: Platform,
    pub(crate) done: BTreeMap<usize, StageState>,
    /// Named contexts met so far: their vertices.
    pub(crate) contexts: BTreeMap<String, usize>,
    pub(crate) needed: BTreeSet<usize>,
    /// Stages that are being walked, each named by the one before.
    pub(crate) nested: Vec<usize>,
}

/// What a stage is, so far.
#[derive(Debug, Clone)]
pub(crate) struct StageState {
    /// Its files.
    pub(crate) vertex: usize,
    /// The vertex of the image at the bottom; `None`: nothing.
    pub(crate) base: Option<usize>,
    pub(crate) config: ImageConfig,
    pub(crate) scope: Scope,
    pub(crate) history: Vec<HistoryStep>,
    /// Whether the stage's file set a command itself.
    pub(crate) has_own_cmd: bool,
    pub(crate) platform: Platform,
    /// Which stage of the file.
    pub(crate) index: usize,
    /// `[stage 2/5] `: what, and how many of how many.
    label: String,
    step: usize,
    steps: usize,
    pub(crate) no_cache: bool,
    /// Whether a `WORKDIR` stands in this file: what a base image says may change.
    workdir_set: bool,
}

/// Bytes of environments and histories of all steps.
const BYTES_MAX: usize = 256 << 20;

/// A stage of `FROM scratch` has this, as BuildKit's has.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl StageState {
    /// The configuration of an image of this stage.
    pub(crate) fn finished_config(&self, platform: &Platform) -> ImageConfig {
        let mut config = self.config.clone();
        config.config.env = self.scope.env_entries();
        if config.os.is_empty() {
            config.os.clone_from(&platform.os);
            config.architecture.clone_from(&platform.architecture);
            config.variant.clone_from(&platform.variant);
        }
        config
    }

    pub(crate) fn shell(&self) -> Vec<String> {
        let own = self.config.config.shell.clone();
        own.filter(|words| !words.is_empty())
            .unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()])
    }

    pub(crate) fn working_dir(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            directory => directory,
        }
    }

    /// The name of the next vertex.
    pub(crate) fn next_name(&mut self, text: &str) -> String {
        self.step += 1;
        format!(
            "[{}{}/{}] {text}",
            self.label,
            self.step,
            self.steps.max(self.step)
        )
    }

    pub(crate) fn push(&mut self, created_by: impl Into<String>, vertex: Option<usize>) {
        self.history.push(HistoryStep {
            created_by: created_by.into(),
            vertex,
        });
    }
}

/// Walks a stage.
pub(super) fn walk(planner: &mut Planner<'_>, walk: &mut Walk, index: usize) -> Result<StageState> {
    let stage = &planner.input.file.stages[index];
    let mut state = begin(planner, walk, index)?;
    if stages::is_replaced(planner.input, stage) {
        return Ok(state);
    }
    let triggers = state.config.config.on_build.take().unwrap_or_default();
    let mut extra = Vec::new();
    for trigger in &triggers {
        let step = parse_line(trigger).map_err(|error| {
            let message = format!("the base image's ONBUILD {trigger:?}: {}", error.error);
            planner.input.error(stage.span, message)
        })?;
        if let Instruction::From { .. } | Instruction::Onbuild(_) = step.instruction {
            let message =
                format!("the base image's ONBUILD {trigger:?} isn't allowed as a trigger");
            return Err(planner.input.error(stage.span, message));
        }
        extra.push(Step {
            span: stage.span,
            ..step
        });
    }
    for step in extra.iter().chain(&stage.steps) {
        apply(planner, walk, &mut state, step)?;
        planner.weigh(&state, step.span)?;
    }
    Ok(state)
}

/// Whether an instruction changes files.
fn makes_vertex(step: &Step) -> bool {
    matches!(
        step.instruction,
        Instruction::Run(_) | Instruction::Copy(_) | Instruction::Workdir(_)
    )
}

/// Whether a trigger will change files.
fn is_vertex(trigger: &str) -> bool {
    let keyword = trigger.split_whitespace().next().unwrap_or_default();
    ["RUN", "COPY", "ADD", "WORKDIR"]
        .iter()
        .any(|known| keyword.eq_ignore_ascii_case(known))
}

fn begin(planner: &mut Planner<'_>, walk: &mut Walk, index: usize) -> Result<StageState> {
    let input = planner.input;
    let stage = &input.file.stages[index];
    let platform = stage_platform(planner, walk, stage)?;
    let label = label(planner, walk, stage, index, &platform);
    let mut state = StageState {
        vertex: 0,
        base: None,
        config: ImageConfig::default(),
        scope: Scope::default(),
        history: Vec::new(),
        has_own_cmd: false,
        platform: platform.clone(),
        index,
        label,
        step: 0,
        steps: 1 + stage.steps.iter().filter(|step| makes_vertex(step)).count(),
        no_cache: is_uncached(planner, stage, index),
        workdir_set: false,
    };
    let image = stages::expanded_image(input, &walk.globals, stage)?;
    note_undefined(planner, walk, stage);
    if let Some(name) = &stage.name
        && let Some(context) = input.request.named_contexts.get(&name.to_lowercase())
    {
        return from_context(planner, walk, state, &name.to_lowercase(), &context.clone());
    }
    if let Some(parent) = stages::by_name(input.file, &image, index) {
        stages::ensure(planner, walk, parent, stage.span)?;
        let parent = &walk.done[&parent];
        // Its environment and its arguments hold here, too.
        return Ok(StageState {
            has_own_cmd: false,
            index,
            label: state.label,
            step: 1,
            steps: state.steps,
            no_cache: state.no_cache,
            ..parent.clone()
        });
    }
    if let Some((name, context)) = context_of(planner, &image) {
        return from_context(planner, walk, state, &name, &context);
    }
    if image == "scratch" {
        state.vertex = planner.add(Vertex {
            op: Op::Scratch,
            name: String::new(),
            place: None,
            no_cache: false,
            platform: platform.clone(),
        });
        state.step = 1;
        state.config = empty_config(&platform);
        state.scope = Scope::from_env(&state.config.config.env);
        return Ok(state);
    }
    let base = input
        .bases
        .base(&image, &platform)
        .map_err(|error| input.error(stage.span, error))?;
    from_image(planner, state, &base, stage.span)
}

/// The named context that stands for an image of this name.
pub(super) fn context_of(planner: &Planner<'_>, image: &str) -> Option<(String, NamedContext)> {
    let contexts = &planner.input.request.named_contexts;
    let full = image.parse::<hull_oci::Reference>().ok();
    let full = full.map(|reference| reference.or_latest());
    let candidates = [
        Some(image.to_lowercase()),
        Some(crate::request::context_name(image)),
        full.as_ref().map(hull_oci::Reference::familiar),
        full.as_ref().map(ToString::to_string),
    ];
    candidates.into_iter().flatten().find_map(|name| {
        let context = contexts.get(&name)?;
        Some((name, context.clone()))
    })
}

fn from_image(
    planner: &mut Planner<'_>,
    mut state: StageState,
    base: &Base,
    span: Span,
) -> Result<StageState> {
    let triggers = base.config.config.on_build.iter().flatten();
    state.steps += triggers.filter(|trigger| is_vertex(trigger)).count();
    let name = state.next_name(&format!("FROM {}", base.reference));
    let place = planner.input.place(span);
    let platform = state.platform.clone();
    state.vertex = planner.image(base, &platform, name, place);
    state.base = Some(state.vertex);
    state.config = ImageConfig::clone(&base.config);
    state.scope = Scope::from_env(&state.config.config.env);
    let has = state.config.platform();
    if !platform.matches(&has) && !has.architecture.is_empty() {
        let message = format!(
            "Base image {} was pulled with platform {has:?}, expected {platform:?} for current build",
            base.reference,
            has = has.to_string(),
            platform = platform.to_string(),
        );
        planner.warn(Rule::InvalidBaseImagePlatform, message, span);
    }
    Ok(state)
}

/// A stage that begins with a named context.
fn from_context(
    planner: &mut Planner<'_>,
    walk: &mut Walk,
    mut state: StageState,
    name: &str,
    context: &NamedContext,
) -> Result<StageState> {
    let span = planner.input.file.stages[state.index].span;
    let image = match context {
        NamedContext::Image(reference)
        | NamedContext::Stored(reference)
        | NamedContext::Target(reference) => reference,
        NamedContext::Local(_) | NamedContext::Url(_) => {
            state.vertex = copy::context_vertex(planner, walk, name, context, &state.platform);
            state.config = empty_config(&state.platform);
            state.scope = Scope::from_env(&state.config.config.env);
            state.step = 1;
            return Ok(state);
        }
    };
    let base = planner
        .input
        .bases
        .base(image, &state.platform)
        .map_err(|error| planner.input.error(span, error))?;
    from_image(planner, state, &base, span)
}

fn empty_config(platform: &Platform) -> ImageConfig {
    ImageConfig {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        config: ContainerConfig {
            env: vec![DEFAULT_PATH.to_owned()],
            working_dir: "/".to_owned(),
            ..ContainerConfig::default()
        },
        ..ImageConfig::default()
    }
}

fn stage_platform(planner: &mut Planner<'_>, walk: &Walk, stage: &Stage) -> Result<Platform> {
    let input = planner.input;
    let Some(text) = &stage.platform else {
        return Ok(walk.platform.clone());
    };
    let expander = Expander {
        escape: input.file.directives.escape,
        variables: &walk.globals,
    };
    let expanded = expander.word(text);
    let expanded = expanded.map_err(|error| input.error(stage.span, error.to_string()))?;
    if expanded.text.is_empty() {
        let message = format!("empty platform value from expression {text}");
        return Err(input.error(stage.span, message));
    }
    let platform = expanded.text.parse::<Platform>();
    platform.map_err(|error| {
        let message = format!("failed to parse platform {}: {error}", expanded.text);
        input.error(stage.span, message)
    })
}

/// `build ` or `linux/arm64 build `; nothing where there is one stage and one platform.
fn label(
    planner: &Planner<'_>,
    walk: &Walk,
    stage: &Stage,
    index: usize,
    platform: &Platform,
) -> String {
    let mut label = String::new();
    if planner.many_platforms {
        label = format!("{platform} ");
        if !platform.matches(&walk.platform) {
            label = format!("{platform}->{} ", walk.platform.architecture);
        }
    }
    match &stage.name {
        Some(name) => label.push_str(&format!("{name} ")),
        None if planner.input.file.stages.len() > 1 && walk.needed.len() > 1 => {
            label.push_str(&format!("stage-{index} "));
        }
        None => {}
    }
    label
}

fn is_uncached(planner: &Planner<'_>, stage: &Stage, index: usize) -> bool {
    let request = planner.input.request;
    let named = |wanted: &String| {
        let by_name = stage
            .name
            .as_ref()
            .is_some_and(|name| name.eq_ignore_ascii_case(wanted));
        by_name || wanted.parse() == Ok(index)
    };
    request.no_cache || request.no_cache_filter.iter().any(named)
}

fn note_undefined(planner: &mut Planner<'_>, walk: &Walk, stage: &Stage) {
    let expander = Expander {
        escape: planner.input.file.directives.escape,
        variables: &walk.globals,
    };
    let Ok(expanded) = expander.word(&stage.image) else {
        return;
    };
    for name in expanded.unset {
        if walk.globals.declares(&name) {
            continue;
        }
        let near = near(&name, walk.globals.names())
            .map_or(String::new(), |near| format!(" (did you mean {near}?)"));
        let message = format!("FROM argument '{name}' is not declared{near}");
        planner.warn(Rule::UndefinedArgInFrom, message, stage.span);
    }
}

fn apply(
    planner: &mut Planner<'_>,
    walk: &mut Walk,
    state: &mut StageState,
    step: &Step,
) -> Result<()> {
    match &step.instruction {
        Instruction::Run(run) => run::apply(planner, walk, state, run, step),
        Instruction::Copy(copy) => copy::apply(planner, walk, state, copy, step),
        Instruction::Arg(declarations) => args(planner, walk, state, declarations, step),
        Instruction::Env(pairs) => env(planner, state, pairs, step),
        Instruction::Workdir(path) => workdir(planner, state, path, step),
        other => config::apply(planner, state, other, step),
    }
}

impl Planner<'_> {
    /// Refuses a file that makes more than anybody could mean out of a few lines: each step has the
    /// environment, and tells of itself in the history.
    fn weigh(&mut self, state: &StageState, span: Span) -> Result<()> {
        let told = state.history.last().map_or(0, |step| step.created_by.len());
        let pair = |(name, value): &(String, String)| name.len() + value.len();
        self.bytes += told + state.scope.env.iter().map(pair).sum::<usize>();
        if self.bytes > BYTES_MAX {
            return Err(self
                .input
                .error(span, "the configuration becomes too large"));
        }
        Ok(())
    }

    /// Substitutes variables of the stage.
    pub(crate) fn expand(&mut self, state: &StageState, text: &str, span: Span) -> Result<String> {
        let expander = Expander {
            escape: self.input.file.directives.escape,
            variables: &state.scope,
        };
        let expanded = expander.word(text);
        let expanded = expanded.map_err(|error| self.input.error(span, error.to_string()))?;
        for name in &expanded.unset {
            if !state.scope.knows(name) {
                let known = state.scope.valued();
                let near = near(name, known)
                    .map_or(String::new(), |near| format!(" (did you mean ${near}?)"));
                let message = format!("Usage of undefined variable '${name}'{near}");
                self.warn(Rule::UndefinedVar, message, span);
            }
        }
        Ok(expanded.text)
    }
}

fn args(
    planner: &mut Planner<'_>,
    walk: &Walk,
    state: &mut StageState,
    declarations: &[ArgDeclaration],
    step: &Step,
) -> Result<()> {
    let mut words = Vec::new();
    for declaration in declarations {
        let name = planner.expand(state, &declaration.name, step.span)?;
        let default = match &declaration.default {
            Some(default) => Some(planner.expand(state, default, step.span)?),
            None => None,
        };
        let given = planner.input.request.args.get(&name).cloned();
        let value = given.or(default).or_else(|| walk.globals.inherited(&name));
        words.push(match &value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        });
        state.scope.set_arg(&name, value);
    }
    state.push(format!("ARG {}", words.join(" ")), None);
    Ok(())
}

fn env(
    planner: &mut Planner<'_>,
    state: &mut StageState,
    pairs: &[Pair],
    step: &Step,
) -> Result<()> {
    // All of them see what was before the instruction.
    let mut new = Vec::new();
    for pair in pairs {
        let name = planner.expand(state, &pair.name, step.span)?;
        let value = planner.expand(state, &pair.value, step.span)?;
        new.push((name, value));
    }
    let words: Vec<String> = new
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    for (name, value) in new {
        state.scope.set_env(&name, value);
    }
    state.push(format!("ENV {}", words.join(" ")), None);
    Ok(())
}

fn workdir(
    planner: &mut Planner<'_>,
    state: &mut StageState,
    path: &str,
    step: &Step,
) -> Result<()> {
    let path = planner.expand(state, path, step.span)?;
    if path.is_empty() {
        let message = "WORKDIR requires a path: its variables are all empty";
        return Err(planner.input.error(step.span, message));
    }
    if !path.starts_with('/') && !state.workdir_set {
        let message = format!(
            "Relative workdir {path:?} can have unexpected results if the base image changes"
        );
        planner.warn(Rule::WorkdirRelativePath, message, step.span);
    }
    state.workdir_set = true;
    let path = absolute(state.working_dir(), &path);
    let path = match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    };
    state.config.config.working_dir.clone_from(&path);
    let name = state.next_name(&format!("WORKDIR {path}"));
    let vertex = planner.add(Vertex {
        op: Op::MakeDirectory {
            below: state.vertex,
            path: path.clone(),
        },
        name,
        place: Some(planner.input.place(step.span)),
        no_cache: state.no_cache,
        platform: state.platform.clone(),
    });
    state.vertex = vertex;
    state.push(format!("WORKDIR {path}"), Some(vertex));
    Ok(())
}
