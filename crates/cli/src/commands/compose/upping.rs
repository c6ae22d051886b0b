//! What `up`, `create`, `run` and `scale` have in common: flags about making containers.

use std::collections::BTreeMap;

use hull_compose::apply::{Pull, UpOptions};
use hull_compose::model::{Project, REPLICAS_MAX};
use hull_compose::plan::{Recreate, Wishes};

use super::project::no_such_service;
use crate::error::{Error, Result};
use crate::flags::FlagSet;

/// Flags about making containers.
#[derive(Default, Debug)]
pub(super) struct Making {
    pub(super) build: bool,
    pub(super) force_recreate: bool,
    pub(super) no_build: bool,
    pub(super) no_recreate: bool,
    pub(super) pull: String,
    pub(super) quiet_build: bool,
    pub(super) quiet_pull: bool,
    pub(super) remove_orphans: bool,
    pub(super) scale: Vec<String>,
    pub(super) yes: bool,
}

impl Making {
    #[rustfmt::skip]
    pub(super) fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("build", "", "Build images before starting containers", &mut self.build);
        set.add("force-recreate", "", "Recreate containers even if their configuration and image haven't changed", &mut self.force_recreate);
        set.add("no-build", "", "Don't build an image, even if it's policy", &mut self.no_build);
        set.add("no-recreate", "", "If containers already exist, don't recreate them. Incompatible with --force-recreate.", &mut self.no_recreate);
        set.add("pull", "string", "Pull image before running (\"always\"|\"missing\"|\"never\") (default \"policy\")", &mut self.pull);
        set.add("quiet-build", "", "Suppress the build output", &mut self.quiet_build);
        set.add("quiet-pull", "", "Pull without printing progress information", &mut self.quiet_pull);
        set.add("remove-orphans", "", "Remove containers for services not defined in the Compose file", &mut self.remove_orphans);
        set.add("scale", "scale", "Scale SERVICE to NUM instances. Overrides the scale setting in the Compose file if present.", &mut self.scale);
        set.add("y,yes", "", "Assume \"yes\" as answer to all prompts and run non-interactively", &mut self.yes);
    }

    /// The same as options of the work.
    ///
    /// # Errors
    /// Flags that exclude each other.
    pub(super) fn options(&self, services: &[String]) -> Result<UpOptions> {
        if self.force_recreate && self.no_recreate {
            return Err(Error::new(
                "--force-recreate and --no-recreate are incompatible",
            ));
        }
        if self.build && self.no_build {
            return Err(Error::new("--build and --no-build are incompatible"));
        }
        let recreate = match (self.force_recreate, self.no_recreate) {
            (true, _) => Recreate::Force,
            (_, true) => Recreate::Never,
            _ => Recreate::Diverged,
        };
        Ok(UpOptions {
            wishes: Wishes {
                recreate,
                recreate_dependencies: if recreate == Recreate::Never {
                    Recreate::Never
                } else {
                    Recreate::Diverged
                },
                services: services.to_vec(),
                remove_orphans: self.remove_orphans || truthy("COMPOSE_REMOVE_ORPHANS"),
                ..Wishes::default()
            },
            pull: pull(&self.pull)?,
            quiet_pull: self.quiet_pull,
            ignore_orphans: truthy("COMPOSE_IGNORE_ORPHANS"),
            ..UpOptions::default()
        })
    }
}

/// Whether a variable of the environment says yes.
pub(super) fn truthy(name: &str) -> bool {
    std::env::var(name)
        .is_ok_and(|value| matches!(value.as_str(), "1" | "true" | "yes" | "y" | "t"))
}

/// `--pull`
pub(super) fn pull(text: &str) -> Result<Pull> {
    match text {
        "" | "policy" | "build" => Ok(Pull::Policy),
        "always" => Ok(Pull::Always),
        "missing" | "if_not_present" => Ok(Pull::Missing),
        "never" => Ok(Pull::Never),
        other => Err(Error::new(format!("invalid --pull option \"{other}\""))),
    }
}

/// Sets how many containers services have: `web=3`; what was set.
pub(super) fn scale(project: &mut Project, wanted: &[String]) -> Result<BTreeMap<String, i64>> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for text in wanted {
        let parsed = text
            .split_once('=')
            .and_then(|(name, count)| Some((name, count.parse::<i64>().ok()?)));
        match parsed.filter(|(_, count)| *count >= 0) {
            Some((name, count)) => counts.insert(name, count),
            None => {
                return Err(Error::new(format!("invalid scale specifier: {text}"))
                    .with_hint("write SERVICE=NUMBER"));
            }
        };
    }
    for (name, count) in &counts {
        let (name, count) = (*name, *count);
        let Some(service) = project.services.get_mut(name) else {
            return Err(no_such_service(name, project.services.keys()));
        };
        if count > REPLICAS_MAX {
            return Err(Error::new(format!(
                "{name}={count}: a service has at most {REPLICAS_MAX} containers"
            )));
        }
        if count > 1 && !service.container_name.is_empty() {
            return Err(Error::new(format!(
                "the service {name} has the container name {} and cannot be scaled",
                service.container_name
            )));
        }
        service.set_replicas(count);
    }
    let owned = |(name, count): (&str, i64)| (name.to_owned(), count);
    Ok(counts.into_iter().map(owned).collect())
}
