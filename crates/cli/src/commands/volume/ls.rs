//! `volume ls`

use hull_api::types::Volume;
use serde_json::Value as Json;

use crate::commands::container::ls::FORMAT;
use crate::commands::filters::{Conditions, filters};
use crate::commands::json::{self, Field, Kind, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::output::{Listing, joined, row};
use crate::format::size;
use crate::format::template::Value;
use crate::settings::Settings;
use crate::ui;

const TABLE: &str = "{{.Driver}}\t{{.Name}}";
const HEADINGS: [(&str, &str); 10] = [
    ("Name", "VOLUME NAME"),
    ("Driver", "DRIVER"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Scope", "SCOPE"),
    ("Size", "SIZE"),
    ("Availability", "AVAILABILITY"),
    ("Group", "GROUP"),
    ("Status", "STATUS"),
];

/// What programs read of a volume in a list.
pub(crate) static FIELDS: [Field; 9] = [
    Field("Name", Kind::Text, ""),
    Field("Driver", Kind::Text, ""),
    Field(
        "Mountpoint",
        Kind::Text,
        "where its data are on the daemon's host",
    ),
    Field("Scope", Kind::Text, "local or global"),
    Field("Labels", Kind::Map, ""),
    Field("Options", Kind::Map, "of its driver"),
    Field("CreatedAt", Kind::Time, ""),
    Field(
        "Links",
        Kind::Number,
        "containers that use it; only in `system df -v`",
    ),
    Field("SizeBytes", Kind::Bytes, "only in `system df -v`"),
];

#[derive(Default)]
pub(crate) struct Ls {
    cluster: bool,
    conditions: Conditions,
    format: String,
    quiet: bool,
}

impl Command for Ls {
    const ABOUT: About = About::new(
        &["volume ls", "volume list"],
        "[OPTIONS]",
        "List volumes",
        Operands::None,
    );

    const JSON: Option<Shape> = Some(Shape::Array(&FIELDS));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("cluster", "", "Display only cluster volumes, and use cluster volume list formatting", &mut self.cluster);
        set.hide(&["cluster"]);
        set.add("f,filter", "filter", "Provide filter values (e.g. \"dangling=true\")", &mut self.conditions);
        set.add("format", "string", FORMAT, &mut self.format);
        set.add("q,quiet", "", "Only display volume names", &mut self.quiet);
    }

    async fn run(mut self, call: Call) -> Result<u8> {
        if self.cluster {
            return Err(Error::new("cluster volumes are not available in Hull yet"));
        }
        if self.format.is_empty() && !self.quiet && !call.json {
            self.format = Settings::read(&call.globals.config_directory).volumes_format;
        }
        let listing = Listing {
            format: if self.quiet {
                "{{.Name}}"
            } else {
                &self.format
            },
            table: TABLE,
            headings: &HEADINGS,
        };
        listing.render(&[])?;
        let client = connect(&call.globals).await?;
        let list = client
            .volumes(&filters(&self.conditions))
            .await
            .map_err(failure)?;
        for warning in list.warnings.iter().flatten() {
            ui::warn(warning);
        }
        let mut volumes = list.volumes.unwrap_or_default();
        volumes.sort_by(|left, right| left.name.cmp(&right.name));
        if call.json {
            return json::array(volumes.iter().map(record));
        }
        let rows: Vec<Value> = volumes.iter().map(volume_row).collect();
        ui::out(&listing.shown(&rows, false)?)?;
        Ok(0)
    }
}

/// A volume in a list, for programs.
pub(crate) fn record(volume: &Volume) -> Json {
    let usage = volume.usage_data;
    json::row(
        &FIELDS,
        [
            volume.name.as_str().into(),
            volume.driver.as_str().into(),
            json::known(&volume.mountpoint),
            volume.scope.as_str().into(),
            json::map(volume.labels.as_ref()),
            json::map(volume.options.as_ref()),
            json::time(&volume.created_at),
            usage.map_or(Json::Null, |usage| json::bytes(usage.ref_count)),
            usage.map_or(Json::Null, |usage| json::bytes(usage.size)),
        ],
    )
}

/// The row of a volume.
pub(crate) fn volume_row(volume: &Volume) -> Value {
    let labels: Vec<(String, String)> = volume
        .labels
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let (links, size) = match volume.usage_data {
        Some(usage) if usage.size >= 0 => (
            usage.ref_count.to_string(),
            size::decimal_long(usage.size as f64),
        ),
        _ => ("N/A".to_owned(), "N/A".to_owned()),
    };
    let unknown = || "N/A".to_owned();
    let fields = vec![
        ("Name", volume.name.clone()),
        ("Driver", volume.driver.clone()),
        ("Labels", joined(&labels)),
        ("Links", links),
        ("Mountpoint", volume.mountpoint.clone()),
        ("Scope", volume.scope.clone()),
        ("Size", size),
        ("Availability", unknown()),
        ("Group", unknown()),
        ("Status", unknown()),
    ];
    row("*formatter.volumeContext", fields, labels)
}
