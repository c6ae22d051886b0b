//! Arguments → flags set and operands left.

use std::fmt;

use super::{Flag, FlagSet, suggest};

/// What is left of the command line.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Parsed {
    pub(crate) operands: Vec<String>,
    pub(crate) help: bool,
    /// The help was asked for with `-h`.
    pub(crate) help_by_letter: bool,
    /// Long names of the flags that were given.
    pub(crate) changed: Vec<&'static str>,
    /// All flags, with what was said of them.
    pub(crate) given: Vec<Given>,
}

/// A flag as it was given, or left alone.
#[derive(Debug, PartialEq)]
pub(crate) struct Given {
    pub(crate) long: &'static str,
    /// The last that was said; of a switch that is left alone, `false`.
    pub(crate) text: String,
    pub(crate) is_switch: bool,
    pub(crate) is_changed: bool,
}

/// A flag that cannot be understood.
#[derive(Debug, PartialEq)]
pub(crate) struct FlagError {
    message: String,
    /// The nearest flag that exists.
    pub(crate) suggestion: Option<String>,
    /// The name, or the letter, that is not known.
    pub(crate) unknown: Option<String>,
}

impl FlagError {
    fn new(message: String) -> Self {
        Self {
            message,
            suggestion: None,
            unknown: None,
        }
    }
}

impl fmt::Display for FlagError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl FlagSet<'_> {
    /// Reads `arguments`. Where `interspersed` is false, the first operand ends the flags.
    ///
    /// # Errors
    /// The first flag that is unknown, lacks its value, or refuses it.
    pub(crate) fn parse(
        mut self,
        arguments: &[String],
        interspersed: bool,
    ) -> Result<Parsed, FlagError> {
        let mut parsed = Parsed::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                parsed.operands.extend(rest.cloned());
                break;
            }
            if let Some(long) = argument.strip_prefix("--") {
                self.long(long, argument, &mut rest, &mut parsed)?;
            } else if argument.len() > 1 && argument.starts_with('-') {
                self.shorts(argument, &mut rest, &mut parsed)?;
            } else {
                parsed.operands.push(argument.clone());
                if !interspersed {
                    parsed.operands.extend(rest.cloned());
                    break;
                }
            }
        }
        parsed.changed = self
            .flags
            .iter()
            .filter(|flag| flag.changed)
            .map(|f| f.long)
            .collect();
        parsed.given = self.flags.iter().map(Flag::given).collect();
        Ok(parsed)
    }

    fn long(
        &mut self,
        body: &str,
        whole: &str,
        rest: &mut std::slice::Iter<'_, String>,
        parsed: &mut Parsed,
    ) -> Result<(), FlagError> {
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(FlagError::new(format!("bad flag syntax: {whole}")));
        }
        if name == "help" {
            parsed.help = true;
            return Ok(());
        }
        let Some(flag) = self.flags.iter_mut().find(|flag| flag.long == name) else {
            return Err(self.unknown(name));
        };
        match value {
            Some(value) => flag.assign(value),
            None if flag.value.is_switch() => flag.assign("true"),
            None => match rest.next() {
                Some(value) => flag.assign(value),
                None => Err(FlagError::new(format!("flag needs an argument: --{name}"))),
            },
        }
    }

    fn unknown(&self, name: &str) -> FlagError {
        let known = self
            .flags
            .iter()
            .filter(|flag| !flag.hidden)
            .map(|flag| flag.long);
        FlagError {
            message: format!("unknown flag: --{name}"),
            suggestion: suggest::nearest(name, known).map(|flag| format!("--{flag}")),
            unknown: Some(name.to_owned()),
        }
    }

    fn shorts(
        &mut self,
        whole: &str,
        rest: &mut std::slice::Iter<'_, String>,
        parsed: &mut Parsed,
    ) -> Result<(), FlagError> {
        for (at, letter) in whole[1..].char_indices() {
            let after = &whole[1 + at + letter.len_utf8()..];
            let Some(flag) = self
                .flags
                .iter_mut()
                .find(|flag| flag.short == Some(letter))
            else {
                if letter == 'h' {
                    parsed.help = true;
                    parsed.help_by_letter = true;
                    return Ok(());
                }
                let group = &whole[1 + at..];
                return Err(FlagError {
                    unknown: Some(letter.to_string()),
                    ..FlagError::new(format!("unknown shorthand flag: '{letter}' in -{group}"))
                });
            };
            if let Some(value) = after.strip_prefix('=') {
                return flag.assign(value);
            }
            if flag.value.is_switch() {
                flag.assign("true")?;
                continue;
            }
            if !after.is_empty() {
                return flag.assign(after);
            }
            return match rest.next() {
                Some(value) => flag.assign(value),
                None => Err(FlagError::new(format!(
                    "flag needs an argument: '{letter}' in -{}",
                    &whole[1 + at..]
                ))),
            };
        }
        Ok(())
    }
}

