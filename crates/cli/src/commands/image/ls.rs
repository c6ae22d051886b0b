//! `image ls`

use hull_api::client::ImageListOptions;
use hull_api::types::ImageSummary;
use serde_json::Value as Json;

use super::reference;
use super::tree::tree;
use crate::commands::container::ls::FORMAT;
use crate::commands::filters::{Conditions, filters};
use crate::commands::json::{self, Field, Kind, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::output::{Listing, row, short_id};
use crate::format::template::Value;
use crate::format::{size, time};
use crate::settings::Settings;
use crate::terminal;
use crate::ui;

const TABLE: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
const TABLE_WITH_DIGEST: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
const NONE: &str = "<none>";

const HEADINGS: [(&str, &str); 11] = [
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

/// What programs read of an image's name in a list.
pub(crate) static FIELDS: [Field; 9] = [
    Field("ID", Kind::Text, "its digest"),
    Field("Repository", Kind::Text, "null if it has no name"),
    Field("Tag", Kind::Text, "null if it has none"),
    Field(
        "Digest",
        Kind::Text,
        "under which a registry has it, if that is known",
    ),
    Field("CreatedAt", Kind::Time, "when it was built"),
    Field("SizeBytes", Kind::Bytes, "all its layers"),
    Field(
        "SharedSizeBytes",
        Kind::Bytes,
        "what others have, too, if the daemon counted",
    ),
    Field(
        "Containers",
        Kind::Number,
        "how many use it, if the daemon counted",
    ),
    Field("Labels", Kind::Map, ""),
];

#[derive(Default)]
pub(crate) struct Ls {
    all: bool,
    digests: bool,
    conditions: Conditions,
    format: String,
    no_trunc: bool,
    quiet: bool,
    tree: bool,
}

impl Command for Ls {
    const ABOUT: About = About::new(
        &["image ls", "image list", "images"],
        "[OPTIONS] [REPOSITORY[:TAG]]",
        "List images",
        Operands::AtMost(1),
    );

    const JSON: Option<Shape> = Some(Shape::Array(&FIELDS));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,all", "", "Show all images (default hides intermediate images)", &mut self.all);
        set.add("digests", "", "Show digests", &mut self.digests);
        set.add("f,filter", "filter", "Filter output based on conditions provided", &mut self.conditions);
        set.add("format", "string", FORMAT, &mut self.format);
        set.add("no-trunc", "", "Don't truncate output", &mut self.no_trunc);
        set.add("q,quiet", "", "Only show image IDs", &mut self.quiet);
        set.add("tree", "", "List multi-platform images as a tree (EXPERIMENTAL)", &mut self.tree);
    }

    async fn run(mut self, call: Call) -> Result<u8> {
        if self.tree && (!self.format.is_empty() || self.quiet || self.digests) {
            return Err(Error::new(
                "--tree shows a fixed view: it cannot be combined with --format, --quiet or --digests",
            ));
        }
        if self.format.is_empty() && !self.quiet && !call.json {
            self.format = Settings::read(&call.globals.config_directory).images_format;
        }
        let listing = Listing {
            format: if self.quiet { "{{.ID}}" } else { &self.format },
            table: if self.digests {
                TABLE_WITH_DIGEST
            } else {
                TABLE
            },
            headings: &HEADINGS,
        };
        listing.render(&[])?;
        let mut wanted = filters(&self.conditions);
        if let Some(name) = call.operands.first() {
            wanted.add("reference", name);
        }
        let options = ImageListOptions {
            all: self.all,
            manifests: self.tree,
            filters: wanted,
            ..ImageListOptions::default()
        };
        let client = connect(&call.globals).await?;
        let images = client.images(&options).await.map_err(failure)?;
        if self.tree {
            let columns = terminal::size().map(|(_, columns)| usize::from(columns));
            ui::out(&tree(
                &images,
                self.no_trunc,
                columns.filter(|_| !self.no_trunc),
            ))?;
            return Ok(0);
        }
        if call.json {
            return json::array(images.iter().flat_map(records));
        }
        let with_digest = self.digests || self.format.contains(".Digest");
        let rows: Vec<Value> = images
            .iter()
            .flat_map(|image| {
                names(image, with_digest)
                    .into_iter()
                    .map(|name| image_row(image, &name, self.no_trunc))
                    .collect::<Vec<_>>()
            })
            .collect();
        ui::out(&listing.shown(&rows, self.no_trunc)?)?;
        Ok(0)
    }
}

/// One name of an image.
pub(crate) struct Name {
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) digest: String,
}

