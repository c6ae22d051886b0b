//! `compose ps`

use std::rc::Rc;

use hull_api::types::{MountPoint, PortSummary};
use hull_compose::plan::state::Container;

use super::project::Scene;
use crate::commands::container::status::{exit_code, health};
use crate::commands::json::{self, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::output::{Listing, joined, short_id, shortened};
use crate::format::ports::displayed;
use crate::format::template::{Kind, Object, Value};
use crate::format::time;
use crate::ui;

/// States that `--status` knows.
const STATES: [&str; 7] = [
    "paused",
    "restarting",
    "removing",
    "running",
    "dead",
    "created",
    "exited",
];
const COMMAND_LENGTH: usize = 20;
const MOUNT_LENGTH: usize = 15;

#[derive(Default)]
pub(crate) struct Ps {
    all: bool,
    filter: String,
    format: String,
    no_trunc: bool,
    orphans: Option<bool>,
    quiet: bool,
    services: bool,
    status: Vec<String>,
}

impl Command for Ps {
    const ABOUT: About = About::new(
        &["compose ps"],
        "[OPTIONS] [SERVICE...]",
        "List containers",
        Operands::AtLeast(0),
    );

    const JSON: Option<Shape> = Some(Shape::Told(
        "One array of objects as `hull ps` prints them, each with the texts Project and Service.",
    ));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,all", "", "Show all stopped containers (including those created by the run command)", &mut self.all);
        set.add("filter", "string", "Filter services by a property (supported filters: status)", &mut self.filter);
        set.add("format", "string", "Format output using a custom template", &mut self.format);
        set.add("no-trunc", "", "Don't truncate output", &mut self.no_trunc);
        set.add("orphans", "", "Include orphaned services (not declared by project) (default true)", &mut self.orphans);
        set.add("q,quiet", "", "Only display IDs", &mut self.quiet);
        set.add("services", "", "Display services", &mut self.services);
        set.add("status", "stringArray", "Filter services by status. Values: [paused | restarting | removing | running | dead | created | exited]", &mut self.status);
    }

    async fn run(mut self, call: Call) -> Result<u8> {
        if !self.filter.is_empty() {
            match self.filter.split_once('=') {
                Some(("status", status)) => self.status.push(status.to_owned()),
                _ => {
                    return Err(Error::new(format!("unknown filter {}", self.filter))
                        .with_hint("write status=STATUS"));
                }
            }
        }
        if let Some(status) = self
            .status
            .iter()
            .find(|status| !STATES.contains(&status.as_str()))
        {
            return Err(Error::new(format!(
                "invalid status {status}: it is one of {}",
                STATES.join(", ")
            )));
        }
        let scene = Scene::of_name(&call, &call.operands).await?;
        let all = self.all || !self.status.is_empty();
        let mut containers = scene.containers(&call.operands, self.all).await?;
        containers.retain(|container| all || container.is_running());
        containers.retain(|container| {
            self.status.is_empty() || self.status.contains(&container.summary.state)
        });
        let has_file = !scene.project.services.is_empty();
        containers.retain(|container| {
            self.orphans != Some(false)
                || !has_file
                || scene.project.services.contains_key(container.service())
        });
        containers.sort_by(|a, b| a.name().cmp(b.name()));
        if call.json {
            return json::array(containers.iter().map(record));
        }
        ui::out(&self.text(&containers)?)?;
        Ok(0)
    }
}