impl Flag<'_> {
    fn given(&self) -> Given {
        let is_switch = self.value.is_switch();
        let silent = if is_switch { "false" } else { "" };
        Given {
            long: self.long,
            text: self.said.clone().unwrap_or_else(|| silent.to_owned()),
            is_switch,
            is_changed: self.changed,
        }
    }

    fn assign(&mut self, text: &str) -> Result<(), FlagError> {
        self.changed = true;
        self.said = Some(text.to_owned());
        self.value.set(text).map_err(|why| {
            let name = match self.short {
                Some(short) => format!("-{short}, --{}", self.long),
                None => format!("--{}", self.long),
            };
            FlagError::new(format!(
                "invalid argument {text:?} for {name:?} flag: {why}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Sample {
        all: bool,
        tty: bool,
        name: String,
        publish: Vec<String>,
        last: i64,
    }

    fn read(arguments: &[&str], interspersed: bool) -> Result<(Sample, Parsed), FlagError> {
        let mut sample = Sample::default();
        let mut set = FlagSet::default();
        set.add("a,all", "", "", &mut sample.all);
        set.add("t,tty", "", "", &mut sample.tty);
        set.add("name", "string", "", &mut sample.name);
        set.add("p,publish", "list", "", &mut sample.publish);
        set.add("n,last", "int", "", &mut sample.last);
        let arguments: Vec<_> = arguments.iter().map(|&text| text.to_owned()).collect();
        let parsed = set.parse(&arguments, interspersed)?;
        Ok((sample, parsed))
    }

    fn error(arguments: &[&str]) -> String {
        read(arguments, true)
            .err()
            .expect("it is refused")
            .to_string()
    }

    #[test]
    fn values_may_be_joined_or_apart() {
        let (sample, parsed) = read(
            &["-at", "-p80", "-p=81", "-p", "82", "--name=x=y", "op"],
            true,
        )
        .unwrap();
        assert!(sample.all && sample.tty);
        assert_eq!(sample.publish, ["80", "81", "82"]);
        assert_eq!(sample.name, "x=y");
        assert_eq!(parsed.operands, ["op"]);
        assert_eq!(parsed.changed, ["all", "tty", "name", "publish"]);
    }

    #[test]
    fn a_switch_takes_a_value_only_when_joined() {
        let (sample, parsed) = read(&["--all=false", "--tty", "false"], true).unwrap();
        assert!(!sample.all && sample.tty);
        assert_eq!(parsed.operands, ["false"]);
    }

    #[test]
    fn the_first_operand_may_end_the_flags() {
        let (sample, parsed) = read(&["-a", "image", "-t", "--", "x"], false).unwrap();
        assert!(sample.all && !sample.tty);
        assert_eq!(parsed.operands, ["image", "-t", "--", "x"]);
        let (_, parsed) = read(&["--", "-t"], true).unwrap();
        assert_eq!(parsed.operands, ["-t"]);
        let (_, parsed) = read(&["-", "-t"], true).unwrap();
        assert_eq!(parsed.operands, ["-"]);
    }

    #[test]
    fn errors_are_in_dockers_words() {
        assert_eq!(error(&["--foo"]), "unknown flag: --foo");
        assert_eq!(error(&["-aZ"]), "unknown shorthand flag: 'Z' in -Z");
        assert_eq!(error(&["--name"]), "flag needs an argument: --name");
        assert_eq!(error(&["-ap"]), "flag needs an argument: 'p' in -p");
        assert_eq!(
            error(&["-n", "x"]),
            "invalid argument \"x\" for \"-n, --last\" flag: strconv.ParseInt: parsing \"x\": invalid syntax"
        );
        assert_eq!(
            error(&["--all=foo"]),
            "invalid argument \"foo\" for \"-a, --all\" flag: strconv.ParseBool: parsing \"foo\": invalid syntax"
        );
    }

    #[test]
    fn a_near_miss_is_told() {
        let error = read(&["--publis=1"], true).err().unwrap();
        assert_eq!(error.suggestion.as_deref(), Some("--publish"));
    }
}
