//! What a service wants done before its containers start: each step in a container of its own that runs
//! to its end and goes, one after the other; one that fails keeps the service from starting.

use hull_api::client::LogsOptions;
use hull_api::stream::FrameReader;

use super::{ApplyError, Engine, Named, Result, RunOptions};
use crate::labels;
use crate::model::{HealthCheck, Hook, Service};

impl Engine<'_> {
    /// Runs the steps for one container of a service; without a container, those for all of them.
    pub(super) async fn run_pre_start(&self, service: &Service, of: Option<&str>) -> Result<()> {
        for (number, hook) in service.pre_start.iter().enumerate() {
            if hook.per_replica == of.is_some() {
                let whose = match of {
                    Some(container) => container.to_owned(),
                    None => format!("{}-{}", self.project.name, service.name),
                };
                let name = format!("{whose}-pre-start-{}", number + 1);
                self.run_step(service, hook, &name).await?;
            }
        }
        Ok(())
    }

    async fn run_step(&self, service: &Service, hook: &Hook, name: &str) -> Result<()> {
        let what = format!("Container {name}");
        self.working(&what, "Running");
        if self.client.is_rehearsal() {
            return self.told(&what, "Exited", Ok(()));
        }
        let result = async {
            self.remove_leftover(name).await?;
            let id = self
                .create_one_off(&step(service, hook), &options(hook, name))
                .await?;
            let code = self.run_to_end(&id, name).await;
            let removed = self.client.container_remove(&id, true, true, false).await;
            let code = code?;
            removed.named("remove the container", name)?;
            match code {
                0 => Ok(()),
                code => Err(ApplyError::Service {
                    service: service.name.clone(),
                    message: format!(
                        "it is not started, for its `pre_start` step `{}` exited with {code}",
                        hook.command().join(" ")
                    ),
                }),
            }
        }
        .await;
        self.told(&what, "Exited", result)
    }

    /// A run that was broken off may have left its container.
    async fn remove_leftover(&self, name: &str) -> Result<()> {
        let found = match self.client.container(name).await {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other.named("look at the container", name)?,
        };
        let labels = found.config.labels.unwrap_or_default();
        let is = |key: &str, value: &str| labels.get(key).is_some_and(|own| own == value);
        if is(labels::PROJECT, &self.project.name) && is(labels::ONE_OFF, "True") {
            self.client
                .container_remove(&found.id, true, true, false)
                .await
                .named("remove the container", name)?;
        }
        Ok(())
    }

    /// Starts a container, shows what it says, and returns how it ended.
    async fn run_to_end(&self, id: &str, name: &str) -> Result<i64> {
        let ended = self
            .client
            .container_wait(id, "next-exit")
            .await
            .named("wait for", name)?;
        self.client
            .container_start(id)
            .await
            .named("start the container", name)?;
        let options = LogsOptions {
            follow: true,
            stdout: true,
            stderr: true,
            tail: "all".into(),
            ..LogsOptions::default()
        };
        let mut said = self
            .client
            .container_logs(id, &options)
            .await
            .named("read what is said by", name)?;
        let mut frames = FrameReader::new();
        while let Some(Ok(piece)) = said.next_piece().await {
            frames.push(&piece);
            while let Ok(Some(frame)) = frames.next_frame() {
                self.report.output(&String::from_utf8_lossy(&frame.bytes));
            }
        }
        Ok(ended.result().await.named("wait for", name)?.status_code)
    }
}

/// The service as a step's container sees it. Its entry point is that of the image: the service's own
/// would run the service.
fn step(service: &Service, hook: &Hook) -> Service {
    let mut step = service.clone();
    if !hook.image.is_empty() {
        step.image.clone_from(&hook.image);
        step.user = String::new();
    }
    step.entrypoint = None;
    step.command = None;
    step.privileged |= hook.privileged;
    step.healthcheck = Some(HealthCheck {
        disable: true,
        ..HealthCheck::default()
    });
    step
}

fn options(hook: &Hook, name: &str) -> RunOptions {
    RunOptions {
        name: name.to_owned(),
        slug: name.to_owned(),
        command: hook.command.clone(),
        environment: hook
            .environment
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        user: hook.user.clone(),
        working_dir: hook.working_dir.clone(),
        ..RunOptions::default()
    }
}
