//! Which version of the API commands and flags need: a daemon of before would not heed what it does not know.
//!
//! Held against the version that `$DOCKER_API_VERSION` names; without it, the daemon's own is as new as this program.

use hull_api::ApiVersion;

use crate::context::Program;
use crate::error::{Error, Result};

/// Commands of later than the first version, and groups of which that is true of all.
const COMMANDS: [(&str, u16); 18] = [
    ("builder", 31),
    ("builder prune", 39),
    ("checkpoint", 25),
    ("config", 30),
    ("container prune", 25),
    ("image prune", 25),
    ("network prune", 25),
    ("plugin", 25),
    ("plugin upgrade", 26),
    ("secret", 25),
    ("service logs", 29),
    ("service rollback", 31),
    ("stack", 25),
    ("swarm ca", 30),
    ("system df", 25),
    ("system prune", 25),
    ("volume prune", 25),
    ("volume update", 42),
];

/// Flags of later, by the full names of the commands.
#[rustfmt::skip]
const FLAGS: [(&str, u16, &[&str]); 106] = [
    ("all", 42, &["volume prune"]),
    ("annotation", 43, MAKES),
    ("attachable", 25, &["network create"]),
    ("availability", 42, &["volume create"]),
    ("cap-add", 41, SERVICES),
    ("cap-drop", 41, SERVICES),
    ("cgroupns", 41, MAKES),
    ("cluster", 42, &["volume ls"]),
    ("config", 30, &["service create"]),
    ("config-add", 30, &["service update"]),
    ("config-from", 30, &["network create"]),
    ("config-only", 30, &["network create"]),
    ("config-rm", 30, &["service update"]),
    ("cpu-rt-period", 25, &["container create", "container run", "container update"]),
    ("cpu-rt-runtime", 25, &["container create", "container run", "container update"]),
    ("cpus", 25, MAKES),
    ("cpus", 29, &["container update"]),
    ("data-path-addr", 31, &["swarm init", "swarm join"]),
    ("data-path-port", 40, &["swarm init"]),
    ("default-addr-pool-mask-length", 39, &["swarm init"]),
    ("detach", 29, &["service create", "service scale", "service update"]),
    ("details", 30, &["service logs"]),
    ("dns-option", 25, &["service create"]),
    ("dns-option-add", 25, &["service update"]),
    ("dns-option-rm", 25, &["service update"]),
    ("dns-rm", 25, &["service update"]),
    ("dns-search", 25, &["service create"]),
    ("dns-search-add", 25, &["service update"]),
    ("dns-search-rm", 25, &["service update"]),
    ("driver", 31, &["secret create"]),
    ("env", 25, &["container exec"]),
    ("env-file", 25, &["container exec"]),
    ("filter", 28, &["system prune"]),
    ("force", 25, &["service update", "volume rm"]),
    ("gpus", 40, MAKES),
    ("group", 25, &["service create"]),
    ("group", 42, &["volume create"]),
    ("group-add", 25, &["service update"]),
    ("group-rm", 25, &["service update"]),
    ("health-cmd", 25, SERVICES),
    ("health-interval", 25, SERVICES),
    ("health-retries", 25, SERVICES),
    ("health-start-interval", 44, &["container create", "container run", "service create", "service update"]),
    ("health-start-period", 29, &["container create", "container run", "service create", "service update"]),
    ("health-timeout", 25, SERVICES),
    ("host-rm", 25, &["service update"]),
    ("hostname", 25, SERVICES),
    ("ingress", 29, &["network create"]),
    ("init", 25, MAKES),
    ("init", 37, SERVICES),
    ("isolation", 35, SERVICES),
    ("limit-bytes", 42, &["volume create"]),
    ("limit-pids", 41, SERVICES),
    ("max-concurrent", 41, SERVICES),
    ("max-snapshots", 25, &["swarm init", "swarm update"]),
    ("network", 25, &["image build"]),
    ("network-add", 29, &["service update"]),
    ("network-rm", 29, &["service update"]),
    ("no-healthcheck", 25, SERVICES),
    ("no-resolve-image", 30, SERVICES),
    ("oom-score-adj", 46, SERVICES),
    ("pids-limit", 40, &["container update"]),
    ("platform", 32, &["container create", "container run", "image import", "image pull"]),
    ("platform", 38, &["image build"]),
    ("platform", 46, &["image push"]),
    ("platform", 48, &["image history", "image load", "image save"]),
    ("platform", 49, &["image inspect"]),
    ("platform", 50, &["image rm"]),
    ("raw", 30, &["service logs"]),
    ("read-only", 28, SERVICES),
    ("replicas-max-per-node", 40, SERVICES),
    ("required-bytes", 42, &["volume create"]),
    ("resolve-image", 30, &["stack deploy"]),
    ("rollback", 25, &["service update"]),
    ("rollback-delay", 28, SERVICES),
    ("rollback-failure-action", 28, SERVICES),
    ("rollback-max-failure-ratio", 28, SERVICES),
    ("rollback-monitor", 28, SERVICES),
    ("rollback-order", 29, SERVICES),
    ("rollback-parallelism", 28, SERVICES),
    ("scope", 30, &["network create"]),
    ("scope", 42, &["volume create"]),
    ("secret", 25, &["service create"]),
    ("secret", 42, &["volume create"]),
    ("secret-add", 25, &["service update"]),
    ("secret-rm", 25, &["service update"]),
    ("sharing", 42, &["volume create"]),
    ("snapshot-interval", 25, &["swarm init", "swarm update"]),
    ("squash", 25, &["image build"]),
    ("stop-signal", 28, SERVICES),
    ("stop-timeout", 25, MAKES),
    ("sysctl", 40, &["service create"]),
    ("sysctl-add", 40, &["service update"]),
    ("sysctl-rm", 40, &["service update"]),
    ("template-driver", 37, &["secret create"]),
    ("topology-preferred", 42, &["volume create"]),
    ("topology-required", 42, &["volume create"]),
    ("tree", 47, &["image ls"]),
    ("tty", 25, SERVICES),
    ("type", 42, &["volume create"]),
    ("ulimit-rm", 41, &["service update"]),
    ("until", 35, &["container logs"]),
    ("update-max-failure-ratio", 25, SERVICES),
    ("update-monitor", 25, SERVICES),
    ("update-order", 29, SERVICES),
    ("workdir", 35, &["container exec"]),
];
const MAKES: &[&str] = &["container create", "container run"];
const SERVICES: &[&str] = &["service create", "service update"];

