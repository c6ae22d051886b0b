//! The commands, and how the first words of a command line find theirs.
//!
//! Only the flags of the one command that was asked for are ever built, so the program starts in
//! about a millisecond. A top-level form such as `ps` is the same command under another name.

mod builder;
mod completion;
pub(crate) mod compose;
pub(crate) mod container;
mod context;
mod dispatch;
mod each;
mod examples;
mod explain;
mod filters;
mod guide;
pub(crate) mod image;
mod inspect;
mod inspection;
pub(crate) mod json;
mod login;
mod manifest;
mod nearby;
pub(crate) mod network;
mod pages;
mod plugin;
mod reference;
mod registry;
mod since;
mod stakes;
mod system;
mod table;
mod trust;
mod unavailable;
mod version;
pub(crate) mod volume;

use std::future::Future;

use crate::context::Globals;
use crate::error::{Error, Result, Usage};
use crate::flags::{FlagSet, Parsed, columns, option_lines};
use crate::plugins::Hooks;
use crate::ui;

use reference::Facts;

pub(crate) use dispatch::dispatch;
pub(crate) use table::is_dockers;

/// What Docker says of `-h`.
const SHORT_HELP: &str = "Flag shorthand -h has been deprecated, use --help";

/// How many operands a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operands {
    None,
    Exactly(usize),
    /// As many, told in fewer words.
    Plainly(usize),
    AtLeast(usize),
    AtMost(usize),
    Between(usize, usize),
}

/// What is known of a command without running it.
#[derive(Debug)]
pub(crate) struct About {
    /// Its names: `container run`, `run`. The first is the full one.
    pub(crate) names: &'static [&'static str],
    /// What follows the name in the usage line.
    pub(crate) usage: &'static str,
    /// One line for lists.
    pub(crate) summary: &'static str,
    /// What its own page says; the summary if empty.
    pub(crate) description: &'static str,
    pub(crate) operands: Operands,
    /// A further form, without the program's name.
    pub(crate) second_usage: &'static str,
    /// Whether flags may follow operands.
    pub(crate) interspersed: bool,
    /// With this flag, any number of operands will do.
    pub(crate) freed_by: &'static str,
}

impl About {
    /// A command whose page says no more than its summary and whose flags stand anywhere.
    pub(crate) const fn new(
        names: &'static [&'static str],
        usage: &'static str,
        summary: &'static str,
        operands: Operands,
    ) -> Self {
        Self {
            names,
            usage,
            summary,
            description: "",
            operands,
            second_usage: "",
            interspersed: true,
            freed_by: "",
        }
    }

    /// The first operand ends the flags.
    pub(crate) const fn flags_first(mut self) -> Self {
        self.interspersed = false;
        self
    }

    /// With this flag, any number of operands will do.
    pub(crate) const fn freed_by(mut self, flag: &'static str) -> Self {
        self.freed_by = flag;
        self
    }

    /// With a second usage line.
    pub(crate) const fn second_usage(mut self, usage: &'static str) -> Self {
        self.second_usage = usage;
        self
    }

    /// With a page that says more.
    pub(crate) const fn described(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }
}

/// A command: its fields are its flags.
pub(crate) trait Command: Default + 'static {
    const ABOUT: About;

    /// What it prints with `--json`; without, it does not take that.
    const JSON: Option<json::Shape> = None;

    /// What its page says further under Hull's own name.
    const MORE: &'static str = "";

    /// Binds the fields to flags.
    fn flags<'a>(&'a mut self, _set: &mut FlagSet<'a>) {}

    /// What its own page says.
    fn description() -> String {
        let about = Self::ABOUT;
        let text = match about.description {
            "" => about.summary,
            text => text,
        };
        text.to_owned()
    }

    /// Whether it asks nobody, as its flags are: then nothing is made ready for that.
    fn asks_nobody(&self) -> bool {
        false
    }

    /// Does it, and says with which code to exit.
    fn run(self, call: Call) -> impl Future<Output = Result<u8>>;
}

/// What a command is called with.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) globals: Globals,
    /// The program and the command as they were called: `docker run`.
    pub(crate) name: String,
    pub(crate) operands: Vec<String>,
    /// Long names of the flags that were given.
    pub(crate) changed: Vec<&'static str>,
    /// Whether JSON is wanted, in the shape the command has told.
    pub(crate) json: bool,
}

