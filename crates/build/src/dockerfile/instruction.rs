//! Instructions, typed. Values are as typed: variables are substituted when a stage is planned.

use super::words::{Command, Pair};
use super::{Heredoc, Span};

/// A stage: from one `FROM` to the next.
#[derive(Debug, Clone)]
pub struct Stage {
    /// `AS name`, as typed.
    pub name: Option<String>,
    /// The image or stage it begins with.
    pub image: String,
    /// `--platform`.
    pub platform: Option<String>,
    /// Its instructions.
    pub steps: Vec<Step>,
    /// Where the `FROM` stands.
    pub span: Span,
    /// The `FROM` line.
    pub original: String,
    /// The comments right before it.
    pub comments: Vec<String>,
}

/// One instruction of a stage.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it says.
    pub instruction: Instruction,
    /// Where it stands.
    pub span: Span,
    /// Its line, continuations joined.
    pub original: String,
    /// Its heredocs.
    pub heredocs: Vec<Heredoc>,
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// Begins a stage.
    From {
        /// An image or an earlier stage.
        image: String,
        /// The stage's name.
        name: Option<String>,
        /// `--platform`.
        platform: Option<String>,
    },
    /// Executes a command.
    Run(Run),
    /// Copies files.
    Copy(Copy),
    /// The default command.
    Cmd(Command),
    /// What comes before the command.
    Entrypoint(Command),
    /// Variables.
    Env(Vec<Pair>),
    /// Labels.
    Label(Vec<Pair>),
    /// Build arguments.
    Arg(Vec<ArgDeclaration>),
    /// Ports.
    Expose(String),
    /// Paths that get a volume.
    Volume(Vec<String>),
    /// Who runs it.
    User(String),
    /// Where it runs.
    Workdir(String),
    /// An instruction for builds on top.
    Onbuild(String),
    /// How to ask it to stop.
    Stopsignal(String),
    /// How to ask whether it is well.
    Healthcheck(Healthcheck),
    /// What runs the shell form.
    Shell(Vec<String>),
    /// Who made it.
    Maintainer(String),
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What is executed.
    pub command: Command,
    /// `--mount` values as typed.
    pub mounts: Vec<String>,
    /// `--network`.
    pub network: Option<String>,
    /// `--security`.
    pub security: Option<String>,
    /// `--device` values as typed.
    pub devices: Vec<String>,
}

/// A device that a `RUN` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDevice {
    /// `vendor.com/class=name`, or what stands for several.
    pub name: String,
    /// The command is not run without it.
    pub required: bool,
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copy {
    /// `ADD`: archives are unpacked, addresses fetched.
    pub is_add: bool,
    /// What to copy. A heredoc stands here as its announcement (`<<EOF`).
    pub sources: Vec<String>,
    /// Where to.
    pub destination: String,
    /// `--from`.
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`, each.
    pub excludes: Vec<String>,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub keep_git_dir: bool,
    /// `--unpack`.
    pub unpack: Option<bool>,
}

/// One name of an `ARG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// Its name.
    pub name: String,
    /// Its default, as typed.
    pub default: Option<String>,
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// Not even the base image's.
    None,
    /// Durations are nanoseconds; 0: the default.
    Check {
        /// What is executed.
        command: Command,
        /// Between two probes.
        interval_ns: i64,
        /// For one probe.
        timeout_ns: i64,
        /// After the start.
        start_period_ns: i64,
        /// Between two probes in the start period.
        start_interval_ns: i64,
        /// Failures in a row.
        retries: i64,
    },
}

/// A `RUN --mount`, variables substituted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RunMount {
    /// Files of a stage, an image or a context.
    Bind {
        /// Absolute, or below the working directory.
        target: String,
        /// Below the root of `from`.
        source: String,
        /// `None`: the build context.
        from: Option<String>,
        /// Writes are allowed, and thrown away.
        writable: bool,
    },
    /// A directory that stays between builds.
    Cache {
        /// Where.
        target: String,
        /// Which; by default the target.
        id: String,
        /// How several steps use it.
        sharing: Sharing,
        /// What a new one begins with.
        from: Option<String>,
        /// Below the root of `from`.
        source: String,
        /// Permission bits of a new one.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
        /// It cannot be written to.
        read_only: bool,
    },
    /// Memory.
    Tmpfs {
        /// Where.
        target: String,
        /// Bytes; 0: no limit.
        size: u64,
    },
    /// A secret, as a file or a variable.
    Secret {
        /// Which.
        id: String,
        /// The file; `None`: none.
        target: Option<String>,
        /// The variable; `None`: none.
        env: Option<String>,
        /// The step fails without it.
        required: bool,
        /// Permission bits.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// The client's ssh agent.
    Ssh {
        /// Which.
        id: String,
        /// The socket; `None`: a place of the builder's choice.
        target: Option<String>,
        /// The step fails without it.
        required: bool,
        /// Permission bits.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

/// How several steps use one cache directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// At the same time.
    Shared,
    /// A step that finds it in use gets another.
    Private,
    /// One waits for the other.
    Locked,
}
