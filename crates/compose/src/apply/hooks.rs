//! Commands that a service wants run in its containers after their start and before their end.

use std::time::Duration;

use hull_api::ClientError;
use hull_api::stream::FrameReader;
use hull_api::types::{ExecCreate, ExecStart};
use tokio::io::AsyncReadExt;

use super::{ApplyError, Engine, Named, Result};
use crate::model::{Hook, Service};
use crate::plan::container::environment;

/// How long the end of a container may take to be known.
const END_KNOWN_WITHIN: Duration = Duration::from_secs(1);

impl Engine<'_> {
    /// Runs a hook to its end; its output is shown, a failure is one of the whole.
    pub(super) async fn hook(
        &self,
        service: &Service,
        id: &str,
        name: &str,
        hook: &Hook,
    ) -> Result<()> {
        if self.client.is_rehearsal() {
            let command = hook.command.clone().unwrap_or_default().join(" ");
            self.done(&format!("Container {name}"), &format!("Run {command}"));
            return Ok(());
        }
        let body = ExecCreate {
            user: hook.user.clone(),
            privileged: hook.privileged,
            attach_stdout: true,
            attach_stderr: true,
            env: Some(environment(&hook.environment)),
            working_dir: hook.working_dir.clone(),
            cmd: hook.command.clone(),
            ..ExecCreate::default()
        };
        let started = async {
            let exec = self.client.exec_create(id, &body).await?.id;
            let stream = self.client.exec_start(&exec, &ExecStart::default()).await?;
            Ok::<_, ClientError>((exec, stream))
        };
        let (exec, stream) = match started.await {
            Ok(started) => started,
            Err(error) => {
                self.check_runs(service, id, hook, "before").await?;
                return Err(error).named("run a hook in", name);
            }
        };
        let (mut reader, _writer) = stream.split();
        let mut frames = FrameReader::new();
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count) = reader.read(&mut buffer).await {
            if count == 0 {
                break;
            }
            frames.push(&buffer[..count]);
            while let Ok(Some(frame)) = frames.next_frame() {
                self.report.output(&String::from_utf8_lossy(&frame.bytes));
            }
        }
        let ended = self.client.exec(&exec).await.named("run a hook in", name)?;
        match ended.exit_code.unwrap_or_default() {
            0 => Ok(()),
            code => {
                // Its container may have taken it along, or kept it from starting; that is told
                // a little later.
                if let Some(when) = taken_along(code) {
                    _ = tokio::time::timeout(END_KNOWN_WITHIN, self.end_of(id)).await;
                    self.check_runs(service, id, hook, when).await?;
                }
                let command = hook.command.clone().unwrap_or_default().join(" ");
                Err(ApplyError::Service {
                    service: service.name.clone(),
                    message: format!("the hook `{command}` in {name} exited with {code}"),
                })
            }
        }
    }

    async fn end_of(&self, id: &str) -> std::result::Result<(), ClientError> {
        self.client
            .container_wait(id, "not-running")
            .await?
            .result()
            .await?;
        Ok(())
    }

    /// Says how the container ended, if that is why a hook did not do its work.
    async fn check_runs(&self, service: &Service, id: &str, hook: &Hook, when: &str) -> Result<()> {
        let Ok(container) = self.client.container(id).await else {
            return Ok(());
        };
        let state = container.state;
        if state.running {
            return Ok(());
        }
        let command = hook.command.clone().unwrap_or_default().join(" ");
        Err(ApplyError::Service {
            service: service.name.clone(),
            message: format!(
                "the container {} exited with {} {when} its hook `{command}`",
                container.name.trim_start_matches('/'),
                state.exit_code
            ),
        })
    }
}

/// When a container ended whose hook has this code, if that is what the code is of.
fn taken_along(code: i64) -> Option<&'static str> {
    match code {
        126 => Some("before"),
        137 => Some("during"),
        _ => None,
    }
}
