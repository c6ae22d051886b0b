//! `image build`

mod cache;
mod classic;
mod context;
mod files;
mod flags;
mod messages;
mod output;
mod repository;
mod show;
mod ssh;

use hull_api::query::Query;
use hull_api::types::BuildExtras;

use self::context::Context;
use self::flags::{Flags, Progress};
use self::messages::Outcome;
use self::output::Output;
use super::{push, reference};
use crate::commands::{About, Call, Command, Operands, trust};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::settings::Settings;
use crate::ui;
use crate::ui::progress::Shown;

#[derive(Default)]
pub(crate) struct Build {
    flags: Flags,
}

impl Command for Build {
    const ABOUT: About = About::new(
        &["image build", "build", "builder build"],
        "[OPTIONS] PATH | URL | -",
        "Build an image from a Dockerfile",
        Operands::Exactly(1),
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        self.flags.bind(set);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let is_classic = classic::is_wanted(&call)?;
        let flags = self.flags;
        flags.check(&call.globals)?;
        let asked = flags.call()?;
        trust::check_build(flags.disable_content_trust)?;
        let outputs = output::parse(&flags.outputs, flags.push, flags.load)?;
        let agents = ssh::parse(&flags.ssh)?;
        let imports = cache::Imports::parse(&flags.cache_from)?;
        let exports = cache::Exports::parse(&flags.cache_to)?;
        let pushed = pushed(&flags, &outputs)?;
        let context = Context::open(call.operand(0), &flags.file, flags.keeps_git())?;
        let client = connect(&call.globals).await?;
        let mut extras = flags.extras()?;
        extras.outputs = outputs.iter().map(Output::wanted).collect();
        let settings = Settings::read(&call.globals.config_directory);
        extras.auths = settings.all_credentials();
        let _offers = ssh::offer(&client, agents, &mut extras);
        let mut query = flags.query(context.dockerfile_name())?;
        query.add_flag("classic", is_classic);
        if let Some(url) = context.remote() {
            query.add("remote", url);
        }
        extras.cache_to.clone_from(&exports.caches);
        context.send(&client, &mut extras).await?;
        context::send_caches(&client, imports, &mut extras).await?;
        for (name, value) in &flags.build_contexts.0 {
            context::send_named(&client, name, value, &mut extras).await?;
        }
        let to = messages::Destinations {
            outputs: &outputs,
            cache: &exports,
            is_classic,
        };
        let outcome = build(&client, query, &extras, &flags, &to).await?;
        if !extras.call.is_empty() {
            return output::tell(&asked, &outcome);
        }
        for writing in outcome.archives.into_values() {
            output::finish(writing)?;
        }
        if let Some(Some(writing)) = outcome.cache {
            exports.finish(writing)?;
        }
        push_all(&client, &settings, &pushed, flags.quiet).await?;
        if !flags.iidfile.is_empty() {
            std::fs::write(&flags.iidfile, &outcome.id)
                .map_err(|error| Error::io("write", &flags.iidfile, &error))?;
        }
        if !flags.metadata_file.is_empty() {
            let text = serde_json::json!({ "containerimage.digest": outcome.id });
            std::fs::write(&flags.metadata_file, format!("{text:#}"))
                .map_err(|error| Error::io("write", &flags.metadata_file, &error))?;
        }
        if flags.quiet && !outcome.id.is_empty() {
            ui::line(&outcome.id)?;
        }
        Ok(0)
    }
}

/// All names that are pushed.
fn pushed(flags: &Flags, outputs: &[Output]) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for output in outputs.iter().filter(|output| output.is_pushed()) {
        let own: Vec<&String> = flags.tags.iter().chain(&output.names).collect();
        if own.is_empty() {
            return Err(Error::new(
                "tag is needed when pushing to registry: give one with --tag",
            ));
        }
        for name in own {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    Ok(names)
}

async fn push_all(
    client: &hull_api::Client,
    settings: &Settings,
    names: &[String],
    quiet: bool,
) -> Result<()> {
    let shown = if quiet { Shown::Nowhere } else { Shown::Stderr };
    for name in names {
        let name = reference::parse(name)?.or_latest();
        push::push(client, settings, &name, "", shown).await?;
    }
    Ok(())
}

async fn build(
    client: &hull_api::Client,
    query: Query,
    extras: &BuildExtras,
    flags: &Flags,
    to: &messages::Destinations<'_>,
) -> Result<Outcome> {
    let stream = client.build(query, extras).await.map_err(failure)?;
    let progress = if flags.quiet || to.is_classic || !extras.call.is_empty() {
        Progress::Quiet
    } else {
        flags.progress
    };
    messages::follow(stream, show::view(progress), to, flags.quiet).await
}
