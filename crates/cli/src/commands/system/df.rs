//! `system df`

use std::collections::BTreeSet;

use hull_api::types::{BuildCacheRecord, ContainerSummary, DiskUsage, ImageSummary, Volume};
use serde_json::{Value as Json, json};

use crate::commands::container::ls::{self as containers, FORMAT, whole_row};
use crate::commands::image::ls::{self as images, image_row, names};
use crate::commands::json::{self, Field, Kind, Shape};
use crate::commands::volume::ls::{self as volumes, volume_row};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::output::{BAD_TEMPLATE, Listing, parse, row, short_id};
use crate::format::template::{self, Value};
use crate::format::{size, time};
use crate::ui;

const TABLE: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const HEADINGS: [(&str, &str); 5] = [
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

static FIELDS: [Field; 5] = [
    Field(
        "Type",
        Kind::Text,
        "Images, Containers, Local Volumes or Build Cache; with --verbose one object of Images, Containers, Volumes (as the lists have them) and BuildCache (ID, Type, Description, InUse, Shared, SizeBytes, CreatedAt, LastUsedAt, UsageCount); with --why one object: Lines (What, SizeBytes, ReclaimableBytes), TotalBytes, BudgetBytes, Standings (Type, ID, Names, SizeBytes, LastUsedAt, Standing)",
    ),
    Field("TotalCount", Kind::Number, "how many there are"),
    Field("Active", Kind::Number, "how many are in use"),
    Field("SizeBytes", Kind::Bytes, ""),
    Field(
        "ReclaimableBytes",
        Kind::Bytes,
        "what pruning would give back",
    ),
];

#[derive(Default)]
pub(crate) struct Df {
    format: String,
    verbose: bool,
    why: bool,
}

impl Command for Df {
    const ABOUT: About = About::new(
        &["system df"],
        "[OPTIONS]",
        "Show docker disk usage",
        Operands::None,
    );

    const JSON: Option<Shape> = Some(Shape::Array(&FIELDS));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("format", "string", FORMAT, &mut self.format);
        set.add("v,verbose", "", "Show detailed information on space usage", &mut self.verbose);
        set.own("why", "", "Show what fills the disk to the byte, and what would be let go first", &mut self.why);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let listing = Listing {
            format: &self.format,
            table: TABLE,
            headings: &HEADINGS,
        };
        listing.render(&[])?;
        let client = connect(&call.globals).await?;
        if self.why {
            let account = client.disk_account().await.map_err(failure)?;
            if call.json {
                return json::object(&super::why::record(&account));
            }
            ui::out(&super::why::text(&account)?)?;
            return Ok(0);
        }
        let usage = client.disk_usage(&[], true).await.map_err(failure)?;
        let contents = Contents::of(usage);
        if call.json && self.verbose {
            return json::object(&contents.record());
        }
        if call.json {
            return json::array(contents.totals().iter().map(Total::record));
        }
        if self.verbose && !matches!(self.format.as_str(), "" | "table") {
            ui::out(&contents.formatted(&self.format)?)?;
        } else if self.verbose {
            ui::out(&contents.verbose()?)?;
        } else {
            let rows: Vec<Value> = contents.totals().iter().map(Total::row).collect();
            ui::out(&listing.shown(&rows, false)?)?;
        }
        Ok(0)
    }
}

/// What fills the disk, from either form of the daemon's answer.
#[derive(Default)]
struct Contents {
    images: Vec<ImageSummary>,
    layers_size: i64,
    containers: Vec<ContainerSummary>,
    volumes: Vec<Volume>,
    cache: Vec<BuildCacheRecord>,
}

/// A line of the table.
#[derive(Debug, Default, PartialEq)]
struct Total {
    kind: &'static str,
    count: usize,
    active: usize,
    size: i64,
    reclaimable: i64,
    /// Whether the share of what can be had back is told.
    with_share: bool,
}

