//! `pause`, `resume` and `update`.

use std::io::Read;

use hull_oci::runtime::LinuxResources;
use serde_json::{Value, json};

use super::{
    Global,
    args::{Args, Flag, NONE},
    state::{Container, Status},
    text,
};

pub(super) fn pause(global: &Global, rest: &[String]) -> Result<(), String> {
    let args = Args::parse_mixed(&[], rest)?;
    let container = Container::load(&global.root, args.id()?)?;
    match container.status()? {
        Status::Running | Status::Created => container.cgroup()?.freeze().map_err(text),
        other => Err(format!("cannot pause a container that is {}", other.name())),
    }
}

pub(super) fn resume(global: &Global, rest: &[String]) -> Result<(), String> {
    let args = Args::parse_mixed(&[], rest)?;
    let container = Container::load(&global.root, args.id()?)?;
    match container.status()? {
        Status::Paused => container.cgroup()?.thaw().map_err(text),
        _ => Err("container not paused".into()),
    }
}

/// Flag, section and key of the spec's resources.
const NUMBERS: [(&str, &str, &str); 12] = [
    ("blkio-weight", "blockIO", "weight"),
    ("cpu-period", "cpu", "period"),
    ("cpu-quota", "cpu", "quota"),
    ("cpu-burst", "cpu", "burst"),
    ("cpu-share", "cpu", "shares"),
    ("cpu-rt-period", "cpu", "realtimePeriod"),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime"),
    ("cpu-idle", "cpu", "idle"),
    ("memory", "memory", "limit"),
    ("memory-reservation", "memory", "reservation"),
    ("memory-swap", "memory", "swap"),
    ("pids-limit", "pids", "limit"),
];

const UPDATE: [Flag; 19] = [
    ("resources", 'r', true),
    ("blkio-weight", NONE, true),
    ("cpu-period", NONE, true),
    ("cpu-quota", NONE, true),
    ("cpu-burst", NONE, true),
    ("cpu-share", NONE, true),
    ("cpu-rt-period", NONE, true),
    ("cpu-rt-runtime", NONE, true),
    ("cpu-idle", NONE, true),
    ("cpuset-cpus", NONE, true),
    ("cpuset-mems", NONE, true),
    ("memory", 'm', true),
    ("memory-reservation", NONE, true),
    ("memory-swap", NONE, true),
    ("kernel-memory", NONE, true),
    ("kernel-memory-tcp", NONE, true),
    ("pids-limit", NONE, true),
    ("l3-cache-schema", NONE, true),
    ("mem-bw-schema", NONE, true),
];

pub(super) fn update(global: &Global, rest: &[String]) -> Result<(), String> {
    let args = Args::parse_mixed(&UPDATE, rest)?;
    let container = Container::load(&global.root, args.id()?)?;
    if container.status()? == Status::Stopped {
        return Err("cannot update a stopped container".into());
    }
    for flag in ["l3-cache-schema", "mem-bw-schema"] {
        if args.has(flag) {
            return Err(format!("--{flag} needs Intel RDT, which is not supported"));
        }
    }
    container.cgroup()?.update(&resources(&args)?).map_err(text)
}

fn resources(args: &Args) -> Result<LinuxResources, String> {
    if let Some(path) = args.value("resources") {
        let mut bytes = Vec::new();
        match path {
            "-" => std::io::stdin().read_to_end(&mut bytes).map(|_| ()),
            path => std::fs::read(path).map(|read| bytes = read),
        }
        .map_err(|error| format!("{path}: {error}"))?;
        return serde_json::from_slice(&bytes).map_err(|error| format!("{path}: {error}"));
    }
    let mut value = json!({});
    for (flag, section, key) in NUMBERS {
        if let Some(number) = number(args, flag)? {
            value[section][key] = number;
        }
    }
    for (flag, key) in [("cpuset-cpus", "cpus"), ("cpuset-mems", "mems")] {
        if let Some(list) = args.value(flag) {
            value["cpu"][key] = json!(list);
        }
    }
    serde_json::from_value(value).map_err(text)
}

/// Bytes may be given with a unit, as in `64m`.
fn number(args: &Args, flag: &str) -> Result<Option<Value>, String> {
    let Some(text) = args.value(flag) else {
        return Ok(None);
    };
    let wrong = || format!("--{flag}: `{text}` is no number");
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '-')
        .unwrap_or(text.len());
    let number: i64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit: i64 = match text[digits..].to_ascii_lowercase().trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(unit)
        .map(|number| Some(json!(number)))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_resources() {
        let words = [
            "id",
            "--memory",
            "64m",
            "--cpuset-cpus=0",
            "--pids-limit",
            "-1",
        ];
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let args = Args::parse_mixed(&UPDATE, &words).unwrap();
        let resources = resources(&args).unwrap();
        assert_eq!(resources.memory().as_ref().unwrap().limit(), Some(64 << 20));
        assert_eq!(resources.pids().as_ref().unwrap().limit(), -1);
        assert_eq!(
            resources.cpu().as_ref().unwrap().cpus().as_deref(),
            Some("0")
        );
    }
}