impl Ps {
    fn text(&self, containers: &[Container]) -> Result<String> {
        if self.quiet {
            return Ok(containers
                .iter()
                .map(|container| format!("{}\n", container.id()))
                .collect());
        }
        if self.services {
            let mut names: Vec<&str> = containers.iter().map(Container::service).collect();
            names.dedup();
            return Ok(names.iter().map(|name| format!("{name}\n")).collect());
        }
        let rows: Vec<Value> = containers
            .iter()
            .map(|container| self.row(container))
            .collect();
        Listing {
            format: if self.format == "table" { "" } else { &self.format },
            table: "{{.Name}}\t{{.Image}}\t{{.Command}}\t{{.Service}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}",
            headings: &[
                ("ID", "CONTAINER ID"),
                ("Name", "NAME"),
                ("Names", "NAMES"),
                ("Image", "IMAGE"),
                ("Command", "COMMAND"),
                ("Service", "SERVICE"),
                ("Project", "PROJECT"),
                ("CreatedAt", "CREATED AT"),
                ("RunningFor", "CREATED"),
                ("Status", "STATUS"),
                ("State", "STATE"),
                ("Health", "HEALTH"),
                ("ExitCode", "EXIT CODE"),
                ("Ports", "PORTS"),
                ("Labels", "LABELS"),
                ("Networks", "NETWORKS"),
                ("Mounts", "MOUNTS"),
                ("LocalVolumes", "LOCAL VOLUMES"),
                ("Size", "SIZE"),
                ("Publishers", "PUBLISHERS"),
            ],
        }
        .shown(&rows, self.no_trunc)
    }

    fn row(&self, container: &Container) -> Value {
        let summary = &container.summary;
        let command = match self.no_trunc {
            true => summary.command.clone(),
            false => shortened(&summary.command, COMMAND_LENGTH),
        };
        let labels: Vec<(String, String)> = summary.labels.clone().into_iter().collect();
        let networks: Vec<&str> = summary
            .network_settings
            .networks
            .keys()
            .map(String::as_str)
            .collect();
        let mounts: Vec<String> = summary
            .mounts
            .iter()
            .map(|mount| self.mount(mount))
            .collect();
        let volumes = summary
            .mounts
            .iter()
            .filter(|mount| mount.kind == "volume")
            .count();
        let id = if self.no_trunc {
            container.id()
        } else {
            short_id(container.id())
        };
        let fields = vec![
            ("ID", id.to_owned()),
            ("Name", container.name().to_owned()),
            ("Names", container.name().to_owned()),
            ("Image", summary.image.clone()),
            ("Command", format!("\"{command}\"")),
            ("Service", container.service().to_owned()),
            (
                "Project",
                container.label("com.docker.compose.project").to_owned(),
            ),
            ("CreatedAt", time::local(summary.created)),
            ("RunningFor", time::ago(summary.created)),
            ("Status", summary.status.clone()),
            ("State", summary.state.clone()),
            (
                "Health",
                health(&summary.status).unwrap_or_default().to_owned(),
            ),
            ("Ports", displayed(&summary.ports)),
            ("Labels", joined(&labels)),
            ("Networks", networks.join(",")),
            ("Mounts", mounts.join(",")),
            ("LocalVolumes", volumes.to_string()),
            ("Size", "0B".into()),
        ];
        let typed = [
            (
                "ExitCode",
                Value::Int(exit_code(&summary.status).unwrap_or(0)),
            ),
            ("Publishers", publishers(&summary.ports)),
        ];
        let fields = fields
            .into_iter()
            .map(|(name, text)| (name, Value::text(text)))
            .chain(typed)
            .map(|(name, value)| (name.to_owned(), value));
        Value::Object(Rc::new(Object {
            kind: Kind::Row("*formatter.ContainerContext"),
            fields: fields.collect(),
            labels,
        }))
    }

    fn mount(&self, mount: &MountPoint) -> String {
        let name = match mount.name.as_str() {
            "" => &mount.source,
            name => name,
        };
        match self.no_trunc {
            true => name.to_owned(),
            false => shortened(name, MOUNT_LENGTH),
        }
    }
}

/// A container, for programs.
fn record(container: &Container) -> serde_json::Value {
    let mut record = crate::commands::container::ls::record(&container.summary);
    record["Project"] = container.label("com.docker.compose.project").into();
    record["Service"] = container.service().into();
    record
}

/// The ports as objects, for programs.
fn publishers(ports: &[PortSummary]) -> Value {
    let port = |port: &PortSummary| {
        let fields = [
            ("URL", Value::text(port.ip.as_str())),
            ("TargetPort", Value::Int(port.private_port.into())),
            ("PublishedPort", Value::Int(port.public_port.into())),
            ("Protocol", Value::text(port.protocol.as_str())),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        Value::object(Kind::Struct, fields.into())
    };
    Value::list(ports.iter().map(port).collect())
}
