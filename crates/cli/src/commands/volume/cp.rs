//! `volume cp`: files between a volume and this machine, in either direction.

use hull_api::client::FilesOf;

use crate::commands::container::cp::{Place, remote};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::connect;
use crate::error::{Error, Result};
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Cp {
    archive: bool,
    follow_link: bool,
}

impl Command for Cp {
    const ABOUT: About = About::new(
        &["volume cp"],
        "[OPTIONS] VOLUME:SRC_PATH DEST_PATH|-",
        "Copy files/folders between a volume and the local filesystem",
        Operands::Exactly(2),
    )
    .second_usage("volume cp [OPTIONS] SRC_PATH|- VOLUME:DEST_PATH");

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,archive", "", "Archive mode (copy all uid/gid information)", &mut self.archive);
        set.add("L,follow-link", "", "Always follow symbol link in SRC_PATH", &mut self.follow_link);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let (source, target) = (Place::parse(call.operand(0)), Place::parse(call.operand(1)));
        let (links, archive) = (self.follow_link, self.archive);
        match (&source, &target) {
            (Place::Container { name, path }, Place::Local(to)) => {
                let client = connect(&call.globals).await?;
                remote::fetch(&client, FilesOf::Volume(name), path, to, links, archive).await?;
            }
            (Place::Local(from), Place::Container { name, path }) => {
                let client = connect(&call.globals).await?;
                remote::send(&client, from, FilesOf::Volume(name), path, links, archive).await?;
            }
            _ => {
                return Err(Error::new(
                    "one of the two must be VOLUME:PATH, the other a path of this machine",
                ));
            }
        }
        Ok(0)
    }
}
