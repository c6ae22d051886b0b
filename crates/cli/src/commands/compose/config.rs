//! `compose config`

use std::collections::BTreeSet;

use hull_api::Client;
use hull_compose::model::Project;
use hull_compose::node::{Map, Node, Place, Value};
use hull_compose::{Loaded, drop_unused, load, render};

use super::project::{load_failure, loaded, no_such_service};
use crate::commands::image::reference;
use crate::commands::json::Shape;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::tabwriter::align_with;
use crate::settings::Settings;
use crate::ui;

#[derive(Default)]
pub(crate) struct Config {
    environment: bool,
    format: String,
    hash: String,
    images: bool,
    lock_image_digests: bool,
    models: bool,
    networks: bool,
    no_consistency: bool,
    no_env_resolution: bool,
    no_interpolate: bool,
    no_normalize: bool,
    no_path_resolution: bool,
    output: String,
    profiles: bool,
    quiet: bool,
    resolve_image_digests: bool,
    services: bool,
    variables: bool,
    volumes: bool,
}

impl Command for Config {
    const ABOUT: About = About::new(
        &["compose config", "compose convert"],
        "[OPTIONS] [SERVICE...]",
        "Parse, resolve and render compose file in canonical format",
        Operands::AtLeast(0),
    );

    const JSON: Option<Shape> = Some(Shape::Formatted(
        "The project, as the Compose specification defines it.",
    ));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("environment", "", "Print environment used for interpolation.", &mut self.environment);
        set.add("format", "string", "Format the output. Values: [yaml | json]", &mut self.format);
        set.add("hash", "string", "Print the service config hash, one per line.", &mut self.hash);
        set.add("images", "", "Print the image names, one per line.", &mut self.images);
        set.add("lock-image-digests", "", "Produces an override file with image digests", &mut self.lock_image_digests);
        set.add("models", "", "Print the model names, one per line.", &mut self.models);
        set.add("networks", "", "Print the network names, one per line.", &mut self.networks);
        set.add("no-consistency", "", "Don't check model consistency - warning: may produce invalid Compose output", &mut self.no_consistency);
        set.add("no-env-resolution", "", "Don't resolve service env files", &mut self.no_env_resolution);
        set.add("no-interpolate", "", "Don't interpolate environment variables", &mut self.no_interpolate);
        set.add("no-normalize", "", "Don't normalize compose model", &mut self.no_normalize);
        set.add("no-path-resolution", "", "Don't resolve file paths", &mut self.no_path_resolution);
        set.add("o,output", "string", "Save to file (default to stdout)", &mut self.output);
        set.add("profiles", "", "Print the profile names, one per line.", &mut self.profiles);
        set.add("q,quiet", "", "Only validate the configuration, don't print anything", &mut self.quiet);
        set.add("resolve-image-digests", "", "Pin image tags to digests", &mut self.resolve_image_digests);
        set.add("services", "", "Print the service names, one per line.", &mut self.services);
        set.add("variables", "", "Print model variables and default values.", &mut self.variables);
        set.add("volumes", "", "Print the volume names, one per line.", &mut self.volumes);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let mut loaded = self.load(&call)?;
        if self.quiet {
            return Ok(0);
        }
        if let Some(text) = self.listing(&loaded)? {
            ui::out(&text)?;
            return Ok(0);
        }
        if !call.operands.is_empty() && !self.is_as_written() {
            keep_services(&mut loaded.project, &call.operands)?;
            if !call.globals.compose.keeps_unused() {
                drop_unused(&mut loaded.project);
            }
        }
        if self.resolve_image_digests || self.lock_image_digests {
            pin_images(&call, &mut loaded.project).await?;
        }
        if self.lock_image_digests {
            loaded.project = images_only(&loaded.project);
        }
        let text = self.document(&loaded)?;
        match self.output.as_str() {
            "" => ui::out(&text)?,
            path => std::fs::write(path, text).map_err(|error| Error::io("write", path, &error))?,
        }
        Ok(0)
    }
}

