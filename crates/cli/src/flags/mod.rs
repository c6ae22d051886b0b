//! Command line flags as Docker's clients know them: POSIX shorthands in groups (`-it`), values
//! joined or apart (`-p80:80`, `-p 80:80`, `--name=web`), switches that also take a value
//! (`--rm=false`), and options that stop at the first operand where a command asks for it.
//!
//! A command binds each of its fields to a flag once, in `flags`; the same table parses and prints
//! the help. Only the table of the invoked command is ever built.

mod help;
mod parse;
pub(crate) mod suggest;
mod value;

use std::borrow::Cow;

pub(crate) use help::{columns, option_lines};
pub(crate) use parse::{Given, Parsed};
pub(crate) use value::{Item, List, Map, One, Value, parse_bool};

/// One flag and the field it fills.
pub(crate) struct Flag<'a> {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    /// What the help calls the value: `list`, `string`, … and nothing for a switch.
    pub(crate) kind: &'static str,
    pub(crate) usage: Cow<'static, str>,
    pub(crate) hidden: bool,
    /// Docker does not have it.
    pub(crate) is_own: bool,
    value: &'a mut dyn Value,
    changed: bool,
    said: Option<String>,
}

/// The flags of one command.
#[derive(Default)]
pub(crate) struct FlagSet<'a> {
    flags: Vec<Flag<'a>>,
}

impl<'a> FlagSet<'a> {
    /// Adds a flag. `name` is `long` or `s,long`.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        kind: &'static str,
        usage: impl Into<Cow<'static, str>>,
        value: &'a mut dyn Value,
    ) {
        let (short, long) = match name.split_once(',') {
            Some((short, long)) => (short.chars().next(), long),
            None => (None, name),
        };
        self.flags.push(Flag {
            long,
            short,
            kind,
            usage: usage.into(),
            hidden: false,
            is_own: false,
            value,
            changed: false,
            said: None,
        });
    }

    /// Adds a flag that the help does not list.
    pub(crate) fn hidden(
        &mut self,
        name: &'static str,
        kind: &'static str,
        value: &'a mut dyn Value,
    ) {
        self.add(name, kind, "", value);
        if let Some(flag) = self.flags.last_mut() {
            flag.hidden = true;
        }
    }

    /// Adds a flag that Docker does not have: its pages do not list it.
    pub(crate) fn own(
        &mut self,
        name: &'static str,
        kind: &'static str,
        usage: &'static str,
        value: &'a mut dyn Value,
    ) {
        self.add(name, kind, usage, value);
        if let Some(flag) = self.flags.last_mut() {
            flag.is_own = true;
        }
    }

    /// Whether there is a flag of this name.
    pub(crate) fn has(&self, long: &str) -> bool {
        self.flags.iter().any(|flag| flag.long == long)
    }

    /// Keeps flags that exist for other systems out of the help; they can be given all the same.
    pub(crate) fn hide(&mut self, names: &[&str]) {
        for flag in &mut self.flags {
            flag.hidden |= names.contains(&flag.long);
        }
    }

    /// The flags, hidden ones too, sorted by their long name.
    pub(crate) fn all_sorted(&self) -> Vec<&Flag<'a>> {
        let mut flags: Vec<_> = self.flags.iter().collect();
        flags.sort_by_key(|flag| flag.long);
        flags
    }

    /// The flags, sorted by their long name as the help lists them.
    pub(crate) fn sorted(&self) -> Vec<&Flag<'a>> {
        let mut flags: Vec<_> = self.flags.iter().filter(|flag| !flag.hidden).collect();
        flags.sort_by_key(|flag| flag.long);
        flags
    }
}
