//! Progress of a pull, push, load or import: lines that are drawn over on a terminal, and only the
//! steps that matter elsewhere.

use hull_api::client::JsonStream;
use hull_api::progress::{ProgressDetail, ProgressMessage};

use crate::connection::failure;
use crate::error::{Error, Result};
use crate::format::size;
use crate::terminal;
use crate::ui;

/// Columns below which no bar is drawn.
const BAR_COLUMNS_MIN: u16 = 110;
/// Steps of a full bar.
const BAR_STEPS: usize = 50;

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Stdout,
    Stderr,
    /// Only errors count.
    Nowhere,
}

/// Shows a stream to its end, and hands results for programs to `aux`.
///
/// # Errors
/// The error the stream ends with.
pub(crate) async fn show(
    mut stream: JsonStream<ProgressMessage>,
    shown: Shown,
    mut aux: impl FnMut(&serde_json::Value),
) -> Result<()> {
    let is_terminal = match shown {
        Shown::Stdout => ui::out_is_terminal(),
        Shown::Stderr => ui::err_is_terminal(),
        Shown::Nowhere => false,
    };
    let mut screen = Screen {
        is_terminal,
        lines: Vec::new(),
    };
    let mut is_silent = true;
    while let Some(message) = stream.next_item().await {
        let message = message.map_err(failure)?;
        if message == ProgressMessage::default() {
            return Err(Error::new(
                "the daemon's answer is malformed: it is no progress of anything",
            ));
        }
        is_silent = false;
        if let Some(detail) = message.error_detail {
            return Err(Error::new(detail.message));
        }
        if !message.error.is_empty() {
            return Err(Error::new(message.error));
        }
        if let Some(result) = &message.aux {
            aux(result);
            continue;
        }
        let text = screen.text(&message);
        match shown {
            Shown::Stdout => ui::out(&text)?,
            Shown::Stderr => ui::err_bytes(text.as_bytes()),
            Shown::Nowhere => {}
        }
    }
    match is_silent {
        true => Err(Error::new(
            "the daemon's answer is empty: it does not say what was done",
        )),
        false => Ok(()),
    }
}

/// What has been drawn.
struct Screen {
    is_terminal: bool,
    /// Ids in the order of their lines, the last at the bottom.
    lines: Vec<String>,
}

impl Screen {
    /// What to write for a message.
    fn text(&mut self, message: &ProgressMessage) -> String {
        if !message.stream.is_empty() {
            return message.stream.clone();
        }
        let amount = amount(message.detail, self.is_terminal);
        if !self.is_terminal {
            // How far a layer is matters only to who watches.
            return if amount.is_empty() {
                line(message, "") + "\n"
            } else {
                String::new()
            };
        }
        if message.id.is_empty() || message.detail.is_none() {
            self.lines.clear();
            return line(message, &amount) + "\n";
        }
        let content = line(message, &amount);
        match self.lines.iter().position(|id| *id == message.id) {
            Some(at) => {
                let up = self.lines.len() - at;
                format!("\x1b[{up}A\r\x1b[2K{content}\r\x1b[{up}B")
            }
            None => {
                self.lines.push(message.id.clone());
                format!("{content}\n")
            }
        }
    }
}

fn line(message: &ProgressMessage, amount: &str) -> String {
    let id = match message.id.as_str() {
        "" => String::new(),
        id => format!("{id}: "),
    };
    let blank = if amount.is_empty() { "" } else { " " };
    format!("{id}{}{blank}{amount}", message.status)
}

/// `[==>    ]  1.2MB/5MB`; nothing if nothing is known.
fn amount(detail: Option<ProgressDetail>, with_bar: bool) -> String {
    let Some(detail) = detail.filter(|detail| detail.current > 0 || detail.total > 0) else {
        return String::new();
    };
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let human = |bytes: i64| size::decimal_long(bytes as f64);
    let current = human(detail.current);
    if detail.total <= 0 || detail.current > detail.total {
        return format!("{current:>8}");
    }
    let total = human(detail.total);
    let wide = terminal::size().is_some_and(|(_, columns)| columns > BAR_COLUMNS_MIN);
    let bar = if with_bar && wide {
        bar(detail)
    } else {
        String::new()
    };
    format!("{bar}{current:>8}/{total}")
}

fn bar(detail: ProgressDetail) -> String {
    let steps = detail.current.saturating_mul(100) / detail.total.max(1) / 2;
    let steps = usize::try_from(steps).unwrap_or(0).min(BAR_STEPS);
    format!("[{}>{}] ", "=".repeat(steps), " ".repeat(BAR_STEPS - steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(id: &str, status: &str, current: i64) -> ProgressMessage {
        ProgressMessage::layer(id, status, ProgressDetail { current, total: 10 })
    }

    #[test]
    fn without_a_terminal_only_steps_are_told() {
        let mut screen = Screen {
            is_terminal: false,
            lines: Vec::new(),
        };
        assert_eq!(
            screen.text(&ProgressMessage::status("Pulling")),
            "Pulling\n"
        );
        assert_eq!(screen.text(&layer("a", "Downloading", 5)), "");
        let done = ProgressMessage::layer("a", "Pull complete", ProgressDetail::default());
        assert_eq!(screen.text(&done), "a: Pull complete\n");
    }

    #[test]
    fn a_line_is_drawn_where_its_id_stands() {
        let mut screen = Screen {
            is_terminal: true,
            lines: Vec::new(),
        };
        assert_eq!(
            screen.text(&layer("a", "Waiting", 0)),
            "a: Waiting       0B/10B\n"
        );
        assert!(screen.text(&layer("b", "Waiting", 0)).ends_with('\n'));
        let again = screen.text(&layer("a", "Downloading", 5));
        assert!(
            again.starts_with("\x1b[2A\r\x1b[2Ka: Downloading"),
            "{again:?}"
        );
        assert!(again.ends_with("\x1b[2B"));
    }
}
