//! `manifest inspect`

use serde::Serialize as _;
use serde_json::{Value, json, ser::PrettyFormatter};

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
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

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("insecure", "", "Allow communication with an insecure registry", &mut self.insecure);
        set.add("v,verbose", "", "Output additional info including layers and platform", &mut self.verbose);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        // With a list in front, its member is meant: an image as any other.
        let name = call.operands.last().map_or("", String::as_str);
        let answer = client.manifest(name).await.map_err(failure)?;
        let document: Value = parse(answer.document.get())?;
        let shown = if self.verbose {
            json!({"Ref": name, "Descriptor": answer.descriptor, "Manifest": document})
        } else {
            document
        };
        ui::line(&indented(&shown)?)?;
        Ok(0)
    }
}

fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Error::new(format!("cannot read it: {error}")))
}

/// As Docker's client shows manifests: with tabs.
fn indented(value: &Value) -> Result<String> {
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    let written = value.serialize(&mut serializer);
    written.map_err(|error| Error::new(format!("cannot show it: {error}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
