//! Further processes in a running container.

use std::time::Duration;

use http::StatusCode;
use hull_api::{
    stream,
    types::{ExecCreate, ExecInspect, ExecProcess, ExecStart, IdResponse},
    version::Feature,
};
use hull_engine::container::exec::{ExecOptions, ExecPhase, ExecStarted};
use tokio::{io::AsyncWriteExt, sync::watch, time::timeout};

use super::{
    container::terminal_size,
    streams::{Frames, join_until},
};
use crate::{
    convert::config::check_env,
    http::{
        answer::{Answer, Failure, Outcome, empty, json, json_with, stream_media},
        hijack::{Hijack, Taken},
        request::Request,
    },
};

/// How long the news of an exit may take after the last output.
const CODE_KNOWN_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn create(mut request: Request) -> Outcome {
    let body: ExecCreate = request.json_or_default().await?;
    let command = body.cmd.unwrap_or_default();
    if command.is_empty() {
        return Err(Failure::invalid("no exec command specified"));
    }
    let env = body.env.unwrap_or_default();
    check_env(&env)?;
    let size = body
        .console_size
        .filter(|_| request.version.has(Feature::ConsoleSize));
    let options = ExecOptions {
        command,
        env,
        user: body.user,
        working_dir: body.working_dir,
        tty: body.tty,
        privileged: body.privileged,
        stdin: body.attach_stdin,
        stdout: body.attach_stdout,
        stderr: body.attach_stderr,
        detach_keys: (!body.detach_keys.is_empty()).then_some(body.detach_keys),
        console_size: size.map(|[rows, columns]| (rows, columns)),
    };
    let id = request.app.engine.exec_create(request.name(), options)?;
    Ok(json_with(
        StatusCode::CREATED,
        &IdResponse { id: id.to_string() },
    ))
}

pub(super) async fn start(mut request: Request) -> Outcome {
    let body: ExecStart = request.json_or_default().await?;
    let size = body
        .console_size
        .filter(|_| request.version.has(Feature::ConsoleSize));
    let size = size.map(|[rows, columns]| (rows, columns));
    let engine = request.app.engine.clone();
    let exec = engine.exec_inspect(request.name())?;
    if body.detach {
        engine.exec_start(exec.id.as_str(), true, size).await?;
        return Ok(empty(StatusCode::OK));
    }
    engine.exec_can_start(exec.id.as_str())?;
    let upgrade = request.wants_upgrade();
    // How the client reads is what it says now; what the process has was said before.
    let tty = body.tty;
    let frames = Frames::between(exec.options.tty, tty);
    let media = stream_media(!tty && upgrade, request.version);
    // The head first, then the process: see `Hijack` on output that comes along with a head.
    Ok(Answer::Hijack(Hijack::stream(
        upgrade,
        media,
        move |client| async move {
            match engine.exec_start(exec.id.as_str(), false, size).await {
                Ok(ExecStarted::Attached { stream, ended, .. }) => {
                    join_until(client, stream, frames, code_is_known(ended)).await;
                }
                Ok(ExecStarted::Failed { message, .. }) => tell(client, tty, message).await,
                Ok(ExecStarted::Detached) => {}
                Err(error) => tell(client, tty, Failure::from(error).message).await,
            }
        },
    )))
}

/// Waits until a session's exit code is known, for clients ask for it when their stream ends.
async fn code_is_known(mut ended: watch::Receiver<bool>) {
    let _ = timeout(CODE_KNOWN_WITHIN, ended.wait_for(|ended| *ended)).await;
}

/// Says why there is no process, where its output would have been.
async fn tell(mut client: Taken, tty: bool, message: String) {
    let text = format!("{message}\r\n");
    let bytes = match tty {
        true => text.into(),
        false => stream::frame(stream::Stream::Stdout, text.as_bytes()),
    };
    let _ = client.write_all(&bytes).await;
    let _ = client.shutdown().await;
}

pub(super) async fn resize(request: Request) -> Outcome {
    let (rows, columns) = terminal_size(&request)?;
    request
        .app
        .engine
        .exec_resize(request.name(), rows, columns)
        .await?;
    Ok(empty(StatusCode::OK))
}

pub(super) fn inspect(request: &Request) -> Outcome {
    let exec = request.app.engine.exec_inspect(request.name())?;
    let (running, pid, code) = match exec.phase {
        ExecPhase::Created => (false, 0, None),
        ExecPhase::Starting => (true, 0, None),
        ExecPhase::Running { pid } => (true, pid, None),
        ExecPhase::Ended { pid, code } => (false, pid, Some(i64::from(code))),
    };
    let options = exec.options;
    let mut words = options.command.into_iter();
    Ok(json(&ExecInspect {
        id: exec.id.to_string(),
        running,
        exit_code: code,
        process_config: ExecProcess {
            tty: options.tty,
            entrypoint: words.next().unwrap_or_default(),
            arguments: words.collect(),
            privileged: Some(options.privileged),
            user: options.user,
        },
        open_stdin: options.stdin,
        open_stderr: options.stderr,
        open_stdout: options.stdout,
        can_remove: false,
        container_id: exec.container.to_string(),
        detach_keys: options.detach_keys.unwrap_or_default(),
        pid: i64::from(pid),
    }))
}
