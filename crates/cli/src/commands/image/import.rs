//! `image import`

use hull_api::client::{ImageCreateOptions, from_reader};

use super::reference;
use crate::commands::container::cp::remote::standard_input;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::ui::progress::{Shown, show};
use crate::upload;

#[derive(Default)]
pub(crate) struct Import {
    changes: Vec<String>,
    message: String,
    platform: String,
}

impl Command for Import {
    const ABOUT: About = About::new(
        &["image import", "import"],
        "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        "Import the contents from a tarball to create a filesystem image",
        Operands::AtLeast(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("c,change", "list", "Apply Dockerfile instruction to the created image", &mut self.changes);
        set.add("m,message", "string", "Set commit message for imported image", &mut self.message);
        set.add("platform", "string", "Set platform if server is multi-platform capable", &mut self.platform);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let source = call.operand(0);
        let (from_source, body) = match source {
            "-" => ("-".to_owned(), Some(standard_input()?)),
            url if url.starts_with("http://") || url.starts_with("https://") => {
                (url.to_owned(), None)
            }
            path => ("-".to_owned(), Some(from_reader(upload::file(path)?))),
        };
        let (repo, tag) = match call.operand(1) {
            "" => (String::new(), String::new()),
            name => {
                let name = reference::parse(name)?;
                (
                    name.repository(),
                    name.or_latest().tag().unwrap_or_default().to_owned(),
                )
            }
        };
        let options = ImageCreateOptions {
            from_source,
            repo,
            tag,
            message: self.message,
            changes: self.changes,
            platform: self.platform,
            ..ImageCreateOptions::default()
        };
        let client = connect(&call.globals).await?;
        let stream = client
            .image_create(&options, None, body)
            .await
            .map_err(failure)?;
        show(stream, Shown::Stdout, |_| {}).await?;
        Ok(0)
    }
}
