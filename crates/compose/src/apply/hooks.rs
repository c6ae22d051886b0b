//! Commands that a service wants run in its containers after their start and before their end.

use hull_api::stream::FrameReader;
use hull_api::types::{ExecCreate, ExecStart};
use tokio::io::AsyncReadExt;

use super::{ApplyError, Engine, Named, Result};
use crate::model::{Hook, Service};
use crate::plan::container::environment;

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
        let exec = self
            .client
            .exec_create(id, &body)
            .await
            .named("run a hook in", name)?
            .id;
        let stream = self
            .client
            .exec_start(&exec, &ExecStart::default())
            .await
            .named("run a hook in", name)?;
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
                let command = hook.command.clone().unwrap_or_default().join(" ");
                Err(ApplyError::Service {
                    service: service.name.clone(),
                    message: format!("the hook `{command}` in {name} exited with {code}"),
                })
            }
        }
    }
}