impl Contents {
    fn of(usage: DiskUsage) -> Self {
        let images = usage.image_usage.unwrap_or_default();
        let mut cache = usage
            .build_cache
            .unwrap_or_else(|| usage.build_cache_usage.unwrap_or_default().items);
        // What was not used for longest comes first, and of what was used at one time the first id.
        cache.sort_by_cached_key(|record| (record.last_used_at.clone(), record.id.clone()));
        let layers = usage.layers_size.unwrap_or(images.total_size);
        Self {
            images: usage.images.unwrap_or(images.items),
            layers_size: layers,
            containers: usage
                .containers
                .unwrap_or_else(|| usage.container_usage.unwrap_or_default().items),
            volumes: usage
                .volumes
                .unwrap_or_else(|| usage.volume_usage.unwrap_or_default().items),
            cache,
        }
    }

    fn totals(&self) -> [Total; 4] {
        [
            self.image_total(),
            self.container_total(),
            self.volume_total(),
            self.cache_total(),
        ]
    }

    fn image_total(&self) -> Total {
        let used: BTreeSet<&str> = self
            .containers
            .iter()
            .map(|c| c.image_id.as_str())
            .collect();
        let is_active =
            |image: &&ImageSummary| image.containers > 0 || used.contains(image.id.as_str());
        let active = self.images.iter().filter(is_active);
        let in_use: i64 = active
            .clone()
            .map(|image| image.size - image.shared_size.max(0))
            .sum();
        Total {
            kind: "Images",
            count: self.images.len(),
            active: active.count(),
            size: self.layers_size,
            reclaimable: (self.layers_size - in_use).max(0),
            with_share: true,
        }
    }

    fn container_total(&self) -> Total {
        let is_active = |container: &&ContainerSummary| {
            matches!(
                container.state.as_str(),
                "running" | "paused" | "restarting"
            ) || container.status.starts_with("Up")
        };
        let size = |container: &ContainerSummary| container.size_rw.unwrap_or(0);
        let all: i64 = self.containers.iter().map(size).sum();
        let active = self.containers.iter().filter(is_active);
        let in_use: i64 = active.clone().map(size).sum();
        Total {
            kind: "Containers",
            count: self.containers.len(),
            active: active.count(),
            size: all,
            reclaimable: all - in_use,
            with_share: true,
        }
    }

    fn volume_total(&self) -> Total {
        let sizes = |is_wanted: &dyn Fn(i64) -> bool| -> i64 {
            let usages = self.volumes.iter().filter_map(|volume| volume.usage_data);
            usages
                .filter(|u| u.size >= 0 && is_wanted(u.ref_count))
                .map(|u| u.size)
                .sum()
        };
        let used = |volume: &&Volume| volume.usage_data.is_some_and(|usage| usage.ref_count > 0);
        Total {
            kind: "Local Volumes",
            count: self.volumes.len(),
            active: self.volumes.iter().filter(used).count(),
            size: sizes(&|_| true),
            reclaimable: sizes(&|count| count == 0),
            with_share: true,
        }
    }

    fn cache_total(&self) -> Total {
        let sizes = |is_wanted: &dyn Fn(bool) -> bool| -> i64 {
            let own = self.cache.iter().filter(|record| !record.shared);
            own.filter(|record| is_wanted(record.in_use))
                .map(|record| record.size)
                .sum()
        };
        Total {
            kind: "Build Cache",
            count: self.cache.len(),
            active: self.cache.iter().filter(|record| record.in_use).count(),
            size: sizes(&|_| true),
            reclaimable: sizes(&|in_use| !in_use),
            with_share: false,
        }
    }

    /// All objects, for programs.
    fn record(&self) -> Json {
        json!({
            "Images": self.images.iter().flat_map(images::records).collect::<Json>(),
            "Containers": self.containers.iter().map(containers::record).collect::<Json>(),
            "Volumes": self.volumes.iter().map(volumes::record).collect::<Json>(),
            "BuildCache": self.cache.iter().map(cache_record).collect::<Json>(),
        })
    }