/// Refuses a command or flags that the version of the environment does not have.
///
/// # Errors
/// The command, or each of the flags that are too new.
pub(super) fn check(program: Program, name: &str, names: &[&str], changed: &[&str]) -> Result<()> {
    let told = std::env::var("DOCKER_API_VERSION").ok();
    let Some(version) = told.and_then(|text| text.parse().ok()) else {
        return Ok(());
    };
    let full = names.first().copied().unwrap_or_default();
    // Of a group it is its own name that is told, whichever was typed.
    let name = if name.contains(' ') { full } else { name };
    let refused = too_new(full, changed, version);
    if refused.is_empty() {
        return Ok(());
    }
    let line = |(flag, needed): &(Option<&str>, u16)| {
        let what = match flag {
            Some(flag) => format!("\"--{flag}\""),
            None => format!("{} {name}", program.name()),
        };
        format!(
            "{what} requires API version 1.{needed}, but the Docker daemon API version is {version}"
        )
    };
    let lines: Vec<String> = refused.iter().map(line).collect();
    Err(Error::new(lines.join("\n"))
        .with_hint("$DOCKER_API_VERSION says so; unset it to speak what the daemon speaks"))
}

/// What is too new, and what it needs: the command itself (`None`), or else each of the flags.
fn too_new<'f>(
    full: &str,
    changed: &[&'f str],
    version: ApiVersion,
) -> Vec<(Option<&'f str>, u16)> {
    let is_older = |needed: u16| version < ApiVersion::new(needed);
    let group = full.split(' ').next().unwrap_or_default();
    let needed = |wanted: &str| {
        let found = COMMANDS.iter().find(|(known, _)| *known == wanted);
        found.map(|(_, needed)| *needed)
    };
    if let Some(needed) = needed(full)
        .or_else(|| needed(group))
        .filter(|needed| is_older(*needed))
    {
        return vec![(None, needed)];
    }
    let flag = |flag: &&'f str| {
        let (_, needed, _) = FLAGS.iter().find(|(known, needed, commands)| {
            known == flag && commands.contains(&full) && is_older(*needed)
        })?;
        Some((Some(*flag), *needed))
    };
    let mut flags: Vec<_> = changed.iter().filter_map(flag).collect();
    flags.sort_unstable();
    flags.dedup();
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::COMMANDS as SERVED;

    #[test]
    fn flags_are_as_old_as_their_commands_have_them() {
        let old = ApiVersion::new(30);
        let flag = |flag, needed| vec![(Some(flag), needed)];
        assert_eq!(too_new("image ls", &["all", "tree"], old), flag("tree", 47));
        assert_eq!(
            too_new("container run", &["platform", "init", "gpus"], old),
            [(Some("gpus"), 40), (Some("platform"), 32)]
        );
        assert_eq!(
            too_new("image rm", &["platform"], old),
            flag("platform", 50)
        );
        assert_eq!(
            too_new("image inspect", &["platform"], old),
            flag("platform", 49)
        );
        assert_eq!(too_new("volume prune", &["all"], old), flag("all", 42));
        assert_eq!(
            too_new("container run", &["cgroupns"], ApiVersion::new(41)),
            []
        );
        assert_eq!(too_new("builder prune", &[], old), [(None, 39)]);
        assert_eq!(too_new("secret ls", &[], ApiVersion::new(24)), [(None, 25)]);
    }

    #[test]
    fn the_table_names_commands_that_there_are() {
        let full = |name: &str| {
            let served = SERVED
                .iter()
                .any(|entry| entry.about.names.first() == Some(&name));
            served || super::super::unavailable::find(name).is_some()
        };
        for (flag, _, commands) in FLAGS {
            for command in commands {
                assert!(full(command), "{command} --{flag}");
            }
        }
        for (command, _) in COMMANDS {
            assert!(full(command) || !command.contains(' '), "{command}");
        }
    }
}
