//! The variables a stage sees: its environment, its build arguments, and what comes by itself.

use std::collections::BTreeMap;

use hull_oci::Platform;

use crate::dockerfile::{ArgDeclaration, Instruction, Span};
use crate::error::Result;
use crate::expand::{Expander, Variables};
use crate::plan::Input;

/// Build arguments that need no `ARG`, and that nobody should find in an image.
pub(super) const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// `ARG`s before the first `FROM`, and what comes by itself, for one platform.
pub(crate) struct Globals {
    /// What comes by itself (`TARGETPLATFORM` …).
    pub(crate) automatic: BTreeMap<String, String>,
    /// What the file declares, with its values.
    declared: BTreeMap<String, Option<String>>,
}

impl Globals {
    pub(crate) fn new(input: &Input<'_>, platform: &Platform, target_name: &str) -> Result<Self> {
        let mut globals = Self {
            automatic: automatic(&input.host, platform, target_name),
            declared: BTreeMap::new(),
        };
        for step in &input.file.global_args {
            let Instruction::Arg(declarations) = &step.instruction else {
                continue;
            };
            for declaration in declarations {
                let value = globals.value_of(input, declaration, step.span)?;
                globals.declared.insert(declaration.name.clone(), value);
            }
        }
        Ok(globals)
    }

    fn value_of(
        &self,
        input: &Input<'_>,
        declaration: &ArgDeclaration,
        span: Span,
    ) -> Result<Option<String>> {
        if let Some(given) = input.request.args.get(&declaration.name) {
            return Ok(Some(given.clone()));
        }
        let Some(default) = &declaration.default else {
            return Ok(self.automatic.get(&declaration.name).cloned());
        };
        let expander = Expander {
            escape: input.file.directives.escape,
            variables: self,
        };
        let expanded = expander.word(default);
        let expanded = expanded.map_err(|error| input.error(span, error.to_string()))?;
        Ok(Some(expanded.text))
    }

    /// Whether the file declares it before the first `FROM`.
    pub(crate) fn declares(&self, name: &str) -> bool {
        self.declared.contains_key(name)
    }

    /// All names that mean something before the first `FROM`.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let all = self.declared.keys().chain(self.automatic.keys());
        all.map(String::as_str)
    }

    /// The value for an `ARG` in a stage that gives none itself.
    pub(crate) fn inherited(&self, name: &str) -> Option<String> {
        self.declared
            .get(name)
            .cloned()
            .flatten()
            .or_else(|| self.automatic.get(name).cloned())
    }
}

impl Variables for Globals {
    fn value(&self, name: &str) -> Option<String> {
        match self.declared.get(name) {
            Some(value) => value.clone(),
            None => self.automatic.get(name).cloned(),
        }
    }
}

fn automatic(host: &Platform, target: &Platform, target_name: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (prefix, platform) in [("BUILD", host), ("TARGET", target)] {
        let variant = platform.variant.clone().unwrap_or_default();
        let version = platform.os_version.clone().unwrap_or_default();
        for (suffix, value) in [
            ("PLATFORM", platform.to_string()),
            ("OS", platform.os.clone()),
            ("OSVERSION", version),
            ("ARCH", platform.architecture.clone()),
            ("VARIANT", variant),
        ] {
            values.insert(format!("{prefix}{suffix}"), value);
        }
    }
    values.insert("TARGETSTAGE".to_owned(), target_name.to_owned());
    values
}

/// What a stage sees now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    /// `ENV`, the image's included, in order.
    pub(crate) env: Vec<(String, String)>,
    /// `ARG`, in order; `None`: declared, without a value.
    pub(crate) args: Vec<(String, Option<String>)>,
}

impl Scope {
    pub(crate) fn from_env(env: &[String]) -> Self {
        let pair = |entry: &String| {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            (name.to_owned(), value.to_owned())
        };
        Self {
            env: env.iter().map(pair).collect(),
            args: Vec::new(),
        }
    }

    pub(crate) fn set_env(&mut self, name: &str, value: String) {
        match self.env.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.env.push((name.to_owned(), value)),
        }
    }

    pub(crate) fn set_arg(&mut self, name: &str, value: Option<String>) {
        self.args.retain(|(known, _)| known != name);
        self.args.push((name.to_owned(), value));
    }

    /// The environment as images hold it.
    pub(crate) fn env_entries(&self) -> Vec<String> {
        let entry = |(name, value): &(String, String)| format!("{name}={value}");
        self.env.iter().map(entry).collect()
    }

    /// Arguments with values that the environment does not cover.
    pub(crate) fn arg_entries(&self) -> Vec<String> {
        let covered = |name: &str| self.env.iter().any(|(known, _)| known == name);
        self.args
            .iter()
            .filter(|(name, _)| !covered(name))
            .filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)))
            .collect()
    }

    /// The names that have a value.
    pub(crate) fn valued(&self) -> impl Iterator<Item = &str> {
        let args = self.args.iter().filter(|(_, value)| value.is_some());
        let env = self.env.iter().map(|(name, _)| name.as_str());
        env.chain(args.map(|(name, _)| name.as_str()))
    }

    /// Whether the name means something here, with a value or not.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.env.iter().any(|(known, _)| known == name)
            || self.args.iter().any(|(known, _)| known == name)
    }
}

impl Variables for Scope {
    fn value(&self, name: &str) -> Option<String> {
        let env = self.env.iter().find(|(known, _)| known == name);
        if let Some((_, value)) = env {
            return Some(value.clone());
        }
        let arg = self.args.iter().find(|(known, _)| known == name);
        arg.and_then(|(_, value)| value.clone())
    }
}
