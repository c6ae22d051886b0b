//! `system info`

use hull_api::types::Info as Facts;
use serde_json::json;

use crate::commands::inspection::FORMAT;
use crate::commands::json::Shape;
use crate::commands::pages::{DOCKER_CLIENT, VERSION};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::context::Program;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::output::parse_for;
use crate::format::size;
use crate::format::template::Value;
use crate::plugins::{self, Described};
use crate::ui;

#[derive(Default)]
pub(crate) struct Info {
    format: String,
}

impl Command for Info {
    const ABOUT: About = About::new(
        &["system info", "info"],
        "[OPTIONS]",
        "Display system-wide information",
        Operands::None,
    );

    const JSON: Option<Shape> = Some(Shape::Formatted(
        "One object: SystemInfo of the Engine API, with ClientInfo.",
    ));

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,format", "string", FORMAT, &mut self.format);
    }

    async fn run(self, call: Call) -> Result<u8> {
        if !self.format.is_empty() {
            return self.formatted(&call).await;
        }
        let own = Own::of(&call)?;
        ui::out(&format!(
            "Client:{}\n{}\nServer:\n",
            own.title(),
            own.text()
        ))?;
        let client = connect(&call.globals).await?;
        let facts = client.info().await.map_err(failure)?;
        ui::out(&server(&facts, call.globals.debug))?;
        own.warn();
        for warning in facts.warnings.iter().flatten() {
            ui::note(warning);
        }
        Ok(0)
    }
}

/// What this program knows by itself.
struct Own {
    program: Program,
    context: String,
    debug: bool,
    plugins: Vec<Described>,
}

impl Own {
    fn of(call: &Call) -> Result<Self> {
        Ok(Self {
            program: call.globals.program,
            context: call.globals.endpoint()?.context,
            debug: call.globals.debug,
            plugins: plugins::all(&call.globals),
        })
    }

    fn title(&self) -> &'static str {
        match self.program {
            Program::Docker => "",
            Program::Hull => " Hull",
        }
    }

    fn text(&self) -> String {
        let (version, context, debug) = (version(self.program), &self.context, self.debug);
        let mut text =
            format!(" Version:    {version}\n Context:    {context}\n Debug Mode: {debug}\n");
        let known: Vec<_> = self
            .plugins
            .iter()
            .filter_map(|plugin| Some((plugin, plugin.metadata.as_ref().ok()?)))
            .collect();
        if !known.is_empty() {
            text.push_str(" Plugins:\n");
        }
        for (described, metadata) in known {
            let (name, path) = (&described.plugin.name, described.plugin.path.display());
            let (what, vendor) = (&metadata.short_description, &metadata.vendor);
            text.push_str(&format!("  {name}: {what} ({vendor})\n"));
            if !metadata.version.is_empty() {
                text.push_str(&format!("    Version:  {}\n", metadata.version));
            }
            text.push_str(&format!("    Path:     {path}\n"));
        }
        text
    }

    fn json(&self) -> String {
        let plugins: Vec<_> = self.plugins.iter().map(Described::json).collect();
        format!(
            "{{\"Debug\":{},\"Version\":{},\"Context\":{},\"Plugins\":[{}],\"Warnings\":null}}",
            self.debug,
            json!(version(self.program)),
            json!(self.context),
            plugins.join(",")
        )
    }

    /// Says which files look like plugins and are none.
    fn warn(&self) {
        for described in &self.plugins {
            if let Err(why) = &described.metadata {
                let path = described.plugin.path.display();
                ui::warn(&format!("Plugin \"{path}\" is not valid: {why}"));
            }
        }
    }
}

/// The version of the command line.
pub(crate) fn version(program: Program) -> &'static str {
    match program {
        Program::Docker => DOCKER_CLIENT,
        Program::Hull => VERSION,
    }
}

impl Info {
    async fn formatted(&self, call: &Call) -> Result<u8> {
        let template = match self.format.as_str() {
            "json" => parse_for("template parsing error: ", "{{json .}}")?,
            text => parse_for("template parsing error: ", text)?,
        };
        let own = Own::of(call)?.json();
        // What this program knows by itself needs no daemon.
        let alone = Value::from_json(&format!("{{\"ClientInfo\":{own}}}"));
        if let Ok(Ok(text)) = alone.map(|alone| template.render(&alone))
            && self.format.contains(".ClientInfo")
        {
            ui::line(&text)?;
            return Ok(0);
        }
        let client = connect(&call.globals).await?;
        let raw = client.info_raw().await.map_err(failure)?;
        let text = String::from_utf8_lossy(&raw).trim().to_owned();
        // The client's own facts stand beside the server's.
        let document = match text.strip_suffix('}') {
            Some("{") => format!("{{\"ClientInfo\":{own}}}"),
            Some(body) => format!("{body},\"ClientInfo\":{own}}}"),
            None => return Err(Error::new("the daemon's answer is malformed")),
        };
        let value = Value::from_json(&document)
            .map_err(|error| Error::new(format!("the daemon's answer is malformed: {error}")))?;
        if value.field("ServerVersion").is_none() {
            return Err(Error::new(
                "the daemon's answer to /info is malformed: it has no ServerVersion",
            ));
        }
        let text = template
            .render(&value)
            .map_err(|error| Error::new(error.to_string()))?;
        ui::line(&text)?;
        Ok(0)
    }
}

/// Lines with an indent of one blank, in Docker's order.
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        self.0.push_str(&format!(" {name}: {value}\n"));
    }

    fn add_some(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.add(name, value);
        }
    }

    fn heading(&mut self, name: &str) {
        self.0.push_str(&format!(" {name}:\n"));
    }

    fn below(&mut self, text: impl std::fmt::Display) {
        self.0.push_str(&format!("  {text}\n"));
    }
}

