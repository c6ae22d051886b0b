//! Checks that a Dockerfile says what its author means. Pure. The rules and texts are BuildKit's.

mod options;

use std::collections::HashMap;

use self::options::Options;
use crate::dockerfile::{Dockerfile, Instruction, Node, Span, Stage, Step};
use crate::error::{Error, Place, Result};
use crate::plan::Input;
use crate::progress::Warning;

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each rule's description says what it is about")]
pub enum Rule {
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JSONArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    InvalidBaseImagePlatform,
    RedundantTargetPlatform,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    FromPlatformFlagConstDisallowed,
    CopyIgnoredFile,
    InvalidDefinitionDescription,
    ExposeProtoCasing,
    ExposeInvalidFormat,
}

impl Rule {
    /// What the rule is about.
    fn description(self) -> &'static str {
        match self {
            Self::StageNameCasing => "Stage names should be lowercase",
            Self::FromAsCasing => "The 'as' keyword should match the case of the 'from' keyword",
            Self::NoEmptyContinuation => {
                "Empty continuation lines will become errors in a future release"
            }
            Self::ConsistentInstructionCasing => {
                "All commands within the Dockerfile should use the same casing (either upper or lower)"
            }
            Self::DuplicateStageName => "Stage names should be unique",
            Self::ReservedStageName => "Reserved words should not be used as stage names",
            Self::JSONArgsRecommended => {
                "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals"
            }
            Self::MaintainerDeprecated => {
                "The MAINTAINER instruction is deprecated, use a label instead to define an image author"
            }
            Self::UndefinedArgInFrom => "FROM command must use declared ARGs",
            Self::WorkdirRelativePath => {
                "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes"
            }
            Self::UndefinedVar => "Variables should be defined before their use",
            Self::MultipleInstructionsDisallowed => {
                "Multiple instructions of the same type should not be used in the same stage"
            }
            Self::LegacyKeyValueFormat => {
                "Legacy key/value format with whitespace separator should not be used"
            }
            Self::InvalidBaseImagePlatform => {
                "Base image platform does not match expected target platform"
            }
            Self::RedundantTargetPlatform => {
                "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior"
            }
            Self::SecretsUsedInArgOrEnv => {
                "Sensitive data should not be used in the ARG or ENV commands"
            }
            Self::InvalidDefaultArgInFrom => {
                "Default value for global ARG results in an empty or invalid base image name"
            }
            Self::FromPlatformFlagConstDisallowed => {
                "FROM --platform flag should not use a constant value"
            }
            Self::CopyIgnoredFile => "Attempting to Copy file that is excluded by .dockerignore",
            Self::InvalidDefinitionDescription => {
                "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment."
            }
            Self::ExposeProtoCasing => "Protocol in EXPOSE instruction should be lowercase",
            Self::ExposeInvalidFormat => {
                "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release"
            }
        }
    }

    /// The rule's name.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Whether it is looked at only if somebody asks for it.
    fn is_experimental(name: &str) -> bool {
        name == Self::InvalidDefinitionDescription.name()
    }

    pub(crate) fn warning(self, message: String, place: Place) -> Warning {
        let mut page = String::new();
        for (at, letter) in self.name().char_indices() {
            let follows_lower = self.name()[..at].ends_with(|c: char| c.is_ascii_lowercase());
            if letter.is_ascii_uppercase() && follows_lower {
                page.push('-');
            }
            page.push(letter.to_ascii_lowercase());
        }
        let page = page.replace("jsonargs", "json-args");
        Warning {
            rule: self.name(),
            description: self.description().to_owned(),
            message,
            url: match self {
                // It has no page.
                Self::InvalidBaseImagePlatform => String::new(),
                _ => format!("https://docs.docker.com/go/dockerfile/rule/{page}/"),
            },
            place,
        }
    }
}

/// Words that say that a variable holds a secret, and those that say it does not.
const SECRET_WORDS: [&str; 9] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
];
const PUBLIC_WORDS: [&str; 1] = ["public"];

/// What can be said of a file by itself.
pub(crate) fn of_file(file: &Dockerfile, place: &dyn Fn(Span) -> Place) -> Vec<Warning> {
    let mut linter = Linter {
        file,
        place,
        found: Vec::new(),
    };
    for span in &file.empty_continuations {
        linter.warn(
            Rule::NoEmptyContinuation,
            "Empty continuation line".to_owned(),
            *span,
        );
    }
    linter.casing();
    linter.stage_names();
    for stage in &file.stages {
        linter.from(stage);
        linter.repeated(stage);
        for step in &stage.steps {
            linter.step(step);
        }
    }
    for step in &file.global_args {
        linter.step(step);
    }
    linter.default_args();
    linter.definitions();
    linter.found
}

struct Linter<'a> {
    file: &'a Dockerfile,
    place: &'a dyn Fn(Span) -> Place,
    found: Vec<Warning>,
}

