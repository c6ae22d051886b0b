//! The option list of a help page, wrapped to the terminal.

use super::Flag;

/// Width when the output is no terminal.
const COLUMNS_DEFAULT: usize = 79;
/// A last line may be this much longer than its paragraph, rather than hold one word.
const SLOP: usize = 5;
/// Narrower than this, the text goes below the flag instead of beside it.
const TEXT_COLUMNS_MIN: usize = 24;

/// Columns of the terminal a help page is written to.
pub(crate) fn columns() -> usize {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col) - 1,
        _ => COLUMNS_DEFAULT,
    }
}

/// One entry per flag, each line ending in a newline.
pub(crate) fn option_lines(flags: &[&Flag<'_>], columns: usize) -> String {
    let heads: Vec<String> = flags.iter().map(|flag| head(flag)).collect();
    let width = heads.iter().map(String::len).max().unwrap_or(0) + 1;
    let mut text = String::new();
    for (flag, head) in flags.iter().zip(&heads) {
        let usage = wrap(width + 2, columns, &flag.usage);
        text.push_str(head);
        text.push_str(&" ".repeat(width - head.len() + 2));
        text.push_str(&usage);
        text.push('\n');
    }
    text
}

fn head(flag: &Flag<'_>) -> String {
    let mut head = match flag.short {
        Some(short) => format!("  -{short}, --{}", flag.long),
        None => format!("      --{}", flag.long),
    };
    if !flag.kind.is_empty() {
        head.push(' ');
        head.push_str(flag.kind);
    }
    head
}

/// Breaks `text` so that, indented by `indent`, it fits into `columns`.
fn wrap(mut indent: usize, columns: usize, text: &str) -> String {
    let mut out = String::new();
    if columns.saturating_sub(indent) < TEXT_COLUMNS_MIN {
        indent = 16;
        out.push('\n');
        out.push_str(&" ".repeat(indent));
    }
    let margin = format!("\n{}", " ".repeat(indent));
    if columns.saturating_sub(indent) < TEXT_COLUMNS_MIN {
        return text.replace('\n', &margin);
    }
    let width = columns - indent - SLOP;
    let mut rest = Some(text);
    let mut first = true;
    while let Some(text) = rest {
        let (line, after) = split_line(width, text);
        if !first {
            out.push_str(&margin);
        }
        first = false;
        out.push_str(&line.replace('\n', &margin));
        rest = after;
    }
    out
}

/// The part of `text` that fits a line of `width`, and what follows it.
fn split_line(width: usize, text: &str) -> (&str, Option<&str>) {
    if width + SLOP > text.len() {
        return (text, None);
    }
    let window = &text.as_bytes()[..width];
    let space = window
        .iter()
        .rposition(|byte| matches!(byte, b' ' | b'\t' | b'\n'));
    let Some(space) = space.filter(|at| *at > 0) else {
        return (text, None);
    };
    let at = match window.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) if newline > 0 && newline < space => newline,
        _ => space,
    };
    (
        &text[..at],
        Some(&text[at + 1..]).filter(|after| !after.is_empty()),
    )
}
