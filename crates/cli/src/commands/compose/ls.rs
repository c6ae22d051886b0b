//! `compose ls`

use std::collections::BTreeMap;

use hull_compose::apply;
use hull_compose::plan::state::Container;
use serde::Serialize;

use super::project::{apply_failure, printed};
use crate::commands::json::Shape;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::connect;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::tabwriter::align_with;
use crate::ui;

#[derive(Default)]
pub(crate) struct Ls {
    all: bool,
    filters: Vec<String>,
    format: String,
    quiet: bool,
}

impl Command for Ls {
    const ABOUT: About = About::new(
        &["compose ls"],
        "[OPTIONS]",
        "List running compose projects",
        Operands::None,
    );

    const JSON: Option<Shape> = Some(Shape::Formatted(
        "One array of objects: Name, Status (how many containers are in which state, in words) and ConfigFiles.",
    ));

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "a,all",
            "",
            "Show all stopped Compose projects",
            &mut self.all,
        );
        set.add(
            "filter",
            "filter",
            "Filter output based on conditions provided",
            &mut self.filters,
        );
        set.add(
            "format",
            "string",
            "Format the output. Values: [table | json] (default \"table\")",
            &mut self.format,
        );
        set.add("q,quiet", "", "Only display project names", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let mut names = Vec::new();
        for filter in &self.filters {
            match filter.split_once('=') {
                Some(("name", name)) => names.push(name),
                _ => {
                    return Err(Error::new(format!("unknown filter {filter}"))
                        .with_hint("the one filter there is is name=TEXT"));
                }
            }
        }
        let client = connect(&call.globals).await?;
        let projects = apply::projects(&client).await.map_err(apply_failure)?;
        let rows: Vec<(String, String, String)> = projects
            .iter()
            .filter(|(name, _)| names.is_empty() || names.iter().any(|part| name.contains(part)))
            .map(|(name, containers)| (name, self.counted(containers)))
            .filter(|(_, containers)| !containers.is_empty())
            .map(|(name, containers)| (name.clone(), statuses(&containers), files(&containers)))
            .collect();
        ui::out(&self.text(&rows)?)?;
        Ok(0)
    }
}

/// A project for programs, with its keys in Docker's order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row<'p> {
    name: &'p str,
    status: &'p str,
    config_files: &'p str,
}

impl Ls {
    /// The containers that count: what does not run is of interest only with `--all`.
    fn counted<'c>(&self, containers: &'c [Container]) -> Vec<&'c Container> {
        containers
            .iter()
            .filter(|container| self.all || container.is_running())
            .collect()
    }

    fn text(&self, rows: &[(String, String, String)]) -> Result<String> {
        if self.quiet {
            return Ok(rows
                .iter()
                .map(|(name, _, _)| format!("{name}\n"))
                .collect());
        }
        match self.format.as_str() {
            "json" => {
                let rows: Vec<Row<'_>> = rows
                    .iter()
                    .map(|(name, status, config_files)| Row {
                        name,
                        status,
                        config_files,
                    })
                    .collect();
                Ok(format!("{}\n", printed(&rows)))
            }
            "" | "table" => {
                let mut text = "NAME\tSTATUS\tCONFIG FILES\n".to_owned();
                text.extend(
                    rows.iter()
                        .map(|(name, status, files)| format!("{name}\t{status}\t{files}\n")),
                );
                Ok(align_with(&text, 20, 3))
            }
            other => Err(Error::new(format!("unsupported format \"{other}\""))),
        }
    }
}

/// `exited(1), running(2)`
fn statuses(containers: &[&Container]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for container in containers {
        *counts.entry(container.summary.state.as_str()).or_default() += 1;
    }
    let texts: Vec<String> = counts
        .iter()
        .map(|(state, count)| format!("{state}({count})"))
        .collect();
    texts.join(", ")
}

fn files(containers: &[&Container]) -> String {
    let mut files: Vec<&str> = containers
        .iter()
        .flat_map(|container| {
            container
                .label("com.docker.compose.project.config_files")
                .split(',')
        })
        .filter(|file| !file.is_empty())
        .collect();
    files.sort_unstable();
    files.dedup();
    match files.is_empty() {
        true => "N/A".into(),
        false => files.join(","),
    }
}
