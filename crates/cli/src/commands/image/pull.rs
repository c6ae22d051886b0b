//! `image pull`, and the pull that precedes a `run`.

use hull_api::Client;
use hull_api::client::ImageCreateOptions;

use super::{default_platform, near, reference};
use crate::commands::{About, Call, Command, Operands, trust};
use crate::connection::{connect, failure};
use crate::context::Globals;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::settings::Settings;
use crate::ui;
use crate::ui::progress::{Shown, show};

#[derive(Default)]
pub(crate) struct Pull {
    all_tags: bool,
    content_trust: Option<bool>,
    platform: String,
    quiet: bool,
}

impl Command for Pull {
    const ABOUT: About = About::new(
        &["image pull", "pull"],
        "[OPTIONS] NAME[:TAG|@DIGEST]",
        "Download an image from a registry",
        Operands::Exactly(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,all-tags", "", "Download all tagged images in the repository", &mut self.all_tags);
        set.add("disable-content-trust", "", "Skip image verification (default true)", &mut self.content_trust);
        self.platform = default_platform();
        set.add("platform", "string", "Set platform if server is multi-platform capable", &mut self.platform);
        set.add("q,quiet", "", "Suppress verbose output", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let name = reference::parse(call.operand(0))?;
        let is_bare = name.tag().is_none() && name.digest().is_none();
        if self.all_tags && !is_bare {
            return Err(Error::new("tag can't be used with --all-tags/-a"));
        }
        let name = if self.all_tags {
            name
        } else {
            name.or_latest()
        };
        if is_bare && !self.all_tags && !self.quiet {
            ui::line("Using default tag: latest")?;
        }
        trust::check(self.content_trust, call.operand(0))?;
        let client = connect(&call.globals).await?;
        let shown = if self.quiet {
            Shown::Nowhere
        } else {
            Shown::Stdout
        };
        let pulled = pull(&call.globals, &client, &name, &self.platform, shown).await;
        if let Err(error) = pulled {
            return Err(near::beside(&client, call.operand(0), error).await);
        }
        ui::line(&name.to_string())?;
        Ok(0)
    }
}

/// Pulls the image of a container that is about to be made.
///
/// # Errors
/// What the daemon says.
pub(crate) async fn for_container(
    globals: &Globals,
    client: &Client,
    image: &str,
    platform: &str,
    quiet: bool,
) -> Result<()> {
    let name = reference::parse(image)?.or_latest();
    let shown = if quiet { Shown::Nowhere } else { Shown::Stderr };
    pull(globals, client, &name, platform, shown).await
}

/// The name with the tag that is meant when none is given.
pub(crate) fn with_tag(image: &str) -> String {
    reference::parse(image).map_or_else(|_| image.to_owned(), |name| name.or_latest().familiar())
}

async fn pull(
    globals: &Globals,
    client: &Client,
    name: &hull_oci::Reference,
    platform: &str,
    shown: Shown,
) -> Result<()> {
    let digest = name.digest().map(ToString::to_string);
    let options = ImageCreateOptions {
        from_image: name.repository(),
        tag: digest
            .or_else(|| name.tag().map(str::to_owned))
            .unwrap_or_default(),
        platform: platform.to_owned(),
        ..ImageCreateOptions::default()
    };
    let auth = Settings::read(&globals.config_directory).credentials(&reference::server(name));
    let stream = client
        .image_create(&options, auth.as_ref(), None)
        .await
        .map_err(failure)?;
    show(stream, shown, |_| {}).await
}