impl Config {
    /// Whether values stay as they are written. What is listed is of the project that they make.
    fn is_as_written(&self) -> bool {
        let lists = self.environment
            || self.images
            || self.models
            || self.networks
            || self.profiles
            || self.variables
            || self.volumes
            || !self.hash.is_empty();
        self.no_interpolate && !lists
    }

    fn load(&self, call: &Call) -> Result<Loaded> {
        let plain = !(self.no_consistency
            || self.no_env_resolution
            || self.is_as_written()
            || self.no_normalize
            || self.no_path_resolution
            || self.profiles
            || self.variables
            || call.globals.compose.is_compatible()
            || !self.hash.is_empty());
        if plain {
            return loaded(call, &call.operands);
        }
        let mut options = call.globals.compose.options()?;
        options.services.clone_from(&call.operands);
        options.check = !self.no_consistency;
        options.resolve_environment = !self.no_env_resolution && self.hash.is_empty();
        options.normalize = !(self.no_normalize || call.globals.compose.is_compatible());
        options.resolve_paths = !self.no_path_resolution;
        if self.profiles {
            options.check = false;
        }
        // What may be set is told though something must be and is not.
        if self.is_as_written() || self.variables {
            // All of it, whatever it may come to.
            options.interpolate = false;
            options.check = false;
            options.resolve_environment = false;
            options.resolve_labels = false;
            options.keep_unused = true;
            options.profiles = vec!["*".to_owned()];
            options.services.clear();
        }
        load(&options).map_err(load_failure)
    }

    /// The list that a flag asks for.
    fn listing(&self, loaded: &Loaded) -> Result<Option<String>> {
        let empty = Map::default();
        let keys = |section: &str| -> Vec<String> {
            loaded
                .project
                .map(section)
                .unwrap_or(&empty)
                .iter()
                .map(|entry| entry.key.clone())
                .collect()
        };
        let mut lines: Vec<String> = if self.services {
            keys("services")
        } else if self.volumes {
            keys("volumes")
        } else if self.networks {
            keys("networks")
        } else if self.models {
            keys("models")
        } else if self.images {
            let project = Project::of(loaded).map_err(load_failure)?;
            project
                .services
                .values()
                .map(|service| service.image_name(&project.name))
                .collect()
        } else if self.profiles {
            profiles(loaded)
        } else if !self.hash.is_empty() {
            self.hashes(loaded)?
        } else if self.environment {
            loaded
                .environment
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect()
        } else if self.variables {
            return Ok(Some(match self.format.as_str() {
                "json" => variables_json(loaded),
                _ => variables(loaded),
            }));
        } else {
            return Ok(None);
        };
        lines.sort();
        Ok(Some(lines.iter().map(|line| format!("{line}\n")).collect()))
    }

    fn hashes(&self, loaded: &Loaded) -> Result<Vec<String>> {
        let empty = Map::default();
        let services = loaded.project.map("services").unwrap_or(&empty);
        let wanted: Vec<&str> = self.hash.split(',').collect();
        if let Some(name) = wanted
            .iter()
            .find(|name| **name != "*" && services.get(name).is_none())
        {
            let known = services.iter().map(|entry| &entry.key);
            return Err(no_such_service(name, known));
        }
        let wanted = services
            .iter()
            .filter(|entry| wanted.contains(&"*") || wanted.contains(&entry.key.as_str()))
            .filter_map(|entry| Some((&entry.key, entry.node.as_map()?)));
        Ok(wanted
            .map(|(name, map)| format!("{name} {}", render::written_hash(map, &loaded.environment)))
            .collect())
    }

    fn document(&self, loaded: &Loaded) -> Result<String> {
        let project = &loaded.project;
        let is_json = match self.format.as_str() {
            "" | "yaml" => false,
            "json" => true,
            other => return Err(Error::new(format!("unsupported format \"{other}\""))),
        };
        Ok(match (is_json, self.is_as_written()) {
            (true, false) => render::project_json(project),
            (true, true) => render::written_json(project),
            (false, false) => render::project_yaml(project),
            (false, true) => render::written_yaml(project),
        })
    }
}

