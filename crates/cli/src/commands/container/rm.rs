//! `container rm`

use crate::commands::each::each;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Rm {
    force: bool,
    link: bool,
    volumes: bool,
}

impl Command for Rm {
    const ABOUT: About = About::new(
        &["container rm", "container remove", "rm"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Remove one or more containers",
        Operands::AtLeast(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,force", "", "Force the removal of a running container (uses SIGKILL)", &mut self.force);
        set.add("l,link", "", "Remove the specified link", &mut self.link);
        set.add("v,volumes", "", "Remove anonymous volumes associated with the container", &mut self.volumes);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let (force, volumes, link) = (self.force, self.volumes, self.link);
        each(&client, &call.operands, |client, name| async move {
            let path = name.trim_start_matches('/');
            if path.is_empty() {
                return Err(Error::new("container name cannot be empty"));
            }
            match client.container_remove(path, force, volumes, link).await {
                Ok(()) => Ok(name),
                // Forced, a container that is gone already is what was asked for.
                Err(error) if force && error.is_not_found() => {
                    crate::ui::note(failure(error).message());
                    Ok(String::new())
                }
                Err(error) => Err(failure(error)),
            }
        })
        .await
    }
}
