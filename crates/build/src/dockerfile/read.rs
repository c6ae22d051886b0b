//! From an instruction as it stands to what it says. The texts of errors are BuildKit's.

use super::flags::{Flags, boolean, closest};
use super::instruction::{
    ArgDeclaration, Copy, Healthcheck, Instruction, Run, RunDevice, RunMount, Sharing,
};
use super::{Node, words};
use crate::error::{Located, SyntaxError};

type Result<T, E = SyntaxError> = std::result::Result<T, E>;

const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// The shortest duration a health check takes.
const DURATION_NS_MIN: i64 = 1_000_000;

/// What an instruction says.
pub(crate) fn instruction_of(
    node: &Node,
    escape: char,
) -> Result<Instruction, Located<SyntaxError>> {
    read(node, escape).map_err(|error| error.at(node.span))
}

fn read(node: &Node, escape: char) -> Result<Instruction> {
    let keyword = node.keyword.to_ascii_uppercase();
    let text = node.text.as_str();
    let words = words::plain(text);
    match keyword.as_str() {
        "FROM" => from(node, &words),
        "RUN" => run(node),
        "COPY" => copy(node, false),
        "ADD" => copy(node, true),
        "HEALTHCHECK" => healthcheck(node),
        other => {
            let instruction = match other {
                "CMD" => Instruction::Cmd(words::command(text)),
                "ENTRYPOINT" => {
                    at_least_one("ENTRYPOINT", &words)?;
                    Instruction::Entrypoint(words::command(text))
                }
                "ENV" => Instruction::Env(pairs("ENV", text, escape)?),
                "LABEL" => Instruction::Label(pairs("LABEL", text, escape)?),
                "ARG" => Instruction::Arg(args(text, escape)?),
                "EXPOSE" => {
                    at_least_one("EXPOSE", &words)?;
                    Instruction::Expose(text.to_owned())
                }
                "VOLUME" => Instruction::Volume(volumes(text)?),
                "USER" => Instruction::User(sole("USER", text)?),
                "WORKDIR" => Instruction::Workdir(sole("WORKDIR", text)?),
                "STOPSIGNAL" => Instruction::Stopsignal(sole("STOPSIGNAL", text)?),
                "MAINTAINER" => Instruction::Maintainer(sole("MAINTAINER", text)?),
                "ONBUILD" => Instruction::Onbuild(onbuild(node)?),
                "SHELL" => Instruction::Shell(shell(text)?),
                _ => return Err(unknown(&node.keyword)),
            };
            Flags::read(&node.flags, &[], &[])?;
            Ok(instruction)
        }
    }
}

fn unknown(keyword: &str) -> SyntaxError {
    let near = closest(&keyword.to_ascii_uppercase(), KEYWORDS.into_iter());
    SyntaxError::UnknownInstruction {
        keyword: keyword.to_owned(),
        suggestion: near.map(str::to_owned),
    }
}

fn at_least_one(keyword: &str, words: &[String]) -> Result<()> {
    if words.is_empty() {
        return Err(SyntaxError::AtLeastOne(keyword.to_owned()));
    }
    Ok(())
}

fn sole(keyword: &str, text: &str) -> Result<String> {
    if text.is_empty() {
        return Err(SyntaxError::ExactlyOne(keyword.to_owned()));
    }
    Ok(text.to_owned())
}

fn from(node: &Node, words: &[String]) -> Result<Instruction> {
    let platform = Flags::read(&node.flags, &["platform"], &[])?.text("platform")?;
    let name = match words {
        [_] => None,
        [_, word, name] if word.eq_ignore_ascii_case("AS") => Some(name.clone()),
        _ => return Err(SyntaxError::From),
    };
    if let Some(name) = &name
        && !is_stage_name(name)
    {
        return Err(SyntaxError::StageName(name.clone()));
    }
    Ok(Instruction::From {
        image: words[0].clone(),
        name,
        platform,
    })
}

fn is_stage_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn run(node: &Node) -> Result<Instruction> {
    let flags = Flags::read(&node.flags, &["network", "security"], &["mount", "device"])?;
    if node.text.is_empty() {
        return Err(SyntaxError::AtLeastOne("RUN".to_owned()));
    }
    Ok(Instruction::Run(Run {
        command: words::command(&node.text),
        mounts: flags.all("mount")?,
        network: flags.text("network")?,
        security: flags.text("security")?,
        devices: flags.all("device")?,
    }))
}

