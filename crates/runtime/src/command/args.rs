//! Arguments: flags first, then words. No flag is guessed from a prefix.

use std::collections::BTreeMap;

/// A flag's name, its letter, and whether a value follows.
pub(super) type Flag = (&'static str, char, bool);

/// No letter.
pub(super) const NONE: char = '\0';

/// What was given.
#[derive(Debug, Default)]
pub(super) struct Args {
    flags: BTreeMap<&'static str, Vec<String>>,
    /// The rest.
    pub(super) words: Vec<String>,
}

impl Args {
    /// Takes flags up to the first word or `--`; the rest are words.
    pub(super) fn parse(list: &[Flag], args: &[String]) -> Result<Self, String> {
        let mut out = Self::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            if arg == "--" {
                break;
            }
            let Some(text) = arg.strip_prefix('-').filter(|text| !text.is_empty()) else {
                out.words.push(arg.clone());
                break;
            };
            let (name, value) = match text.trim_start_matches('-').split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text.trim_start_matches('-'), None),
            };
            let known = list.iter().find(|(long, short, _)| {
                *long == name || (*short != NONE && name.chars().eq([*short]))
            });
            let (long, _, takes_value) = known.ok_or(format!("unknown flag: {arg}"))?;
            let value = match (value, takes_value) {
                (Some(value), _) => value,
                (None, false) => "true".to_owned(),
                (None, true) => rest
                    .next()
                    .cloned()
                    .ok_or(format!("flag needs a value: {arg}"))?,
            };
            out.flags.entry(long).or_default().push(value);
        }
        out.words.extend(rest.cloned());
        Ok(out)
    }

    /// Like [`parse`](Self::parse), with flags also between and after the words.
    pub(super) fn parse_mixed(list: &[Flag], args: &[String]) -> Result<Self, String> {
        let mut out = Self::default();
        let mut rest = args.to_vec();
        loop {
            let part = Self::parse(list, &rest)?;
            for (name, values) in part.flags {
                out.flags.entry(name).or_default().extend(values);
            }
            let mut words = part.words.into_iter();
            let Some(word) = words.next() else {
                return Ok(out);
            };
            out.words.push(word);
            rest = words.collect();
        }
    }

    /// The last value given.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.flags
            .get(name)
            .and_then(|values| values.last())
            .map(String::as_str)
    }

    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.flags
            .get(name)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value != "false")
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        match self.value(name) {
            None => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| format!("--{name}: `{text}` is no number")),
        }
    }

    /// The first word, which every verb calls the container's id.
    pub(super) fn id(&self) -> Result<&str, String> {
        let id = self.words.first().ok_or("container id cannot be empty")?;
        let good = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        if id.is_empty() || !id.chars().all(good) || id == "." || id == ".." {
            return Err(format!("invalid container ID format: {id}"));
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 3] = [
        ("bundle", 'b', true),
        ("tty", 't', false),
        ("env", 'e', true),
    ];

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn flags_end_at_the_first_word() {
        let args = Args::parse(&FLAGS, &strings(&["-t", "--bundle=/b", "id", "-t"])).unwrap();
        assert!(args.has("tty"));
        assert_eq!(args.value("bundle"), Some("/b"));
        assert_eq!(args.words, ["id", "-t"]);
        assert!(Args::parse(&FLAGS, &strings(&["--nope"])).is_err());
        assert!(Args::parse(&FLAGS, &strings(&["-b"])).is_err());
    }

    #[test]
    fn flags_may_stand_among_the_words_where_nothing_else_does() {
        let args = Args::parse_mixed(&FLAGS, &strings(&["id", "-e", "a", "-e=b"])).unwrap();
        assert_eq!(args.values("env").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(args.id().unwrap(), "id");
    }

    #[test]
    fn an_id_is_a_name_and_no_path() {
        for id in ["..", "a/b", "", "ä"] {
            assert!(
                Args {
                    words: vec![id.into()],
                    ..Args::default()
                }
                .id()
                .is_err(),
                "{id}"
            );
        }
    }
}