impl Name {
    fn none() -> Self {
        Self {
            repository: NONE.into(),
            tag: NONE.into(),
            digest: NONE.into(),
        }
    }
}

/// A row for each tag, and with digests for each pair; a repository without a tag has one too.
pub(crate) fn names(image: &ImageSummary, with_digest: bool) -> Vec<Name> {
    let parse = |text: &String| reference::parse(text).ok();
    let tags: Vec<_> = image.repo_tags.iter().filter_map(parse).collect();
    let digests: Vec<_> = image.repo_digests.iter().filter_map(parse).collect();
    let mut names = Vec::new();
    for tag in &tags {
        let name = |digest: String| Name {
            repository: tag.familiar_repository(),
            tag: tag.tag().unwrap_or(NONE).to_owned(),
            digest,
        };
        let same = digests
            .iter()
            .filter(|digest| digest.repository() == tag.repository());
        let known: Vec<String> = same
            .filter_map(|name| name.digest())
            .map(ToString::to_string)
            .collect();
        match with_digest && !known.is_empty() {
            true => names.extend(known.into_iter().map(name)),
            false => names.push(name(NONE.to_owned())),
        }
    }
    for digest in &digests {
        if !tags
            .iter()
            .any(|tag| tag.repository() == digest.repository())
        {
            names.push(Name {
                repository: digest.familiar_repository(),
                tag: NONE.to_owned(),
                digest: digest
                    .digest()
                    .map_or_else(|| NONE.to_owned(), ToString::to_string),
            });
        }
    }
    if names.is_empty() {
        vec![Name::none()]
    } else {
        names
    }
}

/// An image in a list, for programs: an object for each of its names.
pub(crate) fn records(image: &ImageSummary) -> Vec<Json> {
    let told = |text: &str| json::known(if text == NONE { "" } else { text });
    let record = |name: Name| {
        json::row(
            &FIELDS,
            [
                image.id.as_str().into(),
                told(&name.repository),
                told(&name.tag),
                told(&name.digest),
                json::seconds(image.created),
                json::bytes(image.size),
                json::bytes(image.shared_size),
                json::bytes(image.containers),
                json::map(image.labels.as_ref()),
            ],
        )
    };
    names(image, true).into_iter().map(record).collect()
}

/// The row of one name.
pub(crate) fn image_row(image: &ImageSummary, name: &Name, no_trunc: bool) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let human = |bytes: i64| size::decimal(bytes as f64);
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let exact = |bytes: i64| size::decimal_long(bytes as f64);
    let known = |bytes: i64| {
        if bytes < 0 {
            "N/A".to_owned()
        } else {
            exact(bytes)
        }
    };
    let unique = if image.shared_size < 0 {
        -1
    } else {
        image.size - image.shared_size
    };
    let count = |count: i64| {
        if count < 0 {
            "N/A".to_owned()
        } else {
            count.to_string()
        }
    };
    let fields = vec![
        (
            "ID",
            if no_trunc {
                image.id.clone()
            } else {
                short_id(&image.id).to_owned()
            },
        ),
        ("Repository", name.repository.clone()),
        ("Tag", name.tag.clone()),
        ("Digest", name.digest.clone()),
        ("CreatedSince", time::ago(image.created)),
        ("CreatedAt", time::local(image.created)),
        ("Size", human(image.size)),
        ("Containers", count(image.containers)),
        ("VirtualSize", exact(image.size)),
        ("SharedSize", known(image.shared_size)),
        ("UniqueSize", known(unique)),
    ];
    row("*formatter.imageContext", fields, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(tags: &[&str], digests: &[&str], with_digest: bool) -> Vec<String> {
        let own = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        let image = ImageSummary {
            repo_tags: own(tags),
            repo_digests: own(digests),
            ..ImageSummary::default()
        };
        let names = names(&image, with_digest);
        names
            .iter()
            .map(|n| format!("{} {} {}", n.repository, n.tag, n.digest))
            .collect()
    }

    #[test]
    fn every_name_has_its_row() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let full = format!("busybox@{digest}");
        assert_eq!(
            listed(&["busybox:1", "localhost:5000/x:2"], &[&full], false),
            ["busybox 1 <none>", "localhost:5000/x 2 <none>"]
        );
        assert_eq!(
            listed(&["busybox:1"], &[&full], true),
            [format!("busybox 1 {digest}")]
        );
        assert_eq!(
            listed(&[], &[&full], false),
            [format!("busybox <none> {digest}")]
        );
        assert_eq!(listed(&[], &[], false), ["<none> <none> <none>"]);
    }
}