impl Call {
    /// Whether a flag was given.
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.changed.contains(&flag)
    }

    /// The operand at a place the command's arity guarantees.
    pub(crate) fn operand(&self, at: usize) -> &str {
        self.operands.get(at).map_or("", String::as_str)
    }

    /// `Run 'docker run --help' for more information`
    pub(crate) fn pointer(&self) -> String {
        format!("Run '{} --help' for more information", self.name)
    }

    /// The error in the form `run` gives it: after the program's name, with a pointer to the help.
    pub(crate) fn before_run(&self, error: Error) -> Error {
        match error {
            Error::Failure(failure) => {
                let program = self.globals.program.name();
                let hint = failure
                    .hint
                    .filter(|_| ui::explains())
                    .map(|hint| format!("\nhint: {hint}\n"))
                    .unwrap_or_default();
                let message = failure.message;
                let text = format!("{program}: {message}\n{hint}\n{}", self.pointer());
                let code = if failure.code == 1 {
                    crate::error::EXIT_BEFORE_RUN
                } else {
                    failure.code
                };
                Error::new(text).with_code(code)
            }
            other => other,
        }
    }
}

/// An entry of the table of commands.
pub(crate) struct Entry {
    pub(crate) about: &'static About,
    start: fn(Globals, &str, &[String]) -> Result<u8>,
    /// Its flags, the hidden ones too.
    flags: fn() -> Vec<Facts>,
    json: Option<&'static json::Shape>,
    description: fn() -> String,
}

/// The entry of a command.
pub(crate) const fn entry<C: Command>() -> Entry {
    Entry {
        about: &C::ABOUT,
        start: start::<C>,
        flags: reference::facts::<C>,
        json: const { &C::JSON }.as_ref(),
        description: own_description::<C>,
    }
}

/// What a page says under Hull's own name.
fn own_description<C: Command>() -> String {
    match C::MORE {
        "" => C::description(),
        more => format!("{}\n{more}", C::description()),
    }
}

fn start<C: Command>(mut globals: Globals, name: &str, arguments: &[String]) -> Result<u8> {
    let full = format!("{} {name}", globals.program.name());
    let Read {
        command,
        parsed,
        general,
    } = read::<C>(arguments, &full)?;
    if parsed.help {
        let mut shown = C::default();
        let mut general = General::default();
        let set = flags(&mut shown, &mut general);
        let description = match globals.is_docker() {
            true => C::description(),
            false => own_description::<C>(),
        };
        ui::out(&page(&globals, &full, &C::ABOUT, &description, &set))?;
        return Ok(0);
    }
    since::check(globals.program, name, C::ABOUT.names, &parsed.changed)?;
    if !parsed.changed.contains(&C::ABOUT.freed_by) {
        check_operands(&full, &C::ABOUT, &parsed.operands, globals.program.name())?;
    }
    if general.dry_run {
        compose::rehearse(&mut globals, verb::<C>())?;
    }
    let name = match name.contains(' ') {
        // The group's own name of it, whichever was typed.
        true => C::ABOUT.names.first().copied().unwrap_or(name),
        false => name,
    };
    let own = globals.clone();
    let hooks = Hooks::of_command(&globals, name, &parsed.given, &parsed.operands);
    let call = Call {
        globals,
        name: full,
        operands: parsed.operands,
        changed: parsed.changed,
        json: general.json,
    };
    let runtime = match command.asks_nobody() && hooks.is_none() {
        true => tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(no_runtime)?,
        false => runtime()?,
    };
    let result = runtime.block_on(async {
        match command.run(call).await {
            Err(error) => Err(nearby::beside(&own, error).await),
            done => done,
        }
    });
    if let Some(hooks) = hooks {
        let error = result.as_ref().err().map_or("", Error::message);
        runtime.block_on(hooks.follow(error));
    }
    // A read of the standard input may never return; nothing else is left to wait for.
    runtime.shutdown_background();
    result
}

/// Runs a command from within another one, with a line of its own.
///
/// # Errors
/// Whatever the command or its flags have to say.
async fn invoke<C: Command>(globals: Globals, name: &str, arguments: &[String]) -> Result<u8> {
    let full = format!("{} {name}", globals.program.name());
    let Read {
        command,
        parsed,
        general,
    } = read::<C>(arguments, &full)?;
    let call = Call {
        globals,
        name: full,
        operands: parsed.operands,
        changed: parsed.changed,
        json: general.json,
    };
    command.run(call).await
}

/// Flags that many commands take, whichever they are.
#[derive(Default)]
struct General {
    json: bool,
    /// Of the verbs of `compose`: nothing is changed.
    dry_run: bool,
}

/// A command with its flags read.
struct Read<C> {
    command: C,
    parsed: Parsed,
    general: General,
}