impl Linter<'_> {
    fn warn(&mut self, rule: Rule, message: String, span: Span) {
        self.found.push(rule.warning(message, (self.place)(span)));
    }

    fn casing(&mut self) {
        let is_lower = |node: &&Node| node.keyword == node.keyword.to_ascii_lowercase();
        let is_upper = |node: &&Node| node.keyword == node.keyword.to_ascii_uppercase();
        let nodes = &self.file.nodes;
        let lower = nodes.iter().filter(is_lower).count();
        let upper = nodes.iter().filter(is_upper).count();
        let (wanted, fits): (&str, &dyn Fn(&&Node) -> bool) = if lower > upper {
            ("lowercase", &is_lower)
        } else {
            ("uppercase", &is_upper)
        };
        for node in nodes.iter().filter(|node| !fits(node)) {
            let message = format!(
                "Command '{}' should match the case of the command majority ({wanted})",
                node.keyword
            );
            self.warn(Rule::ConsistentInstructionCasing, message, node.span);
        }
    }

    fn stage_names(&mut self) {
        let mut seen: Vec<String> = Vec::new();
        for stage in &self.file.stages {
            let Some(name) = &stage.name else { continue };
            let lower = name.to_ascii_lowercase();
            if *name != lower {
                let message = format!("Stage name '{name}' should be lowercase");
                self.warn(Rule::StageNameCasing, message, stage.span);
            }
            if matches!(lower.as_str(), "scratch" | "context") {
                let message =
                    format!("Stage name should not use the same name as reserved stage {lower:?}");
                self.warn(Rule::ReservedStageName, message, stage.span);
            }
            if seen.contains(&lower) {
                let message =
                    format!("Duplicate stage name {name:?}, stage names should be unique");
                self.warn(Rule::DuplicateStageName, message, stage.span);
            }
            seen.push(lower);
        }
    }

    fn from(&mut self, stage: &Stage) {
        let words: Vec<&str> = stage.original.split_whitespace().collect();
        let keyword = words.first().copied().unwrap_or_default();
        let joint = words.iter().rev().nth(1).copied().unwrap_or_default();
        let is_upper = |word: &str| word == word.to_ascii_uppercase();
        let is_lower = |word: &str| word == word.to_ascii_lowercase();
        // A keyword of both cases is the matter of another rule.
        let fits = match (is_lower(keyword), is_upper(keyword)) {
            (true, _) => is_lower(joint),
            (_, true) => is_upper(joint),
            _ => true,
        };
        if stage.name.is_some() && joint.eq_ignore_ascii_case("as") && !fits {
            let message = format!("'{joint}' and '{keyword}' keywords' casing do not match");
            self.warn(Rule::FromAsCasing, message, stage.span);
        }
        let Some(platform) = &stage.platform else {
            return;
        };
        let name = platform.trim_start_matches("${").trim_start_matches('$');
        if platform.contains('$') && name.trim_end_matches('}') == "TARGETPLATFORM" {
            let message = format!(
                "Setting platform to predefined {platform} in FROM is redundant as this is the default behavior"
            );
            self.warn(Rule::RedundantTargetPlatform, message, stage.span);
        } else if !platform.contains('$') {
            let message =
                format!("FROM --platform flag should not use constant value {platform:?}");
            self.warn(Rule::FromPlatformFlagConstDisallowed, message, stage.span);
        }
    }

    /// Instructions of which only the last one of a stage counts.
    fn repeated(&mut self, stage: &Stage) {
        let kind = |step: &Step| match step.instruction {
            Instruction::Cmd(_) => Some("CMD"),
            Instruction::Entrypoint(_) => Some("ENTRYPOINT"),
            Instruction::Healthcheck(_) => Some("HEALTHCHECK"),
            _ => None,
        };
        let kinds: Vec<_> = stage.steps.iter().map(kind).collect();
        for (at, step) in stage.steps.iter().enumerate() {
            let Some(own) = kinds[at] else { continue };
            if kinds[at + 1..].contains(&Some(own)) {
                let message = format!(
                    "Multiple {own} instructions should not be used in the same stage because only the last one will be used"
                );
                self.warn(Rule::MultipleInstructionsDisallowed, message, step.span);
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match &step.instruction {
            Instruction::Maintainer(_) => {
                let message = "Maintainer instruction is deprecated in favor of using label";
                self.warn(Rule::MaintainerDeprecated, message.to_owned(), step.span);
            }
            Instruction::Env(pairs) => {
                for pair in pairs {
                    self.secret("ENV", &pair.name, step.span);
                    self.legacy("ENV", pair.legacy, step.span);
                }
            }
            Instruction::Label(pairs) => {
                for pair in pairs {
                    self.legacy("LABEL", pair.legacy, step.span);
                }
            }
            Instruction::Arg(declarations) => {
                for declaration in declarations {
                    self.secret("ARG", &declaration.name, step.span);
                }
            }
            _ => {}
        }
    }

    fn legacy(&mut self, keyword: &str, is_legacy: bool, span: Span) {
        if is_legacy {
            let message = format!(
                "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
            );
            self.warn(Rule::LegacyKeyValueFormat, message, span);
        }
    }

    fn secret(&mut self, keyword: &str, name: &str, span: Span) {
        let lower = name.to_ascii_lowercase();
        let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
        let is_token = lower.split('_').any(|part| part == "token");
        if (has(&SECRET_WORDS) || is_token) && !has(&PUBLIC_WORDS) {
            let message = format!(
                "Do not use ARG or ENV instructions for sensitive data ({keyword} {name:?})"
            );
            self.warn(Rule::SecretsUsedInArgOrEnv, message, span);
        }
    }

    /// Comments right above what they do not describe.
    fn definitions(&mut self) {
        for (at, node) in self.file.nodes.iter().enumerate() {
            let Some(comment) = node.comments.last() else {
                continue;
            };
            let keyword = node.keyword.to_ascii_uppercase();
            let names: Vec<String> = match keyword.as_str() {
                "FROM" => {
                    let before = &self.file.nodes[..at];
                    let is_from = |node: &&Node| node.keyword.eq_ignore_ascii_case("FROM");
                    let stage = &self.file.stages[before.iter().filter(is_from).count()];
                    stage.name.iter().cloned().collect()
                }
                "ARG" => {
                    let words = node.text.split_whitespace();
                    let name = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
                    words.map(name).collect()
                }
                _ => continue,
            };
            let first = comment.split(' ').next().unwrap_or_default();
            if names.is_empty() || names.iter().any(|name| name == first) {
                continue;
            }
            let example = match &names[..] {
                [sole] => sole,
                _ => "<arg_key>",
            };
            let message = format!(
                "Comment for {keyword} should follow the format: `# {example} <description>`"
            );
            self.warn(Rule::InvalidDefinitionDescription, message, node.span);
        }
    }

    /// Images whose names are empty unless the user gives arguments.
    fn default_args(&mut self) {
        for stage in &self.file.stages {
            let defaults = |name: &str| {
                self.file.global_args.iter().find_map(|step| {
                    let Instruction::Arg(all) = &step.instruction else {
                        return None;
                    };
                    let arg = all.iter().find(|arg| arg.name == name)?;
                    Some(arg.default.clone().unwrap_or_default())
                })
            };
            if !stage.image.contains('$') {
                continue;
            }
            let expander = crate::expand::Expander {
                escape: self.file.directives.escape,
                variables: &defaults,
            };
            let Ok(image) = expander.word(&stage.image) else {
                continue;
            };
            let is_valid =
                image.text == "scratch" || image.text.parse::<hull_oci::Reference>().is_ok();
            if image.unset.is_empty() && !is_valid {
                let message = format!(
                    "Default value for ARG {} results in empty or invalid base image name",
                    stage.image
                );
                self.warn(Rule::InvalidDefaultArgInFrom, message, stage.span);
            }
        }
    }
}

/// The build argument that says which warnings are wanted, whatever stands at the top of the file.
const ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What is wanted of the warnings; an error if they are wanted to be one.
pub(crate) fn selected(input: &Input<'_>, warnings: Vec<Warning>) -> Result<Vec<Warning>> {
    let file = input.file;
    let given = input.request.args.get(ARGUMENT);
    let (origin, text) = match (given, &file.directives.check) {
        (Some(text), _) => (ARGUMENT, text.as_str()),
        (None, check) => ("check options", check.as_deref().unwrap_or_default()),
    };
    let options = Options::parse(text);
    let options =
        options.map_err(|why| Error::invalid(format!("failed to parse {origin}: {why}"), None))?;
    let commented = file.nodes.iter().filter(|node| !node.comments.is_empty());
    let commented: HashMap<(String, Span), &Node> = commented
        .map(|node| {
            let place = input.place(node.span);
            ((place.file, place.span), node)
        })
        .collect();
    let wants = |warning: &Warning| {
        let place = (warning.place.file.clone(), warning.place.span);
        let comments = commented.get(&place);
        let comments = comments.map_or(&[][..], |node| &node.comments);
        let is_experimental = Rule::is_experimental(&warning.rule);
        options
            .with_comments(comments)
            .wants(&warning.rule, is_experimental)
    };
    let kept: Vec<Warning> = warnings.into_iter().filter(wants).collect();
    match kept.first() {
        Some(first) if options.is_error => {
            let message = format!(
                "lint violation found for rules: {} ({}, line {})",
                first.rule,
                first.message,
                first.place.first()
            );
            Err(Error::invalid(message, Some(first.place.clone())))
        }
        _ => Ok(kept),
    }
}
