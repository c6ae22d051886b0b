//! `image rm`

use super::near;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::connect;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

#[derive(Default)]
pub(crate) struct Rm {
    force: bool,
    no_prune: bool,
    platforms: Vec<String>,
}

impl Command for Rm {
    const ABOUT: About = About::new(
        &["image rm", "image remove", "rmi"],
        "[OPTIONS] IMAGE [IMAGE...]",
        "Remove one or more images",
        Operands::AtLeast(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,force", "", "Force removal of the image", &mut self.force);
        set.add("no-prune", "", "Do not delete untagged parents", &mut self.no_prune);
        set.add("platform", "strings", "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", &mut self.platforms);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let platforms = super::save::platforms(&self.platforms)?;
        let (mut failures, mut hints) = (Vec::new(), Vec::new());
        let mut is_fatal = false;
        for name in &call.operands {
            match client
                .image_remove(name, self.force, self.no_prune, &platforms)
                .await
            {
                Ok(removed) => {
                    for item in removed {
                        if item.deleted.is_empty() {
                            ui::line(&format!("Untagged: {}", item.untagged))?;
                        } else {
                            ui::line(&format!("Deleted: {}", item.deleted))?;
                        }
                    }
                }
                Err(error) => {
                    is_fatal |= !error.is_not_found();
                    let error = near::failed(&client, name, error).await;
                    failures.push(error.message().to_owned());
                    hints.extend(error.hint().map(str::to_owned));
                }
            }
        }
        if failures.is_empty() {
            return Ok(0);
        }
        let text = failures.join("\n");
        // Forced, what is gone already is what was asked for.
        if self.force && !is_fatal {
            ui::note(&text);
            return Ok(0);
        }
        Err(Error::new(text).with_hints(&hints))
    }
}
