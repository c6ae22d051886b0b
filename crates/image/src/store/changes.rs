//! Dockerfile instructions that change how an image runs, for `commit --change` and `import
//! --change`.

use hull_oci::{ContainerConfig, HealthcheckConfig};

use crate::error::{Error, Result};

/// Applies `CMD`, `ENTRYPOINT`, `ENV`, `EXPOSE`, `HEALTHCHECK`, `LABEL`, `ONBUILD`, `STOPSIGNAL`,
/// `USER`, `VOLUME` and `WORKDIR` instructions, one an element.
pub fn apply_changes(config: &mut ContainerConfig, changes: &[String]) -> Result<()> {
    changes
        .iter()
        .filter(|line| !line.trim().is_empty())
        .try_for_each(|line| apply(config, line))
}

fn apply(config: &mut ContainerConfig, line: &str) -> Result<()> {
    let line = line.trim();
    let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (instruction, rest) = (instruction.to_ascii_uppercase(), rest.trim());
    if rest.is_empty() {
        return Err(Error::Invalid(format!(
            "{instruction} requires at least one argument"
        )));
    }
    match instruction.as_str() {
        "CMD" => {
            config.cmd = Some(command(config, rest));
            config.args_escaped = false;
        }
        "ENTRYPOINT" => {
            config.entrypoint = Some(command(config, rest));
            config.cmd = None;
        }
        "ENV" => {
            for (name, value) in pairs("ENV", rest)? {
                set_env(config, &name, &value);
            }
        }
        "LABEL" => config.labels.extend(pairs("LABEL", rest)?),
        "EXPOSE" => {
            for word in words(rest)? {
                config.exposed_ports.extend(ports(&word)?);
            }
        }
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        "ONBUILD" => config
            .on_build
            .get_or_insert_default()
            .push(rest.to_owned()),
        "STOPSIGNAL" => config.stop_signal = Some(rest.to_owned()),
        "USER" => config.user = rest.to_owned(),
        "VOLUME" => {
            let paths = exec_form(rest).map_or_else(|| words(rest), Ok)?;
            config.volumes.extend(paths);
        }
        "WORKDIR" => config.working_dir = working_dir(&config.working_dir, rest),
        other => {
            return Err(Error::Invalid(format!(
                "{} is not a valid change command",
                other.to_ascii_lowercase()
            )));
        }
    }
    Ok(())
}

/// The exec form as it is; the shell form behind the image's shell.
fn command(config: &ContainerConfig, rest: &str) -> Vec<String> {
    exec_form(rest).unwrap_or_else(|| {
        let shell = config.shell.clone();
        let mut command = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
        command.push(rest.to_owned());
        command
    })
}

/// A JSON array of texts; anything else is the shell form.
fn exec_form(rest: &str) -> Option<Vec<String>> {
    rest.starts_with('[')
        .then(|| serde_json::from_str(rest).ok())
        .flatten()
}

fn set_env(config: &mut ContainerConfig, name: &str, value: &str) {
    let new = format!("{name}={value}");
    let is_same = |known: &&mut String| known.split('=').next() == Some(name);
    match config.env.iter_mut().find(is_same) {
        Some(known) => *known = new,
        None => config.env.push(new),
    }
}

/// `NAME=VALUE …`, or the old form `NAME VALUE`.
fn pairs(instruction: &str, rest: &str) -> Result<Vec<(String, String)>> {
    let first = rest.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = rest
            .split_once(char::is_whitespace)
            .ok_or_else(|| Error::Invalid(format!("{instruction} must have two arguments")))?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) => Err(Error::Invalid(format!(
            "{instruction} names can not be blank"
        ))),
        None => Err(Error::Invalid(format!(
            "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
        ))),
    };
    words(rest)?.into_iter().map(pair).collect()
}

/// Words, with quotes and backslashes as a shell has them.
fn words(text: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                let next = chars.next().unwrap_or('\\');
                word.get_or_insert_default().push(next);
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(Error::Invalid(format!(
            "unexpected end of statement while looking for matching quote in {text:?}"
        )));
    }
    words.extend(word);
    Ok(words)
}

