//! `container ls`

use hull_api::client::ContainerListOptions;
use hull_api::types::{ContainerSummary, MountPoint, PortSummary};
use serde_json::{Value as Json, json};

use crate::commands::container::status::{exit_code, health};
use crate::commands::filters::{Conditions, filters};
use crate::commands::json::{self, Field, Kind, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::output::{Listing, joined, row, short_id, shortened};
use crate::format::template::{Template, Value, quote};
use crate::format::{ports, size, time};
use crate::settings::Settings;
use crate::ui;

/// What every `--format` of a listing says of itself.
pub(crate) const FORMAT: &str = "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

const TABLE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const TABLE_WITH_SIZE: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";
/// Columns a command and the mounts take at most.
const COMMAND_LENGTH: usize = 20;
const MOUNT_LENGTH: usize = 15;

const HEADINGS: [(&str, &str); 14] = [
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
];

/// What programs read of a container in a list.
pub(crate) static FIELDS: [Field; 17] = [
    Field("ID", Kind::Text, "all its digits"),
    Field("Names", Kind::Texts, "without slashes"),
    Field(
        "Image",
        Kind::Text,
        "as it was named when the container was made",
    ),
    Field("ImageID", Kind::Text, "the image's digest"),
    Field("Command", Kind::Text, "what it runs, whole"),
    Field("CreatedAt", Kind::Time, "when it was made"),
    Field(
        "State",
        Kind::Text,
        "created, running, paused, restarting, removing, exited or dead",
    ),
    Field(
        "ExitCode",
        Kind::Number,
        "with what it ended last; null while it has not",
    ),
    Field(
        "Health",
        Kind::Text,
        "starting, healthy or unhealthy; null without a check",
    ),
    Field("Status", Kind::Text, "the state in words for people"),
    Field(
        "Ports",
        Kind::Objects,
        "IP, PrivatePort, PublicPort (null if it is not published), Protocol",
    ),
    Field("Labels", Kind::Map, ""),
    Field(
        "Mounts",
        Kind::Objects,
        "Type, Name (of a volume), Source, Destination, Driver, ReadOnly",
    ),
    Field("Networks", Kind::Texts, "names"),
    Field(
        "NetworkMode",
        Kind::Text,
        "host, none, container:ID or a network",
    ),
    Field(
        "SizeBytes",
        Kind::Bytes,
        "what it has written; only with --size",
    ),
    Field(
        "VirtualSizeBytes",
        Kind::Bytes,
        "the same with its image; only with --size",
    ),
];

#[derive(Default)]
pub(crate) struct Ls {
    all: bool,
    /// Whether a row stands for all that is known, whatever the format.
    is_record: bool,
    conditions: Conditions,
    format: String,
    last: Option<i64>,
    latest: bool,
    no_trunc: bool,
    quiet: bool,
    size: bool,
}

impl Command for Ls {
    const ABOUT: About = About::new(
        &["container ls", "container list", "container ps", "ps"],
        "[OPTIONS]",
        "List containers",
        Operands::None,
    );

    const JSON: Option<Shape> = Some(Shape::Array(&FIELDS));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,all", "", "Show all containers (default shows just running)", &mut self.all);
        set.add("f,filter", "filter", "Filter output based on conditions provided", &mut self.conditions);
        set.add("format", "string", FORMAT, &mut self.format);
        set.add("n,last", "int", "Show n last created containers (includes all states) (default -1)", &mut self.last);
        set.add("l,latest", "", "Show the latest created container (includes all states)", &mut self.latest);
        set.add("no-trunc", "", "Don't truncate output", &mut self.no_trunc);
        set.add("q,quiet", "", "Only display container IDs", &mut self.quiet);
        set.add("s,size", "", "Display total file sizes", &mut self.size);
    }

    async fn run(mut self, call: Call) -> Result<u8> {
        if self.quiet && !self.format.is_empty() {
            ui::note("WARNING: Ignoring custom format, because both --format and --quiet are set.");
        }
        if self.format.is_empty() && !self.quiet && !call.json {
            self.format = Settings::read(&call.globals.config_directory).ps_format;
        }
        let listing = Listing {
            format: &self.format,
            table: if self.size { TABLE_WITH_SIZE } else { TABLE },
            headings: &HEADINGS,
        };
        // A template that cannot be read is told before the daemon is asked.
        let typed = Template::parse(&self.format)
            .map_err(|error| Error::new(format!("failed to parse template: {error}")))?;
        listing.render(&[])?;
        let limit = if self.latest {
            1
        } else {
            self.last.unwrap_or(-1)
        };
        let options = ContainerListOptions {
            all: self.all || limit > 0,
            size: self.size || self.shows_size(),
            limit,
            filters: filters(&self.conditions),
        };
        let client = connect(&call.globals).await?;
        let containers = client.containers(&options).await.map_err(failure)?;
        if call.json {
            return json::array(containers.iter().map(record));
        }
        if self.quiet {
            let id = |id: &str| {
                if self.no_trunc {
                    id.to_owned()
                } else {
                    short_id(id).to_owned()
                }
            };
            ui::out(
                &containers
                    .iter()
                    .map(|c| id(&c.id) + "\n")
                    .collect::<String>(),
            )?;
            return Ok(0);
        }
        let rows: Vec<Value> = containers.iter().map(|c| self.row(c)).collect();
        if rows.is_empty() && call.globals.is_docker() {
            self.try_out(&typed)?;
        }
        match listing.shown(&rows, self.no_trunc) {
            Ok(text) => ui::out(&text)?,
            Err(error) => return self.try_out(&typed).and(Err(error)),
        }
        Ok(0)
    }
}

