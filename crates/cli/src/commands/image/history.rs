//! `image history`

use hull_api::types::ImageHistoryItem;
use serde_json::Value as Json;

use super::near;
use crate::commands::container::ls::FORMAT;
use crate::commands::json::{self, Field, Kind, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::connect;
use crate::error::Result;
use crate::flags::FlagSet;
use crate::format::output::{Listing, row, short_id, shortened};
use crate::format::template::Value;
use crate::format::{size, time};
use crate::ui;

const TABLE: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const EXACT_TABLE: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const HEADINGS: [(&str, &str); 6] = [
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];
/// Characters of a step and of a comment at most.
const STEP_LENGTH: usize = 45;

static FIELDS: [Field; 6] = [
    Field("ID", Kind::Text, "the image after this step, if it is one"),
    Field("CreatedAt", Kind::Time, ""),
    Field("CreatedBy", Kind::Text, "the step, whole"),
    Field("SizeBytes", Kind::Bytes, "what the step added"),
    Field("Comment", Kind::Text, ""),
    Field("Tags", Kind::Texts, "names of that image"),
];

#[derive(Default)]
pub(crate) struct History {
    format: String,
    human: Option<bool>,
    no_trunc: bool,
    platform: String,
    quiet: bool,
}

impl Command for History {
    const ABOUT: About = About::new(
        &["image history", "history"],
        "[OPTIONS] IMAGE",
        "Show the history of an image",
        Operands::Exactly(1),
    );

    const JSON: Option<Shape> = Some(Shape::Array(&FIELDS));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("format", "string", FORMAT, &mut self.format);
        set.add("H,human", "", "Print sizes and dates in human readable format (default true)", &mut self.human);
        set.add("no-trunc", "", "Don't truncate output", &mut self.no_trunc);
        set.add("platform", "string", "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", &mut self.platform);
        set.add("q,quiet", "", "Only show image IDs", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let human = self.human != Some(false);
        let listing = Listing {
            format: if self.quiet { "{{.ID}}" } else { &self.format },
            table: if human { TABLE } else { EXACT_TABLE },
            headings: &HEADINGS,
        };
        listing.render(&[])?;
        let platform = super::save::platform(&self.platform)?;
        let client = connect(&call.globals).await?;
        let name = call.operand(0);
        let items = match client.image_history(name, &platform).await {
            Ok(items) => items,
            Err(error) => return Err(near::failed(&client, name, error).await),
        };
        if call.json {
            return json::array(items.iter().map(record));
        }
        let rows: Vec<Value> = items.iter().map(|item| self.row(item, human)).collect();
        ui::out(&listing.shown(&rows, self.no_trunc)?)?;
        Ok(0)
    }
}

/// A step, for programs.
fn record(item: &ImageHistoryItem) -> Json {
    let id = if item.id == "<missing>" { "" } else { &item.id };
    let tags = item.tags.iter().flatten();
    json::row(
        &FIELDS,
        [
            json::known(id),
            json::seconds(item.created),
            item.created_by.as_str().into(),
            json::bytes(item.size),
            item.comment.as_str().into(),
            tags.map(|tag| Json::from(tag.as_str())).collect(),
        ],
    )
}

impl History {
    fn row(&self, item: &ImageHistoryItem, human: bool) -> Value {
        let id = if self.no_trunc || item.id == "<missing>" {
            &item.id
        } else {
            short_id(&item.id)
        };
        let step = item.created_by.replace('\t', " ");
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let size = if human {
            size::decimal(item.size as f64)
        } else {
            item.size.to_string()
        };
        let fields = vec![
            ("ID", id.to_owned()),
            ("CreatedSince", time::ago(item.created)),
            ("CreatedAt", time::local_rfc3339(item.created)),
            (
                "CreatedBy",
                if self.no_trunc {
                    step
                } else {
                    shortened(&step, STEP_LENGTH)
                },
            ),
            ("Size", size),
            ("Comment", item.comment.clone()),
        ];
        row("*image.historyContext", fields, Vec::new())
    }
}