    /// All objects as one record: what a template, or JSON, of the verbose form is about.
    fn formatted(&self, format: &str) -> Result<String> {
        let images = self.images.iter().flat_map(|image| {
            names(image, false).into_iter().map(|mut name| {
                // As Docker has it here, and only here.
                name.digest.clear();
                image_row(image, &name, true)
            })
        });
        let containers = self.containers.iter().map(|container| {
            // The size is its own, without its image.
            let own = ContainerSummary {
                size_root_fs: None,
                ..container.clone()
            };
            whole_row(&own)
        });
        let fields = [
            ("Images", images.collect()),
            ("Containers", containers.collect()),
            ("Volumes", self.volumes.iter().map(volume_row).collect()),
            (
                "BuildCache",
                self.cache.iter().map(whole_cache_row).collect(),
            ),
        ];
        let fields =
            fields.map(|(name, rows): (&str, Vec<Value>)| (name.to_owned(), Value::list(rows)));
        let all = Value::object(template::Kind::Struct, fields.into());
        match format {
            "json" => Ok(all.to_json()),
            template => {
                let text = parse(template)?.render(&all);
                text.map_err(|error| Error::new(format!("{BAD_TEMPLATE}{error}")))
            }
        }
    }

    fn verbose(&self) -> Result<String> {
        let images: Vec<Value> = self
            .images
            .iter()
            .flat_map(|image| {
                names(image, false)
                    .into_iter()
                    .map(|name| image_row(image, &name, false))
            })
            .collect();
        let containers: Vec<Value> = self.containers.iter().map(container_row).collect();
        let volumes: Vec<Value> = self.volumes.iter().map(volume_row).collect();
        let cache: Vec<Value> = self.cache.iter().map(cache_row).collect();
        #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
        let cache_size = size::decimal_long(self.cache_total().size as f64);
        Ok(format!(
            "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\nBuild cache usage: {cache_size}\n\n{}",
            table(
                "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
                &[
                    ("Repository", "REPOSITORY"),
                    ("Tag", "TAG"),
                    ("ID", "IMAGE ID"),
                    ("CreatedSince", "CREATED"),
                    ("Size", "SIZE"),
                    ("SharedSize", "SHARED SIZE"),
                    ("UniqueSize", "UNIQUE SIZE"),
                    ("Containers", "CONTAINERS")
                ],
                &images
            )?,
            table(
                "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
                &[
                    ("ID", "CONTAINER ID"),
                    ("Image", "IMAGE"),
                    ("Command", "COMMAND"),
                    ("LocalVolumes", "LOCAL VOLUMES"),
                    ("Size", "SIZE"),
                    ("RunningFor", "CREATED"),
                    ("Status", "STATUS"),
                    ("Names", "NAMES")
                ],
                &containers
            )?,
            table(
                "{{.Name}}\t{{.Links}}\t{{.Size}}",
                &[
                    ("Name", "VOLUME NAME"),
                    ("Links", "LINKS"),
                    ("Size", "SIZE")
                ],
                &volumes
            )?,
            table(
                "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
                &[
                    ("ID", "CACHE ID"),
                    ("CacheType", "CACHE TYPE"),
                    ("Size", "SIZE"),
                    ("CreatedSince", "CREATED"),
                    ("LastUsedSince", "LAST USED"),
                    ("UsageCount", "USAGE"),
                    ("Shared", "SHARED")
                ],
                &cache
            )?,
        ))
    }
}

pub(super) fn table(template: &str, headings: &[(&str, &str)], rows: &[Value]) -> Result<String> {
    Listing {
        format: "",
        table: template,
        headings,
    }
    .shown(rows, false)
}

impl Total {
    fn record(&self) -> Json {
        json::row(
            &FIELDS,
            [
                self.kind.into(),
                self.count.into(),
                self.active.into(),
                json::bytes(self.size),
                json::bytes(self.reclaimable),
            ],
        )
    }

    fn row(&self) -> Value {
        #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
        let human = |bytes: i64| size::decimal_long(bytes as f64);
        let reclaimable = match self.with_share && self.size > 0 {
            true => format!(
                "{} ({}%)",
                human(self.reclaimable),
                self.reclaimable.saturating_mul(100) / self.size
            ),
            false => human(self.reclaimable),
        };
        let fields = vec![
            ("Type", self.kind.to_owned()),
            ("TotalCount", self.count.to_string()),
            ("Active", self.active.to_string()),
            ("Size", human(self.size)),
            ("Reclaimable", reclaimable),
        ];
        row("*formatter.diskUsageImagesContext", fields, Vec::new())
    }
}

