//! `compose pull`, `compose push`

use std::collections::BTreeSet;

use hull_compose::model::Service;

use super::project::{Scene, apply_failure};
use crate::commands::{About, Call, Command, Operands, trust};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

#[derive(Default)]
pub(crate) struct Pull {
    ignore_buildable: bool,
    ignore_failures: bool,
    include_dependencies: bool,
    no_parallel: bool,
    parallel: bool,
    policy: String,
    quiet: bool,
}

impl Command for Pull {
    const ABOUT: About = About::new(
        &["compose pull"],
        "[OPTIONS] [SERVICE...]",
        "Pull service images",
        Operands::AtLeast(0),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("ignore-buildable", "", "Ignore images that can be built", &mut self.ignore_buildable);
        set.add("ignore-pull-failures", "", "Pull what it can and ignores images with pull failures", &mut self.ignore_failures);
        set.add("include-deps", "", "Also pull services declared as dependencies", &mut self.include_dependencies);
        set.hidden("no-parallel", "", &mut self.no_parallel);
        set.hidden("parallel", "", &mut self.parallel);
        set.add("policy", "string", "Apply pull policy (\"missing\"|\"always\")", &mut self.policy);
        set.add("q,quiet", "", "Pull without printing progress information", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        for flag in ["parallel", "no-parallel"] {
            if call.has(flag) {
                ui::note(&format!(
                    "option '--{flag}' is DEPRECATED and will be ignored."
                ));
            }
        }
        if !matches!(self.policy.as_str(), "" | "missing" | "always") {
            return Err(Error::new(format!(
                "--policy takes missing or always, not {}",
                self.policy
            )));
        }
        let mut scene = Scene::of_files(&call, &call.operands).await?;
        scene
            .project
            .select(&call.operands, self.include_dependencies);
        trust::tell_unchecked();
        let mut seen = BTreeSet::new();
        for service in scene.project.services.values() {
            if !self.is_wanted(&scene, service).await?
                || !seen.insert(service.image_name(&scene.project.name))
            {
                continue;
            }
            let result = scene
                .engine()
                .pull(service, self.quiet)
                .await
                .map_err(apply_failure);
            match result {
                Err(error) if self.ignore_failures => ui::warn(error.message()),
                other => other?,
            }
        }
        Ok(0)
    }
}

impl Pull {
    async fn is_wanted(&self, scene: &Scene, service: &Service) -> Result<bool> {
        let is_buildable = service.build.is_some();
        if (is_buildable && (self.ignore_buildable || service.image.is_empty()))
            || service.provider.is_some()
        {
            return Ok(false);
        }
        let missing_only = self.policy == "missing"
            || (self.policy.is_empty()
                && matches!(service.pull_policy.as_str(), "missing" | "never"));
        if !missing_only {
            return Ok(true);
        }
        Ok(scene.client.image(&service.image).await.is_err())
    }
}

#[derive(Default)]
pub(crate) struct Push {
    ignore_failures: bool,
    include_dependencies: bool,
    quiet: bool,
}

impl Command for Push {
    const ABOUT: About = About::new(
        &["compose push"],
        "[OPTIONS] [SERVICE...]",
        "Push service images",
        Operands::AtLeast(0),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("ignore-push-failures", "", "Push what it can and ignores images with push failures", &mut self.ignore_failures);
        set.add("include-deps", "", "Also push images of services declared as dependencies", &mut self.include_dependencies);
        set.add("q,quiet", "", "Push without printing progress information", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let mut scene = Scene::of_files(&call, &call.operands).await?;
        scene
            .project
            .select(&call.operands, self.include_dependencies);
        for service in scene
            .project
            .services
            .values()
            .filter(|service| service.build.is_some() && !service.image.is_empty())
        {
            let result = scene.engine().push(service).await.map_err(apply_failure);
            match result {
                Err(error) if self.ignore_failures => ui::warn(error.message()),
                other => other?,
            }
        }
        Ok(0)
    }
}
