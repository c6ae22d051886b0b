//! `--security-opt`: profiles are read here, the rest is the daemon's.

use super::environment::plain;
use crate::flags::Item;

/// What the options come to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Security {
    pub(crate) options: Vec<String>,
    /// `systempaths=unconfined`: nothing of `/proc` is masked.
    pub(crate) unmasked: bool,
}

/// Reads all `--security-opt` values.
///
/// # Errors
/// An option without a value, or a seccomp profile that cannot be read.
pub(crate) fn read(values: &[String]) -> Result<Security, String> {
    let mut security = Security::default();
    for text in values {
        if text == "systempaths=unconfined" {
            security.unmasked = true;
            continue;
        }
        let (key, value) = match text.split_once('=').or_else(|| text.split_once(':')) {
            Some(pair) => pair,
            None if matches!(text.as_str(), "no-new-privileges" | "writable-cgroups") => {
                security.options.push(text.clone());
                continue;
            }
            None => return Err(format!("Invalid --security-opt: {text:?}")),
        };
        security.options.push(match (key, value) {
            ("seccomp", value) if value != "unconfined" && value != "builtin" => {
                format!("seccomp={}", profile(value)?)
            }
            _ => text.clone(),
        });
    }
    Ok(security)
}

/// A profile's JSON without its blanks.
fn profile(path: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!(
            "opening seccomp profile ({path}) failed: open {path}: {}",
            plain(&error)
        )
    })?;
    let profile: &serde_json::value::RawValue = serde_json::from_str(&text)
        .map_err(|error| format!("compacting json for seccomp profile ({path}) failed: {error}"))?;
    Ok(compact(profile.get()))
}

fn compact(json: &str) -> String {
    let mut in_text = false;
    let mut escaped = false;
    json.chars()
        .filter(|character| {
            if in_text {
                match character {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    '"' => in_text = false,
                    _ => {}
                }
                return true;
            }
            in_text = *character == '"';
            !character.is_ascii_whitespace()
        })
        .collect()
}

/// A kernel parameter of the container's own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sysctl {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Parameters that belong to a namespace, so that a container may set its own.
const SYSCTLS: [&str; 9] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.domainname",
];

impl Item for Sysctl {
    fn parse(text: &str) -> Result<Self, String> {
        let refused = || format!("sysctl '{text}' is not allowed");
        let (key, value) = text.split_once('=').ok_or_else(refused)?;
        let is_own =
            SYSCTLS.contains(&key) || key.starts_with("net.") || key.starts_with("fs.mqueue.");
        match is_own {
            true => Ok(Self {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
            false => Err(refused()),
        }
    }
}

/// What is added and what is dropped, by the kernel's names and sorted: adding wins, and `ALL` covers the rest.
pub(crate) fn capabilities(add: &[String], drop: &[String]) -> (Vec<String>, Vec<String>) {
    let add = named(add);
    let mut drop = named(drop);
    drop.retain(|name| !add.contains(name));
    (add, drop)
}

fn named(names: &[String]) -> Vec<String> {
    let name = |text: &String| match text.trim().to_uppercase() {
        all if all == "ALL" => all,
        name if name.starts_with("CAP_") => name,
        name => format!("CAP_{name}"),
    };
    let mut names: Vec<String> = names.iter().map(name).collect();
    if names.iter().any(|name| name == "ALL") {
        return vec!["ALL".to_owned()];
    }
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_one_spelling_and_adding_wins() {
        let list = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            capabilities(
                &list(&["sys_admin", "CAP_CHOWN"]),
                &list(&["chown", "kill"])
            ),
            (list(&["CAP_CHOWN", "CAP_SYS_ADMIN"]), list(&["CAP_KILL"]))
        );
        assert_eq!(
            capabilities(&list(&["all", "kill"]), &list(&["ALL"])),
            (list(&["ALL"]), Vec::new())
        );
    }

    #[test]
    fn only_parameters_of_a_namespace_can_be_set() {
        assert!(Sysctl::parse("net.ipv4.ip_forward=1").is_ok());
        assert!(Sysctl::parse("vm.swappiness=1").is_err() && Sysctl::parse("net.x").is_err());
    }

    #[test]
    fn profiles_travel_with_the_request() {
        let path = std::env::temp_dir().join(format!("hull-seccomp-{}.json", std::process::id()));
        std::fs::write(&path, "{ \"defaultAction\": \"A B\\\" C\",\n \"x\": [ ] }").unwrap();
        let option = format!("seccomp={}", path.display());
        let security = read(&[option, "no-new-privileges".into(), "label=disable".into()]);
        std::fs::remove_file(path).unwrap();
        assert_eq!(
            security.unwrap().options,
            [
                "seccomp={\"defaultAction\":\"A B\\\" C\",\"x\":[]}",
                "no-new-privileges",
                "label=disable"
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert_eq!(
            read(&["foo".into()]).unwrap_err(),
            "Invalid --security-opt: \"foo\""
        );
        assert!(read(&["systempaths=unconfined".into()]).unwrap().unmasked);
        assert_eq!(
            read(&["seccomp=unconfined".into()]).unwrap().options,
            ["seccomp=unconfined"]
        );
        assert!(
            read(&["seccomp=/nonexistent".into()])
                .unwrap_err()
                .starts_with(
                    "opening seccomp profile (/nonexistent) failed: open /nonexistent: no such file"
                )
        );
    }
}
