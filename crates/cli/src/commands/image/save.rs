//! `image save`

use hull_oci::Platform;

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

/// Platforms as the API takes them: a JSON object each. A value may name several.
///
/// # Errors
/// When one has no form of a platform.
pub(super) fn platforms(values: &[String]) -> Result<Vec<String>> {
    let texts = values.iter().flat_map(|value| value.split(','));
    texts.map(object).collect()
}

/// One platform in that form; what is empty stays so.
///
/// # Errors
/// When it has no form of a platform.
pub(super) fn platform(text: &str) -> Result<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    object(text)
}

fn object(text: &str) -> Result<String> {
    let invalid = |error: &dyn std::fmt::Display| Error::new(format!("invalid platform: {error}"));
    let platform: Platform = text.trim().parse().map_err(|error| invalid(&error))?;
    serde_json::to_string(&platform).map_err(|error| invalid(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_travels_as_an_object_however_much_of_it_is_said() {
        let own = Platform::host().architecture;
        for (text, expected) in [
            ("", String::new()),
            (
                "linux",
                format!(r#"{{"architecture":"{own}","os":"linux"}}"#),
            ),
            (
                "s390x",
                r#"{"architecture":"s390x","os":"linux"}"#.to_owned(),
            ),
            (
                "linux/aarch64",
                r#"{"architecture":"arm64","os":"linux"}"#.to_owned(),
            ),
            (
                "linux/arm/v6",
                r#"{"architecture":"arm","os":"linux","variant":"v6"}"#.to_owned(),
            ),
        ] {
            assert_eq!(platform(text).unwrap(), expected, "{text}");
        }
        let two = platforms(&["linux/amd64, linux/s390x".to_owned()]).unwrap();
        assert_eq!(two.len(), 2);
        // One only: the objects of several would be no document.
        for text in ["nosuch", "linux/amd64,linux/s390x", "linux/", "a/b/c/d"] {
            assert!(platform(text).is_err(), "{text}");
        }
    }
}
