//! `manifest push`

use crate::commands::image::reference;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::settings::Settings;
use crate::ui;
use crate::ui::progress::{Shown, show};

#[derive(Default)]
pub(crate) struct Push {
    insecure: bool,
    purge: bool,
}

impl Command for Push {
    const ABOUT: About = About::new(
        &["manifest push"],
        "[OPTIONS] MANIFEST_LIST",
        "Push a manifest list to a repository",
        Operands::Exactly(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("insecure", "", "Allow push to an insecure registry", &mut self.insecure);
        set.add("p,purge", "", "Remove the local manifest list after push", &mut self.purge);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let name = reference::parse(call.operand(0))?.or_latest();
        let settings = Settings::read(&call.globals.config_directory);
        let auth = settings.credentials(&reference::server(&name));
        let client = connect(&call.globals).await?;
        let list = name.familiar();
        let pushed = client.manifest_push(&list, self.insecure, auth.as_ref());
        let stream = pushed.await.map_err(failure)?;
        let mut digest = None;
        show(stream, Shown::Stderr, |result| {
            let own = result.get("Digest").and_then(serde_json::Value::as_str);
            digest = own.map(str::to_owned).or(digest.take());
        })
        .await?;
        // As Docker's: the digest alone is what a script reads.
        if let Some(digest) = digest {
            ui::line(&digest)?;
        }
        if self.purge {
            client.manifest_remove(&list).await.map_err(failure)?;
        }
        Ok(0)
    }
}