fn profiles(loaded: &Loaded) -> Vec<String> {
    let empty = Map::default();
    let services = loaded
        .project
        .map("services")
        .unwrap_or(&empty)
        .iter()
        .chain(loaded.disabled.iter());
    let names: BTreeSet<String> = services
        .filter_map(|entry| entry.node.as_map())
        .flat_map(|service| {
            service
                .list("profiles")
                .iter()
                .filter_map(Node::as_text)
                .map(str::to_owned)
        })
        .collect();
    names.into_iter().collect()
}

fn variables(loaded: &Loaded) -> String {
    let mut text = "NAME\tREQUIRED\tDEFAULT VALUE\tALTERNATE VALUE\n".to_owned();
    for variable in &loaded.variables {
        text.push_str(&format!(
            "{}\t{}\t{}\t{}\n",
            variable.name, variable.required, variable.default, variable.alternate
        ));
    }
    align_with(&text, 20, 3)
}

/// The same as Docker's Compose has it for programs.
fn variables_json(loaded: &Loaded) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let variables = loaded.variables.iter().map(|variable| {
        let (name, required) = (quoted(&variable.name), variable.required);
        let (default, alternate) = (quoted(&variable.default), quoted(&variable.alternate));
        format!(
            "\n    {name}: {{\n        \"Name\": {name},\n        \"DefaultValue\": {default},\n        \
             \"PresenceValue\": {alternate},\n        \"Required\": {required}\n    }}"
        )
    });
    match variables.collect::<Vec<_>>() {
        variables if variables.is_empty() => "{}\n\n".to_owned(),
        variables => format!("{{{}\n}}\n\n", variables.join(",")),
    }
}

fn keep_services(project: &mut Map, names: &[String]) -> Result<()> {
    let Some(services) = project.get_mut("services").and_then(Node::as_map_mut) else {
        return Ok(());
    };
    let mut kept: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<String> = names.to_vec();
    while let Some(name) = open.pop() {
        let Some(service) = services.map(&name) else {
            let known = services.iter().map(|entry| &entry.key);
            return Err(no_such_service(&name, known));
        };
        let dependencies = service.map("depends_on").map(|map| {
            map.iter()
                .map(|entry| entry.key.clone())
                .collect::<Vec<_>>()
        });
        if kept.insert(name) {
            open.extend(dependencies.unwrap_or_default());
        }
    }
    services.0.retain(|entry| kept.contains(&entry.key));
    Ok(())
}

/// Puts digests into the names of images, as their registries tell them.
async fn pin_images(call: &Call, project: &mut Map) -> Result<()> {
    let client = connect(&call.globals).await?;
    let settings = Settings::read(&call.globals.config_directory);
    let services = project.get_mut("services").and_then(Node::as_map_mut);
    for entry in services.into_iter().flat_map(|services| &mut services.0) {
        let Some(image) = entry
            .node
            .as_map()
            .and_then(|service| service.text("image"))
            .map(str::to_owned)
        else {
            continue;
        };
        let pinned = pinned(&client, &settings, &image).await?;
        let place = entry.node.place.clone();
        if let Some(service) = entry.node.as_map_mut() {
            service.set("image", Node::text_at(&place, pinned));
        }
    }
    Ok(())
}

/// The whole name of an image, with its digest.
async fn pinned(client: &Client, settings: &Settings, image: &str) -> Result<String> {
    let name = reference::parse(image)?.or_latest();
    if name.digest().is_some() {
        return Ok(name.to_string());
    }
    let credentials = settings.credentials(&reference::server(&name));
    let found = client.distribution(image, credentials.as_ref()).await;
    let digest = found.map_err(failure)?.descriptor.digest;
    Ok(format!("{name}@{digest}"))
}

/// What an override file needs to hold images fast.
fn images_only(project: &Map) -> Map {
    let place = Place::nowhere();
    let mut services = Map::default();
    for entry in project.map("services").into_iter().flat_map(Map::iter) {
        let mut service = Map::default();
        if let Some(image) = entry.node.as_map().and_then(|service| service.get("image")) {
            service.set("image", image.clone());
        }
        services.set(&entry.key, Node::at(&place, Value::Map(service)));
    }
    let mut images = Map::default();
    images.set("services", Node::at(&place, Value::Map(services)));
    images
}
