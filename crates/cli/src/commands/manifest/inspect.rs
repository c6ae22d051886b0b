//! `manifest inspect`

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hull_api::types::{Descriptor, ManifestDocument};
use serde::Deserialize;
use serde_json::Value;

use crate::commands::image::reference;
use crate::commands::json::Shape;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::json::indent;
use crate::settings::Settings;
use crate::ui;

#[derive(Default)]
pub(crate) struct Inspect {
    insecure: bool,
    verbose: bool,
}

impl Command for Inspect {
    const ABOUT: About = About::new(
        &["manifest inspect"],
        "[OPTIONS] [MANIFEST_LIST] MANIFEST",
        "Display an image manifest, or manifest list",
        Operands::Between(1, 2),
    );

    const JSON: Option<Shape> = Some(Shape::Told(
        "The document as the registry has it, on one line; with --verbose an object for each image of a list.",
    ));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("insecure", "", "Allow communication with an insecure registry", &mut self.insecure);
        set.add("v,verbose", "", "Output additional info including layers and platform", &mut self.verbose);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        // With a list in front, its member is meant: an image as any other.
        let name = call.operands.last().map_or("", String::as_str);
        let settings = Settings::read(&call.globals.config_directory);
        let auth = reference::parse(name)
            .ok()
            .and_then(|name| settings.credentials(&reference::server(&name)));
        let fetched = client
            .manifest(name, None, self.insecure, auth.as_ref())
            .await;
        let answer = fetched.map_err(failure)?;
        let Some(list) = list_of(&answer) else {
            let text = if self.verbose {
                detailed(name, &answer.descriptor, &answer)?
            } else {
                answer.document.get().to_owned()
            };
            return shown(&text, (!call.json).then_some("\t"));
        };
        if !self.verbose {
            // Docker's client, too, indents lists in another way than manifests.
            return shown(answer.document.get(), (!call.json).then_some("   "));
        }
        let mut members = Vec::new();
        for member in &list.manifests {
            let fetched = client.manifest(name, Some(&member.digest), self.insecure, auth.as_ref());
            let own = fetched.await.map_err(failure)?;
            let reference = format!("{name}@{}", member.digest);
            members.push(detailed(&reference, member, &own)?);
        }
        shown(
            &format!("[{}]", members.join(",")),
            (!call.json).then_some("\t"),
        )
    }
}

#[derive(Deserialize)]
struct List {
    manifests: Vec<Descriptor>,
}

fn list_of(answer: &ManifestDocument) -> Option<List> {
    let media_type = answer.descriptor.media_type.as_str();
    let is_list = media_type.contains("image.index") || media_type.contains("manifest.list");
    let list = is_list.then(|| serde_json::from_str(answer.document.get()));
    list.and_then(std::result::Result::ok)
}

/// One manifest with all that is known of it, in Docker's words.
fn detailed(name: &str, descriptor: &Descriptor, answer: &ManifestDocument) -> Result<String> {
    let kind = if answer.descriptor.media_type.contains("docker") {
        "SchemaV2Manifest"
    } else {
        "OCIManifest"
    };
    let descriptor = serde_json::to_string(descriptor)
        .map_err(|error| Error::new(format!("cannot show it: {error}")))?;
    let document = answer.document.get();
    let (name, raw) = (Value::from(name), STANDARD.encode(document));
    Ok(format!(
        "{{\"Ref\":{name},\"Descriptor\":{descriptor},\"Raw\":\"{raw}\",\"{kind}\":{document}}}"
    ))
}

/// Prints a document, indented or on one line.
fn shown(text: &str, step: Option<&str>) -> Result<u8> {
    let text = match step {
        Some(step) => indent(text, step),
        None => compact(text)?,
    };
    ui::line(&text)?;
    Ok(0)
}

fn compact(text: &str) -> Result<String> {
    let document = crate::format::template::Value::from_json(text)
        .map_err(|error| Error::new(format!("the manifest is no JSON: {error}")))?;
    Ok(document.to_json())
}
