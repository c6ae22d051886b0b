//! `top` without a container: all of them on the whole screen, live, with keys to look closer and to act. Whatever ends
//! it, the terminal is afterwards as it was before.

mod news;
mod view;

use std::io::IsTerminal;
use std::time::Duration;

use hull_api::Client;
use hull_api::client::StopOptions;
use tokio::signal::unix::SignalKind;
use tokio::task::JoinSet;

use crate::connection::failure;
use crate::error::{Error, Result};
use crate::terminal::{self, Input, Mode, Signals, signals};
use crate::ui;

use news::News;
use view::{Act, Screen, Wish};

/// Rows and columns of a terminal that does not tell.
const SIZE: (u16, u16) = (24, 80);
/// An act that takes longer is told as begun.
const ACT_MAX: Duration = Duration::from_secs(60);

/// The alternate screen, as long as this lives.
struct Alternate;

impl Alternate {
    fn enter() -> Result<Self> {
        ui::out("\x1b[?1049h\x1b[?25l")?;
        Ok(Self)
    }
}

impl Drop for Alternate {
    fn drop(&mut self) {
        _ = ui::out("\x1b[0m\x1b[?25h\x1b[?1049l");
    }
}

/// Shows until a key, a signal or the daemon ends it.
///
/// # Errors
/// No terminal, or the daemon went away.
pub(super) async fn show(client: &Client) -> Result<u8> {
    if !std::io::stdin().is_terminal() || !ui::out_is_terminal() {
        return Err(Error::new("a live view needs a terminal")
            .with_hint("`hull stats --no-stream` prints the figures once"));
    }
    let raw =
        Mode::raw(Signals::Heeded).map_err(|error| Error::io("make raw", "/dev/stdin", &error))?;
    let alternate = Alternate::enter()?;
    let ended = watch(client).await;
    drop(alternate);
    drop(raw);
    ended
}

async fn watch(client: &Client) -> Result<u8> {
    let failed = |error| Error::io("watch", "signals", &error);
    let mut interrupt = signals::listen(SignalKind::interrupt()).map_err(failed)?;
    let mut quit = signals::listen(SignalKind::quit()).map_err(failed)?;
    let mut term = signals::listen(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signals::listen(SignalKind::hangup()).map_err(failed)?;
    let mut resizes = signals::resizes();
    let mut keys = Input::open();
    let mut news = news::begin(client);
    let mut acts: JoinSet<String> = JoinSet::new();
    let mut screen = Screen::default();
    loop {
        draw(&mut screen)?;
        tokio::select! {
            item = news.recv() => match item {
                Some(News::Listed(containers)) => screen.list(containers),
                Some(News::Measured(figures)) => screen.measure(*figures),
                Some(News::Lost(error)) => return Err(error),
                None => return Ok(0),
            },
            piece = keys.next() => {
                let Some(piece) = piece else { return Ok(0) };
                for key in view::keys(&piece) {
                    match screen.press(key) {
                        Wish::Nothing => {}
                        Wish::Quit => return Ok(0),
                        Wish::Log(id) => screen.show_log(news::last_lines(client, &id).await),
                        Wish::Act(act, id, name) => _ = acts.spawn(carry_out(client.clone(), act, id, name)),
                    }
                }
            },
            Some(Ok(told)) = acts.join_next() => screen.tell(told),
            _ = interrupt.recv() => return Ok(128 + 2),
            _ = quit.recv() => return Ok(128 + 3),
            _ = term.recv() => return Ok(128 + 15),
            _ = hangup.recv() => return Ok(128 + 1),
            Some(()) = async { resizes.as_mut()?.recv().await } => {}
        }
    }
}

fn draw(screen: &mut Screen) -> Result<()> {
    let (rows, columns) = terminal::size().unwrap_or(SIZE);
    let lines = screen.lines(rows, columns);
    let mut text = "\x1b[H".to_owned();
    for (at, line) in lines.iter().enumerate() {
        text.push_str(line);
        text.push_str("\x1b[0m\x1b[K");
        if at + 1 < usize::from(rows) {
            text.push_str("\r\n");
        }
    }
    text.push_str("\x1b[J");
    ui::out(&text)
}

/// Does it, and says how it went.
async fn carry_out(client: Client, act: Act, id: String, name: String) -> String {
    let options = StopOptions::default();
    let work = async {
        match act {
            Act::Stop => client.container_stop(&id, &options).await,
            Act::Restart => client.container_restart(&id, &options).await,
            Act::Start => client.container_start(&id).await,
            Act::Pause => client.container_pause(&id).await,
            Act::Unpause => client.container_unpause(&id).await,
            Act::Kill => client.container_kill(&id, "KILL").await,
            Act::Remove => client.container_remove(&id, true, false, false).await,
        }
    };
    match tokio::time::timeout(ACT_MAX, work).await {
        Ok(Ok(())) => format!("{name}: {}", act.done()),
        Ok(Err(error)) => failure(error).message().to_owned(),
        Err(_) => format!("{name}: {} takes long; it goes on", act.word()),
    }
}
