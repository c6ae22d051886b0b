//! Waiting for what a service depends on: that it runs, that it is healthy, that it is done.

use std::time::Duration;

use hull_api::types::ContainerState;

use super::{ApplyError, Engine, Named, Result};
use crate::model::{Dependency, Service};
use crate::plan::state::Container;

/// Between two looks at a container whose health is not known yet. The first ones follow each other
/// quickly: many services are up at once.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(10);
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(250);

impl Engine<'_> {
    /// Waits for one dependency. One that need not be there only warns.
    pub(super) async fn wait_for(
        &self,
        service: &Service,
        name: &str,
        dependency: &Dependency,
    ) -> Result<()> {
        let result = self.condition(name, &dependency.condition).await;
        match result {
            Err(error) if !dependency.required => {
                let why = full(&error);
                self.report.warn(&format!(
                    "optional dependency \"{name}\" of \"{}\" failed to start: {why}",
                    service.name
                ));
                Ok(())
            }
            other => other,
        }
    }

    async fn condition(&self, name: &str, condition: &str) -> Result<()> {
        let completes = match condition {
            "service_healthy" => false,
            "service_completed_successfully" => true,
            // It has been started: there is nothing to look at.
            _ => return Ok(()),
        };
        let containers: Vec<Container> = super::containers(self.client, &self.project.name)
            .await?
            .into_iter()
            .filter(|container| container.service() == name && !container.is_one_off())
            .collect();
        if self.client.is_rehearsal() {
            // Nothing was started that could become healthy or end.
            return Ok(());
        }
        super::graph::each(&containers, usize::MAX, |container| async move {
            match completes {
                false => self.healthy(container, true).await,
                true => self.completed(container).await,
            }
        })
        .await
    }

    /// Waits until a container is healthy; without a check it is enough that it runs, unless a
    /// check is `required`.
    pub(super) async fn healthy(&self, container: &Container, required: bool) -> Result<()> {
        let name = container.name();
        let what = format!("Container {name}");
        self.working(&what, "Waiting");
        let mut pause = PAUSE_MIN;
        let mut restarts = None;
        let service = self.project.services.get(container.service());
        let restarts_unhealthy = service.is_some_and(Service::restarts_unhealthy);
        loop {
            let found = self.client.container(container.id()).await;
            let found = found.named("look at the container", name)?;
            let before = *restarts.get_or_insert(found.restart_count);
            let result = match health(&found.state, required) {
                // Nobody may have looked while it was unhealthy.
                None if restarts_unhealthy && found.restart_count > before => {
                    Some(Err("has failed or was found unhealthy".into()))
                }
                known => known,
            };
            match result {
                Some(Ok(())) => {
                    self.done(&what, "Healthy");
                    return Ok(());
                }
                Some(Err(message)) => {
                    let error = Err(ApplyError::Dependency {
                        message: format!("container {name} {message}"),
                    });
                    return self.told(&what, "", error);
                }
                None => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Waits until a container has ended well. One that fails and is started again by its restart policy has
    /// not ended yet.
    async fn completed(&self, container: &Container) -> Result<()> {
        let name = container.name();
        let what = format!("Container {name}");
        self.working(&what, "Waiting");
        let mut pause = PAUSE_MIN;
        let code = loop {
            let waiting = self
                .client
                .container_wait(container.id(), "not-running")
                .await
                .named("wait for", name)?;
            let code = waiting.result().await.named("wait for", name)?.status_code;
            if code == 0 {
                break code;
            }
            let found = self.client.container(container.id()).await;
            let state = found.named("look at the container", name)?.state;
            if !state.running && !state.restarting {
                break state.exit_code;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        };
        let result = match code {
            0 => Ok(()),
            code => Err(ApplyError::Other(format!(
                "service \"{}\" didn't complete successfully: exit {code}",
                container.service()
            ))),
        };
        self.told(&what, "Exited", result)
    }
}

/// What a state says about health; nothing if that is not known yet.
pub(super) fn health(
    state: &ContainerState,
    required: bool,
) -> Option<std::result::Result<(), String>> {
    if state.status == "exited" || state.status == "dead" {
        return Some(Err(format!("exited ({})", state.exit_code)));
    }
    if state.status == "removing" {
        return Some(Err("is being removed".into()));
    }
    // What a container was before it was started says nothing about how it is now.
    if !state.running || state.restarting {
        return None;
    }
    let health = state.health.as_ref().map(|health| health.status.as_str());
    match health {
        Some("healthy") => Some(Ok(())),
        Some("unhealthy") => Some(Err("is unhealthy".into())),
        None | Some("none" | "") if required => Some(Err("has no healthcheck configured".into())),
        None | Some("none" | "") => Some(Ok(())),
        Some(_) => None,
    }
}

/// An error with its causes.
pub(super) fn full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use hull_api::types::Health;

    use super::*;

    #[test]
    fn health_is_read_from_a_state() {
        let state = |status: &str, health: &str| ContainerState {
            status: status.into(),
            running: status == "running",
            health: (!health.is_empty()).then(|| Health {
                status: health.into(),
                ..Health::default()
            }),
            ..ContainerState::default()
        };
        assert_eq!(health(&state("running", "healthy"), true), Some(Ok(())));
        assert_eq!(health(&state("running", "starting"), true), None);
        assert!(matches!(health(&state("running", ""), true), Some(Err(_))));
        assert_eq!(health(&state("running", ""), false), Some(Ok(())));
        assert_eq!(health(&state("created", ""), false), None);
        assert_eq!(health(&state("created", ""), true), None);
        assert_eq!(health(&state("restarting", "healthy"), true), None);
        let restarting = ContainerState {
            restarting: true,
            ..state("running", "unhealthy")
        };
        assert_eq!(health(&restarting, true), None);
        assert!(matches!(
            health(&state("exited", "starting"), false),
            Some(Err(_))
        ));
        assert!(matches!(
            health(&state("running", "unhealthy"), false),
            Some(Err(_))
        ));
    }
}