/// `PORT[-PORT][/PROTOCOL]`.
fn ports(word: &str) -> Result<Vec<String>> {
    let invalid = || Error::Invalid(format!("invalid containerPort: {word}"));
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let first: u16 = first.parse().map_err(|_| invalid())?;
    let last: u16 = last.parse().map_err(|_| invalid())?;
    if last < first || !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(invalid());
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

fn working_dir(current: &str, new: &str) -> String {
    if new.starts_with('/') {
        return new.to_owned();
    }
    format!("/{}/{new}", current.trim_matches('/')).replace("//", "/")
}

/// `NONE`, or options and `CMD`.
fn healthcheck(rest: &str) -> Result<HealthcheckConfig> {
    let mut check = HealthcheckConfig::default();
    let mut rest = rest;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option
            .split_once(char::is_whitespace)
            .unwrap_or((option, ""));
        rest = after.trim_start();
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "interval" => check.interval = duration(value)?,
            "timeout" => check.timeout = duration(value)?,
            "start-period" => check.start_period = duration(value)?,
            "start-interval" => check.start_interval = duration(value)?,
            "retries" => {
                let message = || Error::Invalid(format!("invalid number of retries {value:?}"));
                check.retries = value.parse().map_err(|_| message())?;
            }
            _ => return Err(Error::Invalid(format!("unknown flag: --{name}"))),
        }
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = match (kind.to_ascii_uppercase().as_str(), command.trim()) {
        ("NONE", "") => vec!["NONE".to_owned()],
        ("NONE", _) => {
            return Err(Error::Invalid(
                "HEALTHCHECK NONE takes no arguments".to_owned(),
            ));
        }
        ("CMD", "") => {
            return Err(Error::Invalid(
                "Missing command after HEALTHCHECK CMD".to_owned(),
            ));
        }
        ("CMD", command) => match exec_form(command) {
            Some(words) => ["CMD".to_owned()].into_iter().chain(words).collect(),
            None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        (other, _) => {
            return Err(Error::Invalid(format!(
                "Unknown type {other:?} in HEALTHCHECK (try CMD)"
            )));
        }
    };
    Ok(check)
}

/// Go's durations (`1m30s`), in nanoseconds.
fn duration(text: &str) -> Result<i64> {
    let invalid = || Error::Invalid(format!("time: invalid duration {text:?}"));
    let (mut rest, mut total) = (text, 0f64);
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(invalid)?;
        let number: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return Err(invalid()),
            };
        rest = &rest[end..];
    }
    Ok(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> Result<ContainerConfig> {
        let mut config = ContainerConfig::default();
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        apply_changes(&mut config, &lines)?;
        Ok(config)
    }

    #[test]
    fn instructions_change_the_configuration() {
        let config = changed(&[
            "CMD [\"a\", \"b\"]",
            "env A=1 B='two words' C=\"x \\\" y\"",
            "ENV A three of them",
            "EXPOSE 80 53/udp 8000-8001",
            "LABEL a.b=c",
            "VOLUME [\"/data\"]",
            "WORKDIR /srv",
            "WORKDIR app",
            "USER 1:2",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN x",
            "HEALTHCHECK --interval=1m30s --retries=2 CMD curl localhost",
        ])
        .unwrap();
        assert_eq!(config.cmd.unwrap(), ["a", "b"]);
        assert_eq!(config.env, ["A=three of them", "B=two words", "C=x \" y"]);
        let ports: Vec<_> = config.exposed_ports.iter().map(String::as_str).collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
        assert_eq!(
            (config.working_dir.as_str(), config.user.as_str()),
            ("/srv/app", "1:2")
        );
        assert!(config.volumes.contains("/data"));
        let check = config.healthcheck.unwrap();
        assert_eq!((check.interval, check.retries), (90_000_000_000, 2));
        assert_eq!(check.test, ["CMD-SHELL", "curl localhost"]);
        assert_eq!(
            changed(&["ENTRYPOINT echo hi"])
                .unwrap()
                .entrypoint
                .unwrap()[2],
            "echo hi"
        );
    }

    #[test]
    fn other_instructions_are_refused() {
        let error = changed(&["RUN x"]).unwrap_err().to_string();
        assert_eq!(error, "run is not a valid change command");
        for bad in [
            "CMD",
            "ENV A",
            "EXPOSE x",
            "LABEL a=b c",
            "ENV A='x",
            "HEALTHCHECK FOO",
        ] {
            assert!(changed(&[bad]).is_err(), "{bad}");
        }
    }
}
