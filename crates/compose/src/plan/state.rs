//! What the daemon has of a project.

use std::collections::{BTreeMap, BTreeSet};

use hull_api::types::{ContainerSummary, Network, Volume};

use crate::labels;

/// What there is.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// All its containers, stopped ones and those of `run` too.
    pub containers: Vec<Container>,
    /// All networks, by name.
    pub networks: BTreeMap<String, Network>,
    /// All volumes, by name.
    pub volumes: BTreeMap<String, Volume>,
    /// Ids of containers whose secrets and configs are not those that they would be handed now.
    pub outdated: BTreeSet<String>,
    /// Ids of the images that services want, by their name; those that are not there are missing.
    pub images: BTreeMap<String, Image>,
}

/// An image as far as it matters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    /// Its id.
    pub id: String,
    /// Paths at which it has volumes.
    pub volumes: Vec<String>,
    /// When it was made (Unix seconds), as far as that is known.
    pub created: String,
    /// The project that it was built for.
    pub project: String,
}

/// A container of the project.
#[derive(Debug, Clone, Default)]
pub struct Container {
    /// Its whole summary.
    pub summary: ContainerSummary,
}

impl Container {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.summary.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.summary
            .names
            .first()
            .map_or("", |name| name.trim_start_matches('/'))
    }

    /// A label's value; empty if it has none.
    pub fn label(&self, key: &str) -> &str {
        self.summary.labels.get(key).map_or("", String::as_str)
    }

    /// The service it belongs to.
    pub fn service(&self) -> &str {
        self.label(labels::SERVICE)
    }

    /// Which of the service's containers it is.
    pub fn number(&self) -> i64 {
        self.label(labels::NUMBER).parse().unwrap_or_default()
    }

    /// Whether `run` made it.
    pub fn is_one_off(&self) -> bool {
        self.label(labels::ONE_OFF) == "True"
    }

    /// How it stands, if it has to be started.
    pub fn at_rest(&self) -> Option<String> {
        match self.summary.state.as_str() {
            "created" => Some("it was made and never started".into()),
            "exited" => Some(match self.exit_code() {
                Some(code) => format!("it ended with {code}"),
                None => "it has ended".into(),
            }),
            "dead" => Some("it could not be removed, and does not run".into()),
            "paused" => Some("it is paused".into()),
            _ => None,
        }
    }

    /// How it ended: lists tell it within a text, `Exited (1) 2 minutes ago`.
    pub fn exit_code(&self) -> Option<i64> {
        let rest = self.summary.status.strip_prefix("Exited (")?;
        rest.split_once(')')?.0.parse().ok()
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        matches!(
            self.summary.state.as_str(),
            "running" | "restarting" | "paused"
        )
    }
}

impl State {
    /// The containers of a service in their order, without those of `run`.
    pub fn of_service(&self, service: &str) -> Vec<&Container> {
        let mut containers: Vec<&Container> = self
            .containers
            .iter()
            .filter(|container| container.service() == service && !container.is_one_off())
            .collect();
        containers.sort_by_key(|container| container.number());
        containers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_container_stands_is_told_in_words() {
        let rest = |state: &str, status: &str| {
            let summary = ContainerSummary {
                state: state.into(),
                status: status.into(),
                ..ContainerSummary::default()
            };
            Container { summary }.at_rest()
        };
        assert_eq!(rest("running", "Up 2 seconds"), None);
        assert_eq!(
            rest("exited", "Exited (137) 2 days ago").as_deref(),
            Some("it ended with 137")
        );
        assert_eq!(
            rest("created", "Created").as_deref(),
            Some("it was made and never started")
        );
        assert_eq!(
            rest("paused", "Up (Paused)").as_deref(),
            Some("it is paused")
        );
    }
}