fn server(facts: &Facts, asks_for_more: bool) -> String {
    let mut lines = Lines(String::new());
    objects(facts, &mut lines);
    plugins(facts, &mut lines);
    runtimes(facts, &mut lines);
    host(facts, asks_for_more, &mut lines);
    registries(facts, &mut lines);
    lines.0.push('\n');
    lines.0
}

fn objects(facts: &Facts, lines: &mut Lines) {
    lines.add("Containers", facts.containers);
    lines.below(format!("Running: {}", facts.containers_running));
    lines.below(format!("Paused: {}", facts.containers_paused));
    lines.below(format!("Stopped: {}", facts.containers_stopped));
    lines.add("Images", facts.images);
    lines.add_some("Server Version", &facts.server_version);
    lines.add_some("Storage Driver", &facts.driver);
    for [name, value] in &facts.driver_status {
        lines.below(format!("{name}: {value}"));
    }
    lines.add_some("Logging Driver", &facts.logging_driver);
    lines.add_some("Cgroup Driver", &facts.cgroup_driver);
    lines.add_some("Cgroup Version", &facts.cgroup_version);
}

fn plugins(facts: &Facts, lines: &mut Lines) {
    lines.heading("Plugins");
    lines.below(format!("Volume: {}", facts.plugins.volume.join(" ")));
    lines.below(format!("Network: {}", facts.plugins.network.join(" ")));
    if let Some(authorization) = facts
        .plugins
        .authorization
        .as_ref()
        .filter(|a| !a.is_empty())
    {
        lines.below(format!("Authorization: {}", authorization.join(" ")));
    }
    lines.below(format!("Log: {}", facts.plugins.log.join(" ")));
    if !facts.cdi_spec_dirs.is_empty() {
        lines.heading("CDI spec directories");
        facts
            .cdi_spec_dirs
            .iter()
            .for_each(|directory| lines.below(directory));
    }
}

fn runtimes(facts: &Facts, lines: &mut Lines) {
    lines.add_some("Swarm", &facts.swarm.local_node_state);
    if !facts.runtimes.is_empty() {
        let names: Vec<&str> = facts.runtimes.keys().map(String::as_str).collect();
        lines.add("Runtimes", names.join(" "));
        lines.add("Default Runtime", &facts.default_runtime);
    }
    lines.add("Init Binary", &facts.init_binary);
    lines.add("containerd version", &facts.containerd_commit.id);
    lines.add("runc version", &facts.runc_commit.id);
    lines.add("init version", &facts.init_commit.id);
    if facts.security_options.is_empty() {
        return;
    }
    lines.heading("Security Options");
    for option in &facts.security_options {
        let mut fields = option.split(',').filter_map(|field| field.split_once('='));
        match fields.next() {
            Some(("name", name)) => lines.below(name),
            _ => lines.below(option),
        }
        fields.for_each(|(key, value)| {
            let key = if key == "profile" { "Profile" } else { key };
            lines.below(format!(" {key}: {value}"));
        });
    }
}

fn host(facts: &Facts, asks_for_more: bool, lines: &mut Lines) {
    lines.add_some("Kernel Version", &facts.kernel_version);
    lines.add_some("Operating System", &facts.operating_system);
    lines.add_some("OSType", &facts.os_type);
    lines.add_some("Architecture", &facts.architecture);
    lines.add("CPUs", facts.n_cpu);
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let memory = size::binary(facts.mem_total as f64);
    lines.add("Total Memory", memory);
    lines.add_some("Name", &facts.name);
    lines.add_some("ID", &facts.id);
    lines.add_some("Docker Root Dir", &facts.docker_root_dir);
    lines.add("Debug Mode", facts.debug);
    if facts.debug || asks_for_more {
        lines.below(format!("File Descriptors: {}", facts.n_fd));
        lines.below(format!("Goroutines: {}", facts.n_goroutines));
        lines.below(format!("System Time: {}", facts.system_time));
        lines.below(format!("EventsListeners: {}", facts.n_events_listener));
    }
    lines.add_some("HTTP Proxy", &facts.http_proxy);
    lines.add_some("HTTPS Proxy", &facts.https_proxy);
    lines.add_some("No Proxy", &facts.no_proxy);
    if !facts.labels.is_empty() {
        lines.heading("Labels");
        facts.labels.iter().for_each(|label| lines.below(label));
    }
    lines.add("Experimental", facts.experimental_build);
}

fn registries(facts: &Facts, lines: &mut Lines) {
    if let Some(config) = &facts.registry_config {
        let insecure = config
            .index_configs
            .iter()
            .filter(|(_, index)| !index.secure);
        let names: Vec<&String> = insecure
            .map(|(name, _)| name)
            .chain(&config.insecure_registry_cidrs)
            .collect();
        if !names.is_empty() {
            lines.heading("Insecure Registries");
            names.iter().for_each(|name| lines.below(name));
        }
        if let Some(mirrors) = config
            .mirrors
            .as_ref()
            .filter(|mirrors| !mirrors.is_empty())
        {
            lines.heading("Registry Mirrors");
            mirrors.iter().for_each(|mirror| lines.below(mirror));
        }
    }
    lines.add("Live Restore Enabled", facts.live_restore_enabled);
    if !facts.product_license.is_empty() {
        lines.add("Product License", &facts.product_license);
    }
    if !facts.default_address_pools.is_empty() {
        lines.heading("Default Address Pools");
        for pool in &facts.default_address_pools {
            lines.below(format!(" Base: {}, Size: {}", pool.base, pool.size));
        }
    }
    if let Some(firewall) = &facts.firewall_backend {
        lines.add("Firewall Backend", &firewall.driver);
        for [name, value] in &firewall.info {
            lines.below(format!("{name}: {value}"));
        }
    }
}
