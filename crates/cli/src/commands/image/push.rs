//! `image push`

use hull_api::Client;
use hull_oci::Reference;

use super::{near, reference};
use crate::commands::{About, Call, Command, Operands, trust};
use crate::connection::connect;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::settings::Settings;
use crate::ui;
use crate::ui::progress::{Shown, show};

/// How the daemon says in the middle of its stream that there is no such image.
const ABSENT: &str = "does not exist locally";

#[derive(Default)]
pub(crate) struct Push {
    all_tags: bool,
    content_trust: Option<bool>,
    platform: String,
    quiet: bool,
}

impl Command for Push {
    const ABOUT: About = About::new(
        &["image push", "push"],
        "[OPTIONS] NAME[:TAG]",
        "Upload an image to a registry",
        Operands::Exactly(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,all-tags", "", "Push all tags of an image to the repository", &mut self.all_tags);
        set.add("disable-content-trust", "", "Skip image signing (default true)", &mut self.content_trust);
        set.add("platform", "string", "Push a platform-specific manifest as a single-platform image to the registry.\nImage index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)", &mut self.platform);
        set.add("q,quiet", "", "Suppress verbose output", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let name = reference::parse(call.operand(0))?;
        if name.digest().is_some() {
            return Err(Error::new("cannot push a digest reference"));
        }
        if self.all_tags && name.tag().is_some() {
            return Err(Error::new("tag can't be used with --all-tags/-a"));
        }
        let platform = super::save::platform(&self.platform)?;
        if name.tag().is_none() && !self.all_tags && !self.quiet {
            ui::line("Using default tag: latest")?;
        }
        trust::check(self.content_trust, call.operand(0))?;
        let client = connect(&call.globals).await?;
        let name = if self.all_tags {
            name
        } else {
            name.or_latest()
        };
        let settings = Settings::read(&call.globals.config_directory);
        let shown = if self.quiet {
            Shown::Nowhere
        } else {
            Shown::Stdout
        };
        push(&client, &settings, &name, &platform, shown).await?;
        if self.quiet {
            ui::line(&name.to_string())?;
        }
        Ok(0)
    }
}

/// Has an image (without a tag: all of the repository) carried to its registry. `platform` is in the API's form.
pub(super) async fn push(
    client: &Client,
    settings: &Settings,
    name: &Reference,
    platform: &str,
    shown: Shown,
) -> Result<()> {
    let auth = settings.credentials(&reference::server(name));
    let (repository, asked) = (name.repository(), name.to_string());
    let tag = name.tag().unwrap_or_default();
    let stream = client.image_push(&repository, tag, platform, auth.as_ref());
    let stream = match stream.await {
        Ok(stream) => stream,
        Err(error) => return Err(near::failed(client, &asked, error).await),
    };
    match show(stream, shown, |_| {}).await {
        Err(error) if error.message().contains(ABSENT) => {
            Err(near::beside(client, &asked, error).await)
        }
        shown => shown,
    }
}
