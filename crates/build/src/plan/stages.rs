//! Which stages a target needs, and in which order they are walked.

use std::collections::{BTreeMap, BTreeSet};

use hull_oci::Platform;

use super::scope::Globals;
use super::stage::{StageState, Walk};
use super::{Input, Planner, Target};
use crate::dockerfile::{Dockerfile, Instruction, Span, Stage};
use crate::error::{Error, Result};
use crate::expand::Expander;

/// Stages that are walked in the middle of others: each takes some of the stack.
const NESTED_MAX: usize = 16;

/// The stage to build.
pub(super) fn target(input: &Input<'_>) -> Result<usize> {
    let stages = &input.file.stages;
    let wanted = input.request.target.as_str();
    if wanted.is_empty() {
        return Ok(stages.len() - 1);
    }
    if let Some(found) = by_name(input.file, wanted, stages.len()) {
        return Ok(found);
    }
    if let Ok(number) = wanted.parse::<usize>()
        && number < stages.len()
    {
        return Ok(number);
    }
    let names: Vec<&str> = stages
        .iter()
        .filter_map(|stage| stage.name.as_deref())
        .collect();
    let hint = if names.is_empty() {
        String::new()
    } else {
        format!(" (the stages are: {})", names.join(", "))
    };
    let message = format!("target stage {wanted:?} could not be found{hint}");
    Err(Error::invalid(message, None))
}

/// The last stage of this name before `before`.
pub(super) fn by_name(file: &Dockerfile, name: &str, before: usize) -> Option<usize> {
    file.stages[..before].iter().rposition(|stage| {
        stage
            .name
            .as_ref()
            .is_some_and(|own| own.eq_ignore_ascii_case(name))
    })
}

/// The stage that `--from=text` means: it may stand anywhere in the file.
pub(super) fn by_reference(file: &Dockerfile, text: &str) -> Option<usize> {
    let count = file.stages.len();
    by_name(file, text, count).or_else(|| text.parse().ok().filter(|number| *number < count))
}

/// Walks the stages that `targets` need, and gives the result of the last one.
pub(super) fn walk(
    planner: &mut Planner<'_>,
    targets: &[usize],
    platform: Platform,
) -> Result<Target> {
    let input = planner.input;
    let target = targets.last().copied().unwrap_or_default();
    let target_name = input.file.stages[target]
        .name
        .clone()
        .unwrap_or_else(|| "default".to_owned());
    let globals = Globals::new(input, &platform, &target_name)?;
    let needed = needed(input, &globals, targets)?;
    let mut walk = Walk {
        globals,
        platform: platform.clone(),
        done: BTreeMap::new(),
        contexts: BTreeMap::new(),
        needed: needed.iter().copied().collect(),
        nested: Vec::new(),
    };
    for index in needed {
        let span = input.file.stages[index].span;
        ensure(planner, &mut walk, index, span)?;
    }
    let state = walk.done.remove(&target).unwrap_or_else(|| {
        unreachable!("the target is among what it needs: see needed()");
    });
    Ok(result(input, state, platform))
}

/// Walks a stage unless that was done. Some are named only when variables are substituted, or by an
/// image's triggers: those are walked in the middle of the one that names them (at `span`).
pub(super) fn ensure(
    planner: &mut Planner<'_>,
    walk: &mut Walk,
    index: usize,
    span: Span,
) -> Result<()> {
    if walk.done.contains_key(&index) {
        return Ok(());
    }
    if walk.nested.contains(&index) {
        return Err(circular(planner.input, index, span));
    }
    if walk.nested.len() > NESTED_MAX {
        let message = format!("stages name each other by variables more than {NESTED_MAX} deep");
        return Err(planner.input.error(span, message));
    }
    walk.nested.push(index);
    let state = super::stage::walk(planner, walk, index)?;
    walk.nested.pop();
    walk.done.insert(index, state);
    Ok(())
}

fn circular(input: &Input<'_>, index: usize, span: Span) -> Error {
    let name = input.file.stages[index].name.clone();
    let name = name.unwrap_or_else(|| format!("stage-{index}"));
    input.error(
        span,
        format!("circular dependency detected on stage: {name}"),
    )
}

fn result(input: &Input<'_>, state: StageState, platform: Platform) -> Target {
    let mut config = state.finished_config(&platform);
    config.config.labels.extend(input.request.labels.clone());
    Target {
        platform,
        vertex: state.vertex,
        base: state.base,
        config,
        history: state.history,
    }
}

/// The targets and all stages they need: each after those that it needs itself, and else in the
/// file's order.
fn needed(input: &Input<'_>, globals: &Globals, targets: &[usize]) -> Result<Vec<usize>> {
    let mut needs: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut todo = targets.to_vec();
    while let Some(index) = todo.pop() {
        if needs.contains_key(&index) {
            continue;
        }
        let own = needs_of(input, globals, index)?;
        todo.extend(&own);
        needs.insert(index, own);
    }
    let mut ordered = Vec::new();
    let mut done = BTreeSet::new();
    for index in needs.keys() {
        // Stages that wait for others, each with how many of them it has asked for.
        let mut waiting = vec![(*index, 0)];
        while let Some((index, asked)) = waiting.last_mut() {
            let (index, next) = (*index, needs[&*index].get(*asked).copied());
            *asked += 1;
            match next {
                _ if done.contains(&index) => drop(waiting.pop()),
                None => {
                    done.insert(index);
                    ordered.push(index);
                }
                Some(next) if waiting.iter().any(|(other, _)| *other == next) => {
                    return Err(circular(input, next, input.file.stages[index].span));
                }
                Some(next) => waiting.push((next, 0)),
            }
        }
    }
    Ok(ordered)
}

