//! `image build`

mod context;
mod flags;
mod messages;
mod output;
mod show;

use hull_api::query::Query;
use hull_api::types::BuildExtras;

use self::context::Context;
use self::flags::{Flags, Progress};
use self::messages::Outcome;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

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
        let flags = self.flags;
        flags.check()?;
        let output = output::Output::parse(&flags.outputs)?;
        let context = Context::open(call.operand(0), &flags.file)?;
        let client = connect(&call.globals).await?;
        let mut extras = flags.extras()?;
        extras.output = output.kind().to_owned();
        let mut query = flags.query(context.dockerfile_name())?;
        if let Some(url) = context.remote() {
            query.add("remote", url);
        }
        context.send(&client, &mut extras).await?;
        for (name, value) in &flags.build_contexts.0 {
            context::send_named(&client, name, value, &mut extras).await?;
        }
        let outcome = build(&client, query, &extras, &flags, &output).await?;
        if !extras.call.is_empty() {
            return output::tell(&extras.call, &outcome);
        }
        output.finish(outcome.archive)?;
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

async fn build(
    client: &hull_api::Client,
    query: Query,
    extras: &BuildExtras,
    flags: &Flags,
    output: &output::Output,
) -> Result<Outcome> {
    let stream = client.build(query, extras).await.map_err(failure)?;
    let progress = if flags.quiet || !extras.call.is_empty() {
        Progress::Quiet
    } else {
        flags.progress
    };
    messages::follow(stream, show::view(progress), output).await
}
