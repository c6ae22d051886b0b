//! `image save`

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui::download;

#[derive(Default)]
pub(crate) struct Save {
    output: String,
    platforms: Vec<String>,
}

impl Command for Save {
    const ABOUT: About = About::new(
        &["image save", "save"],
        "[OPTIONS] IMAGE [IMAGE...]",
        "Save one or more images to a tar archive (streamed to STDOUT by default)",
        Operands::AtLeast(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("o,output", "string", "Write to a file, instead of STDOUT", &mut self.output);
        set.add("platform", "string", "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", &mut self.platforms);
    }

    async fn run(self, call: Call) -> Result<u8> {
        download::check(&self.output, "failed to save image")?;
        let platforms = platforms(&self.platforms)?;
        let client = connect(&call.globals).await?;
        let stream = client
            .images_save(&call.operands, &platforms)
            .await
            .map_err(failure)?;
        download::save(stream, &self.output).await?;
        Ok(0)
    }
}

/// Platforms as the API takes them: a JSON object each.
///
/// # Errors
/// When one has no form of a platform.
pub(super) fn platforms(values: &[String]) -> Result<Vec<String>> {
    let mut platforms = Vec::new();
    for text in values.iter().flat_map(|value| value.split(',')) {
        let parts: Vec<&str> = text.trim().split('/').collect();
        let object = match parts[..] {
            [os, architecture] if !os.is_empty() => {
                serde_json::json!({"os": os, "architecture": architecture})
            }
            [os, architecture, variant] if !os.is_empty() => {
                serde_json::json!({"os": os, "architecture": architecture, "variant": variant})
            }
            _ => {
                return Err(Error::new(format!(
                    "invalid platform: {text:?}: unknown operating system or architecture: invalid argument"
                )));
            }
        };
        platforms.push(object.to_string());
    }
    Ok(platforms)
}