fn container_row(container: &ContainerSummary) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let size = size::decimal(container.size_rw.unwrap_or(0) as f64);
    let local = container
        .mounts
        .iter()
        .filter(|mount| mount.driver == "local")
        .count();
    let names: Vec<&str> = container
        .names
        .iter()
        .map(|name| name.trim_start_matches('/'))
        .collect();
    let command = crate::format::output::shortened(&container.command, 20);
    let fields = vec![
        ("ID", short_id(&container.id).to_owned()),
        ("Image", container.image.clone()),
        ("Command", format!("{command:?}")),
        ("LocalVolumes", local.to_string()),
        ("Size", size),
        ("RunningFor", time::ago(container.created)),
        ("Status", container.status.clone()),
        ("Names", names.join(",")),
    ];
    row("*formatter.ContainerContext", fields, Vec::new())
}

fn cache_row(record: &BuildCacheRecord) -> Value {
    let since = |text: &str| time::unix_seconds(text).map(time::ago).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let size = size::decimal(record.size as f64);
    let fields = vec![
        ("ID", cache_id(short_id(&record.id), record)),
        ("CacheType", record.kind.clone()),
        ("Size", size),
        ("CreatedSince", since(&record.created_at)),
        (
            "LastUsedSince",
            record
                .last_used_at
                .as_deref()
                .map(since)
                .unwrap_or_default(),
        ),
        ("UsageCount", record.usage_count.to_string()),
        ("Shared", record.shared.to_string()),
    ];
    row("*formatter.buildCacheContext", fields, Vec::new())
}

/// A record of the build cache, for programs.
fn cache_record(record: &BuildCacheRecord) -> Json {
    json!({
        "ID": record.id,
        "Type": record.kind,
        "Description": record.description,
        "InUse": record.in_use,
        "Shared": record.shared,
        "SizeBytes": json::bytes(record.size),
        "CreatedAt": json::time(&record.created_at),
        "LastUsedAt": json::time(record.last_used_at.as_deref().unwrap_or_default()),
        "UsageCount": record.usage_count,
    })
}

/// What is in use is marked.
fn cache_id(id: &str, record: &BuildCacheRecord) -> String {
    let mark = if record.in_use { "*" } else { "" };
    format!("{id}{mark}")
}

/// The same with nothing left out.
fn whole_cache_row(record: &BuildCacheRecord) -> Value {
    // As Go prints a time that came from JSON.
    let printed = |time: &str| time.replace('T', " ").replace('Z', " +0000 UTC");
    let last_used = record.last_used_at.as_deref().map(printed);
    let parents = match record.parents.is_empty() {
        true => &record.parents_misspelt,
        false => &record.parents,
    };
    let mut row = cache_row(record);
    if let Value::Object(object) = &mut row
        && let Some(object) = std::rc::Rc::get_mut(object)
    {
        let whole = [
            ("ID", cache_id(&record.id, record)),
            ("CreatedAt", printed(&record.created_at)),
            ("Description", record.description.clone()),
            ("InUse", record.in_use.to_string()),
            ("LastUsedAt", last_used.unwrap_or_default()),
            ("Parent", parents.join(", ")),
        ];
        object.fields.retain(|(name, _)| name != "ID");
        let whole = whole.map(|(name, text)| (name.to_owned(), Value::text(text)));
        object.fields.extend(whole);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_container_needs_can_be_had_back() {
        let image = |id: &str, size| ImageSummary {
            id: id.into(),
            size,
            shared_size: -1,
            ..ImageSummary::default()
        };
        let container = ContainerSummary {
            image_id: "a".into(),
            state: "exited".into(),
            size_rw: Some(7),
            ..ContainerSummary::default()
        };
        let contents = Contents {
            images: vec![image("a", 100), image("b", 50)],
            layers_size: 150,
            containers: vec![container],
            ..Contents::default()
        };
        let [images, containers, ..] = contents.totals();
        assert_eq!(
            (images.count, images.active, images.reclaimable),
            (2, 1, 50)
        );
        assert_eq!((containers.active, containers.reclaimable), (0, 7));
    }
}
