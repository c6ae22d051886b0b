//! Further processes in a running container.

use http::StatusCode;
use hull_api::{
    stream,
    types::{ExecCreate, ExecInspect, ExecProcess, ExecStart, IdResponse},
    version::Feature,
};
use hull_engine::{
    Kind,
    container::exec::{ExecOptions, ExecPhase, ExecStarted},
};
use tokio::io::AsyncWriteExt;

use super::{container::terminal_size, streams::join};
use crate::{
    convert::config::check_env,
    http::{
        answer::{Answer, Failure, Outcome, empty, json, json_with, stream_media},
        hijack::{Hijack, Taken},
        request::Request,
    },
};

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
    let upgrade = request.wants_upgrade();
    let media = |tty: bool| stream_media(!tty && upgrade, request.version);
    let engine = &request.app.engine;
    let started = engine.exec_start(request.name(), body.detach, size).await;
    let (tty, message) = match started {
        Ok(ExecStarted::Detached) => return Ok(empty(StatusCode::OK)),
        Ok(ExecStarted::Attached { tty, stream }) => {
            let join = move |client| join(client, stream);
            return Ok(Answer::Hijack(Hijack::stream(upgrade, media(tty), join)));
        }
        Ok(ExecStarted::Failed { tty, message }) => (tty, message),
        // A client that asked for a stream shows no other answer's text. Only a session that is
        // not there is told by status, as Docker does.
        Err(error) if upgrade && !body.detach && error.kind() != Kind::NotFound => {
            (body.tty, Failure::from(error).message)
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Answer::Hijack(Hijack::stream(
        upgrade,
        media(tty),
        move |client| tell(client, tty, message),
    )))
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