fn copy(node: &Node, is_add: bool) -> Result<Instruction> {
    let keyword = if is_add { "ADD" } else { "COPY" };
    let known: &[&str] = if is_add {
        &[
            "chown",
            "chmod",
            "link",
            "checksum",
            "keep-git-dir",
            "unpack",
        ]
    } else {
        &["chown", "chmod", "link", "from", "parents"]
    };
    let flags = Flags::read(&node.flags, known, &["exclude"])?;
    let mut sources = words::list(&node.text);
    let Some(destination) = sources.pop() else {
        return Err(SyntaxError::CopyNothing(keyword.to_owned()));
    };
    if sources.is_empty() {
        return Err(SyntaxError::CopyOne(keyword.to_owned()));
    }
    Ok(Instruction::Copy(Copy {
        is_add,
        sources,
        destination,
        from: flags.text("from")?,
        chown: flags.text("chown")?,
        chmod: flags.text("chmod")?,
        link: flags.switch("link")?.unwrap_or(false),
        parents: flags.switch("parents")?.unwrap_or(false),
        excludes: flags.all("exclude")?,
        checksum: flags.text("checksum")?,
        keep_git_dir: flags.switch("keep-git-dir")?.unwrap_or(false),
        unpack: flags.switch("unpack")?,
    }))
}

fn pairs(keyword: &str, text: &str, escape: char) -> Result<Vec<words::Pair>> {
    let pairs = words::pairs(text, keyword, escape)?;
    if pairs.is_empty() {
        return Err(SyntaxError::AtLeastOne(keyword.to_owned()));
    }
    if pairs.iter().any(|pair| pair.name.is_empty()) {
        return Err(SyntaxError::BlankName(keyword.to_owned()));
    }
    Ok(pairs)
}

fn args(text: &str, escape: char) -> Result<Vec<ArgDeclaration>> {
    let words = words::quoted(text, escape);
    at_least_one("ARG", &words)?;
    let declaration = |word: &String| {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (word.as_str(), None),
        };
        if name.is_empty() {
            return Err(SyntaxError::BlankName("ARG".to_owned()));
        }
        Ok(ArgDeclaration {
            name: name.to_owned(),
            default,
        })
    };
    words.iter().map(declaration).collect()
}

fn volumes(text: &str) -> Result<Vec<String>> {
    let volumes = words::list(text);
    at_least_one("VOLUME", &volumes)?;
    if volumes.iter().any(|volume| volume.trim().is_empty()) {
        return Err(SyntaxError::EmptyVolume);
    }
    Ok(volumes)
}

fn onbuild(node: &Node) -> Result<String> {
    let words = words::plain(&node.text);
    at_least_one("ONBUILD", &words)?;
    let trigger = words[0].to_ascii_uppercase();
    match trigger.as_str() {
        "ONBUILD" => Err(SyntaxError::OnbuildChain),
        "FROM" | "MAINTAINER" => Err(SyntaxError::OnbuildTrigger(trigger)),
        word if !KEYWORDS.contains(&word) => Err(unknown(&words[0])),
        _ => {
            let mut text = node.text.clone();
            for heredoc in &node.heredocs {
                text.push('\n');
                text.push_str(&heredoc.content);
                text.push_str(&heredoc.name);
            }
            Ok(text)
        }
    }
}

fn shell(text: &str) -> Result<Vec<String>> {
    match words::json(text) {
        Some(words) if words.is_empty() => Err(SyntaxError::AtLeastOne("SHELL".to_owned())),
        Some(words) => Ok(words),
        None if text.is_empty() => Err(SyntaxError::AtLeastOne("SHELL".to_owned())),
        None => Err(SyntaxError::ShellForm),
    }
}

fn healthcheck(node: &Node) -> Result<Instruction> {
    let flags = [
        "interval",
        "timeout",
        "start-period",
        "start-interval",
        "retries",
    ];
    let given = Flags::read(&node.flags, &flags, &[])?;
    let mut words = node.text.split_whitespace();
    let Some(kind) = words.next() else {
        return Err(SyntaxError::AtLeastOne("HEALTHCHECK".to_owned()));
    };
    let rest = node.text[kind.len()..].trim();
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if !rest.is_empty() => Err(SyntaxError::HealthNone),
        "NONE" if !node.flags.is_empty() => Err(SyntaxError::HealthNoneFlags),
        "NONE" => Ok(Instruction::Healthcheck(Healthcheck::None)),
        "CMD" if rest.is_empty() => Err(SyntaxError::HealthCommand),
        "CMD" => Ok(Instruction::Healthcheck(Healthcheck::Check {
            command: words::command(rest),
            interval_ns: duration(&given, "interval")?,
            timeout_ns: duration(&given, "timeout")?,
            start_period_ns: duration(&given, "start-period")?,
            start_interval_ns: duration(&given, "start-interval")?,
            retries: retries(&given)?,
        })),
        _ => Err(SyntaxError::HealthType(kind.to_owned())),
    }
}