/// A container in a list, for programs.
pub(crate) fn record(container: &ContainerSummary) -> Json {
    let names = container.names.iter();
    let names = names.map(|name| Json::from(name.trim_start_matches('/')));
    let port = |port: &PortSummary| {
        json!({
            "IP": json::known(&port.ip),
            "PrivatePort": port.private_port,
            "PublicPort": Some(port.public_port).filter(|public| *public != 0),
            "Protocol": port.protocol,
        })
    };
    let mount = |mount: &MountPoint| {
        json!({
            "Type": mount.kind,
            "Name": json::known(&mount.name),
            "Source": json::known(&mount.source),
            "Destination": mount.destination,
            "Driver": json::known(&mount.driver),
            "ReadOnly": !mount.rw,
        })
    };
    let networks = container.network_settings.networks.keys();
    let health = match &container.health {
        Some(health) => Some(health.status.as_str()).filter(|status| *status != "none"),
        None => health(&container.status),
    };
    json::row(
        &FIELDS,
        [
            container.id.as_str().into(),
            names.collect(),
            container.image.as_str().into(),
            json::known(&container.image_id),
            container.command.as_str().into(),
            json::seconds(container.created),
            container.state.as_str().into(),
            exit_code(&container.status).into(),
            health.into(),
            container.status.as_str().into(),
            container.ports.iter().map(port).collect(),
            json::map(Some(&container.labels)),
            container.mounts.iter().map(mount).collect(),
            networks.map(|name| Json::from(name.as_str())).collect(),
            json::known(&container.host_config.network_mode),
            container.size_rw.map_or(Json::Null, json::bytes),
            container.size_root_fs.map_or(Json::Null, json::bytes),
        ],
    )
}

/// The row of a container with nothing cut.
pub(crate) fn whole_row(container: &ContainerSummary) -> Value {
    let whole = Ls {
        no_trunc: true,
        is_record: true,
        ..Ls::default()
    };
    whole.row(container)
}

impl Ls {
    /// Tries a template as it was typed on a container without anything, as Docker does before it asks for any.
    fn try_out(&self, typed: &Template) -> Result<()> {
        let tried = typed.render(&self.row(&ContainerSummary::default()));
        tried
            .map(|_| ())
            .map_err(|error| Error::new(format!("failed to execute template: {error}")))
    }

    /// When it was made. The table does not show that, and reading the zone's rules is not for nothing.
    fn created(&self, container: &ContainerSummary) -> String {
        match self.format.trim() {
            "" | "table" if !self.is_record => String::new(),
            _ => time::local(container.created),
        }
    }

    /// Whether the format asks for sizes, by name or by asking for everything.
    fn shows_size(&self) -> bool {
        self.format.contains(".Size") || self.format.contains("json .}}")
    }

    fn row(&self, container: &ContainerSummary) -> Value {
        let cut = |text: &str, length| match self.no_trunc {
            true => text.to_owned(),
            false => shortened(text, length),
        };
        let id = if self.no_trunc {
            &container.id
        } else {
            short_id(&container.id)
        };
        let mounts: Vec<String> = container
            .mounts
            .iter()
            .map(|mount| {
                if mount.name.is_empty() {
                    &mount.source
                } else {
                    &mount.name
                }
            })
            .map(|name| cut(name, MOUNT_LENGTH))
            .collect();
        let local = container
            .mounts
            .iter()
            .filter(|mount| mount.driver == "local")
            .count();
        let networks: Vec<&str> = container
            .network_settings
            .networks
            .keys()
            .map(String::as_str)
            .collect();
        let labels: Vec<(String, String)> = container
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let fields = vec![
            ("ID", id.to_owned()),
            ("Names", self.names(container)),
            ("Image", self.image(&container.image)),
            ("Command", quote(&cut(&container.command, COMMAND_LENGTH))),
            ("CreatedAt", self.created(container)),
            ("RunningFor", time::ago(container.created)),
            ("Ports", ports::displayed(&container.ports)),
            ("State", container.state.clone()),
            ("Status", container.status.clone()),
            ("Size", sizes(container)),
            ("Labels", joined(&labels)),
            ("Mounts", mounts.join(",")),
            ("LocalVolumes", local.to_string()),
            ("Networks", networks.join(",")),
        ];
        let mut value = row("*formatter.ContainerContext", fields, labels);
        if let Value::Object(object) = &mut value
            && let Some(object) = std::rc::Rc::get_mut(object)
        {
            // Told only by daemons that know platforms; Docker's rows have it all the same.
            object.fields.push(("Platform".to_owned(), Value::Nil));
        }
        value
    }

    /// Names without their slash; names through links only when nothing is cut.
    fn names(&self, container: &ContainerSummary) -> String {
        let names = container
            .names
            .iter()
            .map(|name| name.trim_start_matches('/'));
        let own: Vec<&str> = names
            .filter(|name| self.no_trunc || !name.contains('/'))
            .collect();
        own.join(",")
    }

    fn image(&self, image: &str) -> String {
        match image {
            "" => "<no image>".to_owned(),
            image if !self.no_trunc && image.starts_with("sha256:") => short_id(image).to_owned(),
            image => match image.split_once('@') {
                Some((name, _)) if !self.no_trunc => name.to_owned(),
                _ => image.to_owned(),
            },
        }
    }
}

fn sizes(container: &ContainerSummary) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let human = |bytes: Option<i64>| size::decimal(bytes.unwrap_or(0) as f64);
    let own = human(container.size_rw);
    match container.size_root_fs.unwrap_or(0) {
        1.. => format!("{own} (virtual {})", human(container.size_root_fs)),
        _ => own,
    }
}