fn read<C: Command>(arguments: &[String], full: &str) -> Result<Read<C>> {
    let once = |arguments: &[String]| {
        let (mut command, mut general) = (C::default(), General::default());
        let parsed = parse(
            flags(&mut command, &mut general),
            arguments,
            full,
            &C::ABOUT,
        )?;
        Ok(Read {
            command,
            parsed,
            general,
        })
    };
    let read = once(arguments)?;
    if !read.general.json || read.parsed.help {
        return Ok(read);
    }
    json::stands_alone(&read.parsed, full, &C::ABOUT)?;
    json::spelled_out::<C>(arguments).map_or(Ok(read), |arguments| once(&arguments))
}

/// The flags of a command, with those that it shares with many.
fn flags<'a, C: Command>(command: &'a mut C, general: &'a mut General) -> FlagSet<'a> {
    let mut set = FlagSet::default();
    command.flags(&mut set);
    if C::JSON.is_some() {
        json::offer(&mut set, &mut general.json);
    }
    if !verb::<C>().is_empty() {
        set.add(
            "dry-run",
            "",
            "Execute command in dry run mode",
            &mut general.dry_run,
        );
    }
    set
}

/// Which verb of `compose` a command is; empty for others.
fn verb<C: Command>() -> &'static str {
    let name = C::ABOUT.names.first().copied().unwrap_or_default();
    name.strip_prefix("compose ").unwrap_or_default()
}

/// Reads a command's flags.
fn parse(set: FlagSet<'_>, arguments: &[String], full: &str, about: &About) -> Result<Parsed> {
    let parsed = set.parse(arguments, about.interspersed).map_err(|error| {
        let unknown = error.unknown.as_deref();
        let before_verb = unknown.and_then(|flag| compose::before_verb(full, flag));
        Error::Usage(Usage {
            message: error.to_string(),
            suggestion: before_verb.or(error.suggestion),
            usage: usage_line(full, about),
            pointer: format!("Run '{full} --help' for more information"),
            code: 125,
        })
    })?;
    if parsed.help_by_letter {
        ui::note(SHORT_HELP);
    }
    Ok(parsed)
}

/// One thread: the command line only waits.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(no_runtime)
}

fn no_runtime(error: std::io::Error) -> Error {
    Error::new(format!("cannot wait for events: {error}"))
}

fn usage_line(full: &str, about: &About) -> String {
    if about.usage.is_empty() {
        full.to_owned()
    } else {
        format!("{full} {}", about.usage)
    }
}

/// The page `--help` prints.
fn page(
    globals: &Globals,
    full: &str,
    about: &About,
    description: &str,
    set: &FlagSet<'_>,
) -> String {
    let mut page = format!("Usage:  {}\n\n{description}\n", usage_line(full, about));
    if !about.second_usage.is_empty() {
        let second = format!("\n\t{} {}\n", globals.program.name(), about.second_usage);
        page = page.replacen('\n', &second, 1);
    }
    if about.names.len() > 1 {
        let program = globals.program.name();
        let names: Vec<String> = about
            .names
            .iter()
            .map(|name| format!("{program} {name}"))
            .collect();
        page.push_str(&format!("\nAliases:\n  {}\n", names.join(", ")));
    }
    let mut flags = set.sorted();
    flags.retain(|flag| !flag.is_own || !globals.is_docker());
    if !flags.is_empty() {
        page.push_str(&format!("\nOptions:\n{}", option_lines(&flags, columns())));
    }
    if !globals.is_docker() {
        page.push_str(&examples::section(about.names));
    }
    page
}

fn check_operands(full: &str, about: &About, operands: &[String], program: &str) -> Result<()> {
    let count = operands.len();
    if let Operands::Plainly(n) = about.operands {
        return match count == n {
            true => Ok(()),
            false => Err(Error::new(format!("accepts {n} arg(s), received {count}"))),
        };
    }
    let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
    let (fits, wants, see) = match about.operands {
        Operands::None => (count == 0, "accepts no arguments".to_owned(), "Run"),
        Operands::Exactly(n) | Operands::Plainly(n) => {
            (count == n, format!("requires {n} {}", plural(n)), "Run")
        }
        Operands::AtLeast(n) => (
            count >= n,
            format!("requires at least {n} {}", plural(n)),
            "See",
        ),
        Operands::AtMost(n) => (
            count <= n,
            format!("requires at most {n} {}", plural(n)),
            "Run",
        ),
        Operands::Between(least, most) => (
            (least..=most).contains(&count),
            format!(
                "requires at least {least} and at most {most} {}",
                plural(most)
            ),
            "Run",
        ),
    };
    if fits {
        return Ok(());
    }
    Err(Error::Usage(Usage {
        message: format!("{program}: '{full}' {wants}"),
        suggestion: None,
        usage: match about.second_usage {
            "" => usage_line(full, about),
            second => format!("{}\n\t{program} {second}", usage_line(full, about)),
        },
        pointer: format!("{see} '{full} --help' for more information"),
        code: 1,
    }))
}
