//! A container of its own for one command, and replacement without a gap.

use hull_api::types::PortBinding;

use super::{Engine, Named, Result};
use crate::model::Service;
use crate::plan::container::{Making, OneOff};
use crate::plan::state::State;

/// How a one-off container is made.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Its name; empty: one is made up.
    pub name: String,
    /// Twelve letters that tell it from others.
    pub slug: String,
    /// It goes when it ends.
    pub auto_remove: bool,
    /// The standard input goes in.
    pub attach_stdin: bool,
    /// It answers to the service's names.
    pub use_aliases: bool,
    /// The service's ports are published.
    pub service_ports: bool,
    /// More ports to publish: `[[address:]published:]target[/protocol]`.
    pub ports: Vec<String>,
    /// More volumes, as in `-v`.
    pub volumes: Vec<String>,
    /// Command instead of the service's.
    pub command: Option<Vec<String>>,
    /// Entry point instead of the service's.
    pub entrypoint: Option<Vec<String>>,
    /// More variables.
    pub environment: Vec<(String, Option<String>)>,
    /// More labels.
    pub labels: Vec<(String, String)>,
    /// Another user.
    pub user: String,
    /// Another directory.
    pub working_dir: String,
    /// More rights.
    pub cap_add: Vec<String>,
    /// Fewer rights.
    pub cap_drop: Vec<String>,
    /// A terminal.
    pub tty: bool,
    /// Keep the input open.
    pub interactive: bool,
}

impl Engine<'_> {
    /// Makes a container for one command; the caller attaches and starts it. Returns its id.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn create_one_off(&self, service: &Service, options: &RunOptions) -> Result<String> {
        let state = State {
            images: super::observe::images(self.client, self.project).await?,
            ..State::default()
        };
        let known = self.known_containers().await?;
        let service = changed(service, options);
        self.refuse_missing(&service)?;
        let making = Making {
            one_off: Some(OneOff {
                slug: options.slug.clone(),
                auto_remove: options.auto_remove,
                attach_stdin: options.attach_stdin,
                use_aliases: options.use_aliases,
            }),
            ..self.making(&service, &state, 0, &known)
        };
        let name = match options.name.as_str() {
            "" => [&self.project.name, &service.name, "run", &options.slug]
                .join(&service.separator().to_string()),
            name => name.to_owned(),
        };
        let mut body = self.body(&service, &making)?;
        if let Some(host) = &mut body.host_config {
            host.binds
                .get_or_insert_default()
                .extend(options.volumes.iter().cloned());
            if !options.service_ports {
                host.port_bindings = None;
            }
            for text in &options.ports {
                let (port, binding) = port(text).map_err(super::ApplyError::Other)?;
                host.port_bindings
                    .get_or_insert_default()
                    .entry(port.clone())
                    .or_default()
                    .get_or_insert_default()
                    .push(binding);
                body.config
                    .exposed_ports
                    .insert(port, hull_api::types::Empty {});
            }
        }
        let created = self
            .client
            .container_create(&name, &service.platform, &body)
            .await
            .named("create the container", &name)?;
        self.inject(&service, &created.id).await?;
        Ok(created.id)
    }
}

fn changed(service: &Service, options: &RunOptions) -> Service {
    let mut service = service.clone();
    if let Some(command) = &options.command {
        service.command = Some(command.clone());
    }
    if let Some(entrypoint) = &options.entrypoint {
        service.entrypoint = Some(entrypoint.clone());
        if options.command.is_none() {
            service.command = None;
        }
    }
    for (key, value) in &options.environment {
        service.environment.insert(key.clone(), value.clone());
    }
    service.labels.extend(options.labels.iter().cloned());
    if !options.user.is_empty() {
        service.user.clone_from(&options.user);
    }
    if !options.working_dir.is_empty() {
        service.working_dir.clone_from(&options.working_dir);
    }
    service.cap_add.extend(options.cap_add.iter().cloned());
    service.cap_drop.extend(options.cap_drop.iter().cloned());
    service.tty = options.tty;
    service.stdin_open = options.interactive;
    service.container_name = String::new();
    service
}

/// A port as `-p` takes it.
fn port(text: &str) -> std::result::Result<(String, PortBinding), String> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (rest, target) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (host_ip, host_port) = rest.rsplit_once(':').unwrap_or(("", rest));
    if target.parse::<u16>().is_err() {
        return Err(format!(
            "`{text}` is no port: write [[address:]published:]target[/protocol]"
        ));
    }
    let binding = PortBinding {
        host_ip: host_ip.to_owned(),
        host_port: host_port.to_owned(),
    };
    Ok((format!("{target}/{protocol}"), binding))
}
