//! `container commit`

use hull_api::client::CommitOptions;

use crate::commands::image::reference;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

#[derive(Default)]
pub(crate) struct Commit {
    author: String,
    changes: Vec<String>,
    message: String,
    pause: Option<bool>,
    no_pause: bool,
}

impl Command for Commit {
    const ABOUT: About = About::new(
        &["container commit", "commit"],
        "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        "Create a new image from a container's changes",
        Operands::Between(1, 2),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,author", "string", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")", &mut self.author);
        set.add("c,change", "list", "Apply Dockerfile instruction to the created image", &mut self.changes);
        set.add("m,message", "string", "Commit message", &mut self.message);
        set.add("p,pause", "", "Pause container during commit (default true)", &mut self.pause);
        set.hidden("no-pause", "", &mut self.no_pause);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let (repo, tag) = match call.operand(1) {
            "" => (String::new(), String::new()),
            text => {
                let name = reference::parse(text)?;
                if name.digest().is_some() {
                    return Err(Error::new("repository name must not have a digest"));
                }
                (
                    name.repository(),
                    name.or_latest().tag().unwrap_or_default().to_owned(),
                )
            }
        };
        let options = CommitOptions {
            container: call.operand(0).to_owned(),
            repo,
            tag,
            comment: self.message,
            author: self.author,
            changes: self.changes,
            no_pause: self.no_pause || self.pause == Some(false),
        };
        let client = connect(&call.globals).await?;
        let made = client
            .container_commit(&options, None)
            .await
            .map_err(failure)?;
        ui::line(&made.id)?;
        Ok(0)
    }
}