fn retries(flags: &Flags<'_>) -> Result<i64> {
    let Some(text) = flags.text("retries")? else {
        return Ok(0);
    };
    match text.parse::<i32>() {
        Ok(number) if number >= 0 => Ok(i64::from(number)),
        Ok(number) => Err(SyntaxError::HealthRetries(number)),
        Err(_) => Err(SyntaxError::Number {
            flag: "retries".to_owned(),
            value: text,
        }),
    }
}

fn duration(flags: &Flags<'_>, name: &str) -> Result<i64> {
    let Some(text) = flags.text(name)? else {
        return Ok(0);
    };
    let invalid = || SyntaxError::Duration(text.clone());
    let nanoseconds = nanoseconds(&text).ok_or_else(invalid)?;
    if nanoseconds != 0 && nanoseconds < DURATION_NS_MIN {
        return Err(SyntaxError::ShortDuration(name.to_owned()));
    }
    Ok(nanoseconds)
}

/// Go's durations: `1h30m`, `1.5s`, `100ms`, `0`.
fn nanoseconds(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 6e10),
        ("h", 3.6e12),
    ];
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (_, factor) = UNITS.iter().find(|(unit, _)| *unit == &after[..end])?;
        total += number * factor;
        rest = &after[end..];
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "bounded in the line before"
    )]
    (total < 9e18).then_some(total as i64)
}

/// A `--device` value, variables substituted already: `[name=]vendor.com/class[=name][,required]`.
pub(crate) fn device_of(text: &str) -> Result<RunDevice> {
    let mut device = RunDevice {
        name: String::new(),
        required: false,
    };
    let named = |device: &mut RunDevice, name: &str| {
        if !device.name.is_empty() {
            return Err(SyntaxError::DeviceTwice(device.name.clone()));
        }
        name.clone_into(&mut device.name);
        Ok(())
    };
    for field in text.split(',').map(str::trim) {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        match key.to_ascii_lowercase().as_str() {
            "name" => named(&mut device, value)?,
            "required" if key.len() == field.len() => device.required = true,
            "required" => {
                let required = boolean(value).ok_or_else(|| SyntaxError::MountInvalid {
                    key: "required".to_owned(),
                    value: value.to_owned(),
                });
                device.required = required?;
            }
            kind if kind.contains('/') => named(&mut device, field)?,
            _ => return Err(SyntaxError::DeviceField(field.to_owned())),
        }
    }
    if device.name.is_empty() {
        return Err(SyntaxError::DeviceField(text.to_owned()));
    }
    Ok(device)
}

/// A `--mount` value, variables substituted already.
pub(crate) fn mount_of(text: &str) -> Result<RunMount> {
    let mut fields = Vec::new();
    for field in text.split(',') {
        let field = field.trim();
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field, None),
        };
        fields.push((key.to_ascii_lowercase(), value.map(str::to_owned)));
    }
    let mut mount = Mount {
        fields,
        kind: String::new(),
    };
    mount.kind = mount.text(&["type"])?.unwrap_or_else(|| "bind".to_owned());
    match mount.kind.as_str() {
        "bind" => mount.bind(),
        "cache" => mount.cache(),
        "tmpfs" => mount.tmpfs(),
        "secret" => mount.secret(),
        "ssh" => mount.ssh(),
        other => Err(SyntaxError::MountType(other.to_owned())),
    }
}

struct Mount {
    fields: Vec<(String, Option<String>)>,
    kind: String,
}

const TARGET: [&str; 3] = ["target", "dst", "destination"];
const SOURCE: [&str; 2] = ["source", "src"];

impl Mount {
    fn known(&self, keys: &[&[&str]]) -> Result<()> {
        let all = || keys.iter().flat_map(|keys| keys.iter()).copied();
        for (key, _) in &self.fields {
            if key != "type" && !all().any(|known| known == key) {
                let suggestion = closest(key, all()).map(str::to_owned);
                return Err(SyntaxError::MountKey {
                    key: key.clone(),
                    kind: self.kind.clone(),
                    suggestion,
                });
            }
        }
        Ok(())
    }

    fn text(&self, keys: &[&str]) -> Result<Option<String>> {
        match self
            .fields
            .iter()
            .find(|(key, _)| keys.contains(&key.as_str()))
        {
            None => Ok(None),
            Some((_, Some(value))) => Ok(Some(value.clone())),
            Some((key, None)) => Err(SyntaxError::MountValue(key.clone())),
        }
    }

    fn switch(&self, keys: &[&str]) -> Result<Option<bool>> {
        match self
            .fields
            .iter()
            .find(|(key, _)| keys.contains(&key.as_str()))
        {
            None => Ok(None),
            Some((_, None)) => Ok(Some(true)),
            Some((key, Some(value))) => {
                boolean(value)
                    .map(Some)
                    .ok_or_else(|| SyntaxError::MountInvalid {
                        key: key.clone(),
                        value: value.clone(),
                    })
            }
        }
    }

