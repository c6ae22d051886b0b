//! `container cp`: files between a container and this machine, in either direction.

mod flow;
mod local;
mod plan;
mod records;
pub(in crate::commands) mod remote;

use hull_api::client::FilesOf;

use crate::commands::{About, Call, Command, Operands};
use crate::connection::connect;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::size;
use crate::ui;

#[derive(Default)]
pub(crate) struct Cp {
    archive: bool,
    follow_link: bool,
    quiet: bool,
}

impl Command for Cp {
    const ABOUT: About = About::new(
        &["container cp", "cp"],
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-",
        "Copy files/folders between a container and the local filesystem",
        Operands::Exactly(2),
    )
    .described("Copy files/folders between a container and the local filesystem\n\nUse '-' as the source to read a tar archive from stdin\nand extract it to a directory destination in a container.\nUse '-' as the destination to stream a tar archive of a\ncontainer source to stdout.")
    .second_usage("cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH");

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,archive", "", "Archive mode (copy all uid/gid information)", &mut self.archive);
        set.add("L,follow-link", "", "Always follow symbol link in SRC_PATH", &mut self.follow_link);
        set.add("q,quiet", "", "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let (source, target) = (Place::parse(call.operand(0)), Place::parse(call.operand(1)));
        let copied = match (&source, &target) {
            (Place::Container { .. }, Place::Container { .. }) => {
                return Err(Error::new("copying between containers is not supported"));
            }
            (Place::Local(_), Place::Local(_)) => {
                return Err(Error::new("must specify at least one container source"));
            }
            (Place::Container { name, path }, Place::Local(to)) => {
                let client = connect(&call.globals).await?;
                remote::fetch(
                    &client,
                    FilesOf::Container(name),
                    path,
                    to,
                    self.follow_link,
                    self.archive,
                )
                .await?
            }
            (Place::Local(from), Place::Container { name, path }) => {
                let client = connect(&call.globals).await?;
                remote::send(
                    &client,
                    from,
                    FilesOf::Container(name),
                    path,
                    self.follow_link,
                    self.archive,
                )
                .await?
            }
        };
        let shown = call.operand(1);
        if !self.quiet && ui::err_is_terminal() && shown != "-" {
            #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
            let amount = size::decimal(copied as f64);
            ui::note(&format!("Successfully copied {amount} to {shown}"));
        }
        Ok(0)
    }
}

/// One end of a copy.
#[derive(Debug, PartialEq)]
pub(in crate::commands) enum Place {
    Container {
        name: String,
        path: String,
    },
    /// A path here, or `-`.
    Local(String),
}

impl Place {
    /// A colon makes it a container's, unless what is before it is a path.
    pub(in crate::commands) fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some((name, path)) if !text.starts_with(['/', '.']) && !name.is_empty() => {
                Self::Container {
                    name: name.to_owned(),
                    path: path.to_owned(),
                }
            }
            _ => Self::Local(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_names_a_container() {
        let inside = |name: &str, path: &str| Place::Container {
            name: name.into(),
            path: path.into(),
        };
        assert_eq!(Place::parse("web:/x"), inside("web", "/x"));
        assert_eq!(Place::parse("./a:b"), Place::Local("./a:b".into()));
        assert_eq!(Place::parse("/a:b"), Place::Local("/a:b".into()));
        assert_eq!(Place::parse("-"), Place::Local("-".into()));
    }
}