/// The stages that one needs itself.
fn needs_of(input: &Input<'_>, globals: &Globals, index: usize) -> Result<Vec<usize>> {
    let stage = &input.file.stages[index];
    let image = expanded_image(input, globals, stage)?;
    if is_replaced(input, stage) {
        return Ok(Vec::new());
    }
    let mut needs = Vec::from_iter(by_name(input.file, &image, index));
    for name in referenced(stage) {
        let contexts = &input.request.named_contexts;
        if !contexts.contains_key(&name.to_lowercase()) {
            needs.extend(by_reference(input.file, &name));
        }
    }
    needs.sort_unstable();
    Ok(needs)
}

/// Whether a named context stands for the stage.
pub(super) fn is_replaced(input: &Input<'_>, stage: &Stage) -> bool {
    let name = stage.name.as_ref().map(|name| name.to_lowercase());
    name.is_some_and(|name| input.request.named_contexts.contains_key(&name))
}

/// The image of a `FROM`, variables substituted.
pub(super) fn expanded_image(
    input: &Input<'_>,
    globals: &Globals,
    stage: &Stage,
) -> Result<String> {
    let expander = Expander {
        escape: input.file.directives.escape,
        variables: globals,
    };
    let expanded = expander.word(&stage.image);
    let expanded = expanded.map_err(|error| input.error(stage.span, error.to_string()))?;
    if expanded.text.is_empty() {
        let message = format!("base name ({}) should not be blank", stage.image);
        return Err(input.error(stage.span, message));
    }
    Ok(expanded.text)
}

/// What `--from` and `from=` name in a stage.
fn referenced(stage: &Stage) -> Vec<String> {
    let mut names = Vec::new();
    let mut from_instruction = |instruction: &Instruction| match instruction {
        Instruction::Copy(copy) => names.extend(copy.from.clone()),
        Instruction::Run(run) => {
            for mount in &run.mounts {
                let from = mount.split(',').find_map(|field| {
                    let (key, value) = field.trim().split_once('=')?;
                    key.eq_ignore_ascii_case("from").then(|| value.to_owned())
                });
                names.extend(from);
            }
        }
        _ => {}
    };
    for step in &stage.steps {
        from_instruction(&step.instruction);
    }
    names
}

/// What a Dockerfile offers, for people who want to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Its stages.
    pub stages: Vec<StageInfo>,
    /// The stage that is built, by position.
    pub target: usize,
    /// Build arguments of the target's stages: name, default, and the comment that describes it.
    pub args: Vec<(String, Option<String>, String)>,
    /// Secrets it asks for, and whether it needs them.
    pub secrets: Vec<(String, bool)>,
    /// ssh agents it asks for.
    pub ssh: Vec<(String, bool)>,
}

/// A stage, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageInfo {
    /// Empty: it has none.
    pub name: String,
    /// The image it begins with.
    pub base: String,
    /// The platform it asks for.
    pub platform: String,
    /// Its comment, without its name.
    pub description: String,
    /// Where it stands.
    pub span: Span,
}

/// What a Dockerfile offers.
pub fn usage(input: &Input<'_>) -> Result<Usage> {
    let target = target(input)?;
    let globals = Globals::new(input, &input.host, "default")?;
    let needed = needed(input, &globals, &[target])?;
    let mut usage = Usage {
        stages: input.file.stages.iter().map(info).collect(),
        target,
        args: Vec::new(),
        secrets: Vec::new(),
        ssh: Vec::new(),
    };
    let stages = needed
        .iter()
        .flat_map(|index| &input.file.stages[*index].steps);
    for step in input.file.global_args.iter().chain(stages) {
        match &step.instruction {
            Instruction::Arg(declarations) => {
                let comment = comment_of(input.file, step.span);
                for arg in declarations {
                    if usage.args.iter().all(|(name, ..)| *name != arg.name) {
                        usage
                            .args
                            .push((arg.name.clone(), arg.default.clone(), comment.clone()));
                    }
                }
            }
            Instruction::Run(run) => note_mounts(&mut usage, &run.mounts),
            _ => {}
        }
    }
    Ok(usage)
}

fn note_mounts(usage: &mut Usage, mounts: &[String]) {
    use crate::dockerfile::{RunMount, mount_of};
    for mount in mounts {
        match mount_of(mount) {
            Ok(RunMount::Secret { id, required, .. }) => usage.secrets.push((id, required)),
            Ok(RunMount::Ssh { id, required, .. }) => usage.ssh.push((id, required)),
            _ => {}
        }
    }
}

fn info(stage: &Stage) -> StageInfo {
    let name = stage.name.clone().unwrap_or_default();
    let comment = stage.comments.join(" ");
    let description = comment
        .strip_prefix(&name)
        .filter(|_| !name.is_empty())
        .unwrap_or_default();
    StageInfo {
        name,
        base: stage.image.clone(),
        platform: stage.platform.clone().unwrap_or_default(),
        description: description.trim().to_owned(),
        span: stage.span,
    }
}

fn comment_of(file: &Dockerfile, span: Span) -> String {
    let node = file.nodes.iter().find(|node| node.span == span);
    node.map(|node| node.comments.join(" ")).unwrap_or_default()
}