    fn number(&self, key: &str, radix: u32, default: u32) -> Result<u32> {
        let Some(text) = self.text(&[key])? else {
            return Ok(default);
        };
        u32::from_str_radix(&text, radix).map_err(|_| SyntaxError::MountInvalid {
            key: key.to_owned(),
            value: text,
        })
    }

    fn target(&self) -> Result<String> {
        self.text(&TARGET)?
            .filter(|target| !target.is_empty())
            .ok_or_else(|| SyntaxError::MountTarget(self.kind.clone()))
    }

    fn bind(&self) -> Result<RunMount> {
        self.known(&[
            &TARGET,
            &SOURCE,
            &["from", "rw", "readwrite", "ro", "readonly"],
        ])?;
        let read_only = self.switch(&["ro", "readonly"])?;
        let writable = self.switch(&["rw", "readwrite"])?;
        Ok(RunMount::Bind {
            target: self.target()?,
            source: self.text(&SOURCE)?.unwrap_or_else(|| "/".to_owned()),
            from: self.text(&["from"])?,
            writable: writable.unwrap_or(read_only == Some(false)),
        })
    }

    fn cache(&self) -> Result<RunMount> {
        let own = [
            "id",
            "sharing",
            "from",
            "mode",
            "uid",
            "gid",
            "ro",
            "readonly",
            "rw",
            "readwrite",
        ];
        self.known(&[&TARGET, &SOURCE, &own])?;
        let target = self.target()?;
        let sharing = match self.text(&["sharing"])?.as_deref() {
            None | Some("shared") => Sharing::Shared,
            Some("private") => Sharing::Private,
            Some("locked") => Sharing::Locked,
            Some(other) => {
                return Err(SyntaxError::MountInvalid {
                    key: "sharing".to_owned(),
                    value: other.to_owned(),
                });
            }
        };
        let writable = self.switch(&["rw", "readwrite"])?;
        Ok(RunMount::Cache {
            id: self.text(&["id"])?.unwrap_or_else(|| target.clone()),
            target,
            sharing,
            from: self.text(&["from"])?,
            source: self.text(&SOURCE)?.unwrap_or_else(|| "/".to_owned()),
            mode: self.number("mode", 8, 0o755)?,
            uid: self.number("uid", 10, 0)?,
            gid: self.number("gid", 10, 0)?,
            read_only: self
                .switch(&["ro", "readonly"])?
                .unwrap_or(writable == Some(false)),
        })
    }

    fn tmpfs(&self) -> Result<RunMount> {
        self.known(&[&TARGET, &["size"]])?;
        let size = match self.text(&["size"])? {
            None => 0,
            Some(text) => bytes(&text).ok_or(SyntaxError::MountInvalid {
                key: "size".to_owned(),
                value: text,
            })?,
        };
        Ok(RunMount::Tmpfs {
            target: self.target()?,
            size,
        })
    }

    fn secret(&self) -> Result<RunMount> {
        self.known(&[
            &TARGET,
            &SOURCE,
            &["id", "env", "required", "mode", "uid", "gid"],
        ])?;
        let target = self.text(&TARGET)?;
        let id = self.text(&["id", "source", "src"])?.or_else(|| {
            let target = target.as_deref()?;
            target.rsplit('/').next().map(str::to_owned)
        });
        let id = id
            .filter(|id| !id.is_empty())
            .ok_or(SyntaxError::SecretWithoutId)?;
        let env = match self.fields.iter().find(|(key, _)| key == "env") {
            None => None,
            Some((_, Some(name))) if !name.is_empty() => Some(name.clone()),
            Some(_) => Some(id.clone()),
        };
        let target = match (target, &env) {
            (None, Some(_)) => None,
            (None, None) => Some(format!("/run/secrets/{id}")),
            (target, _) => target,
        };
        Ok(RunMount::Secret {
            id,
            target,
            env,
            required: self.switch(&["required"])?.unwrap_or(false),
            mode: self.number("mode", 8, 0o400)?,
            uid: self.number("uid", 10, 0)?,
            gid: self.number("gid", 10, 0)?,
        })
    }

    fn ssh(&self) -> Result<RunMount> {
        self.known(&[&TARGET, &["id", "required", "mode", "uid", "gid"]])?;
        Ok(RunMount::Ssh {
            id: self.text(&["id"])?.unwrap_or_else(|| "default".to_owned()),
            target: self.text(&TARGET)?,
            required: self.switch(&["required"])?.unwrap_or(false),
            mode: self.number("mode", 8, 0o600)?,
            uid: self.number("uid", 10, 0)?,
            gid: self.number("gid", 10, 0)?,
        })
    }
}

/// `64m`, `1GB`, `512`.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(lower.len());
    let number: u64 = lower[..digits].parse().ok()?;
    let shift = match lower[digits..].trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}
