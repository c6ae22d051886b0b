//! `reference`: every command with its flags and examples, as one page or as man pages. Made from the definitions that
//! parse the command line, so that neither can differ from it.

use std::path::Path;

use super::table::COMMANDS;
use super::{About, Call, Command, Entry, Operands, examples, usage_line};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

/// What is known of a flag without reading one.
pub(super) struct Facts {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) kind: &'static str,
    pub(super) usage: String,
    pub(super) hidden: bool,
    /// Docker does not have it.
    pub(super) is_own: bool,
}

/// The flags of a command.
pub(super) fn facts<C: Command>() -> Vec<Facts> {
    let (mut command, mut general) = (C::default(), super::General::default());
    let set = super::flags(&mut command, &mut general);
    let facts = set.all_sorted().into_iter().map(|flag| Facts {
        long: flag.long,
        short: flag.short,
        kind: flag.kind,
        usage: flag.usage.clone().into_owned(),
        hidden: flag.hidden,
        is_own: flag.is_own,
    });
    facts.collect()
}

#[derive(Default)]
pub(crate) struct Reference {
    man: String,
}

impl Command for Reference {
    const ABOUT: About = About::new(
        &["reference"],
        "[OPTIONS]",
        "Print the reference of all commands",
        Operands::None,
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "man",
            "string",
            "Write man pages into this directory instead",
            &mut self.man,
        );
    }

    async fn run(self, _call: Call) -> Result<u8> {
        if self.man.is_empty() {
            let pages: String = COMMANDS.iter().map(markdown).collect();
            ui::out(&format!(
                "# The commands of Hull\n\nAs `hull reference` prints them.\n{pages}"
            ))?;
            return Ok(0);
        }
        let directory = Path::new(&self.man);
        let failed = |path: &Path, error| Error::io("write", &path.to_string_lossy(), &error);
        std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
        for entry in COMMANDS {
            let path = directory.join(format!("hull-{}.1", full_name(entry).replace(' ', "-")));
            std::fs::write(&path, man(entry)).map_err(|error| failed(&path, error))?;
        }
        let path = directory.join("hull.1");
        std::fs::write(&path, overview()).map_err(|error| failed(&path, error))?;
        Ok(0)
    }
}

fn full_name(entry: &Entry) -> &'static str {
    entry.about.names.first().copied().unwrap_or_default()
}

fn synopsis(entry: &Entry) -> String {
    usage_line(&format!("hull {}", full_name(entry)), entry.about)
}

/// A flag as it is typed: `-f, --format string`.
fn typed(flag: &Facts) -> String {
    let short = flag
        .short
        .map(|letter| format!("-{letter}, "))
        .unwrap_or_default();
    let kind = match flag.kind {
        "" => String::new(),
        kind => format!(" {kind}"),
    };
    format!("{short}--{}{kind}", flag.long)
}

fn markdown(entry: &Entry) -> String {
    let name = full_name(entry);
    let mut page = format!(
        "\n## hull {name}\n\n    {}\n\n{}\n",
        synopsis(entry),
        (entry.description)()
    );
    if let [_, others @ ..] = entry.about.names
        && !others.is_empty()
    {
        let others: Vec<String> = others
            .iter()
            .map(|other| format!("`hull {other}`"))
            .collect();
        page.push_str(&format!("\nAlso: {}\n", others.join(", ")));
    }
    let flags = (entry.flags)();
    if !flags.is_empty() {
        page.push_str("\n| flag | what for |\n|---|---|\n");
    }
    for flag in &flags {
        let usage = flag.usage.replace('\n', "<br>").replace('|', "\\|");
        page.push_str(&format!("| `{}` | {usage} |\n", typed(flag)));
    }
    for (what, line) in examples::of(entry.about.names) {
        page.push_str(&format!("\n{what}:\n\n    hull {line}\n"));
    }
    page
}

/// Text in troff: backslashes are doubled, and no line begins with a control character.
fn troff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = escaped
        .lines()
        .map(|line| match line.starts_with(['.', '\'']) {
            true => format!("\\&{line}"),
            false => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

fn man(entry: &Entry) -> String {
    let name = full_name(entry);
    let title = format!("HULL-{}", name.replace(' ', "-").to_uppercase());
    let mut page = format!(
        ".TH {title} 1\n.SH NAME\nhull\\-{} \\- {}\n.SH SYNOPSIS\n.B {}\n.SH DESCRIPTION\n.nf\n{}\n.fi\n",
        troff(&name.replace(' ', "-")),
        troff(entry.about.summary),
        troff(&synopsis(entry)),
        troff(&(entry.description)()),
    );
    let flags: Vec<Facts> = (entry.flags)()
        .into_iter()
        .filter(|flag| !flag.hidden)
        .collect();
    if !flags.is_empty() {
        page.push_str(".SH OPTIONS\n");
    }
    for flag in &flags {
        let usage = troff(&flag.usage);
        page.push_str(&format!(
            ".TP\n.B {}\n.nf\n{usage}\n.fi\n",
            troff(&typed(flag))
        ));
    }
    let examples = examples::of(entry.about.names);
    if !examples.is_empty() {
        page.push_str(".SH EXAMPLES\n");
    }
    for (what, line) in examples {
        page.push_str(&format!(
            ".TP\n{}\n.B {}\n",
            troff(what),
            troff(&format!("hull {line}"))
        ));
    }
    page
}

fn overview() -> String {
    let mut page = ".TH HULL 1\n.SH NAME\nhull \\- builds, ships and runs containers\n.SH SYNOPSIS\n.B hull [OPTIONS] COMMAND\n.SH DESCRIPTION\n.nf\n".to_owned();
    page.push_str(&troff(&super::guide::text(crate::context::Program::Hull)));
    page.push_str("\n.fi\n.SH COMMANDS\n");
    for entry in COMMANDS {
        let name = troff(&full_name(entry).replace(' ', "-"));
        page.push_str(&format!(
            ".TP\n.BR hull\\-{name} (1)\n{}\n",
            troff(entry.about.summary)
        ));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_man_begin_no_line_by_accident() {
        assert_eq!(troff(".a\n'b\nc\\d -e"), "\\&.a\n\\&'b\nc\\ed \\-e");
    }

    #[test]
    fn each_command_has_a_page_with_its_flags() {
        let run = COMMANDS
            .iter()
            .find(|entry| entry.about.names.contains(&"run"))
            .unwrap();
        assert!(man(run).contains(".B \\-\\-cap\\-add list"));
        assert!(markdown(run).contains("| `-p, --publish list` |"));
    }
}
