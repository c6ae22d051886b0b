//! `version`

use hull_api::ApiVersion;
use hull_api::types::Version as Server;
use serde_json::{Value as Json, json};

use super::inspection::FORMAT;
use super::json::Shape;
use super::system::info;
use super::{About, Call, Command, Operands};
use crate::connection::{API_MAX, connect, failure};
use crate::context::Program;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::output::parse_for;
use crate::format::tabwriter::align_with;
use crate::format::template::Value;
use crate::ui;

#[derive(Default)]
pub(crate) struct Version {
    format: String,
    client: bool,
}

impl Command for Version {
    const ABOUT: About = About::new(
        &["version"],
        "[OPTIONS]",
        "Show the Docker version information",
        Operands::None,
    );

    const JSON: Option<Shape> = Some(Shape::Formatted(
        "One object: Client, and Server (Version of the Engine API; null with --client).",
    ));

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,format", "string", FORMAT, &mut self.format);
        set.own(
            "client",
            "",
            "Show this program's version only, and ask no daemon",
            &mut self.client,
        );
    }

    fn asks_nobody(&self) -> bool {
        self.client
    }

    async fn run(self, call: Call) -> Result<u8> {
        let template = match self.format.as_str() {
            "" => None,
            "json" => Some(parse_for("template parsing error: ", "{{json .}}")?),
            text => Some(parse_for("template parsing error: ", text)?),
        };
        let asked = match self.client {
            true => Err(Error::Silent(0)),
            false => connect(&call.globals).await,
        };
        let (server, error) = match asked {
            Ok(client) => match client.server_version().await {
                Ok(server) => (Some((server, client.version())), None),
                Err(error) => (None, Some(failure(error))),
            },
            Err(error) => (None, Some(error)),
        };
        let api = server.as_ref().map_or(API_MAX, |(_, api)| *api);
        let client = Client::new(&call, api)?;
        match template {
            Some(template) => {
                let document = json!({
                    "Client": client.json(),
                    "Server": server.map(|(server, _)| server),
                });
                let value = Value::from_json(&document.to_string())
                    .map_err(|error| Error::new(error.to_string()))?;
                let text = template
                    .render(&value)
                    .map_err(|error| Error::new(error.to_string()))?;
                ui::line(&text)?;
            }
            None => {
                ui::out(&client.text())?;
                if let Some((server, _)) = &server {
                    ui::out(&format!("\n{}", server_text(server)))?;
                }
            }
        }
        error.map_or(Ok(0), Err)
    }
}

/// This program.
struct Client {
    program: Program,
    version: &'static str,
    api: ApiVersion,
    context: String,
}

impl Client {
    fn new(call: &Call, api: ApiVersion) -> Result<Self> {
        let context = call.globals.endpoint()?.context;
        let program = call.globals.program;
        Ok(Self {
            program,
            version: info::version(program),
            api,
            context,
        })
    }

    fn json(&self) -> Json {
        json!({
            "Platform": {"Name": "Hull"},
            "Version": self.version,
            "ApiVersion": self.api.to_string(),
            "DefaultAPIVersion": API_MAX.to_string(),
            "Os": std::env::consts::OS,
            "Arch": architecture(),
            "Context": self.context,
        })
    }

    fn text(&self) -> String {
        let api = match self.api == API_MAX {
            true => self.api.to_string(),
            false => format!("{} (downgraded from {})", self.api, API_MAX),
        };
        let title = match self.program {
            Program::Hull => "Client: Hull",
            Program::Docker => "Client:",
        };
        let platform = format!("{}/{}", std::env::consts::OS, architecture());
        align_with(
            &format!(
                "{title}\n Version:\t{}\n API version:\t{api}\n OS/Arch:\t{platform}\n Context:\t{}\n",
                self.version, self.context
            ),
            20,
            1,
        )
    }
}

/// Go's name of the processor, which all of this world uses.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// Go's layout of the time a component was built.
fn built(time: &str) -> String {
    let parsed = time.parse::<jiff::Timestamp>().ok();
    let shown = parsed.map(|time| {
        let zoned = time.to_zoned(crate::format::time::zone());
        zoned.strftime("%a %b %e %H:%M:%S %Y").to_string()
    });
    shown.unwrap_or_else(|| time.to_owned())
}

fn server_text(server: &Server) -> String {
    let platform = match server.platform.name.as_str() {
        "" => String::new(),
        name => format!(" {name}"),
    };
    let mut text = format!("Server:{platform}\n");
    for component in &server.components {
        text.push_str(&format!(
            " {}:\n  Version:\t{}\n",
            component.name, component.version
        ));
        if component.name == "Engine" {
            text.push_str(&engine_text(server, &component.details));
            continue;
        }
        for (name, value) in &component.details {
            text.push_str(&format!("  {name}:\t{value}\n"));
        }
    }
    if !server
        .components
        .iter()
        .any(|component| component.name == "Engine")
    {
        let own = engine_text(server, &hull_api::types::TextMap::new());
        text.push_str(&format!(" Engine:\n  Version:\t{}\n{own}", server.version));
    }
    align_with(&text, 20, 1)
}

fn engine_text(server: &Server, details: &hull_api::types::TextMap) -> String {
    let detail = |name: &str, otherwise: &str| {
        details
            .get(name)
            .cloned()
            .unwrap_or_else(|| otherwise.to_owned())
    };
    let api = detail("ApiVersion", &server.api_version);
    let minimum = detail("MinAPIVersion", &server.min_api_version);
    let lines = [
        ("API version", format!("{api} (minimum version {minimum})")),
        ("Go version", detail("GoVersion", &server.go_version)),
        ("Git commit", detail("GitCommit", &server.git_commit)),
        ("Built", built(&detail("BuildTime", &server.build_time))),
        (
            "OS/Arch",
            format!(
                "{}/{}",
                detail("Os", &server.os),
                detail("Arch", &server.arch)
            ),
        ),
        (
            "Experimental",
            detail("Experimental", &server.experimental.to_string()),
        ),
    ];
    lines
        .iter()
        .map(|(name, value)| format!("  {name}:\t{value}\n"))
        .collect()
}
